//! The authorities that may stand behind devices' certificates, each by its name in the hub's configuration.

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};

use super::{CertificateRefused, PresentedChain, Validity, must_be_issued_to, parse};
use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;

/// One authority: some certificates, any of which may have signed, and the names that it may speak for.
#[derive(Clone, Debug)]
pub struct Authority {
    name: String,
    id_prefix: String,
    anchors: Vec<Anchor>,
}

/// A certificate that is believed because somebody configured it.
#[derive(Clone, Debug)]
struct Anchor {
    trust: TrustAnchor<'static>,
    validity: Validity,
    id: AnchorId,
}

/// Tells the certificates of authorities apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnchorId([u8; 32]);

/// What stood behind a device's certificate when it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    authority: String,
    anchor: AnchorId,
}

/// A certificate that can't be an authority's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// No X.509 certificate.
    #[error("certificate {0} can't be read")]
    Unreadable(usize),
    /// Its basic constraints say that it signs no others.
    #[error("certificate {0} is not a certificate authority's (basicConstraints CA:TRUE is missing)")]
    NotAnAuthority(usize),
    /// None at all.
    #[error("there is no certificate")]
    Empty,
}

impl Authority {
    /// Of certificates in DER, which are counted from 1 in errors. Only devices whose id begins with `id_prefix` are its own.
    pub fn new(name: &str, id_prefix: &str, certificates: &[impl AsRef<[u8]>]) -> Result<Self, InvalidAuthority> {
        if certificates.is_empty() {
            return Err(InvalidAuthority::Empty);
        }
        let anchors = certificates.iter().enumerate().map(|(at, der)| Anchor::read(der.as_ref(), at + 1)).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), id_prefix: id_prefix.to_owned(), anchors })
    }

    fn may_speak_for(&self, device: &DeviceId) -> bool {
        device.as_str().starts_with(&self.id_prefix)
    }

    /// Whether this authority stands behind the certificate, and until when that holds. Who its device is, is not asked here.
    fn stands_behind(&self, chain: &Chain<'_>, now: UnixMillis) -> Result<(Issued, UnixMillis), webpki::Error> {
        // webpki asks no anchor for its own dates.
        let anchors: Vec<&Anchor> = self.anchors.iter().filter(|anchor| anchor.validity.check(now).is_ok()).collect();
        let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.trust.clone()).collect();
        // Device certificates seldom have an extended key usage; one that has some has to name client authentication.
        let usage = KeyUsage::client_auth();
        let path = chain.own.verify_for_usage(ALL_VERIFICATION_ALGS, &trusted, &chain.intermediates, time(now), usage, None, None)?;
        let found = anchors.iter().find(|anchor| anchor.trust == *path.anchor()).ok_or(webpki::Error::UnknownIssuer)?;
        // An intermediate that webpki could read and the other parser can't says no end; its issuer's counts.
        let not_after = |der: CertificateDer<'_>| parse(&der).ok().map(|certificate| Validity::of(&certificate).not_after);
        let ends = path.intermediate_certificates().filter_map(|certificate| not_after(certificate.der()));
        let good_until = ends.fold(found.validity.not_after, UnixMillis::min);
        Ok((Issued { authority: self.name.clone(), anchor: found.id }, good_until))
    }
}

impl Anchor {
    fn read(der: &[u8], at: usize) -> Result<Self, InvalidAuthority> {
        let unreadable = || InvalidAuthority::Unreadable(at);
        let parsed = parse(der).map_err(|_| unreadable())?;
        // Of version 1 there are no extensions, and old roots are of that version.
        let is_authority = parsed.version().0 == 0 || parsed.is_ca();
        let validity = Validity::of(&parsed);
        let certificate = CertificateDer::from(der);
        let trust = webpki::anchor_from_trusted_cert(&certificate).map_err(|_| unreadable())?.to_owned();
        if !is_authority {
            return Err(InvalidAuthority::NotAnAuthority(at));
        }
        Ok(Self { trust, validity, id: AnchorId(Sha256::digest(der).into()) })
    }
}

/// All authorities of a hub.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<Authority>);

impl FromIterator<Authority> for Authorities {
    fn from_iter<I: IntoIterator<Item = Authority>>(authorities: I) -> Self {
        Self(authorities.into_iter().collect())
    }
}

impl Authorities {
    /// Proves `device` by a certificate that is issued to it by an authority that may speak for it, and says until when that holds.
    pub fn prove(&self, chain: &PresentedChain, device: &DeviceId, now: UnixMillis) -> Result<(Issued, UnixMillis), CertificateRefused> {
        let (own, others) = chain.split()?;
        let parsed = parse(own)?;
        must_be_issued_to(&parsed, device)?;
        let validity = Validity::of(&parsed);
        validity.check(now)?;
        let own_der = CertificateDer::from(&own[..]);
        let read = Chain {
            own: EndEntityCert::try_from(&own_der).map_err(|error| CertificateRefused::Unsound(error.to_string()))?,
            intermediates: others.iter().map(|der| CertificateDer::from(&der[..])).collect(),
        };
        let issuer = match others.last().map(|der| parse(der)) {
            Some(Ok(last)) => last.issuer().to_string(),
            _ => parsed.issuer().to_string(),
        };
        let mut refused = CertificateRefused::UnknownAuthority { issuer };
        for authority in &self.0 {
            match authority.stands_behind(&read, now) {
                Ok((issued, good_until)) if authority.may_speak_for(device) => return Ok((issued, good_until.min(validity.not_after))),
                Ok(_) => refused = CertificateRefused::NameNotAllowed { authority: authority.name.clone() },
                Err(webpki::Error::UnknownIssuer) => {}
                // What another authority says about it already counts more.
                Err(_) if matches!(refused, CertificateRefused::NameNotAllowed { .. }) => {}
                Err(error) => refused = CertificateRefused::Unsound(error.to_string()),
            }
        }
        Err(refused)
    }

    /// Whether what stood behind a device's certificate still does: the same authority, with that certificate, and for that name.
    #[must_use]
    pub fn still_stand_behind(&self, issued: &Issued, device: &DeviceId) -> bool {
        let same = |authority: &&Authority| authority.name == issued.authority && authority.may_speak_for(device);
        self.0.iter().find(same).is_some_and(|authority| authority.anchors.iter().any(|anchor| anchor.id == issued.anchor))
    }
}

/// A chain as webpki reads it.
struct Chain<'a> {
    own: EndEntityCert<'a>,
    intermediates: Vec<CertificateDer<'a>>,
}

fn time(now: UnixMillis) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(u64::try_from(now.0).unwrap_or(0)))
}
