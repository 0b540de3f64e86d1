//! A machine, a clock, a store that keeps what the machine writes, and what it handed out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::super::{CommandMachine, Consumer, NoRoom, Poll};
use crate::core::command::draft::Draft;
use crate::core::command::turn::{Decisions, Handout, Happening, PollId, Turn};
use crate::core::command::write::Pending;
use crate::core::command::{Acknowledgement, Command, CommandId, CommandLimits, LockToken, Outcome, Receipt, Receiver, Settlement, Step};
use crate::core::device_id::DeviceId;
use crate::core::identity::GenerationId;
use crate::core::session::{ConnectionId, Protocol};
use crate::core::time::UnixMillis;
use crate::store::commands::Commands as _;
use crate::store::memory::commands::MemoryCommands;

pub const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Small, so that tests reach them.
pub fn small_limits() -> CommandLimits {
    CommandLimits {
        default_ttl: Duration::from_secs(300),
        lock_time: Duration::from_secs(60),
        delivery_count_max: 3,
        queue_depth_max: 4,
        pending_max: 9,
        feedback_ttl: Duration::from_secs(600),
        feedback_lock_time: Duration::from_secs(30),
        feedback_delivery_count_max: 2,
        feedback_max: 5,
    }
}

pub fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub fn generation(number: u32) -> GenerationId {
    GenerationId(number.to_string())
}

pub struct Rig {
    pub machine: CommandMachine,
    pub now: UnixMillis,
    pub store: MemoryCommands,
    limits: CommandLimits,
    tokens: u128,
    /// What was handed out and nobody has taken note of.
    pub handouts: Vec<Handout>,
    pub in_vain: Vec<PollId>,
    /// What the last turn had to tell.
    pub happenings: Vec<Happening>,
}

impl Rig {
    pub fn new(limits: CommandLimits) -> Self {
        Self {
            machine: CommandMachine::new(limits.clone()),
            now: START,
            store: MemoryCommands::default(),
            limits,
            tokens: 0,
            handouts: Vec::new(),
            in_vain: Vec::new(),
            happenings: Vec::new(),
        }
    }

    /// One turn with one request, written at once.
    pub fn turn<T>(&mut self, request: impl FnOnce(&mut CommandMachine, &mut Turn<'_>) -> T) -> T {
        let mut fresh_token = || {
            self.tokens += 1;
            LockToken(self.tokens.to_be_bytes())
        };
        let mut turn = Turn::new(self.now, &mut fresh_token);
        self.machine.time_passed(&mut turn);
        let answer = request(&mut self.machine, &mut turn);
        let Decisions { writes, handouts, in_vain, happenings } = turn.decisions;
        self.happenings = happenings;
        self.store.commit(&writes).now_or_never().unwrap().unwrap();
        self.handouts.extend(handouts);
        self.in_vain.extend(in_vain);
        answer
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.turn(|_, _| ());
    }

    /// Another machine on the same store.
    pub fn restart(&mut self) {
        self.machine = CommandMachine::new(self.limits.clone());
        self.load();
    }

    /// The same machine loads again.
    pub fn load(&mut self) {
        self.load_these(self.pending());
    }

    pub fn load_these(&mut self, pending: Pending) {
        self.handouts.clear();
        let mut fresh_token = || {
            self.tokens += 1;
            LockToken(self.tokens.to_be_bytes())
        };
        let mut turn = Turn::new(self.now, &mut fresh_token);
        self.machine.load(pending, &mut turn);
        let Decisions { writes, handouts, in_vain, happenings } = turn.decisions;
        self.happenings = happenings;
        self.store.commit(&writes).now_or_never().unwrap().unwrap();
        self.handouts.extend(handouts);
        self.in_vain.extend(in_vain);
    }

    pub fn pending(&self) -> Pending {
        self.store.load().now_or_never().unwrap().unwrap()
    }

    pub fn try_send(&mut self, draft: Draft) -> Result<Arc<Command>, NoRoom> {
        self.turn(|machine, turn| machine.send(draft, turn))
    }

    pub fn send(&mut self, to: &str, ack: Acknowledgement) -> CommandId {
        self.try_send(draft(to, ack)).unwrap().id
    }

    pub fn subscribe(&mut self, name: &str, connection: u64, window: u16) {
        let consumer = Consumer { connection: ConnectionId(connection), protocol: Protocol::Mqtt, window };
        self.turn(|machine, turn| machine.subscribe(&device(name), &generation(1), consumer, turn));
    }

    pub fn close(&mut self, name: &str, connection: u64, unsent: &[LockToken]) {
        self.turn(|machine, turn| machine.close(&device(name), ConnectionId(connection), unsent, turn));
    }

    pub fn poll(&mut self, name: &str, id: u64, wait_s: u64) {
        let until = self.now.plus(Duration::from_secs(wait_s));
        let poll = Poll { id: PollId(id), protocol: Protocol::Https, lock_time: None, until };
        self.turn(|machine, turn| machine.poll(&device(name), &generation(1), poll, turn));
    }

    /// What was handed out since the last time.
    pub fn taken(&mut self) -> Vec<Handout> {
        std::mem::take(&mut self.handouts)
    }

    /// The one thing that was handed out since the last time.
    pub fn taken_one(&mut self) -> Handout {
        let mut taken = self.taken();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    pub fn settle(&mut self, handout: &Handout, settlement: Settlement) -> bool {
        let by = Receiver { protocol: Protocol::Mqtt, connection: None };
        let device = handout.command.device_id.clone();
        self.turn(|machine, turn| machine.settle(&device, handout.token, settlement, by, turn)).is_ok()
    }

    pub fn command(&self, id: CommandId) -> Command {
        self.store.command(id).now_or_never().unwrap().unwrap().unwrap()
    }

    pub fn outcome(&self, id: CommandId) -> Option<Outcome> {
        self.command(id).ended.map(|(outcome, _)| outcome)
    }

    pub fn steps(&self, id: CommandId) -> Vec<Step> {
        self.store.history(id).now_or_never().unwrap().unwrap().unwrap().1
    }

    /// The receipts in the store.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.pending().receipts
    }
}

/// A command with a message-id and no expiry of its own.
pub fn draft(to: &str, ack: Acknowledgement) -> Draft {
    Draft {
        device_id: device(to),
        generation_id: generation(1),
        message_id: Some("m".to_owned()),
        ack,
        sent_by: "service".to_owned(),
        again_of: None,
        expiry_time: None,
        content: bytes::Bytes::from_static(b"content"),
    }
}
