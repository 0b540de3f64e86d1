//! A back end empties a device's queue.

use std::sync::Arc;

use crate::core::audit::{AuditAction, Deed};
use crate::core::device_id::DeviceId;
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::{record_done, record_refused, to_the_end};
use crate::ops::commands::Asked;
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
    // Asked at once, behind all that was asked before; the rest needs nobody who waits.
    let asked = ask(hub, &device).await;
    let (of, by) = (Arc::clone(hub), by.clone());
    to_the_end(hub, async move {
        let purged = match asked {
            Ok(asked) => asked.wait().await.map(|count| count as u64).map_err(PurgeError::from),
            Err(refused) => Err(refused),
        };
        match &purged {
            Ok(count) => {
                let deed = Deed::done(AuditAction::CommandsPurged).to(device.as_str()).saying(format!("{count} commands"));
                record_done(&of, &by, deed).await;
            }
            Err(refused) => {
                record_refused(&of, &by, Deed::refused(AuditAction::CommandsPurged, refused.to_string()).to(device.as_str())).await;
            }
        }
        purged
    })
    .await
}

async fn ask(hub: &Hub, device: &DeviceId) -> Result<Asked<usize>, PurgeError> {
    if hub.identities.get(&*hub.registry, device).await?.is_none() {
        return Err(PurgeError::UnknownDevice(device.clone()));
    }
    Ok(hub.commands.put(|answer| Request::Purge(device.clone(), answer)).await?)
}
