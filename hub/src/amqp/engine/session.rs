//! A session (AMQP 2.5): its windows, its delivery-ids, and its links from attach to detach.
//!
//! A peer's sessions are known by the channel that the peer chose, and its links by the handle. The hub begins none of its own, and answers
//! under the same numbers; but where the peer takes no numbers that high, under the lowest that is free.

use std::collections::VecDeque;

use fe2o3_amqp_types::definitions::{AmqpError, Error, SessionError};
use fe2o3_amqp_types::messaging::DeliveryState;

use super::connection::Event;
use super::disposition::Disposition;
use super::error::{Fault, cut, error, not_implemented, stolen};
use super::flow::Flow;
use super::limits::{INCOMING_WINDOW_TRANSFERS, LINK_NAME_MAX_BYTES, Limits, OUTGOING_WINDOW_TRANSFERS};
use super::link::{Acceptance, AttachRequest, End, Link, LinkId, Role, Stage};
use super::output::Output;
use super::performative::{AnyTarget, Attach, Begin, Detach, Performative};
use super::serial;
use super::states::without_details;
use super::table::{Table, shrink};

mod incoming;
mod outgoing;

/// Links beyond the limit that may wait to be detached by a peer that was refused them.
const REFUSED_LINKS_MAX: usize = 16;

/// A session of a connection, never mistaken for a later one on the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub(super) channel: u16,
    pub(super) birth: u32,
}

/// What all sessions of a connection share.
#[derive(Debug)]
pub struct Shared<'a> {
    pub output: &'a mut Output,
    pub events: &'a mut VecDeque<Event>,
    pub limits: &'a Limits,
    pub load: &'a mut Load,
}

/// What a connection has taken of its [`Limits`].
#[derive(Debug, Default)]
pub struct Load {
    /// Links over all sessions.
    pub links: usize,
    /// Bytes of messages that have not come whole.
    pub pieces_bytes: usize,
    /// Sessions and links so far.
    pub births: u32,
}

impl Load {
    /// A number that no session or link had before.
    pub fn birth(&mut self) -> u32 {
        self.births = self.births.wrapping_add(1);
        self.births
    }
}

/// A session that the peer has begun and the hub has answered.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    /// The hub has ended it, the peer has not answered: what still comes is let fall.
    pub ending: bool,
    /// The hub's side of the session.
    channel: u16,
    /// The highest handle that the peer takes, and so the highest that the hub may use. The peer may use any.
    handle_max: u32,
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_incoming_window: u32,
    next_delivery_id: u32,
    last_incoming_delivery: Option<u32>,
    links: Table<u32, Link>,
    /// Some link may have a message of which only a part is sent.
    holds_back: bool,
    /// Deliveries that were sent and are not settled, in the order of their ids.
    unsettled: VecDeque<(u32, LinkId)>,
}

impl Session {
    /// Answers the peer's `begin`, on the hub's own `channel`. `first_id` is the first of the hub's numbers.
    pub fn begin(id: SessionId, channel: u16, begin: &Begin, first_id: u32, output: &mut Output) -> Self {
        let answer = Begin {
            remote_channel: Some(id.channel),
            next_outgoing_id: first_id,
            incoming_window: INCOMING_WINDOW_TRANSFERS,
            outgoing_window: OUTGOING_WINDOW_TRANSFERS,
            ..Begin::default()
        };
        output.performative(channel, &Performative::Begin(Box::new(answer)));
        Self {
            id,
            ending: false,
            channel,
            handle_max: begin.handle_max.unwrap_or(u32::MAX),
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: INCOMING_WINDOW_TRANSFERS,
            next_outgoing_id: first_id,
            remote_incoming_window: begin.incoming_window,
            next_delivery_id: first_id,
            last_incoming_delivery: None,
            links: Table::new(),
            holds_back: false,
            unsettled: VecDeque::new(),
        }
    }

    /// The hub's side of it.
    pub fn channel(&self) -> u16 {
        self.channel
    }

