//! What every [`ConnectionLog`] must do. `connection_log_contract!(place)` makes a test of each promise: `place` is an async function to a
//! fresh place for connections, whose `open` opens them, once more after each time as a killed hub that starts again would.

use std::net::IpAddr;
use std::sync::Arc;

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord, DisconnectReason, Protocol};
use crate::core::time::UnixMillis;
use crate::store::connection_log::ConnectionLog;

/// One `#[tokio::test]` per promise. This module is imported as `contract` where the macro is used, so that `tests/` can include the file.
macro_rules! connection_log_contract {
    ($place:path) => {
        connection_log_contract!($place:
            boots_are_counted_up,
            keeps_every_field,
            a_later_record_replaces_an_earlier_one,
            lists_the_latest_first,
            a_restart_ends_what_was_open,
            forgets_what_ended_long_ago,
            keeps_what_a_restart_ended_lately,
            forgets_boots_that_nothing_refers_to,
            a_large_batch_is_whole,
        );
    };
    ($place:path : $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let place = $place().await;
                contract::$promise(async || place.open().await).await;
            }
        )*
    };
}
pub(crate) use connection_log_contract;

type Log = Arc<dyn ConnectionLog>;

pub(crate) async fn boots_are_counted_up(open: impl AsyncFn() -> Log) {
    let mut boots = Vec::new();
    for time in 0..4 {
        let log = open().await;
        boots.push((log.begin_boot(UnixMillis(time)).await.expect("answers"), UnixMillis(time)));
    }
    assert!(boots.windows(2).all(|pair| pair[0].0 < pair[1].0), "{boots:?}");
    let log = open().await;
    assert_eq!(log.last_heartbeats().await.expect("answers"), boots);
    log.record(boots[1].0, UnixMillis(9), &[]).await.expect("answers");
    boots[1].1 = UnixMillis(9);
    assert_eq!(open().await.last_heartbeats().await.expect("answers"), boots);
}

pub(crate) async fn keeps_every_field(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let boot = begin(&log).await;
    let addresses = ["192.0.2.1", "2001:db8::ffff", "::ffff:192.0.2.1"].map(|address| address.parse::<IpAddr>().expect("an address"));
    let reasons = DisconnectReason::ALL.into_iter().zip(0..);
    let ended = reasons.map(|(reason, number)| ConnectionRecord {
        protocol: Protocol::ALL[number as usize % 3],
        address: addresses[number as usize % 3],
        connected_time: UnixMillis(-1),
        disconnected: Some((UnixMillis(i64::MAX), reason)),
        ..record(boot, number, "a-.+%_#*?!(),:;=@$'Z")
    });
    let mut records: Vec<ConnectionRecord> = ended.collect();
    records.push(record(boot, 1 << 40, "a-.+%_#*?!(),:;=@$'Z"));
    log.record(boot, UnixMillis(1), &records).await.expect("answers");
    records.reverse();
    assert_eq!(connections(&open().await, boot, "a-.+%_#*?!(),:;=@$'Z").await, records);
}

pub(crate) async fn a_later_record_replaces_an_earlier_one(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let boot = begin(&log).await;
    let (first, second) = (record(boot, 1, "a"), record(boot, 2, "a"));
    log.record(boot, UnixMillis(1), &[first.clone(), second.clone(), ended(&second, 20)]).await.expect("answers");
    assert_eq!(connections(&log, boot, "a").await, [ended(&second, 20), first.clone()]);
    log.record(boot, UnixMillis(2), &[ended(&first, 30)]).await.expect("answers");
    assert_eq!(connections(&open().await, boot, "a").await, [ended(&second, 20), ended(&first, 30)]);
}

pub(crate) async fn lists_the_latest_first(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let (older, newer) = (begin(&log).await, begin(&log).await);
    let places = [(older, 1), (older, 2), (older, 3), (newer, 1), (newer, 2)];
    let records = places.map(|(boot, number)| ended(&record(boot, number, if number == 2 { "b" } else { "a" }), 50));
    log.record(newer, UnixMillis(1), &records).await.expect("answers");
    let log = open().await;
    let listed = async |before: Option<(BootId, u64)>, limit| {
        let before = before.map(|(boot, number)| (boot, ConnectionId(number)));
        let records = log.connections(newer, &id("a"), before, limit).await.expect("answers");
        records.iter().map(|record| (record.boot, record.connection.0)).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 1000).await, [(newer, 1), (older, 3), (older, 1)]);
    assert_eq!(listed(None, 1).await, [(newer, 1)]);
    assert_eq!(listed(Some((newer, 1)), 1).await, [(older, 3)]);
    assert_eq!(listed(Some((older, 3)), 5).await, [(older, 1)]);
    assert_eq!(listed(Some((older, 1)), 5).await, []);
}

