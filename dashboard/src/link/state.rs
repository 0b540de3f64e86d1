//! The live link's life, as a machine without a socket or a clock: when to try, from where to go on, and what to say of it meanwhile.

use crate::model::change::{Message, What};
use crate::model::time::Moment;

/// How long to wait before each attempt; the last for all further ones. The first is short: a hub that restarts is back soon.
const WAITS_MS: [u64; 6] = [500, 1_000, 2_000, 4_000, 8_000, 15_000];

/// The hub says at least a heartbeat every 15 s; a line that is silent for so long is dead.
const SILENCE_MAX_MS: u64 = 40_000;

/// A hub that is there opens a socket and says its first word within this. Where nothing answers at all, a browser would wait for minutes.
const OPENING_MAX_MS: u64 = 10_000;

/// How long it says that it is back.
pub const BACK_SHOWN_MS: u64 = 4_000;

/// Where the link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asked for, never open yet.
    Opening,
    /// What is shown is what is.
    Live,
    /// Open again, and what was missed comes in.
    CatchingUp,
    /// Down, until the next attempt.
    Waiting {
        /// When that is.
        until: Moment,
    },
    /// Down, and an attempt is under way.
    Retrying,
}

/// What there is to say of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// Since when what is shown is old.
    pub down_since: Option<Moment>,
    /// How long it was down, just after it came back.
    pub back_after: Option<u64>,
    /// How many attempts have failed since it went down.
    pub attempts: u32,
    /// How many changes this page has missed for good.
    pub skipped: u64,
    /// Why the hub ended it, in the hub's words.
    pub problem: Option<String>,
}

impl Status {
    /// Whether there is no socket.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. } | Phase::Retrying)
    }
}

/// What the owner of the socket has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// Open a socket that goes on behind this position, or begins anew.
    Open(Option<String>),
    /// Close the socket, which is not worth anything, and open another one later.
    Close,
}

/// What the reader of the stream has to do with a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Take it in.
    Message(What),
    /// It was about the link.
    Nothing,
    /// Close the socket: there is no more to come, and another one has to be opened later.
    Over,
}

/// The link.
#[derive(Clone, Debug)]
pub struct Link {
    phase: Phase,
    /// Behind what it goes on.
    position: Option<String>,
    down_since: Option<Moment>,
    /// How long it was down before it came back, and when it did.
    back: Option<(Moment, u64)>,
    attempts: u32,
    /// When something was last heard, or an attempt was begun.
    heard: Moment,
    skipped: u64,
    problem: Option<String>,
}

