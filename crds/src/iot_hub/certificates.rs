//! Certificates: the hub's own, and the authorities that issue them to devices.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Where the hub's certificate comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// An authority of the hub's own, made once and kept in the Secret `<name>-ca`; clients trust its `ca.crt`. It renews by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSigned>,

    /// A Secret of type kubernetes.io/tls in the hub's namespace, kept by somebody else: tls.crt for all of the hostnames, with the
    /// intermediates; tls.key; and ca.crt, the authority behind it, which the operator checks the hub against. It is followed: a new
    /// certificate is served without dropping a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// An issuer of cert-manager's, which is asked for a certificate and renews it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerReference>,
}

/// Where a certificate comes from, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateSource<'a> {
    /// An authority of the hub's own.
    SelfSigned,
    /// A Secret that somebody else keeps.
    Secret(&'a SecretReference),
    /// An issuer of cert-manager's.
    Issuer(&'a IssuerReference),
}

impl Tls {
    /// The source that is given; the hub's own authority when none is.
    #[must_use]
    pub fn source(&self) -> CertificateSource<'_> {
        match (&self.secret_ref, &self.issuer_ref) {
            (Some(secret), _) => CertificateSource::Secret(secret),
            (None, Some(issuer)) => CertificateSource::Issuer(issuer),
            (None, None) => CertificateSource::SelfSigned,
        }
    }
}

/// Nothing more to say: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfSigned {}

/// Names a Secret in the hub's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// Names an issuer of cert-manager's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerReference {
    /// The issuer's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its kind: Issuer, ClusterIssuer, or another group's.
    #[serde(default = "issuer_kind")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its group.
    #[serde(default = "issuer_group")]
    #[schemars(schema_with = "schema::object_name")]
    pub group: String,
}

/// An authority that issues certificates to devices: exactly one of configMapRef and secretRef.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMapRef) != has(self.secretRef)").message("exactly one of configMapRef and secretRef"))]
pub struct DeviceAuthority {
    /// Its name, for people; connections through it are told by it.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,
    /// A ConfigMap with its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<BundleReference>,
    /// A Secret with its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<BundleReference>,
    /// Only devices whose id begins so are the authority's. Absent: every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::device_id")]
    pub id_prefix: Option<String>,
}

/// Names an entry with certificates in PEM, in a ConfigMap or a Secret of the hub's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleReference {
    /// The object's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The entry.
    #[serde(default = "bundle_entry")]
    #[schemars(schema_with = "schema::entry")]
    pub key: String,
}

fn issuer_kind() -> String {
    "Issuer".to_owned()
}

fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

fn bundle_entry() -> String {
    "ca.crt".to_owned()
}
