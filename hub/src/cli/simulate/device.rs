//! One simulated device: what it does with its time, from its first connect to the end of the simulation.
//!
//! Owns its messages until they are acknowledged: what was under way when a connection broke is sent again on the next one. What happens on
//! one connection is in [`super::connection`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use super::behaviour::{Behaviour, OnCommand};
use super::template::Moment;
use super::world::World;
use super::{connection, refusal};
use crate::cli::client::now;
use crate::core::device_id::DeviceId;
use crate::core::identity::SymmetricKey;

/// How far apart two messages are, and how long a device is awake or its connection holds, varies by this part, so that no two march in step.
const JITTER: f64 = 0.1;

/// The first and the longest wait before a lost connection is made again; each doubles the one before.
const RECONNECT_FIRST: Duration = Duration::from_secs(1);
const RECONNECT_LONGEST: Duration = Duration::from_secs(60);

/// Messages that wait to be sent or acknowledged: the hub may hand out more commands at once than there is room to answer.
const OUTBOX_MAX: usize = 64;

/// Who it is and what it is like.
pub(super) struct Identity {
    pub(super) id: DeviceId,
    /// From 1.
    pub(super) number: usize,
    pub(super) key: SymmetricKey,
    pub(super) behaviour: Behaviour,
}

/// A device at work.
pub(super) struct Device {
    pub(super) identity: Arc<Identity>,
    /// Where its signals stand.
    memory: Box<[f64]>,
    /// What it says comes from here, and nothing else does: its n-th message is the same however its connections fare.
    signals: SmallRng,
    /// When it does things comes from here.
    pub(super) whims: SmallRng,
    /// How many messages it has made.
    made: u64,
    pub(super) due: Instant,
    /// What waits to be sent, the oldest first.
    pub(super) outbox: VecDeque<Message>,
}

/// A message of a device, from when it is due until it is acknowledged.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// When it was first sent; `None` until then.
    pub(super) sent: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// All messages that the device was to send are acknowledged.
    Done,
    /// The simulation is over.
    Stopped,
    /// It went to sleep.
    Asleep,
    /// It broke its connection off, because that is its habit.
    Flapped,
    /// It was let in, and lost what it had.
    Lost(String),
    /// It was not let in.
    Refused(String),
}

impl Device {
    pub(super) fn new(identity: Identity, world: &World, seed: u64) -> Self {
        let mut own = SmallRng::seed_from_u64(seed ^ (identity.number as u64) << 32);
        let (mut signals, mut whims) = (SmallRng::from_rng(&mut own), SmallRng::from_rng(&mut own));
        let memory = world.template.memory(&mut signals);
        let due = Instant::now() + world.interval.mul_f64(whims.random());
        Self { identity: Arc::new(identity), memory, signals, whims, made: 0, due, outbox: VecDeque::new() }
    }

    /// Lives until it has done enough or the simulation is over.
    pub(super) async fn live(self, world: &World) {
        if self.identity.behaviour.on_command != OnCommand::Refuse {
            return self.send(world).await;
        }
        let identity = Arc::clone(&self.identity);
        tokio::select! {
            () = self.send(world) => {}
            () = refusal::look(&identity, world) => {}
        }
    }

    async fn send(mut self, world: &World) {
        let mut wait = RECONNECT_FIRST;
        let mut after_a_loss = false;
        loop {
            let ended = Box::pin(connection::run(&mut self, world, after_a_loss)).await;
            if !matches!(ended, Ended::Refused(_)) {
                wait = RECONNECT_FIRST;
                after_a_loss = !matches!(ended, Ended::Asleep);
            }
            match ended {
                Ended::Done | Ended::Stopped => return,
                Ended::Asleep => {
                    if self.sleep(world).await {
                        continue;
                    }
                    return;
                }
                Ended::Flapped => {}
                Ended::Lost(reason) | Ended::Refused(reason) => world.tally.failed(format!("{}: {reason}", self.identity.id)),
            }
            let pause = self.about(wait);
            wait = (wait * 2).min(RECONNECT_LONGEST);
            if !rest(pause, world).await {
                return;
            }
        }
    }

    /// False when the simulation was over before it woke up.
    async fn sleep(&mut self, world: &World) -> bool {
        let asleep = self.identity.behaviour.sleep.map_or(RECONNECT_FIRST, |(_, asleep)| asleep);
        let pause = self.about(asleep);
        world.tally.asleep.more();
        let goes_on = rest(pause, world).await;
        world.tally.asleep.less();
        goes_on
    }

    /// Whether it has made all the messages that it was to send.
    pub(super) fn has_made_all(&self, world: &World) -> bool {
        world.messages.is_some_and(|count| self.made >= count)
    }

    /// Makes the message that is due, and says when the next one is.
    pub(super) fn make_message(&mut self, world: &World) {
        self.made += 1;
        let moment = Moment {
            device: self.identity.id.as_str(),
            number: self.identity.number,
            sequence: self.made,
            now: now(),
            measured_for: world.interval.mul_f64(self.made as f64),
        };
        let payload = world.template.render(&moment, &mut self.memory, &mut self.signals).into_bytes();
        let topic = format!("devices/{}/messages/events/{}", self.identity.id, world.bag);
        self.outbox.push_back(Message { topic, payload, sent: None });
        let pause = self.about(world.interval);
        // After a pause it goes on, and does not catch up.
        self.due = (self.due + pause).max(Instant::now());
    }

    /// Puts a message into the outbox that nobody had planned; false when there is no room.
    pub(super) fn answer(&mut self, topic: String, payload: Vec<u8>) -> bool {
        let room = self.outbox.len() < OUTBOX_MAX;
        if room {
            self.outbox.push_back(Message { topic, payload, sent: None });
        }
        room
    }

    /// Roughly this time.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.whims.random_range(1.0 - JITTER..=1.0 + JITTER))
    }
}

/// False when the simulation was over before the pause was.
async fn rest(pause: Duration, world: &World) -> bool {
    tokio::select! {
        () = sleep(pause) => true,
        () = world.stop.cancelled() => false,
    }
}
