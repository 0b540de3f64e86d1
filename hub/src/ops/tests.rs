//! The verbs together, on stores in memory: who gets in, who is put out, and what is appended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::authenticate::{AuthenticateError, authenticate_service, still_good};
use super::flush_activity::flush_activity;
use super::open_session::{close_session, open_session, renew_session};
use super::send_telemetry::{AppendRefused, append, append_durably, stage, stamps};
use super::world::{BrokenRegistry, NOW, World, device_token, event_hubs_token, identity, key, key_text, origin, payload, policy_token};
use crate::core::device_id::DeviceId;
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, GenerationId, Hold, Version};
use crate::core::message::{Value, encoding};
use crate::core::policy::Permission;
use crate::core::sas::sign;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::Occasion;
use crate::ops::EventBatch;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryError, RegistryWrite};

/// What was logged.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<u8>>>);

impl LogLines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl std::io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn either_key_opens_and_the_reasons_of_refusals_stay_with_the_owner() {
    let world = World::with_device("D").await;
    assert!(world.login("D", &device_token("D", 1)).await.is_ok());
    assert!(world.login("D", &device_token("D", 2)).await.is_ok());
    assert!(world.login("D", &policy_token("hub.example", "device")).await.is_ok(), "a token service speaks for it");

    for (id, token, reason) in [
        ("D", device_token("D", 3), "its token is signed with neither key of the device"),
        ("nobody", device_token("nobody", 1), "there is no such device"),
        ("nobody", policy_token("hub.example", "device"), "there is no such device"),
        ("D", device_token("E", 1), "its token is for \"hub.example/devices/E\", not for this device and hub"),
        ("D", policy_token("hub.example", "service"), "the policy \"service\" does not allow DeviceConnect"),
        ("D", policy_token("hub.example", "intruder"), "it names the policy \"intruder\", which this hub does not have"),
        ("D", "Basic x".to_owned(), "the token does not begin with \"SharedAccessSignature \""),
        ("a b", device_token("a b", 1), "no device can have that name"),
    ] {
        assert!(matches!(world.login(id, &token).await, Err(AuthenticateError::Refused)), "{reason}");
        assert_eq!(world.last_reason(id), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_rule_neither_the_memory_nor_the_log() {
    let world = World::with_device("D").await;
    let lines = LogLines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let (resource, name) = (format!("hub.example/{}", "\u{1b}[2J".repeat(500)), "n".repeat(4096));
    let (resource, policy) = (policy_token(&resource, "device"), policy_token("hub.example", &"p".repeat(3000)));
    let attempts = (0..100).map(|number| match number % 3 {
        0 => world.login("D", &resource),
        1 => world.login("D", &policy),
        _ => world.login(&name, &policy),
    });
    assert!(futures_util::future::join_all(attempts).await.iter().all(Result::is_err));

    for (name, refusal) in world.hub.refusals.latest(usize::MAX) {
        assert!(name.len() < 140 && refusal.reason.to_string().len() < 300, "{name}: {}", refusal.reason);
    }
    assert_eq!(world.hub.refusals.of(&name).len(), 8);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lines = lines.take();
    assert_eq!(lines.lines().filter(|line| line.contains("refused \"") && line.len() < 600).count(), 10, "{lines}");
    assert_eq!(lines.lines().filter(|line| line.contains("and 90 more were refused")).count(), 1, "{lines}");
    assert!(!lines.contains('\u{1b}'));
}

#[tokio::test(start_paused = true)]
async fn every_refusal_takes_the_same_time() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("off") })).await;
    let mut times = Vec::new();
    for (id, token) in [("D", device_token("D", 9)), ("nobody", device_token("nobody", 1)), ("off", device_token("off", 1))] {
        let before = tokio::time::Instant::now();
        world.login(id, &token).await.unwrap_err();
        times.push(before.elapsed());
    }
    assert!(times.iter().all(|time| *time == times[0] && *time == Duration::from_millis(100)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_told_no_sooner_than_a_refusal() {
    let world = World::on(Arc::new(BrokenRegistry(RegistryError::Unavailable("down".into()))));
    let asked = tokio::time::Instant::now();
    assert!(matches!(world.login("D", &device_token("D", 1)).await, Err(AuthenticateError::Registry(_))));
    assert_eq!(asked.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_told_apart_by_the_hubs_clock() {
    let world = World::with_device("D").await;
    world.clock.0.store(NOW.0 + 102_000, Ordering::Relaxed);
    world.login("D", &device_token("D", 1)).await.unwrap_err();
    assert_eq!(world.last_reason("D"), "its token expired 42 s ago by the hub's clock");
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_do_what_it_was_given() {
    let world = World::new();
    let ask = async |policy: &str, permission| {
        let token = policy_token("hub.example", policy);
        authenticate_service(&world.hub, Some(&token), permission, "devices", origin()).await.is_ok()
    };
    assert!(ask("iothubowner", Permission::RegistryWrite).await && ask("iothubowner", Permission::ServiceConnect).await);
    assert!(ask("registryReadWrite", Permission::RegistryRead).await);
    assert!(!ask("registryRead", Permission::RegistryWrite).await && !ask("device", Permission::RegistryRead).await);
    assert!(authenticate_service(&world.hub, None, Permission::RegistryRead, "devices", origin()).await.is_err());
    let narrow = policy_token("hub.example/messages", "iothubowner");
    assert!(authenticate_service(&world.hub, Some(&narrow), Permission::RegistryRead, "devices", origin()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_event_hubs_token_reads_events_and_opens_nothing_else() {
    let world = World::with_device("D").await;
    let ask = async |token: &str, permission, path| authenticate_service(&world.hub, Some(token), permission, path, origin()).await.is_ok();
    let token = event_hubs_token("sb://hub.example/hub", "iothubowner");
    assert!(ask(&token, Permission::ServiceConnect, "messages/events/$management").await);
    assert!(!ask(&token, Permission::ServiceConnect, "messages/devicebound").await);
    let whole = event_hubs_token("sb://hub.example", "iothubowner");
    assert!(!ask(&whole, Permission::RegistryWrite, "devices").await && world.login("D", &whole).await.is_err());
    assert!(!ask(&event_hubs_token("sb://hub.example/hub", "device"), Permission::ServiceConnect, "messages/events").await);
    // Only Event Hubs' clients sign like that.
    assert!(!ask(&event_hubs_token("hub.example", "iothubowner"), Permission::ServiceConnect, "messages/events").await);
    for resource in ["hub.example/devices/D", "sb://hub.example/devices/D", "sb://hub.example/hub"] {
        let by_device = sign(resource, NOW.plus(Duration::from_secs(60)), &key_text(1), None);
        assert!(world.login("D", &by_device).await.is_err(), "{resource}");
        assert!(!ask(&by_device, Permission::ServiceConnect, "messages/events").await, "{resource}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_for_the_registry_loses_nothing() {
    let registry = Arc::new(HangingRegistry::default());
    let world = World::on(Arc::clone(&registry) as _);
    world.write(Expected::Absent, Some(identity("D"))).await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let id = right.device_id.clone();

    registry.hangs.store(true, Ordering::Relaxed);
    world.hub.identities.invalidate(&id);
    assert!(open_session(&world.hub, right, origin()).now_or_never().is_none(), "its review waits");
    assert!(world.hub.presence.is_empty() && !world.hub.presence.view(&id).connected, "a connection that is gone leaves no session");

    assert!(flush_activity(&world.hub, NOW).now_or_never().is_none(), "it waits to be written");
    registry.hangs.store(false, Ordering::Relaxed);
    flush_activity(&world.hub, NOW).await;
    assert_eq!(world.hub.registry.get(&id).await.unwrap().unwrap().last_activity_time, Some(NOW));
}

/// A registry that does not answer for a while what is read and when devices were seen.
#[derive(Default)]
struct HangingRegistry {
    inner: MemoryRegistry,
    hangs: AtomicBool,
}

impl HangingRegistry {
    async fn answers(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait::async_trait]
impl Registry for HangingRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        self.answers().await;
        self.inner.get(id).await
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        self.inner.list(after, limit).await
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        self.inner.write(writes).await
    }

    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        self.answers().await;
        self.inner.record_activity(activity).await
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        self.inner.count().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_takes_over() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let older = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    let newer = open_session(&world.hub, right, origin()).await.unwrap();
    assert_eq!(older.wait_ended().await, DisconnectReason::TakenOver);
    close_session(&world.hub, &older, DisconnectReason::ConnectionLost);
    assert!(world.hub.presence.view(newer.device_id()).connected, "the older one's end is not the device's");
    close_session(&world.hub, &newer, DisconnectReason::ClientDisconnected);
    assert!(!world.hub.presence.view(newer.device_id()).connected);
}

#[tokio::test(start_paused = true)]
async fn after_a_disable_nothing_more_is_appended() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let session = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    let stamps = stamps(&world.hub, &right);
    let mut batch = EventBatch::default();
    stage(payload("before"), Occasion::default(), &stamps, &mut batch).unwrap();
    append(&world.hub, &session, &mut batch).await.unwrap();

    let held = DeviceIdentity { version: Version(2), hold: Some(Hold { by: "service".into(), since: NOW }), ..identity("D") };
    world.write(Expected::Version(Version(1)), Some(held)).await;
    assert_eq!(session.ended(), Some(DisconnectReason::DeviceDisabled));
    stage(payload("after"), Occasion::default(), &stamps, &mut batch).unwrap();
    assert!(matches!(append(&world.hub, &session, &mut batch).await, Err(AppendRefused::SessionEnded(DisconnectReason::DeviceDisabled))));
    assert!(matches!(append_durably(&world.hub, &right, &mut batch).await, Err(AppendRefused::NoLongerGood)));
    world.login("D", &device_token("D", 1)).await.unwrap_err();
    assert_eq!(world.last_reason("D"), "the device is disabled, held by service");

    let mut stored = 0;
    for partition in 0..4 {
        let partition = crate::core::event::PartitionId(partition);
        stored += world.hub.events.read(partition, crate::core::event::SequenceNumber(0), 1000).await.unwrap().len();
    }
    assert_eq!(stored, 1);
}

#[tokio::test(start_paused = true)]
async fn replacing_the_key_in_use_ends_the_session_and_the_other_one_does_not() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let session = open_session(&world.hub, right, origin()).await.unwrap();
    let with_keys = |version, primary, secondary| DeviceIdentity {
        version: Version(version),
        authentication: Authentication::SymmetricKey { primary: key(primary), secondary: key(secondary) },
        ..identity("D")
    };
    world.write(Expected::Version(Version(1)), Some(with_keys(2, 1, 7))).await;
    assert_eq!(session.ended(), None, "it came in with the primary key");
    world.write(Expected::Version(Version(2)), Some(with_keys(3, 7, 1))).await;
    assert_eq!(session.ended(), None, "its key only moved to the other slot");
    world.write(Expected::Version(Version(3)), Some(with_keys(4, 7, 8))).await;
    assert_eq!(session.ended(), Some(DisconnectReason::KeyReplaced));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_session_stands_and_falls_with_its_new_right() {
    let world = World::with_device("D").await;
    let first = world.login("D", &device_token("D", 1)).await.unwrap();
    let second = world.login("D", &device_token("D", 2)).await.unwrap();
    let session = open_session(&world.hub, first.clone(), origin()).await.unwrap();
    renew_session(&world.hub, &session, second).await.unwrap();
    let with_keys = |version, primary, secondary| DeviceIdentity {
        version: Version(version),
        authentication: Authentication::SymmetricKey { primary: key(primary), secondary: key(secondary) },
        ..identity("D")
    };
    world.write(Expected::Version(Version(1)), Some(with_keys(2, 7, 2))).await;
    assert_eq!(session.ended(), None, "it needs its first key no more");
    renew_session(&world.hub, &session, first).await.unwrap();
    assert_eq!(session.ended(), Some(DisconnectReason::KeyReplaced), "a right that was lost meanwhile renews nothing");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_opens_while_its_identity_goes_is_ended() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    world.write(Expected::Version(Version(1)), None).await;
    let session = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    assert_eq!(session.ended(), Some(DisconnectReason::DeviceDeleted));

    world.write(Expected::Absent, Some(DeviceIdentity { generation_id: GenerationId("2".into()), ..identity("D") })).await;
    assert!(!still_good(&world.hub, &right).await.unwrap(), "another life of the same name is another device");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_carries_the_hubs_stamps_and_not_the_clients() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let mut message = payload("x");
    message.application_properties =
        vec![("iothub-connection-device-id".into(), Value::String("somebody-else".into())), ("kind".into(), Value::String("t".into()))];
    let mut batch = EventBatch::default();
    stage(message, Occasion::default(), &stamps(&world.hub, &right), &mut batch).unwrap();
    let partition = batch.ends[0].0;
    append_durably(&world.hub, &right, &mut batch).await.unwrap();

    let stored = world.hub.events.read(partition, crate::core::event::SequenceNumber(0), 1000).await.unwrap();
    let message = encoding::decode(&stored[0].content).unwrap();
    assert_eq!(message.application_properties, [("kind".into(), Value::String("t".into()))]);
    let stamp = message.annotations.iter().find(|(name, _)| name == "iothub-connection-device-id").map(|(_, value)| value.clone());
    assert_eq!(stamp, Some(Value::String("D".into())));
    assert_eq!(world.hub.presence.view(&right.device_id).last_activity_time, Some(NOW));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_write_failed_is_not_acknowledged() {
    let world = World::with_device("D").await;
    let right = world.login("D", &device_token("D", 1)).await.unwrap();
    let session = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    let mut batch = EventBatch::default();
    stage(payload("x"), Occasion::default(), &stamps(&world.hub, &right), &mut batch).unwrap();
    world.log.hold();
    let ticket = append(&world.hub, &session, &mut batch).await.unwrap();
    let mut durability = world.hub.events.durability();
    world.log.fail();
    assert!(!durability.durable(ticket).await);
}