    /// The peer wants a link.
    pub fn attach(&mut self, attach: Box<Attach>, shared: &mut Shared<'_>) -> Result<(), Fault> {
        let handle = attach.handle;
        if self.links.get(handle).is_some() {
            return Err(Fault::session(SessionError::HandleInUse, &format!("handle {handle} is taken")));
        }
        if attach.name.len() > LINK_NAME_MAX_BYTES {
            return Err(Fault::connection(AmqpError::InvalidField, "a link's name is too long"));
        }
        let id = LinkId { session: self.id, handle, birth: shared.load.birth() };
        let own = self.free_handle(handle).ok_or_else(|| Fault::session(AmqpError::ResourceLimitExceeded, "no handle is left"))?;
        let link = Link::new(id, own, &attach);
        // The newer one wins (AMQP 2.6.1).
        let other = self.links.iter().find(|(_, other)| other.is_named_by(&attach)).map(|(handle, _)| handle);
        if let Some(other) = other {
            self.fail_link(other, stolen(), shared);
        }
        if shared.load.links >= shared.limits.links + REFUSED_LINKS_MAX {
            return Err(Fault::too_many("links"));
        }
        let refusal = if shared.load.links >= shared.limits.links {
            Some(error(AmqpError::ResourceLimitExceeded, "too many links on one connection"))
        } else {
            what_is_missing(&attach).map(not_implemented)
        };
        shared.load.links += 1;
        self.links.insert(handle, link);
        match refusal {
            Some(error) => self.refuse(handle, error, shared),
            None => shared.events.push_back(Event::Attach(Box::new(AttachRequest::new(id, *attach)))),
        }
        Ok(())
    }

    /// The hub's own handle for a link to which the peer gave this one.
    fn free_handle(&self, wanted: u32) -> Option<u32> {
        let is_free = |handle: &u32| self.links.iter().all(|(_, link)| link.handle != *handle);
        let same = Some(wanted).filter(|wanted| *wanted <= self.handle_max && is_free(wanted));
        // One more than there are links is enough to find one.
        let most = u32::try_from(self.links.len()).unwrap_or(u32::MAX).min(self.handle_max);
        same.or_else(|| (0..=most).find(is_free))
    }

    /// The caller grants a link; says whether it was still there to be granted.
    pub fn accept_link(&mut self, link: LinkId, acceptance: Acceptance, shared: &mut Shared<'_>) -> bool {
        let channel = self.channel;
        let Some(found) = self.asked(link) else { return false };
        match &mut found.end {
            End::Sender(sender) => sender.snd_settle_mode = acceptance.snd_settle_mode.min(2),
            End::Receiver(receiver) => receiver.second = acceptance.rcv_settle_mode == 1,
            End::Gone => return false,
        }
        let window = acceptance.window;
        let attach = Performative::Attach(Box::new(found.attach(Some(acceptance), shared.limits.message_bytes)));
        if shared.output.performative_if_it_fits(channel, &attach).is_err() {
            self.fail_link(link.handle, error(AmqpError::FrameSizeTooSmall, "the answer does not fit into a frame"), shared);
            return false;
        }
        found.stage = Stage::Attached;
        let offers = match &mut found.end {
            End::Receiver(receiver) => {
                receiver.open(window);
                window > 0
            }
            End::Sender(_) => {
                found.offer_credit(shared.events);
                false
            }
            End::Gone => false,
        };
        if offers {
            self.write_flow(Some(link.handle), shared.output);
        }
        true
    }

    /// The caller does not grant a link.
    pub fn refuse_link(&mut self, link: LinkId, error: Error, shared: &mut Shared<'_>) {
        if self.asked(link).is_some() {
            self.refuse(link.handle, error, shared);
        }
    }

    /// The caller ends a link.
    pub fn detach_link(&mut self, link: LinkId, error: Option<Error>, shared: &mut Shared<'_>) {
        match self.link(link).map(|found| found.stage) {
            Some(Stage::Attached) => self.write_detach(link.handle, error, shared),
            Some(Stage::Asked) => {
                self.refuse(link.handle, error.unwrap_or_else(|| self::error(AmqpError::NotAllowed, "the link is refused")), shared);
            }
            Some(Stage::Detaching) | None => {}
        }
    }

