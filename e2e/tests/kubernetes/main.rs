//! Stories on a real Kubernetes: Pods that run, Services that are reached, and objects that an API server checks.

mod ground;
