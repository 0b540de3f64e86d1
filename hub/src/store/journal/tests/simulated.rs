//! The journal over turmoil's file system, against a model, with a crash at every barrier.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::config;
use super::disks::{Faults, FaultyDisk, SECTOR_BYTES, SimulatedDisk};
use super::rig::Rig;
use crate::store::journal::JournalConfig;
use crate::store::{Fate, Ticket};

const PARTITIONS: u16 = 3;

/// What a test does.
#[derive(Clone, Debug)]
enum Step {
    /// Offers a batch: partitions and lengths of its events.
    Offer(Vec<(u16, usize)>),
    /// The writer's turn: the group, or a tick.
    Turn,
}

/// One life of the process.
#[derive(Clone, Debug)]
struct Life {
    steps: Vec<Step>,
    /// At which barrier the power goes; 0: after the last step, without closing.
    stop_at: u64,
    close: bool,
    /// Whether only the process dies, and what was written and not synced is still there.
    power_stays: bool,
}

/// What must be there.
#[derive(Debug, Default)]
struct Model {
    /// Acknowledged, or seen by a reader.
    kept: BTreeMap<(u16, u64), Vec<u8>>,
    /// Offered and not acknowledged, in order.
    open: BTreeMap<u16, Vec<Vec<u8>>>,
    serial: u32,
    begin: BTreeMap<u16, u64>,
}

impl Model {
    fn content(&mut self, length: usize) -> Vec<u8> {
        self.serial += 1;
        self.serial.to_le_bytes().into_iter().cycle().take(length.max(4)).collect()
    }

    /// After a start: everything kept is there, and what else is there was offered, in order.
    fn check(&mut self, rig: &Rig) {
        assert_eq!(rig.stats().holes, 0, "a crash leaves no hole");
        for partition in 0..PARTITIONS {
            let (begin, next) = (rig.partition(partition).begin_sequence_number.0, rig.next(partition));
            let found = rig.read(partition, 0);
            assert_eq!(found.iter().map(|event| event.0).collect::<Vec<_>>(), (begin..next).collect::<Vec<_>>(), "contiguous");
            let last_kept = self.kept.range((partition, 0)..=(partition, u64::MAX)).next_back().map_or(0, |((_, number), _)| number + 1);
            assert!(next >= last_kept, "partition {partition} ends at {next}, before acknowledged {last_kept}");
            let mut open = self.open.remove(&partition).unwrap_or_default().into_iter();
            for (number, content) in found {
                match self.kept.get(&(partition, number)) {
                    Some(kept) => assert_eq!(*kept, content, "partition {partition} number {number}"),
                    None => {
                        assert_eq!(open.next(), Some(content.clone()), "partition {partition} number {number} was offered");
                        self.kept.insert((partition, number), content);
                    }
                }
            }
            self.begin.insert(partition, begin);
        }
        self.open.clear();
    }

    /// After a turn: what has become durable is what was offered first.
    fn acknowledge(&mut self, rig: &Rig) {
        for partition in 0..PARTITIONS {
            let known = self.kept.range((partition, 0)..=(partition, u64::MAX)).next_back().map_or(0, |((_, number), _)| number + 1);
            for (number, content) in rig.read(partition, known) {
                assert_eq!(self.open.get_mut(&partition).unwrap().remove(0), content);
                self.kept.insert((partition, number), content);
            }
        }
    }
}

/// Lives until the power goes; returns how many barriers there were.
fn live(life: &Life, config: JournalConfig, model: &mut Model) -> u64 {
    let faults = Arc::new(Faults::default());
    faults.stop_at.store(life.stop_at, SeqCst);
    let stopped = || faults.stopped.load(SeqCst);
    let disk = FaultyDisk { disk: Arc::new(SimulatedDisk::open()), faults: faults.clone() };
    let mut rig = match Rig::open(Arc::new(disk), config) {
        Ok(rig) => rig,
        Err(error) => {
            assert!(stopped(), "{error:?}");
            return faults.barriers.load(SeqCst);
        }
    };
    model.check(&rig);
    let mut tickets: Vec<Ticket> = Vec::new();
    for step in &life.steps {
        if stopped() {
            break;
        }
        match step {
            Step::Offer(events) => {
                let contents = events.iter().map(|&(partition, length)| (partition, model.content(length))).collect::<Vec<_>>();
                let batch = contents.iter().map(|(partition, content)| (*partition, &content[..])).collect::<Vec<_>>();
                tickets.push(rig.offer(&batch).unwrap());
                for (partition, content) in contents {
                    model.open.entry(partition).or_default().push(content);
                }
            }
            Step::Turn => {
                rig.clock.0.fetch_add(100, SeqCst);
                rig.turn();
                model.acknowledge(&rig);
                tickets.retain(|&ticket| rig.fate(ticket) == Fate::Pending);
                assert!(tickets.is_empty() && (stopped() || model.open.values().all(Vec::is_empty)), "a turn settles all");
            }
        }
    }
    if life.close && !stopped() {
        rig.close();
    }
    faults.barriers.load(SeqCst)
}

