//! Links that are asked for: where each leads, whether whoever asks may go there, and what it is granted.

use super::attach_reader::Wanted;
use super::held_back::{HeldBack, LinkRefused};
use super::lasting_right::LastingRight;
use super::place::Drain;
use super::{Conversation, Place, conditions, sent_commands};
use crate::amqp::address::Node;
use crate::amqp::engine::{AttachRequest, Role};
use crate::ops::authenticate::{AuthenticateError, NotLetIn};

/// How many transfers a device may have sent that are not answered: as many as one connection may have waiting for the disk. What they take
/// is bounded for the whole connection, by [`crate::amqp::receipts`].
const EVENTS_WINDOW: u32 = 1000;

/// How many tokens, and how many requests with one, a peer may have sent that are not judged.
const TOKENS_WINDOW: u32 = 16;

/// The snd-settle-mode of a receiver that settles nothing (AMQP 2.8.2).
const SETTLED: u8 = 1;

impl Conversation<'_> {
    /// Answers a link that is asked for.
    pub(super) async fn attach(&mut self, request: &AttachRequest) {
        if self.is_stopping {
            return self.engine.refuse_link(request.link, conditions::hub_ends());
        }
        let address = match request.peer {
            Role::Sender => request.target.as_ref().and_then(|target| target.address.as_deref()),
            Role::Receiver => request.source.as_ref().and_then(|source| source.address.as_deref()),
        };
        match address.and_then(Node::parse) {
            Some(Node::Partition { name, group, partition }) if request.peer == Role::Receiver => {
                let wanted = Wanted { name: &name, group: &group, partition: &partition };
                self.attach_reader(request, &wanted);
            }
            Some(Node::Redirected { rest }) => self.redirect(request, &rest),
            Some(node) => match self.place(request, node).await {
                Ok((place, right)) => self.grant(request, place, right),
                Err(refusal) => self.hold_back(refusal.not_before, HeldBack::Link { link: request.link, error: refusal.error }),
            },
            None => self.engine.refuse_link(request.link, conditions::no_such_node()),
        }
    }

    /// Where the link leads, once it is sure that it may.
    async fn place(&mut self, request: &AttachRequest, node: Node<'_>) -> Result<(Place, Option<LastingRight>), LinkRefused> {
        let place = match (node, request.peer) {
            (Node::Management, Role::Sender) => Place::ReadProperties,
            (Node::Management, Role::Receiver) => {
                let target = request.target.as_ref().and_then(|target| target.address.as_deref());
                Place::Properties { target: target.map(Into::into) }
            }
            (Node::Cbs, Role::Sender) => Place::PutToken,
            (Node::Cbs, Role::Receiver) => Place::Answers,
            (Node::DeviceEvents(device), Role::Sender) => Place::Events(device),
            (Node::DeviceCommands(device), Role::Receiver) => Place::Commands { device, settled: request.snd_settle_mode == SETTLED, drain: Drain::No },
            (Node::Commands, Role::Sender) => Place::SentCommands,
            (Node::Feedback, Role::Receiver) => Place::Feedback { settled: request.snd_settle_mode == SETTLED },
            (Node::FileNotifications, Role::Receiver) => Place::FileNotifications,
            (
                Node::DeviceEvents(_)
                | Node::DeviceCommands(_)
                | Node::Commands
                | Node::Feedback
                | Node::FileNotifications
                // Readers of partitions, and those who are sent elsewhere, were answered before.
                | Node::Partition { .. }
                | Node::Redirected { .. },
                _,
            ) => return Err(conditions::wrong_direction().into()),
        };
        if let Some(device) = place.device() {
            self.have_session(device).await.map_err(|NotLetIn { why, not_before }| match why {
                AuthenticateError::Refused => LinkRefused { not_before, error: conditions::unauthorized() },
                AuthenticateError::Registry(error) => {
                    tracing::warn!(%device, %error, "device {device} can't be let in: {error}");
                    LinkRefused { not_before, error: conditions::unavailable() }
                }
            })?;
        }
        let right = match place.resource() {
            Some(resource) => Some(self.let_in_back_end(resource)?),
            None => None,
        };
        Ok((place, right))
    }

    fn grant(&mut self, request: &AttachRequest, place: Place, right: Option<LastingRight>) {
        let window = match &place {
            Place::PutToken | Place::ReadProperties => TOKENS_WINDOW,
            Place::Events(_) => EVENTS_WINDOW,
            Place::SentCommands => sent_commands::WINDOW.into(),
            Place::Answers
            | Place::Commands { .. }
            | Place::Feedback { .. }
            | Place::FileNotifications
            | Place::Properties { .. }
            | Place::Partition => 0,
        };
        if let Some(device) = place.device().and_then(|device| self.devices.get_mut(device)) {
            device.links.push(request.link);
        }
        if let Place::Feedback { settled } = place {
            self.back_ends.feedback.granted(request.link, settled);
        }
        self.links.insert(request.link, place);
        if let Some(right) = right {
            self.rights.granted(request.link, right);
            self.rights_changed();
        }
        if !self.engine.accept_link(request.link, request.as_asked(window)) {
            self.detached(request.link);
        }
    }
}
