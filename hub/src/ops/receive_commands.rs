//! A device receives commands: pushed to its connection, or one at a time to a request that waits.

use std::sync::Arc;
use std::time::Duration;

use crate::core::command::machine::Poll;
use crate::core::command::{Delivery, LockToken};
use crate::core::session::DeviceRight;
use crate::ops::authenticate::{Origin, still_good};
use crate::ops::commands::request::{Note, Request, Unsent};
use crate::ops::{Hub, Session};
use crate::store::RegistryError;
use crate::store::commands::CommandsError;

/// The shortest lock that a request may ask for.
pub const LOCK_TIME_MIN: Duration = Duration::from_secs(5);

/// The longest lock that a request may ask for.
pub const LOCK_TIME_MAX: Duration = Duration::from_secs(300);

/// Why a device receives nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// Its right has lapsed.
    #[error("the device may no longer receive")]
    NoLongerGood,
    /// The commands' store does not answer.
    #[error(transparent)]
    Store(#[from] CommandsError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// From now on the connection takes up to `window` unsettled deliveries at a time, out of its session.
pub fn subscribe(hub: &Hub, session: &Session, window: usize) {
    if session.mailbox().set_window(u16::try_from(window).unwrap_or(u16::MAX)) {
        hub.commands.tell(Note::Look(session.clone()));
    }
}

/// From now on it takes none. What it has it may still settle.
pub fn unsubscribe(hub: &Hub, session: &Session) {
    subscribe(hub, session, 0);
}

/// Waits until all that waits for the session's device, and that its window has room for, is in the session.
pub async fn until_handed_out(hub: &Hub) {
    hub.commands.pass().await;
}

/// A delivery that was taken out of the session never left the hub: it does not count.
pub fn not_sent(hub: &Hub, session: &Session, token: LockToken) {
    hub.commands.tell(Note::NotSent(session.device_id().clone(), token));
}

/// The next command of a device without a session (HTTPS), for which it waits up to `wait`. `lock_time` is brought into its range.
pub async fn next_command(
    hub: &Arc<Hub>,
    right: &DeviceRight,
    origin: Origin,
    lock_time: Option<Duration>,
    wait: Duration,
) -> Result<Option<Delivery>, ReceiveError> {
    if !still_good(hub, right).await? {
        return Err(ReceiveError::NoLongerGood);
    }
    hub.presence.note_activity(right, hub.now());
    let poll = Poll {
        id: hub.commands.next_poll(),
        protocol: origin.protocol,
        lock_time: lock_time.map(|time| time.clamp(LOCK_TIME_MIN, LOCK_TIME_MAX)),
        until: hub.now().plus(wait),
    };
    let delivery = hub.commands.ask(|answer| Request::Poll(right.clone(), poll, answer)).await?;
    // Dropped on the way out, the delivery does not count.
    if still_good(hub, right).await? { Ok(delivery.map(Unsent::take)) } else { Err(ReceiveError::NoLongerGood) }
}
