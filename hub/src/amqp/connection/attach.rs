//! Links that are asked for: where each leads, whether whoever asks may go there, and what it is granted.

use fe2o3_amqp_types::definitions::Error;

use super::{Conversation, Place, conditions};
use crate::amqp::address::Node;
use crate::amqp::engine::{AttachRequest, Role};
use crate::ops::authenticate::AuthenticateError;

/// How many transfers a device may have sent that are not answered: as many as one connection may have waiting for the disk. What they take
/// is bounded for the whole connection, by [`crate::amqp::receipts`].
const EVENTS_WINDOW: u32 = 1000;

/// How many tokens a peer may have sent that are not judged.
const TOKENS_WINDOW: u32 = 16;

/// The snd-settle-mode of a receiver that settles nothing (AMQP 2.8.2).
const SETTLED: u8 = 1;

impl Conversation<'_> {
    /// Answers a link that is asked for.
    pub(super) async fn attach(&mut self, request: &AttachRequest) {
        match self.place(request).await {
            Ok(place) => self.grant(request, place),
            Err(error) => self.engine.refuse_link(request.link, error),
        }
    }

    /// Where the link leads, once it is sure that it may.
    async fn place(&mut self, request: &AttachRequest) -> Result<Place, Error> {
        if self.is_stopping {
            return Err(conditions::hub_ends());
        }
        let address = match request.peer {
            Role::Sender => request.target.as_ref().and_then(|target| target.address.as_deref()),
            Role::Receiver => request.source.as_ref().and_then(|source| source.address.as_deref()),
        };
        let node = address.and_then(Node::parse).ok_or_else(conditions::no_such_node)?;
        let place = match (node, request.peer) {
            (Node::Cbs, Role::Sender) => Place::PutToken,
            (Node::Cbs, Role::Receiver) => Place::Answers,
            (Node::DeviceEvents(device), Role::Sender) => Place::Events(device),
            (Node::DeviceCommands(device), Role::Receiver) => Place::Commands { device, settled: request.snd_settle_mode == SETTLED },
            (Node::DeviceEvents(_) | Node::DeviceCommands(_), _) => return Err(conditions::wrong_direction()),
            (
                Node::Management
                | Node::Commands
                | Node::Feedback
                | Node::FileNotifications
                | Node::Partition { .. }
                | Node::Redirected { .. },
                _,
            ) => return Err(conditions::no_node_yet()),
        };
        if let Some(device) = place.device() {
            self.have_session(device).await.map_err(|error| match error {
                AuthenticateError::Refused => conditions::unauthorized(),
                AuthenticateError::Registry(error) => {
                    tracing::warn!(%device, %error, "device {device} can't be let in: {error}");
                    conditions::unavailable()
                }
            })?;
        }
        Ok(place)
    }

    fn grant(&mut self, request: &AttachRequest, place: Place) {
        let window = match &place {
            Place::PutToken => TOKENS_WINDOW,
            Place::Events(_) => EVENTS_WINDOW,
            Place::Answers | Place::Commands { .. } => 0,
        };
        if let Some(device) = place.device().and_then(|device| self.devices.get_mut(device)) {
            device.links.push(request.link);
        }
        self.links.insert(request.link, place);
        if !self.engine.accept_link(request.link, request.as_asked(window)) {
            self.detached(request.link);
        }
    }
}
