//! The PROXY protocol, version 2: a load balancer tells whose connection it forwards.
//!
//! Owns which sources are believed, and the reading of the header. From a source that is believed the header is required; from any
//! other nothing is parsed, or anybody could claim any address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The fixed part: signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// The longest variable part taken: addresses (at most 216 bytes) and the handful of TLVs that load balancers add.
const VARIABLE_MAX_BYTES: usize = 2048;

/// A load balancer did not say whose connection it forwards.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// It ended, or failed, within the header.
    #[error("the connection ended within the PROXY protocol header")]
    Io(#[from] io::Error),
    /// It began with something else.
    #[error("no PROXY protocol version 2 header")]
    Missing,
    /// More than [`VARIABLE_MAX_BYTES`].
    #[error("a PROXY protocol header of {0} bytes")]
    TooLong(usize),
    /// It is none by its own rules.
    #[error("a damaged PROXY protocol header: {0}")]
    Damaged(String),
}

/// The addresses whose PROXY protocol headers are believed.
#[derive(Clone, Debug, Default)]
pub struct ProxySources(Vec<IpNet>);

impl ProxySources {
    /// These networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether a header is required from this address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads the header, and nothing after it. `None`: the load balancer speaks for itself (a health check), or does not know.
pub async fn read_source(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut bytes = [0; FIXED_BYTES + VARIABLE_MAX_BYTES];
    stream.read_exact(&mut bytes[..FIXED_BYTES]).await?;
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(ProxyHeaderError::Missing);
    }
    let variable = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if variable > VARIABLE_MAX_BYTES {
        return Err(ProxyHeaderError::TooLong(variable));
    }
    let whole = &mut bytes[..FIXED_BYTES + variable];
    stream.read_exact(&mut whole[FIXED_BYTES..]).await?;
    let header = Header::try_from(&*whole).map_err(|error| ProxyHeaderError::Damaged(error.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (Command::Local, _) | (Command::Proxy, Addresses::Unspecified | Addresses::Unix(_)) => None,
        (Command::Proxy, Addresses::IPv4(addresses)) => Some((addresses.source_address, addresses.source_port).into()),
        (Command::Proxy, Addresses::IPv6(addresses)) => {
            Some((IpAddr::from(addresses.source_address).to_canonical(), addresses.source_port).into())
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = ppp::v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyHeaderError>, usize) {
        let mut rest = bytes;
        let answer = read_source(&mut rest).await;
        (answer, rest.len())
    }

    #[tokio::test]
    async fn the_source_is_taken_and_what_follows_is_left_alone() {
        let mut bytes = header(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x22, 0xb3]);
        bytes.extend(b"\x16\x03\x01");
        let (answer, left) = read(&bytes).await;
        assert_eq!((answer.unwrap(), left), (Some("192.0.2.7:12345".parse().unwrap()), 3));
    }

    #[tokio::test]
    async fn a_mapped_address_is_the_ipv4_address() {
        let mut body = "::ffff:192.0.2.7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        body.extend([0; 16]);
        body.extend([0x30, 0x39, 0, 1]);
        assert_eq!(read(&header(1, 0x21, &body)).await.0.unwrap(), Some("192.0.2.7:12345".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_health_check_speaks_for_itself_whatever_else_it_says() {
        assert_eq!(read(&header(0, 0, &[])).await.0.unwrap(), None);
        assert_eq!(read(&header(0, 0x11, &[0; 12])).await.0.unwrap(), None);
        assert_eq!(read(&header(1, 0, &[])).await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        assert!(matches!(
            read(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00").await.0,
            Err(ProxyHeaderError::Missing)
        ));
        assert!(matches!(read(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").await.0, Err(ProxyHeaderError::Missing)));
        assert!(matches!(read(&header(1, 0x11, &[0; 11])).await.0, Err(ProxyHeaderError::Damaged(_))));
        assert!(matches!(read(&header(5, 0x11, &[0; 12])).await.0, Err(ProxyHeaderError::Damaged(_))));
        assert!(matches!(read(&header(1, 0x11, &[0; 12])[..20]).await.0, Err(ProxyHeaderError::Io(_))));
        let (answer, left) = read(&header(1, 0x11, &[0; 2049])).await;
        assert!(matches!(answer, Err(ProxyHeaderError::TooLong(2049))));
        assert_eq!(left, 2049, "not a byte of it was read");
    }

    #[test]
    fn only_configured_networks_are_believed() {
        let sources = ProxySources::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        assert!(sources.contains("10.1.2.3".parse().unwrap()));
        assert!(sources.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(sources.contains("fd00::1".parse().unwrap()));
        assert!(!sources.contains("192.0.2.1".parse().unwrap()));
        assert!(!ProxySources::default().contains("127.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(command in 0u8..=255, family in 0u8..=255, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = header(0, family, &body);
            bytes[12] = command;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&bytes));
        }
    }
}
