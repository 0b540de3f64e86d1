use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::core::change::ChangeKind;
use crate::core::identity::ManagedBy;
use crate::core::identity::change::{Author, Change, Claim, Precondition, Settings};
use crate::core::identity::{Authentication, DeviceStatus};
use crate::core::session::{Credential, DeviceRight, DisconnectReason, KeyFingerprint};
use crate::core::time::UnixMillis;
use crate::ops::changes::{Lanes, NoPlace, Span};
use crate::ops::open_session::open_session;
use crate::ops::world::by_service;
use crate::ops::{Session, world};
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Registry};

/// A registry that goes wrong on demand.
#[derive(Default)]
struct RiggedRegistry {
    inner: MemoryRegistry,
    /// How many writes somebody else forestalls.
    forestalled: AtomicUsize,
    /// Whether a write's answer gets lost after the commit.
    loses_answers: AtomicBool,
    /// Whether nothing is answered any more after the next commit.
    goes_away: AtomicBool,
    is_away: AtomicBool,
    /// When set, a write stays between commit and answer until there is a permit.
    holds_answers: AtomicBool,
    committed: Signal,
    answers: Signal,
}

/// Counts what has happened and is not yet taken note of.
struct Signal(Semaphore);

impl Default for Signal {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

#[async_trait]
impl Registry for RiggedRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(RegistryError::Unavailable("away".to_owned()));
        }
        self.inner.get(id).await
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        self.inner.list(after, limit).await
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        if self.forestalled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let current = self.inner.get(&writes[0].id).await?.expect("somebody is there");
            let new = DeviceIdentity { version: current.version.next(), ..current.clone() };
            let write =
                RegistryWrite { id: new.device_id.clone(), expected: Expected::Version(current.version), new: Some(new), audit: None };
            self.inner.write(vec![write]).await?[0].expect("nobody else writes");
        }
        let answers = self.inner.write(writes).await?;
        self.committed.0.add_permits(1);
        if self.holds_answers.load(Ordering::Relaxed) {
            self.answers.0.acquire().await.expect("never closed").forget();
        }
        self.is_away.store(self.goes_away.load(Ordering::Relaxed), Ordering::Relaxed);
        if self.loses_answers.load(Ordering::Relaxed) || self.goes_away.load(Ordering::Relaxed) {
            return Err(RegistryError::Unavailable("the answer got lost".to_owned()));
        }
        Ok(answers)
    }

    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        self.inner.record_activity(activity).await
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        self.inner.count().await
    }
}

/// A hub with one connected device.
struct World {
    hub: Arc<Hub>,
    registry: Arc<RiggedRegistry>,
    session: Session,
}

impl World {
    async fn new() -> Self {
        let registry = Arc::new(RiggedRegistry::default());
        let hub = world::World::on(Arc::clone(&registry) as _).hub;
        let Ok(Outcome::Kept(device)) = change_device(&hub, &by_service(), id(), request(Change::Create(Settings::default()))).await else {
            panic!("nobody is there yet");
        };
        let Authentication::SymmetricKey { primary, .. } = &device.authentication else { panic!("it has no keys") };
        let right = DeviceRight {
            device_id: id(),
            generation_id: device.generation_id,
            credential: Credential::DeviceKey(KeyFingerprint::of(primary)),
            good_until: UnixMillis(i64::MAX),
        };
        let session = open_session(&hub, right, world::origin()).await.expect("the registry answers");
        registry.committed.0.forget_permits(1);
        Self { hub, registry, session }
    }

    async fn disable(&self) -> Result<Outcome, ChangeError> {
        change_device(&self.hub, &by_service(), id(), disable()).await
    }
}

fn id() -> DeviceId {
    DeviceId::parse("D").expect("a device id")
}

fn request(change: Change) -> Request {
    Request { change, author: Author::Policy { name: "iothubowner".to_owned(), release: false } }
}

