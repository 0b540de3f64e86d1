//! A device's MQTT session once it has been let in: packets, time and durability come in, packets and intents go out.
//!
//! Owns subscriptions, the order of acknowledgements and of commands, keep-alive and the fate of the will. Never touches a socket, a clock or the hub.

use std::time::{Duration, Instant};

use super::acknowledgements::{Acknowledgements, Receipt};
use super::codec::{DecodeError, encode, encode_puback};
use super::deliveries::{Deliveries, Unspeakable};
use super::packet::{Delivery, Packet, PacketKind, Publish, QoS, SubAck, Subscribe, Unsubscribe};
use super::topic::{self, Subscription, TopicError};
use crate::core::command::{self, CommandId, LockToken};
use crate::core::device_id::DeviceId;
use crate::core::message::Message;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::{Occasion, TelemetryRefused};
use crate::ops::{MqttSubscription, Ticket, Watermark};

/// The device broke a rule of MQTT's or the hub's. MQTT 3.1.1 has no answer but to close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The bytes are no packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// CONNECT came twice (MQTT-3.1.0-2).
    #[error("CONNECT came twice")]
    SecondConnect,
    /// A packet that only servers send, or an answer to a question that the hub never asks.
    #[error("{0} is not for the hub")]
    Unexpected(PacketKind),
    /// QoS 2, which Azure IoT Hub does not have either.
    #[error("the hub has no quality of service 2")]
    ExactlyOnce,
    /// A message to nowhere.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// A message that the hub does not take.
    #[error(transparent)]
    Telemetry(#[from] TelemetryRefused),
}

/// What a packet makes its connection do, beside sending what was appended to the output.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one packet; a box would be an allocation per message")]
pub enum Step<'a> {
    /// Nothing.
    Done,
    /// Store the message; when it is staged, say so with [`MqttSession::staged`].
    Telemetry(Message<'a>, Occasion, Receipt),
    /// Keep [`MqttSession::subscriptions`], before the answer is sent, and deliver commands while [`MqttSession::wants_commands`].
    KeepSubscriptions,
    /// The device has taken the command that this lock holds. If it is about to be delivered again, that delivery's lock is the one to
    /// settle, although the device has acknowledged an earlier one: a late device is believed.
    Complete(CommandId, LockToken),
    /// The device took its leave.
    Disconnect,
}

/// The acknowledged order of things has ended: a batch will never be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("messages that were taken have not become durable")]
pub struct NotDurable;

/// A device that has been let in.
#[derive(Debug)]
pub struct MqttSession {
    device: DeviceId,
    silence_max: Duration,
    heard_at: Instant,
    token_ends_at: Option<Instant>,
    /// One for each kind of [`Subscription`] at most.
    subscriptions: Vec<MqttSubscription>,
    acknowledgements: Acknowledgements,
    deliveries: Deliveries,
}

impl MqttSession {
    /// The session of `device`, which has just been let in with a token that lasts `token_lasts` more and with the `subscriptions` of
    /// its kept session.
    #[must_use]
    pub fn new(device: DeviceId, silence_max: Duration, token_lasts: Duration, subscriptions: Vec<MqttSubscription>, now: Instant) -> Self {
        Self {
            device,
            silence_max,
            heard_at: now,
            // Some tokens last beyond the end of this clock.
            token_ends_at: now.checked_add(token_lasts),
            subscriptions,
            acknowledgements: Acknowledgements::default(),
            deliveries: Deliveries::default(),
        }
    }

    /// Whose.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The subscriptions now.
    #[must_use]
    pub fn subscriptions(&self) -> &[MqttSubscription] {
        &self.subscriptions
    }

    /// Bytes have come. They count as a sign of life, because a large packet may take longer than the keep-alive on a slow line.
    pub fn heard(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        if self.token_ends_at.is_some_and(|end| end <= now) {
            return Err(DisconnectReason::TokenExpired);
        }
        self.heard_at = now;
        Ok(())
    }

