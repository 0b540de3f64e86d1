//! TLS as both servers and the generator use it: one certificate for all, TLS 1.3, one cipher suite and one key exchange, no resumption.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// The name that every server is asked for.
pub const HOST: &str = "localhost";

/// What the results say about TLS.
pub const SETTINGS: &str = "TLS 1.3, TLS_AES_256_GCM_SHA384, X25519, ECDSA P-256 certificate, full handshakes";

/// A certificate authority and one server certificate, both ECDSA P-256, written where the servers read them.
pub struct Certificate {
    pub chain_file: PathBuf,
    pub key_file: PathBuf,
    pub ca_file: PathBuf,
    authority: CertificateDer<'static>,
}

impl Certificate {
    pub fn make(folder: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "Mooring benchmark");
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;

        let mut server = CertificateParams::new(vec![HOST.to_owned(), "127.0.0.1".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, HOST);
        let server_key = KeyPair::generate()?;
        let server_certificate = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?;

        let written = Self {
            chain_file: folder.join("server.pem"),
            key_file: folder.join("server.key"),
            ca_file: folder.join("ca.pem"),
            authority: authority_certificate.der().clone(),
        };
        fs::write(&written.chain_file, server_certificate.pem())?;
        fs::write(&written.ca_file, authority_certificate.pem())?;
        write_secret(&written.key_file, &server_key.serialize_pem())?;
        Ok(written)
    }

    /// A client that trusts this authority alone and offers one suite and one group, so that every server speaks the same.
    pub fn client(&self, protocol: Option<&str>) -> Result<Arc<ClientConfig>> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        client.alpn_protocols = protocol.map(|name| name.as_bytes().to_vec()).into_iter().collect();
        Ok(Arc::new(client))
    }
}

/// Servers refuse keys that others can read.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
