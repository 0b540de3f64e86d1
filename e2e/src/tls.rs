//! TLS as a client that trusts one CA.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A client that trusts the CA in this file and nothing else.
///
/// # Errors
/// When the file holds no certificate.
pub fn trusting(ca_file: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).with_context(|| format!("no CA in {}", ca_file.display()))? {
        roots.add(certificate?)?;
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Connects to a port of a host and shakes hands.
///
/// # Errors
/// When either fails.
pub async fn connect(host: &str, port: u16, ca_file: &Path) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect((host, port)).await.with_context(|| format!("no connection to {host}:{port}"))?;
    tcp.set_nodelay(true)?;
    shake_hands(host, tcp, ca_file).await
}

/// Shakes hands over a connection that is there.
///
/// # Errors
/// When it fails.
pub async fn shake_hands(host: &str, tcp: TcpStream, ca_file: &Path) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned())?;
    let connector = TlsConnector::from(Arc::new(trusting(ca_file)?));
    connector.connect(name, tcp).await.with_context(|| format!("no TLS with {host}"))
}
