//! Stories on a real Kubernetes: Pods that run, Services that are reached, and objects that an API server checks.

mod alerts;
mod device_lifecycle;
mod fleet;
mod ground;
mod hub_lifecycle;
mod install;
mod kinds;
mod laws;
mod operator_lifecycle;
mod plant;
mod secrets;
