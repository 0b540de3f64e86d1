//! The latest changes, numbered, in bounded lanes: a storm in one takes nothing from the others. Pure: who wakes whom is not known here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lane::{AUDIT_BUDGET, Budget, COMMANDS_BUDGET, FLEET_BUDGET, Lane, LaneName, Lanes, Published};
use crate::core::change::Change;
use crate::core::time::UnixMillis;

/// How many changes a call looks through at most, so that nobody who publishes waits for one who reads.
pub const PAGE: usize = 512;

/// How many old changes of a lane one publication lets go of beside what it needs room for: more than one, so that they go faster than new
/// ones come.
const OLD_PER_PUSH: usize = 4;

/// How many lanes there are.
const LANES: usize = LaneName::ALL.len();

/// The ring. Numbers are one row over all lanes.
#[derive(Debug)]
pub struct Ring {
    /// In the order of [`LaneName::ALL`].
    lanes: [Lane; LANES],
    next: u64,
}

/// Where somebody stands who reads.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// All with smaller numbers are behind it.
    pub next: u64,
    lanes: Lanes,
    /// Its place in each lane, for those that it reads.
    places: [u64; LANES],
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
        Self::new([FLEET_BUDGET, COMMANDS_BUDGET, AUDIT_BUDGET])
    }
}

impl Ring {
    fn new(budgets: [Budget; LANES]) -> Self {
        Self { lanes: budgets.map(Lane::new), next: 1 }
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
        let is_whole = LaneName::ALL.into_iter().all(|lane| !lanes.have(lane) || self.lanes[lane as usize].is_whole_from(number));
        if is_whole { Ok(self.cursor(number, lanes)) } else { Err(NoPlace::Gone) }
    }

    /// Takes a change in; the oldest of its lane make room.
    pub fn push(&mut self, now: UnixMillis, change: Change) {
        self.lanes[LaneName::of(change.kind()) as usize].push(Published::new(self.next, now, change));
        self.next += 1;
        self.forget_old(now, OLD_PER_PUSH);
    }

    /// Takes note that something has happened to the fleet that can't be told; answers what its lane kept.
    #[must_use]
    pub fn lose_fleet(&mut self) -> VecDeque<Arc<Published>> {
        let lost = self.lanes[LaneName::Fleet as usize].lose(self.next);
        self.next += 1;
        lost
    }

