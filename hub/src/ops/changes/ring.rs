//! The latest changes, numbered, in two bounded lanes: a storm in one takes nothing from the other. Pure: who wakes whom is not known here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lane::{Budget, COMMANDS_BUDGET, FLEET_BUDGET, Lane, Lanes, Published, is_of_fleet};
use crate::core::change::Change;
use crate::core::time::UnixMillis;

/// How many changes a call looks through at most, so that nobody who publishes waits for one who reads.
pub const PAGE: usize = 512;

/// How many old changes of a lane one publication lets go of beside what it needs room for: more than one, so that they go faster than new
/// ones come.
const OLD_PER_PUSH: usize = 4;

/// The ring. Numbers are one row over both lanes.
#[derive(Debug)]
pub struct Ring {
    fleet: Lane,
    commands: Lane,
    next: u64,
}

/// Where somebody stands who reads.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// All with smaller numbers are behind it.
    pub next: u64,
    lanes: Lanes,
    /// Its place in the fleet's lane, if it reads that.
    fleet: u64,
    /// Its place in the commands' lane, if it reads that.
    commands: u64,
}

/// What somebody reads next.
#[derive(Debug)]
pub enum Span {
    /// So many in the lanes that he reads are gone.
    Skipped(u64),
    /// These, in order; none when he has read all.
    Changes(Vec<Arc<Published>>),
}

/// Why nobody can stand at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Something behind it, in the lanes that are wanted, is gone.
    Gone,
    /// It is not reached yet.
    Ahead,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new(FLEET_BUDGET, COMMANDS_BUDGET)
    }
}

impl Ring {
    fn new(fleet: Budget, commands: Budget) -> Self {
        Self { fleet: Lane::new(fleet), commands: Lane::new(commands), next: 1 }
    }

    /// The number that the next change gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Behind all that has happened.
    pub fn end(&self, lanes: Lanes) -> Cursor {
        self.cursor(self.next, lanes)
    }

    /// Before the change with this number, with nothing lost from there on.
    pub fn stand(&self, number: u64, lanes: Lanes) -> Result<Cursor, NoPlace> {
        if number > self.next {
            return Err(NoPlace::Ahead);
        }
        let is_whole = (!lanes.fleet || self.fleet.is_whole_from(number)) && (!lanes.commands || self.commands.is_whole_from(number));
        if is_whole { Ok(self.cursor(number, lanes)) } else { Err(NoPlace::Gone) }
    }

    /// Takes a change in; the oldest of its lane make room.
    pub fn push(&mut self, now: UnixMillis, change: Change) {
        let lane = if is_of_fleet(change.kind()) { &mut self.fleet } else { &mut self.commands };
        lane.push(Published::new(self.next, now, change));
        self.next += 1;
        self.forget_old(now, OLD_PER_PUSH);
    }

    /// Takes note that something has happened to the fleet that can't be told; answers what its lane kept.
    #[must_use]
    pub fn lose_fleet(&mut self) -> VecDeque<Arc<Published>> {
        let lost = self.fleet.lose(self.next);
        self.next += 1;
        lost
    }

    /// Lets go of at most `limit` changes of each lane that are too old; says whether there are more.
    pub fn forget_old(&mut self, now: UnixMillis, limit: usize) -> bool {
        let fleet = self.fleet.forget_old(now, limit);
        self.commands.forget_old(now, limit) || fleet
    }

    /// What comes at the cursor, at most [`PAGE`]; moves it behind that.
    pub fn read(&self, cursor: &mut Cursor) -> Span {
        let skipped = self.skip(cursor);
        if skipped > 0 {
            // The position must not lie before anything that has been told to be gone, as far as nothing that is kept lies there too.
            cursor.next = self.upcoming(cursor).map_or(self.next, |published| published.number);
            return Span::Skipped(skipped);
        }
        let mut changes = Vec::new();
        while changes.len() < PAGE
            && let Some(published) = self.upcoming(cursor)
        {
            let place = if is_of_fleet(published.change.kind()) { &mut cursor.fleet } else { &mut cursor.commands };
            *place += 1;
            changes.push(Arc::clone(published));
        }
        // All that is left is in lanes that the cursor passes over.
        cursor.next = self.upcoming(cursor).map_or(self.next, |published| published.number);
        Span::Changes(changes)
    }

    /// Moves the cursor over what is gone; says how much that is.
    fn skip(&self, cursor: &mut Cursor) -> u64 {
        let mut skipped = 0;
        for (is_read, place, lane) in
            [(cursor.lanes.fleet, &mut cursor.fleet, &self.fleet), (cursor.lanes.commands, &mut cursor.commands, &self.commands)]
        {
            if is_read && *place < lane.first() {
                skipped += lane.first() - *place;
                *place = lane.first();
            }
        }
        skipped
    }

