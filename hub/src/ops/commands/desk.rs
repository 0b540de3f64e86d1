//! Who sits at the command desk: one task, from the hub's start to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::contents::Contents;
use super::request::{Answer, DeviceSettles, Note, Request, Unsent};
use crate::core::change::Change;
use crate::core::command::machine::{CommandMachine, Consumer};
use crate::core::command::turn::{Decisions, Handout, Happening, PollId, Recipient, Turn};
use crate::core::command::{CommandId, Delivery, KEPT_FOR, LockToken, Settlement, StepKind};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::commands::CommandsError;

mod locks;

/// The most requests that are decided and committed together: beyond it a group's first waits long for its last.
const GROUP_MAX: usize = 512;

/// The longest that the desk sleeps: a step of the wall clock is noticed within that time.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// How long the desk waits, after the store has failed, before it reads from it; doubled with each failure.
const RELOAD_AFTER: Duration = Duration::from_millis(100);

/// The longest of those waits.
const RELOAD_AFTER_MAX: Duration = Duration::from_secs(5);

/// How often commands are forgotten that ended long ago.
const PRUNE_EVERY: Duration = Duration::from_secs(5 * 60);

/// How many of them at a time, so that the store's writer is soon free again.
const PRUNED_AT_ONCE_MAX: usize = 500;

/// Sits at the desk until [`Commands::stop`](super::Commands::stop). At most one task may; another one returns at once.
pub async fn run(hub: Arc<Hub>) {
    let Some(inbox) = hub.commands.inbox.lock().expect("nothing panics while it holds this lock").take() else { return };
    let mut desk = Desk { hub: &hub, inbox, group: Vec::with_capacity(GROUP_MAX), polls: HashMap::new(), contents: Contents::default() };
    tokio::select! {
        () = desk.run() => {}
        () = prune(&hub) => {}
    }
}

/// Forgets what ended long ago, for ever.
async fn prune(hub: &Hub) {
    loop {
        sleep(PRUNE_EVERY).await;
        let before = UnixMillis(hub.now().0.saturating_sub(i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX)));
        loop {
            match hub.command_store.prune(before, PRUNED_AT_ONCE_MAX).await {
                Ok(PRUNED_AT_ONCE_MAX..) => tokio::task::yield_now().await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "commands that ended long ago can't be forgotten now: {error}");
                    break;
                }
            }
        }
    }
}

struct Desk<'a> {
    hub: &'a Hub,
    inbox: mpsc::UnboundedReceiver<Request>,
    group: Vec<Request>,
    /// Requests that wait for a command.
    polls: HashMap<PollId, Answer<Option<Unsent>>>,
    contents: Contents,
}

/// Gives an answer, or says why there is none.
type Release = Box<dyn FnOnce(Result<(), CommandsError>) + Send>;

/// What a group comes to, before it is durable.
#[derive(Default)]
struct Decided {
    decisions: Decisions,
    answers: Vec<Release>,
    stop: bool,
}

