//! The one place where AMQP meets a socket: bytes in, verbs of the hub, bytes out.
//!
//! Owns the buffers, the timers and the order of things: transfers of one device that came together are appended as one batch, after the
//! device's session was asked whether it still lives; what has become due leaves in one write. A connection carries any number of devices,
//! each with a session of its own, and the end of one is not the end of the others. Decides nothing about frames: that is the engine's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::access::Access;
use self::answers::Answer;
use self::back_ends::BackEnds;
use self::devices::Device;
use self::lasting_right::LastingRights;
use self::place::Place;
use self::readers::Readers;
use self::telemetry::Staged;
use super::conditions;
use super::engine::{self, Ending, Event, LinkId, Terms};
use super::receipts::Receipts;
use crate::core::certificate::PresentedChain;
use crate::core::command::LockToken;
use crate::core::device_id::DeviceId;
use crate::core::session::DisconnectReason;
use crate::net::socket::{read_some, write};
use crate::ops::authenticate::{Origin, refuse};
use crate::ops::refusals::RefusalReason;
use crate::ops::{Durability, Hub, Watermark};

mod access;
mod answers;
mod attach;
mod attach_reader;
mod back_ends;
mod commands;
mod devices;
mod feedback;
mod lasting_right;
mod management;
mod place;
mod proof;
mod readers;
mod sent_commands;
mod telemetry;

/// How long a peer may take to accept what is sent to it; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How long the end of a connection may take: it holds nobody up.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How long a peer whose links have ended has to close the connection itself. Azure's SDKs do; and Node.js's, when its links end and its
/// connection does in the same breath, waits for 45 s before it says so.
const CLOSED_BY_PEER_WITHIN: Duration = Duration::from_secs(2);

/// Who is at the other end, before anything is proved.
#[derive(Debug)]
pub struct Stranger {
    /// Over what, and from where.
    pub origin: Origin,
    /// The certificate that it presented, whose key it has.
    pub certificate: Option<PresentedChain>,
}

/// Serves one connection until it ends, or until `stop`. A stranger has to prove something within `trust_within`. `authenticated` is called once something has been proved, before the peer is told so.
#[expect(clippy::manual_async_fn, reason = "an async fn's future would hold the stream, which is large with TLS, twice")]
pub fn serve_connection<S>(
    hub: Arc<Hub>,
    mut stream: S,
    stranger: Stranger,
    trust_within: Duration,
    stop: CancellationToken,
    authenticated: impl FnOnce() + Send + 'static,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    async move {
        let mut conversation = Conversation::new(&hub, stranger, trust_within, Box::new(authenticated));
        let reason = serve(&mut conversation, &mut stream, &stop).await;
        conversation.close_sessions(reason);
        let _ = timeout(CLOSE_MAX, conversation.back_ends.finish()).await;
        let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
    }
}

/// Goes round until the connection is over, and says why it is.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    conversation: &mut Conversation<'_>,
    stream: &mut S,
    stop: &CancellationToken,
) -> DisconnectReason {
    let bell = Arc::clone(&conversation.bell);
    let mut replacements = conversation.rights.replacements();
    let mut durability = conversation.hub.events.durability();
    let mut input = BytesMut::new();
    let mut timer = pin!(sleep_until(now().into()));
    loop {
        if let Err(reason) = take_input(conversation, stream, &mut input, &mut durability).await {
            return reason;
        }
        if let Some(reason) = conversation.ending {
            return reason;
        }
        if input.is_empty() {
            // An idle connection keeps no buffer.
            input = BytesMut::new();
        }
        let Some(deadline) = conversation.deadline() else { return DisconnectReason::ConnectionLost };
        timer.as_mut().reset(deadline.into());
        let may_read = conversation.has_room();
        let waits = !conversation.receipts.is_empty() || conversation.follows_events();
        let (has_policies, awaits_page) = (conversation.access.has_policies(), conversation.awaits_page());
        let back_ends_wait = conversation.back_ends.are_waiting();
        tokio::select! {
            biased;
            () = bell.notified() => conversation.is_woken = true,
            read = read_some(stream, &mut input), if may_read => match read {
                Ok(1..) => conversation.engine.heard(now()),
                Ok(0) | Err(_) => return DisconnectReason::ConnectionLost,
            },
            () = durability.changed(), if waits => {}
            page = readers::next_page(&mut conversation.readers), if awaits_page => conversation.take_page(page),
            () = replacements.next(), if has_policies => {}
            () = poll_fn(|context| conversation.back_ends.poll(context)), if back_ends_wait => {}
            () = stop.cancelled(), if !conversation.is_stopping => conversation.stop(),
            () = timer.as_mut() => conversation.time_passed(may_read),
        }
    }
}

