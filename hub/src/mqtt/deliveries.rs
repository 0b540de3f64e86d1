//! Commands on their way to the device: under what packet id each was written, and what PUBACK settles.
//!
//! Owns packet ids and the duplicate flag. Keeps no command: what can't be written yet waits where it was, so that it does not count before
//! it leaves. Never decides which command is delivered, how often, or until when it is locked: that is `core::command`'s.

use super::codec::{EncodeError, encode};
use super::packet::{Delivery as PublishDelivery, Packet, PacketId, Publish, QoS};
use super::topic;
use crate::core::command::{COMMAND_MAX_BYTES, CommandId, Delivery, LockToken};
use crate::core::message::encoding::{self, Damaged};

/// The most deliveries of one connection that are not settled. Eight keep a line of 100 ms busy with 80 commands a second, and a queue
/// holds 50 by default; and eight of the largest ones, 512 KiB, are the most that a device which takes nothing makes the hub hold.
pub const WINDOW_MAX_DELIVERIES: usize = 8;

/// No more commands are put behind this much output, in bytes: what is written between two looks at what the device sends, so that
/// its telemetry waits for one large command at most.
const OUTPUT_MAX_BYTES: usize = COMMAND_MAX_BYTES;

/// The most packet ids that are remembered. Those above the window belong to locks that ran out, for a device that is late.
const REMEMBERED_MAX: usize = 4 * WINDOW_MAX_DELIVERIES;

/// Why a command can't be said in MQTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unspeakable {
    /// Its properties make a longer topic than MQTT has, once they are percent-encoded.
    #[error("its properties do not fit into a topic")]
    Encode(#[from] EncodeError),
    /// What is stored is no message.
    #[error("what is stored of it is damaged")]
    Damaged(#[from] Damaged),
}

/// A delivery under a packet id.
#[derive(Clone, Copy, Debug)]
struct Published {
    packet_id: PacketId,
    command: CommandId,
    /// The lock of its latest delivery.
    token: LockToken,
}

/// One connection's deliveries.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// What PUBACK may name, the latest last; at most [`REMEMBERED_MAX`].
    published: Vec<Published>,
    /// What QoS 0 settles once the output has been written.
    unacknowledged: Vec<LockToken>,
    /// The packet id that was given last.
    last_id: u16,
}

impl Deliveries {
    /// Appends `device`'s commands to `output`, as `next` gives them and as far as there is room, with the quality of service of its
    /// subscription. `unspeakable` is told of each that can't be said.
    pub fn publish(
        &mut self,
        (device, qos): (&str, QoS),
        output: &mut Vec<u8>,
        mut next: impl FnMut() -> Option<Delivery>,
        mut unspeakable: impl FnMut(&Delivery, Unspeakable),
    ) {
        while output.len() < OUTPUT_MAX_BYTES
            && let Some(delivery) = next()
        {
            if let Err(error) = self.publish_one(device, qos, &delivery, output) {
                unspeakable(&delivery, error);
            }
        }
    }

    /// PUBACK has come: answers which command the device has, and the lock of its latest delivery that was written. `None` for a packet id
    /// that stands for nothing: harmless.
    pub fn acknowledged(&mut self, packet_id: PacketId) -> Option<(CommandId, LockToken)> {
        let place = self.published.iter().position(|published| published.packet_id == packet_id)?;
        let Published { command, token, .. } = self.published.remove(place);
        if self.published.is_empty() {
            self.published = Vec::new();
        }
        Some((command, token))
    }

    /// All output has been written: answers the locks that this settles.
    pub fn written(&mut self) -> Vec<LockToken> {
        std::mem::take(&mut self.unacknowledged)
    }

    fn publish_one(&mut self, device: &str, qos: QoS, delivery: &Delivery, output: &mut Vec<u8>) -> Result<(), Unspeakable> {
        let message = encoding::decode(&delivery.content)?;
        let topic = topic::command(device, &message);
        let payload = message.body.to_bytes();
        let earlier_id = self.forget(delivery.command);
        let (flags, packet_id) = match qos {
            QoS::AtMostOnce => (PublishDelivery::AtMostOnce, None),
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let packet_id = earlier_id.unwrap_or_else(|| self.new_id());
                // MQTT-3.3.1-1. The earlier delivery may have been on another connection.
                (PublishDelivery::AtLeastOnce { packet_id, duplicate: delivery.delivery_count > 1 }, Some(packet_id))
            }
        };
        encode(&Packet::Publish(Publish { delivery: flags, retain: false, topic: &topic, payload: &payload }), output)?;
        match packet_id {
            Some(packet_id) => self.remember(Published { packet_id, command: delivery.command, token: delivery.token }),
            None => self.unacknowledged.push(delivery.token),
        }
        Ok(())
    }

    /// Forgets under what packet id a command was written, and says it.
    fn forget(&mut self, command: CommandId) -> Option<PacketId> {
        let place = self.published.iter().position(|published| published.command == command)?;
        Some(self.published.remove(place).packet_id)
    }

    fn remember(&mut self, published: Published) {
        if self.published.len() == REMEMBERED_MAX {
            // The oldest, whose lock is lost: the window is far smaller.
            self.published.remove(0);
        }
        self.published.push(published);
    }

    /// An id that nothing on its way has (MQTT-2.3.1-4), and that was used as long ago as can be, in case of a PUBACK that comes after
    /// its delivery was forgotten.
    fn new_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && self.published.iter().all(|published| published.packet_id != id)
            {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests;
