//! The scenarios: each runs one server once and says what it measured.

pub mod amqp_catch_up;
pub mod amqp_idle;
pub mod amqp_read;
pub mod amqp_send;
pub mod browsers;
pub mod cold_journal;
pub mod commands;
pub mod connects;
pub mod https;
pub mod identities;
pub mod idle;
pub mod presence;
pub mod publish;
