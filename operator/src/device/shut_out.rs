//! The lane of those who are to be shut out: a device that is disabled or deleted is out of its hub at once, however many others wait.
//!
//! Taken from the watch's events before they get into the queue of reconciles, and sent over connections of their own. The reconcile that
//! follows writes what there is to write in Kubernetes; it also does this over again, should it not have gone well here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::DeviceName;
use super::apply::{disable, not_ours};
use super::context::Context;
use super::index::Seen;
use crate::hub::HubError;
use crate::hub::client::{Author, Ownership};

/// How many are shut out at the same time.
const AT_ONCE: usize = 32;

/// How often, and how soon, one that did not go well is tried here; after that the reconcile sees to it, and so does this lane when the hub
/// is back.
const ATTEMPTS: u32 = 4;
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Shuts out whom the watch says to, until it is told to stop.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let waiting = stream::unfold(Arc::clone(&context), |context| async move { Some((context.lane.next().await, context)) });
    let work = waiting.for_each_concurrent(AT_ONCE, |name| shut_out(&context, name));
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

pub async fn shut_out(context: &Context, name: DeviceName) {
    for attempt in 0..ATTEMPTS {
        // The newest: it may have been enabled again.
        let Some(seen) = context.devices.get(&name).filter(|seen| seen.deleting || !seen.enabled) else { return };
        match attempt_once(context, &seen).await {
            Ok(()) => return,
            Err(error) if error.is_transient() => {
                tracing::debug!(device = %name, "the device {name} is not out yet: {error}");
                sleep(AGAIN_AFTER * 2_u32.pow(attempt)).await;
            }
            Err(error) => {
                tracing::warn!(device = %name, "the device {name} can't be shut out: {error}");
                return;
            }
        }
    }
}

async fn attempt_once(context: &Context, seen: &Seen) -> Result<(), HubError> {
    // Once there is one, the hub's news brings the Device here again.
    let Some(link) = context.links.get(&seen.hub) else { return Ok(()) };
    let client = link.shut_out()?;
    let me = seen.author();
    match (seen.deleting, seen.retains) {
        // The hub refuses what is not this Device's, and keeps what is held.
        (true, false) => not_ours(client.delete(&seen.device_id, Author::Device(&me)).await),
        (true, true) => {
            let released = client.change(&seen.device_id, &serde_json::json!({}), Author::Device(&me), Ownership::Release, None).await;
            not_ours(released.map(drop))
        }
        (false, _) => disable(client, seen, &me).await,
    }
}
