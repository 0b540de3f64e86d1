//! The one place where AMQP meets a socket: bytes in, verbs of the hub, bytes out.
//!
//! Owns the buffers, the timers and the order of things: transfers of one device that came together are appended as one batch, after the
//! device's session was asked whether it still lives; what has become due leaves in one write. A connection carries any number of devices,
//! each with a session of its own, and the end of one is not the end of the others. Decides nothing about frames: that is the engine's.

use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fe2o3_amqp_types::definitions::Error;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::access::Access;
use self::answers::Answers;
use self::back_ends::BackEnds;
use self::devices::Device;
use self::held_back::Refusals;
use self::lasting_right::LastingRights;
use self::place::Place;
use self::readers::Readers;
use self::telemetry::Staged;
use super::conditions;
use super::engine::{self, Event, LinkId, Terms};
use super::receipts::Receipts;
use crate::core::certificate::PresentedChain;
use crate::core::command::LockToken;
use crate::core::device_id::DeviceId;
use crate::core::session::DisconnectReason;
use crate::net::socket::{read_some, write_with_progress};
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
mod ending;
mod feedback;
mod held_back;
mod lasting_right;
mod management;
mod place;
mod proof;
mod readers;
mod sent_commands;
mod telemetry;

/// How long a peer may take to accept anything of what is sent to it; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How long the end of a connection may take, or of a session on it: it holds nobody up.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How long a stranger may take for each step on the way to a proof, whatever is configured: clients of AMQP have their token at hand.
const STEP_WITHIN_MAX: Duration = Duration::from_secs(15);

/// How often the output may be written before the socket, the timer and everything else are looked at again.
const ROUNDS_MAX: usize = 16;

/// Who is at the other end, before anything is proved.
#[derive(Debug)]
pub struct Stranger {
    /// Over what, and from where.
    pub origin: Origin,
    /// The certificate that it presented, whose key it has.
    pub certificate: Option<PresentedChain>,
}

/// Serves one connection until it ends, or until `stop`. A stranger has `trust_within`, and 15 s at
/// most, for each step on the way to a proof, of which there are five. `authenticated` is called once something has been proved, before the peer is told so.
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
        let mut conversation = Conversation::new(&hub, stranger, trust_within.min(STEP_WITHIN_MAX), Box::new(authenticated));
        let reason = serve(&mut conversation, &mut stream, &stop).await;
        conversation.leave(reason);
        let _ = timeout(CLOSE_MAX, conversation.back_ends.finish()).await;
        let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
    }
}

/// What a connection waits for beside its peer.
struct Calls<'a> {
    bell: Arc<Notify>,
    stop: &'a CancellationToken,
    timer: Pin<&'a mut Sleep>,
}

/// Goes round until the connection is over, and says why it is.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    conversation: &mut Conversation<'_>,
    stream: &mut S,
    stop: &CancellationToken,
) -> DisconnectReason {
    let mut replacements = conversation.rights.replacements();
    let mut durability = conversation.hub.events.durability();
    let mut input = BytesMut::new();
    let timer = pin!(sleep_until(now().into()));
    let mut calls = Calls { bell: Arc::clone(&conversation.bell), stop, timer };
    loop {
        let goes_on = match take_input(conversation, stream, &mut input, &mut durability, &mut calls).await {
            Ok(goes_on) => goes_on,
            Err(reason) => return reason,
        };
        if let Some(reason) = conversation.ending {
            return reason;
        }
        if input.is_empty() {
            // An idle connection keeps no buffer.
            input = BytesMut::new();
        }
        let Some(deadline) = conversation.deadline() else { return DisconnectReason::ConnectionLost };
        calls.timer.as_mut().reset(deadline.into());
        let may_read = conversation.has_room();
        let waits = !conversation.receipts.is_empty() || conversation.follows_events();
        let (has_policies, awaits_page) = (conversation.access.has_policies(), conversation.awaits_page());
        let back_ends_wait = conversation.back_ends.are_waiting();
        // In this order, so that nobody who always has something to say keeps the connection from its end, from its time, or from what
        // others have done for it. None of those before the peer goes on without the peer for long.
        tokio::select! {
            biased;
            () = stop.cancelled(), if !conversation.is_stopping => conversation.stop(),
            () = calls.timer.as_mut() => conversation.time_passed(may_read),
            () = calls.bell.notified() => conversation.is_woken = true,
            () = replacements.next(), if has_policies => {}
            () = poll_fn(|context| conversation.back_ends.poll(context)), if back_ends_wait => {}
            page = readers::next_page(&mut conversation.readers), if awaits_page => conversation.take_page(page),
            () = durability.changed(), if waits => {}
            read = read_some(stream, &mut input), if may_read => match read {
                Ok(1..) => conversation.engine.heard(now()),
                Ok(0) | Err(_) => return DisconnectReason::ConnectionLost,
            },
            () = ready(()), if goes_on => {}
        }
    }
}

