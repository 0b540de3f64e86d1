//! The kinds of `mooring.dev`, and the pure plan that turns a `Device` manifest into a change of an identity.
//!
//! Whoever carries out manifests uses both: the hub's own manifest folder, and whoever speaks to a hub over its REST API. Builds for
//! WebAssembly too: knows no file, no clock, no network.

pub mod definitions;
pub mod device;
pub mod duration;
pub mod iot_hub;
pub mod plan;
mod schema;
pub mod strict;

pub use device::{Device, DeviceSpec, DeviceStatus};
pub use duration::GoDuration;
pub use iot_hub::{IotHub, IotHubSpec, IotHubStatus};

/// The API group of all kinds.
pub const GROUP: &str = "mooring.dev";

/// The `apiVersion` of all kinds.
pub const API_VERSION: &str = "mooring.dev/v1alpha1";
