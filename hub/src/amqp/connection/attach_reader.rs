//! Links that are to read a partition: whether there is such a place, where to begin, and who has to go for it.
//!
//! Refused in Event Hubs' way: the link is granted and ended at once, because there are clients that stumble over an attach without source
//! and target.

use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::primitives::{Array, Symbol};
use serde_amqp::Value;

use super::held_back::{HeldBack, LinkRefused};
use super::lasting_right::LastingRight;
use super::readers::Reader;
use super::{Conversation, Place, conditions};
use crate::amqp::engine::AttachRequest;
use crate::amqp::{filter, management};
use crate::core::event::PartitionId;
use crate::ops::consumer_groups::ReaderClient;
use crate::ops::read_partition::read_partition;

/// The owner level of a reader that wants to read alone.
const EPOCH: &str = "com.microsoft:epoch";

/// What a reader calls itself.
const RECEIVER_NAME: &str = "com.microsoft:receiver-name";

/// The wish to be told with each event how far the partition is.
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

/// What a reader's address says.
pub struct Wanted<'a> {
    /// The Event Hub-compatible name.
    pub name: &'a str,
    /// The consumer group.
    pub group: &'a str,
    /// The partition's id.
    pub partition: &'a str,
}

impl Conversation<'_> {
    /// Answers a link that would read a partition.
    pub(super) fn attach_reader(&mut self, request: &AttachRequest, wanted: &Wanted<'_>) {
        let (right, reader) = match self.reader(request, wanted) {
            Ok(reader) => reader,
            Err(LinkRefused { error, not_before }) => {
                let grant = Box::new(request.as_asked(0));
                return self.hold_back(not_before, HeldBack::GrantedLink { link: request.link, grant, error });
            }
        };
        let mut acceptance = request.as_asked(0);
        acceptance.source.filter = request.source.as_ref().and_then(|source| source.filter.clone());
        acceptance.offered_capabilities = wants_metrics(request).then(|| Array(vec![Symbol::from(RUNTIME_METRIC)]));
        self.links.insert(request.link, Place::Partition);
        self.rights.granted(request.link, right);
        self.rights_changed();
        self.add_reader(request.link, reader);
        if !self.engine.accept_link(request.link, acceptance) {
            self.detached(request.link);
        }
    }

    /// An old reader that asks at the hub's own address is told where events are read.
    pub(super) fn redirect(&mut self, request: &AttachRequest, rest: &str) {
        let LinkRefused { error, not_before } = match self.let_in_back_end(management::EVENTS.to_owned()) {
            Ok(_) => conditions::redirect(self.host, rest).into(),
            Err(refusal) => refusal,
        };
        self.hold_back(not_before, HeldBack::Link { link: request.link, error });
    }

    /// The right first, so that a refusal tells nobody what there is; the seat last, so that nobody goes for a reader that is not let in.
    fn reader(&mut self, request: &AttachRequest, wanted: &Wanted<'_>) -> Result<(LastingRight, Reader), LinkRefused> {
        let Wanted { name, group, partition } = *wanted;
        let resource = format!("{}/ConsumerGroups/{group}/Partitions/{partition}", management::EVENTS);
        let right = self.let_in_back_end(resource)?;
        let hub = self.hub;
        if !management::is_event_hub(&hub.names, name) {
            return Err(conditions::no_such_node().into());
        }
        let partition = PartitionId::parse(partition).ok_or_else(conditions::no_such_partition)?;
        let filters = request.source.as_ref().and_then(|source| source.filter.as_ref());
        let from = filter::start_position(filters).map_err(|refusal| conditions::no_filter(&refusal))?;
        let epoch = epoch(request)?;
        let source = read_partition(hub, right.policy(), partition, from).map_err(|error| conditions::not_read(&error))?;
        let seat = hub.consumer_groups.sit(group, partition, epoch, self.bell.clone());
        let seat = seat.map_err(|refusal| conditions::no_seat(refusal, epoch))?;
        let called = match property(request, RECEIVER_NAME) {
            Some(Value::String(name)) => name,
            _ => &request.name,
        };
        let policy = right.policy().to_owned();
        seat.is_for(ReaderClient { name: called.as_str().into(), address: self.origin.peer.ip(), policy });
        Ok((right, Reader::new(seat, source, wants_metrics(request))))
    }
}

fn property<'a>(request: &'a AttachRequest, name: &str) -> Option<&'a Value> {
    request.properties.as_ref()?.iter().find_map(|(key, value)| (key.as_str() == name).then_some(value))
}

/// One that can't be read is refused: a reader that would be alone must not share.
fn epoch(request: &AttachRequest) -> Result<Option<i64>, Error> {
    match property(request, EPOCH) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Long(epoch)) => Ok(Some(*epoch)),
        Some(Value::Int(epoch)) => Ok(Some((*epoch).into())),
        Some(_) => Err(conditions::argument(&format!("{EPOCH} is a long"))),
    }
}

fn wants_metrics(request: &AttachRequest) -> bool {
    request.desired_capabilities.as_ref().is_some_and(|wanted| wanted.0.iter().any(|wish| wish.as_str() == RUNTIME_METRIC))
}