/// Takes everything that has come, and sends every answer that is due, until there is neither.
async fn take_input<S: AsyncWrite + Unpin>(
    conversation: &mut Conversation<'_>,
    stream: &mut S,
    input: &mut BytesMut,
    durability: &mut Durability,
) -> Result<(), DisconnectReason> {
    loop {
        conversation.take_events(input).await;
        let durable = durability.now();
        conversation.release(durable);
        conversation.end_links_of_ended();
        conversation.review_replaced();
        conversation.serve_back_ends();
        conversation.send_events(durable);
        conversation.send_commands();
        let output = conversation.engine.take_output(now());
        if output.is_empty() {
            return Ok(());
        }
        match timeout(WRITE_MAX, write(stream, &output)).await {
            Ok(Ok(())) => conversation.written(),
            Ok(Err(_)) => return Err(DisconnectReason::ConnectionLost),
            Err(_) => return Err(DisconnectReason::TooSlow),
        }
    }
}

/// All of a connection but its socket.
struct Conversation<'a> {
    hub: &'a Hub,
    origin: Origin,
    /// By which of the hub's names the peer asked for it.
    host: &'a str,
    engine: engine::Connection,
    access: Access,
    /// By what back ends' links are there.
    rights: LastingRights,
    back_ends: BackEnds<'a>,
    /// When something that was proved may run out.
    next_end: Option<Instant>,
    /// Called when the first proof is good.
    authenticated: Option<Box<dyn FnOnce() + Send>>,
    /// Those that have links. Boxed, because a tree has room for eleven at once, and hardly any connection has two.
    devices: BTreeMap<DeviceId, Box<Device<'a>>>,
    /// What the links that were granted lead to.
    links: HashMap<LinkId, Place>,
    /// Rung by the devices' sessions.
    bell: Arc<Notify>,
    /// Whether a session has ended or a command may go out since this was looked at.
    is_woken: bool,
    staged: Staged,
    receipts: Receipts,
    /// Those whose receiver has no credit yet; at most [`answers::ANSWERS_MAX`].
    answers: VecDeque<Answer>,
    /// Of partitions, if there are any.
    readers: Option<Box<Readers>>,
    /// What the peer has not settled.
    deliveries: HashMap<(LinkId, u32), LockToken>,
    /// What is settled once it has been written.
    unanswered: Vec<(DeviceId, LockToken)>,
    next_tag: u64,
    is_stopping: bool,
    /// When the connection is closed, and with what, unless the peer closes it before.
    closing: Option<(Instant, Error)>,
    /// Why the connection is over, once it is.
    ending: Option<DisconnectReason>,
}

impl<'a> Conversation<'a> {
    fn new(hub: &'a Hub, stranger: Stranger, trust_within: Duration, authenticated: Box<dyn FnOnce() + Send>) -> Self {
        let Stranger { origin, certificate } = stranger;
        Self {
            hub,
            origin,
            host: hub.names.primary(),
            engine: engine::Connection::new(const { &Terms::AZURE }, trust_within, now()),
            access: Access::new(certificate),
            rights: LastingRights::new(hub),
            back_ends: BackEnds::new(hub),
            next_end: None,
            authenticated: Some(authenticated),
            devices: BTreeMap::new(),
            links: HashMap::new(),
            bell: Arc::default(),
            is_woken: false,
            staged: Staged::default(),
            receipts: Receipts::default(),
            answers: VecDeque::new(),
            readers: None,
            deliveries: HashMap::new(),
            unanswered: Vec::new(),
            next_tag: 0,
            is_stopping: false,
            closing: None,
            ending: None,
        }
    }

    /// Acts on everything that has come whole, as far as there is room for what waits.
    async fn take_events(&mut self, input: &mut BytesMut) {
        while self.has_room()
            && let Some(event) = self.engine.receive(input)
        {
            match event {
                Event::Delivery(delivery) => self.delivery(&delivery).await,
                event => {
                    // What came before is still stored, whatever this is: it was sent in good order.
                    self.append().await;
                    self.event(event).await;
                }
            }
        }
        self.append().await;
        if self.engine.is_over() && self.ending.is_none() {
            self.ending = Some(DisconnectReason::ConnectionLost);
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::SaslInit(init) => {
                let outcome = Box::pin(self.sasl(&init)).await;
                self.engine.sasl_outcome(outcome);
            }
            Event::Opened(open) => self.opened(open.hostname.as_deref()).await,
            Event::Attach(request) => Box::pin(self.attach(&request)).await,
            Event::Detached { link, .. } => self.detached(link),
            Event::Credit { link, drain } => self.credit(link, drain).await,
            Event::Disposition(disposition) => self.disposition(disposition),
            Event::Closed(ending) => self.ending = Some(reason(&ending)),
            // A session owns nothing but its links.
            Event::SessionBegun(_) | Event::SessionEnded { .. } => {}
            Event::Delivery(delivery) => self.delivery(&delivery).await,
        }
    }

