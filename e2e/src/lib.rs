//! What the end-to-end rings are made of: a place of its own for each story, the real hub in it, and clients that others wrote.
//!
//! Everything here talks to the hub over the wire. No code is shared with it: the token signer, the MQTT bytes and the event reader are
//! written a second time, from the specifications, so that a mistake in the hub is not repeated here.

pub mod amqp;
pub mod catalogue;
pub mod changes;
pub mod cluster;
pub mod command_history;
pub mod commands;
pub mod connection_string;
pub mod consumer_groups;
pub mod dashboard;
pub mod events;
pub mod history;
pub mod hub;
pub mod load;
pub mod mqtt;
pub mod namespace;
pub mod operator;
pub mod pager;
pub mod patience;
pub mod program;
pub mod puppet;
pub mod rest;
pub mod tls;
