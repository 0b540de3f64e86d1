//! `GET /api/v1/live`: everything that a browser shows live, over one WebSocket: what happens, how fast, how the fleet and the consumer groups
//! stand, and what devices send. docs/live.md.
//!
//! Owns who may be told what. A person's or a policy's right is asked for with each subscription, and each ends with its right.

mod request;
mod subscriptions;
mod told;
mod websocket;

use std::sync::{Arc, Weak};

use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::Response;

use super::authorization::{Caller, authorize_any, refuse_right};
use super::connection::HttpConnection;
use super::error::{ErrorDocument, Failure};
use super::events::json::{render, render_head};
use super::events::start_position;
use super::openapi::Refusals;
use crate::core::access::Need;
use crate::core::change::ChangeKind;
use crate::core::device_id::DeviceId;
use crate::core::event::{PartitionId, StartPosition};
use crate::core::tail::TailFilter;
use crate::ops::Hub;
use crate::ops::audit::BodiesReader;
use crate::ops::policies::LastingRight;
use crate::ops::seats::Seat;
use crate::ops::tail_events::{TailSelection, tail_events};
use crate::ops::watch_changes::{Interest, watch_changes};
use request::{SubscriptionId, Wanted, WantedEvents};
use subscriptions::Messages;

/// Handles `GET /api/v1/live`: everything that a browser shows live, over one WebSocket. The browser subscribes, `{"id":1,"subscribe":"changes"}`,
/// to `changes`, `rates`, `fleet`, `groups` or `events`, and unsubscribes, `{"id":1,"unsubscribe":true}`; each message that it gets is a JSON
/// object with the subscription's `id` and a `kind`.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    tag = "changes",
    responses(
        (status = 101, description = "A WebSocket. docs/live.md says what is said on it."),
        (status = 426, description = "InvalidOperation: this is a WebSocket's address.", body = ErrorDocument),
        (status = 429, description = "ThrottlingException: too many browsers; the header Retry-After says when to come again.", body = ErrorDocument),
        Refusals,
    ),
)]
pub async fn get_live(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    let Ok(connection) = HttpConnection::from_request_parts(&mut parts, &()).await;
    let (caller, _) = authorize_any(&parts, &hub, &[Need::SeeFleet, Need::SeeCommands]).await?;
    let handshake = super::websocket::handshake(&mut parts)?;
    let seat = hub.looks.browsers.take(&caller.principal())?;
    let browser = Browser { hub, caller, watching: Weak::new(), _seat: seat };
    let switching = handshake.go_on_with(&connection, move |upgraded| websocket::serve(upgraded, browser));
    // By the request that asked for the WebSocket; nothing else is asked on it.
    connection.authenticated();
    Ok(switching)
}

/// Whoever looks.
struct Browser {
    hub: Arc<Hub>,
    caller: Caller,
    /// The place of all that it watches of the changes, while it does.
    watching: Weak<Seat>,
    _seat: Seat,
}

impl Browser {
    /// The right to stay, whatever may be seen.
    fn right(&self) -> LastingRight {
        self.caller.lasting(&self.hub, &[])
    }

    /// What is told from now on to a subscription.
    async fn subscribe(&mut self, id: SubscriptionId, wanted: Wanted) -> Result<Messages, Failure> {
        let hub = Arc::clone(&self.hub);
        Ok(match wanted {
            Wanted::Rates => {
                let right = self.needs(&[Need::SeeFleet]).await?;
                told::newest(id, hub.rates.live.listen(), right, super::rates::json::render)
            }
            Wanted::Fleet => {
                let right = self.needs(&[Need::SeeFleet]).await?;
                told::newest(id, hub.looks.fleet.listen(), right, super::fleet::json::render_summary)
            }
            Wanted::Groups => {
                let right = self.needs(&[Need::SeeCommands]).await?;
                told::newest(id, hub.looks.groups.listen(), right, super::consumer_groups::render_now)
            }
            Wanted::Changes(kinds, devices, start) => {
                let kinds = kinds.unwrap_or_else(|| self.visible());
                let needs: Vec<Need> = kinds.iter().map(|kind| kind.need()).collect();
                let right = self.needs(&needs).await?;
                let watcher = watch_changes(&hub, self.watches()?, Interest { kinds, devices }, start);
                told::changes(id, hub, watcher, right)
            }
            Wanted::Events(wanted) => self.tail(id, *wanted).await?,
        })
    }

    /// The one place among those who watch the changes that all these subscriptions of a browser share.
    fn watches(&mut self) -> Result<Arc<Seat>, Failure> {
        if let Some(seat) = self.watching.upgrade() {
            return Ok(seat);
        }
        let seat = Arc::new(self.hub.changes.watchers.take(&self.caller.principal())?);
        self.watching = Arc::downgrade(&seat);
        Ok(seat)
    }

    /// What devices send; without what they write for somebody who may not read bodies.
    async fn tail(&self, id: SubscriptionId, wanted: WantedEvents) -> Result<Messages, Failure> {
        let WantedEvents { from, after, partition, device, property, text } = wanted;
        let filter = TailFilter { device, property: property.as_deref().map(TailFilter::property), text };
        let bodies = filter.looks_inside() || self.caller.may(&self.hub, Need::ReadBodies);
        let right = {
            let needs: &[Need] = if bodies { &[Need::SeeCommands, Need::ReadBodies] } else { &[Need::SeeCommands] };
            self.needs_for(needs, filter.device.as_ref()).await?
        };
        let from = match from.as_deref() {
            Some(text) => start_position(text).ok_or_else(|| {
                let wanted = "a start is earliest, latest, offset:<number>, sequence:<number> or time:<ISO 8601 with Z or an offset>";
                Failure::argument_invalid(format!("from is {text:?}, but {wanted}"))
            })?,
            None => StartPosition::Latest,
        };
        let device = filter.device.clone();
        let selection = TailSelection { partition: partition.map(PartitionId), from, after: after.unwrap_or_default(), filter };
        let tail = tail_events(&self.hub, &self.caller.principal(), selection).await?;
        // Who was let in, and before anything is read.
        let audited = if bodies { Some(BodiesReader::begin(&self.hub, self.caller.by(), device).await?) } else { None };
        Ok(told::events(id, tail, (right, audited), if bodies { render } else { render_head }))
    }

    /// Every kind of change that may be seen and need not be asked for.
    fn visible(&self) -> Vec<ChangeKind> {
        let shown = |kind: &ChangeKind| *kind != ChangeKind::Audit && self.caller.may(&self.hub, kind.need());
        ChangeKind::ALL.into_iter().filter(shown).collect()
    }

    /// The right to all of it, for as long as it lasts.
    async fn needs(&self, needs: &[Need]) -> Result<LastingRight, Failure> {
        self.needs_for(needs, None).await
    }

    /// The same, for something that is about a device.
    async fn needs_for(&self, needs: &[Need], device: Option<&DeviceId>) -> Result<LastingRight, Failure> {
        let device = device.map(DeviceId::as_str).unwrap_or_default();
        match needs.iter().find(|need| !self.caller.may(&self.hub, **need)) {
            Some(missing) => Err(refuse_right(&self.hub, &self.caller, *missing, device).await),
            None => Ok(self.caller.lasting(&self.hub, needs)),
        }
    }
}

#[cfg(test)]
mod tests;