impl Link {
    /// One that is to be opened now.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { phase: Phase::Opening, position: None, down_since: None, back: None, attempts: 0, heard: now, skipped: 0, problem: None }
    }

    /// What there is to say of it now.
    #[must_use]
    pub fn status(&self, now: Moment) -> Status {
        Status {
            phase: self.phase.clone(),
            down_since: self.down_since,
            back_after: self.back_after(now),
            attempts: self.attempts,
            skipped: self.skipped,
            problem: self.problem.clone(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Since when what is shown is old.
    #[must_use]
    pub fn down_since(&self) -> Option<Moment> {
        self.down_since
    }

    /// How long it was down, for as long as that is worth saying.
    #[must_use]
    pub fn back_after(&self, now: Moment) -> Option<u64> {
        self.back.filter(|(at, _)| at.millis_until(now) < BACK_SHOWN_MS).map(|(_, after)| after)
    }

    /// How many attempts have failed since it went down.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many changes the hub said that this page has missed.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Why the hub ended the stream, when it said so.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The socket is open.
    pub fn opened(&mut self, now: Moment) {
        self.heard = now;
        // Until something has been heard nobody knows whether the hub lets this page go on.
        self.phase = if self.down_since.is_some() { Phase::CatchingUp } else { Phase::Opening };
    }

    /// The socket is closed, or could not be opened. `chance` is between 0 and 1: a whole fleet of pages must not come back at once.
    pub fn closed(&mut self, now: Moment, chance: f64) -> Act {
        self.down_since.get_or_insert(now);
        self.back = None;
        let wait = WAITS_MS.get(self.attempts as usize).or(WAITS_MS.last()).copied().unwrap_or_default();
        self.attempts += 1;
        let spread = (wait as f64 * 0.4 * chance.clamp(0.0, 1.0)) as i64;
        self.phase = Phase::Waiting { until: now.plus(wait as i64 + spread) };
        Act::None
    }

    /// Something has come that says nothing but that the line is alive.
    pub fn sounded(&mut self, now: Moment) {
        self.heard = now;
    }

    /// A message of the changes has come.
    pub fn heard(&mut self, message: Message, now: Moment) -> Told {
        self.heard = now;
        if let Some(position) = message.position {
            self.position = Some(position);
        }
        match message.what {
            What::Problem(problem) => {
                self.problem = Some(problem);
                return Told::Over;
            }
            What::SnapshotBegin => {
                // There is nowhere to go on from in its middle.
                self.position = None;
                if self.down_since.is_some() {
                    self.phase = Phase::CatchingUp;
                }
                return Told::Message(What::SnapshotBegin);
            }
            What::Reset(reason) => {
                self.position = None;
                return Told::Message(What::Reset(reason));
            }
            _ => {}
        }
        match message.what {
            // The first message of a stream that is not a snapshot: the hub goes on from the position, and what was missed is on its way.
            What::Heartbeat => {
                self.is_up(now);
                Told::Nothing
            }
            What::SnapshotEnd => {
                self.is_up(now);
                Told::Message(What::SnapshotEnd)
            }
            What::Skipped(count) => {
                self.skipped += count;
                Told::Message(What::Skipped(count))
            }
            what => {
                if self.phase == Phase::Opening {
                    self.is_up(now);
                }
                Told::Message(what)
            }
        }
    }

    /// Time goes by. Called every second, and when the phase's own time has come.
    pub fn tick(&mut self, now: Moment) -> Act {
        match self.phase {
            Phase::Waiting { until } if until <= now => self.try_now(now),
            Phase::Opening | Phase::Retrying if self.heard.millis_until(now) > OPENING_MAX_MS => Act::Close,
            Phase::Live | Phase::CatchingUp if self.heard.millis_until(now) > SILENCE_MAX_MS => Act::Close,
            // Quiet after what was missed.
            Phase::CatchingUp if self.heard.millis_until(now) > 2_000 => {
                self.is_up(now);
                Act::None
            }
            _ => Act::None,
        }
    }

    /// Somebody does not want to wait.
    pub fn try_now(&mut self, now: Moment) -> Act {
        if !matches!(self.phase, Phase::Waiting { .. }) {
            return Act::None;
        }
        self.heard = now;
        self.phase = Phase::Retrying;
        Act::Open(self.position.clone())
    }

    fn is_up(&mut self, now: Moment) {
        self.phase = Phase::Live;
        self.attempts = 0;
        self.problem = None;
        if let Some(since) = self.down_since.take() {
            self.back = Some((now, since.millis_until(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Change;

    const NOW: Moment = Moment(1_700_000_000_000);

    fn message(what: What, position: Option<&str>) -> Message {
        Message { position: position.map(str::to_owned), what }
    }

    fn change(position: &str) -> Message {
        message(What::Change(Change::Deleted("d".to_owned())), Some(position))
    }

    fn live() -> Link {
        let mut link = Link::new(NOW);
        link.opened(NOW);
        link.heard(message(What::Heartbeat, None), NOW);
        link
    }

    #[test]
    fn it_is_live_when_something_has_been_heard() {
        let mut link = Link::new(NOW);
        link.opened(NOW);
        assert_eq!(link.phase(), &Phase::Opening);
        link.heard(message(What::Heartbeat, None), NOW);
        assert_eq!((link.phase(), link.down_since()), (&Phase::Live, None));
    }

    #[test]
    fn it_goes_on_behind_the_last_message_and_says_how_long_it_was_away() {
        let mut link = live();
        link.heard(change("3-7"), NOW);
        let cut = NOW.plus(1000);
        assert_eq!(link.closed(cut, 0.0), Act::None);
        assert_eq!((link.down_since(), link.status(cut).is_down()), (Some(cut), true));
        assert_eq!(link.tick(cut.plus(499)), Act::None);
        assert_eq!(link.tick(cut.plus(500)), Act::Open(Some("3-7".to_owned())));
        link.opened(cut.plus(600));
        assert_eq!(link.phase(), &Phase::CatchingUp);
        assert_eq!(link.heard(change("3-8"), cut.plus(610)), Told::Message(What::Change(Change::Deleted("d".to_owned()))));
        assert_eq!((link.phase(), link.status(NOW).is_down()), (&Phase::CatchingUp, false), "there may be more");
        link.heard(message(What::Heartbeat, None), cut.plus(700));
        assert_eq!((link.phase(), link.down_since(), link.back_after(cut.plus(800))), (&Phase::Live, None, Some(700)));
        assert_eq!(link.back_after(cut.plus(700 + 4000)), None);
    }

    #[test]
    fn it_waits_longer_each_time_and_never_more_than_the_longest() {
        let mut link = live();
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..8 {
            link.closed(now, 0.0);
            let Phase::Waiting { until } = *link.phase() else { panic!("it waits") };
            waits.push(now.millis_until(until));
            now = until;
            assert!(matches!(link.tick(now), Act::Open(_)));
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        assert_eq!((link.attempts(), link.down_since()), (8, Some(NOW)), "it is down since it was cut first");
        link.closed(now, 1.0);
        assert_eq!(link.phase(), &Phase::Waiting { until: now.plus(21_000) });
    }

    #[test]
    fn an_attempt_that_nobody_answers_has_an_end() {
        let mut link = Link::new(NOW);
        assert_eq!((link.tick(NOW.plus(10_000)), link.tick(NOW.plus(10_001))), (Act::None, Act::Close), "the first one");
        link.closed(NOW.plus(10_001), 0.0);
        let again = NOW.plus(11_000);
        assert_eq!(link.tick(again), Act::Open(None));
        assert_eq!((link.tick(again.plus(10_000)), link.tick(again.plus(10_001))), (Act::None, Act::Close), "each further one");
        link.closed(again, 0.0);
        link.try_now(again);
        link.opened(again.plus(10_000));
        assert_eq!(link.tick(again.plus(10_001)), Act::None, "it is open");
    }

    #[test]
    fn nobody_goes_on_from_the_middle_of_a_snapshot() {
        let mut link = live();
        link.heard(change("3-7"), NOW);
        link.heard(message(What::SnapshotBegin, None), NOW);
        link.closed(NOW, 0.0);
        assert_eq!(link.try_now(NOW), Act::Open(None));
    }

    #[test]
    fn a_reset_begins_anew_and_the_reader_is_told() {
        let mut link = live();
        link.heard(change("3-7"), NOW);
        assert_eq!(link.heard(message(What::Reset("TooOld".to_owned()), None), NOW), Told::Message(What::Reset("TooOld".to_owned())));
        link.closed(NOW, 0.0);
        assert_eq!(link.try_now(NOW), Act::Open(None));
    }

    #[test]
    fn what_was_skipped_is_counted() {
        let mut link = live();
        link.heard(message(What::Skipped(40), Some("3-50")), NOW);
        link.heard(message(What::Skipped(2), Some("3-60")), NOW);
        assert_eq!(link.skipped(), 42);
    }

    #[test]
    fn a_silent_line_is_given_up() {
        let mut link = live();
        assert_eq!(link.tick(NOW.plus(40_000)), Act::None);
        assert_eq!(link.tick(NOW.plus(40_001)), Act::Close);
    }

    #[test]
    fn a_line_on_which_anything_comes_is_alive() {
        let mut link = live();
        link.sounded(NOW.plus(30_000));
        assert_eq!(link.tick(NOW.plus(70_000)), Act::None);
    }

    #[test]
    fn why_the_hub_ended_it_is_kept_until_it_is_back() {
        let mut link = live();
        assert_eq!(link.heard(message(What::Problem("the session has ended".to_owned()), None), NOW), Told::Over);
        link.closed(NOW, 0.0);
        assert_eq!(link.problem(), Some("the session has ended"));
        assert_eq!(link.try_now(NOW), Act::Open(None));
        assert_eq!(link.try_now(NOW), Act::None, "one at a time");
        link.opened(NOW);
        link.heard(message(What::Heartbeat, None), NOW);
        assert_eq!(link.problem(), None);
    }
}
