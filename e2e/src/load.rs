//! Devices that send without pause, each its own numbers in order, over whatever hub is there: the crash ring's load.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use fe2o3_amqp::types::messaging::{Data, Outcome};
use fe2o3_amqp::types::primitives::Binary;
use tokio::sync::watch;

use crate::amqp;
use crate::hub::Ready;
use crate::mqtt::{Connection, Packet, events_topic, publish};

/// How many messages a device has under way at once.
pub const WINDOW: u64 = 16;

/// A device's memory, which outlives its connections.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Whose.
    pub device: String,
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
}

impl Sender {
    /// A device that has sent nothing yet.
    #[must_use]
    pub fn new(device: &str) -> Self {
        Self { device: device.to_owned(), acknowledged: Arc::default() }
    }

    /// The numbers of all messages that the hub has acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first message that is not known to be on disk: where a new connection goes on.
    fn next(&self) -> u64 {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |last| last + 1)
    }

    /// Connects and sends until the connection breaks; counts every PUBACK in `progress`.
    ///
    /// # Errors
    /// When the hub lets it not in, or sends something else than the PUBACKs in order.
    pub async fn send_until_killed(&self, hub: &Ready, progress: &watch::Sender<u64>) -> Result<()> {
        let Ok(mut connection) = Connection::admitted(hub, &self.device).await else { return Ok(()) };
        let topic = events_topic(&self.device);
        let (mut sent, mut awaited) = (self.next(), self.next());
        loop {
            while sent < awaited + WINDOW {
                if connection.send(&publish(&topic, Some(packet_id(sent)), payload(sent).as_bytes(), 0)).await.is_err() {
                    return Ok(());
                }
                sent += 1;
            }
            match connection.next().await? {
                None => return Ok(()),
                Some(Packet::PubAck(id)) if id == packet_id(awaited) => {
                    self.is_acknowledged(awaited, progress);
                    awaited += 1;
                }
                Some(other) => anyhow::bail!("{}: {other:?} instead of PUBACK {}", self.device, packet_id(awaited)),
            }
        }
    }

    /// The same over AMQP: counts every accepted outcome.
    ///
    /// # Errors
    /// When the hub answers a message with another outcome.
    pub async fn send_over_amqp_until_killed(&self, hub: &Ready, progress: &watch::Sender<u64>) -> Result<()> {
        let Ok(mut device) = amqp::Device::admitted(hub, &self.device).await else { return Ok(()) };
        let Ok(sender) = device.sender().await else { return Ok(()) };
        tokio::select! {
            sent = self.send_over_amqp(sender, progress) => sent,
            () = device.lost() => Ok(()),
        }
    }

    async fn send_over_amqp(&self, mut sender: fe2o3_amqp::Sender, progress: &watch::Sender<u64>) -> Result<()> {
        let (mut sent, mut waiting) = (self.next(), VecDeque::new());
        loop {
            while waiting.len() < WINDOW as usize {
                let Ok(delivery) = sender.send_batchable(Data(Binary::from(payload(sent)))).await else { return Ok(()) };
                waiting.push_back((sent, delivery));
                sent += 1;
            }
            let Some((number, delivery)) = waiting.pop_front() else { continue };
            match delivery.await {
                Err(_) => return Ok(()),
                Ok(Outcome::Accepted(_)) => self.is_acknowledged(number, progress),
                Ok(other) => anyhow::bail!("{}: message {number} is {other:?}", self.device),
            }
        }
    }

    fn is_acknowledged(&self, number: u64, progress: &watch::Sender<u64>) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        progress.send_modify(|count| *count += 1);
    }
}

fn payload(number: u64) -> String {
    format!("{number} {}", "x".repeat(200))
}

/// Packet ids run from 1 to 65,535 (MQTT 2.3.1).
fn packet_id(number: u64) -> u16 {
    u16::try_from(number % 65_535 + 1).expect("at most 65,535")
}
