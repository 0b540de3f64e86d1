use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::*;
use crate::core::telemetry::Occasion;
use crate::core::time::UnixMillis;
use crate::ops::send_telemetry::{append_durably, stage, stamps};
use crate::ops::world::{NOW, World, by_service, device_token, identity, payload};
use crate::store::{EventBatch, Expected};

fn all(from: StartPosition, follow: bool) -> Selection {
    Selection { partition: None, device: None, from, resume: StreamPosition::default(), follow }
}

fn of_partition(partition: u16, from: StartPosition) -> Selection {
    Selection { partition: Some(PartitionId(partition)), ..all(from, false) }
}

/// Two devices of different partitions.
async fn world() -> (World, PartitionId, PartitionId) {
    let world = World::with_device("a").await;
    world.write(Expected::Absent, Some(identity("b"))).await;
    let count = world.hub.events.partition_count();
    let partition = |id| PartitionId::of_device(&DeviceId::parse(id).unwrap(), count);
    assert_ne!(partition("a"), partition("b"));
    (world, partition("a"), partition("b"))
}

async fn send(world: &World, device: &str, text: &'static str) {
    let right = world.login(device, &device_token(device, 1)).await.unwrap();
    let mut batch = EventBatch::default();
    stage(payload(text), Occasion::default(), &stamps(&world.hub, &right), &mut batch).unwrap();
    append_durably(&world.hub, &right, &mut batch).await.unwrap();
}

async fn numbers(reader: &mut EventReader) -> Vec<(u16, u64)> {
    let mut numbers = Vec::new();
    while let Some(page) = reader.next().await.unwrap() {
        assert!(!page.events.is_empty());
        numbers.extend(page.events.iter().map(|event| (page.partition.0, event.sequence_number.0)));
    }
    numbers
}

#[tokio::test]
async fn merged_or_alone_from_every_kind_of_position() {
    let (world, PartitionId(a), PartitionId(b)) = world().await;
    for (index, text) in ["0", "1", "2"].into_iter().enumerate() {
        world.clock.0.store(NOW.0 + i64::try_from(index).unwrap() * 1000, Ordering::Relaxed);
        send(&world, "a", text).await;
    }
    send(&world, "b", "0").await;

    let mut merged =
        numbers(&mut read_events(&world.hub, &by_service().principal, all(StartPosition::Earliest, false)).await.unwrap()).await;
    merged.sort_unstable();
    let mut expected = vec![(a, 0), (a, 1), (a, 2), (b, 0)];
    expected.sort_unstable();
    assert_eq!(merged, expected);

    let offset = Offset(1);
    let number = SequenceNumber(1);
    let time = UnixMillis(NOW.0 + 1000);
    for (position, first) in [
        (StartPosition::Earliest, 0),
        (StartPosition::Latest, 3),
        (StartPosition::Offset { offset, inclusive: true }, 1),
        (StartPosition::Offset { offset, inclusive: false }, 2),
        (StartPosition::SequenceNumber { number, inclusive: true }, 1),
        (StartPosition::SequenceNumber { number, inclusive: false }, 2),
        (StartPosition::EnqueuedTime { time, inclusive: true }, 1),
        (StartPosition::EnqueuedTime { time, inclusive: false }, 2),
    ] {
        let mut reader = read_events(&world.hub, &by_service().principal, of_partition(a, position)).await.unwrap();
        let expected: Vec<_> = (first..3).map(|number| (a, number)).collect();
        assert_eq!(numbers(&mut reader).await, expected, "{position:?}");
    }
}

#[tokio::test]
async fn a_device_is_looked_for_in_its_own_partition() {
    let (world, PartitionId(a), _) = world().await;
    let count = world.hub.events.partition_count();
    let neighbour = (0..).map(|i| format!("n{i}")).find(|id| PartitionId::of_device(&DeviceId::parse(id).unwrap(), count).0 == a).unwrap();
    world.write(Expected::Absent, Some(identity(&neighbour))).await;
    for device in ["a", &neighbour, "b", "a"] {
        send(&world, device, "x").await;
    }
    let selection = Selection { device: Some(DeviceId::parse("a").unwrap()), ..all(StartPosition::Earliest, false) };
    let mut reader = read_events(&world.hub, &by_service().principal, selection).await.unwrap();
    assert_eq!(numbers(&mut reader).await, [(a, 0), (a, 2)]);
    assert_eq!(reader.position().to_string(), format!("{a}:2"));
}

