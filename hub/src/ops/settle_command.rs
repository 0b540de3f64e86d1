//! A device settles a delivery: it is done, not wanted, or to come again.

use std::sync::Arc;

use crate::core::command::feedback::LockLost;
use crate::core::command::{LockToken, Settlement};
use crate::core::session::DeviceRight;
use crate::ops::authenticate::still_good;
use crate::ops::commands::request::{Note, Request};
use crate::ops::end_expired::ended;
use crate::ops::{Hub, Session};
use crate::store::RegistryError;
use crate::store::commands::CommandsError;

/// Why a settlement does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettleError {
    /// Nothing is locked with that token, or not any more.
    #[error(transparent)]
    LockLost(#[from] LockLost),
    /// The device's right has lapsed.
    #[error("the device may no longer settle")]
    NoLongerGood,
    /// The commands' store does not answer; whether it counted is not known.
    #[error(transparent)]
    Store(#[from] CommandsError),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A connection's device settles; nobody waits for it, and a lost lock is nobody's fault. Nothing that arrives after the session has
/// ended counts, nor what the desk has not decided by the time the device is shut out.
pub fn settle_of_session(hub: &Hub, session: &Session, token: LockToken, settlement: Settlement) {
    let now = hub.now();
    if ended(session, now).is_some() {
        return;
    }
    session.touch(now);
    hub.commands.tell(Note::Settle(session.clone(), token, settlement));
}

/// A device without a session (HTTPS) settles; durable when this returns `Ok`.
pub async fn settle_command(hub: &Arc<Hub>, right: &DeviceRight, token: LockToken, settlement: Settlement) -> Result<(), SettleError> {
    if !still_good(hub, right).await? {
        return Err(SettleError::NoLongerGood);
    }
    hub.presence.note_activity(right, hub.now());
    // The desk looks once more: the device may be disabled before its turn comes.
    hub.commands.ask(|answer| Request::Settle(right.clone(), token, settlement, answer)).await?
}
