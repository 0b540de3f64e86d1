//! Somebody does the same to many devices at once: shuts them out, lets them in, replaces a key, deletes them.
//!
//! Each by itself: what one is refused does not hinder the others. Says of each how many connections it has cost, and how soon.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::audit::{AuditAction, Deed};
use crate::core::device_id::DeviceId;
use crate::core::identity::change::{Author, Change, Precondition, Refused, Request, Settings, StatusReason};
use crate::core::identity::{Authentication, DeviceStatus, ManagedBy};
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::record_all_refused;
use crate::ops::change_devices::{ChangeError, change_devices};
use crate::ops::new_key::new_key;
use crate::store::RegistryError;
use crate::store::presence::Session;

/// The most devices at once.
pub const DEVICES_MAX: usize = 1000;

/// How many are written in one transaction, so that others have their turn between.
const CHUNK: usize = 100;

/// What is done to each.
#[derive(Clone, Debug)]
pub enum DeviceAction {
    /// Lets it in again: lifts a hold.
    Enable,
    /// Shuts it out. Of a managed one that is a hold, which no manifest lifts.
    Disable,
    /// Replaces the key in this slot.
    Rotate(KeySlot),
    /// Removes it.
    Delete,
}

/// One of a device's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

/// What was done to one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted {
    /// How many connections it had that are closed now.
    pub connections_closed: usize,
    /// How long that took, from the beginning of the change.
    pub closed_in: Duration,
}

/// Why nothing was done to a device.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ActionRefused {
    /// The rules of identities say no.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It has a certificate.
    #[error("device {0} has no keys: it proves itself by a certificate")]
    NoKeys(DeviceId),
    /// Its manifest would make it again, or keep the old key.
    #[error("device {id} comes from the manifest {owner}. {change}")]
    OfManifest {
        /// Which device.
        id: DeviceId,
        /// Whose it is.
        owner: ManagedBy,
        /// What to change there.
        change: String,
    },
}

/// What became of each device.
type Answers = Vec<(DeviceId, Result<Acted, ActionRefused>)>;

/// Does it to each, once. An answer per device, in the order in which they first came; an error when nothing was done to any. A registry that
/// goes away on the way is the answer for those that were to come.
pub async fn act_on_devices(
    hub: &Arc<Hub>,
    by: &By,
    ids: Vec<DeviceId>,
    action: &DeviceAction,
    reason: Option<StatusReason>,
) -> Result<Answers, RegistryError> {
    let mut seen = HashSet::new();
    let ids: Vec<DeviceId> = ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
    let mut answers = Vec::with_capacity(ids.len());
    for (number, some) in ids.chunks(CHUNK).enumerate() {
        match act(hub, by, some, action, reason.as_ref()).await {
            Ok(acted) => answers.extend(acted),
            Err(error) if number == 0 => return Err(error),
            Err(error) => {
                let unknown = |id: &DeviceId| (id.clone(), Err(ChangeError::from(error.clone()).into()));
                answers.extend(ids[number * CHUNK..].iter().map(unknown));
                break;
            }
        }
    }
    let place = |wanted: &DeviceId| ids.iter().position(|id| id == wanted);
    answers.sort_by_cached_key(|(id, _)| place(id));
    Ok(answers)
}

async fn act(
    hub: &Arc<Hub>,
    by: &By,
    ids: &[DeviceId],
    action: &DeviceAction,
    reason: Option<&StatusReason>,
) -> Result<Answers, RegistryError> {
    let (mut requests, mut refused) = (Vec::with_capacity(ids.len()), Vec::new());
    for id in ids {
        match request(hub, by, id, action, reason).await? {
            Ok(request) => requests.push((id.clone(), request)),
            Err(why) => refused.push((id.clone(), why)),
        }
    }
    record_all_refused(hub, by, refused.iter().map(|(id, why)| Deed::refused(audited(action), why.to_string()).to(id.as_str()))).await;
    let mut answers = change(hub, by, requests, reason).await?;
    answers.extend(refused.into_iter().map(|(id, why)| (id, Err(why))));
    Ok(answers)
}

