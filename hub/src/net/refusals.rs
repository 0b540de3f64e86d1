//! What was turned away at the edge, counted by reason. Never decides anything.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection was turned away before anybody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The hub has as many connections as it takes.
    TooManyConnections,
    /// Too many connections, from wherever, have not authenticated yet.
    TooManyUnfinished,
    /// Too many connections of this address have not authenticated yet.
    TooManyUnfinishedOfAddress,
    /// This address failed too often lately.
    TooManyFailedOfAddress,
    /// No PROXY protocol header, or a damaged one, from an address that has to send it.
    ProxyHeader,
    /// Not encrypted within the time for it.
    HandshakeTimeout,
    /// The client asked for a host that this hub is not.
    UnknownServerName,
    /// The client presented a certificate that can't be read, whose key it has not, or too long a chain.
    ClientCertificate,
    /// Any other failed TLS handshake.
    HandshakeFailed,
    /// Sent more than a stranger may.
    TooManyBytes,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::TooManyConnections,
        Self::TooManyUnfinished,
        Self::TooManyUnfinishedOfAddress,
        Self::TooManyFailedOfAddress,
        Self::ProxyHeader,
        Self::HandshakeTimeout,
        Self::UnknownServerName,
        Self::ClientCertificate,
        Self::HandshakeFailed,
        Self::TooManyBytes,
    ];

    /// The reason's name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyUnfinished => "too_many_unfinished",
            Self::TooManyUnfinishedOfAddress => "too_many_unfinished_of_address",
            Self::TooManyFailedOfAddress => "too_many_failed_of_address",
            Self::ProxyHeader => "proxy_header",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::UnknownServerName => "unknown_server_name",
            Self::ClientCertificate => "client_certificate",
            Self::HandshakeFailed => "handshake_failed",
            Self::TooManyBytes => "too_many_bytes",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each refusal happened since the start.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often this one happened.
    #[must_use]
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize].load(Ordering::Relaxed)
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal, self.of(refusal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let refusals = Refusals::default();
        for (times, refusal) in Refusal::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| refusals.count(refusal));
        }
        assert_eq!(refusals.iter().map(|(_, count)| count).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }
}
