//! Whom the hub trusts where it is the one who calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of the authority.
    #[error("{path} can't be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error("{path} holds no certificate of an authority")]
    Authority {
        /// Which file.
        path: PathBuf,
    },
    /// There is no file.
    #[error("this machine trusts no authority: install its ca-certificates, or name a file")]
    Nobody,
    /// TLS.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
}

/// TLS with whoever has a certificate of the authorities in this file, and with nobody else; without a file, of those that the machine trusts.
pub fn trusting(authority: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    let nobody = match authority {
        Some(path) => {
            let pem = fs::read(path).map_err(|source| TrustError::Read { path: path.to_path_buf(), source })?;
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
            TrustError::Authority { path: path.to_path_buf() }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            TrustError::Nobody
        }
    };
    if roots.is_empty() {
        return Err(nobody);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