/// What it is called in the audit.
fn audited(action: &DeviceAction) -> AuditAction {
    match action {
        DeviceAction::Enable => AuditAction::DeviceEnabled,
        DeviceAction::Disable => AuditAction::DeviceDisabled,
        DeviceAction::Rotate(_) => AuditAction::CredentialsReplaced,
        DeviceAction::Delete => AuditAction::DeviceDeleted,
    }
}

async fn change(
    hub: &Arc<Hub>,
    by: &By,
    requests: Vec<(DeviceId, Request)>,
    reason: Option<&StatusReason>,
) -> Result<Answers, RegistryError> {
    let live = |id: &DeviceId| hub.presence.sessions_of(id).into_iter().filter(|session| session.ended().is_none()).collect();
    let before: Vec<(DeviceId, Vec<Session>)> = requests.iter().map(|(id, _)| (id.clone(), live(id))).collect();
    let begun = Instant::now();
    let changed = change_devices(hub, by, requests, reason).await?;
    let closed_in = begun.elapsed();
    let acted = before.into_iter().zip(changed).map(|((id, sessions), changed)| {
        let connections_closed = sessions.iter().filter(|session| session.ended().is_some()).count();
        (id, changed.map(|_| Acted { connections_closed, closed_in }).map_err(ActionRefused::from))
    });
    Ok(acted.collect())
}

async fn request(
    hub: &Hub,
    by: &By,
    id: &DeviceId,
    action: &DeviceAction,
    reason: Option<&StatusReason>,
) -> Result<Result<Request, ActionRefused>, RegistryError> {
    let set = |status| Settings { status: Some(status), status_reason: Some(reason.cloned()), ..Settings::default() };
    let change = match action {
        DeviceAction::Enable => Change::Update(set(DeviceStatus::Enabled), Precondition::Any),
        DeviceAction::Disable => Change::Update(set(DeviceStatus::Disabled), Precondition::Any),
        DeviceAction::Rotate(_) | DeviceAction::Delete => {
            let Some(identity) = hub.registry.get(id).await? else {
                return Ok(Err(ChangeError::from(Refused::NotFound(id.clone())).into()));
            };
            // What is read here still has to be so when it is changed.
            let precondition = Precondition::ETag(identity.version.etag());
            if let Some(owner) = identity.managed_by {
                return Ok(Err(ActionRefused::OfManifest { id: id.clone(), owner, change: manifest_change(action).to_owned() }));
            }
            match (action, &identity.authentication) {
                (DeviceAction::Rotate(slot), Authentication::SymmetricKey { .. }) => Change::Update(rotated(*slot), precondition),
                (DeviceAction::Rotate(_), _) => return Ok(Err(ActionRefused::NoKeys(id.clone()))),
                _ => Change::Delete(precondition),
            }
        }
    };
    Ok(Ok(Request { change, author: Author::Policy { name: by.principal.name().to_owned(), release: false } }))
}

fn manifest_change(action: &DeviceAction) -> &'static str {
    match action {
        DeviceAction::Rotate(_) => {
            "Set spec.rotation.requestedAt there to the time it is now: the key before stays good for spec.rotation.overlap"
        }
        DeviceAction::Enable | DeviceAction::Disable | DeviceAction::Delete => {
            "Delete the manifest; until then disabling shuts the device out here"
        }
    }
}

