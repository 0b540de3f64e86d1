//! What a subscription is told, as messages.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::request::SubscriptionId;
use super::subscriptions::Messages;
use crate::core::event::PartitionId;
use crate::core::tail::Tally;
use crate::http::changes::feed::{Feed, Message};
use crate::ops::audit::BodiesReader;
use crate::ops::live::Listener;
use crate::ops::policies::{LastingRight, RightLost};
use crate::ops::tail_events::{Tail, TailNews};
use crate::ops::watch_changes::Watcher;
use crate::ops::{Hub, StoredEvent};

/// How long what happens is collected: whoever publishes a change wakes those who wait for it, and is not to wake every browser each time.
const COLLECTED_FOR: Duration = Duration::from_millis(100);

/// What happens, as the change stream says it.
pub fn changes(id: SubscriptionId, hub: Arc<Hub>, watcher: Watcher, right: LastingRight) -> Messages {
    let begin = format!("\"id\":{id},");
    stream::unfold((Feed::new(watcher, right), hub, Instant::now()), move |(mut feed, hub, rested)| {
        let begin = begin.clone();
        async move {
            tokio::select! {
                () = sleep_until(rested) => {}
                // The last things are told before the end.
                () = hub.changes.ended() => {}
            }
            let messages: Vec<Message> = feed.next().await?;
            let texts = messages.iter().map(|message| message.whole(&begin)).collect();
            // How things stand is told as fast as it is taken.
            let happened = messages.last().is_some_and(|message| message.position.is_some());
            let rested = if happened { Instant::now() + COLLECTED_FOR } else { rested };
            Some((texts, (feed, hub, rested)))
        }
    })
    .boxed()
}

/// The newest of what is told over and over.
pub fn newest<T: Send + Sync + 'static>(
    id: SubscriptionId,
    listener: Listener<T>,
    right: LastingRight,
    render: fn(&T) -> String,
) -> Messages {
    stream::unfold(Some((listener, right)), move |state| async move {
        let (mut listener, mut right) = state?;
        let told = tokio::select! {
            biased;
            lost = right.lost() => return Some((vec![no_more(id, lost)], None)),
            told = listener.next() => told,
        };
        let (told, skipped) = told?;
        let skipped = if skipped == 0 { String::new() } else { format!("\"skipped\":{skipped},") };
        let text = format!("{{\"id\":{id},{skipped}{}", told.text(render).strip_prefix('{').unwrap_or_default());
        Some((vec![text], Some((listener, right))))
    })
    .boxed()
}

/// What devices send, for somebody with a right, who is written down when he reads bodies; `render` makes the text of an event.
pub fn events(
    id: SubscriptionId,
    tail: Tail,
    reads: (LastingRight, Option<BodiesReader>),
    render: fn(PartitionId, &StoredEvent) -> String,
) -> Messages {
    stream::unfold(Some((tail, reads)), move |state| async move {
        let (mut tail, (mut right, mut audited)) = state?;
        let not_audited = async {
            match &mut audited {
                Some(audited) => audited.cannot_go_on().await,
                None => pending().await,
            }
        };
        let news = tokio::select! {
            biased;
            lost = right.lost() => return Some((vec![no_more(id, lost)], None)),
            error = not_audited => {
                tracing::error!(%error, "somebody who looks at events is told no more, because that can't be written down: {error}");
                return Some((vec![problem(id, Some("ServiceUnavailable"), "who reads can't be written into the audit now")], None));
            }
            news = tail.next() => news,
        };
        let news = match news {
            Ok(news) => news,
            Err(error) => {
                tracing::warn!(%error, "somebody who looks at events is told no more: {error}");
                return Some((vec![problem(id, Some("ServiceUnavailable"), "events can't be read now")], None));
            }
        };
        let TailNews { position, tally, behind, events } = news;
        let Tally { matched, sampled_out, passed_over, unread } = tally;
        let events = events.iter().map(|(partition, event)| render(*partition, event)).collect::<Vec<_>>().join(",");
        let text = format!(
            "{{\"id\":{id},\"kind\":\"events\",\"position\":\"{position}\",\"matched\":{matched},\"sampledOut\":{sampled_out},\
             \"passedOver\":{passed_over},\"unread\":{unread},\"behind\":{behind},\"events\":[{events}]}}"
        );
        Some((vec![text], Some((tail, (right, audited)))))
    })
    .boxed()
}

/// The last message of a subscription whose right is lost.
pub fn no_more(id: SubscriptionId, lost: RightLost) -> String {
    problem(id, None, &lost.to_string())
}

/// That a subscription, or with the id 0 the link, can't be or go on.
pub fn problem(id: SubscriptionId, code: Option<&str>, message: &str) -> String {
    match code {
        Some(code) => json!({ "id": id, "kind": "problem", "code": code, "message": message }),
        None => json!({ "id": id, "kind": "problem", "message": message }),
    }
    .to_string()
}
