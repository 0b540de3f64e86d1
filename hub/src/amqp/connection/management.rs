//! Requests to `$management`: what there is to read, told to whoever may read it.
//!
//! Anybody may attach here, because there are clients that ask before they have shown a token anywhere else: they show it in the request. A
//! stranger is held by a stranger's limits, and each request without a right is refused as everybody is.

use tokio::time::Instant;

use super::answers::AnswerReceiver;
use super::{Conversation, conditions};
use crate::amqp::engine::Delivery;
use crate::amqp::management::{self, ReadProperties, Refusal};
use crate::amqp::message;
use crate::core::event::PartitionId;

/// What a right has to cover to read properties, as a path in the hub.
const RESOURCE: &str = "messages/events/$management";

impl Conversation<'_> {
    /// A request for properties.
    pub(super) async fn read_properties(&mut self, delivery: &Delivery) {
        let request = match message::read(&delivery.payload) {
            Ok(request) => request,
            Err(no_message) => {
                let outcome = conditions::NotTaken::from(no_message).outcome();
                return self.engine.settle(delivery.link, delivery.id, outcome);
            }
        };
        let id = request.properties.message_id.clone();
        let mut not_before = None;
        let (answer, reply_to) = match ReadProperties::read(&request) {
            Ok(read) => {
                let answer = match self.properties(&read, &mut not_before).await {
                    Ok(body) => management::properties(id, body),
                    Err(refusal) => management::refusal(id, refusal),
                };
                (answer, read.reply_to)
            }
            Err(nothing) => (management::refusal(id, Refusal::BadRequest(nothing)), request.properties.reply_to.clone()),
        };
        let reply_to = reply_to.map(|name| name.into_owned().into());
        self.answer_request(delivery, not_before, AnswerReceiver::Management { reply_to }, &answer);
    }

    /// The properties that are asked for, encoded. A token in the request counts as one that was brought to `$cbs`. Whoever has no right
    /// hears so `not_before` some time.
    async fn properties(&mut self, read: &ReadProperties<'_>, not_before: &mut Option<Instant>) -> Result<Vec<u8>, Refusal> {
        if let Some(token) = &read.security_token
            && let Err(refused) = self.take_token(None, token).await
        {
            *not_before = refused.not_before();
            return Err(Refusal::Unauthorized);
        }
        if let Err(refused) = self.let_in_back_end(RESOURCE.to_owned()) {
            *not_before = Some(refused.not_before);
            return Err(Refusal::Unauthorized);
        }
        let hub = self.hub;
        if !management::is_event_hub(&hub.names, &read.name) {
            return Err(Refusal::NotFound);
        }
        let name = hub.names.event_hub_name();
        let Some(partition) = &read.partition else {
            return Ok(management::event_hub(name, hub.started_time, hub.events.partition_count().get()));
        };
        let partition = PartitionId::parse(partition).ok_or(Refusal::NotFound)?;
        let info = hub.events.partition(partition).ok_or(Refusal::NotFound)?;
        Ok(management::partition(name, partition, &info))
    }
}
