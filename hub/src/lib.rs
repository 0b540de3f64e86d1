//! Mooring's hub: devices connect to it with Azure IoT Hub's protocols, back ends read and steer with Azure's SDKs.
//!
//! `main → serve → { mqtt, amqp, http } → ops → core`, and `ops → store → core`; `net`, `observe` and `config` are leaves.
//! The law is kept by `tests/layering.rs`.

pub mod amqp;
pub mod cli;
pub mod config;
pub mod core;
pub mod http;
pub mod mqtt;
pub mod net;
pub mod observe;
pub mod ops;
pub mod serve;
pub mod store;