    /// Lets go of at most `limit` changes of each lane that are too old; says whether there are more.
    pub fn forget_old(&mut self, now: UnixMillis, limit: usize) -> bool {
        let mut more = false;
        for lane in &mut self.lanes {
            more |= lane.forget_old(now, limit);
        }
        more
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
            cursor.places[LaneName::of(published.change.kind()) as usize] += 1;
            changes.push(Arc::clone(published));
        }
        // All that is left is in lanes that the cursor passes over.
        cursor.next = self.upcoming(cursor).map_or(self.next, |published| published.number);
        Span::Changes(changes)
    }

    /// Moves the cursor over what is gone; says how much that is.
    fn skip(&self, cursor: &mut Cursor) -> u64 {
        let mut skipped = 0;
        for name in LaneName::ALL {
            let (place, first) = (&mut cursor.places[name as usize], self.lanes[name as usize].first());
            if cursor.lanes.have(name) && *place < first {
                skipped += first - *place;
                *place = first;
            }
        }
        skipped
    }

    /// The next one for the cursor.
    fn upcoming(&self, cursor: &Cursor) -> Option<&Arc<Published>> {
        let read = LaneName::ALL.into_iter().filter(|lane| cursor.lanes.have(*lane)).map(|lane| lane as usize);
        read.filter_map(|lane| self.lanes[lane].at(cursor.places[lane])).min_by_key(|published| published.number)
    }

    fn cursor(&self, number: u64, lanes: Lanes) -> Cursor {
        Cursor { next: number, lanes, places: std::array::from_fn(|lane| self.lanes[lane].place_of(number)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::core::audit::{AuditAction, AuditId, Deed, deed_of_change};
    use crate::core::change::{ChangeKind, Transition};
    use crate::core::command::{Acknowledgement, CommandId, Outcome, Receipt, ReceiptId, Step, StepKind};
    use crate::core::device_id::DeviceId;
    use crate::core::identity::{DeviceIdentity, GenerationId};
    use crate::core::session::{ConnectionId, DisconnectReason, Protocol};
    use crate::ops::changes::lane::{KEPT_FOR, cost};
    use crate::ops::world::{by_service, identity};

    const BUDGETS: [Budget; LANES] =
        [Budget { changes: 900, bytes: 600_000 }, Budget { changes: 60, bytes: 50_000 }, Budget { changes: 30, bytes: 60_000 }];

    fn change(lane: LaneName) -> Change {
        let device_id = DeviceId::parse("D").unwrap();
        match lane {
            LaneName::Fleet => Change::IdentityDeleted(device_id),
            LaneName::Audit => audited(Deed::done(AuditAction::CommandSent).to("D").saying("command 17")),
            LaneName::Commands => Change::Receipt(Receipt {
                id: ReceiptId(1),
                command: CommandId(1),
                original_message_id: "m1".into(),
                device_id,
                generation_id: GenerationId("1".into()),
                outcome: Outcome::Completed,
                time: UnixMillis(0),
                expiry_time: UnixMillis(0),
                delivery_count: 0,
            }),
        }
    }

    fn audited(deed: Deed) -> Change {
        Change::Audited(Arc::new(deed.entry(AuditId(1), UnixMillis(0), by_service())))
    }

    fn transition() -> Change {
        Change::Presence(Transition {
            device_id: DeviceId::parse("D").unwrap(),
            connection: ConnectionId(1),
            protocol: Protocol::Mqtt,
            address: [192, 0, 2, 1].into(),
            time: UnixMillis(0),
            disconnected: Some(DisconnectReason::TakenOver),
            connected: true,
        })
    }

    fn lanes(names: &[LaneName]) -> Lanes {
        Lanes::of(&ChangeKind::ALL.into_iter().filter(|kind| names.contains(&LaneName::of(*kind))).collect::<Vec<_>>())
    }

    fn tagged(bytes: usize) -> Change {
        Change::IdentityWritten(Arc::new(DeviceIdentity { tags: Some("x".repeat(bytes)), ..identity("D") }))
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// So many of a lane happen; the fleet's with so many bytes of tags.
        Happen {
            lane: LaneName,
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

    /// Who reads one lane alone, two, and all.
    const READERS: usize = 5;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..LANES, 0..300usize, prop_oneof![Just(0), 0..2000usize])
                .prop_map(|(lane, count, tags)| Event::Happen { lane: LaneName::ALL[lane], count, tags }),
            1 => (0..40u64).prop_map(|minutes| Event::Pass { minutes }),
            4 => (0..READERS).prop_map(|reader| Event::Read { reader }),
            1 => (0..READERS).prop_map(|reader| Event::Cut { reader }),
            1 => (0..READERS, 1..4000u64).prop_map(|(reader, number)| Event::Jump { reader, number }),
        ]
    }

    /// All that ever happened, with what is kept of it.
    #[derive(Default)]
    struct Model(Vec<Happened>);

    struct Happened {
        lane: LaneName,
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
            self.0.push(Happened { lane: LaneName::of(change.kind()), cost: cost(change), time: now, kept: true });
        }

        /// What fits into the budgets, from the newest back, and is still there, stays.
        fn make_room(&mut self) {
            for (lane, budget) in LaneName::ALL.into_iter().zip(BUDGETS) {
                let mut room = (budget.changes, budget.bytes);
                for happened in self.0.iter_mut().rev().filter(|happened| happened.lane == lane) {
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
            let numbers = (1..).zip(&self.0).filter(move |(_, happened)| lanes.have(happened.lane)).map(|(number, _)| number);
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

        /// Against a list that forgets nothing and marks what is kept: readers of one lane, of two and of all are told what has happened there,
        /// in order; they hear of exactly what they lost there, and of nothing that went elsewhere.
        #[test]
        fn everybody_is_told_of_the_lanes_that_he_reads(events in proptest::collection::vec(event(), 1..40)) {
            let (mut ring, mut model, mut now) = (Ring::new(BUDGETS), Model::default(), UnixMillis(0));
            use LaneName::{Audit, Commands, Fleet};
            let read_lanes: [&[LaneName]; READERS] = [&[Fleet], &[Commands], &[Audit], &[Fleet, Commands], &LaneName::ALL];
            let mut readers = read_lanes.map(|names| {
                let lanes = lanes(names);
                Reader { lanes, cursor: ring.end(lanes), expected: std::collections::BTreeSet::new() }
            });
            for event in events {
                match event {
                    Event::Happen { lane, count, tags } => {
                        let change = if lane == Fleet && tags > 0 { tagged(tags) } else { change(lane) };
                        for _ in 0..count {
                            ring.push(now, change.clone());
                            model.happen(&change, now);
                            let number = model.0.len() as u64;
                            readers.iter_mut().filter(|reader| reader.lanes.have(lane)).for_each(|reader| {
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
    fn a_storm_in_one_lane_takes_nothing_from_the_others() {
        for (stormy, budget) in [(LaneName::Commands, COMMANDS_BUDGET), (LaneName::Audit, AUDIT_BUDGET)] {
            let mut ring = Ring::default();
            let (fleet, both) = (lanes(&[LaneName::Fleet]), lanes(&[LaneName::Fleet, stormy]));
            ring.push(UnixMillis(0), change(LaneName::Fleet));
            (0..budget.changes + 5).for_each(|_| ring.push(UnixMillis(0), change(stormy)));
            assert!(ring.stand(1, fleet).is_ok());
            assert_eq!(ring.stand(1, both).err(), Some(NoPlace::Gone));
            assert!(matches!(ring.read(&mut ring.stand(1, fleet).unwrap()), Span::Changes(changes) if changes.len() == 1));
        }
    }

    /// What the documentation says of each lane, with all that is published when such a thing happens.
    #[test]
    fn an_hour_holds_as_many_a_second_as_we_say() {
        let kept_of_an_hour = |a_second: usize, published: &[Change], lane: LaneName| {
            let mut ring = Ring::default();
            for second in 0..60 * 60 {
                (0..a_second).for_each(|_| published.iter().for_each(|change| ring.push(UnixMillis(second * 1000), change.clone())));
            }
            ring.stand(1, lanes(&[lane])).is_ok()
        };
        let (before, after) = (identity("pump-with-a-name-of-some-length"), Arc::new(identity("pump-with-a-name-of-some-length")));
        let tagged = DeviceIdentity { tags: Some("t".to_owned()), ..before.clone() };
        let deed = deed_of_change(Some(&tagged), Some(&after));
        let written = [Change::IdentityWritten(after), audited(deed)];
        assert!(kept_of_an_hour(17, &written, LaneName::Fleet));
        assert!(kept_of_an_hour(40, &[transition()], LaneName::Fleet));
        assert!(kept_of_an_hour(2, &written, LaneName::Audit));
        let time = UnixMillis(0);
        let command = Arc::new(crate::core::command::Command {
            id: CommandId(1),
            device_id: before.device_id,
            generation_id: before.generation_id,
            enqueued_time: time,
            expiry_time: time,
            message_id: Some("m1".to_owned()),
            ack: Acknowledgement::Full,
            sent_by: "service".to_owned(),
            again_of: None,
            size_bytes: 100,
            delivery_count: 0,
            ended: None,
        });
        let step = |kind| Change::Command(Arc::clone(&command), Step { time, kind });
        let a_command = [
            step(StepKind::Enqueued),
            step(StepKind::SentAgain(CommandId(2))),
            step(StepKind::Ended { outcome: Outcome::Completed, receiver: None }),
            change(LaneName::Commands),
            change(LaneName::Commands),
            change(LaneName::Audit),
        ];
        assert!(kept_of_an_hour(1, &a_command, LaneName::Commands));
    }

    #[test]
    fn old_changes_go_faster_than_new_ones_come() {
        let mut ring = Ring::default();
        let (fleet, commands) = (LaneName::Fleet, LaneName::Commands);
        let lanes = lanes(&LaneName::ALL);
        (0..100).for_each(|number| ring.push(UnixMillis(0), change(if number % 2 == 0 { fleet } else { commands })));
        let later = UnixMillis(0).plus(2 * KEPT_FOR);
        (0..25).for_each(|_| ring.push(later, change(fleet)));
        assert!(ring.stand(101, lanes).is_ok() && !ring.forget_old(later, 0));
        assert_eq!(ring.stand(100, lanes).err(), Some(NoPlace::Gone));
    }
}
