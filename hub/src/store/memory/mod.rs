//! Stores in memory: the models that the real ones are compared with.

pub mod event_log;
