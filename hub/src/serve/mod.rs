//! The composition root.

pub mod certificate_authority;
pub mod clock;
pub mod private_file;
