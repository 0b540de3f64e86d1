//! What the registry says of the devices that the desk is about to decide on.
//!
//! Read once for a group, just before it is decided: between a verb's own look and the desk somebody may have disabled the device, deleted
//! it or made it anew.

use std::collections::HashMap;
use std::sync::Arc;

use super::request::{Note, Request};
use crate::core::device_id::DeviceId;
use crate::core::identity::{DeviceIdentity, GenerationId};
use crate::ops::Hub;
use crate::store::RegistryError;

/// The identities of some devices, as they are now.
#[derive(Default)]
pub(super) struct Lives(HashMap<DeviceId, Result<Option<Arc<DeviceIdentity>>, RegistryError>>);

impl Lives {
    /// Of the devices of these requests. Identities that were used lately cost no read.
    pub(super) async fn of_group(hub: &Hub, group: &[Request]) -> Self {
        let mut lives = Self::default();
        for request in group {
            match request {
                Request::Send(draft, _) => lives.ask(hub, &draft.device_id).await,
                Request::Poll(right, ..) | Request::Settle(right, ..) => lives.ask(hub, &right.device_id).await,
                // What the machine does not know it can't forget; of what the group itself sends, the sender's life is asked for.
                Request::Note(Note::Deleted(device)) if hub.commands.machine().knows(device) => lives.ask(hub, device).await,
                Request::Note(_)
                | Request::Changed(..)
                | Request::Pass(_)
                | Request::Purge(..)
                | Request::ReceiveReceipts(..)
                | Request::TakeReceipts(..)
                | Request::AwaitReceipts(..)
                | Request::SettleReceipts(..) => {}
            }
        }
        lives
    }

    /// Of these devices.
    pub(super) async fn of_devices(hub: &Hub, devices: impl IntoIterator<Item = &DeviceId>) -> Self {
        let mut lives = Self::default();
        for device in devices {
            lives.ask(hub, device).await;
        }
        lives
    }

    async fn ask(&mut self, hub: &Hub, device: &DeviceId) {
        if !self.0.contains_key(device) {
            let identity = hub.identities.get(&*hub.registry, device).await;
            self.0.insert(device.clone(), identity);
        }
    }

    /// The identity of a device that was asked for.
    pub(super) fn identity(&self, device: &DeviceId) -> Result<Option<&DeviceIdentity>, RegistryError> {
        match self.0.get(device) {
            Some(Ok(identity)) => Ok(identity.as_deref()),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(None),
        }
    }

    /// Whether this is the life that the device is in.
    pub(super) fn is_present(&self, device: &DeviceId, generation: &GenerationId) -> Result<bool, RegistryError> {
        Ok(self.identity(device)?.is_some_and(|identity| identity.generation_id == *generation))
    }

    /// Which life a device is in that was deleted, in case somebody has made it anew meanwhile. When the registry does not answer, what
    /// was said counts: none.
    pub(super) fn since_deletion(&self, device: &DeviceId) -> Option<&GenerationId> {
        self.identity(device).ok().flatten().map(|identity| &identity.generation_id)
    }
}
