//! The table `connection`: a row per connection of a device, and the way from it to a [`ConnectionRecord`] and back.

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;

use crate::core::device_id::DeviceId;
use crate::core::session::{BootId, ConnectionId, ConnectionRecord, DisconnectReason};
use crate::core::time::UnixMillis;

use super::words;

/// Makes rows of what [`written`] gives, or replaces them.
pub(super) const WRITE: &str = "INSERT INTO connection (boot_id, connection_id, device_id, protocol, address, connected_time, \
    disconnected_time, reason) VALUES {rows} ON CONFLICT (boot_id, connection_id) DO UPDATE SET device_id = excluded.device_id, \
    protocol = excluded.protocol, address = excluded.address, connected_time = excluded.connected_time, \
    disconnected_time = excluded.disconnected_time, reason = excluded.reason";

/// A row, and the last heartbeat of its boot. Times are milliseconds since 1970.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Row {
    boot_id: i64,
    connection_id: i64,
    device_id: String,
    protocol: String,
    address: String,
    connected_time: i64,
    disconnected_time: Option<i64>,
    reason: Option<String>,
    last_heartbeat: Option<i64>,
}

/// The values of a record, as [`WRITE`] takes them.
pub(super) fn written(record: &ConnectionRecord) -> [Value; 8] {
    [
        record.boot.0.cast_signed().into(),
        record.connection.0.cast_signed().into(),
        record.device_id.as_str().into(),
        record.protocol.name().into(),
        record.address.to_string().into(),
        record.connected_time.0.into(),
        record.disconnected.map(|(time, _)| time.0).into(),
        record.disconnected.map(|(_, reason)| reason.name()).into(),
    ]
}

/// The record that a row holds, with the end that one of an earlier boot than `current` must have had.
pub(super) fn from_row(row: Row, current: BootId) -> Result<ConnectionRecord, String> {
    let boot = BootId(row.boot_id.cast_unsigned());
    let connected_time = UnixMillis(row.connected_time);
    let disconnected = match (row.disconnected_time, row.reason) {
        (Some(time), Some(reason)) => Some((UnixMillis(time), words::disconnect_reason(&reason)?)),
        (None, None) if boot == current => None,
        (None, None) => {
            let heartbeat = row.last_heartbeat.map_or(connected_time, UnixMillis);
            Some((heartbeat.max(connected_time), DisconnectReason::HubRestarted))
        }
        _ => return Err("half an end".to_owned()),
    };
    Ok(ConnectionRecord {
        boot,
        connection: ConnectionId(row.connection_id.cast_unsigned()),
        device_id: DeviceId::parse(&row.device_id).map_err(|error| error.to_string())?,
        protocol: words::protocol(&row.protocol)?,
        address: row.address.parse().map_err(|_| format!("address {:?}", row.address))?,
        connected_time,
        disconnected,
    })
}
