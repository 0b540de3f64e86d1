//! A device's keys are shown to somebody, which is written down before.

use std::sync::Arc;

use crate::core::audit::{AuditAction, Deed};
use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::audit::{record, record_refused};
use crate::store::RegistryError;
use crate::store::audit::AuditLogError;

/// Keys are not shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShowSecretsError {
    /// There is no such device.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// That they are shown can't be written down.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
}

/// The identity, keys included.
pub async fn show_secrets(hub: &Arc<Hub>, by: &By, id: &DeviceId) -> Result<DeviceIdentity, ShowSecretsError> {
    let Some(identity) = hub.registry.get(id).await? else {
        let unknown = ShowSecretsError::UnknownDevice(id.clone());
        record_refused(hub, by, Deed::refused(AuditAction::SecretsShown, unknown.to_string()).to(id.as_str())).await;
        return Err(unknown);
    };
    record(hub, by, Deed::done(AuditAction::SecretsShown).to(id.as_str())).await?;
    Ok(identity)
}
