//! Certificates made for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use crate::core::certificate::PresentedChain;
use crate::core::certificate::authorities::Authority;

/// A certificate authority.
pub struct MadeAuthority(CertifiedIssuer<'static, KeyPair>);

/// A certificate valid from 2023-01-01 to 2024-01-01 around [`crate::ops::world::NOW`], with these common names.
pub fn params(common_names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.not_before = date_time_ymd(2023, 1, 1);
    params.not_after = date_time_ymd(2024, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    // A name has a type once in rcgen; the same type by its number is another to it.
    for (name, kind) in common_names.iter().zip([DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])]) {
        params.distinguished_name.push(kind, *name);
    }
    params
}

/// A self-signed one, in DER.
pub fn self_signed(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// What a client presents.
pub fn chain(certificates: &[&[u8]]) -> PresentedChain {
    PresentedChain::new(certificates.iter().copied())
}

impl MadeAuthority {
    pub fn root(name: &str) -> Self {
        Self::root_with(authority_params(name))
    }

    /// One whose certificate says this.
    pub fn root_with(params: CertificateParams) -> Self {
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(authority_params(name))
    }

    pub fn intermediate_with(&self, params: CertificateParams) -> Self {
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// A certificate of the same name and key that says this.
    pub fn renewed(&self, params: &CertificateParams) -> Vec<u8> {
        params.self_signed(self.0.key()).unwrap().der().to_vec()
    }

    pub fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub fn issue(&self, params: &CertificateParams) -> Vec<u8> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().to_vec()
    }

    /// As it is configured.
    pub fn named(&self, name: &str, id_prefix: &str) -> Authority {
        Authority::new(name, id_prefix, &[self.der()]).unwrap()
    }
}

/// What the certificate of an authority says.
pub fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(&[name]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// For something else than client authentication.
pub fn for_servers_only(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}
