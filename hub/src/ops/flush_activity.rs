//! Tells the registry when devices were last seen: within a second when they came, went or used HTTPS, and at most once a minute of
//! those that stay connected.

use std::time::Duration;

use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::DeviceActivity;

/// How often connected devices' last activity is written.
const LIVE_EVERY: Duration = Duration::from_secs(60);

/// Flushes; `previous` is when it last did so for connected devices. Returns the new such time.
pub async fn flush_activity(hub: &Hub, previous: UnixMillis) -> UnixMillis {
    hub.presence.begin_flush();
    loop {
        let activity = hub.presence.take_unflushed(hub.boot);
        if activity.is_empty() {
            break;
        }
        if !write(hub, activity).await {
            return previous;
        }
    }
    let now = hub.now();
    if now.since(previous) < LIVE_EVERY {
        return previous;
    }
    let mut after = None;
    loop {
        let (active, next) = hub.presence.active(hub.boot, after.as_ref(), previous);
        if !write(hub, active).await {
            return previous;
        }
        if next.is_none() {
            return now;
        }
        after = next;
    }
}

/// Says whether it is written; otherwise it is put back.
async fn write(hub: &Hub, activity: Vec<DeviceActivity>) -> bool {
    if activity.is_empty() {
        return true;
    }
    let mut taken = Taken { hub, activity };
    match hub.registry.record_activity(taken.activity.clone()).await {
        Ok(()) => {
            hub.fleet.active(&std::mem::take(&mut taken.activity)).await;
            true
        }
        Err(error) => {
            tracing::warn!(%error, "could not write when {} devices were last seen, will try again: {error}", taken.activity.len());
            false
        }
    }
}

/// What has been taken out of presence and is not written yet. Put back when this is dropped, also by a hub that stops waiting for the
/// registry.
struct Taken<'a> {
    hub: &'a Hub,
    activity: Vec<DeviceActivity>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.hub.presence.put_back(std::mem::take(&mut self.activity));
    }
}
