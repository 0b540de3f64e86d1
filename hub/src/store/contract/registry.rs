//! What every [`Registry`] must do. `registry_contract!(open)` makes a test of each promise, against a fresh registry from `open`.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::core::device_id::DeviceId;
use crate::core::identity::{
    Authentication, DeviceIdentity, DeviceStatus, GenerationId, Hold, ManagedBy, Monitoring, Rotation, SymmetricKey, Version,
};
use crate::core::session::BootId;
use crate::core::time::UnixMillis;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryWrite};

/// One `#[tokio::test]` per promise. `open` is an async function to a fresh registry and whatever must live as long as it.
/// This module and the macro are imported as `contract` and `registry_contract` where it is used, so that `tests/` can include the file.
macro_rules! registry_contract {
    ($open:path) => {
        registry_contract!($open:
            keeps_every_field,
            writes_only_what_was_expected,
            writes_of_a_batch_see_the_ones_before,
            a_failed_write_does_not_hinder_the_others,
            a_write_leaves_the_activity_alone,
            activity_is_no_change,
            activity_of_an_earlier_life_leaves_the_present_one_alone,
            lists_in_byte_order,
            counts_what_may_connect,
            concurrent_writers_lose_nothing,
            a_read_after_a_write_sees_it,
            behaves_as_the_model,
        );
    };
    ($open:path : $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (registry, _kept) = $open().await;
                contract::$promise(std::sync::Arc::new(registry)).await;
            }
        )*
    };
}
pub(crate) use registry_contract;

