//! Tells the registry when devices were last seen: at most once a minute per connected device, and soon after it went.

use std::time::Duration;

use crate::core::time::UnixMillis;
use crate::ops::Hub;

/// How often connected devices' last activity is written.
const LIVE_EVERY: Duration = Duration::from_secs(60);

/// Flushes; `previous` is when it last did so for connected devices. Returns the new such time.
pub async fn flush_activity(hub: &Hub, previous: UnixMillis) -> UnixMillis {
    let now = hub.now();
    let due = now.since(previous) >= LIVE_EVERY;
    let activity = hub.presence.take_unflushed(hub.boot, if due { previous } else { UnixMillis(i64::MAX) });
    if !activity.is_empty()
        && let Err(error) = hub.registry.record_activity(activity.clone()).await
    {
        tracing::warn!(%error, "could not write when {} devices were last seen, will try again: {error}", activity.len());
        hub.presence.put_back(activity);
        return previous;
    }
    if due { now } else { previous }
}
