//! The table `device`: one row per identity, and the way from a row to an identity and back.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, Condition, Set};

use crate::core::certificate::{InvalidThumbprint, Thumbprint};
use crate::core::device_id::DeviceId;
use crate::core::identity::{
    Authentication, DeviceIdentity, DeviceStatus, GenerationId, Hold, ManagedBy, Monitoring, OfflineAfter, Rotation, SymmetricKey, Version,
};
use crate::core::session::BootId;
use crate::core::time::UnixMillis;
use crate::store::RegistryError;

const ENABLED: &str = "enabled";
const DISABLED: &str = "disabled";
const SYMMETRIC_KEY: &str = "sas";
const SELF_SIGNED: &str = "selfSigned";
const CERTIFICATE_AUTHORITY: &str = "certificateAuthority";
const MANIFEST_FOLDER: &str = "ManifestFolder";
const KUBERNETES: &str = "Kubernetes";

/// A row. Times are milliseconds since 1970, but a rotation's, which are ISO 8601 and as exact as the manifest says them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: String,
    pub generation_id: String,
    pub version: i64,
    pub wanted_status: String,
    pub status_reason: Option<String>,
    pub status_updated_time: Option<i64>,
    pub authentication_type: String,
    pub primary_key: Option<KeyBytes>,
    pub secondary_key: Option<KeyBytes>,
    pub primary_thumbprint: Option<String>,
    pub secondary_thumbprint: Option<String>,
    pub tags: Option<String>,
    pub managed_by_kind: Option<String>,
    pub managed_by_namespace: Option<String>,
    pub managed_by_name: Option<String>,
    pub managed_by_uid: Option<String>,
    pub hold_by: Option<String>,
    pub hold_since: Option<i64>,
    pub connection_state_updated_time: Option<i64>,
    pub last_activity_time: Option<i64>,
    pub connected_boot: Option<i64>,
    pub offline_after_ns: Option<i64>,
    pub per_device_metrics: bool,
    pub rotation_requested_at: Option<String>,
    pub rotation_begun_at: Option<String>,
}

/// A key as it lies in the table. Exists so that no `Debug` of a row shows it.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct KeyBytes(Vec<u8>);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(secret)")
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What makes a row count as enabled: [`DeviceIdentity::status`], in SQL.
pub(super) fn enabled() -> Condition {
    Condition::all().add(Column::WantedStatus.eq(ENABLED)).add(Column::HoldSince.is_null())
}

/// The columns that say how a device proves itself.
struct Proof {
    authentication_type: &'static str,
    keys: [Option<KeyBytes>; 2],
    thumbprints: [Option<String>; 2],
}

impl Proof {
    fn of(authentication: &Authentication) -> Self {
        let nothing = |authentication_type| Self { authentication_type, keys: [None, None], thumbprints: [None, None] };
        match authentication {
            Authentication::SymmetricKey { primary, secondary } => {
                Self { keys: [primary, secondary].map(|key| Some(KeyBytes(key.expose().to_vec()))), ..nothing(SYMMETRIC_KEY) }
            }
            Authentication::SelfSigned { primary, secondary } => {
                Self { thumbprints: [primary, secondary].map(|slot| slot.as_ref().map(Thumbprint::to_string)), ..nothing(SELF_SIGNED) }
            }
            Authentication::CertificateAuthority => nothing(CERTIFICATE_AUTHORITY),
        }
    }
}

/// Every column of a new row.
pub(super) fn to_row(identity: &DeviceIdentity) -> ActiveModel {
    let Proof { authentication_type, keys: [primary_key, secondary_key], thumbprints: [primary_thumbprint, secondary_thumbprint] } =
        Proof::of(&identity.authentication);
    let (kind, namespace, name, uid) = match &identity.managed_by {
        None => (None, None, None, None),
        Some(ManagedBy::ManifestFolder) => (Some(MANIFEST_FOLDER.to_owned()), None, None, None),
        Some(ManagedBy::Kubernetes { namespace, name, uid }) => {
            (Some(KUBERNETES.to_owned()), Some(namespace.clone()), Some(name.clone()), Some(uid.clone()))
        }
    };
    let wanted_status = match identity.wanted_status {
        DeviceStatus::Enabled => ENABLED,
        DeviceStatus::Disabled => DISABLED,
    };
    ActiveModel {
        device_id: Set(identity.device_id.as_str().to_owned()),
        generation_id: Set(identity.generation_id.0.clone()),
        version: Set(identity.version.0),
        wanted_status: Set(wanted_status.to_owned()),
        status_reason: Set(identity.status_reason.clone()),
        status_updated_time: Set(identity.status_updated_time.map(|time| time.0)),
        authentication_type: Set(authentication_type.to_owned()),
        primary_key: Set(primary_key),
        secondary_key: Set(secondary_key),
        primary_thumbprint: Set(primary_thumbprint),
        secondary_thumbprint: Set(secondary_thumbprint),
        tags: Set(identity.tags.clone()),
        managed_by_kind: Set(kind),
        managed_by_namespace: Set(namespace),
        managed_by_name: Set(name),
        managed_by_uid: Set(uid),
        hold_by: Set(identity.hold.as_ref().map(|hold| hold.by.clone())),
        hold_since: Set(identity.hold.as_ref().map(|hold| hold.since.0)),
        connection_state_updated_time: Set(identity.connection_state_updated_time.map(|time| time.0)),
        last_activity_time: Set(identity.last_activity_time.map(|time| time.0)),
        connected_boot: Set(identity.connected_boot.map(|boot| boot.0.cast_signed())),
        // 90 days are far from the end of 64 bits.
        offline_after_ns: Set(identity.monitoring.offline_after.and_then(|after| i64::try_from(after.get().as_nanos()).ok())),
        per_device_metrics: Set(identity.monitoring.per_device_metrics),
        rotation_requested_at: Set(identity.rotation.map(|rotation| rotation.requested_at.to_string())),
        rotation_begun_at: Set(identity.rotation.and_then(|rotation| rotation.begun_at).map(|time| time.to_string())),
    }
}