    /// The peer ends a link, or answers the hub's end of it. One that is not there has ended twice, which harms nobody.
    pub fn detach(&mut self, detach: Detach, shared: &mut Shared<'_>) {
        let Some(link) = self.links.remove(detach.handle) else { return };
        self.let_go(&link, shared);
        if link.stage == Stage::Detaching {
            return;
        }
        if link.stage == Stage::Asked {
            let attach = Performative::Attach(Box::new(link.attach(None, shared.limits.message_bytes)));
            shared.output.performative(self.channel, &attach);
        }
        let answer = Performative::Detach(Detach { handle: link.handle, closed: detach.closed, error: None });
        shared.output.performative(self.channel, &answer);
        shared.events.push_back(Event::Detached { link: link.id, error: detach.error });
    }

    /// A link that has broken a rule is ended, and the caller told.
    pub fn fail_link(&mut self, handle: u32, error: Error, shared: &mut Shared<'_>) {
        let Some(link) = self.links.get(handle) else { return };
        let (id, stage) = (link.id, link.stage);
        match stage {
            Stage::Asked => self.refuse(handle, error.clone(), shared),
            Stage::Attached => self.write_detach(handle, Some(error.clone()), shared),
            Stage::Detaching => return,
        }
        shared.events.push_back(Event::Detached { link: id, error: Some(error) });
    }

    /// It has ended on one side: its links are gone, and the caller is told of each.
    pub fn end_links(&mut self, error: Option<&Error>, shared: &mut Shared<'_>) {
        self.unsettled = VecDeque::new();
        for (_, link) in std::mem::replace(&mut self.links, Table::new()) {
            self.let_go(&link, shared);
            if link.stage != Stage::Detaching {
                shared.events.push_back(Event::Detached { link: link.id, error: error.cloned() });
            }
        }
    }

    /// The peer speaks of windows and credit (AMQP 2.5.6, 2.6.7).
    pub fn flow(&mut self, flow: &Flow, shared: &mut Shared<'_>) -> Result<(), Fault> {
        let was_closed = self.remote_incoming_window == 0;
        self.next_incoming_id = flow.next_outgoing_id;
        let known = flow.next_incoming_id.unwrap_or(self.next_outgoing_id);
        self.remote_incoming_window = serial::left_of(flow.incoming_window, known, self.next_outgoing_id);
        let mut echo = flow.echo;
        if let Some(handle) = flow.handle {
            let link = self.links.get_mut(handle).ok_or_else(|| Fault::unattached(handle))?;
            // What a sender says of credit means nothing.
            if let End::Sender(sender) = &mut link.end {
                sender.granted(flow);
                // The end of the drain is the answer.
                echo &= !flow.drain;
            }
            echo &= link.stage == Stage::Attached;
        }
        self.send_rest(shared);
        if echo {
            self.write_flow(flow.handle, shared.output);
        }
        if let Some(link) = flow.handle.and_then(|handle| self.links.get(handle)) {
            link.offer_credit(shared.events);
        }
        if was_closed {
            self.links.iter().filter(|(handle, _)| flow.handle != Some(*handle)).for_each(|(_, link)| link.offer_credit(shared.events));
        }
        Ok(())
    }

