//! Receipts for back ends: an array of them for each credit, as soon as there are some, and settled as the receiver says.
//!
//! Each link asks for one array at a time, behind the others of the hub that wait, so receivers share. What is not settled when its link or
//! connection is lost goes back by itself.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use fe2o3_amqp_types::messaging::DeliveryState;

use super::commands::settlement;
use super::{Conversation, conditions};
use crate::amqp::engine::{self, DeliveryTag, LinkId, NotSent, Outgoing};
use crate::amqp::feedback;
use crate::core::command::Settlement;
use crate::core::command::receipt_document::RECEIPTS_MAX;
use crate::ops::receive_feedback::{ReceiptsInHand, ReceiptsLock, await_feedback, take_feedback};
use crate::ops::{CommandsError, Hub};

/// The most arrays on one link that are not settled: a receiver that settles none keeps no more than this from the others.
const WINDOW_ARRAYS: usize = 8;

/// The receivers of a connection.
pub struct FeedbackReceivers<'a> {
    hub: &'a Hub,
    links: HashMap<LinkId, Receiver<'a>>,
    /// What is settled once it has been written.
    unwritten: Vec<ReceiptsLock>,
}

/// One link.
struct Receiver<'a> {
    /// Whether it wants to settle nothing: what has left is read.
    settles_nothing: bool,
    /// Whether it wants its credit used up, or back.
    drains: bool,
    /// How many receipts an array may have: fewer than all when the receiver's messages are small.
    at_once: usize,
    asked: Asked<'a>,
    unsettled: HashMap<u32, ReceiptsLock>,
    /// With [`Self::settles_nothing`]: what has begun to leave, and its number.
    sending: Option<(u32, ReceiptsLock)>,
}

/// What a receiver has asked the desk for.
enum Asked<'a> {
    Nothing,
    /// For what there is, or for what there will be.
    Receipts(Pin<Box<dyn Future<Output = Result<Option<ReceiptsInHand>, CommandsError>> + Send + 'a>>),
    /// It has been answered.
    Answered(Result<Option<ReceiptsInHand>, CommandsError>),
}

impl<'a> FeedbackReceivers<'a> {
    pub fn new(hub: &'a Hub) -> Self {
        Self { hub, links: HashMap::new(), unwritten: Vec::new() }
    }

    /// Whether there is something to wait for.
    pub fn is_waiting(&self) -> bool {
        !self.links.is_empty()
    }

    /// Goes on with all of them; ready when one has been answered.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        for receiver in self.links.values_mut() {
            if let Asked::Receipts(asked) = &mut receiver.asked
                && let Poll::Ready(answer) = asked.as_mut().poll(context)
            {
                receiver.asked = Asked::Answered(answer);
                progress = Poll::Ready(());
            }
        }
        progress
    }

    /// The link has been granted.
    pub fn granted(&mut self, link: LinkId, settles_nothing: bool) {
        let (asked, unsettled) = (Asked::Nothing, HashMap::new());
        let receiver = Receiver { settles_nothing, drains: false, at_once: RECEIPTS_MAX, asked, unsettled, sending: None };
        self.links.insert(link, receiver);
    }

    /// The connection is gone, and so are they all.
    pub fn finish(&mut self) {
        self.links.clear();
        self.unwritten.clear();
    }

    /// The link is gone; what it had and did not settle goes back.
    pub fn link_gone(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// What nobody settles is in the output, whole.
    pub fn sent(&mut self, link: LinkId, number: u32) {
        let sending = self.links.get_mut(&link).and_then(|receiver| receiver.sending.take_if(|(sent, _)| *sent == number));
        self.unwritten.extend(sending.map(|(_, lock)| lock));
    }

    /// Everything has left: what is settled by that is read.
    pub fn written(&mut self) {
        self.unwritten.drain(..).for_each(|lock| lock.settle(Settlement::Complete));
    }
}

impl<'a> Receiver<'a> {
    /// Asks for receipts if more may be sent.
    fn ask(&mut self, hub: &'a Hub) {
        let at_once = self.at_once;
        self.asked = if self.drains {
            Asked::Receipts(Box::pin(take_feedback(hub, at_once)))
        } else {
            Asked::Receipts(Box::pin(async move { await_feedback(hub, at_once).await.map(Some) }))
        };
    }
}

/// What is left to do on a link.
enum Next {
    /// Nothing, before something else happens.
    Wait,
    /// Look once more.
    GoOn,
    /// There is nothing (more) to send, and its credit is wanted back.
    Drained,
    /// It ends.
    End(fe2o3_amqp_types::definitions::Error),
}

