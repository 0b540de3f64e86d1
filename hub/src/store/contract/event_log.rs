//! What every [`EventLog`] must do. `make` gives an empty log with the given number of partitions.

use std::num::NonZeroU16;

use crate::core::event::{Offset, PartitionId, SequenceNumber, StartPosition};
use crate::core::time::UnixMillis;
use crate::store::{EventBatch, EventLog, ReadError, Ticket};

/// A batch of these contents, enqueued at `time` milliseconds.
pub fn batch(time: i64, events: &[(u16, &[u8])]) -> EventBatch {
    let mut batch = EventBatch { enqueued_time: UnixMillis(time), ..EventBatch::default() };
    for &(partition, content) in events {
        batch.push(PartitionId(partition), |bytes| bytes.extend_from_slice(content));
    }
    batch
}

/// Appends and waits until it is durable.
pub async fn append(log: &impl EventLog, time: i64, events: &[(u16, &[u8])]) -> Ticket {
    let mut batch = batch(time, events);
    let ticket = log.try_append(&mut batch).expect("the log takes events");
    assert!(batch.is_empty(), "a batch that was taken is emptied");
    assert!(log.durability().durable(ticket).await, "the events become durable");
    ticket
}

/// All events of a partition, as number, time and content.
pub async fn all(log: &impl EventLog, partition: u16) -> Vec<(u64, i64, Vec<u8>)> {
    let (mut events, mut from) = (Vec::new(), SequenceNumber(0));
    loop {
        let some = log.read(PartitionId(partition), from, 1000).await.expect("the log can be read");
        let Some(last) = some.last() else { return events };
        from = last.sequence_number.next();
        events.extend(some.iter().map(|event| (event.sequence_number.0, event.enqueued_time.0, event.content.to_vec())));
    }
}

/// The whole suite.
pub async fn suite<L: EventLog>(make: impl Fn(NonZeroU16) -> L) {
    let make = |partitions| make(NonZeroU16::new(partitions).expect("at least one partition"));
    an_empty_log(&make(3)).await;
    order_and_numbers(&make(3)).await;
    contents(&make(1)).await;
    times_never_run_backwards(&make(2)).await;
    positions(&make(2)).await;
    reads_are_bounded(&make(1)).await;
    tickets(&make(2)).await;
    many_partitions(&make(32)).await;
}

/// What holds once retention has taken events. `retain` is called with the number of the next event, and has the log keep some twenty of the
/// newest; one that does so by itself needs none.
pub async fn retention<L: EventLog>(log: &L, retain: impl Fn(u64)) {
    const PARTITION: PartitionId = PartitionId(0);
    let mut next = 0;
    while log.partition(PARTITION).expect("it exists").begin_sequence_number.0 < 10 {
        assert!(next < 1000, "nothing was taken of {next} events");
        append(log, i64::try_from(next).expect("small"), &[(0, &[7; 1000])]).await;
        next += 1;
        retain(next);
    }
    let info = log.partition(PARTITION).expect("it exists");
    let begin = info.begin_sequence_number.0;
    assert!(info.next_sequence_number.0 == next && begin < next, "{info:?}");
    // Where a reader begins that asks for what is gone: at the oldest event that is kept.
    let time = |time, inclusive| StartPosition::EnqueuedTime { time: UnixMillis(time), inclusive };
    for position in [
        StartPosition::Earliest,
        StartPosition::Offset { offset: Offset(0), inclusive: false },
        StartPosition::Offset { offset: Offset(begin - 1), inclusive: true },
        StartPosition::SequenceNumber { number: SequenceNumber(begin - 1), inclusive: false },
        time(0, true),
        time(i64::try_from(begin - 1).expect("small"), false),
    ] {
        assert_eq!(log.locate(PARTITION, position).await.expect("it exists").0, begin, "{position:?}");
    }
    assert_eq!(log.locate(PARTITION, StartPosition::Latest).await.expect("it exists").0, next);
    // What one is given that goes on there: the events that are kept, all of them and in order.
    for from in [0, begin - 1, begin] {
        let found = log.read(PARTITION, SequenceNumber(from), 1500).await.expect("the log can be read");
        assert_eq!(found.first().map(|event| event.sequence_number.0), Some(begin), "from {from}");
        let time = log.enqueued_time(PARTITION, SequenceNumber(from)).await.expect("the log can be read");
        assert_eq!(time.map(|time| time.0), i64::try_from(begin).ok(), "from {from}");
    }
    let numbers: Vec<u64> = all(log, 0).await.iter().map(|event| event.0).collect();
    assert_eq!(numbers, (begin..next).collect::<Vec<_>>());
}

async fn an_empty_log(log: &impl EventLog) {
    assert_eq!(log.partition_count().get(), 3);
    let info = log.partition(PartitionId(2)).expect("it has three partitions");
    assert_eq!((info.begin_sequence_number.0, info.next_sequence_number.0, info.last_enqueued_time), (0, 0, None));
    assert!(log.partition(PartitionId(3)).is_none());
    assert_eq!(log.read(PartitionId(0), SequenceNumber(0), 1000).await.expect("empty"), []);
    for position in [StartPosition::Earliest, StartPosition::Latest, StartPosition::EnqueuedTime { time: UnixMillis(0), inclusive: true }] {
        assert_eq!(log.locate(PartitionId(0), position).await.expect("it exists").0, 0);
    }
    assert!(matches!(log.read(PartitionId(3), SequenceNumber(0), 1).await, Err(ReadError::UnknownPartition(PartitionId(3)))));
    assert!(matches!(log.locate(PartitionId(3), StartPosition::Latest).await, Err(ReadError::UnknownPartition(PartitionId(3)))));
}