    /// Says how the session stands, and the link to which the peer gave `handle`; opens the window again.
    fn write_flow(&mut self, handle: Option<u32>, output: &mut Output) {
        self.incoming_window = INCOMING_WINDOW_TRANSFERS;
        let link = handle.and_then(|handle| self.links.get(handle));
        let mut flow = Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW_TRANSFERS,
            handle: link.map(|link| link.handle),
            ..Flow::default()
        };
        match link.map(|link| &link.end) {
            Some(End::Sender(sender)) => {
                flow.delivery_count = Some(sender.delivery_count);
                flow.link_credit = Some(sender.credit);
                flow.available = Some(0);
                flow.drain = sender.draining;
            }
            Some(End::Receiver(receiver)) => {
                flow.delivery_count = Some(receiver.delivery_count);
                flow.link_credit = Some(receiver.credit);
            }
            Some(End::Gone) | None => {}
        }
        output.performative(self.channel, &Performative::Flow(flow));
    }

    /// Refuses a link that was asked for: an attach with neither source nor target, and a detach (AMQP 2.6.3).
    fn refuse(&mut self, handle: u32, error: Error, shared: &mut Shared<'_>) {
        let Some(link) = self.links.get(handle) else { return };
        let attach = Performative::Attach(Box::new(link.attach(None, shared.limits.message_bytes)));
        shared.output.performative(self.channel, &attach);
        self.write_detach(handle, Some(error), shared);
    }

    fn write_detach(&mut self, handle: u32, error: Option<Error>, shared: &mut Shared<'_>) {
        let Some(link) = self.links.get_mut(handle) else { return };
        shared.load.pieces_bytes = shared.load.pieces_bytes.saturating_sub(link.pieces_bytes());
        link.stage = Stage::Detaching;
        let (id, own) = (link.id, link.handle);
        // Nothing of it is kept but its handle.
        link.name = Box::default();
        link.end = End::Gone;
        self.forget_unsettled(shared, |unsettled| unsettled.retain(|(_, owner)| *owner != id));
        let mut detach = Detach { handle: own, closed: true, error: error.map(cut) };
        if shared.output.performative_if_it_fits(self.channel, &Performative::Detach(detach.clone())).is_err() {
            // A redirect to a place that does not fit into the peer's frames.
            if let Some(error) = &mut detach.error {
                error.info = None;
            }
            shared.output.performative(self.channel, &Performative::Detach(detach));
        }
    }

    fn let_go(&mut self, link: &Link, shared: &mut Shared<'_>) {
        shared.load.links = shared.load.links.saturating_sub(1);
        shared.load.pieces_bytes = shared.load.pieces_bytes.saturating_sub(link.pieces_bytes());
        self.forget_unsettled(shared, |unsettled| unsettled.retain(|(_, owner)| *owner != link.id));
    }

    fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.handle).filter(|link| link.id == id)
    }

    fn attached(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link(id).filter(|link| link.stage == Stage::Attached)
    }

    fn asked(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link(id).filter(|link| link.stage == Stage::Asked)
    }

    #[cfg(test)]
    pub fn close_window(&mut self) {
        self.incoming_window = 0;
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.links.iter().map(|(_, link)| link.name.len()).sum();
        names + self.links.heap_bytes() + self.unsettled.capacity() * size_of::<(u32, LinkId)>()
    }

    /// A disposition of the hub's for one delivery to it.
    fn write_outcome(&self, delivery: u32, settled: bool, state: DeliveryState, output: &mut Output) {
        let said = |state| {
            let (role, first, last) = (Role::Receiver, delivery, Some(delivery));
            Performative::Disposition(Disposition { role, first, last, settled, state: Some(state), batchable: false })
        };
        if output.performative_if_it_fits(self.channel, &said(state.clone())).is_err() {
            output.performative(self.channel, &said(without_details(state)));
        }
    }

    /// Lets some of the deliveries go that were not settled. Links that waited because there were too many are offered their credit again.
    fn forget_unsettled(&mut self, shared: &mut Shared<'_>, forget: impl FnOnce(&mut VecDeque<(u32, LinkId)>)) {
        let most = shared.limits.unsettled_deliveries;
        let was_full = self.unsettled.len() >= most;
        forget(&mut self.unsettled);
        shrink(&mut self.unsettled);
        if was_full && self.unsettled.len() < most {
            self.links.iter().for_each(|(_, link)| link.offer_credit(shared.events));
        }
    }
}

/// What an attach asks for that the hub does not have.
fn what_is_missing(attach: &Attach) -> Option<&'static str> {
    let dynamic_target = matches!(&attach.target, Some(AnyTarget::Target(target)) if target.dynamic);
    if attach.target == Some(AnyTarget::Coordinator) {
        Some("transactions")
    } else if dynamic_target || attach.source.as_ref().is_some_and(|source| source.dynamic) {
        Some("dynamic nodes")
    } else if attach.resumes || attach.incomplete_unsettled {
        Some("resumption of links")
    } else {
        None
    }
}