    /// The next one for the cursor.
    fn upcoming(&self, cursor: &Cursor) -> Option<&Arc<Published>> {
        let fleet = self.fleet.at(cursor.fleet).filter(|_| cursor.lanes.fleet);
        let command = self.commands.at(cursor.commands).filter(|_| cursor.lanes.commands);
        fleet.into_iter().chain(command).min_by_key(|published| published.number)
    }

    fn cursor(&self, number: u64, lanes: Lanes) -> Cursor {
        Cursor { next: number, lanes, fleet: self.fleet.place_of(number), commands: self.commands.place_of(number) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::core::command::{CommandId, Outcome, Receipt, ReceiptId};
    use crate::core::device_id::DeviceId;
    use crate::core::identity::GenerationId;
    use crate::ops::changes::lane::{KEPT_FOR, cost};

    const FLEET: Budget = Budget { changes: 900, bytes: 600_000 };
    const COMMANDS: Budget = Budget { changes: 60, bytes: 50_000 };

    fn change(of_fleet: bool) -> Change {
        let device_id = DeviceId::parse("D").unwrap();
        if of_fleet {
            return Change::IdentityDeleted(device_id);
        }
        Change::Receipt(Receipt {
            id: ReceiptId(1),
            command: CommandId(1),
            original_message_id: "m1".into(),
            device_id,
            generation_id: GenerationId("1".into()),
            outcome: Outcome::Completed,
            time: UnixMillis(0),
            expiry_time: UnixMillis(0),
            delivery_count: 0,
        })
    }

    fn tagged(bytes: usize) -> Change {
        Change::IdentityWritten(Arc::new(crate::core::identity::DeviceIdentity {
            tags: Some("x".repeat(bytes)),
            ..crate::ops::world::identity("D")
        }))
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// So many of the fleet's, or of the commands', happen; the fleet's with so many bytes of tags.
        Happen {
            of_fleet: bool,
            count: usize,
            tags: usize,
        },
        Pass {
            minutes: u64,
        },
        Read {
            reader: usize,
        },
        /// The reader goes on from its position.
        Cut {
            reader: usize,
        },
        /// The reader asks for any number; the first change has 1.
        Jump {
            reader: usize,
            number: u64,
        },
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (any::<bool>(), 0..300usize, prop_oneof![Just(0), 0..2000usize])
                .prop_map(|(of_fleet, count, tags)| Event::Happen { of_fleet, count, tags }),
            1 => (0..40u64).prop_map(|minutes| Event::Pass { minutes }),
            4 => (0..3usize).prop_map(|reader| Event::Read { reader }),
            1 => (0..3usize).prop_map(|reader| Event::Cut { reader }),
            1 => (0..3usize, 1..4000u64).prop_map(|(reader, number)| Event::Jump { reader, number }),
        ]
    }

    /// All that ever happened, with what is kept of it.
    #[derive(Default)]
    struct Model(Vec<Happened>);

    struct Happened {
        of_fleet: bool,
        cost: usize,
        time: UnixMillis,
        kept: bool,
    }

    /// A reader, as the model sees it: which numbers are still to come.
    struct Reader {
        lanes: Lanes,
        cursor: Cursor,
        expected: std::collections::BTreeSet<u64>,
    }

    impl Model {
        fn happen(&mut self, change: &Change, now: UnixMillis) {
            self.0.push(Happened { of_fleet: is_of_fleet(change.kind()), cost: cost(change), time: now, kept: true });
        }

        /// What fits into the budgets, from the newest back, and is still there, stays.
        fn make_room(&mut self) {
            for (of_fleet, budget) in [(true, FLEET), (false, COMMANDS)] {
                let mut room = (budget.changes, budget.bytes);
                for happened in self.0.iter_mut().rev().filter(|happened| happened.of_fleet == of_fleet) {
                    happened.kept &= room.0 > 0 && room.1 >= happened.cost;
                    room = if happened.kept { (room.0 - 1, room.1 - happened.cost) } else { (0, 0) };
                }
            }
        }

        fn forget_old(&mut self, now: UnixMillis) {
            self.0.iter_mut().filter(|happened| now.since(happened.time) > KEPT_FOR).for_each(|happened| happened.kept = false);
        }

        fn is_kept(&self, number: u64) -> bool {
            self.0[number as usize - 1].kept
        }

        /// The numbers in these lanes from `number` on.
        fn wanted(&self, number: u64, lanes: Lanes) -> impl Iterator<Item = u64> {
            let in_lane = move |happened: &Happened| if happened.of_fleet { lanes.fleet } else { lanes.commands };
            let numbers = (1..).zip(&self.0).filter(move |(_, happened)| in_lane(happened)).map(|(number, _)| number);
            numbers.filter(move |wanted| *wanted >= number)
        }
    }

    /// The reader asks for `number`, and goes to the end when it can't stand there.
    fn stand(ring: &Ring, model: &Model, reader: &mut Reader, number: u64) {
        let next = model.0.len() as u64 + 1;
        let reason = if number > next {
            Some(NoPlace::Ahead)
        } else {
            model.wanted(number, reader.lanes).any(|number| !model.is_kept(number)).then_some(NoPlace::Gone)
        };
        let stood = ring.stand(number, reader.lanes);
        assert_eq!(stood.err(), reason);
        reader.cursor = stood.unwrap_or_else(|_| ring.end(reader.lanes));
        let from = if reason.is_none() { number } else { next };
        reader.expected = model.wanted(from, reader.lanes).collect();
    }

    fn read(ring: &Ring, model: &Model, reader: &mut Reader) {
        let before = reader.expected.len();
        reader.expected.retain(|number| model.is_kept(*number));
        let gone = (before - reader.expected.len()) as u64;
        match ring.read(&mut reader.cursor) {
            Span::Skipped(count) => assert_eq!(count, gone),
            Span::Changes(changes) => {
                assert_eq!(gone, 0, "whoever lost something hears of it first");
                let told: Vec<u64> = changes.iter().map(|published| published.number).collect();
                assert_eq!(told, reader.expected.iter().copied().take(PAGE).collect::<Vec<_>>());
                reader.expected.retain(|number| !told.contains(number));
            }
        }
        assert_eq!(reader.cursor.next, reader.expected.first().copied().unwrap_or(ring.next()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a list that forgets nothing and marks what is kept: readers of either lane and of both are told what has happened there,
        /// in order; they hear of exactly what they lost there, and of nothing that went elsewhere.
        #[test]
        fn everybody_is_told_of_the_lanes_that_he_reads(events in proptest::collection::vec(event(), 1..40)) {
            let (mut ring, mut model, mut now) = (Ring::new(FLEET, COMMANDS), Model::default(), UnixMillis(0));
            let mut readers = [(true, false), (false, true), (true, true)].map(|(fleet, commands)| {
                let lanes = Lanes { fleet, commands };
                Reader { lanes, cursor: ring.end(lanes), expected: std::collections::BTreeSet::new() }
            });
            for event in events {
                match event {
                    Event::Happen { of_fleet, count, tags } => {
                        let change = if of_fleet && tags > 0 { tagged(tags) } else { change(of_fleet) };
                        for _ in 0..count {
                            ring.push(now, change.clone());
                            model.happen(&change, now);
                            let number = model.0.len() as u64;
                            let wants = |reader: &&mut Reader| if of_fleet { reader.lanes.fleet } else { reader.lanes.commands };
                            readers.iter_mut().filter(wants).for_each(|reader| {
                                reader.expected.insert(number);
                            });
                        }
                    }
                    Event::Pass { minutes } => now = now.plus(Duration::from_secs(minutes * 60)),
                    Event::Read { reader } => read(&ring, &model, &mut readers[reader]),
                    Event::Cut { reader } => {
                        let number = readers[reader].cursor.next;
                        stand(&ring, &model, &mut readers[reader], number);
                    }
                    Event::Jump { reader, number } => stand(&ring, &model, &mut readers[reader], number),
                }
                while ring.forget_old(now, 7) {}
                model.make_room();
                model.forget_old(now);
            }
        }
    }

    #[test]
    fn a_storm_of_commands_takes_nothing_from_the_fleet() {
        let mut ring = Ring::default();
        let (fleet, both) = (Lanes { fleet: true, commands: false }, Lanes { fleet: true, commands: true });
        ring.push(UnixMillis(0), change(true));
        (0..COMMANDS_BUDGET.changes + 5).for_each(|_| ring.push(UnixMillis(0), change(false)));
        assert!(ring.stand(1, fleet).is_ok());
        assert_eq!(ring.stand(1, both).err(), Some(NoPlace::Gone));
        assert!(matches!(ring.read(&mut ring.stand(1, fleet).unwrap()), Span::Changes(changes) if changes.len() == 1));
    }

    #[test]
    fn old_changes_go_faster_than_new_ones_come() {
        let mut ring = Ring::default();
        let lanes = Lanes { fleet: true, commands: true };
        (0..100).for_each(|number| ring.push(UnixMillis(0), change(number % 2 == 0)));
        let later = UnixMillis(0).plus(2 * KEPT_FOR);
        (0..25).for_each(|_| ring.push(later, change(true)));
        assert!(ring.stand(101, lanes).is_ok() && !ring.forget_old(later, 0));
        assert_eq!(ring.stand(100, lanes).err(), Some(NoPlace::Gone));
    }
}