#[tokio::test]
async fn a_reader_that_follows_waits_for_the_disk() {
    let (world, a, _) = world().await;
    let mut reader = read_events(&world.hub, &by_service().principal, all(StartPosition::Latest, true)).await.unwrap();
    world.log.hold();
    let sent = async {
        send(&world, "a", "x").await;
    };
    let read = async {
        tokio::select! {
            biased;
            _ = reader.next() => panic!("nothing is durable"),
            () = tokio::task::yield_now() => {}
        }
        world.log.release();
        reader.next().await.unwrap().unwrap()
    };
    let ((), page) = tokio::join!(sent, read);
    assert_eq!((page.partition, page.events[0].sequence_number), (a, SequenceNumber(0)));
}

#[tokio::test]
async fn a_reader_goes_on_where_another_left_off() {
    let (world, PartitionId(a), PartitionId(b)) = world().await;
    send(&world, "a", "0").await;
    let first = read_events(&world.hub, &by_service().principal, all(StartPosition::Latest, false)).await.unwrap();
    let resume = first.position();
    assert_eq!(resume.0[&PartitionId(a)], Some(Offset(0)));
    assert_eq!(resume.0[&PartitionId(b)], None);
    send(&world, "a", "1").await;
    send(&world, "b", "0").await;
    let mut second =
        read_events(&world.hub, &by_service().principal, Selection { resume, ..all(StartPosition::Latest, false) }).await.unwrap();
    let mut seen = numbers(&mut second).await;
    seen.sort_unstable();
    let mut expected = vec![(a, 1), (b, 0)];
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_place_that_this_log_has_not_reached_is_an_error() {
    let (world, a, _) = world().await;
    send(&world, "a", "0").await;
    let open = async |offset| {
        let resume = StreamPosition(BTreeMap::from([(a, Some(Offset(offset)))]));
        read_events(&world.hub, &by_service().principal, Selection { resume, ..all(StartPosition::Latest, true) }).await.map(drop)
    };
    assert!(open(0).await.is_ok());
    assert!(matches!(open(1).await, Err(ReadEventsError::BehindTheEnd { .. })));
    let unknown = read_events(&world.hub, &by_service().principal, of_partition(99, StartPosition::Earliest)).await.map(drop);
    assert!(matches!(unknown, Err(ReadEventsError::Log(ReadError::UnknownPartition(PartitionId(99))))));
}

#[tokio::test]
async fn a_policy_has_so_many_readers_and_gets_their_seats_back() {
    let (world, ..) = world().await;
    let open = async || read_events(&world.hub, &by_service().principal, all(StartPosition::Latest, true)).await;
    let mut readers = Vec::new();
    for _ in 0..READERS_EACH_MAX {
        readers.push(open().await.unwrap());
    }
    assert!(matches!(open().await.map(drop), Err(ReadEventsError::TooManyReaders(_))));
    readers.pop();
    assert!(open().await.is_ok());
}

#[tokio::test]
async fn partitions_take_turns() {
    let (world, PartitionId(a), PartitionId(b)) = world().await;
    let long: &'static str = Box::leak("x".repeat(PAGE_BYTES).into_boxed_str());
    for _ in 0..3 {
        send(&world, "a", long).await;
        send(&world, "b", long).await;
    }
    let seen = numbers(&mut read_events(&world.hub, &by_service().principal, all(StartPosition::Earliest, false)).await.unwrap()).await;
    for pair in seen.chunks(2) {
        let mut partitions: Vec<_> = pair.iter().map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [a.min(b), a.max(b)]);
    }
}
