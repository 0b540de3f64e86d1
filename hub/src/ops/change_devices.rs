//! Identities change: one, or many in one durable transaction.
//!
//! Read, decide, write on condition that nothing has changed meanwhile; again when something has. What is durable is made to count
//! (caches, sessions) before the call returns, whether or not the caller still waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::audit::{Deed, action_asked_for, deed_of_change};
use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::identity::change::{Author, Fresh, Outcome, Refused, Request, StatusReason, decide};
use crate::core::principal::{By, Door, Principal};
use crate::ops::Hub;
use crate::ops::audit::{publish, record_all_refused};
use crate::ops::new_key::new_key;
use crate::store::{Expected, RegistryError, RegistryWrite};

/// How often a decision is made anew because somebody else was faster. Writers of one identity are few; each round lets one of them through.
const ATTEMPTS: usize = 16;

/// Why an identity did not change.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Others wrote to the same identity again and again.
    #[error("device {0} is being changed by others; try again")]
    Contended(DeviceId),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Changes one identity, by the word of somebody. Answers when the change is durable and counts everywhere in this hub.
pub async fn change_device(hub: &Arc<Hub>, by: &By, id: DeviceId, request: Request) -> Result<Outcome, ChangeError> {
    let mut answers = change_devices(hub, by, vec![(id, request)], None).await?;
    answers.pop().expect("an answer per change")
}

/// Changes identities, each by itself: one that is refused does not hinder the others. An answer per change, in order. No identity may
/// come twice. `why` is for the audit, where a deletion leaves no identity to say it.
pub async fn change_devices(
    hub: &Arc<Hub>,
    by: &By,
    changes: Vec<(DeviceId, Request)>,
    why: Option<&StatusReason>,
) -> Result<Vec<Result<Outcome, ChangeError>>, RegistryError> {
    let mut answers: Vec<Option<Result<Outcome, ChangeError>>> = changes.iter().map(|_| None).collect();
    let mut pending: Vec<usize> = (0..changes.len()).collect();
    for _ in 0..ATTEMPTS {
        let (mut decisions, mut deeds) = (Vec::new(), Vec::new());
        for place in std::mem::take(&mut pending) {
            let (id, request) = &changes[place];
            let current = hub.registry.get(id).await?;
            match decide(id, current.as_ref(), request, hub.now(), fresh()) {
                Err(refused) => {
                    deeds.push(refused_deed(id, request, &refused));
                    answers[place] = Some(Err(refused.into()));
                }
                Ok(outcome) => decisions.push((place, outcome, current)),
            }
        }
        record_all_refused(hub, by, deeds).await;
        if decisions.is_empty() {
            break;
        }
        let write = |(place, outcome, current): &(usize, Outcome, Option<DeviceIdentity>)| {
            let (id, request) = &changes[*place];
            to_write(hub, (by, &request.author, why), id, outcome, current.as_ref())
        };
        let writes = decisions.iter().map(write).collect();
        let written = write_to_the_end(hub, writes).await?;
        for ((place, outcome, _), written) in decisions.into_iter().zip(written) {
            if written {
                answers[place] = Some(Ok(outcome));
            } else {
                pending.push(place);
            }
        }
    }
    let contended = |id: &DeviceId| Err(ChangeError::Contended(id.clone()));
    Ok(answers.into_iter().zip(&changes).map(|(answer, (id, _))| answer.unwrap_or_else(|| contended(id))).collect())
}

fn to_write(
    hub: &Hub,
    (by, author, why): (&By, &Author, Option<&StatusReason>),
    id: &DeviceId,
    outcome: &Outcome,
    current: Option<&DeviceIdentity>,
) -> RegistryWrite {
    let new = match outcome {
        Outcome::Kept(identity) => Some(DeviceIdentity::clone(identity)),
        Outcome::Deleted => None,
    };
    let deed = deed_of_change(current, new.as_ref());
    let deed = match why.filter(|_| new.is_none()) {
        Some(why) => deed.saying(why.as_str()),
        None => deed,
    };
    let (by, deed) = by_author(by, author, deed);
    let audit = hub.audit.entry(hub.now(), &by, deed);
    let expected = current.map_or(Expected::Absent, |current| Expected::Version(current.version));
    RegistryWrite { id: id.clone(), expected, new, audit: Some(audit) }
}

