//! The engine as its peers see it. Everything that it sends is read by `fe2o3-amqp-types`, and everything that it is sent is written by
//! them: a codec that shares nothing with the engine's own but the values inside performatives.

pub mod handshake;
mod hostile;
mod judge;
mod links;
mod lossy;
mod messages;
pub mod peer;
mod performatives;
mod splits;
mod transcripts;
mod windows;