impl Desk<'_> {
    async fn run(&mut self) {
        let mut loaded = self.reload().await;
        while loaded {
            self.gather().await;
            let decided = self.decide().await;
            let stop = decided.stop;
            if let Err(error) = self.carry_out(decided).await {
                tracing::error!(%error, "commands can't be written: {error}");
                loaded = self.reload().await && !stop;
            } else if stop {
                return self.give_all_back().await;
            }
        }
    }

    /// Waits for requests, or for the time at which the machine has something to do.
    async fn gather(&mut self) {
        let now = self.hub.now();
        let deadline = self.hub.commands.machine().deadline();
        let until = Instant::now() + deadline.map_or(SLEEP_MAX, |deadline| deadline.since(now).min(SLEEP_MAX));
        tokio::select! {
            biased;
            _ = self.inbox.recv_many(&mut self.group, GROUP_MAX) => {}
            () = sleep_until(until) => {}
        }
    }

    /// Lets the machine decide the group, in order.
    async fn decide(&mut self) -> Decided {
        let hub = self.hub;
        let mut group = std::mem::take(&mut self.group);
        let lives = self.present_lives(&group).await;
        let mut fresh_token = || LockToken(rand::random());
        let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
        let (mut answers, mut stop) = (Vec::new(), false);
        let unsent = self.take_back_unsent(turn.now);
        let mut machine = hub.commands.machine();
        for (device, token) in unsent {
            machine.not_sent(&device, token, &mut turn);
        }
        machine.time_passed(&mut turn);
        for request in group.drain(..) {
            match request {
                Request::Note(Note::Stop) => stop = true,
                Request::Note(note) => take_note(&mut machine, note, &lives, &mut turn),
                Request::Poll(device, generation, poll, answer) => {
                    self.polls.insert(poll.id, answer);
                    machine.poll(&device, &generation, poll, &mut turn);
                }
                Request::Send(draft, answer) => {
                    let content = draft.content.clone();
                    let sent = machine.send(draft, &mut turn);
                    if let Ok(command) = &sent {
                        self.contents.put(command.id, content);
                    }
                    answers.push(later(answer, sent));
                }
                Request::Settle(DeviceSettles { device, token, settlement, by }, answer) => {
                    answers.push(later(answer, machine.settle(&device, token, settlement, by, &mut turn)));
                }
                Request::Purge(device, answer) => answers.push(later(answer, machine.purge(&device, &mut turn))),
                Request::ReceiveReceipts(max, answer) => answers.push(later(answer, machine.receive_receipts(max, &mut turn))),
                Request::SettleReceipts(token, settlement, answer) => {
                    answers.push(later(answer, machine.settle_receipts(token, settlement, &mut turn)));
                }
            }
        }
        self.group = group;
        Decided { decisions: turn.decisions, answers, stop }
    }

    /// Which life of their identity those devices are in that were deleted, in case somebody has made them anew meanwhile.
    async fn present_lives(&self, group: &[Request]) -> HashMap<DeviceId, GenerationId> {
        let mut lives = HashMap::new();
        for request in group {
            if let Request::Note(Note::Deleted(device)) = request
                && self.hub.commands.machine().knows(device)
                // When the registry does not answer, what was said counts: deleted.
                && let Ok(Some(identity)) = self.hub.identities.get(&*self.hub.registry, device).await
            {
                lives.insert(device.clone(), identity.generation_id.clone());
            }
        }
        lives
    }

    /// Commits, and lets it be seen.
    async fn carry_out(&mut self, decided: Decided) -> Result<(), CommandsError> {
        let Decided { decisions, answers, stop: _ } = decided;
        let committed = if decisions.writes.is_empty() { Ok(()) } else { self.hub.command_store.commit(&decisions.writes).await };
        for answer in answers {
            answer(committed.clone());
        }
        committed?;
        self.tell_watchers(decisions.happenings);
        for poll in decisions.in_vain {
            self.end_poll(poll);
        }
        self.hand_out(decisions.handouts).await
    }

    fn tell_watchers(&mut self, happenings: Vec<Happening>) {
        let (hub, now) = (self.hub, self.hub.now());
        for happening in happenings {
            match happening {
                Happening::Receipt(receipt) => hub.changes.publish(now, Change::Receipt(receipt)),
                Happening::ReceiptStep(receipt, step) => hub.changes.publish(now, Change::ReceiptStep(receipt, step)),
                Happening::Step(command, step) => {
                    match &step.kind {
                        StepKind::Enqueued => hub.metrics.command_enqueued(),
                        StepKind::Delivered { receiver, .. } => hub.metrics.command_delivered(receiver.protocol),
                        StepKind::Ended { outcome, .. } => {
                            hub.metrics.command_ended(*outcome);
                            self.contents.remove(command.id);
                        }
                        StepKind::Returned(_) | StepKind::ReceiptRead | StepKind::ReceiptLost(_) | StepKind::SentAgain(_) => {}
                    }
                    hub.changes.publish(now, Change::Command(command, step));
                }
            }
        }
        hub.metrics.commands_waiting(hub.commands.statistics());
    }

    async fn hand_out(&mut self, handouts: Vec<Handout>) -> Result<(), CommandsError> {
        // The same group may have ended what it had handed out before.
        let is_held = |handout: &Handout| self.hub.commands.machine().is_locked(&handout.command.device_id, handout.token);
        let (handouts, stale): (Vec<Handout>, Vec<Handout>) = handouts.into_iter().partition(is_held);
        for handout in stale {
            if let Recipient::Poll(poll) = handout.to {
                self.end_poll(poll);
            }
        }
        let missing = handouts.iter().map(|handout| handout.command.id).filter(|id| self.contents.get(*id).is_none());
        let missing: Vec<CommandId> = missing.collect();
        let mut read: HashMap<CommandId, Bytes> = HashMap::new();
        if !missing.is_empty() {
            read.extend(self.hub.command_store.contents(&missing).await?);
        }
        for handout in handouts {
            let id = handout.command.id;
            match read.get(&id).cloned().or_else(|| self.contents.get(id)) {
                Some(content) => self.deliver(handout, content),
                None => self.give_up(&handout),
            }
        }
        Ok(())
    }

    /// To the connection or the poll that it is for. Whoever has gone meanwhile gets nothing, and it does not count.
    fn deliver(&mut self, handout: Handout, content: Bytes) {
        let Handout { to, receiver: _, command, token, locked_until } = handout;
        let device = &command.device_id;
        let delivery = Delivery {
            command: command.id,
            token,
            locked_until,
            delivery_count: command.delivery_count,
            enqueued_time: command.enqueued_time,
            content,
        };
        match to {
            Recipient::Connection(connection) => {
                let session = self.hub.presence.session(device, connection);
                if session.is_none_or(|session| session.deliver(delivery).is_err()) {
                    self.hub.commands.tell(Note::Gone(device.clone(), connection, token));
                }
            }
            Recipient::Poll(poll) => {
                let delivery = Unsent::new(device.clone(), delivery, self.hub.commands.sender());
                if let Some(answer) = self.polls.remove(&poll) {
                    let _ = answer.send(Ok(Some(delivery)));
                }
            }
        }
    }

    /// The store has lost a content. The delivery counts, so that the command ends some time.
    fn give_up(&mut self, handout: &Handout) {
        let (id, device) = (handout.command.id, &handout.command.device_id);
        tracing::error!(command = %id, %device, "the content of command {id} for device {device} is lost, it can't be delivered");
        if let Recipient::Poll(poll) = handout.to {
            self.end_poll(poll);
        }
        let by = handout.receiver;
        let abandons = DeviceSettles { device: device.clone(), token: handout.token, settlement: Settlement::Abandon, by };
        self.hub.commands.tell(Note::Settle(abandons));
    }

    fn end_poll(&mut self, poll: PollId) {
        if let Some(answer) = self.polls.remove(&poll) {
            let _ = answer.send(Ok(None));
        }
    }

    /// Begins with what the store has, as soon as it answers; whoever asks meanwhile is told why not. False when the desk is to end.
    async fn reload(&mut self) -> bool {
        let mut wait = RELOAD_AFTER;
        loop {
            let Err(error) = self.load().await else { return true };
            tracing::error!(%error, "commands can't be read, will try again: {error}");
            let until = Instant::now() + wait;
            loop {
                tokio::select! {
                    biased;
                    () = sleep_until(until) => break,
                    _ = self.inbox.recv_many(&mut self.group, GROUP_MAX) => if !self.refuse_group(&error) {
                        return false;
                    },
                }
            }
            wait = (2 * wait).min(RELOAD_AFTER_MAX);
        }
    }

    async fn load(&mut self) -> Result<(), CommandsError> {
        self.contents = Contents::default();
        let pending = self.hub.command_store.load().await?;
        let decisions = {
            let mut fresh_token = || LockToken(rand::random());
            let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
            self.hub.commands.machine().load(pending, &mut turn);
            turn.decisions
        };
        self.carry_out(Decided { decisions, ..Decided::default() }).await
    }

    /// Nobody gets what he asked for; what connections said about themselves counts all the same. False when the desk is to end.
    fn refuse_group(&mut self, error: &CommandsError) -> bool {
        let mut fresh_token = || LockToken(rand::random());
        let mut turn = Turn::new(self.hub.now(), &mut fresh_token);
        let hub = self.hub;
        let mut machine = hub.commands.machine();
        for request in self.group.drain(..) {
            match request {
                Request::Send(_, answer) => refuse(answer, error),
                Request::Poll(_, _, _, answer) => refuse(answer, error),
                Request::Settle(_, answer) | Request::SettleReceipts(_, _, answer) => refuse(answer, error),
                Request::Purge(_, answer) => refuse(answer, error),
                Request::ReceiveReceipts(_, answer) => refuse(answer, error),
                Request::Note(Note::Stop) => return false,
                // Who takes deliveries outlives the loading; the rest of what this decides does not.
                Request::Note(note) => take_note(&mut machine, note, &HashMap::new(), &mut turn),
            }
        }
        true
    }
}