pub(crate) async fn keeps_every_field(registry: Arc<impl Registry>) {
    let plain = enabled_device("plain", 1);
    let full = DeviceIdentity {
        status_reason: Some("stolen – \"ключ\"\n".to_owned()),
        status_updated_time: Some(UnixMillis(-1)),
        authentication: keys(0, 255),
        tags: Some(r#"{"site":"Zürich","floor":3}"#.to_owned()),
        monitoring: Monitoring { offline_after: Some("2159h59m59.999999999s".parse().expect("in range")), per_device_metrics: true },
        rotation: Some(Rotation {
            requested_at: "2026-11-23T03:00:00.000000001Z".parse().expect("a time"),
            begun_at: Some("2026-11-23T03:00:01Z".parse().expect("a time")),
        }),
        managed_by: Some(ManagedBy::Kubernetes { namespace: "ns".to_owned(), name: "n".to_owned(), uid: "u-1".to_owned() }),
        hold: Some(Hold { by: "iothubowner".to_owned(), since: UnixMillis(i64::MAX) }),
        connected_boot: Some(BootId(7)),
        connection_state_updated_time: Some(UnixMillis(5)),
        last_activity_time: Some(UnixMillis(6)),
        version: Version(i64::MIN),
        ..enabled_device("a-.+%_#*?!(),:;=@$'Z", 2)
    };
    let disabled = DeviceIdentity {
        wanted_status: DeviceStatus::Disabled,
        managed_by: Some(ManagedBy::ManifestFolder),
        monitoring: Monitoring { offline_after: None, per_device_metrics: true },
        rotation: Some(Rotation { requested_at: jiff::Timestamp::UNIX_EPOCH, begun_at: None }),
        ..enabled_device("disabled", 3)
    };
    let thumbprint = |text: &str| Some(text.repeat(20).parse().expect("hexadecimal"));
    let self_signed = |name, primary, secondary| DeviceIdentity {
        authentication: Authentication::SelfSigned { primary, secondary },
        ..enabled_device(name, 4)
    };
    let [one, other] = [
        self_signed("x509-1", thumbprint("aB"), None),
        self_signed("x509-2", None, Some([7; 32].map(|b: u8| format!("{b:02x}")).concat().parse().expect("hexadecimal"))),
    ];
    let issued = DeviceIdentity { authentication: Authentication::CertificateAuthority, ..enabled_device("x509-3", 5) };
    for device in [&plain, &full, &disabled, &one, &other, &issued] {
        write(&*registry, create(device)).await.expect("nobody is there yet");
        assert_eq!(get(&*registry, &device.device_id).await.as_ref(), Some(device));
    }
    let emptied = DeviceIdentity {
        device_id: full.device_id.clone(),
        connected_boot: full.connected_boot,
        connection_state_updated_time: full.connection_state_updated_time,
        last_activity_time: full.last_activity_time,
        ..plain
    };
    write(&*registry, replace(&full, &emptied)).await.expect("in this version");
    assert_eq!(get(&*registry, &full.device_id).await, Some(emptied), "a field that is none again is none");
    assert_eq!(get(&*registry, &id("A-.+%_#*?!(),:;=@$'Z")).await, None, "ids are case-sensitive");
}

pub(crate) async fn writes_only_what_was_expected(registry: Arc<impl Registry>) {
    let first = enabled_device("a", 1);
    let second = enabled_device("a", 2);
    let gone = RegistryWrite { new: None, ..replace(&first, &second) };
    assert_eq!(write(&*registry, replace(&first, &second)).await, Err(ExpectationFailed), "nobody there to replace");
    assert_eq!(write(&*registry, gone.clone()).await, Err(ExpectationFailed), "nobody there to delete");
    assert_eq!(write(&*registry, RegistryWrite { expected: Expected::Absent, ..gone.clone() }).await, Ok(()), "absent, and stays so");

    assert_eq!(write(&*registry, create(&first)).await, Ok(()));
    assert_eq!(write(&*registry, create(&second)).await, Err(ExpectationFailed), "somebody is there");
    assert_eq!(write(&*registry, RegistryWrite { expected: Expected::Absent, ..gone.clone() }).await, Err(ExpectationFailed));
    assert_eq!(get(&*registry, &first.device_id).await.as_ref(), Some(&first), "untouched");

    assert_eq!(write(&*registry, replace(&first, &second)).await, Ok(()));
    assert_eq!(write(&*registry, replace(&first, &second)).await, Err(ExpectationFailed), "the version has moved on");
    assert_eq!(write(&*registry, gone).await, Err(ExpectationFailed), "the version has moved on");
    assert_eq!(get(&*registry, &first.device_id).await.as_ref(), Some(&second));

    assert_eq!(write(&*registry, RegistryWrite { new: None, ..replace(&second, &second) }).await, Ok(()));
    assert_eq!(get(&*registry, &first.device_id).await, None);
}

pub(crate) async fn writes_of_a_batch_see_the_ones_before(registry: Arc<impl Registry>) {
    let (first, second) = (enabled_device("a", 1), enabled_device("a", 2));
    let delete_second = RegistryWrite { new: None, ..replace(&second, &second) };
    let batch = vec![create(&first), replace(&first, &second), delete_second, create(&first)];
    assert_eq!(registry.write(batch).await.expect("answers"), vec![Ok(()); 4]);
    assert_eq!(get(&*registry, &first.device_id).await, Some(first));
    assert_eq!(registry.write(Vec::new()).await.expect("answers"), vec![], "nothing to do");
}

pub(crate) async fn a_failed_write_does_not_hinder_the_others(registry: Arc<impl Registry>) {
    let (a, b, c) = (enabled_device("a", 1), enabled_device("b", 2), enabled_device("c", 3));
    let batch = vec![create(&a), replace(&b, &b), create(&a), create(&c)];
    assert_eq!(registry.write(batch).await.expect("answers"), vec![Ok(()), Err(ExpectationFailed), Err(ExpectationFailed), Ok(())]);
    assert_eq!(registry.list(None, 10).await.expect("answers"), vec![a, c]);
}

pub(crate) async fn a_write_leaves_the_activity_alone(registry: Arc<impl Registry>) {
    let device = DeviceIdentity { last_activity_time: Some(UnixMillis(1)), ..enabled_device("a", 1) };
    write(&*registry, create(&device)).await.expect("nobody is there yet");
    let seen = DeviceActivity { connected_boot: Some(BootId(3)), ..activity("a", Some(10), Some(20)) };
    registry.record_activity(vec![seen]).await.expect("answers");
    // The writer had read before the activity was recorded.
    let stale = DeviceIdentity { last_activity_time: None, connection_state_updated_time: Some(UnixMillis(3)), ..enabled_device("a", 2) };
    write(&*registry, replace(&device, &stale)).await.expect("in this version");
    let now = get(&*registry, &device.device_id).await.expect("is there");
    assert_eq!(
        (now.version, now.connected_boot, now.last_activity_time, now.connection_state_updated_time),
        (Version(2), Some(BootId(3)), Some(UnixMillis(10)), Some(UnixMillis(20)))
    );
    // A new life begins with what the write says.
    let again = enabled_device("a", 3);
    let batch = vec![RegistryWrite { new: None, ..replace(&stale, &stale) }, create(&again)];
    assert_eq!(registry.write(batch).await.expect("answers"), vec![Ok(()), Ok(())]);
    assert_eq!(get(&*registry, &device.device_id).await, Some(again));
}

pub(crate) async fn activity_is_no_change(registry: Arc<impl Registry>) {
    let device = enabled_device("a", 1);
    write(&*registry, create(&device)).await.expect("nobody is there yet");
    let batch =
        vec![activity("b", Some(1), Some(1)), activity("a", Some(10), None), activity("a", None, Some(20)), activity("a", None, None)];
    registry.record_activity(batch).await.expect("identities that are gone are skipped");
    let expected =
        DeviceIdentity { last_activity_time: Some(UnixMillis(10)), connection_state_updated_time: Some(UnixMillis(20)), ..device.clone() };
    assert_eq!(registry.list(None, 10).await.expect("answers"), vec![expected]);
    assert_eq!(write(&*registry, replace(&device, &enabled_device("a", 2))).await, Ok(()), "the version has not moved");

    for connected_boot in [Some(BootId(1)), None] {
        registry.record_activity(vec![DeviceActivity { connected_boot, ..activity("a", None, None) }]).await.expect("answers");
        let now = get(&*registry, &device.device_id).await.expect("is there");
        assert_eq!((now.connected_boot, now.last_activity_time), (connected_boot, Some(UnixMillis(10))), "connected, and away again");
    }
}

pub(crate) async fn activity_of_an_earlier_life_leaves_the_present_one_alone(registry: Arc<impl Registry>) {
    let device = DeviceIdentity { generation_id: GenerationId("the second".to_owned()), ..enabled_device("a", 1) };
    write(&*registry, create(&device)).await.expect("nobody is there yet");
    let seen = |generation: &str, boot, time| DeviceActivity {
        generation_id: GenerationId(generation.to_owned()),
        connected_boot: Some(BootId(boot)),
        ..activity("a", Some(time), Some(time))
    };
    let batch = vec![seen("the first", 1, 10), seen("the second", 2, 5), seen("the first", 3, 20)];
    registry.record_activity(batch).await.expect("identities that are gone are skipped");
    let now = get(&*registry, &device.device_id).await.expect("is there");
    assert_eq!((now.connected_boot, now.last_activity_time), (Some(BootId(2)), Some(UnixMillis(5))));
}

pub(crate) async fn lists_in_byte_order(registry: Arc<impl Registry>) {
    let ids = ["!", "#", "0", "10", "9", "A", "Z", "_", "a", "a-", "a-b", "aB", "ab", "b"];
    for (device, version) in ids.iter().rev().zip(0..) {
        write(&*registry, create(&enabled_device(device, version))).await.expect("nobody is there yet");
    }
    assert_eq!(listed(&*registry, None, 1000).await, ids);
    assert_eq!(listed(&*registry, None, 3).await, &ids[..3]);
    assert_eq!(listed(&*registry, Some("9"), 2).await, &ids[5..7]);
    assert_eq!(listed(&*registry, Some("a,"), 1).await, &ids[9..10], "after a name that nobody has");
    assert!(listed(&*registry, Some("b"), 1000).await.is_empty());
}

pub(crate) async fn counts_what_may_connect(registry: Arc<impl Registry>) {
    assert_eq!(registry.count().await.expect("answers"), DeviceCount::default());
    let hold = Some(Hold { by: "iothubowner".to_owned(), since: UnixMillis(0) });
    let unwanted = DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..enabled_device("unwanted", 2) };
    let held = DeviceIdentity { hold: hold.clone(), ..enabled_device("held", 3) };
    let both = DeviceIdentity { hold, ..DeviceIdentity { device_id: id("both"), ..unwanted.clone() } };
    for device in [&enabled_device("enabled", 1), &unwanted, &held, &both] {
        write(&*registry, create(device)).await.expect("nobody is there yet");
    }
    assert_eq!(registry.count().await.expect("answers"), DeviceCount { total: 4, enabled: 1 });
}

