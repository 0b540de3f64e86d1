//! Whom a hub's certificate is checked against.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Where systems keep the roots that they trust, when `SSL_CERT_FILE` does not say.
const SYSTEM_BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// No roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Not PEM, or nothing in it.
    #[error("its certificate's roots are no certificates in PEM")]
    Pem,
    /// The system has none.
    #[error("this system has no file of trusted roots; name one in SSL_CERT_FILE")]
    NoSystemRoots,
    /// rustls refuses.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS that trusts the roots in this PEM, or those of the system when there are none.
pub fn client_config(pem: &str) -> Result<ClientConfig, RootsError> {
    let system;
    let pem = if pem.trim().is_empty() {
        system = system_bundle()?;
        &system
    } else {
        pem.as_bytes()
    };
    let mut roots = RootCertStore::empty();
    // A system's bundle may have one that rustls does not take: the others count.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(RootsError::Pem);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system_bundle() -> Result<Vec<u8>, RootsError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let read = |path: &Path| std::fs::read(path).ok();
    named.as_deref().into_iter().chain(SYSTEM_BUNDLES.iter().map(Path::new)).find_map(read).ok_or(RootsError::NoSystemRoots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_pem_or_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert!(client_config(&certificate.pem()).is_ok());
        assert!(matches!(client_config("no certificate"), Err(RootsError::Pem)));
    }
}
