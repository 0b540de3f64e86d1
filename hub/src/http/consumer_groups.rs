//! `GET /api/v1/consumer-groups`: which consumer groups there are, who reads in them, and how far behind each is. Needs ServiceConnect, as
//! reading events does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::authorization::CommandReader;
use super::openapi::Refusals;
use crate::core::event::SequenceNumber;
use crate::core::reader_position::ReaderPosition;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::ops::consumer_groups::{GroupStatus, PlaceStatus, ReaderStatus, describe_consumer_groups};
use crate::ops::live::GroupsNow;

/// All consumer groups.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupsView {
    /// `$Default` first, then as they are configured.
    consumer_groups: Vec<ConsumerGroupView>,
}

/// A consumer group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupView {
    /// As it is configured.
    name: String,
    /// How it stands in each partition.
    partitions: Vec<GroupPartitionView>,
}

/// How a consumer group stands in a partition.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupPartitionView {
    /// Which, from 0.
    partition: u16,
    /// The last event that the reader was given, or that it passed over by where it began; -1 before the first event; `null` when nobody has
    /// read here, as far as is known.
    last_delivered_sequence_number: Option<i64>,
    /// When that event was enqueued; `null` also when the last reader was given none.
    #[schema(format = DateTime)]
    last_delivered_enqueued_time: Option<String>,
    /// When it was delivered, or when the reader began.
    #[schema(format = DateTime)]
    last_delivered_time: Option<String>,
    /// The last event of the partition; -1 before the first.
    last_enqueued_sequence_number: i64,
    /// When that was enqueued.
    #[schema(format = DateTime)]
    last_enqueued_time: Option<String>,
    /// How many events are kept that were not delivered; `null` when it is not known where the group stands.
    lag_events: Option<u64>,
    /// How old the oldest of them is, in seconds; 0 when there is none; `null` while that is not known.
    lag_seconds: Option<u64>,
    /// Who reads now, the one that came first at the beginning.
    readers: Vec<GroupReaderView>,
}

/// Somebody who reads a partition in a consumer group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupReaderView {
    /// Its epoch, also called owner level; `null` when it has none.
    epoch: Option<i64>,
    /// Since when it reads.
    #[schema(format = DateTime)]
    since: String,
    /// What it calls itself.
    name: Option<String>,
    /// The IP address it came from.
    address: Option<String>,
    /// The policy that let it in.
    policy: Option<String>,
    /// The last event that it was given, or passed over by where it began; -1 before the first.
    last_delivered_sequence_number: Option<i64>,
}

/// Handles `GET /api/v1/consumer-groups`.
#[utoipa::path(
    get,
    path = "/api/v1/consumer-groups",
    tag = "events",
    responses((status = 200, description = "The consumer groups as they stand now.", body = ConsumerGroupsView), Refusals),
)]
pub async fn list_consumer_groups(_: CommandReader, State(hub): State<Arc<Hub>>) -> Json<ConsumerGroupsView> {
    let groups = describe_consumer_groups(&hub).await;
    Json(view(&groups, hub.now()))
}

/// One message for those who look all the time: a JSON object on one line.
pub fn render_now(now: &GroupsNow) -> String {
    let GroupsNow { time, groups } = now;
    let mut message = json!(view(groups, *time));
    message["kind"] = "groups".into();
    message["time"] = time.to_string().into();
    message.to_string()
}

fn view(groups: &[GroupStatus], now: UnixMillis) -> ConsumerGroupsView {
    ConsumerGroupsView { consumer_groups: groups.iter().map(|group| group_view(group, now)).collect() }
}

fn group_view(group: &GroupStatus, now: UnixMillis) -> ConsumerGroupView {
    let partitions = group.partitions.iter().map(|place| partition_view(place, now)).collect();
    ConsumerGroupView { name: group.name.to_string(), partitions }
}

fn partition_view(place: &PlaceStatus, now: UnixMillis) -> GroupPartitionView {
    let PlaceStatus { partition, info, position, oldest_unread_time: _, readers } = place;
    GroupPartitionView {
        partition: partition.0,
        last_delivered_sequence_number: position.map(last),
        last_delivered_enqueued_time: position.and_then(|position| position.enqueued_time).map(|time| time.to_string()),
        last_delivered_time: position.map(|position| position.time.to_string()),
        last_enqueued_sequence_number: before(info.next_sequence_number),
        last_enqueued_time: info.last_enqueued_time.map(|time| time.to_string()),
        lag_events: place.lag(),
        lag_seconds: place.lag_time(now).map(|time| time.as_secs()),
        readers: readers.iter().map(reader_view).collect(),
    }
}

fn reader_view(reader: &ReaderStatus) -> GroupReaderView {
    let ReaderStatus { epoch, since, position, client } = reader;
    let client = client.as_ref();
    GroupReaderView {
        epoch: *epoch,
        since: since.to_string(),
        name: client.map(|client| client.name.to_string()),
        address: client.map(|client| client.address.to_string()),
        policy: client.map(|client| client.policy.clone()),
        last_delivered_sequence_number: position.map(last),
    }
}

fn last(position: ReaderPosition) -> i64 {
    before(position.next)
}

/// The number before `next`, as Azure's clients say it: -1 for none.
fn before(next: SequenceNumber) -> i64 {
    i64::try_from(next.0).map_or(i64::MAX, |next| next - 1)
}

#[cfg(test)]
mod tests;
