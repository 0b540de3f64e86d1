//! The newest commands of the hub, as the lists and the live link tell of them: where each is, and how many are where. What somebody has asked for
//! stays, however much comes after it.

use super::change::{Change, Command, Step};
use super::order::sorted;

/// How many are kept of the newest, of those at the stage that is looked at, and of those that ended without effect.
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
    /// Expired, rejected or given up: none of the funnel's, but all of those that can be sent again.
    Dead,
}

impl Stage {
    /// Every one of the funnel, in the order of a command's way.
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
            Self::Dead => "Ended without effect",
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
            Self::Dead => "DeadLettered",
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
        Self::ALL.into_iter().chain([Self::Dead]).find(|stage| stage.name() == name)
    }

    /// Whether a command is there.
    #[must_use]
    pub fn has(self, command: &Command) -> bool {
        if self == Self::Dead { command.can_be_sent_again } else { Self::of(&command.state) == self }
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
    /// By number: the last is the newest. Most that come are, so that nothing cleverer is worth its code.
    entries: Vec<Entry>,
    /// What is looked at.
    stage: Option<Stage>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    number: u64,
    command: Command,
    /// Whether a list has told of it because somebody wanted to see it.
    asked: bool,
    /// Whether its steps were asked for.
    way_asked: bool,
}

impl Book {
    /// Another stage is looked at, or the same from its newest on: what was asked for before may go.
    pub fn open(&mut self, stage: Option<Stage>) {
        self.stage = stage;
        self.entries.iter_mut().for_each(|entry| entry.asked = false);
    }

    /// Something was missed: what lists tell counts more than what was heard.
    pub fn doubt(&mut self) {
        for entry in &mut self.entries {
            entry.command.doubt();
            entry.way_asked = false;
        }
    }

    /// Takes in a page that somebody asked for.
    pub fn told(&mut self, page: Vec<Command>) {
        for command in page {
            if let Some(entry) = self.entry(&command) {
                entry.asked = true;
                entry.command.learn(command, None);
            }
        }
        self.trim();
    }