impl Conversation<'_> {
    /// A receiver has credit, or wants it used up.
    pub(super) fn feedback_credit(&mut self, link: LinkId, drain: bool) {
        let Some(receiver) = self.back_ends.feedback.links.get_mut(&link) else { return };
        receiver.drains = drain;
        if drain && matches!(receiver.asked, Asked::Receipts(_)) {
            // Instead of waiting it asks what there is.
            receiver.asked = Asked::Nothing;
        }
        self.serve_receiver(link);
    }

    /// Sends the receipts that have come, and asks for more.
    pub(super) fn send_feedback(&mut self) {
        let links: Vec<LinkId> = self.back_ends.feedback.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.serve_receiver(link));
    }

    fn serve_receiver(&mut self, link: LinkId) {
        while self.right_of(link).is_some() {
            match self.step(link) {
                Next::GoOn => {}
                Next::Wait => return,
                Next::Drained => return self.engine.drained(link),
                Next::End(error) => return self.end_link(link, error),
            }
        }
    }

    fn step(&mut self, link: LinkId) -> Next {
        let Self { engine, back_ends, .. } = self;
        let FeedbackReceivers { hub, links, unwritten } = &mut back_ends.feedback;
        let Some(receiver) = links.get_mut(&link) else { return Next::Wait };
        // What is not its own any more does not keep it from more.
        receiver.unsettled.retain(|_, lock| lock.holds(hub.now()));
        match std::mem::replace(&mut receiver.asked, Asked::Nothing) {
            Asked::Nothing if engine.sendable(link) > 0 && receiver.unsettled.len() < WINDOW_ARRAYS => {
                receiver.ask(hub);
                Next::Wait
            }
            // Nothing can be sent, or there was nothing to be had.
            Asked::Nothing | Asked::Answered(Ok(None)) if std::mem::take(&mut receiver.drains) => Next::Drained,
            Asked::Nothing => Next::Wait,
            // It was drained, and is not any more.
            Asked::Answered(Ok(None)) => Next::GoOn,
            asked @ Asked::Receipts(_) => {
                receiver.asked = asked;
                Next::Wait
            }
            // The lock is lost, and what it locked is somebody else's.
            Asked::Answered(Ok(Some(receipts))) if receipts.batch().locked_until <= hub.now() => Next::GoOn,
            Asked::Answered(Ok(Some(receipts))) => receiver.send(engine, hub, link, receipts, unwritten),
            Asked::Answered(Err(error)) => {
                tracing::warn!(%error, "a back end that receives receipts is sent away: {error}");
                Next::End(conditions::no_receipts_now())
            }
        }
    }

    /// What a receiver says of an array.
    pub(super) fn settle_feedback(&mut self, link: LinkId, number: u32, state: Option<&DeliveryState>) {
        let Some(receiver) = self.back_ends.feedback.links.get_mut(&link) else { return };
        let Some(lock) = receiver.unsettled.remove(&number) else { return };
        match state {
            // Nobody else would get what is undeliverable here.
            Some(DeliveryState::Modified(_)) => lock.settle(Settlement::Abandon),
            // Whoever forgets it without a word has not said that it is read.
            state => lock.settle(settlement(state).unwrap_or(Settlement::Abandon)),
        }
    }
}

impl Receiver<'_> {
    fn send(
        &mut self,
        engine: &mut engine::Connection,
        hub: &Hub,
        link: LinkId,
        receipts: ReceiptsInHand,
        unwritten: &mut Vec<ReceiptsLock>,
    ) -> Next {
        let batch = receipts.batch();
        let tag = DeliveryTag::new(&batch.token.0).expect("sixteen bytes fit");
        let mut bytes = Vec::new();
        feedback::write(hub.names.primary(), batch, &mut bytes);
        match engine.send(link, &Outgoing { tag, message_format: 0, settled: self.settles_nothing, payload: &[&bytes] }) {
            Ok(number) if self.settles_nothing && engine.is_sending(link) => self.sending = Some((number, receipts.into_lock())),
            Ok(_) if self.settles_nothing => unwritten.push(receipts.into_lock()),
            Ok(number) => drop(self.unsettled.insert(number, receipts.into_lock())),
            // Its credit was taken back: somebody else gets them.
            Err(NotSent::NoLink | NotSent::NoCredit) => {}
            // They leave after what is on its way.
            Err(NotSent::NoWindow | NotSent::Unsettled | NotSent::OutputFull) => {
                self.asked = Asked::Answered(Ok(Some(receipts)));
                return Next::Wait;
            }
            Err(NotSent::TooLarge) if batch.receipts.len() == 1 => return Next::End(conditions::receipt_too_large()),
            Err(NotSent::TooLarge) => self.at_once = batch.receipts.len() / 2,
        }
        Next::GoOn
    }
}
