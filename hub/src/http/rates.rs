//! `GET /api/v1/rates` and `GET /api/v1/devices/{id}/rates`: how fast things have happened, step by step. Both need RegistryRead, or the right
//! Read.

pub mod json;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::authorization::RegistryReader;
use super::error::Failure;
use super::openapi::Refusals;
use super::registry::PathDevice;
use crate::core::command::Outcome;
use crate::core::device_rate::{DeviceRate, STEP};
use crate::core::rates::{Counted, FINE, Gauges, Span, Step, latency};
use crate::core::session::DisconnectReason;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::device_rates::device_rate;
use crate::ops::rates::{rates_since, refusal_names};

/// The query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RatesQuery {
    /// From when on, in ISO 8601; a quarter of an hour ago when absent. Up to that by the second, up to a day by 20 s.
    since: Option<String>,
}

/// How fast things have happened. Each array has one number for each step, the oldest first; the last step may not be over.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RatesView {
    /// When this was asked.
    #[schema(format = DateTime)]
    time: String,
    /// When the first step begins.
    #[schema(format = DateTime)]
    start: String,
    /// How long a step is: 1 or 20.
    step_seconds: u64,
    /// How many there are.
    steps: usize,
    /// Devices connected at the end of the step.
    connected: Vec<u32>,
    /// Connections that came.
    connects: Vec<u32>,
    /// Connections that ended, by reason; reasons that did not occur are left out.
    disconnects: BTreeMap<&'static str, Vec<u32>>,
    /// Device-to-cloud messages.
    events: EventSeries,
    /// Cloud-to-device messages.
    commands: CommandSeries,
    /// What became of receipts.
    receipts: ReceiptSeries,
    /// Those who were refused, by reason; reasons that did not occur are left out.
    refusals: BTreeMap<&'static str, Vec<u32>>,
    /// Connections turned away at the edge for being too many, requests answered 429, commands refused for full queues.
    throttled: Vec<u32>,
    /// What waited at the end of the step.
    backlog: BacklogSeries,
    /// How long commands took, in all steps together.
    latency: LatencyView,
}

/// Device-to-cloud messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSeries {
    /// Messages appended.
    messages: Vec<u32>,
    /// Their bytes, as they are stored.
    bytes: Vec<u32>,
}

/// Cloud-to-device messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandSeries {
    /// Commands taken.
    enqueued: Vec<u32>,
    /// Their bytes, as they are stored.
    bytes: Vec<u32>,
    /// Commands handed to devices, each time.
    delivered: Vec<u32>,
    /// Commands that ended, by outcome; outcomes that did not occur are left out.
    ended: BTreeMap<&'static str, Vec<u32>>,
}

/// What became of receipts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptSeries {
    /// Receipts that came to be, by their commands' outcomes; outcomes that did not occur are left out.
    made: BTreeMap<&'static str, Vec<u32>>,
    /// Receipts that a back end took.
    read: Vec<u32>,
    /// Receipts that nobody took.
    lost: Vec<u32>,
}

/// What waited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacklogSeries {
    /// Commands in their queues.
    enqueued: Vec<u32>,
    /// Commands that were locked by a delivery.
    delivered: Vec<u32>,
    /// How old the oldest of both was at the end of the step; `null` when there was none.
    oldest_seconds: Vec<Option<u64>>,
    /// Receipts in the feedback queue.
    receipts: Vec<u32>,
}

/// How long commands took: for each bound the number of those that took so long or less and longer than the bound before; the last number
/// is of those that took longer than all.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyView {
    /// The bounds, in milliseconds.
    up_to_ms: [u64; latency::UP_TO_MS.len()],
    /// From when they were taken to their first delivery.
    enqueued_to_delivered: Vec<u64>,
    /// From their last delivery to their completion.
    delivered_to_completed: Vec<u64>,
    /// From when they were taken to their completion.
    enqueued_to_completed: Vec<u64>,
}

/// Handles `GET /api/v1/rates`: how fast things have happened since then, as far as the hub remembers: a day at most, and not before it began.
#[utoipa::path(
    get,
    path = "/api/v1/rates",
    tag = "hub",
    params(RatesQuery),
    responses((status = 200, description = "What was counted, step by step.", body = RatesView), Refusals),
)]
pub async fn get_rates(
    _: RegistryReader,
    State(hub): State<Arc<Hub>>,
    query: Result<Query<RatesQuery>, QueryRejection>,
) -> Result<Json<RatesView>, Failure> {
    let Query(query) = query.map_err(|rejection| Failure::argument_invalid(rejection.body_text()))?;
    let now = hub.now();
    let since = match query.since.as_deref() {
        Some(text) => text.parse().map_err(|_| Failure::argument_invalid(format!("since is {text:?}, but a time is ISO 8601")))?,
        None => UnixMillis(now.0.saturating_sub_unsigned(u64::try_from(FINE.reach().as_millis()).unwrap_or(u64::MAX))),
    };
    let nothing_yet = || Span { start: now, step: FINE.step, steps: Vec::new() };
    Ok(Json(view(&rates_since(&hub, since, now).unwrap_or_else(nothing_yet), now)))
}