    /// Takes in what the live link tells.
    pub fn hear(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Command(command, step) => self.learn(Command::clone(command), step.clone()),
                Change::Receipt(receipt) => {
                    if let (Some(time), Some(step)) = (receipt.time, receipt.step.clone()) {
                        self.receipt(&receipt.command_id, Step { time, step, reason: receipt.reason.clone(), ..Step::default() });
                    }
                }
                _ => {}
            }
        }
        self.trim();
    }

    /// Takes in what somebody tells of one.
    pub fn learn(&mut self, command: Command, step: Option<Step>) {
        if let Some(entry) = self.entry(&command) {
            entry.command.learn(command, step);
        }
    }

    /// Whether its steps are to be asked for: they are not known, and were not asked for yet.
    pub fn wants_way(&mut self, number: u64) -> bool {
        let entry = self.place(number).ok().and_then(|place| self.entries.get_mut(place));
        entry.is_some_and(|entry| !entry.command.has_whole_way() && !std::mem::replace(&mut entry.way_asked, true))
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        let place = self.entries.partition_point(|entry| entry.number < number);
        if self.entries.get(place).is_some_and(|entry| entry.number == number) { Ok(place) } else { Err(place) }
    }

    fn entry(&mut self, command: &Command) -> Option<&mut Entry> {
        let number = command.id.parse().ok()?;
        let place = self.place(number).unwrap_or_else(|place| {
            self.entries.insert(place, Entry { number, command: Command::default(), asked: false, way_asked: false });
            place
        });
        self.entries.get_mut(place)
    }

    /// Lets the oldest go that nobody asked for: of the dead, of those at the stage, and of all others, each by itself.
    fn trim(&mut self) {
        if self.entries.len() <= BOOK_MAX {
            return;
        }
        let stage = self.stage;
        let kind = |command: &Command| match (command.can_be_sent_again, stage.is_some_and(|stage| stage.has(command))) {
            (true, _) => 0,
            (_, true) => 1,
            _ => 2,
        };
        let mut held = [0_usize; 3];
        self.entries.iter().filter(|entry| !entry.asked).for_each(|entry| held[kind(&entry.command)] += 1);
        self.entries.retain(|entry| {
            let held = &mut held[kind(&entry.command)];
            let stays = *held <= BOOK_MAX || entry.asked;
            *held -= usize::from(!stays);
            stays
        });
    }

    fn receipt(&mut self, command: &str, step: Step) {
        let place = command.parse().ok().and_then(|number| self.place(number).ok());
        let known = place.and_then(|place| self.entries.get_mut(place)).map(|entry| &mut entry.command);
        if let Some(known) = known.filter(|known| !known.steps.contains(&step)) {
            known.steps.push(step);
        }
    }

    fn commands(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.entries.iter().map(|entry| &entry.command)
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest from this number on, those at the stage if one is named.
    #[must_use]
    pub fn newest(&self, stage: Option<Stage>, from: u64, most: usize) -> Vec<&Command> {
        let (Ok(first) | Err(first)) = self.place(from);
        let wanted = |command: &&Command| stage.is_none_or(|stage| stage.has(command));
        self.entries.iter().skip(first).rev().map(|entry| &entry.command).filter(wanted).take(most).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Command> {
        self.entries.get(self.place(number).ok()?).map(|entry| &entry.command)
    }

    /// As which command one was sent again, if it was: its own story says so, or the other's.
    #[must_use]
    pub fn sent_again_as(&self, command: &Command) -> Option<String> {
        let by_other = || self.commands().find(|other| other.again_of.as_ref() == Some(&command.id)).map(|other| other.id.clone());
        command.sent_again_as().or_else(by_other)
    }

    /// Those that ended without effect and were not sent again, the latest end first.
    #[must_use]
    pub fn dead(&self, most: usize) -> Vec<&Command> {
        let again: Vec<_> = self.commands().filter_map(|command| command.again_of.as_deref()).collect();
        let is_dead =
            |command: &&Command| command.can_be_sent_again && command.sent_again_as().is_none() && !again.contains(&command.id.as_str());
        let dead = self.commands().filter(is_dead).collect();
        let mut dead = sorted(dead, |one: &&Command, other| other.ended_time.cmp(&one.ended_time));
        dead.truncate(most);
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Moment;

    fn command(id: u64, state: &str) -> Command {
        let ended = !matches!(state, "Enqueued" | "Invisible");
        Command {
            id: id.to_string(),
            state: state.to_owned(),
            enqueued_time: Some(Moment(1_000)),
            ended_time: ended.then(|| Moment(1_000 + id as i64)),
            can_be_sent_again: matches!(state, "Expired" | "Rejected" | "DeliveryCountExceeded"),
            ..Command::default()
        }
    }

    fn step(time: i64, step: &str) -> Step {
        Step { time: Moment(time), step: step.to_owned(), ..Step::default() }
    }

    /// What the live link tells, some at a time.
    fn flow(book: &mut Book, ids: std::ops::Range<u64>, states: &[&str]) {
        for some in ids.collect::<Vec<_>>().chunks(300) {
            let heard = |id: &u64| {
                let state = states[*id as usize % states.len()];
                Change::Command(Box::new(command(*id, state)), Some(step(*id as i64, state)))
            };
            book.hear(&some.iter().map(heard).collect::<Vec<_>>());
        }
    }

    fn at(book: &Book, stage: Stage) -> usize {
        book.newest(Some(stage), 0, usize::MAX).len()
    }

    #[test]
    fn every_command_is_at_one_stage_and_the_newest_come_first() {
        let mut book = Book::default();
        let states = ["Enqueued", "Invisible", "Completed", "Expired", "Rejected", "DeliveryCountExceeded", "Purged"];
        book.told(states.iter().enumerate().map(|(id, state)| command(id as u64, state)).collect());
        assert_eq!(Stage::ALL.map(|stage| at(&book, stage)), [1, 1, 1, 1, 2, 1]);
        let ids = |stage, from, most| book.newest(stage, from, most).iter().map(|command| command.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(None, 0, 2), ids(Some(Stage::Rejected), 0, 9), ids(None, 6, 9)),
            (vec!["6".to_owned(), "5".to_owned()], vec!["6".to_owned(), "4".to_owned()], vec!["6".to_owned()])
        );
        assert_eq!(book.dead(2).iter().map(|command| command.id.as_str()).collect::<Vec<_>>(), ["5", "4"]);
        assert!(Stage::ALL.iter().all(|stage| Stage::named(stage.name()) == Some(*stage)));
        assert_eq!((Stage::named("DeadLettered"), at(&book, Stage::Dead), Stage::Dead.asked()), (Some(Stage::Dead), 3, "DeadLettered"));
    }

    #[test]
    fn what_is_told_late_does_not_take_a_command_back() {
        let mut book = Book::default();
        book.told(vec![command(7, "Completed")]);
        book.told(vec![command(7, "Enqueued"), Command { id: "x".to_owned(), ..Command::default() }]);
        assert_eq!((book.get(7).unwrap().state.as_str(), book.len()), ("Completed", 1));

        let delivered = Command { delivery_count: 1, ..command(8, "Invisible") };
        book.hear(&[Change::Command(Box::new(delivered.clone()), Some(step(5, "Delivered")))]);
        book.told(vec![command(8, "Enqueued")]);
        assert_eq!((book.get(8).unwrap().state.as_str(), book.get(8).unwrap().steps.len()), ("Invisible", 1));
        let returned = Command { delivery_count: 1, ..command(8, "Enqueued") };
        book.hear(&[Change::Command(Box::new(returned), Some(step(9, "Returned")))]);
        book.told(vec![delivered]);
        assert_eq!(book.get(8).unwrap().state, "Enqueued");
        // The hub was down, and gave back what it had not sent: its list is right.
        let again = Command { delivery_count: 2, ..command(8, "Invisible") };
        book.hear(&[Change::Command(Box::new(again), Some(step(10, "Delivered")))]);
        book.doubt();
        book.told(vec![Command { delivery_count: 1, ..command(8, "Enqueued") }]);
        assert_eq!(book.get(8).unwrap().state, "Enqueued");
    }

    #[test]
    fn what_was_asked_for_and_what_is_dead_outlive_what_flows_by() {
        let mut book = Book::default();
        book.open(Some(Stage::Expired));
        book.told((0..12).map(|id| command(id, "Expired")).collect());
        book.told((100..110).map(|id| command(id, "Purged")).collect());
        flow(&mut book, 1_000..4_000, &["Completed"]);
        assert_eq!((at(&book, Stage::Expired), at(&book, Stage::Rejected), at(&book, Stage::Completed)), (12, 10, BOOK_MAX));
        assert_eq!((book.dead(99).len(), book.newest(None, 0, 1)[0].id.as_str()), (12, "3999"));
        // Nobody looks at them any more; the dead stay.
        book.open(None);
        flow(&mut book, 4_000..4_001, &["Completed"]);
        assert_eq!((at(&book, Stage::Expired), at(&book, Stage::Rejected), book.len()), (12, 0, BOOK_MAX + 12));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut book = Book::default();
        book.open(Some(Stage::Completed));
        flow(&mut book, 0..9_000, &["Completed", "Expired", "Enqueued"]);
        assert_eq!((book.len(), at(&book, Stage::Completed), book.dead(usize::MAX).len()), (3 * BOOK_MAX, BOOK_MAX, BOOK_MAX));
    }

    #[test]
    fn one_that_was_sent_again_is_not_waiting_for_it() {
        let mut book = Book::default();
        book.told(vec![command(1, "Expired"), command(2, "Rejected"), command(3, "Expired")]);
        let told = Step { r#as: Some("9".to_owned()), ..step(7, "SentAgain") };
        book.hear(&[Change::Command(Box::new(command(1, "Expired")), Some(told))]);
        book.told(vec![Command { again_of: Some("2".to_owned()), ..command(10, "Enqueued") }]);
        let again = |id| book.get(id).and_then(|command| book.sent_again_as(command));
        assert_eq!((again(1).as_deref(), again(2).as_deref(), again(3)), (Some("9"), Some("10"), None));
        assert_eq!(book.dead(9).iter().map(|command| command.id.as_str()).collect::<Vec<_>>(), ["3"]);
    }
}