/// The columns that replacing an identity sets: all but its key and what only the recording of activity may move.
pub(super) fn to_replacement(identity: &DeviceIdentity) -> ActiveModel {
    ActiveModel {
        device_id: ActiveValue::NotSet,
        connection_state_updated_time: ActiveValue::NotSet,
        last_activity_time: ActiveValue::NotSet,
        connected_boot: ActiveValue::NotSet,
        ..to_row(identity)
    }
}

/// The identity that a row holds.
pub(super) fn from_row(row: Model) -> Result<DeviceIdentity, RegistryError> {
    let id = row.device_id.clone();
    parse(row).map_err(|reason| RegistryError::Damaged { id, reason })
}

fn parse(row: Model) -> Result<DeviceIdentity, String> {
    let managed_by = match (row.managed_by_kind.as_deref(), row.managed_by_namespace, row.managed_by_name, row.managed_by_uid) {
        (None, ..) => None,
        (Some(MANIFEST_FOLDER), ..) => Some(ManagedBy::ManifestFolder),
        (Some(KUBERNETES), Some(namespace), Some(name), Some(uid)) => Some(ManagedBy::Kubernetes { namespace, name, uid }),
        (Some(other), ..) => return Err(format!("managed by {other:?}, which this version does not know or which is not whole")),
    };
    let hold = match (row.hold_by, row.hold_since) {
        (Some(by), Some(since)) => Some(Hold { by, since: UnixMillis(since) }),
        (None, None) => None,
        _ => return Err("half a hold".to_owned()),
    };
    let wanted_status = match row.wanted_status.as_str() {
        ENABLED => DeviceStatus::Enabled,
        DISABLED => DeviceStatus::Disabled,
        other => return Err(format!("status {other:?}")),
    };
    let authentication = match row.authentication_type.as_str() {
        SYMMETRIC_KEY => Authentication::SymmetricKey { primary: key(row.primary_key)?, secondary: key(row.secondary_key)? },
        SELF_SIGNED => match (thumbprint(row.primary_thumbprint)?, thumbprint(row.secondary_thumbprint)?) {
            (None, None) => return Err("no thumbprint".to_owned()),
            (primary, secondary) => Authentication::SelfSigned { primary, secondary },
        },
        CERTIFICATE_AUTHORITY => Authentication::CertificateAuthority,
        other => return Err(format!("authentication by {other:?}, which this version does not know")),
    };
    let offline_after = row.offline_after_ns.map(|ns| OfflineAfter::new(Duration::from_nanos(ns.unsigned_abs()))).transpose();
    Ok(DeviceIdentity {
        device_id: DeviceId::parse(&row.device_id).map_err(|error| error.to_string())?,
        generation_id: GenerationId(row.generation_id),
        version: Version(row.version),
        wanted_status,
        status_reason: row.status_reason,
        status_updated_time: row.status_updated_time.map(UnixMillis),
        authentication,
        tags: row.tags,
        monitoring: Monitoring {
            offline_after: offline_after.map_err(|error| error.to_string())?,
            per_device_metrics: row.per_device_metrics,
        },
        rotation: rotation(row.rotation_requested_at.as_deref(), row.rotation_begun_at.as_deref())?,
        managed_by,
        hold,
        connection_state_updated_time: row.connection_state_updated_time.map(UnixMillis),
        last_activity_time: row.last_activity_time.map(UnixMillis),
        connected_boot: row.connected_boot.map(|boot| BootId(boot.cast_unsigned())),
    })
}

fn rotation(requested_at: Option<&str>, begun_at: Option<&str>) -> Result<Option<Rotation>, String> {
    let time = |text: &str| text.parse::<Timestamp>().map_err(|error| error.to_string());
    match (requested_at, begun_at) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("half a rotation".to_owned()),
        (Some(requested_at), begun_at) => {
            Ok(Some(Rotation { requested_at: time(requested_at)?, begun_at: begun_at.map(time).transpose()? }))
        }
    }
}

fn thumbprint(text: Option<String>) -> Result<Option<Thumbprint>, String> {
    text.map(|text| text.parse()).transpose().map_err(|error: InvalidThumbprint| error.to_string())
}

fn key(bytes: Option<KeyBytes>) -> Result<SymmetricKey, String> {
    let KeyBytes(bytes) = bytes.ok_or("no key")?;
    SymmetricKey::from_bytes(bytes).map_err(|error| error.to_string())
}
