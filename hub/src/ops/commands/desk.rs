//! Who sits at the command desk: one task, from the hub's start to its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use self::upkeep::{Found, forget_absent, prune};
use super::contents::Contents;
use super::lives::Lives;
use super::request::{Answer, Note, Request, Unsent};
use crate::core::change::Change;
use crate::core::command::draft::Draft;
use crate::core::command::machine::{CommandMachine, Consumer};
use crate::core::command::turn::{Decisions, Happening, PollId, Turn};
use crate::core::command::{Command, LockToken, Receiver, Settlement, StepKind};
use crate::core::device_id::DeviceId;
use crate::core::session::{DeviceRight, DisconnectReason, Protocol};
use crate::ops::Hub;
use crate::ops::authenticate::is_good;
use crate::ops::send_command::SendRefused;
use crate::ops::settle_command::SettleError;
use crate::store::commands::CommandsError;

mod handing_out;
mod loading;
mod locks;
mod receipts;
mod upkeep;

/// The most requests that are decided and committed together: beyond it a group's first waits long for its last.
const GROUP_MAX: usize = 512;

/// The longest that the desk sleeps: a step of the wall clock is noticed within that time.
const SLEEP_MAX: Duration = Duration::from_secs(5);

/// Sits at the desk until [`Commands::stop`](super::Commands::stop). At most one task may; another one returns at once.
pub async fn run(hub: Arc<Hub>) {
    let Some(inbox) = hub.commands.inbox.lock().expect("nothing panics while it holds this lock").take() else { return };
    let (found, absent) = oneshot::channel();
    let mut desk = Desk {
        hub: &hub,
        inbox,
        group: Vec::with_capacity(GROUP_MAX),
        polls: HashMap::new(),
        receipts_wanted: receipts::Waiting::default(),
        deleted: BTreeSet::new(),
        contents: Contents::default(),
        found: Some(found),
    };
    tokio::select! {
        () = desk.run() => {}
        _ = async { tokio::join!(prune(&hub), forget_absent(&hub, absent)) } => {}
    }
}

struct Desk<'a> {
    hub: &'a Hub,
    inbox: mpsc::UnboundedReceiver<Request>,
    group: Vec<Request>,
    /// Requests that wait for a command.
    polls: HashMap<PollId, Answer<Option<Unsent>>>,
    /// Back ends that wait for receipts.
    receipts_wanted: receipts::Waiting,
    /// Devices whose deletion is not durable at this desk yet: what loading brings back of them is ended again.
    deleted: BTreeSet<DeviceId>,
    contents: Contents,
    /// Where it says, once, what it found when it first loaded.
    found: Option<oneshot::Sender<Found>>,
}

/// Gives an answer, or says why there is none.
type Release = Box<dyn FnOnce(Result<(), CommandsError>) + Send>;

/// What a group comes to, before it is durable.
#[derive(Default)]
struct Decided {
    decisions: Decisions,
    answers: Vec<Release>,
    /// Those who wait until all has been handed out.
    passing: Vec<oneshot::Sender<()>>,
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
                self.refuse_polls(&error);
                self.receipts_wanted.refuse(&error);
                loaded = !stop && self.reload().await;
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

    /// Lets the machine decide the group, in order. Whoever has stopped waiting gets nothing, and locks nothing.
    async fn decide(&mut self) -> Decided {
        let hub = self.hub;
        self.group.retain(Request::is_wanted);
        self.shut_out();
        let mut group = std::mem::take(&mut self.group);
        let lives = Lives::of_group(hub, &group).await;
        let mut fresh_token = || LockToken(rand::random());
        let mut turn = Turn::new(hub.now(), &mut fresh_token);
        let (mut answers, mut passing, mut stop) = (Vec::new(), Vec::new(), false);
        let unsent = self.take_back_unsent(turn.now);
        let mut machine = hub.commands.machine();
        for (device, token) in unsent {
            machine.not_sent(&device, token, &mut turn);
        }
        machine.time_passed(&mut turn);
        for request in group.drain(..) {
            stop |= matches!(request, Request::Note(Note::Stop));
            if let Request::Pass(done) = request {
                passing.push(done);
                continue;
            }
            answers.extend(self.decide_one(request, &mut machine, &lives, &mut turn));
        }
        self.hand_out_receipts(&mut machine, &mut turn, &mut answers);
        self.group = group;
        Decided { decisions: turn.decisions, answers, passing, stop }
    }

