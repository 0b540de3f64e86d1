//! The operator: turns `IotHub` and `Device` resources into running hubs and device credentials.
//!
//! It knows Kubernetes, and a hub only by its public REST API. Each controller goes the same way: dereference (reads) → validate (pure) →
//! build (pure) → apply (server-side apply) → status.

pub mod cli;
pub mod clock;
pub mod conditions;
pub mod device;
mod distinct_queue;
pub mod events;
pub mod hub;
pub mod iot_hub;
pub mod labels;
pub mod leader;
pub mod logs;
pub mod observe;
pub mod ownership;
pub mod run;
pub mod scope;
mod seldom;
pub mod status_writer;
