//! The composition root.

pub mod certificate_authority;
pub mod clock;
pub mod dev;
pub mod health;
pub mod http_server;
pub mod logs;
pub mod policies;
pub mod private_file;