/// Takes everything that has come, and sends every answer that is due, until there is neither, or for so many rounds: then it says that it
/// would go on.
async fn take_input<S: AsyncWrite + Unpin>(
    conversation: &mut Conversation<'_>,
    stream: &mut S,
    input: &mut BytesMut,
    durability: &mut Durability,
    calls: &mut Calls<'_>,
) -> Result<bool, DisconnectReason> {
    for _ in 0..ROUNDS_MAX {
        conversation.take_events(input).await;
        let durable = durability.now();
        conversation.release(durable);
        conversation.end_links_of_ended();
        conversation.review_replaced();
        conversation.serve_back_ends();
        conversation.send_events(durable);
        conversation.send_commands();
        let output = conversation.engine.take_output(now());
        if !output.is_empty() {
            write(conversation, stream, &output, calls).await?;
        }
        conversation.written();
        if output.is_empty() && !conversation.engine.has_output() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes all of it, for as long as the peer goes on taking it; but not for long once the connection ends. Sessions that end meanwhile do so
/// at once.
async fn write<S: AsyncWrite + Unpin>(
    conversation: &mut Conversation<'_>,
    stream: &mut S,
    output: &[u8],
    calls: &mut Calls<'_>,
) -> Result<(), DisconnectReason> {
    let mut written = pin!(write_with_progress(stream, output, WRITE_MAX));
    while !conversation.is_ending() {
        let Some(deadline) = conversation.deadline() else { break };
        calls.timer.as_mut().reset(deadline.into());
        tokio::select! {
            biased;
            written = written.as_mut() => return written.map_err(|error| not_written(&error)),
            () = calls.stop.cancelled() => conversation.stop(),
            () = calls.timer.as_mut() => conversation.time_passed(false),
            () = calls.bell.notified() => {
                conversation.is_woken = true;
                conversation.end_links_of_ended();
            }
        }
    }
    let written = timeout(CLOSE_MAX, written).await.map_err(|_| DisconnectReason::TooSlow)?;
    written.map_err(|error| not_written(&error))
}

fn not_written(error: &io::Error) -> DisconnectReason {
    if error.kind() == io::ErrorKind::TimedOut { DisconnectReason::TooSlow } else { DisconnectReason::ConnectionLost }
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
    /// Whether a session has ended or has got a command since this was looked at.
    is_woken: bool,
    /// Those that may be sent commands that could not before, each once.
    concerned: Vec<DeviceId>,
    staged: Staged,
    receipts: Receipts,
    /// Those that wait for their receivers.
    answers: Answers,
    /// Those that wait for their time.
    refusals: Refusals,
    /// Of partitions, if there are any.
    readers: Option<Box<Readers>>,
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
    fn new(hub: &'a Hub, stranger: Stranger, step_within: Duration, authenticated: Box<dyn FnOnce() + Send>) -> Self {
        let Stranger { origin, certificate } = stranger;
        Self {
            hub,
            origin,
            host: hub.names.primary(),
            engine: engine::Connection::new(const { &Terms::AZURE }, step_within, now()),
            access: Access::new(certificate),
            rights: LastingRights::new(hub),
            back_ends: BackEnds::new(hub),
            next_end: None,
            authenticated: Some(authenticated),
            devices: BTreeMap::new(),
            links: HashMap::new(),
            bell: Arc::default(),
            is_woken: false,
            concerned: Vec::new(),
            staged: Staged::default(),
            receipts: Receipts::default(),
            answers: Answers::default(),
            refusals: Refusals::default(),
            readers: None,
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
            && !self.is_late()
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
            Event::Closed(ending) => self.ending = Some(ending::reason(&ending)),
            // A session owns nothing but its links, and the answers that it waits for.
            Event::SessionBegun(_) => {}
            Event::SessionEnded { session, .. } => self.forget_answers_in(session),
            Event::Sent { link, delivery } => self.sent(link, delivery),
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
        self.receipts.has_room() && self.back_ends.commands.has_room() && self.refusals.has_room()
    }
}

/// This machine's steady time: a step of the wall clock must not end every connection.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
