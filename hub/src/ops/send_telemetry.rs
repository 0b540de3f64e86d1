//! A device sends: checked, stamped, appended. Acknowledged by the caller once [`EventLog::durability`] says that it is on disk.
//!
//! [`EventLog::durability`]: crate::store::EventLog::durability

use crate::core::device_rate::MinuteCounts;
use crate::core::message::Message;
use crate::core::session::{DeviceRight, DisconnectReason, Protocol};
use crate::core::telemetry::{self, Occasion, Stamps, TelemetryRefused};
use crate::ops::end_expired::ended;
use crate::ops::{Hub, authenticate};
use crate::store::presence::Session;
use crate::store::{AppendError, EventBatch, RegistryError, Ticket};

/// The stamps of whoever came in with `right`.
#[must_use]
pub fn stamps(hub: &Hub, right: &DeviceRight) -> Stamps {
    Stamps::new(right, hub.events.partition_count())
}

/// Checks and stamps one message, and adds it to `batch`.
pub fn stage<'a>(mut message: Message<'a>, occasion: Occasion, stamps: &'a Stamps, batch: &mut EventBatch) -> Result<(), TelemetryRefused> {
    let start = batch.bytes.len();
    match telemetry::store(&mut message, occasion, stamps, &mut batch.bytes) {
        Ok(()) => {
            batch.ends.push((stamps.partition, batch.bytes.len()));
            Ok(())
        }
        Err(refused) => {
            batch.bytes.truncate(start);
            Err(refused)
        }
    }
}

/// Why a batch was not appended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendRefused {
    /// The session had ended before the batch came to the log.
    #[error("the session has ended: {}", .0.name())]
    SessionEnded(DisconnectReason),
    /// The right had lapsed.
    #[error("the device may no longer send")]
    NoLongerGood,
    /// The log does not take it.
    #[error(transparent)]
    Log(AppendError),
    /// The registry could not be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Appends a session's batch, which must not be empty, waiting for room. The session is asked after the bytes were read: nothing that
/// arrives after a revocation has returned is appended.
pub async fn append(hub: &Hub, session: &Session, batch: &mut EventBatch) -> Result<Ticket, AppendRefused> {
    loop {
        let now = hub.now();
        if let Some(reason) = ended(session, now) {
            return Err(AppendRefused::SessionEnded(reason));
        }
        session.touch(now);
        let counts = hub.device_rates.of_session(session, now);
        match try_append(hub, (session.protocol(), counts), batch) {
            Err(AppendError::Busy) => hub.events.room().await,
            Err(error) => return Err(AppendRefused::Log(error)),
            Ok(ticket) => return Ok(ticket),
        }
    }
}

/// Appends the will of a device whose session has ended, waiting for room: unless the device has lost its right, for nothing is stored
/// for it after that. That its token has run out does not matter, the will was given while it held.
pub async fn append_will(hub: &Hub, session: &Session, will: &mut EventBatch) -> Result<(), AppendRefused> {
    let right = session.right();
    loop {
        let identity = hub.identities.get(&*hub.registry, &right.device_id).await?;
        hub.review(&right, identity.as_deref()).map_err(AppendRefused::SessionEnded)?;
        let counts = hub.device_rates.of_session(session, hub.now());
        match try_append(hub, (session.protocol(), counts), will) {
            Err(AppendError::Busy) => hub.events.room().await,
            Err(error) => return Err(AppendRefused::Log(error)),
            Ok(_) => return Ok(()),
        }
    }
}

/// Appends the batch of somebody without a session (HTTPS), and waits until it is durable.
pub async fn append_durably(hub: &Hub, right: &DeviceRight, batch: &mut EventBatch) -> Result<(), AppendRefused> {
    let mut durability = hub.events.durability();
    let counts = hub.device_rates.of(&right.device_id, hub.now());
    loop {
        if !authenticate::still_good(hub, right).await? {
            return Err(AppendRefused::NoLongerGood);
        }
        match try_append(hub, (Protocol::Https, counts.as_deref()), batch) {
            Err(AppendError::Busy) => hub.events.room().await,
            Err(error) => return Err(AppendRefused::Log(error)),
            Ok(ticket) if durability.durable(ticket).await => break,
            Ok(_) => return Err(AppendRefused::Log(AppendError::Unavailable { retry_after: RETRY_AFTER })),
        }
    }
    hub.presence.note_activity(right, hub.now());
    Ok(())
}

/// When to come again after a write to disk failed: reopening and verifying the log takes about that long.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Appends, and counts what was appended: by `protocol`, and by what counts for the device, if anything does.
fn try_append(hub: &Hub, (protocol, counts): (Protocol, Option<&MinuteCounts>), batch: &mut EventBatch) -> Result<Ticket, AppendError> {
    let (events, bytes) = (batch.len(), batch.bytes.len());
    let now = hub.now();
    batch.enqueued_time = now;
    let ticket = hub.events.try_append(batch)?;
    hub.metrics.telemetry(protocol, events, bytes);
    if let Some(counts) = counts {
        counts.add(now, events);
    }
    Ok(ticket)
}