/// Lets the lives follow one another, with a crash after each; returns the barriers of each.
fn run(seed: u64, lives: Vec<Life>, config: &JournalConfig) -> Vec<u64> {
    let mut builder = turmoil::Builder::new();
    builder.rng_seed(seed).fs().block_size(SECTOR_BYTES as u64);
    let mut sim = builder.build();
    let count = lives.len();
    let state = Rc::new(RefCell::new((lives.into_iter(), Model::default(), Vec::new())));
    let hub = state.clone();
    let config = config.clone();
    sim.host("hub", move || {
        let (hub, config) = (hub.clone(), config.clone());
        async move {
            {
                let (lives, model, barriers) = &mut *hub.borrow_mut();
                for life in lives.by_ref() {
                    barriers.push(live(&life, config.clone(), model));
                    if !life.power_stays {
                        break;
                    }
                }
            }
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    while state.borrow().2.len() < count {
        sim.step().unwrap();
        sim.crash("hub");
        sim.bounce("hub");
    }
    state.borrow().2.clone()
}

fn scenario() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..12_usize {
        steps.push(Step::Offer(vec![(0, 300 + 100 * round), (1, 5)]));
        steps.push(Step::Offer(vec![(2, 1500), (0, 10)]));
        steps.push(Step::Turn);
        if round % 5 == 4 {
            steps.push(Step::Turn);
        }
    }
    steps
}

fn verification() -> Life {
    Life { steps: vec![Step::Offer(vec![(0, 9), (1, 9), (2, 9)]), Step::Turn], stop_at: 0, close: false, power_stays: false }
}

#[test]
fn a_crash_at_every_barrier_loses_nothing_that_was_acknowledged() {
    let config = config(PARTITIONS);
    let life = |stop_at, close, power_stays| Life { steps: scenario(), stop_at, close, power_stays };
    let barriers = run(1, vec![life(0, true, false)], &config)[0];
    assert!(barriers > 40, "{barriers}");
    for stop_at in 1..=barriers {
        for seed in 0..3 {
            // Stop while running, stop while recovering from that, and once more.
            let recovery = |stop_at| Life { stop_at, ..verification() };
            let lives = vec![
                life(stop_at, true, seed == 1),
                recovery(1 + seed + stop_at % 7),
                recovery(2 + stop_at % 9),
                verification(),
                verification(),
            ];
            let what = format!("seed {seed}, barrier {stop_at}");
            std::panic::catch_unwind(|| run(seed, lives, &config)).unwrap_or_else(|_| panic!("failed with {what}"));
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let events = prop::collection::vec((0..PARTITIONS, prop_oneof![0..40_usize, 400..600_usize, 3000..9000_usize]), 1..5);
    prop::collection::vec(prop_oneof![3 => events.prop_map(Step::Offer), 2 => Just(Step::Turn)], 0..25)
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (steps(), prop_oneof![Just(0), 1..60_u64], any::<bool>(), any::<bool>());
    let life = life.prop_map(|(steps, stop_at, close, power_stays)| Life { steps, stop_at, close, power_stays });
    prop::collection::vec(life, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_history_matches_the_model(seed in any::<u64>(), lives in lives(), keep_all in any::<bool>()) {
        let retention_bytes = if keep_all { u64::MAX } else { 60 * 1024 };
        let config = JournalConfig { retention_bytes, ..config(PARTITIONS) };
        let mut lives = lives;
        lives.push(verification());
        lives.push(verification());
        run(seed, lives, &config);
        Ok::<(), TestCaseError>(())?;
    }
}