fn disable() -> Request {
    let settings = Settings { status: Some(DeviceStatus::Disabled), ..Settings::default() };
    request(Change::Update(settings, Precondition::Any))
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nobody_connected() {
    let world = World::new().await;
    world.registry.holds_answers.store(true, Ordering::Relaxed);
    let hub = Arc::clone(&world.hub);
    let caller = tokio::spawn(async move { change_device(&hub, &by_service(), id(), disable()).await.map(|_| ()) });
    world.registry.committed.0.acquire().await.expect("never closed").forget();
    caller.abort();
    assert!(caller.await.expect_err("aborted").is_cancelled());
    assert_eq!(world.session.ended(), None, "the commit is done, its answer under way");
    world.registry.answers.0.add_permits(1);
    let ended = tokio::time::timeout(Duration::from_secs(10), world.session.wait_ended()).await;
    assert_eq!(ended.expect("ends"), DisconnectReason::DeviceDisabled);
}

#[tokio::test]
async fn a_lost_answer_leaves_nobody_connected() {
    let world = World::new().await;
    world.registry.loses_answers.store(true, Ordering::Relaxed);
    assert!(matches!(world.disable().await, Err(ChangeError::Registry(RegistryError::Unavailable(_)))));
    assert_eq!(world.session.ended(), Some(DisconnectReason::DeviceDisabled));
}

#[tokio::test]
async fn a_registry_that_goes_away_with_its_answer_leaves_nobody_connected_who_may_be_shut_out() {
    let world = World::new().await;
    let lanes = Lanes::of(&[ChangeKind::Registry]);
    let mut watcher = world.hub.changes.end_of(lanes);
    world.registry.goes_away.store(true, Ordering::Relaxed);
    assert!(world.disable().await.is_err());
    assert_eq!(world.session.ended(), Some(DisconnectReason::DeviceDisabled));
    let resumed = world.hub.changes.stand(watcher.next, lanes);
    assert!(matches!(resumed, Err(NoPlace::Gone)), "nobody goes on as if nothing had happened: {resumed:?}");
    assert!(matches!(world.hub.changes.read(&mut watcher), Span::Skipped(1)));
    assert!(matches!(world.hub.changes.read(&mut watcher), Span::Changes(changes) if changes.is_empty()));

    assert!(world.hub.identities.get(&*world.hub.registry, &id()).await.is_err(), "no cached identity lets it in again");
    world.registry.is_away.store(false, Ordering::Relaxed);
    let found = world.hub.identities.get(&*world.hub.registry, &id()).await.expect("answers").expect("is there");
    assert!(found.hold.is_some(), "the write had been made");
}

#[tokio::test]
async fn a_registry_that_goes_away_with_its_answer_disturbs_nobody_whose_right_the_change_leaves() {
    let world = World::new().await;
    world.registry.goes_away.store(true, Ordering::Relaxed);
    let settings = Settings { status: Some(DeviceStatus::Enabled), ..Settings::default() };
    assert!(change_device(&world.hub, &by_service(), id(), request(Change::Update(settings, Precondition::Any))).await.is_err());
    assert_eq!(world.session.ended(), None);
}

#[tokio::test]
async fn who_is_forestalled_decides_again_a_bounded_number_of_times() {
    let world = World::new().await;
    world.registry.forestalled.store(ATTEMPTS, Ordering::Relaxed);
    assert!(matches!(world.disable().await, Err(ChangeError::Contended(contended)) if contended == id()));
    assert_eq!(world.session.ended(), None, "nothing was written");
    world.registry.forestalled.store(ATTEMPTS - 1, Ordering::Relaxed);
    assert!(matches!(world.disable().await, Ok(Outcome::Kept(_))));
    assert_eq!(world.session.ended(), Some(DisconnectReason::DeviceDisabled));

    let etag = world.hub.registry.get(&id()).await.expect("answers").expect("is there").version.etag();
    world.registry.forestalled.store(1, Ordering::Relaxed);
    let matching = request(Change::Update(Settings::default(), Precondition::ETag(etag)));
    let refused = change_device(&world.hub, &by_service(), id(), matching).await;
    assert!(matches!(refused, Err(ChangeError::Refused(Refused::ETagMismatch(_)))), "a precondition is for the version it names");
}

#[tokio::test]
async fn each_of_many_is_answered_in_its_place() {
    let world = World::new().await;
    let other = |name: &str| DeviceId::parse(name).expect("a device id");
    let changes = vec![
        (other("a"), request(Change::Create(Settings::default()))),
        (id(), request(Change::Create(Settings::default()))),
        (other("b"), request(Change::Delete(Precondition::Any))),
        (other("c"), request(Change::CreateOrUpdate(Settings::default(), Precondition::Any))),
    ];
    let answers = change_devices(&world.hub, &by_service(), changes, None).await.expect("answers");
    assert!(matches!(
        &answers[..],
        [
            Ok(Outcome::Kept(a)),
            Err(ChangeError::Refused(Refused::AlreadyExists(_))),
            Err(ChangeError::Refused(Refused::NotFound(_))),
            Ok(Outcome::Kept(c)),
        ] if a.device_id.as_str() == "a" && c.device_id.as_str() == "c"
    ));
}

#[tokio::test]
async fn many_authors_changes_are_one_transaction() {
    let world = World::new().await;
    let changes = (0..100).map(|number| {
        let name = format!("d{number}");
        let source = ManagedBy::Kubernetes { namespace: "plant".to_owned(), name: name.clone(), uid: number.to_string() };
        let author = Author::Manifest { source, claim: Claim::Own };
        (DeviceId::parse(&name).expect("a device id"), Request { change: Change::Create(Settings::default()), author })
    });
    let answers = change_devices(&world.hub, &by_service(), changes.collect(), None).await.expect("answers");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 100);
    assert_eq!(world.registry.committed.0.available_permits(), 1, "one write of the registry");
}

#[tokio::test]
async fn a_policy_that_speaks_for_a_manifest_is_named() {
    let world = world::World::new();
    let source: ManagedBy = "kubernetes/plant/pump/u-1".parse().unwrap();
    let change = |change, claim| Request { change, author: Author::Manifest { source: source.clone(), claim } };
    let create = change(Change::Create(Settings::default()), Claim::Own);
    change_device(&world.hub, &by_service(), id(), create).await.unwrap();
    let settings = Settings { status: Some(DeviceStatus::Disabled), ..Settings::default() };
    let disable = change(Change::Update(settings, Precondition::Any), Claim::Own);
    change_device(&world.hub, &by_service(), id(), disable.clone()).await.unwrap();
    let query = crate::store::audit::AuditQuery { limit: 9, ..Default::default() };
    let entries = crate::ops::audit::read_audit(&world.hub, &query).await.unwrap();
    let said = entries.iter().map(|entry| (entry.by.principal.name(), entry.detail.as_deref())).collect::<Vec<_>>();
    let manifest = "kubernetes/plant/pump";
    assert_eq!(said, [(manifest, Some("by policy service: status")), (manifest, Some("by policy service"))]);
}
