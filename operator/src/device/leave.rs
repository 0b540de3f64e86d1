//! The end of an operator whose own namespace is being deleted: it lets Devices go before it ends.
//!
//! Kubernetes takes a namespace's Pods first and waits for them; the Devices come later, when there is no operator any more to let them go,
//! and the namespace would never end. That an operator ends for any other reason means nothing: the next one sees to what is left.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::DeviceName;
use super::context::Context;
use super::delete::{goes_with_its_hub, leave_hub, let_go, read};
use super::index::Seen;
use super::reconcile::ReconcileError;
use crate::hub::HubKey;

/// For reconciles to end, and when nobody is left to see to Devices later: then the time is theirs.
const RECONCILES_MAX: Duration = Duration::from_secs(20);
const RECONCILES_MAX_AT_HOMES_END: Duration = Duration::from_secs(4);

/// For all Devices together.
const LEAVING_MAX: Duration = Duration::from_secs(40);

/// How long a hub that stays may take to give an identity up. The Device goes without that, too.
const HUB_MAX: Duration = Duration::from_secs(5);

/// How many go at the same time.
const AT_ONCE: usize = 64;

/// How often, and how soon again, one is tried.
const ATTEMPTS: u32 = 4;
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Works until it is told to stop and what has begun has ended; then, if `home`, the operator's own namespace, ends as well, lets Devices go.
pub async fn after(context: &Context, home: Option<&str>, stop: &CancellationToken, work: impl Future) {
    let too_long = async {
        stop.cancelled().await;
        sleep(if is_home_ending(context, home).await { RECONCILES_MAX_AT_HOMES_END } else { RECONCILES_MAX }).await;
    };
    tokio::select! {
        _ = pin!(work) => {}
        () = too_long => warn!("some reconciles did not end in time, and are left as they are"),
    }
    if is_home_ending(context, home).await {
        leave(context).await;
    }
}

async fn is_home_ending(context: &Context, home: Option<&str>) -> bool {
    let Some(home) = home else { return false };
    match context.endings.is_ending_now(&context.client, home).await {
        Ok(is_ending) => is_ending,
        Err(error) => {
            warn!("nobody can say whether the namespace {home} is being deleted: {error}");
            false
        }
    }
}

/// Lets all Devices go whose namespaces are being deleted.
pub async fn leave(context: &Context) {
    let names = context.all_shown();
    let (all, silent) = (names.len(), Silent::default());
    let going = stream::iter(names).map(|name| one(context, &silent, name)).buffer_unordered(AT_ONCE);
    let mut going = pin!(going.take_until(sleep(LEAVING_MAX)));
    let (mut seen_to, mut let_go, mut left_behind, mut failure) = (0, 0, 0, None);
    while let Some(gone) = going.next().await {
        match gone {
            Ok(gone) => {
                seen_to += 1;
                let_go += usize::from(gone != Gone::NotAsked);
                left_behind += usize::from(gone == Gone::LeftBehind);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    info!("{let_go} Devices are let go: their namespace is being deleted, and the operator with it");
    if seen_to < all {
        let why = failure.map_or_else(|| "there was no more time".to_owned(), |error| error.to_string());
        warn!("{} Devices are not let go, take their finalizers off: {why}", all - seen_to);
    }
    if left_behind > 0 {
        warn!("{left_behind} identities are left behind in hubs that did not answer, and are to be deleted there");
    }
}

/// Hubs that have not answered, and are not asked again: one silence is short, ten thousand are not.
type Silent = Mutex<HashSet<HubKey>>;

/// What became of a Device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// It stays, or was not held by us.
    NotAsked,
    /// It goes, and its identity has.
    WithIdentity,
    /// It goes. Its identity is in a hub that stays and does not answer.
    LeftBehind,
}

async fn one(context: &Context, silent: &Silent, name: DeviceName) -> Result<Gone, ReconcileError> {
    let mut attempt = 0;
    loop {
        match attempt_once(context, silent, &name).await {
            // Somebody else may have changed the finalizers.
            Err(_) if attempt < ATTEMPTS => sleep(AGAIN_AFTER * 2_u32.pow(attempt)).await,
            done => return done,
        }
        attempt += 1;
    }
}

async fn attempt_once(context: &Context, silent: &Silent, name: &DeviceName) -> Result<Gone, ReconcileError> {
    if !context.is_ending(&name.namespace).await? {
        return Ok(Gone::NotAsked);
    }
    // As it is now: the watch has ended.
    let Some((seen, metadata)) = read(context, name).await? else { return Ok(Gone::NotAsked) };
    if !seen.has_finalizer {
        return Ok(Gone::NotAsked);
    }
    let mut gone = Gone::WithIdentity;
    if !goes_with_its_hub(context, &seen).await? && !has_left(context, silent, &seen).await {
        gone = Gone::LeftBehind;
    }
    let_go(context, &seen, &metadata).await?;
    Ok(gone)
}

/// Takes the identity out of a hub that stays, if that answers soon.
async fn has_left(context: &Context, silent: &Silent, seen: &Seen) -> bool {
    let hubs = || silent.lock().unwrap_or_else(PoisonError::into_inner);
    if hubs().contains(&seen.hub) {
        return false;
    }
    match timeout(HUB_MAX, leave_hub(context, seen)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            debug!(device = %seen.name, "the identity of the Device {} is left behind: {error}", seen.name);
            false
        }
        Err(_) => {
            hubs().insert(seen.hub.clone());
            false
        }
    }
}