    fn decide_one(&mut self, request: Request, machine: &mut CommandMachine, lives: &Lives, turn: &mut Turn<'_>) -> Option<Release> {
        match request {
            Request::Pass(_) => None,
            Request::Note(note) => {
                if let Note::Deleted(device) = &note {
                    self.deleted.insert(device.clone());
                }
                take_note(machine, note, lives, turn);
                None
            }
            Request::Poll(right, poll, mut answer) => {
                // A request of a former life would end what waits for the present one.
                if !lives.identity(&right.device_id).is_ok_and(|identity| is_good(self.hub, &right, identity)) {
                    return Some(later(answer, None));
                }
                answer.make_room();
                self.polls.insert(poll.id, answer);
                machine.poll(&right.device_id, &right.generation_id, poll, turn);
                None
            }
            // Its group has come after all that was under way, whether or not this one can be written.
            Request::Changed(_, done) => Some(Box::new(move |_| {
                let _ = done.send(());
            })),
            Request::Send(draft, answer) => Some(later(answer, self.send(draft, machine, lives, turn))),
            Request::Settle(right, token, settlement, answer) => {
                Some(later(answer, self.settle(&right, (token, settlement), machine, lives, turn)))
            }
            Request::Purge(device, answer) => Some(later(answer, machine.purge(&device, turn))),
            Request::ReceiveReceipts(max, answer) => Some(later(answer, machine.receive_receipts(max, turn))),
            Request::TakeReceipts(max, answer) => Some(later(answer, self.take_receipts(max, machine, turn))),
            Request::AwaitReceipts(max, answer) => {
                self.receipts_wanted.join(max, answer);
                None
            }
            Request::SettleReceipts(token, settlement, answer) => Some(later(answer, machine.settle_receipts(token, settlement, turn))),
        }
    }

    fn send(
        &mut self,
        draft: Draft,
        machine: &mut CommandMachine,
        lives: &Lives,
        turn: &mut Turn<'_>,
    ) -> Result<Arc<Command>, SendRefused> {
        // A command for a former life would end what waits for the present one.
        if !lives.is_present(&draft.device_id, &draft.generation_id)? {
            return Err(SendRefused::UnknownDevice(draft.device_id));
        }
        let content = draft.content.clone();
        let command = machine.send(draft, turn).inspect_err(|_full| self.hub.metrics.command_throttled())?;
        self.contents.put(command.id, content);
        Ok(command)
    }

    /// For a device without a session.
    fn settle(
        &self,
        right: &DeviceRight,
        (token, settlement): (LockToken, Settlement),
        machine: &mut CommandMachine,
        lives: &Lives,
        turn: &mut Turn<'_>,
    ) -> Result<(), SettleError> {
        if !is_good(self.hub, right, lives.identity(&right.device_id)?) {
            return Err(SettleError::NoLongerGood);
        }
        let by = Receiver { protocol: Protocol::Https, connection: None };
        Ok(machine.settle(&right.device_id, token, settlement, by, turn)?)
    }

    /// Commits, and lets it be seen.
    async fn carry_out(&mut self, decided: Decided) -> Result<(), CommandsError> {
        let Decided { decisions: Decisions { writes, happenings, handouts, in_vain }, answers, passing, stop: _ } = decided;
        // Contents first: a delivery whose content could not be read would count without ever having left.
        let ready = self.make_ready(handouts).await;
        let committed = match &ready {
            Err(error) => Err(error.clone()),
            Ok(_) if writes.is_empty() => Ok(()),
            Ok(_) => self.hub.command_store.commit(&writes).await,
        };
        for answer in answers {
            answer(committed.clone());
        }
        committed?;
        self.deleted.clear();
        self.tell_watchers(happenings);
        for poll in in_vain {
            self.end_poll(poll);
        }
        self.hand_out(ready?);
        // Those of a group that could not be written are let go of, and wait no more either.
        for done in passing {
            let _ = done.send(());
        }
        Ok(())
    }

    fn tell_watchers(&mut self, happenings: Vec<Happening>) {
        let (hub, now) = (self.hub, self.hub.now());
        for happening in happenings {
            match happening {
                Happening::Receipt(receipt) => {
                    hub.metrics.receipt_made(receipt.outcome);
                    hub.changes.publish(now, Change::Receipt(receipt));
                }
                Happening::ReceiptStep(receipt, step) => {
                    hub.metrics.receipt_left(step.kind == StepKind::ReceiptRead);
                    hub.changes.publish(now, Change::ReceiptStep(receipt, step));
                }
                Happening::Step(command, step) => {
                    hub.rates.command_step(&command, &step);
                    match &step.kind {
                        StepKind::Enqueued => hub.metrics.command_enqueued(command.size_bytes),
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
}

fn take_note(machine: &mut CommandMachine, note: Note, lives: &Lives, turn: &mut Turn<'_>) {
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
        // What the device said before it went counts, but not what it said before it was shut out: whoever did that has been told so.
        Note::Settle(session, token, settlement) => {
            if !session.ended().is_some_and(DisconnectReason::is_revocation) {
                let by = Receiver { protocol: session.protocol(), connection: Some(session.connection()) };
                // A lock that is lost has been counted as such; nobody waits for the word.
                let _ = machine.settle(session.device_id(), token, settlement, by, turn);
            }
        }
        Note::SettleReceipts(token, settlement) => {
            let _ = machine.settle_receipts(token, settlement, turn);
        }
        Note::Lost(device, token, by) => {
            let _ = machine.settle(&device, token, Settlement::Abandon, by, turn);
        }
        Note::NotSent(device, token) => machine.not_sent(&device, token, turn),
        Note::Deleted(device) => machine.forget(&device, lives.since_deletion(&device), turn),
        Note::Stop => {}
    }
}

/// Keeps an answer until it is durable.
fn later<T: Send + 'static>(answer: Answer<T>, value: T) -> Release {
    Box::new(move |committed| answer.give(committed.map(|()| value)))
}
