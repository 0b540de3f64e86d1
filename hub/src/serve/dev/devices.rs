//! The devices that a laptop's hub is started with.

use std::sync::Arc;

use crate::core::device_id::DeviceId;
use crate::core::identity::Authentication;
use crate::core::identity::change::{Author, Change, Outcome, Precondition, Request, Settings};
use crate::core::principal::By;
use crate::ops::Hub;
use crate::ops::change_devices::{ChangeError, change_device};
use crate::store::RegistryError;

/// A device can't be created.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The look.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Somebody deletes it as fast as it is made.
    #[error("it was deleted again")]
    Deleted,
}

/// How the device proves itself, which is created, enabled and with generated keys, if it is missing.
pub async fn ensure(hub: &Arc<Hub>, id: &DeviceId) -> Result<Authentication, DeviceError> {
    if let Some(identity) = hub.registry.get(id).await? {
        return Ok(identity.authentication);
    }
    let author = Author::Policy { name: "iothubowner".to_owned(), release: false };
    // Should somebody have been faster: an update that wants nothing changes nothing.
    let change = Change::CreateOrUpdate(Settings::default(), Precondition::Any);
    match change_device(hub, &By::the_hub(), id.clone(), Request { change, author }).await? {
        Outcome::Kept(identity) => Ok(identity.authentication),
        Outcome::Deleted => Err(DeviceError::Deleted),
    }
}
