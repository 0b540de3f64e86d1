//! The table `audit`: a row per entry, and the way from it to an [`AuditEntry`] and back.

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;

use super::words;
use crate::core::audit::{AuditEntry, AuditId};
use crate::core::principal::{By, Principal};
use crate::core::time::UnixMillis;

/// Makes rows of what [`written`] gives. One that is there stays: the same entry was written by an attempt whose answer got lost.
pub(super) const WRITE: &str = "INSERT INTO audit (audit_id, time, principal_kind, principal, door, address, action, device_id, detail, \
    refused) VALUES {rows} ON CONFLICT (audit_id) DO NOTHING";

/// A row. Times are milliseconds since 1970.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Row {
    audit_id: i64,
    time: i64,
    principal_kind: String,
    principal: String,
    door: String,
    address: Option<String>,
    action: String,
    device_id: Option<String>,
    detail: Option<String>,
    refused: Option<String>,
}

/// The values of an entry, as [`WRITE`] takes them.
pub(super) fn written(entry: &AuditEntry) -> [Value; 10] {
    let AuditEntry { id, time, by: By { principal, door, address }, action, device, detail, refused } = entry;
    [
        id.0.cast_signed().into(),
        time.0.into(),
        principal.kind().into(),
        principal.name().into(),
        door.name().into(),
        address.map(|address| address.to_string()).into(),
        action.name().into(),
        device.clone().into(),
        detail.clone().into(),
        refused.clone().into(),
    ]
}

/// The entry that a row holds.
pub(super) fn from_row(row: Row) -> Result<AuditEntry, String> {
    let Row { audit_id, time, principal_kind, principal, door, address, action, device_id, detail, refused } = row;
    let address = address.map(|text| text.parse().map_err(|_| format!("address {text:?}"))).transpose()?;
    let by = By {
        principal: Principal::of(&principal_kind, principal).ok_or_else(|| format!("principal {principal_kind:?}"))?,
        door: words::door(&door)?,
        address,
    };
    let action = words::audit_action(&action)?;
    Ok(AuditEntry { id: AuditId(audit_id.cast_unsigned()), time: UnixMillis(time), by, action, device: device_id, detail, refused })
}