/// A manifest is the author of what it wants, whoever carries it out. Who has a policy's key can say that of any manifest, so the policy is
/// named first.
fn by_author(by: &By, author: &Author, deed: Deed) -> (By, Deed) {
    let Author::Manifest { source, .. } = author else { return (by.clone(), deed) };
    let deed = match (&by.principal, &deed.detail) {
        (Principal::Policy(name), Some(detail)) => {
            let detail = format!("by policy {name}: {detail}");
            deed.saying(detail)
        }
        (Principal::Policy(name), None) => deed.saying(format!("by policy {name}")),
        _ => deed,
    };
    (By { principal: Principal::of_manifest(source), door: Door::Manifest, address: by.address }, deed)
}

fn refused_deed(id: &DeviceId, request: &Request, refused: &Refused) -> Deed {
    Deed::refused(action_asked_for(&request.change), refused.to_string()).to(id.as_str())
}

/// Writes, and tells the hub. In a task of its own: a caller who goes away between the two (a closed HTTP connection drops its handler)
/// must not leave a disabled device connected.
async fn write_to_the_end(hub: &Arc<Hub>, writes: Vec<RegistryWrite>) -> Result<Vec<bool>, RegistryError> {
    let hub = Arc::clone(hub);
    let task = tokio::spawn(async move {
        let outcomes: HashMap<DeviceId, Option<DeviceIdentity>> =
            writes.iter().map(|write| (write.id.clone(), write.new.clone())).collect();
        let ids: Vec<DeviceId> = writes.iter().map(|write| write.id.clone()).collect();
        let entries: Vec<_> = writes.iter().map(|write| write.audit.clone()).collect();
        // Nobody has a right to what was not there.
        let shut_out = writes.iter().filter(|write| write.expected != Expected::Absent).map(|write| write.id.clone()).collect();
        // Whoever watches takes the last word for the true one.
        let in_order = hub.registry_order.lock().await;
        let written = match hub.registry.write(writes).await {
            Ok(answers) => {
                let answers = answers.iter().map(Result::is_ok).collect::<Vec<_>>();
                for ((id, entry), _) in ids.iter().zip(entries).zip(&answers).filter(|(_, written)| **written) {
                    hub.identity_changed(id, outcomes[id].as_ref());
                    entry.into_iter().for_each(|entry| publish(&hub, entry));
                }
                Ok(answers)
            }
            Err(error) => {
                // The commit may have happened all the same, with its answer lost: whatever is there now must count.
                for id in &ids {
                    review_after_failure(&hub, id, outcomes[id].as_ref()).await;
                }
                Err(error)
            }
        };
        // Other writers need not wait for what this one waits for.
        drop(in_order);
        match hub.commands.identities_changed(shut_out).await {
            Ok(()) => written,
            Err(under_way) => {
                tracing::error!(error = %under_way, "devices were changed, and {under_way}");
                written.and(Err(RegistryError::Unavailable(under_way.to_string())))
            }
        }
    });
    task.await.unwrap_or_else(|error| Err(RegistryError::Unavailable(error.to_string())))
}

async fn review_after_failure(hub: &Hub, id: &DeviceId, perhaps: Option<&DeviceIdentity>) {
    match hub.registry.get(id).await {
        Ok(identity) => hub.identity_changed(id, identity.as_ref()),
        Err(error) => {
            tracing::warn!(device = %id, %error, "whether device {id} was changed is not known: {error}");
            hub.identity_perhaps_changed(id, perhaps);
        }
    }
}

fn fresh() -> Fresh {
    Fresh {
        generation: rand::random(),
        // Half the range above it stays free to count in.
        version: rand::random_range(1..i64::MAX / 2),
        primary_key: new_key(),
        secondary_key: new_key(),
    }
}

#[cfg(test)]
mod tests;
