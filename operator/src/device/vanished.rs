//! Identities whose Device has vanished without its finalizer: they are held, because nobody speaks for them any more.
//!
//! A hold, not a deletion: whoever took a finalizer off by hand, or restored a cluster without its Devices, gets nothing back that is gone.
//! Nothing is held before all Devices have been seen, and each is looked for once more in the API server itself.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use mooring_crds::IotHub;
use serde_json::json;

use super::context::Context;
use super::reconcile::ReconcileError;
use super::{DeviceName, delete};
use crate::events::Events;
use crate::hub::HubKey;
use crate::hub::client::{Author, Ownership};
use crate::hub::identity::ManagedBy;

/// So many are told of together at most.
const TOLD_TOGETHER_MAX: usize = 1000;

/// So many of them are named: an event's note is short, and an id is not always.
const NAMED_MAX: usize = 5;

/// Holds the identity, if its Device is gone. Answers whether it did.
pub async fn look_at(context: &Context, hub: &HubKey, device_id: &str, owner: &ManagedBy) -> Result<bool, ReconcileError> {
    context.synced().await;
    // Where not all can be seen nothing is known to be missing. It is told again with the next snapshot.
    if !context.scope.contains(&owner.namespace) || context.is_unseen(&owner.namespace) {
        return Ok(false);
    }
    let name = DeviceName { namespace: owner.namespace.clone(), name: owner.name.clone() };
    if let Some((there, _)) = delete::read(context, &name).await? {
        if there.uid == owner.uid {
            return Ok(false);
        }
        if (&there.hub, there.device_id.as_str()) == (hub, device_id) {
            // It was made again, and takes over.
            context.wake(&name);
            return Ok(false);
        }
    }
    let Some(link) = context.links.get(hub) else { return Ok(false) };
    let Some(identity) = link.client()?.identity(device_id).await? else { return Ok(false) };
    if identity.managed_by.as_ref() != Some(owner) || identity.hold.is_some() {
        return Ok(false);
    }
    let reason = format!("its Device {}/{} has vanished", owner.namespace, owner.name);
    let settings = json!({ "status": "disabled", "statusReason": reason.chars().take(128).collect::<String>() });
    link.shut_out()?.change(device_id, &settings, Author::Operator, Ownership::Keep, Some(&identity.etag)).await?;
    tracing::warn!(hub = %hub, device_id, "the device {device_id} of the IotHub {hub} is held: {reason}");
    Ok(true)
}

/// Identities that were held one after the other. They are told of together: events of one kind about one hub become one anyway, with
/// the words of the first.
#[derive(Debug, Default)]
pub struct Vanished(HashMap<HubKey, Vec<String>>);

impl Vanished {
    /// One more was held.
    pub fn put(&mut self, hub: HubKey, device_id: String) {
        self.0.entry(hub).or_default().push(device_id);
    }

    /// Whether to tell of them now: nothing waits that could bring more, or they are many.
    #[must_use]
    pub fn is_due(&self, waiting: usize) -> bool {
        waiting == 0 || self.0.values().any(|ids| ids.len() >= TOLD_TOGETHER_MAX)
    }

    /// Tells of them, at their IotHubs.
    pub async fn tell(&mut self, context: &Context, events: &Events) {
        for (hub, ids) in self.0.drain() {
            let reference = ObjectReference {
                api_version: Some(IotHub::api_version(&()).into_owned()),
                kind: Some(IotHub::kind(&()).into_owned()),
                namespace: Some(hub.namespace.clone()),
                name: Some(hub.name.clone()),
                uid: context.hubs.get(&hub).map(|hub| hub.uid),
                ..ObjectReference::default()
            };
            events.warn(&reference, "DeviceVanished", &note(&ids)).await;
        }
    }
}

fn note(ids: &[String]) -> String {
    let named = ids[..ids.len().min(NAMED_MAX)].join(", ");
    let more = match ids.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} disabled in the hub, because the Devices are gone and nobody speaks for them: {named}{more}. Delete them in the hub, or enable \
         them there.",
        if ids.len() == 1 { "1 device is".to_owned() } else { format!("{} devices are", ids.len()) }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_vanish_together_are_counted_and_the_first_are_named() {
        let ids: Vec<_> = (0..100).map(|number| format!("pump-{number}")).collect();
        assert!(note(&ids[..1]).starts_with("1 device is disabled") && note(&ids[..1]).contains(": pump-0. Delete"));
        let said = note(&ids);
        assert!(said.starts_with("100 devices are disabled") && said.contains("pump-4 and 95 more. Delete"), "{said}");
    }

    #[test]
    fn they_are_told_of_when_no_more_come_or_they_are_many() {
        let hub = HubKey { namespace: "plant".to_owned(), name: "hub".to_owned() };
        let mut vanished = Vanished::default();
        vanished.put(hub.clone(), "pump".to_owned());
        assert!(vanished.is_due(0) && !vanished.is_due(1));
        (1..TOLD_TOGETHER_MAX).for_each(|number| vanished.put(hub.clone(), number.to_string()));
        assert!(vanished.is_due(1));
    }
}
