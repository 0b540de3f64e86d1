//! The kind `IotHub`: a resource becomes a running hub.

pub mod build;