pub(crate) async fn concurrent_writers_lose_nothing(registry: Arc<impl Registry>) {
    const WRITERS: i64 = 4;
    const STEPS: i64 = 10;
    // Two devices in opposite order, so that row locks may cross.
    for name in ["a", "b"] {
        write(&*registry, create(&enabled_device(name, 0))).await.expect("nobody is there yet");
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let registry = Arc::clone(&registry);
        writers.spawn(async move {
            let names = if writer % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            let mut steps = [0; 2];
            while steps.iter().any(|&done| done < STEPS) {
                let mut batch = Vec::new();
                for name in names {
                    let current = get(&*registry, &id(name)).await.expect("is there");
                    batch.push(replace(&current, &DeviceIdentity { version: current.version.next(), ..current.clone() }));
                }
                let answers = registry.write(batch).await.expect("answers");
                for (done, answer) in steps.iter_mut().zip(answers) {
                    *done += i64::from(answer.is_ok());
                }
            }
            (names[0], steps)
        });
    }
    let (mut a, mut b) = (0, 0);
    while let Some(done) = writers.join_next().await {
        let (first, steps) = done.expect("no writer fails");
        let [of_first, of_second] = steps;
        (a, b) = if first == "a" { (a + of_first, b + of_second) } else { (a + of_second, b + of_first) };
    }
    let versions = [get(&*registry, &id("a")).await.expect("is there").version, get(&*registry, &id("b")).await.expect("is there").version];
    assert_eq!(versions, [Version(a), Version(b)], "every write that was answered with Ok has happened, and no other");
}

