//! The rules of the hub: values in, values out.
//!
//! Owns every decision (who may do what, what a message becomes, what an identity turns into). Never owns a socket, a clock,
//! a task, a store or a wire format: `now` and random bytes are arguments, so each rule is tested in microseconds.

pub mod access;
pub mod audit;
pub mod certificate;
pub mod change;
pub mod command;
pub mod consumer_group;
pub mod device_id;
pub mod device_rate;
pub mod event;
pub mod expectation;
pub mod fleet;
pub mod host;
pub mod hub_place;
pub mod identity;
pub mod message;
pub mod policy;
pub mod principal;
pub mod rates;
pub mod reader_position;
pub mod reader_seats;
pub mod sas;
pub mod session;
pub mod tail;
pub mod telemetry;
pub mod time;
