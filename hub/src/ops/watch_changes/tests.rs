use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::identity::Version;
use crate::core::principal::Principal;
use crate::core::session::{BootId, DisconnectReason};
use crate::ops::open_session::{close_session, open_session};
use crate::ops::seats::NoSeat;
use crate::ops::world::{NOW, World, device_token, identity, origin};
use crate::store::Expected;

fn everything() -> Interest {
    Interest { kinds: ChangeKind::ALL.to_vec(), devices: Devices::All }
}

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn seat(world: &World, policy: &str) -> Result<Arc<Seat>, NoSeat> {
    world.hub.changes.watchers.take(&Principal::Policy(policy.to_owned())).map(Arc::new)
}

fn watch(world: &World, interest: Interest, from: Option<ChangePosition>) -> Watcher {
    watch_changes(&world.hub, seat(world, "service").unwrap(), interest, Start { from, snapshot: None })
}

async fn connect(world: &World, id: &str) -> Session {
    let right = world.login(id, &device_token(id, 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

/// All that is there to be told now, in words.
async fn told(watcher: &mut Watcher) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(news) = tokio::time::timeout(std::time::Duration::from_secs(1), watcher.next()).await {
        let Some(news) = news.unwrap() else {
            words.push("end".into());
            break;
        };
        match news {
            News::Reset(reason) => words.push(format!("reset {}", reason.name())),
            News::SnapshotBegins => words.push("begin".into()),
            News::SnapshotEnds => words.push("end of snapshot".into()),
            News::Skipped(count) => words.push(format!("skipped {count}")),
            News::Standing(standing) => words.extend(standing.iter().map(|standing| format!("stands {}", word(like(standing))))),
            News::Changes(changes) => words.extend(changes.iter().map(|published| word(&published.change))),
        }
    }
    words
}

fn like(standing: &Standing) -> &Change {
    match standing {
        Standing::Like(change) => change,
        Standing::Command(view) => panic!("nobody sends commands here: {view:?}"),
    }
}

fn word(change: &Change) -> String {
    let what = match change {
        Change::Presence(transition) => transition.disconnected.map_or("connected", DisconnectReason::name),
        Change::IdentityDeleted(_) => "deleted",
        change => change.kind().name(),
    };
    format!("{} {what}", change.device())
}

#[tokio::test(start_paused = true)]
async fn first_how_things_stand_and_then_what_happens() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(identity("E"))).await;
    let session = connect(&world, "D").await;
    let mut watcher = watch(&world, everything(), None);
    assert!(watcher.position().is_none(), "nobody may go on from here");
    let words = told(&mut watcher).await;
    assert_eq!(words, ["begin", "stands D registry", "stands E registry", "stands D connected", "end of snapshot"]);
    close_session(&world.hub, &session, DisconnectReason::KeepAliveTimeout);
    assert!(world.login("D", "nonsense").await.is_err());
    assert_eq!(told(&mut watcher).await, ["D KeepAliveTimeout", "D refusal"]);
    let position = watcher.position().unwrap();
    connect(&world, "D").await;
    assert_eq!(told(&mut watch(&world, everything(), Some(position))).await, ["D connected"]);
    world.hub.changes.end();
    assert_eq!(told(&mut watcher).await, ["D connected", "end"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_is_not_told() {
    let world = World::with_device("D").await;
    for id in ["D-1", "D-12", "E"] {
        world.write(Expected::Absent, Some(identity(id))).await;
        connect(&world, id).await;
    }
    let mut one = watch(&world, Interest { kinds: vec![ChangeKind::Presence], devices: Devices::One(device("D-1")) }, None);
    assert_eq!(told(&mut one).await, ["begin", "stands D-1 connected", "end of snapshot"]);
    let some = Interest { kinds: vec![ChangeKind::Registry], devices: Devices::Prefix(device("D-1")) };
    let mut some = watch(&world, some, None);
    assert_eq!(told(&mut some).await, ["begin", "stands D-1 registry", "stands D-12 registry", "end of snapshot"]);
    connect(&world, "D-1").await;
    connect(&world, "D-12").await;
    world.write(Expected::Version(Version(1)), Some(identity("D-12"))).await;
    world.write(Expected::Version(Version(1)), Some(identity("E"))).await;
    assert_eq!(told(&mut one).await, ["D-1 connected"]);
    assert_eq!(told(&mut some).await, ["D-12 registry"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_can_not_go_on_is_told_and_begins_anew() {
    let world = World::with_device("D").await;
    let at = |boot: u64, next: u64| Some(ChangePosition { boot: BootId(boot), next });
    let interest = || Interest { kinds: vec![ChangeKind::Registry], devices: Devices::All };
    for (from, reason) in [(at(0, 1), "HubRestarted"), (at(2, 1), "Unknown"), (at(1, 99), "Unknown")] {
        let words = told(&mut watch(&world, interest(), from)).await;
        assert_eq!(words, [&format!("reset {reason}"), "begin", "stands D registry", "end of snapshot"]);
    }
    let start = Start { from: at(0, 1), snapshot: Some(false) };
    let mut watcher = watch_changes(&world.hub, seat(&world, "service").unwrap(), interest(), start);
    assert_eq!(told(&mut watcher).await, ["reset HubRestarted"]);

    world.clock.0.fetch_add(2 * 60 * 60 * 1000, std::sync::atomic::Ordering::Relaxed);
    world.hub.changes.forget_old(world.hub.now());
    let words = told(&mut watch(&world, interest(), at(1, 1))).await;
    assert_eq!(words, ["reset TooOld", "begin", "stands D registry", "end of snapshot"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_too_slow_is_told_how_much_it_missed() {
    let world = World::with_device("D").await;
    let interest = Interest { kinds: vec![ChangeKind::Registry], devices: Devices::All };
    let mut watcher = watch(&world, interest, None);
    told(&mut watcher).await;
    let publish = |number: u32| world.hub.changes.publish(NOW, Change::IdentityDeleted(device(&number.to_string())));
    let kept = crate::ops::changes::FLEET_BUDGET.changes as u32;
    (0..kept + 5).for_each(publish);
    assert!(matches!(watcher.next().await, Ok(Some(News::Skipped(5)))));
    let Ok(Some(News::Changes(changes))) = watcher.next().await else { panic!("the rest is there") };
    assert_eq!(changes[0].change.device(), "5");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_commands_is_missed_by_those_who_wanted_commands_alone() {
    let world = World::with_device("D").await;
    let of = |kinds: &[ChangeKind]| Interest { kinds: kinds.to_vec(), devices: Devices::All };
    let (fleet, both) = (of(&[ChangeKind::Registry, ChangeKind::Presence]), of(&[ChangeKind::Presence, ChangeKind::Receipt]));
    let mut slow = [fleet.clone(), both.clone()].map(|interest| watch(&world, interest, None));
    for watcher in &mut slow {
        told(watcher).await;
    }
    let position = slow[0].position();
    let receipt = crate::core::command::Receipt {
        id: ReceiptId(1),
        command: CommandId(1),
        original_message_id: "m1".into(),
        device_id: device("D"),
        generation_id: identity("D").generation_id,
        outcome: crate::core::command::Outcome::Completed,
        time: NOW,
        expiry_time: NOW,
        delivery_count: 0,
    };
    let storm = crate::ops::changes::COMMANDS_BUDGET.changes + 5;
    (0..storm).for_each(|_| world.hub.changes.publish(NOW, Change::Receipt(receipt.clone())));
    connect(&world, "D").await;
    assert_eq!(told(&mut slow[0]).await, ["D connected"]);
    assert_eq!(slow[0].position(), slow[1].position().map(|at| ChangePosition { next: storm as u64 + 3, ..at }));
    assert!(matches!(slow[1].next().await, Ok(Some(News::Skipped(count))) if count >= 5));
    assert_eq!(told(&mut watch(&world, fleet, position)).await, ["D connected"]);
    assert_eq!(told(&mut watch(&world, both, position)).await[0], "reset TooOld");
}

#[tokio::test(start_paused = true)]
async fn a_policy_has_so_many_watchers() {
    let world = World::new();
    let start = Start { from: None, snapshot: None };
    let open = |policy: &str| seat(&world, policy).map(|seat| watch_changes(&world.hub, seat, everything(), start));
    let watchers: Vec<_> = std::iter::from_fn(|| open("service").ok()).collect();
    assert_eq!(watchers.len(), 64);
    assert!(open("owner").is_ok());
    drop(watchers);
    assert!(open("service").is_ok());
}

/// One thing that happens to a fleet of three, or to who watches it.
#[derive(Clone, Debug)]
enum Event {
    Write(u8),
    Delete(u8),
    Connect(u8),
    Disconnect(u8),
    /// The watcher is told one thing more.
    Tell,
    /// The watcher's connection is cut; it goes on from the last position that it knows.
    Cut,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3u8).prop_map(Event::Write),
        (0..3u8).prop_map(Event::Delete),
        (0..3u8).prop_map(Event::Connect),
        (0..3u8).prop_map(Event::Disconnect),
        Just(Event::Tell),
        Just(Event::Tell),
        Just(Event::Cut),
    ]
}

/// What a watcher knows who believes what it is told, in order.
#[derive(Default)]
struct Belief {
    devices: BTreeMap<String, i64>,
    connected: BTreeMap<String, bool>,
    position: Option<ChangePosition>,
}

impl Belief {
    fn hear(&mut self, change: &Change) {
        let id = change.device().to_owned();
        match change {
            Change::IdentityWritten(identity) => drop(self.devices.insert(id, identity.version.0)),
            Change::IdentityDeleted(_) => drop(self.devices.remove(&id)),
            Change::Presence(transition) if transition.connected => drop(self.connected.insert(id, true)),
            Change::Presence(_) => drop(self.connected.remove(&id)),
            _ => {}
        }
    }

    fn learn(&mut self, watcher: &Watcher, news: &News) {
        match news {
            News::SnapshotBegins => *self = Self { position: self.position, ..Self::default() },
            News::Standing(standing) => standing.iter().for_each(|standing| self.hear(like(standing))),
            News::Changes(changes) => changes.iter().for_each(|published| self.hear(&published.change)),
            News::SnapshotEnds | News::Reset(_) | News::Skipped(_) => {}
        }
        self.position = watcher.position().or(self.position);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However reads, cuts and changes fall, whoever has been told all there is knows how things stand.
    #[test]
    fn whoever_is_told_all_knows_how_things_stand(events in proptest::collection::vec(event(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let ids = ["a", "b", "c"];
            let mut versions: BTreeMap<String, i64> = BTreeMap::new();
            let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
            let mut belief = Belief::default();
            let interest = || Interest { kinds: vec![ChangeKind::Registry, ChangeKind::Presence], devices: Devices::All };
            let mut watcher = watch(&world, interest(), None);
            for event in events {
                match event {
                    Event::Write(which) => {
                        let id = ids[usize::from(which)];
                        let (expected, next) = match versions.get(id) {
                            Some(version) => (Expected::Version(Version(*version)), version + 1),
                            None => (Expected::Absent, 1),
                        };
                        world.write(expected, Some(crate::core::identity::DeviceIdentity { version: Version(next), ..identity(id) })).await;
                        versions.insert(id.to_owned(), next);
                    }
                    Event::Delete(which) => {
                        let id = device(ids[usize::from(which)]);
                        if let Some(version) = versions.remove(id.as_str()) {
                            let write = crate::store::RegistryWrite { id: id.clone(), expected: Expected::Version(Version(version)), new: None, audit: None };
                            world.hub.registry.write(vec![write]).await.unwrap()[0].unwrap();
                            world.hub.identity_changed(&id, None);
                            if let Some(session) = sessions.remove(id.as_str()) {
                                close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
                            }
                        }
                    }
                    Event::Connect(which) => {
                        let id = ids[usize::from(which)];
                        if versions.contains_key(id) {
                            let session = connect(&world, id).await;
                            if let Some(older) = sessions.insert(id.to_owned(), session) {
                                close_session(&world.hub, &older, DisconnectReason::ConnectionLost);
                            }
                        }
                    }
                    Event::Disconnect(which) => {
                        if let Some(session) = sessions.remove(ids[usize::from(which)]) {
                            close_session(&world.hub, &session, DisconnectReason::ClientDisconnected);
                        }
                    }
                    Event::Tell => {
                        if let Ok(news) = tokio::time::timeout(std::time::Duration::from_millis(1), watcher.next()).await {
                            belief.learn(&watcher, &news.unwrap().unwrap());
                        }
                    }
                    Event::Cut => watcher = watch(&world, interest(), belief.position),
                }
            }
            while let Ok(news) = tokio::time::timeout(std::time::Duration::from_secs(1), watcher.next()).await {
                belief.learn(&watcher, &news.unwrap().unwrap());
            }
            assert_eq!(belief.devices, versions);
            assert_eq!(belief.connected.into_keys().collect::<Vec<_>>(), sessions.into_keys().collect::<Vec<_>>());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_named_twice_is_told_once() {
    let world = World::with_device("D").await;
    let interest = Interest { kinds: vec![ChangeKind::Registry; 500], devices: Devices::All };
    assert_eq!(told(&mut watch(&world, interest, None)).await, ["begin", "stands D registry", "end of snapshot"]);
}