    /// When to call [`Self::time_passed`] next; it may turn out to have been too early.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let silent = self.heard_at + self.silence_max;
        self.token_ends_at.map_or(silent, |end| end.min(silent))
    }

    /// Whether it is over.
    pub fn time_passed(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        if !self.may_read() {
            // It is the hub that has not listened.
            return self.heard(now);
        }
        if self.token_ends_at.is_some_and(|end| end <= now) {
            Err(DisconnectReason::TokenExpired)
        } else if self.heard_at + self.silence_max <= now {
            Err(DisconnectReason::KeepAliveTimeout)
        } else {
            Ok(())
        }
    }

    /// A packet has come. What it is answered at once is appended to `output`.
    pub fn packet<'a>(&mut self, packet: Packet<'a>, output: &mut Vec<u8>) -> Result<Step<'a>, Violation> {
        match packet {
            Packet::Publish(publish) => self.publish(&publish),
            Packet::Subscribe(subscribe) => Ok(self.subscribe(&subscribe, output)),
            Packet::Unsubscribe(unsubscribe) => Ok(self.unsubscribe(&unsubscribe, output)),
            Packet::PingReq => {
                answer(&Packet::PingResp, output);
                Ok(Step::Done)
            }
            // For one that stands for nothing: harmless, and a device may be late.
            Packet::PubAck(packet_id) => {
                Ok(self.deliveries.acknowledged(packet_id).map_or(Step::Done, |(command, token)| Step::Complete(command, token)))
            }
            Packet::Disconnect => Ok(Step::Disconnect),
            Packet::Connect(_) => Err(Violation::SecondConnect),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => Err(Violation::ExactlyOnce),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => Err(Violation::Unexpected(packet.kind())),
        }
    }

    /// A message that [`Step::Telemetry`] handed out is in the batch that will be appended next.
    pub fn staged(&mut self, receipt: Receipt) {
        self.acknowledgements.stage(receipt);
    }

    /// All that was staged has been appended.
    pub fn appended(&mut self, ticket: Ticket) {
        self.acknowledgements.appended(ticket);
    }

    /// The log's durable watermark has moved: appends every PUBACK that is due, in the order in which the messages came
    /// (MQTT-4.6.0-2).
    pub fn durable(&mut self, watermark: Watermark, output: &mut Vec<u8>) -> Result<(), NotDurable> {
        self.acknowledgements.release(watermark, |packet_id| encode_puback(packet_id, output))
    }

    /// Whether messages wait for the disk.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.acknowledgements.is_empty()
    }

    /// Whether to read on: not while too much waits for the disk.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.acknowledgements.has_room()
    }

    /// Whether the device has a subscription to its commands.
    #[must_use]
    pub fn wants_commands(&self) -> bool {
        self.command_qos().is_some()
    }

    /// Appends the commands that `next` gives to `output`, as far as it has room, unless the device has given up its subscription.
    /// `unspeakable` is told of each that MQTT has no words for. To be called when nothing but the write is left to do: what `next` has
    /// given counts as delivered.
    pub fn publish_commands(
        &mut self,
        output: &mut Vec<u8>,
        next: impl FnMut() -> Option<command::Delivery>,
        unspeakable: impl FnMut(&command::Delivery, Unspeakable),
    ) {
        if let Some(qos) = self.command_qos() {
            self.deliveries.publish((self.device.as_str(), qos), output, next, unspeakable);
        }
    }

    /// The output has been written: answers the locks of commands that are done with, because QoS 0 knows no more.
    #[must_use]
    pub fn written(&mut self) -> Vec<LockToken> {
        self.deliveries.written()
    }

    /// The quality of service with which the device wants its commands; `None` when it wants none.
    fn command_qos(&self) -> Option<QoS> {
        let is_for_commands =
            |kept: &&MqttSubscription| topic::subscription(self.device.as_str(), &kept.filter) == Some(Subscription::Commands);
        self.subscriptions.iter().find(is_for_commands).and_then(|kept| QoS::from_number(kept.qos))
    }

    fn publish<'a>(&mut self, publish: &Publish<'a>) -> Result<Step<'a>, Violation> {
        let packet_id = match publish.delivery {
            Delivery::AtMostOnce => None,
            // A duplicate is stored again: the hub promises at least once, as Azure does.
            Delivery::AtLeastOnce { packet_id, duplicate: _ } => Some(packet_id),
            Delivery::ExactlyOnce { .. } => return Err(Violation::ExactlyOnce),
        };
        let message = topic::telemetry(self.device.as_str(), publish.topic, publish.payload)?;
        let occasion = Occasion { retain: publish.retain, will: false };
        Ok(Step::Telemetry(message, occasion, Receipt { packet_id, bytes: publish.topic.len() + publish.payload.len() }))
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>, output: &mut Vec<u8>) -> Step<'static> {
        let granted = subscribe.filters.iter().map(|&(filter, wanted)| self.grant(filter, wanted)).collect();
        answer(&Packet::SubAck(SubAck { packet_id: subscribe.packet_id, granted }), output);
        Step::KeepSubscriptions
    }

    /// The best quality of service that the hub has, not above the one wanted; `None` refuses the filter (MQTT-3.9.3-2).
    fn grant(&mut self, filter: &str, wanted: QoS) -> Option<QoS> {
        let Subscription::Commands = topic::subscription(self.device.as_str(), filter)?;
        let granted = wanted.min(QoS::AtLeastOnce);
        self.subscriptions.retain(|kept| kept.filter != filter);
        self.subscriptions.push(MqttSubscription { filter: filter.to_owned(), qos: granted as u8 });
        Some(granted)
    }

    /// Answered whether there was such a subscription or not (MQTT-3.10.4-5).
    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>, output: &mut Vec<u8>) -> Step<'static> {
        self.subscriptions.retain(|kept| !unsubscribe.filters.contains(&kept.filter.as_str()));
        answer(&Packet::UnsubAck(unsubscribe.packet_id), output);
        Step::KeepSubscriptions
    }
}

/// Whether a connection that ended so leaves its will (MQTT-3.1.2-8): the device must not have taken its leave, nor have been shut out,
/// for nothing is stored for a device after that.
#[must_use]
pub fn leaves_will(reason: DisconnectReason) -> bool {
    match reason {
        DisconnectReason::ClientDisconnected
        | DisconnectReason::DeviceDisabled
        | DisconnectReason::DeviceDeleted
        | DisconnectReason::KeyReplaced
        | DisconnectReason::CertificateReplaced => false,
        DisconnectReason::ConnectionLost
        | DisconnectReason::KeepAliveTimeout
        | DisconnectReason::TakenOver
        | DisconnectReason::TokenExpired
        | DisconnectReason::ProtocolViolation
        | DisconnectReason::TooSlow
        | DisconnectReason::StoreUnavailable
        | DisconnectReason::HubShutdown
        | DisconnectReason::HubRestarted => true,
    }
}

fn answer(packet: &Packet<'_>, output: &mut Vec<u8>) {
    encode(packet, output).expect("the hub's answers hold no text, and far fewer codes than a packet can");
}

#[cfg(test)]
mod exchange;
#[cfg(test)]
mod tests;
