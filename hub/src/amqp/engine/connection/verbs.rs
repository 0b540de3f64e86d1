//! What the caller may do. On what is gone already, every verb does nothing: the caller hears of it with the next events.

use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::messaging::DeliveryState;

use super::super::delivery::{NotSent, Outgoing};
use super::super::limits::Limits;
use super::super::link::{Acceptance, LinkId};
use super::super::session::{Session, SessionId, Shared};
use super::{Connection, Phase};

impl Connection {
    /// Somebody has proved who they are: from now on the connection may take more, and as long as it likes.
    pub fn trust(&mut self) {
        self.limits = Limits::TRUSTED;
        self.stranger = None;
    }

    /// Grants a link that was asked for; says whether it was still there. A source and a target go out with every acceptance, because
    /// there are clients that wait for them.
    pub fn accept_link(&mut self, link: LinkId, acceptance: Acceptance) -> bool {
        self.with_session(link.session, |session, shared| session.accept_link(link, acceptance, shared)).unwrap_or(false)
    }

    /// Refuses a link that was asked for: `attach` with neither source nor target, then `detach` with the error. To be seen as refused by
    /// clients that stumble over the former, accept the link and detach it.
    pub fn refuse_link(&mut self, link: LinkId, error: Error) {
        self.with_session(link.session, |session, shared| session.refuse_link(link, error, shared));
    }

    /// Ends a link, for good.
    pub fn detach(&mut self, link: LinkId, error: Option<Error>) {
        self.with_session(link.session, |session, shared| session.detach_link(link, error, shared));
    }

    /// Closes the connection. [`super::Event::Closed`] follows when the peer has answered, or has not in two seconds.
    pub fn close(&mut self, error: Option<Error>) {
        match self.phase {
            Phase::Running => self.close_with(error),
            Phase::Open => {
                self.write_open();
                self.close_with(error);
            }
            Phase::Header { .. } | Phase::SaslInit | Phase::SaslDecision => self.finish(super::Ending::ByHub),
            Phase::Closing { .. } | Phase::Over => {}
        }
    }

    /// Answers a delivery of the peer's. Acceptances of consecutive deliveries leave as one.
    pub fn settle(&mut self, link: LinkId, delivery: u32, state: DeliveryState) {
        self.with_session(link.session, |session, shared| session.settle(link, delivery, state, shared));
    }

    /// Sends a message if the peer can take it now, and gives its delivery-id.
    pub fn send(&mut self, link: LinkId, message: &Outgoing<'_>) -> Result<u32, NotSent> {
        self.with_session(link.session, |session, shared| session.send(link, message, shared)).unwrap_or(Err(NotSent::NoLink))
    }

    /// How many messages may be sent on a link now, as far as the peer goes: none while it leaves too many unsettled. When that changes,
    /// [`super::Event::Credit`] comes.
    #[must_use]
    pub fn sendable(&self, link: LinkId) -> u32 {
        match self.sessions.get(link.session.channel) {
            Some(session) if self.phase == Phase::Running && session.id == link.session && !session.ending => {
                session.sendable(link, &self.limits)
            }
            Some(_) | None => 0,
        }
    }

    /// Whether a part of the message that was sent last on a link waits for the peer's window. If that message is settled,
    /// [`super::Event::Sent`] follows when the rest has gone to the output; if the link goes before, it never does.
    #[must_use]
    pub fn is_sending(&self, link: LinkId) -> bool {
        self.sessions.get(link.session.channel).is_some_and(|session| session.id == link.session && session.is_sending(link))
    }

    /// How many messages the peer has granted on a link, whether they may be sent now or not.
    #[must_use]
    pub fn credit(&self, link: LinkId) -> u32 {
        self.sessions.get(link.session.channel).filter(|session| session.id == link.session).map_or(0, |session| session.credit(link))
    }

    /// Whether output has room; if not, nothing is sent before it has been written.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.output.has_room()
    }

    /// Nothing (more) waits to be sent on a link that the peer drains.
    pub fn drained(&mut self, link: LinkId) {
        self.with_session(link.session, |session, shared| session.drained(link, shared));
    }

    /// Forgets a range of deliveries of the hub's in a session: the answer to a peer that has not settled them, with the state that it
    /// gave but for its details. One frame, however many they are.
    pub fn settle_sent(&mut self, session: SessionId, first: u32, last: u32, state: Option<DeliveryState>) {
        self.with_session(session, |session, shared| session.settle_sent(first, last, state, shared));
    }

    fn with_session<T>(&mut self, id: SessionId, verb: impl FnOnce(&mut Session, &mut Shared<'_>) -> T) -> Option<T> {
        if self.phase != Phase::Running {
            return None;
        }
        let (session, mut shared) = self.session(id.channel)?;
        if session.id != id || session.ending { None } else { Some(verb(session, &mut shared)) }
    }
}
