//! A back end empties a device's queue.

use std::sync::Arc;

use crate::core::audit::{AuditAction, Deed};
use crate::core::device_id::DeviceId;
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::record_done;
use crate::ops::commands::request::Request;
use crate::store::RegistryError;
use crate::store::commands::CommandsError;

/// Why a queue is not emptied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PurgeError {
    /// There is no such device.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The commands' store does not answer; whether the queue was emptied is not known.
    #[error(transparent)]
    Store(#[from] CommandsError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Ends all commands that wait for the device, also those that are locked by a delivery; says how many there were.
pub async fn purge_commands(hub: &Arc<Hub>, by: &By, device: DeviceId) -> Result<u64, PurgeError> {
    if hub.identities.get(&*hub.registry, &device).await?.is_none() {
        return Err(PurgeError::UnknownDevice(device));
    }
    let purged = hub.commands.ask(|answer| Request::Purge(device.clone(), answer)).await?;
    record_done(hub, by, Deed::done(AuditAction::CommandsPurged).to(device.as_str()).saying(format!("{purged} commands"))).await;
    Ok(purged as u64)
}