pub(crate) async fn a_restart_ends_what_was_open(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let older = begin(&log).await;
    let kept = [
        ended(&record(older, 1, "a"), 30),
        record(older, 2, "a"),
        ConnectionRecord { connected_time: UnixMillis(70), ..record(older, 3, "a") },
    ];
    log.record(older, UnixMillis(60), &kept).await.expect("answers");
    assert_eq!(connections(&log, older, "a").await[1].disconnected, None, "it lasts");

    let log = open().await;
    let newer = begin(&log).await;
    log.record(newer, UnixMillis(90), &[record(newer, 1, "a")]).await.expect("answers");
    let ends: Vec<_> = connections(&log, newer, "a").await.into_iter().map(|record| record.disconnected).collect();
    let restarted = |time| Some((UnixMillis(time), DisconnectReason::HubRestarted));
    assert_eq!(ends, [None, restarted(70), restarted(60), kept[0].disconnected], "at the last heartbeat, or at its own beginning");
}

pub(crate) async fn forgets_what_ended_long_ago(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let (older, newer) = (begin(&log).await, begin(&log).await);
    let began = |record: ConnectionRecord, time| ConnectionRecord { connected_time: UnixMillis(time), ..record };
    let records = [
        ended(&record(older, 1, "a"), 40),
        ended(&record(newer, 2, "a"), 40),
        ended(&record(newer, 3, "a"), 60),
        began(record(older, 4, "a"), 30),
        began(record(older, 5, "a"), 55),
        began(record(newer, 6, "a"), 30),
    ];
    log.record(newer, UnixMillis(70), &records).await.expect("answers");
    assert_eq!(log.prune(newer, UnixMillis(50), 2).await.expect("answers"), 2, "no more than that at once");
    assert_eq!(log.prune(newer, UnixMillis(50), 2).await.expect("answers"), 1);
    assert_eq!(log.prune(newer, UnixMillis(50), 2).await.expect("answers"), 0);
    let left: Vec<_> = connections(&open().await, newer, "a").await.iter().map(|record| record.connection.0).collect();
    assert_eq!(left, [6, 3, 5], "what lasts, what ended lately, and what began lately in an earlier boot");
}

/// What was connected long ago and for long, up to the hub's end, ended with the hub.
pub(crate) async fn keeps_what_a_restart_ended_lately(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let older = begin(&log).await;
    log.record(older, UnixMillis(1000), &[record(older, 1, "a")]).await.expect("answers");
    let log = open().await;
    let newer = begin(&log).await;
    assert_eq!(log.prune(newer, UnixMillis(1000), 2).await.expect("answers"), 0);
    assert_eq!(connections(&log, newer, "a").await[0].disconnected, Some((UnixMillis(1000), DisconnectReason::HubRestarted)));
    assert_eq!(log.prune(newer, UnixMillis(1001), 2).await.expect("answers"), 1);
    assert_eq!(connections(&log, newer, "a").await, []);
}

pub(crate) async fn forgets_boots_that_nothing_refers_to(open: impl AsyncFn() -> Log) {
    let log = open().await;
    let mut boots = Vec::new();
    for _ in 0..6 {
        boots.push(begin(&log).await);
    }
    let current = boots[4];
    log.record(boots[1], UnixMillis(10), &[record(boots[1], 1, "a")]).await.expect("answers");
    log.record(boots[3], UnixMillis(50), &[]).await.expect("answers");
    let left = async || log.last_heartbeats().await.expect("answers").into_iter().map(|(boot, _)| boot).collect::<Vec<_>>();
    assert_eq!(log.forget_boots(current, UnixMillis(50), 1).await.expect("answers"), 1, "no more than that at once");
    assert_eq!(left().await, boots[1..]);
    assert_eq!(log.forget_boots(current, UnixMillis(50), 10).await.expect("answers"), 1);
    assert_eq!(left().await, [boots[1], boots[3], boots[4], boots[5]], "in use, lately, now, and later");
    assert_eq!(log.prune(current, UnixMillis(50), 10).await.expect("answers"), 1);
    assert_eq!(log.forget_boots(current, UnixMillis(50), 10).await.expect("answers"), 1);
    assert_eq!(left().await, boots[3..]);
    assert!(begin(&open().await).await > boots[5], "no number is given twice");
}

pub(crate) async fn a_large_batch_is_whole(open: impl AsyncFn() -> Log) {
    const CONNECTIONS: u64 = 3000;
    let log = open().await;
    let boot = begin(&log).await;
    let records: Vec<_> = (0..CONNECTIONS).map(|number| record(boot, number, "a")).collect();
    log.record(boot, UnixMillis(1), &records).await.expect("answers");
    assert_eq!(log.connections(boot, &id("a"), None, 5000).await.expect("answers").len() as u64, CONNECTIONS);
}

fn record(boot: BootId, connection: u64, device: &str) -> ConnectionRecord {
    ConnectionRecord {
        boot,
        connection: ConnectionId(connection),
        device_id: id(device),
        protocol: Protocol::Mqtt,
        address: IpAddr::from([192, 0, 2, 1]),
        connected_time: UnixMillis(10),
        disconnected: None,
    }
}

fn ended(record: &ConnectionRecord, time: i64) -> ConnectionRecord {
    ConnectionRecord { disconnected: Some((UnixMillis(time), DisconnectReason::KeepAliveTimeout)), ..record.clone() }
}

async fn begin(log: &Log) -> BootId {
    log.begin_boot(UnixMillis(0)).await.expect("the log answers")
}

async fn connections(log: &Log, current: BootId, device: &str) -> Vec<ConnectionRecord> {
    log.connections(current, &id(device), None, 1000).await.expect("the log answers")
}

fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).expect("a device id")
}
