//! The scenarios: each runs one server once and says what it measured.

pub mod connects;
pub mod https;
pub mod idle;
pub mod publish;
