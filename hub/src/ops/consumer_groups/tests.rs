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

mod kept {
    use std::time::Duration;

    use super::*;
    use crate::ops::world::World;
    use crate::store::EventBatch;
    use crate::store::group_positions::GroupPosition;

    /// Stores so many events in the first partition.
    async fn enqueue(world: &World, events: usize) {
        let mut batch = EventBatch { enqueued_time: world.hub.now(), ..EventBatch::default() };
        (0..events).for_each(|_| batch.push(FIRST, |bytes| bytes.push(0)));
        let ticket = world.hub.events.try_append(&mut batch).unwrap();
        assert!(world.hub.events.durability().durable(ticket).await);
    }

    fn with_groups(world: World, names: &[&str]) -> World {
        world.hub.consumer_groups.replace(groups_of(names));
        world
    }

    async fn stored(world: &World) -> Vec<(String, u16, u64)> {
        let stored = world.hub.group_positions.load().await.unwrap();
        stored.iter().map(|kept| (kept.group.folded(), kept.partition.0, kept.position.next.0)).collect()
    }

    fn sit(world: &World, group: &str) -> ReaderSeat {
        world.hub.consumer_groups.sit(group, FIRST, None, Arc::default()).unwrap()
    }

    fn first_place(world: &World, group: &str) -> PlaceStatus {
        let mut groups = world.hub.consumer_groups.status(&*world.hub.events).into_iter();
        groups.find(|known| known.name.is(group)).unwrap().partitions.remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_goes_on_falling_behind_over_a_restart() {
        let world = with_groups(World::new(), &["alerts"]);
        enqueue(&world, 10).await;
        let seat = sit(&world, "alerts");
        (0..4).for_each(|number| seat.delivered(SequenceNumber(number), NOW));
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await, [("alerts".to_owned(), 0, 4)]);
        deliver(&seat, 4);
        drop(seat);
        keep_group_positions(&world.hub).await.unwrap();

        let world = with_groups(world.restarted(), &["Alerts"]);
        assert_eq!(first_place(&world, "alerts").lag(), None, "nothing is read from the store yet");
        keep_group_positions(&world.hub).await.unwrap();
        world.clock.0.fetch_add(90_000, Ordering::Relaxed);
        enqueue(&world, 5).await;
        assert_eq!(first_place(&world, "alerts").lag(), Some(10));
        look_up_ages(&world.hub).await;
        assert_eq!(first_place(&world, "alerts").lag_time(world.hub.now()), Some(Duration::from_secs(90)));
        assert_eq!(first_place(&world, "$Default").lag(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_reader_says_before_the_store_is_read_counts_more() {
        let world = with_groups(World::new(), &["alerts", "billing"]);
        enqueue(&world, 10).await;
        deliver(&sit(&world, "alerts"), 7);
        deliver(&sit(&world, "billing"), 7);
        keep_group_positions(&world.hub).await.unwrap();
        let world = with_groups(world.restarted(), &["alerts", "billing"]);
        deliver(&sit(&world, "alerts"), 1);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await, [("alerts".to_owned(), 0, 2), ("billing".to_owned(), 0, 8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_is_forgotten() {
        let world = World::new();
        enqueue(&world, 3).await;
        let at = |group: &str, partition, next| GroupPosition {
            group: ConsumerGroup::parse(group).unwrap(),
            partition: PartitionId(partition),
            position: ReaderPosition::at_beginning(SequenceNumber(next), NOW),
        };
        let rows = [at("$Default", 0, 3), at("$Default", 1, 1), at("$Default", 99, 0), at("gone", 0, 1)];
        world.hub.group_positions.keep(&[], &rows).await.unwrap();
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await, [("$default".to_owned(), 0, 3)], "behind the end, no such partition, no such group");
        keep_group_positions(&world.hub).await.unwrap();
        world.hub.consumer_groups.replace(groups_of(&["gone"]));
        assert_eq!(first_place(&world, "gone").lag(), None, "a group that comes again begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_taken_away_is_forgotten_and_the_default_when_nobody_has_come_for_a_week() {
        let world = with_groups(World::new(), &["alerts"]);
        enqueue(&world, 3).await;
        deliver(&sit(&world, "alerts"), 0);
        let seat = sit(&world, "$Default");
        deliver(&seat, 0);
        // Nothing comes for a month, and then the reader dies.
        let day = 24 * 3600 * 1000;
        world.clock.0.fetch_add(30 * day, Ordering::Relaxed);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await.len(), 2, "somebody reads");
        drop(seat);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await.len(), 2, "somebody has just read");
        world.clock.0.fetch_add(7 * day - 1, Ordering::Relaxed);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(first_place(&world, "$Default").lag(), Some(2), "nearly a week");
        world.clock.0.fetch_add(1, Ordering::Relaxed);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(first_place(&world, "$Default").lag(), None);
        assert_eq!(stored(&world).await, [("alerts".to_owned(), 0, 1)]);
        world.hub.consumer_groups.replace(vec![]);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await, []);
    }

    /// While the hub was away nobody could come.
    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_life_has_left_is_kept_for_a_week_from_the_start_on() {
        let world = World::new();
        enqueue(&world, 3).await;
        deliver(&sit(&world, "$Default"), 0);
        keep_group_positions(&world.hub).await.unwrap();
        let week = 7 * 24 * 3600 * 1000;
        let world = world.restarted();
        let start = world.clock.0.fetch_add(2 * week, Ordering::Relaxed) + 2 * week;
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(first_place(&world, "$Default").lag(), Some(2));
        for (time, lag) in [(start + week - 1, Some(2)), (start + week, None)] {
            world.clock.0.store(time, Ordering::Relaxed);
            keep_group_positions(&world.hub).await.unwrap();
            assert_eq!(first_place(&world, "$Default").lag(), lag, "at {time}");
        }
        assert_eq!(stored(&world).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_retention_takes_is_no_lag() {
        let world = World::new();
        for _ in 0..5 {
            enqueue(&world, 1).await;
            world.clock.0.fetch_add(10_000, Ordering::Relaxed);
        }
        deliver(&sit(&world, "$Default"), 0);
        let stands = async || {
            look_up_ages(&world.hub).await;
            let place = first_place(&world, "$Default");
            (place.lag(), place.lag_time(world.hub.now()).map(|age| age.as_secs()))
        };
        assert_eq!(stands().await, (Some(4), Some(40)));
        world.log.drop_before(FIRST, SequenceNumber(3));
        let place = first_place(&world, "$Default");
        assert_eq!((place.lag(), place.lag_time(world.hub.now())), (Some(2), None), "the age was that of an event that is gone");
        assert_eq!(stands().await, (Some(2), Some(20)));
        world.log.drop_before(FIRST, SequenceNumber(5));
        assert_eq!(stands().await, (Some(0), Some(0)));
    }

    /// What is told does not wait for it, and only one look-up does.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_leaves_the_age_unknown_and_nothing_else() {
        let world = World::new();
        enqueue(&world, 3).await;
        let seat = sit(&world, "$Default");
        deliver(&seat, 0);
        world.log.hold_reads();
        for _ in 0..10 {
            let groups = describe_consumer_groups(&world.hub).await;
            let place = &groups[0].partitions[0];
            assert_eq!((place.lag(), place.lag_time(world.hub.now())), (Some(2), None));
        }
        assert_eq!(world.log.reads_waiting(), 1);
        keep_group_positions(&world.hub).await.unwrap();
        assert_eq!(stored(&world).await, [("$default".to_owned(), 0, 1)]);
        world.log.answer_reads();
        let groups = describe_consumer_groups(&world.hub).await;
        assert_eq!(groups[0].partitions[0].lag_time(world.hub.now()), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_the_oldest_event_follows_the_reader() {
        let world = World::new();
        for _ in 0..3 {
            enqueue(&world, 1).await;
            world.clock.0.fetch_add(10_000, Ordering::Relaxed);
        }
        let seat = sit(&world, "$Default");
        let age = async || {
            look_up_ages(&world.hub).await;
            first_place(&world, "$Default").lag_time(world.hub.now()).map(|age| age.as_secs())
        };
        assert_eq!(age().await, None);
        seat.begins(SequenceNumber(0));
        assert_eq!(age().await, Some(30));
        deliver(&seat, 0);
        assert_eq!(
            first_place(&world, "$Default").lag_time(world.hub.now()),
            None,
            "the age that is known is that of an event it has by now"
        );
        assert_eq!(age().await, Some(20));
        deliver(&seat, 2);
        assert_eq!(age().await, Some(0));
    }
}
