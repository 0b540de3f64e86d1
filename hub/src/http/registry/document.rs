//! An identity as JSON: what clients send, of which everything that is the server's is ignored, and what they get.

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::core::device_id::{DeviceId, InvalidDeviceId};
use crate::core::identity::change::{InvalidTags, Settings, StatusReason, StatusReasonTooLong, Tags};
use crate::core::identity::{Authentication, DeviceStatus, InvalidKey, ManagedBy, SymmetricKey};
use crate::core::time::UnixMillis;
use crate::http::error::Failure;
use crate::ops::read_devices::DeviceView;

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
    /// No key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// Certificates, which this hub does not take yet.
    #[error("devices authenticate with symmetric keys here (type sas), not with {0}")]
    Authentication(String),
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
        authentication.must_be_by_keys()?;
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
            primary_key: key(keys.primary_key.as_deref())?,
            secondary_key: key(keys.secondary_key.as_deref())?,
            tags: match self.tags {
                None => None,
                Some(None) => Some(None),
                Some(Some(value)) => Some(Some(Tags::parse(&value)?)),
            },
        })
    }
}

impl AuthenticationDocument {
    fn must_be_by_keys(&self) -> Result<(), InvalidDocument> {
        let thumbprints = self.x509_thumbprint.iter().flat_map(|x509| [&x509.primary_thumbprint, &x509.secondary_thumbprint]);
        match self.r#type.as_deref() {
            Some(kind) if !kind.eq_ignore_ascii_case("sas") => Err(InvalidDocument::Authentication(kind.to_owned())),
            _ if thumbprints.flatten().any(|text| !text.is_empty()) => Err(InvalidDocument::Authentication("x509Thumbprint".to_owned())),
            _ => Ok(()),
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
            | InvalidDocument::Key(_)
            | InvalidDocument::Authentication(_)
            | InvalidDocument::Edge => Self::argument_invalid(error.to_string()),
        }
    }
}

/// The identity as clients get it: Azure's fields in Azure's spelling, then ours.
pub fn of(view: &DeviceView) -> Value {
    let identity = &view.identity;
    let Authentication::SymmetricKey { primary, secondary } = &identity.authentication;
    let tags: Option<Value> = identity.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok());
    json!({
        "deviceId": identity.device_id.as_str(),
        "generationId": identity.generation_id.0,
        "etag": identity.version.etag(),
        "connectionState": if view.connected { "Connected" } else { "Disconnected" },
        "status": match identity.status() {
            DeviceStatus::Enabled => "enabled",
            DeviceStatus::Disabled => "disabled",
        },
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": time(view.connection_state_updated_time),
        "statusUpdatedTime": time(identity.status_updated_time),
        "lastActivityTime": time(view.last_activity_time),
        "cloudToDeviceMessageCount": view.commands_pending,
        "authentication": {
            "symmetricKey": { "primaryKey": primary.expose_base64(), "secondaryKey": secondary.expose_base64() },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
            "type": "sas",
        },
        "capabilities": { "iotEdge": false },
        "tags": tags,
        "managedBy": identity.managed_by.as_ref().map(|owner| match owner {
            ManagedBy::ManifestFolder => json!({ "kind": "ManifestFolder" }),
            ManagedBy::Kubernetes { namespace, name, uid } => {
                json!({ "kind": "Kubernetes", "namespace": namespace, "name": name, "uid": uid })
            }
        }),
        "hold": identity.hold.as_ref().map(|hold| json!({ "by": hold.by, "since": hold.since.to_string() })),
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
