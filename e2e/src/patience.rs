//! How long anything is waited for. Never a sleep: each wait is for an event, and says what it was when it does not come.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};

/// Longest wait for one thing to happen. Generous, because the rings run side by side on small machines; nothing asserts on time.
pub const ONE_EVENT: Duration = Duration::from_secs(60);

/// Longest that one story may take from end to end, so that a hang has a name.
pub const ONE_STORY: Duration = Duration::from_secs(600);

/// Waits for `event`, at most [`ONE_EVENT`].
///
/// # Errors
/// When it does not come in time, naming `what`.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(ONE_EVENT, event).await.with_context(|| format!("waited {} s in vain for {what}", ONE_EVENT.as_secs()))
}