async fn order_and_numbers(log: &impl EventLog) {
    append(log, 10, &[(0, b"a"), (1, b"b"), (0, b"c")]).await;
    append(log, 20, &[(1, b"d"), (0, b"e")]).await;
    assert_eq!(all(log, 0).await, [(0, 10, b"a".to_vec()), (1, 10, b"c".to_vec()), (2, 20, b"e".to_vec())]);
    assert_eq!(all(log, 1).await, [(0, 10, b"b".to_vec()), (1, 20, b"d".to_vec())]);
    assert_eq!(all(log, 2).await, []);
    let info = log.partition(PartitionId(0)).expect("it exists");
    assert_eq!((info.next_sequence_number.0, info.last_enqueued_time), (3, Some(UnixMillis(20))));
}

async fn contents(log: &impl EventLog) {
    let large = (0..256 * 1024_u32).map(|byte| byte.to_le_bytes()[0]).collect::<Vec<_>>();
    let expected = [b"".to_vec(), b"1234567".to_vec(), b"12345678".to_vec(), large, b"".to_vec()];
    for content in &expected {
        append(log, 1, &[(0, content)]).await;
    }
    let found = all(log, 0).await.into_iter().map(|(_, _, content)| content).collect::<Vec<_>>();
    assert!(found == expected, "contents come back byte for byte");
}

async fn times_never_run_backwards(log: &impl EventLog) {
    append(log, 100, &[(0, b"a")]).await;
    append(log, 50, &[(0, b"b"), (1, b"c")]).await;
    append(log, 101, &[(0, b"d")]).await;
    assert_eq!(all(log, 0).await.iter().map(|event| event.1).collect::<Vec<_>>(), [100, 100, 101]);
    assert_eq!(all(log, 1).await[0].1, 50, "each partition has its own time");
}

async fn positions(log: &impl EventLog) {
    for time in [10, 20, 20, 30] {
        append(log, time, &[(0, b"x")]).await;
    }
    let locate = async |position| log.locate(PartitionId(0), position).await.expect("it exists").0;
    assert_eq!(locate(StartPosition::Earliest).await, 0);
    assert_eq!(locate(StartPosition::Latest).await, 4);
    assert_eq!(locate(StartPosition::Offset { offset: Offset(1), inclusive: false }).await, 2);
    assert_eq!(locate(StartPosition::Offset { offset: Offset(1), inclusive: true }).await, 1);
    assert_eq!(locate(StartPosition::SequenceNumber { number: SequenceNumber(3), inclusive: false }).await, 4);
    assert_eq!(locate(StartPosition::SequenceNumber { number: SequenceNumber(9), inclusive: true }).await, 9, "not stored yet");
    for (time, inclusive, number) in
        [(0, true, 0), (10, true, 0), (10, false, 1), (15, true, 1), (20, true, 1), (20, false, 3), (30, false, 4)]
    {
        assert_eq!(locate(StartPosition::EnqueuedTime { time: UnixMillis(time), inclusive }).await, number, "{time} {inclusive}");
    }
    assert_eq!(log.read(PartitionId(0), SequenceNumber(4), 10).await.expect("the end"), []);
    assert_eq!(log.read(PartitionId(0), SequenceNumber(u64::MAX), 10).await.expect("beyond the end"), []);
    for (number, time) in [(0, Some(10)), (1, Some(20)), (2, Some(20)), (3, Some(30)), (4, None), (u64::MAX, None)] {
        let enqueued = log.enqueued_time(PartitionId(0), SequenceNumber(number)).await.expect("it exists");
        assert_eq!(enqueued.map(|time| time.0), time, "of event {number}");
    }
    assert_eq!(log.enqueued_time(PartitionId(1), SequenceNumber(0)).await.expect("it exists"), None);
    let unknown = log.enqueued_time(PartitionId(2), SequenceNumber(0)).await;
    assert!(matches!(unknown, Err(ReadError::UnknownPartition(PartitionId(2)))));
}

async fn reads_are_bounded(log: &impl EventLog) {
    append(log, 1, &[(0, &[1; 100]), (0, &[2; 100]), (0, &[3; 100])]).await;
    let count = async |from, max_bytes| log.read(PartitionId(0), SequenceNumber(from), max_bytes).await.expect("it exists").len();
    assert_eq!(count(0, 0).await, 1, "one event at least");
    assert_eq!(count(0, 199).await, 1);
    assert_eq!(count(0, 200).await, 2);
    assert_eq!(count(1, 1000).await, 2);
}

async fn tickets(log: &impl EventLog) {
    let first = append(log, 1, &[(0, b"a"), (1, b"b")]).await;
    let second = append(log, 1, &[(1, b"c")]).await;
    assert_eq!((first.epoch, first.ordinal + 1), (second.epoch, second.ordinal));
    let empty = append(log, 1, &[]).await;
    assert_eq!(empty, second, "a batch without events is as durable as the last one");
    assert_eq!(log.durability().now().ordinal, second.ordinal);
    log.room().await;
}

async fn many_partitions(log: &impl EventLog) {
    let contents = (0..320_u16).map(|event| (event % 32, event.to_le_bytes())).collect::<Vec<_>>();
    let events = contents.iter().map(|(partition, content)| (*partition, &content[..])).collect::<Vec<_>>();
    append(log, 5, &events).await;
    for partition in 0..32 {
        let expected =
            (0..10).map(|number| (number, 5, contents[usize::from(partition) + 32 * number as usize].1.to_vec())).collect::<Vec<_>>();
        assert_eq!(all(log, partition).await, expected);
    }
}