pub(crate) async fn a_read_after_a_write_sees_it(registry: Arc<impl Registry>) {
    let mut current = enabled_device("a", 0);
    write(&*registry, create(&current)).await.expect("nobody is there yet");
    for version in 1..50 {
        let next = enabled_device("a", version);
        write(&*registry, replace(&current, &next)).await.expect("in this version");
        let reads = (0..4).map(|_| {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move { get(&*registry, &id("a")).await.expect("is there").version })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.expect("no read fails"), Version(version));
        }
        current = next;
    }
}

/// Random histories, step by step against the registry in memory.
pub(crate) async fn behaves_as_the_model(registry: Arc<impl Registry>) {
    let model = MemoryRegistry::default();
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        if random.random_bool(0.2) {
            let seen = random_activity(&mut random);
            registry.record_activity(seen.clone()).await.expect("answers");
            model.record_activity(seen).await.expect("answers");
        } else {
            let batch = random_batch(&mut random);
            let answers = registry.write(batch.clone()).await.expect("answers");
            assert_eq!(answers, model.write(batch).await.expect("answers"), "seed {seed}");
        }
        let expected = model.list(None, 1000).await.expect("answers");
        assert_eq!(registry.list(None, 1000).await.expect("answers"), expected, "seed {seed}");
        assert_eq!(registry.count().await.expect("answers"), model.count().await.expect("answers"), "seed {seed}");
    }
}

