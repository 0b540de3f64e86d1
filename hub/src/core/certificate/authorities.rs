//! The authorities that may stand behind devices' certificates, each by its name in the hub's configuration.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::HashSet;

use rustls_pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;

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
    /// How many intermediates may stand between it and a device's certificate, if it says so.
    path_len: Option<usize>,
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
    /// Its key usage says that it signs no certificates.
    #[error("certificate {0} may not sign others (its keyUsage lacks keyCertSign)")]
    NotForSigning(usize),
    /// Its extended key usage says that those below it are for something else.
    #[error("certificate {0} is not for clients (its extendedKeyUsage lacks clientAuth)")]
    NotForClients(usize),
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
}

impl Anchor {
    fn read(der: &[u8], at: usize) -> Result<Self, InvalidAuthority> {
        let unreadable = || InvalidAuthority::Unreadable(at);
        let parsed = parse(der).map_err(|_| unreadable())?;
        // Of version 1 there are no extensions, and old roots are of that version.
        let is_authority = parsed.version().0 == 0 || parsed.is_ca();
        let validity = Validity::of(&parsed);
        let certificate = CertificateDer::from(der);
        let trust = anchor_from_trusted_cert(&certificate).map_err(|_| unreadable())?.to_owned();
        if !is_authority {
            return Err(InvalidAuthority::NotAnAuthority(at));
        }
        if !may_sign_certificates(&parsed) {
            return Err(InvalidAuthority::NotForSigning(at));
        }
        // webpki knows the name and the key of an anchor, and nothing of its purposes nor of the length of its paths.
        match parsed.extended_key_usage() {
            Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.client_auth) => {}
            _ => return Err(InvalidAuthority::NotForClients(at)),
        }
        let constraints = parsed.basic_constraints().map_err(|_| unreadable())?;
        let path_len = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        let path_len = path_len.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        Ok(Self { trust, validity, path_len, id: AnchorId(Sha256::digest(der).into()) })
    }

    /// The same, without a copy of it.
    fn borrowed(&self) -> TrustAnchor<'_> {
        let TrustAnchor { subject, subject_public_key_info, name_constraints } = &self.trust;
        TrustAnchor {
            subject: Der::from_slice(subject),
            subject_public_key_info: Der::from_slice(subject_public_key_info),
            name_constraints: name_constraints.as_deref().map(Der::from_slice),
        }
    }

    /// Whether that certificate has this one's name and key, whoever has signed it.
    fn is(&self, other: &TrustAnchor<'_>) -> bool {
        self.trust.subject == other.subject && self.trust.subject_public_key_info == other.subject_public_key_info
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
        self.prove_with(ALL_VERIFICATION_ALGS, chain, device, now)
    }

    /// The same with these signature algorithms. However many authorities there are and whatever the chain holds, 200 signatures are
    /// checked at most, which is what webpki's own bound of 100 comes to when it is called twice.
    pub(super) fn prove_with(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        chain: &PresentedChain,
        device: &DeviceId,
        now: UnixMillis,
    ) -> Result<(Issued, UnixMillis), CertificateRefused> {
        let (own, others) = chain.split()?;
        let parsed = parse(own)?;
        must_be_issued_to(&parsed, device)?;
        let validity = Validity::of(&parsed);
        validity.check(now)?;
        if !parsed.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature())) {
            return Err(CertificateRefused::Unsound("its keyUsage lacks digitalSignature".to_owned()));
        }
        let own_der = CertificateDer::from(&own[..]);
        let issuer = match others.last().map(|der| parse(der)) {
            Some(Ok(last)) => last.issuer().to_string(),
            _ => parsed.issuer().to_string(),
        };
        let question = Question {
            own: EndEntityCert::try_from(&own_der).map_err(|error| CertificateRefused::Unsound(error.to_string()))?,
            intermediates: others.iter().map(|der| CertificateDer::from(&der[..])).collect(),
            issuer,
            device,
            now,
            algorithms,
        };
        let refused = match self.stand_behind(&question, |authority| authority.may_speak_for(device)) {
            Ok((issued, good_until)) => return Ok((issued, good_until.min(validity.not_after))),
            Err(refused) => refused,
        };
        if let CertificateRefused::NameNotAllowed { .. } = refused {
            return Err(refused);
        }
        // Nobody is let in by those that may not speak for the device; the owner is told that it is they who stand behind it.
        Err(match self.stand_behind(&question, |authority| !authority.may_speak_for(device)) {
            Ok((issued, _)) => CertificateRefused::NameNotAllowed { authority: issued.authority },
            Err(named @ CertificateRefused::NameNotAllowed { .. }) => named,
            // What those say about it who may speak counts more.
            Err(other) if matches!(refused, CertificateRefused::UnknownAuthority { .. }) => other,
            Err(_) => refused,
        })
    }

    /// Whether one of the authorities that are `asked` stands behind the certificate, and until when that holds.
    fn stand_behind(
        &self,
        question: &Question<'_>,
        asked: impl Fn(&Authority) -> bool,
    ) -> Result<(Issued, UnixMillis), CertificateRefused> {
        let asked = self.0.iter().filter(|authority| asked(authority));
        let asked = asked.flat_map(|authority| authority.anchors.iter().map(move |anchor| (authority, anchor)));
        // webpki asks no anchor for its own dates.
        let asked: Vec<_> = asked.filter(|(_, anchor)| anchor.validity.check(question.now).is_ok()).collect();
        let mut seen = HashSet::new();
        let trusted: Vec<TrustAnchor<'_>> =
            asked.iter().filter(|(_, anchor)| seen.insert(&anchor.trust)).map(|(_, anchor)| anchor.borrowed()).collect();
        let (proved, refused) = (Cell::new(None), RefCell::new(None));
        let judge = |path: &VerifiedPath<'_>| match self.judge(path, &asked, question.device) {
            Ok(proof) => {
                proved.set(Some(proof));
                Ok(())
            }
            Err(why) => {
                let mut refused = refused.borrow_mut();
                if !matches!(*refused, Some(CertificateRefused::NameNotAllowed { .. })) {
                    *refused = Some(why);
                }
                Err(webpki::Error::UnknownIssuer)
            }
        };
        // Device certificates seldom have an extended key usage; one that has some has to name client authentication.
        let (time, usage) = (time(question.now), KeyUsage::client_auth());
        let Question { own, intermediates, issuer, algorithms, .. } = question;
        let verified = own.verify_for_usage(algorithms, &trusted, intermediates, time, usage, None, Some(&judge)).map(drop);
        match (verified, proved.take(), refused.take()) {
            (Ok(()), Some(proof), _) => Ok(proof),
            (_, _, Some(refused)) => Err(refused),
            (Ok(()), None, None) | (Err(webpki::Error::UnknownIssuer), ..) => {
                Err(CertificateRefused::UnknownAuthority { issuer: issuer.clone() })
            }
            (Err(error), ..) => Err(CertificateRefused::Unsound(error.to_string())),
        }
    }

    /// What webpki does not ask of a path whose signatures are good. Of the anchors at its end that differ in their dates alone, the one
    /// that lasts longest stands behind it.
    fn judge(
        &self,
        path: &VerifiedPath<'_>,
        asked: &[(&Authority, &Anchor)],
        device: &DeviceId,
    ) -> Result<(Issued, UnixMillis), CertificateRefused> {
        let (mut good_until, mut links) = (UnixMillis(i64::MAX), 0);
        for link in path.intermediate_certificates() {
            let der = link.der();
            let parsed = parse(&der).map_err(|_| CertificateRefused::Unsound("an intermediate certificate can't be read".to_owned()))?;
            let trust = anchor_from_trusted_cert(&der).map_err(|error| CertificateRefused::Unsound(error.to_string()))?;
            if !may_sign_certificates(&parsed) {
                return Err(CertificateRefused::Unsound("the keyUsage of an intermediate certificate lacks keyCertSign".to_owned()));
            }
            self.must_be_free_for(&trust, device)?;
            links += 1;
            good_until = good_until.min(Validity::of(&parsed).not_after);
        }
        let ends = asked.iter().filter(|(_, anchor)| anchor.trust == *path.anchor());
        let ends = ends.filter(|(_, anchor)| anchor.path_len.is_none_or(|most| links <= most));
        let end = ends.min_by_key(|(_, anchor)| Reverse(anchor.validity.not_after));
        let too_long =
            || CertificateRefused::Unsound("it has more intermediate certificates than its authority's pathlen allows".to_owned());
        let (authority, anchor) = end.ok_or_else(too_long)?;
        let issued = Issued { authority: authority.name.clone(), anchor: anchor.id };
        Ok((issued, good_until.min(anchor.validity.not_after)))
    }

    /// Refuses an intermediate that is configured itself, when none of the authorities which have it may speak for `device`: a prefix must
    /// not be void because the root above it is configured, too, with a wider one.
    fn must_be_free_for(&self, link: &TrustAnchor<'_>, device: &DeviceId) -> Result<(), CertificateRefused> {
        let mut having = self.0.iter().filter(|authority| authority.anchors.iter().any(|anchor| anchor.is(link))).peekable();
        match having.peek().map(|first| first.name.clone()) {
            Some(authority) if !having.any(|authority| authority.may_speak_for(device)) => {
                Err(CertificateRefused::NameNotAllowed { authority })
            }
            _ => Ok(()),
        }
    }

    /// Whether what stood behind a device's certificate still does: the same authority, with that certificate, and for that name.
    #[must_use]
    pub fn still_stand_behind(&self, issued: &Issued, device: &DeviceId) -> bool {
        let same = |authority: &&Authority| authority.name == issued.authority && authority.may_speak_for(device);
        self.0.iter().find(same).is_some_and(|authority| authority.anchors.iter().any(|anchor| anchor.id == issued.anchor))
    }
}

/// A chain as webpki reads it, and what is asked about it.
struct Question<'a> {
    own: EndEntityCert<'a>,
    intermediates: Vec<CertificateDer<'a>>,
    /// The distinguished name of the last issuer, for the owner.
    issuer: String,
    device: &'a DeviceId,
    now: UnixMillis,
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
}

/// Whether it says that it may, or says nothing about it (RFC 5280 §4.2.1.3); webpki does not ask.
fn may_sign_certificates(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn time(now: UnixMillis) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(u64::try_from(now.0).unwrap_or(0)))
}
