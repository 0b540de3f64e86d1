//! What TLS looks like here: 1.2 and 1.3 (Azure's Python and Java device clients speak 1.2 only), an ECDSA certificate, no resumption.
//!
//! Owns the server configurations. Never reads a file, and believes no client certificate; a chain that is too long it does not take.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use super::certificate::ReloadingCertificate;
use crate::core::certificate::{CHAIN_MAX, CHAIN_MAX_BYTES};

/// Whether a client is asked for a certificate. It is never required: devices that sign tokens have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Asked for, as Azure does on the device ports.
    Requested,
    /// Not asked for: a browser would put a dialogue before its user.
    NotRequested,
}

/// The host names that this hub answers to. Azure clients send theirs in every handshake; one for another host is refused there.
#[derive(Clone, Debug, Default)]
pub struct ServerNames(Option<Arc<[String]>>);

impl ServerNames {
    /// These, without regard to case.
    #[must_use]
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(names.into_iter().map(|name| name.to_ascii_lowercase()).collect()))
    }

    /// Any name: where a scraper or a probe comes by whatever address it found.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// Whether a client that asks for `name` is at the right place. One that asks for none (as those do that connect to an IP address)
    /// always is.
    #[must_use]
    pub fn accept(&self, name: Option<&str>) -> bool {
        match (&self.0, name) {
            (Some(names), Some(name)) => names.iter().any(|known| known.eq_ignore_ascii_case(name)),
            (None, _) | (_, None) => true,
        }
    }
}

/// The configuration of one listener.
pub fn server_config(
    certificate: Arc<ReloadingCertificate>,
    names: ServerNames,
    client_certificate: ClientCertificate,
    application_protocols: &[&str],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match client_certificate {
        ClientCertificate::Requested => builder.with_client_cert_verifier(Arc::new(AnyClientCertificate(provider))),
        ClientCertificate::NotRequested => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(CertificateForName { certificate, names }));
    config.alpn_protocols = application_protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    // A full handshake costs less than the memory that resumption would take for a million devices. And a resumed session would bring
    // a certificate that was presented, and whose key was proved, some connections ago: here each connection proves it anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The hub's certificate for its own names; for another name none, so that the handshake fails with an alert.
#[derive(Debug)]
struct CertificateForName {
    certificate: Arc<ReloadingCertificate>,
    names: ServerNames,
}

impl ResolvesServerCert for CertificateForName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.names.accept(hello.server_name()).then(|| self.certificate.current())
    }
}

/// A client presents more than the hub would look at.
#[derive(Debug, thiserror::Error)]
#[error("the chain has more than {CHAIN_MAX} certificates or {CHAIN_MAX_BYTES} bytes")]
struct ChainTooLong;

/// Asks for a certificate, makes the client prove that it has the key, and draws no conclusion from it.
#[derive(Debug)]
struct AnyClientCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClientCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // rustls keeps the chain for as long as the connection lives, up to 64 KiB of it.
        let bytes = intermediates.iter().fold(end_entity.len(), |bytes, certificate| bytes.saturating_add(certificate.len()));
        if intermediates.len() >= CHAIN_MAX || bytes > CHAIN_MAX_BYTES {
            return Err(CertificateError::Other(OtherError(Arc::new(ChainTooLong))).into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_without_regard_to_case() {
        let names = ServerNames::only(["Hub.Example".to_owned()]);
        assert!(names.accept(Some("hub.example")));
        assert!(names.accept(None));
        assert!(!names.accept(Some("other.example")));
        assert!(ServerNames::any().accept(Some("other.example")));
    }
}
