//! Commands that back ends send: put before the desk in their order, many at a time, and answered in that order as they become durable.
//!
//! A link's commands wait for each other and for nobody else's, and the connection goes on meanwhile. What has come is sent, even when its
//! link is ended by its sender, or the connection is; but not when the sender has lost its right.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::Conversation;
use crate::amqp::conditions::CommandNotTaken;
use crate::amqp::engine::{Delivery, LinkId};
use crate::amqp::sent_command::SentCommand;
use crate::ops::Hub;
use crate::ops::send_command::{NewCommand, OfferedCommand, SendRefused, offer_command};

/// How many commands a back end may have sent on a link that are not answered. A commit on a slow disk takes 10 ms: that is 10,000 commands
/// a second on one link.
pub const WINDOW: u16 = 100;

/// The most bytes of one connection's commands that wait for their answers, give or take one: several of the largest, as with telemetry.
/// With more, the hub reads no more.
const UNANSWERED_MAX_BYTES: usize = 1024 * 1024;

/// What is kept of a command beside its bytes, about.
const KEPT_BESIDE_BYTES: usize = 512;

/// The commands of a connection's links.
pub struct SentCommands<'a> {
    hub: &'a Hub,
    links: HashMap<LinkId, Line<'a>>,
    /// Of links that have ended: nobody hears of these.
    unheard: Vec<Line<'a>>,
    answered: Vec<(LinkId, Answer)>,
    unanswered_bytes: usize,
}

/// One link's.
struct Line<'a> {
    /// Unbounded in form; what is in it is bounded by [`WINDOW`]. Dropped when nothing more will come.
    arrivals: Option<mpsc::UnboundedSender<Arrived>>,
    answers: Pin<Box<dyn Stream<Item = Answer> + Send + 'a>>,
    unanswered_bytes: usize,
}

/// A command that has come.
struct Arrived {
    delivery: u32,
    /// Whether its sender has forgotten it, and hears nothing.
    settled: bool,
    message_format: u32,
    payload: Bytes,
    sent_by: String,
}

/// What has become of it.
struct Answer {
    delivery: u32,
    settled: bool,
    bytes: usize,
    taken: Result<(), CommandNotTaken>,
}

impl<'a> SentCommands<'a> {
    pub fn new(hub: &'a Hub) -> Self {
        Self { hub, links: HashMap::new(), unheard: Vec::new(), answered: Vec::new(), unanswered_bytes: 0 }
    }

    /// Whether more may be taken.
    pub fn has_room(&self) -> bool {
        self.unanswered_bytes < UNANSWERED_MAX_BYTES
    }

    /// Whether there is something to wait for.
    pub fn is_waiting(&self) -> bool {
        self.unanswered_bytes > 0
    }

    /// Goes on with all of them; ready when one has been answered.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { links, unheard, answered, unanswered_bytes, .. } = self;
        let before = *unanswered_bytes;
        for (link, line) in links {
            line.poll(context, |answer| {
                *unanswered_bytes -= answer.bytes;
                answered.push((*link, answer));
            });
        }
        unheard.retain_mut(|line| {
            line.poll(context, |answer| *unanswered_bytes -= answer.bytes);
            line.unanswered_bytes > 0
        });
        if *unanswered_bytes < before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The sender has ended the link.
    pub fn detached(&mut self, link: LinkId) {
        if let Some(mut line) = self.links.remove(&link).filter(|line| line.unanswered_bytes > 0) {
            line.arrivals = None;
            self.unheard.push(line);
        }
    }

    /// The sender has lost its right: what the desk has not taken by now, it never does.
    pub fn shut_out(&mut self, link: LinkId) {
        if let Some(line) = self.links.remove(&link) {
            self.unanswered_bytes -= line.unanswered_bytes;
        }
    }