fn rotated(slot: KeySlot) -> Settings {
    match slot {
        KeySlot::Primary => Settings { primary_key: Some(new_key()), ..Settings::default() },
        KeySlot::Secondary => Settings { secondary_key: Some(new_key()), ..Settings::default() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::core::identity::DeviceIdentity;
    use crate::core::principal::{Door, Principal, SignInMethod};
    use crate::ops::audit::read_audit;
    use crate::ops::open_session::open_session;
    use crate::ops::world::{World, by_service, device_token, identity, origin};
    use crate::store::audit::AuditQuery;
    use crate::store::memory::registry::MemoryRegistry;
    use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Expected, Registry, RegistryWrite};

    fn ids(names: &[&str]) -> Vec<DeviceId> {
        names.iter().map(|name| DeviceId::parse(name).unwrap()).collect()
    }

    async fn act(world: &World, names: &[&str], action: DeviceAction) -> Vec<Result<usize, String>> {
        let answers = act_on_devices(&world.hub, &by_service(), ids(names), &action, None).await.unwrap();
        answers.into_iter().map(|(_, answer)| answer.map(|acted| acted.connections_closed).map_err(|why| why.to_string())).collect()
    }

    #[tokio::test]
    async fn each_is_done_or_says_why_not() {
        let world = World::with_device("D").await;
        let managed_by = Some("kubernetes/plant/pump/u-1".parse().unwrap());
        world.write(Expected::Absent, Some(DeviceIdentity { managed_by, ..identity("M") })).await;
        let certified = DeviceIdentity { authentication: Authentication::CertificateAuthority, ..identity("C") };
        world.write(Expected::Absent, Some(certified)).await;
        let right = world.login("D", &device_token("D", 1)).await.unwrap();
        let session = open_session(&world.hub, right, origin()).await.unwrap();

        let rotated = act(&world, &["M", "C", "D", "none", "D"], DeviceAction::Rotate(KeySlot::Secondary)).await;
        assert!(rotated[0].as_ref().unwrap_err().contains("kubernetes/plant/pump/u-1. Set spec.rotation.requestedAt"));
        assert!(rotated[1].as_ref().unwrap_err().contains("certificate") && rotated[3].as_ref().unwrap_err().contains("not registered"));
        assert_eq!((rotated.len(), &rotated[2]), (4, &Ok(0)), "the session is of the other key");

        assert_eq!(act(&world, &["D", "M"], DeviceAction::Disable).await, [Ok(1), Ok(0)]);
        assert!(session.ended().is_some());
        let held = world.hub.registry.get(&ids(&["M"])[0]).await.unwrap().unwrap();
        assert_eq!((held.wanted_status, held.hold.map(|hold| hold.by)), (DeviceStatus::Enabled, Some("service".into())));
        assert_eq!(act(&world, &["M"], DeviceAction::Enable).await, [Ok(0)]);
        let deleted = act(&world, &["M", "D"], DeviceAction::Delete).await;
        assert!(deleted[0].as_ref().unwrap_err().contains("Delete the manifest") && deleted[1] == Ok(0));
        assert!(world.hub.registry.get(&ids(&["D"])[0]).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn why_a_device_was_deleted_is_in_the_audit() {
        let world = World::with_device("D").await;
        let why = Some(StatusReason::parse("scrapped on Friday").unwrap());
        act_on_devices(&world.hub, &ada(), ids(&["D"]), &DeviceAction::Delete, why).await.unwrap();
        let entries = read_audit(&world.hub, &AuditQuery { limit: 1, ..AuditQuery::default() }).await.unwrap();
        assert_eq!((entries[0].action, entries[0].detail.as_deref()), (AuditAction::DeviceDeleted, Some("scrapped on Friday")));
    }

    #[tokio::test]
    async fn what_a_person_is_refused_is_written_down_for_each() {
        let world = World::with_device("D").await;
        let managed_by = Some("kubernetes/plant/pump/u-1".parse().unwrap());
        world.write(Expected::Absent, Some(DeviceIdentity { managed_by, ..identity("M") })).await;
        let certified = DeviceIdentity { authentication: Authentication::CertificateAuthority, ..identity("C") };
        world.write(Expected::Absent, Some(certified)).await;
        for (by, action) in [(&by_service(), DeviceAction::Delete), (&ada(), DeviceAction::Rotate(KeySlot::Primary))] {
            act_on_devices(&world.hub, by, ids(&["M", "C", "none"]), &action, None).await.unwrap();
        }
        assert_eq!(refused(&world).await, ["C", "M", "none"].map(|device| ("ada".into(), AuditAction::CredentialsReplaced, device.into())));
    }

    /// By what was asked for: there is no change to be named after.
    #[tokio::test]
    async fn what_the_rules_of_identities_refuse_a_person_is_written_down_as_what_it_would_have_been() {
        let world = World::with_device("D").await;
        let managed_by = Some("kubernetes/plant/pump/u-1".parse().unwrap());
        let out = DeviceIdentity { managed_by, wanted_status: DeviceStatus::Disabled, ..identity("M") };
        world.write(Expected::Absent, Some(out)).await;
        for (device, action) in [("M", DeviceAction::Enable), ("none", DeviceAction::Disable)] {
            let answers = act_on_devices(&world.hub, &ada(), ids(&[device]), &action, None).await.unwrap();
            assert!(matches!(answers[0].1, Err(ActionRefused::Change(ChangeError::Refused(_)))), "{answers:?}");
        }
        let expected = [("M", AuditAction::DeviceEnabled), ("none", AuditAction::DeviceDisabled)];
        assert_eq!(refused(&world).await, expected.map(|(device, action)| ("ada".into(), action, device.into())));
    }

    fn ada() -> By {
        By { principal: Principal::Person("ada".to_owned(), SignInMethod::Password), door: Door::Dashboard, address: None }
    }

    /// Who was refused what, by the device's id.
    async fn refused(world: &World) -> Vec<(String, AuditAction, String)> {
        let query = AuditQuery { limit: 100, ..AuditQuery::default() };
        let entries = read_audit(&world.hub, &query).await.unwrap();
        let refused = entries.into_iter().filter(|entry| entry.refused.is_some());
        let mut of: Vec<_> = refused.map(|entry| (entry.by.principal.name().to_owned(), entry.action, entry.device.unwrap())).collect();
        of.sort_by_key(|(_, _, device)| device.clone());
        of
    }

    /// A registry that goes away after so many writes.
    struct Tires {
        registry: MemoryRegistry,
        writes: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Registry for Tires {
        async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
            self.registry.get(id).await
        }

        async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
            self.registry.list(after, limit).await
        }

        async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
            match self.writes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => self.registry.write(writes).await,
                Err(_) => Err(RegistryError::Unavailable("gone".to_owned())),
            }
        }

        async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
            self.registry.record_activity(activity).await
        }

        async fn count(&self) -> Result<DeviceCount, RegistryError> {
            self.registry.count().await
        }
    }

    #[tokio::test]
    async fn a_registry_that_goes_away_on_the_way_leaves_the_word_on_those_that_are_done() {
        let tires = Arc::new(Tires { registry: MemoryRegistry::default(), writes: AtomicUsize::new(2) });
        let names: Vec<String> = (0..250).map(|number| format!("d-{number}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &all {
            let write = RegistryWrite { id: ids(&[name])[0].clone(), expected: Expected::Absent, new: Some(identity(name)), audit: None };
            tires.registry.write(vec![write]).await.unwrap()[0].unwrap();
        }
        let world = World::on(Arc::clone(&tires) as _);
        let answers = act(&world, &all, DeviceAction::Disable).await;
        assert_eq!(answers.len(), 250);
        assert!(answers[..200].iter().all(Result::is_ok));
        assert!(answers[200..].iter().all(|answer| answer.as_ref().unwrap_err().contains("gone")));
        let nothing = act_on_devices(&world.hub, &by_service(), ids(&all), &DeviceAction::Enable, None).await;
        assert!(matches!(nothing, Err(RegistryError::Unavailable(_))), "nothing was done to any");
    }
}
