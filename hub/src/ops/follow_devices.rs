//! Follows what happens to devices, for those who keep a picture of all of them: who is expected, and the fleet's list.
//!
//! A follower of the change stream like any other: nobody who connects, disconnects, sends a command or changes an identity waits for it.
//! At the start, and when it has been too slow, it reads all identities, a page at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::core::change::{Change, ChangeKind};
use crate::ops::Hub;
use crate::ops::changes::{Cursor, Lanes, Span};
use crate::ops::expected_devices::let_time_pass;
use crate::ops::read_devices::{DeviceView, list_devices};
use crate::store::RegistryError;

/// How late it is noticed that a device has become offline.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many identities are read at once. Whoever writes identities waits for it.
const PAGE: usize = 500;

/// Between two pages, for those who want the registry for something better.
const PAGE_PAUSE: Duration = Duration::from_millis(5);

/// What is followed: commands for the lengths of their queues.
const FOLLOWED: [ChangeKind; 3] = [ChangeKind::Registry, ChangeKind::Presence, ChangeKind::Command];

/// When to read again after the registry did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Follows what happens to devices until the hub ends, and keeps the gauges right.
pub async fn follow_devices(hub: &Hub) {
    let mut failing = false;
    loop {
        match read_all(hub).await {
            Ok(next) => {
                failing = false;
                if !follow(hub, next).await {
                    return;
                }
                tracing::warn!("more has happened than could be followed: all identities are read again");
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "which devices there are can't be read, and is tried again: {error}");
                }
                failing = true;
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Reads all identities; answers with the place of the first change that is not taken in yet.
async fn read_all(hub: &Hub) -> Result<Cursor, RegistryError> {
    let ended = hub.earlier_boots.last_end(hub).await;
    hub.expected_devices.begin_round(ended);
    hub.fleet.begin_round().await;
    let mut next = hub.changes.end_of(Lanes::of(&FOLLOWED));
    let mut after = None;
    loop {
        let page = {
            // So that a device which is made now is heard of as new, and not found here as one of old.
            let _in_order = hub.registry_order.lock().await;
            // When too much has happened it stays where it was, and is found out behind the last page.
            next = take_in_changes(hub, next).await.unwrap_or(next);
            list_devices(hub, after.as_ref(), PAGE).await?
        };
        hub.expected_devices.stored(&page, hub.now());
        hub.fleet.stored(hub, &page).await;
        if page.len() < PAGE {
            break;
        }
        after = page.into_iter().next_back().map(|view| view.identity.device_id);
        sleep(PAGE_PAUSE).await;
    }
    hub.expected_devices.end_round();
    hub.fleet.end_round().await;
    Ok(next)
}

/// Takes in what happens from `next` on. Says whether to read all again; otherwise the hub has ended.
async fn follow(hub: &Hub, mut next: Cursor) -> bool {
    loop {
        let Some(taken_in) = take_in_changes(hub, next).await else { return true };
        next = taken_in;
        while !let_time_pass(hub) {
            tokio::task::yield_now().await;
        }
        if let Ok(false) = timeout(LOOK_EVERY, hub.changes.wait_for(next.next)).await {
            return false;
        }
    }
}

/// Takes in what has happened from `next` on, and answers where to go on; `None` when some of it is not kept any more.
async fn take_in_changes(hub: &Hub, mut next: Cursor) -> Option<Cursor> {
    loop {
        let Span::Changes(changes) = hub.changes.read(&mut next) else { return None };
        if changes.is_empty() {
            return Some(next);
        }
        let (mut queues, mut happened) = (BTreeSet::new(), Vec::new());
        for published in changes {
            let view = match &published.change {
                Change::IdentityWritten(identity) => Some(DeviceView::of(hub, identity.as_ref().clone()).await),
                // Its queue is asked for once, however many of its commands there are.
                Change::Command(command, _) => {
                    queues.insert(command.device_id.clone());
                    continue;
                }
                _ => None,
            };
            hub.expected_devices.happened(&published.change, view.as_ref(), hub.now());
            happened.push((published, view));
        }
        hub.fleet.happened(hub, &happened, &queues).await;
    }
}