/// How many messages a device has sent, minute by minute.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRatesView {
    /// Whose.
    device_id: String,
    /// When this was asked.
    #[schema(format = DateTime)]
    time: String,
    /// When the first step begins: nothing before it was counted, or is kept.
    #[schema(format = DateTime)]
    start: String,
    /// How long a step is: 60.
    step_seconds: u64,
    /// How many there are: 60 at most, and none when this device is not counted.
    steps: usize,
    /// Messages appended in each step, the oldest first; the last step is not over.
    messages: Vec<u32>,
}

/// Handles `GET /api/v1/devices/{id}/rates`: how many messages a device has sent in the last sixty minutes, as far as the hub remembers. Also
/// of a deleted device.
#[utoipa::path(
    get,
    path = "/api/v1/devices/{id}/rates",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    responses((status = 200, description = "What was counted, minute by minute.", body = DeviceRatesView), Refusals),
)]
pub async fn get_device_rates(_: RegistryReader, State(hub): State<Arc<Hub>>, PathDevice(id): PathDevice) -> Json<DeviceRatesView> {
    let now = hub.now();
    let DeviceRate { start, messages } = device_rate(&hub, &id, now);
    Json(DeviceRatesView {
        device_id: id.to_string(),
        time: now.to_string(),
        start: start.to_string(),
        step_seconds: STEP.as_secs(),
        steps: messages.len(),
        messages,
    })
}

fn view(span: &Span, now: UnixMillis) -> RatesView {
    let Span { start, step, steps } = span;
    let one = |counted: Counted| steps.iter().map(|step| step.counts.one(counted)).collect::<Vec<_>>();
    let gauge = |of: fn(&Gauges) -> u32| steps.iter().map(|step| of(&step.gauges)).collect::<Vec<_>>();
    RatesView {
        time: now.to_string(),
        start: start.to_string(),
        step_seconds: step.as_secs(),
        steps: steps.len(),
        connected: gauge(|gauges| gauges.connected),
        connects: one(Counted::Connects),
        disconnects: named(steps, Counted::Disconnects, DisconnectReason::ALL.map(DisconnectReason::name)),
        events: EventSeries { messages: one(Counted::EventMessages), bytes: one(Counted::EventBytes) },
        commands: CommandSeries {
            enqueued: one(Counted::CommandsEnqueued),
            bytes: one(Counted::CommandBytes),
            delivered: one(Counted::CommandsDelivered),
            ended: named(steps, Counted::CommandsEnded, Outcome::ALL.map(Outcome::name)),
        },
        receipts: ReceiptSeries {
            made: named(steps, Counted::ReceiptsMade, Outcome::ALL.map(Outcome::name)),
            read: one(Counted::ReceiptsRead),
            lost: one(Counted::ReceiptsLost),
        },
        refusals: named(steps, Counted::Refusals, refusal_names().iter().copied()),
        throttled: one(Counted::Throttled),
        backlog: BacklogSeries {
            enqueued: gauge(|gauges| gauges.commands_enqueued),
            delivered: gauge(|gauges| gauges.commands_delivered),
            oldest_seconds: ages(span, now),
            receipts: gauge(|gauges| gauges.receipts_waiting),
        },
        latency: LatencyView {
            up_to_ms: latency::UP_TO_MS,
            enqueued_to_delivered: sums(steps, Counted::EnqueuedToDelivered),
            delivered_to_completed: sums(steps, Counted::DeliveredToCompleted),
            enqueued_to_completed: sums(steps, Counted::EnqueuedToCompleted),
        },
    }
}

/// A series for each name that occurs.
fn named(steps: &[Step], counted: Counted, names: impl IntoIterator<Item = &'static str>) -> BTreeMap<&'static str, Vec<u32>> {
    let series = |(place, name)| {
        let counts: Vec<u32> = steps.iter().map(|step| step.counts.of(counted).get(place).copied().unwrap_or_default()).collect();
        counts.iter().any(|count| *count > 0).then_some((name, counts))
    };
    names.into_iter().enumerate().filter_map(series).collect()
}

fn sums(steps: &[Step], counted: Counted) -> Vec<u64> {
    let mut sums = vec![0; latency::BUCKETS];
    for step in steps {
        for (sum, count) in sums.iter_mut().zip(step.counts.of(counted)) {
            *sum += u64::from(*count);
        }
    }
    sums
}

/// How old the oldest command was at the end of each step, or is now in the one that is not over.
fn ages(span: &Span, now: UnixMillis) -> Vec<Option<u64>> {
    let mut end = span.start;
    let age = |step: &Step| {
        end = end.plus(span.step);
        step.gauges.oldest_command.map(|oldest| end.min(now).since(oldest).as_secs())
    };
    span.steps.iter().map(age).collect()
}

#[cfg(test)]
mod tests;
