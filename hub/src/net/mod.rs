//! The edge: from a bound port to an encrypted connection whose stranger is kept on a short lead.
//!
//! Owns the accept loop, TLS, the PROXY protocol, the bytes in a WebSocket, the limits for those who have not proved who they are, and the counts of what was
//! refused. Never knows what is spoken inside the connection, and never authenticates anybody: a protocol does, and says so to the
//! [`Admission`] that came with the connection.

pub mod admission;
pub mod certificate;
pub mod listener;
pub mod metered;
pub mod proxy_protocol;
pub mod refusals;
pub mod socket;
pub mod tls;
pub mod websocket;

pub use admission::{Admission, Admissions, StrangerLimits};
pub use certificate::{CertificateFiles, ReloadingCertificate};
pub use listener::{BindError, Connection, Front, Stream, bind};
pub use refusals::{Refusal, Refusals};
pub use websocket::WebSocketBytes;
