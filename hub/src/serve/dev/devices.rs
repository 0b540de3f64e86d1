//! The devices that a laptop's hub is started with.

use std::sync::Arc;

use crate::core::device_id::DeviceId;
use crate::core::identity::change::{Author, Change, Fresh, Outcome, Refused, Request, Settings, decide};
use crate::core::identity::{Authentication, SymmetricKey};
use crate::ops::Hub;
use crate::serve::policies::new_key;
use crate::store::{Expected, RegistryError, RegistryWrite};

/// A device can't be created.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The primary key of the device, which is created with generated keys if it is missing.
pub async fn ensure(hub: &Arc<Hub>, id: &DeviceId) -> Result<SymmetricKey, DeviceError> {
    if let Some(identity) = hub.registry.get(id).await? {
        let Authentication::SymmetricKey { primary, .. } = identity.authentication;
        return Ok(primary);
    }
    let author = Author::Policy { name: "iothubowner".to_owned(), release: false };
    let request = Request { change: Change::Create(Settings::default()), author };
    let fresh = Fresh {
        generation: rand::random(),
        version: rand::random_range(1..i64::MAX / 2),
        primary_key: new_key(),
        secondary_key: new_key(),
    };
    match decide(id, None, &request, hub.now(), fresh)? {
        Outcome::Kept(identity) => {
            let Authentication::SymmetricKey { primary, .. } = &identity.authentication;
            let primary = primary.clone();
            hub.registry.write(vec![RegistryWrite { id: id.clone(), expected: Expected::Absent, new: Some(*identity) }]).await?;
            Ok(primary)
        }
        Outcome::Deleted => Err(Refused::NotFound(id.clone()).into()),
    }
}