    /// A client that asks for another hub is refused like everybody else.
    async fn opened(&mut self, host: Option<&str>) {
        let Some(host) = host.filter(|host| !host.is_empty()) else { return };
        if let Some(known) = self.hub.names.known(host) {
            self.host = known;
        } else {
            refuse(self.hub, "", RefusalReason::ForeignHost(host.into()), self.origin).await;
            self.engine.close(Some(conditions::unauthorized()));
        }
    }

    /// Answers every transfer whose fate is decided.
    fn release(&mut self, watermark: Watermark) {
        let Self { receipts, engine, links, devices, is_woken, .. } = self;
        receipts.release(watermark, |receipt, durable| {
            if durable && receipt.settled {
                // Nobody waits for an answer.
            } else if durable {
                engine.settle(receipt.link, receipt.delivery, DeliveryState::Accepted(Accepted {}));
            } else if let Some(device) = links.get(&receipt.link).and_then(|place| devices.get(place.device()?)) {
                device.session.end(DisconnectReason::StoreUnavailable);
                *is_woken = true;
            }
        });
    }

    /// Whether more may be taken from the peer.
    fn has_room(&self) -> bool {
        self.receipts.has_room() && self.back_ends.commands.has_room()
    }

    /// When there is something to do again without anybody saying so.
    fn deadline(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|(at, _)| *at);
        self.engine.deadline().map(|deadline| [self.next_end, closing].into_iter().flatten().fold(deadline, Instant::min))
    }

    /// Finds out when something that was proved runs out next. Earlier than it does is as good: then it is found out again.
    fn rights_changed(&mut self) {
        let devices = self.devices.values().map(|device| device.right_ends).min();
        // Just after its last moment.
        let tokens = self.access.next_end().map(|end| now() + end.since(self.hub.now()) + Duration::from_millis(1));
        self.next_end = [devices, self.rights.next_end(), tokens].into_iter().flatten().min();
    }

    /// Does what is due. `listens` is whether bytes would have been read.
    fn time_passed(&mut self, listens: bool) {
        let now = now();
        if !listens {
            self.engine.heard(now);
        }
        self.engine.time_passed(now);
        for device in self.devices.values() {
            if device.right_ends <= now {
                device.session.end(DisconnectReason::TokenExpired);
                self.is_woken = true;
            }
        }
        self.access.forget_expired(self.hub.now());
        self.end_links_of_ended();
        self.review_rights();
        self.rights_changed();
        self.close_if_nothing_is_left();
        if self.closing.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.engine.close(self.closing.take().map(|(_, error)| error));
        }
    }

    /// Whoever had proved something, and has nothing left of it, goes.
    fn close_if_nothing_is_left(&mut self) {
        let is_trusted = self.authenticated.is_none();
        if is_trusted && self.access.is_empty() && self.devices.is_empty() {
            self.close_soon(conditions::unauthorized());
        }
    }

    /// The hub ends: the peer is told so on its links, and then on the connection.
    fn stop(&mut self) {
        self.is_stopping = true;
        let links: Vec<LinkId> = self.links.iter().filter(|(_, place)| !place.is_of_cbs()).map(|(link, _)| *link).collect();
        if links.is_empty() {
            return self.engine.close(Some(conditions::hub_ends()));
        }
        for device in self.devices.values() {
            device.session.end(DisconnectReason::HubShutdown);
        }
        self.is_woken = true;
        for link in links {
            match self.links.get(&link).and_then(Place::device) {
                Some(_) => self.engine.detach(link, Some(conditions::hub_ends())),
                None => self.end_link(link, conditions::hub_ends()),
            }
        }
        self.closing = Some((now() + CLOSED_BY_PEER_WITHIN, conditions::hub_ends()));
    }

    /// Nobody is left who may use the connection.
    fn close_soon(&mut self, error: Error) {
        self.closing.get_or_insert((now() + CLOSED_BY_PEER_WITHIN, error));
    }
}

/// Why the sessions on a connection end that ends so.
fn reason(ending: &Ending) -> DisconnectReason {
    match ending {
        Ending::ByPeer(_) => DisconnectReason::ClientDisconnected,
        Ending::ByHub | Ending::Refused | Ending::Late => DisconnectReason::ConnectionLost,
        Ending::ForeignProtocol | Ending::Failed(_) => DisconnectReason::ProtocolViolation,
        Ending::Silent => DisconnectReason::KeepAliveTimeout,
    }
}

/// This machine's steady time: a step of the wall clock must not end every connection.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
