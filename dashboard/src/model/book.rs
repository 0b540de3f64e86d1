//! The newest commands of the hub, as the lists and the live link tell of them: where each is, and how many are where.

use std::collections::BTreeMap;

use super::change::{Command, Step};
use super::latency::Latencies;
use super::order::sorted;
use super::time::Moment;

/// How many are kept: the newest.
pub const BOOK_MAX: usize = 1_000;

/// A step of the funnel: all commands are in exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// In their queues.
    Enqueued,
    /// With their devices.
    Delivered,
    /// Done.
    Completed,
    /// Ran out.
    Expired,
    /// Refused by their devices, purged, or gone with them.
    Rejected,
    /// Delivered too often.
    GivenUp,
}

impl Stage {
    /// Every one, in the order of a command's way.
    pub const ALL: [Self; 6] = [Self::Enqueued, Self::Delivered, Self::Completed, Self::Expired, Self::Rejected, Self::GivenUp];

    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enqueued => "Enqueued",
            Self::Delivered => "Awaiting ack",
            Self::Completed => "Completed",
            Self::Expired => "Expired",
            Self::Rejected => "Rejected",
            Self::GivenUp => "Gave up",
        }
    }

    /// In addresses: the state of the API that it begins with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enqueued => "Enqueued",
            Self::Delivered => "Invisible",
            Self::Completed => "Completed",
            Self::Expired => "Expired",
            Self::Rejected => "Rejected",
            Self::GivenUp => "DeliveryCountExceeded",
        }
    }

    /// What a list is asked for that is to hold all of its commands.
    #[must_use]
    pub fn asked(self) -> &'static str {
        match self {
            Self::Enqueued | Self::Delivered => "Pending",
            Self::Rejected => "Rejected,Purged,DeviceDeleted",
            ended => ended.name(),
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Where a command in this state of the API is.
    #[must_use]
    pub fn of(state: &str) -> Self {
        match state {
            "Enqueued" => Self::Enqueued,
            "Invisible" => Self::Delivered,
            "Completed" => Self::Completed,
            "Expired" => Self::Expired,
            "DeliveryCountExceeded" => Self::GivenUp,
            _ => Self::Rejected,
        }
    }
}

/// The newest commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    /// By number: the highest is the newest.
    commands: BTreeMap<u64, Command>,
}

impl Book {
    /// Takes in what somebody tells of a command.
    pub fn learn(&mut self, command: Command, step: Option<Step>) {
        let Ok(number) = command.id.parse() else { return };
        self.commands.entry(number).or_default().learn(command, step);
        while self.commands.len() > BOOK_MAX {
            self.commands.pop_first();
        }
    }

    /// What became of a command's receipt.
    pub fn receipt(&mut self, command: &str, step: Step) {
        let known = command.parse().ok().and_then(|number: u64| self.commands.get_mut(&number));
        if let Some(known) = known.filter(|known| !known.steps.contains(&step)) {
            known.steps.push(step);
        }
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether older ones had to go.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.commands.len() >= BOOK_MAX
    }

    /// How many of them are at this stage.
    #[must_use]
    pub fn count(&self, stage: Stage) -> u64 {
        self.commands.values().filter(|command| Stage::of(&command.state) == stage).count() as u64
    }

    /// The newest, those at the stage if one is named.
    #[must_use]
    pub fn newest(&self, stage: Option<Stage>, most: usize) -> Vec<&Command> {
        let wanted = |command: &&Command| stage.is_none_or(|stage| Stage::of(&command.state) == stage);
        self.commands.values().rev().filter(wanted).take(most).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Command> {
        self.commands.get(&number)
    }

    /// Those that ended without effect, the latest end first.
    #[must_use]
    pub fn dead(&self, most: usize) -> Vec<&Command> {
        let dead = self.commands.values().filter(|command| command.can_be_sent_again).collect();
        let mut dead = sorted(dead, |one: &&Command, other| other.ended_time.cmp(&one.ended_time));
        dead.truncate(most);
        dead
    }

    /// How long those took that were completed since then.
    #[must_use]
    pub fn latencies(&self, since: Moment) -> Latencies {
        let done = self.commands.values().filter(|command| command.state == "Completed");
        Latencies::of(done.filter_map(|command| {
            let (begun, ended) = (command.enqueued_time?, command.ended_time?);
            (ended >= since).then(|| begun.millis_until(ended))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(id: u64, state: &str) -> Command {
        let ended = !matches!(state, "Enqueued" | "Invisible");
        Command {
            id: id.to_string(),
            state: state.to_owned(),
            enqueued_time: Some(Moment(1_000)),
            ended_time: ended.then(|| Moment(1_000 + id as i64)),
            can_be_sent_again: ended && state != "Completed",
            ..Command::default()
        }
    }

    #[test]
    fn every_command_is_at_one_stage_and_the_newest_come_first() {
        let mut book = Book::default();
        for (id, state) in
            ["Enqueued", "Invisible", "Completed", "Expired", "Rejected", "DeliveryCountExceeded", "Purged"].iter().enumerate()
        {
            book.learn(command(id as u64, state), None);
        }
        assert_eq!(Stage::ALL.map(|stage| book.count(stage)), [1, 1, 1, 1, 2, 1]);
        let ids = |stage, most| book.newest(stage, most).iter().map(|command| command.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(None, 2), ids(Some(Stage::Rejected), 9)),
            (vec!["6".to_owned(), "5".to_owned()], vec!["6".to_owned(), "4".to_owned()])
        );
        assert_eq!(book.dead(2).iter().map(|command| command.id.as_str()).collect::<Vec<_>>(), ["6", "5"]);
        assert!(Stage::ALL.iter().all(|stage| Stage::named(stage.name()) == Some(*stage)));
    }

    #[test]
    fn what_is_told_late_does_not_take_a_command_back() {
        let mut book = Book::default();
        book.learn(command(7, "Completed"), None);
        book.learn(command(7, "Enqueued"), None);
        assert_eq!(book.get(7).unwrap().state, "Completed");
        book.learn(Command { id: "x".to_owned(), ..Command::default() }, None);
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut book = Book::default();
        (0..2_000).for_each(|id| book.learn(command(id, "Completed"), None));
        assert_eq!((book.len(), book.newest(None, 1)[0].id.as_str(), book.is_full()), (BOOK_MAX, "1999", true));
        assert_eq!(book.latencies(Moment(2_500)).len(), 500);
    }
}
