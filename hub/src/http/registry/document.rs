//! An identity as JSON: what clients send, of which everything that is the server's is ignored, and what they get.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::core::certificate::{InvalidThumbprint, Thumbprint};
use crate::core::device_id::{DeviceId, InvalidDeviceId};
use crate::core::identity::change::{
    AuthenticationWish, InvalidTags, NoThumbprint, Settings, StatusReason, StatusReasonTooLong, Tags, Thumbprints,
};
use crate::core::identity::{
    Authentication, DeviceStatus, InvalidKey, InvalidOfflineAfter, ManagedBy, Monitoring, OfflineAfter, Rotation, SymmetricKey,
};
use crate::core::time::UnixMillis;
use crate::http::error::Failure;
use crate::ops::read_devices::DeviceView;

/// How devices authenticate, in Azure's words.
const SAS: &str = "sas";
const SELF_SIGNED: &str = "selfSigned";
const CERTIFICATE_AUTHORITY: &str = "certificateAuthority";

/// What Azure shows for a time that never came, and what clients compare with.
const NEVER: &str = "0001-01-01T00:00:00";

/// An identity as a client describes it. No `Debug`: there are keys in it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceDocument {
    #[serde(alias = "id")]
    pub(super) device_id: Option<String>,
    status: Option<String>,
    /// `null` and nothing differ: one takes the reason away, the other leaves it.
    #[serde(deserialize_with = "present")]
    status_reason: Option<Option<String>>,
    authentication: Option<AuthenticationDocument>,
    capabilities: Option<CapabilitiesDocument>,
    #[serde(deserialize_with = "present")]
    tags: Option<Option<Value>>,
    #[serde(deserialize_with = "present")]
    monitoring: Option<Option<MonitoringDocument>>,
    #[serde(deserialize_with = "present")]
    rotation: Option<Option<RotationDocument>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthenticationDocument {
    r#type: Option<String>,
    /// Node's clients of 2015 began it with a capital.
    #[serde(alias = "SymmetricKey")]
    symmetric_key: Option<KeysDocument>,
    x509_thumbprint: Option<ThumbprintsDocument>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KeysDocument {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ThumbprintsDocument {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CapabilitiesDocument {
    iot_edge: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MonitoringDocument {
    offline_after: Option<String>,
    per_device_metrics: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RotationDocument {
    requested_at: Timestamp,
    begun_at: Option<Timestamp>,
}

/// A description that no identity fits.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDocument {
    /// Not JSON, or not of this shape.
    #[error("the body can't be read: {0}")]
    Json(#[from] serde_json::Error),
    /// An array, a text, a number.
    #[error("a device is a JSON object")]
    NotAnObject,
    /// In the path or the body.
    #[error(transparent)]
    DeviceId(#[from] InvalidDeviceId),
    /// The body is about somebody else.
    #[error("the body is about device {0}, the path is not")]
    OtherDevice(String),
    /// Neither enabled nor disabled.
    #[error("a status is enabled or disabled, not {0:?}")]
    Status(String),
    /// Too long.
    #[error(transparent)]
    StatusReason(#[from] StatusReasonTooLong),
    /// Not an object, or too long.
    #[error(transparent)]
    Tags(#[from] InvalidTags),
    /// Not a time for which a device may be away.
    #[error(transparent)]
    OfflineAfter(#[from] InvalidOfflineAfter),
    /// No key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// No way to prove oneself that there is here.
    #[error("a device authenticates by sas, selfSigned or certificateAuthority, not by {0:?}")]
    Authentication(String),
    /// No thumbprint.
    #[error(transparent)]
    Thumbprint(#[from] InvalidThumbprint),
    /// Self-signed, and the hub could tell it by nothing.
    #[error(transparent)]
    NoThumbprint(#[from] NoThumbprint),
    /// An edge device.
    #[error("this hub has no edge devices")]
    Edge,
}

impl DeviceDocument {
    /// Reads it. An array would pass for a struct with serde, but not with us.
    pub fn parse(value: Value) -> Result<Self, InvalidDocument> {
        if value.is_object() { Ok(Self::deserialize(value)?) } else { Err(InvalidDocument::NotAnObject) }
    }

    /// Refuses a body that is about another device than the path.
    pub fn must_be_of(&self, id: &DeviceId) -> Result<(), InvalidDocument> {
        match &self.device_id {
            Some(other) if other != id.as_str() => Err(InvalidDocument::OtherDevice(other.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// What of it the client may set.
    pub fn settings(self) -> Result<Settings, InvalidDocument> {
        let authentication = self.authentication.unwrap_or_default();
        let wish = authentication.wish()?;
        if self.capabilities.unwrap_or_default().iot_edge {
            return Err(InvalidDocument::Edge);
        }
        let keys = authentication.symmetric_key.unwrap_or_default();
        Ok(Settings {
            status: self.status.as_deref().map(status).transpose()?,
            status_reason: match self.status_reason {
                None => None,
                Some(None) => Some(None),
                Some(Some(text)) => Some(Some(StatusReason::parse(&text)?)),
            },
            authentication: wish,
            primary_key: key(keys.primary_key.as_deref())?,
            secondary_key: key(keys.secondary_key.as_deref())?,
            tags: match self.tags {
                None => None,
                Some(None) => Some(None),
                Some(Some(value)) => Some(Some(Tags::parse(&value)?)),
            },
            monitoring: self.monitoring.map(|document| document.unwrap_or_default().parse()).transpose()?,
            rotation: self
                .rotation
                .map(|document| document.map(|RotationDocument { requested_at, begun_at }| Rotation { requested_at, begun_at })),
        })
    }
}

impl MonitoringDocument {
    fn parse(&self) -> Result<Monitoring, InvalidOfflineAfter> {
        let offline_after = self.offline_after.as_deref().map(str::parse::<OfflineAfter>).transpose()?;
        Ok(Monitoring { offline_after, per_device_metrics: self.per_device_metrics })
    }
}

impl AuthenticationDocument {
    /// How the device is to prove itself. The type counts; what belongs to another type is left over from an identity that was read and
    /// is written back. Without a type, as clients before 2017 send it, thumbprints say it.
    fn wish(&self) -> Result<Option<AuthenticationWish>, InvalidDocument> {
        let slots = self
            .x509_thumbprint
            .as_ref()
            .map_or([None, None], |x509| [&x509.primary_thumbprint, &x509.secondary_thumbprint].map(Option::as_deref));
        let [primary, secondary] = slots.map(|text| text.filter(|text| !text.is_empty()));
        let thumbprints = || {
            let parse = |text: Option<&str>| text.map(str::parse::<Thumbprint>).transpose();
            Ok::<_, InvalidDocument>(AuthenticationWish::Thumbprints(Thumbprints::new(parse(primary)?, parse(secondary)?)?))
        };
        match self.r#type.as_deref() {
            None if primary.or(secondary).is_some() => thumbprints().map(Some),
            None => Ok(None),
            Some(kind) if kind.eq_ignore_ascii_case(SAS) => Ok(Some(AuthenticationWish::Keys)),
            Some(kind) if kind.eq_ignore_ascii_case(SELF_SIGNED) => thumbprints().map(Some),
            Some(kind) if kind.eq_ignore_ascii_case(CERTIFICATE_AUTHORITY) => Ok(Some(AuthenticationWish::CertificateAuthority)),
            Some(kind) => Err(InvalidDocument::Authentication(kind.to_owned())),
        }
    }
}

impl From<InvalidDocument> for Failure {
    fn from(error: InvalidDocument) -> Self {
        match &error {
            // 400006.
            InvalidDocument::Json(_) | InvalidDocument::NotAnObject => {
                Self::new(StatusCode::BAD_REQUEST, "IotHubFormatError", error.to_string())
            }
            InvalidDocument::DeviceId(_)
            | InvalidDocument::OtherDevice(_)
            | InvalidDocument::Status(_)
            | InvalidDocument::StatusReason(_)
            | InvalidDocument::Tags(_)
            | InvalidDocument::OfflineAfter(_)
            | InvalidDocument::Key(_)
            | InvalidDocument::Authentication(_)
            | InvalidDocument::Thumbprint(_)
            | InvalidDocument::NoThumbprint(_)
            | InvalidDocument::Edge => Self::argument_invalid(error.to_string()),
        }
    }
}

/// The identity as clients get it: Azure's fields in Azure's spelling, then ours.
pub fn of(view: &DeviceView) -> Value {
    let identity = &view.identity;
    let tags: Option<Value> = identity.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok());
    json!({
        "deviceId": identity.device_id.as_str(),
        "generationId": identity.generation_id.0,
        "etag": identity.version.etag(),
        "connectionState": if view.connected { "Connected" } else { "Disconnected" },
        "status": status_word(identity.status()),
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": time(view.connection_state_updated_time),
        "statusUpdatedTime": time(identity.status_updated_time),
        "lastActivityTime": time(view.last_activity_time),
        "cloudToDeviceMessageCount": view.commands_pending,
        "authentication": authentication(&identity.authentication),
        "capabilities": { "iotEdge": false },
        "tags": tags,
        "wantedStatus": status_word(identity.wanted_status),
        "monitoring": monitoring(&identity.monitoring),
        "rotation": identity.rotation.map(|rotation| {
            json!({ "requestedAt": rotation.requested_at, "begunAt": rotation.begun_at })
        }),
        "managedBy": identity.managed_by.as_ref().map(|owner| match owner {
            ManagedBy::ManifestFolder => json!({ "kind": "ManifestFolder" }),
            ManagedBy::Kubernetes { namespace, name, uid } => {
                json!({ "kind": "Kubernetes", "namespace": namespace, "name": name, "uid": uid })
            }
        }),
        "hold": identity.hold.as_ref().map(|hold| json!({ "by": hold.by, "since": hold.since.to_string() })),
    })
}

/// What of an identity's authentication anybody may know who may know of the identity.
const SHOWN_OF_AUTHENTICATION: [&str; 2] = ["type", "x509Thumbprint"];

/// The same, without the keys.
pub fn without_keys(view: &DeviceView) -> Value {
    let mut device = of(view);
    if let Some(authentication) = device["authentication"].as_object_mut() {
        authentication.retain(|name, _| SHOWN_OF_AUTHENTICATION.contains(&name.as_str()));
    }
    device
}

fn status_word(status: DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Enabled => "enabled",
        DeviceStatus::Disabled => "disabled",
    }
}

/// `null` when nothing is said.
fn monitoring(monitoring: &Monitoring) -> Option<Value> {
    let Monitoring { offline_after, per_device_metrics } = monitoring;
    (*monitoring != Monitoring::default())
        .then(|| json!({ "offlineAfter": offline_after.map(|after| after.to_string()), "perDeviceMetrics": per_device_metrics }))
}

/// All fields are always there, as Azure has it; those of another type are null.
fn authentication(authentication: &Authentication) -> Value {
    let (kind, keys, thumbprints) = match authentication {
        Authentication::SymmetricKey { primary, secondary } => {
            (SAS, [primary, secondary].map(|key| Some(key.expose_base64())), [None, None])
        }
        Authentication::SelfSigned { primary, secondary } => {
            (SELF_SIGNED, [None, None], [primary, secondary].map(|slot| slot.as_ref().map(Thumbprint::to_string)))
        }
        Authentication::CertificateAuthority => (CERTIFICATE_AUTHORITY, [None, None], [None, None]),
    };
    json!({
        "symmetricKey": { "primaryKey": keys[0], "secondaryKey": keys[1] },
        "x509Thumbprint": { "primaryThumbprint": thumbprints[0], "secondaryThumbprint": thumbprints[1] },
        "type": kind,
    })
}

fn time(time: Option<UnixMillis>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

/// Clients write it in several cases.
fn status(text: &str) -> Result<DeviceStatus, InvalidDocument> {
    match text.to_ascii_lowercase().as_str() {
        "enabled" => Ok(DeviceStatus::Enabled),
        "disabled" => Ok(DeviceStatus::Disabled),
        _ => Err(InvalidDocument::Status(text.to_owned())),
    }
}

/// Node sends empty texts for keys that the hub is to make.
fn key(text: Option<&str>) -> Result<Option<SymmetricKey>, InvalidKey> {
    text.filter(|text| !text.is_empty()).map(SymmetricKey::from_base64).transpose()
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
