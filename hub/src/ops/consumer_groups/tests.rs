use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::core::event::SequenceNumber;
use crate::core::time::UnixMillis;
use crate::ops::world::{NOW, TestClock};

struct Rig {
    groups: ConsumerGroups,
    clock: Arc<TestClock>,
}

const FIRST: PartitionId = PartitionId(0);

impl Rig {
    fn new() -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(NOW.0)));
        let groups = ConsumerGroups::new(NonZeroU16::new(2).unwrap(), Arc::clone(&clock) as _);
        groups.replace(groups_of(&["alerts"]));
        Self { groups, clock }
    }

    fn sit(&self, group: &str, epoch: Option<i64>) -> Result<ReaderSeat, SitRefused> {
        self.groups.sit(group, FIRST, epoch, Arc::default())
    }

    fn position(&self, group: &str) -> Option<u64> {
        let groups = self.groups.0.groups();
        let group = groups.all.iter().find(|known| known.name.is(group)).unwrap();
        group.places[0].position().map(|position| position.next.0)
    }
}

fn groups_of(names: &[&str]) -> Vec<ConsumerGroup> {
    names.iter().map(|name| ConsumerGroup::parse(name).unwrap()).collect()
}

fn deliver(seat: &ReaderSeat, number: u64) {
    seat.delivered(SequenceNumber(number), UnixMillis(1));
}

#[test]
fn default_is_always_there_and_names_are_found_without_case() {
    let rig = Rig::new();
    assert_eq!(rig.groups.names(), groups_of(&["$Default", "alerts"]));
    assert!(rig.sit("$default", None).is_ok());
    assert!(rig.sit("ALERTS", None).is_ok());
    assert_eq!(rig.sit("billing", None).unwrap_err(), SitRefused::UnknownGroup);
    let beyond = rig.groups.sit("alerts", PartitionId(2), None, Arc::default());
    assert_eq!(beyond.unwrap_err(), SitRefused::UnknownPartition);
    let many: Vec<String> = (0..30).map(|number| format!("g{number}")).collect();
    let many: Vec<&str> = ["$DEFAULT", "G0"].into_iter().chain(many.iter().map(String::as_str)).collect();
    rig.groups.replace(groups_of(&many));
    assert_eq!(rig.groups.names().len(), GROUPS_MAX);
    assert_eq!(rig.groups.names()[..3], groups_of(&["$Default", "G0", "g1"]));
}

#[tokio::test]
async fn who_is_ended_hears_the_bell_and_why() {
    let rig = Rig::new();
    let bell = Arc::new(Notify::new());
    let first = rig.groups.sit("alerts", FIRST, Some(1), Arc::clone(&bell)).unwrap();
    assert_eq!(rig.sit("alerts", Some(0)).unwrap_err(), SitRefused::HigherEpoch { epoch: 1 });
    assert_eq!(rig.sit("alerts", None).unwrap_err(), SitRefused::EpochReaderLives);
    assert_eq!(first.ended(), None);
    let second = rig.sit("alerts", Some(1)).unwrap();
    bell.notified().await;
    assert_eq!(first.ended(), Some(SeatEnded::Stolen { epoch: 1 }));
    drop(first);
    assert_eq!(second.ended(), None, "who has lost its seat gives back no other");
    assert_eq!(rig.sit("alerts", Some(0)).unwrap_err(), SitRefused::HigherEpoch { epoch: 1 });
    drop(second);
    assert!(rig.sit("alerts", Some(0)).is_ok());
}

#[tokio::test]
async fn readers_of_a_group_that_is_gone_end_and_others_do_not() {
    let rig = Rig::new();
    let bell = Arc::new(Notify::new());
    let gone = rig.groups.sit("alerts", FIRST, None, Arc::clone(&bell)).unwrap();
    let stays = rig.sit("$Default", None).unwrap();
    deliver(&gone, 7);
    rig.groups.replace(groups_of(&["Alerts", "billing"]));
    assert_eq!((gone.ended(), rig.position("alerts")), (None, Some(8)), "only its spelling changed");
    rig.groups.replace(groups_of(&["billing"]));
    bell.notified().await;
    assert_eq!((gone.ended(), stays.ended()), (Some(SeatEnded::GroupGone), None));
    rig.groups.replace(groups_of(&["alerts"]));
    let anew = rig.sit("alerts", Some(0)).unwrap();
    deliver(&gone, 9);
    drop(gone);
    assert_eq!((anew.ended(), rig.position("alerts")), (None, None), "a group that comes again begins anew");
}

#[test]
fn the_sixth_without_an_epoch_is_refused_and_a_dropped_seat_is_free() {
    let rig = Rig::new();
    let mut seats: Vec<_> = (0..5).map(|_| rig.sit("alerts", None).unwrap()).collect();
    assert_eq!(rig.sit("alerts", None).unwrap_err(), SitRefused::Full);
    assert!(rig.groups.sit("alerts", PartitionId(1), None, Arc::default()).is_ok(), "another partition");
    seats.pop();
    assert!(rig.sit("alerts", None).is_ok());
}

#[test]
fn a_group_stands_where_its_reader_does_and_then_where_the_last_one_was() {
    let rig = Rig::new();
    assert_eq!(rig.position("alerts"), None);
    let first = rig.sit("alerts", Some(0)).unwrap();
    assert_eq!(rig.position("alerts"), None, "nobody knows where it begins");
    first.begins(SequenceNumber(3));
    assert_eq!(rig.position("alerts"), Some(3));
    deliver(&first, 9);
    deliver(&first, 8);
    first.begins(SequenceNumber(0));
    assert_eq!(rig.position("alerts"), Some(10), "a reader goes forward only");

    let second = rig.sit("alerts", Some(0)).unwrap();
    assert_eq!(rig.position("alerts"), Some(10));
    deliver(&first, 20);
    assert_eq!(rig.position("alerts"), Some(10), "who has lost its seat says nothing more");
    second.begins(SequenceNumber(0));
    assert_eq!(rig.position("alerts"), Some(0), "one that begins anew shows where it is");
    deliver(&second, 4);
    rig.clock.0.store(NOW.0 + 60_000, Ordering::Relaxed);
    drop(second);
    assert_eq!(rig.position("alerts"), Some(5), "where the last one was");
    assert_eq!(rig.position("$Default"), None);
}