/// Few names and few versions, so that expectations hold about as often as not.
fn random_batch(random: &mut StdRng) -> Vec<RegistryWrite> {
    let count = random.random_range(0..6);
    let write = |random: &mut StdRng| {
        let name = ["a", "b", "c"][random.random_range(0..3)];
        let expected = if random.random_bool(0.4) { Expected::Absent } else { Expected::Version(Version(random.random_range(0..3))) };
        let new = random.random_bool(0.8).then(|| random_device(name, random));
        RegistryWrite { id: id(name), expected, new, audit: None }
    };
    (0..count).map(|_| write(random)).collect()
}

fn random_device(name: &str, random: &mut StdRng) -> DeviceIdentity {
    let hold = Hold { by: "service".to_owned(), since: UnixMillis(random.random_range(0..9)) };
    DeviceIdentity {
        wanted_status: if random.random() { DeviceStatus::Enabled } else { DeviceStatus::Disabled },
        status_reason: random.random_bool(0.5).then(|| "reason".to_owned()),
        hold: random.random_bool(0.3).then_some(hold),
        managed_by: random.random_bool(0.3).then_some(ManagedBy::ManifestFolder),
        tags: random.random_bool(0.3).then(|| "{}".to_owned()),
        monitoring: Monitoring { offline_after: None, per_device_metrics: random.random() },
        authentication: keys(random.random(), random.random()),
        ..enabled_device(name, random.random_range(0..3))
    }
}

fn random_activity(random: &mut StdRng) -> Vec<DeviceActivity> {
    let time = |random: &mut StdRng| random.random_bool(0.5).then(|| random.random_range(0..100));
    let boot = |random: &mut StdRng| random.random_bool(0.5).then(|| BootId(random.random_range(1..3)));
    ["a", "b", "c", "d"].map(|name| DeviceActivity { connected_boot: boot(random), ..activity(name, time(random), time(random)) }).to_vec()
}

/// An enabled, unmanaged device.
pub(crate) fn enabled_device(name: &str, version: i64) -> DeviceIdentity {
    DeviceIdentity {
        device_id: id(name),
        generation_id: generation_of(name),
        version: Version(version),
        wanted_status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: keys(1, 2),
        tags: None,
        monitoring: Monitoring::default(),
        rotation: None,
        managed_by: None,
        hold: None,
        connected_boot: None,
        connection_state_updated_time: None,
        last_activity_time: None,
    }
}

fn keys(primary: u8, secondary: u8) -> Authentication {
    Authentication::SymmetricKey {
        primary: SymmetricKey::from_bytes(vec![primary; 16]).expect("long enough"),
        secondary: SymmetricKey::from_bytes(vec![secondary; 64]).expect("short enough"),
    }
}

fn activity(name: &str, last_activity: Option<i64>, connection_state_updated: Option<i64>) -> DeviceActivity {
    DeviceActivity {
        id: id(name),
        generation_id: generation_of(name),
        connected_boot: None,
        last_activity_time: last_activity.map(UnixMillis),
        connection_state_updated_time: connection_state_updated.map(UnixMillis),
    }
}

fn generation_of(name: &str) -> GenerationId {
    GenerationId(format!("generation of {name}"))
}

fn create(device: &DeviceIdentity) -> RegistryWrite {
    RegistryWrite { id: device.device_id.clone(), expected: Expected::Absent, new: Some(device.clone()), audit: None }
}

fn replace(current: &DeviceIdentity, new: &DeviceIdentity) -> RegistryWrite {
    RegistryWrite { id: current.device_id.clone(), expected: Expected::Version(current.version), new: Some(new.clone()), audit: None }
}

async fn write(registry: &impl Registry, write: RegistryWrite) -> Result<(), ExpectationFailed> {
    let mut answers = registry.write(vec![write]).await.expect("the registry answers");
    assert_eq!(answers.len(), 1, "an answer per write");
    answers.remove(0)
}

async fn get(registry: &impl Registry, id: &DeviceId) -> Option<DeviceIdentity> {
    registry.get(id).await.expect("the registry answers")
}

async fn listed(registry: &impl Registry, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(id);
    let page = registry.list(after.as_ref(), limit).await.expect("the registry answers");
    page.into_iter().map(|device| device.device_id.as_str().to_owned()).collect()
}

fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).expect("a device id")
}