fn take_note(machine: &mut CommandMachine, note: Note, lives: &HashMap<DeviceId, GenerationId>, turn: &mut Turn<'_>) {
    match note {
        Note::Look(session) => {
            let window = session.mailbox().look();
            let (device, connection) = (session.device_id(), session.connection());
            if window == 0 || session.ended().is_some() {
                machine.unsubscribe(device, connection);
            } else {
                let consumer = Consumer { connection, protocol: session.protocol(), window };
                machine.subscribe(device, &session.right().generation_id, consumer, turn);
            }
        }
        Note::Closed(session, unsent) => machine.close(session.device_id(), session.connection(), &unsent, turn),
        Note::Gone(device, connection, token) => {
            machine.unsubscribe(&device, connection);
            machine.not_sent(&device, token, turn);
        }
        Note::Settle(DeviceSettles { device, token, settlement, by }) => {
            // A lock that is lost has been counted as such; nobody waits for the word.
            let _ = machine.settle(&device, token, settlement, by, turn);
        }
        Note::NotSent(device, token) => machine.not_sent(&device, token, turn),
        Note::Deleted(device) => machine.forget(&device, lives.get(&device), turn),
        Note::Stop => {}
    }
}

/// Keeps an answer until it is durable.
fn later<T: Send + 'static>(answer: Answer<T>, value: T) -> Release {
    Box::new(move |committed| {
        let _ = answer.send(committed.map(|()| value));
    })
}

fn refuse<T>(answer: Answer<T>, error: &CommandsError) {
    let _ = answer.send(Err(error.clone()));
}
