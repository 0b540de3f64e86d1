//! How the groups stand: who reads, how far each has come, and what is behind that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::core::consumer_group::ConsumerGroup;
use crate::core::event::{PartitionId, PartitionInfo, SequenceNumber};
use crate::core::reader_position::ReaderPosition;
use crate::core::reader_seats::Seated;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::EventLog;

use super::seat::{Reader, ReaderClient};
use super::{ConsumerGroups, Place};

/// How long an age is waited for: a disk that does not answer must not keep anybody from hearing the rest.
const AGES_AWAITED: Duration = Duration::from_secs(1);

/// How a group stands.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Its name, as it was configured.
    pub name: ConsumerGroup,
    /// Partition by partition.
    pub partitions: Vec<PlaceStatus>,
}

/// How a group stands in one partition.
#[derive(Clone, Debug)]
pub struct PlaceStatus {
    /// Which.
    pub partition: PartitionId,
    /// What the partition holds.
    pub info: PartitionInfo,
    /// Where the group stands; `None` when nobody has read there, as far as is remembered.
    pub position: Option<ReaderPosition>,
    /// When the oldest event was enqueued that is kept and was not given; `None` when there is none, or it is not known yet: the group has moved
    /// since somebody looked.
    pub oldest_unread_time: Option<UnixMillis>,
    /// Who reads now, the one that came first at the beginning.
    pub readers: Vec<ReaderStatus>,
}

/// Somebody who reads.
#[derive(Clone, Debug)]
pub struct ReaderStatus {
    /// Its epoch, if it has one.
    pub epoch: Option<i64>,
    /// Since when.
    pub since: UnixMillis,
    /// Where it stands; `None` until it has said so.
    pub position: Option<ReaderPosition>,
    /// Who it is; `None` until it has said so.
    pub client: Option<ReaderClient>,
}

impl PlaceStatus {
    /// How many events that are kept were not given; `None` when nobody knows where the group stands.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.position.map(|position| position.lag(&self.info))
    }

    /// How old the oldest of these events is, zero when there is none; `None` when that is not known.
    #[must_use]
    pub fn lag_time(&self, now: UnixMillis) -> Option<Duration> {
        if self.lag()? == 0 { Some(Duration::ZERO) } else { self.oldest_unread_time.map(|time| now.since(time)) }
    }
}

/// The groups as they stand, with ages that are looked up as far as they are not known.
pub async fn describe_consumer_groups(hub: &Arc<Hub>) -> Vec<GroupStatus> {
    look_up_ages(hub).await;
    hub.consumer_groups.status(&*hub.events)
}

/// Looks up when the oldest events were enqueued that were not given. It reads one event for each partition of a group that has moved and is
/// behind, once; where nobody reads, nothing moves. What can't be read has no age. One look-up is under way at a time; it is waited for one
/// second, and goes on then.
pub async fn look_up_ages(hub: &Arc<Hub>) {
    let looking = async {
        let turn = Arc::clone(&hub.consumer_groups.0.looking).lock_owned().await;
        let hub = Arc::clone(hub);
        let task = tokio::spawn(async move {
            let _turn = turn;
            look_up(&hub).await;
        });
        if let Err(error) = task.await {
            tracing::error!(%error, "the look-up of ages has ended: {error}");
        }
    };
    let _ = timeout(AGES_AWAITED, looking).await;
}

async fn look_up(hub: &Hub) {
    let mut times: BTreeMap<(PartitionId, SequenceNumber), Option<UnixMillis>> = BTreeMap::new();
    for (group, partition, oldest) in hub.consumer_groups.unknown_ages(&*hub.events) {
        let time = match times.get(&(partition, oldest)) {
            Some(time) => *time,
            None => enqueued_time(hub, partition, oldest).await,
        };
        times.insert((partition, oldest), time);
        if let Some(time) = time {
            hub.consumer_groups.age_known(&group, partition, (oldest, time));
        }
    }
}

async fn enqueued_time(hub: &Hub, partition: PartitionId, number: SequenceNumber) -> Option<UnixMillis> {
    let time = hub.events.enqueued_time(partition, number).await;
    time.inspect_err(|error| tracing::debug!(%error, "the age of an event can't be read: {error}")).ok()?
}

impl ConsumerGroups {
    /// How they stand, by what is known; an age is that of the last look.
    #[must_use]
    pub fn status(&self, log: &dyn EventLog) -> Vec<GroupStatus> {
        let groups = self.0.groups();
        let of_place = |(number, place): (u16, &Place)| {
            let partition = PartitionId(number);
            Some(place.status(partition, log.partition(partition)?))
        };
        let status = |group: &super::Group| GroupStatus {
            name: group.name.clone(),
            partitions: (0..).zip(&group.places).filter_map(of_place).collect(),
        };
        groups.all.iter().map(status).collect()
    }

    /// The oldest events not given whose age is not known.
    fn unknown_ages(&self, log: &dyn EventLog) -> Vec<(ConsumerGroup, PartitionId, SequenceNumber)> {
        let groups = self.0.groups();
        let mut unknown = Vec::new();
        for group in &groups.all {
            for (partition, place) in (0..).map(PartitionId).zip(&group.places) {
                let info = log.partition(partition);
                let oldest = place.position().zip(info).and_then(|(position, info)| position.oldest_unread(&info));
                if let Some(oldest) = oldest.filter(|oldest| place.oldest_unread.is_none_or(|(known, _)| known != *oldest)) {
                    unknown.push((group.name.clone(), partition, oldest));
                }
            }
        }
        unknown
    }

    fn age_known(&self, group: &ConsumerGroup, partition: PartitionId, oldest: (SequenceNumber, UnixMillis)) {
        if let Some(place) = self.0.groups().place(group, partition) {
            place.oldest_unread = Some(oldest);
        }
    }
}

impl Place {
    fn status(&self, partition: PartitionId, info: PartitionInfo) -> PlaceStatus {
        let position = self.position();
        let oldest_unread = position.and_then(|position| position.oldest_unread(&info));
        let known = self.oldest_unread.filter(|(number, _)| oldest_unread == Some(*number));
        PlaceStatus {
            partition,
            info,
            position,
            oldest_unread_time: known.map(|(_, time)| time),
            readers: self.seats.iter().map(reader_status).collect(),
        }
    }
}

fn reader_status(seated: &Seated<std::sync::Arc<Reader>>) -> ReaderStatus {
    let Seated { id: _, epoch, reader } = seated;
    let state = reader.state();
    ReaderStatus { epoch: *epoch, since: reader.since, position: state.position, client: state.client.clone() }
}
