//! The end-to-end rings: the real binary, over the wire, with clients that others wrote. Each story has namespaces of its own.

mod back_end;
mod changes;
mod command;
mod commands_crash;
mod commands_http;
mod commands_mqtt;
mod crash;
mod curl;
mod device_sdks;
mod disk_full;
mod fleet;
mod manifests;
mod many_manifests;
mod mosquitto;
mod namespaces;
mod newcomer;
mod operations;
mod people;
mod presence;
mod refusals;
mod registry_sdks;
mod revocation;
mod serve;
mod sessions;
mod strangers;
mod x509;
