//! An identity for tests to begin with.

use super::{Authentication, DeviceIdentity, DeviceStatus, GenerationId, Monitoring, SymmetricKey, Version};
use crate::core::device_id::DeviceId;

/// A key of 32 of these.
pub fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(vec![byte; 32]).unwrap()
}

/// An enabled device with keys of its own, which nobody manages and which was never seen.
pub fn identity(id: &str) -> DeviceIdentity {
    DeviceIdentity {
        device_id: DeviceId::parse(id).unwrap(),
        generation_id: GenerationId("1".into()),
        version: Version(1),
        wanted_status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::SymmetricKey { primary: key(1), secondary: key(2) },
        tags: None,
        monitoring: Monitoring::default(),
        rotation: None,
        managed_by: None,
        hold: None,
        connected_boot: None,
        connection_state_updated_time: None,
        last_activity_time: None,
    }
}
