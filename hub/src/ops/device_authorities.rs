//! The authorities that stand behind devices' certificates: which there are now, and what becomes of those they let in when they change.

use std::sync::{Arc, PoisonError, RwLock};

use crate::core::certificate::authorities::Authorities;
use crate::core::session::{Credential, DeviceRight, DisconnectReason};
use crate::ops::Hub;

/// The hub's authorities, which can be replaced while it runs.
#[derive(Debug, Default)]
pub struct DeviceAuthorities(RwLock<Arc<Authorities>>);

impl DeviceAuthorities {
    /// Those that there are now.
    #[must_use]
    pub fn current(&self) -> Arc<Authorities> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether whoever issued the certificate that `right` came in with is still believed; a right of another kind needs nobody.
    pub fn review(&self, right: &DeviceRight) -> Result<(), DisconnectReason> {
        match &right.credential {
            Credential::Issued(issued) if !self.current().still_stand_behind(issued, &right.device_id) => {
                Err(DisconnectReason::CertificateReplaced)
            }
            Credential::Issued(_) | Credential::DeviceKey(_) | Credential::Policy { .. } | Credential::SelfSigned(_) => Ok(()),
        }
    }
}

/// Believes these from now on, and no others. When this returns, every session has ended behind whose certificate nobody stands any
/// more, and nothing that arrives later on it takes effect.
pub fn replace_device_authorities(hub: &Hub, authorities: Authorities) {
    *hub.device_authorities.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
    hub.presence.review_all(|right| hub.device_authorities.review(right));
}

#[cfg(test)]
mod tests;
