//! What the desk's store needs beside requests: that it forgets what ended long ago, and what belongs to nobody.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::core::command::KEPT_FOR;
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::time::UnixMillis;
use crate::ops::Hub;

/// How often commands are forgotten that ended long ago.
const PRUNE_EVERY: Duration = Duration::from_secs(5 * 60);

/// How many of them at a time, so that the store's writer is soon free again.
const PRUNED_AT_ONCE_MAX: usize = 500;

/// How many devices the registry is asked for at a time, while it has others to serve.
const ASKED_AT_ONCE_MAX: usize = 4;

/// How long to wait after the registry has failed.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Devices, and lives of theirs, in which they have commands or receipts.
pub(super) type Found = Vec<(DeviceId, GenerationId)>;

/// Forgets what ended long ago, for ever.
pub(super) async fn prune(hub: &Hub) {
    loop {
        sleep(PRUNE_EVERY).await;
        let before = UnixMillis(hub.now().0.saturating_sub(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX)));
        loop {
            match hub.command_store.prune(before, PRUNED_AT_ONCE_MAX).await {
                Ok(PRUNED_AT_ONCE_MAX..) => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "commands that ended long ago can't be forgotten now: {error}");
                    break;
                }
            }
        }
    }
}

/// Tells the desk, once it has loaded what there is, of devices that were deleted without its ever having heard: because the hub ended
/// between the deletion and its word.
pub(super) async fn forget_absent(hub: &Hub, found: oneshot::Receiver<Found>) {
    let Ok(found) = found.await else { return };
    stream::iter(found)
        .for_each_concurrent(ASKED_AT_ONCE_MAX, async |(device, generation)| {
            if !is_present(hub, &device, &generation).await {
                hub.commands.device_deleted(&device);
            }
        })
        .await;
}

/// Asked past the cache, which is for devices that come.
async fn is_present(hub: &Hub, device: &DeviceId, generation: &GenerationId) -> bool {
    loop {
        match hub.registry.get(device).await {
            Ok(identity) => return identity.is_some_and(|identity| identity.generation_id == *generation),
            Err(error) => {
                tracing::warn!(%device, %error, "can't tell whether device {device} still is, will ask again: {error}");
                sleep(ASK_AGAIN_AFTER).await;
            }
        }
    }
}