    /// The connection has ended: goes on until everything that came has been sent.
    pub async fn finish(&mut self) {
        self.unheard.extend(self.links.drain().map(|(_, line)| line));
        poll_fn(|context| {
            let _ = self.poll(context);
            if self.unanswered_bytes == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn arrived(&mut self, delivery: &Delivery, sent_by: String) {
        let hub = self.hub;
        let line = self.links.entry(delivery.link).or_insert_with(|| Line::new(hub));
        // It is kept beyond this read, whose buffer it would hold.
        let payload = Bytes::copy_from_slice(&delivery.payload);
        let &Delivery { id, message_format, settled, .. } = delivery;
        let arrived = Arrived { delivery: id, settled, message_format, payload, sent_by };
        let bytes = arrived.bytes();
        if line.arrivals.as_ref().is_some_and(|arrivals| arrivals.send(arrived).is_ok()) {
            line.unanswered_bytes += bytes;
            self.unanswered_bytes += bytes;
        }
    }
}

impl<'a> Line<'a> {
    fn new(hub: &'a Hub) -> Self {
        let (arrivals, mut arrived) = mpsc::unbounded_channel::<Arrived>();
        let answers = stream::poll_fn(move |context| arrived.poll_recv(context))
            // One after the other, because the desk takes them in this order,
            .then(move |arrived| async move { (offer(hub, &arrived).await, arrived) })
            // and all at once, because each only waits for the disk.
            .map(move |(offered, arrived)| taken(hub, offered, arrived))
            .buffered(WINDOW.into());
        Self { arrivals: Some(arrivals), answers: Box::pin(answers), unanswered_bytes: 0 }
    }

    fn poll(&mut self, context: &mut Context<'_>, mut answered: impl FnMut(Answer)) {
        if self.unanswered_bytes > 0 {
            while let Poll::Ready(Some(answer)) = self.answers.as_mut().poll_next(context) {
                self.unanswered_bytes -= answer.bytes;
                answered(answer);
            }
        }
    }
}

impl Arrived {
    fn bytes(&self) -> usize {
        self.payload.len() + KEPT_BESIDE_BYTES
    }
}

async fn offer(hub: &Hub, arrived: &Arrived) -> Result<OfferedCommand, CommandNotTaken> {
    let SentCommand { to, ack, message } = SentCommand::read(arrived.message_format, &arrived.payload)?;
    let command = |message| NewCommand { message, ack, sent_by: arrived.sent_by.clone(), again_of: None };
    let Some(unencoded) = to.unencoded else { return Ok(offer_command(hub, to.device, command(message)).await?) };
    match offer_command(hub, to.device, command(message.clone())).await {
        Err(SendRefused::UnknownDevice(_)) => Ok(offer_command(hub, unencoded, command(message)).await?),
        offered => Ok(offered?),
    }
}

async fn taken(hub: &Hub, offered: Result<OfferedCommand, CommandNotTaken>, arrived: Arrived) -> Answer {
    let taken = match offered {
        Ok(offered) => offered.taken(hub).await.map(drop).map_err(CommandNotTaken::from),
        Err(not_taken) => Err(not_taken),
    };
    Answer { delivery: arrived.delivery, settled: arrived.settled, bytes: arrived.bytes(), taken }
}

impl Conversation<'_> {
    /// A command has come.
    pub(super) fn send_command(&mut self, delivery: &Delivery) {
        // Without a right the link has ended, and nobody waits for an answer.
        if let Some(sent_by) = self.right_of(delivery.link).map(|right| right.policy.clone()) {
            self.back_ends.commands.arrived(delivery, sent_by);
        }
    }

    /// Says what has become of commands.
    pub(super) fn answer_commands(&mut self) {
        for (link, Answer { delivery, settled, taken, .. }) in std::mem::take(&mut self.back_ends.commands.answered) {
            let outcome = match taken {
                Ok(()) => DeliveryState::Accepted(Accepted {}),
                Err(not_taken) => {
                    tracing::debug!(%not_taken, "a back end's command is not taken: {not_taken}");
                    not_taken.outcome()
                }
            };
            if !settled {
                self.engine.settle(link, delivery, outcome);
            }
        }
    }
}
