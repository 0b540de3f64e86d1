//! Commands on their way to devices: sent as credit allows, and settled as the device says.
//!
//! Keeps no command: what can't be sent waits in its session, so that it does not count before it leaves.

use fe2o3_amqp_types::messaging::{DeliveryState, Modified};

use super::{Conversation, Place};
use crate::amqp::engine::{self, DeliveryTag, Disposition, LinkId, NotSent, Outgoing};
use crate::amqp::message;
use crate::core::command::{Delivery, Settlement};
use crate::core::device_id::DeviceId;
use crate::core::message::encoding::{self, Damaged};
use crate::core::message::{Message, Value};
use crate::ops::Hub;
use crate::ops::receive_commands::{not_sent, subscribe, unsubscribe, until_handed_out};
use crate::ops::settle_command::settle_of_session;

use super::devices::Device;

/// The most deliveries of one device that are not settled. Eight keep a line of 100 ms busy with 80 commands a second; and eight of the
/// largest ones, 512 KiB, are the most that a device which takes nothing makes the hub hold.
const WINDOW_MAX_DELIVERIES: usize = 8;

impl Conversation<'_> {
    /// A receiver has credit, or wants it used up.
    pub(super) async fn credit(&mut self, link: LinkId, drain: bool) {
        match self.links.get(&link) {
            Some(Place::Feedback { .. }) => return self.feedback_credit(link, drain),
            Some(Place::Answers | Place::Properties { .. }) => self.send_answers(),
            // What it is drained of may have to be read first.
            Some(Place::Partition) => return self.reader_credit(link, drain),
            Some(Place::Commands { .. }) => {
                self.is_woken = true;
                if drain {
                    // What waits goes first, be it in the session or still at the desk, but to nobody who has been shut out.
                    self.end_links_of_ended();
                    self.send_commands();
                    until_handed_out(self.hub).await;
                    self.is_woken = true;
                    self.end_links_of_ended();
                    self.send_commands();
                }
            }
            Some(Place::PutToken | Place::Events(_) | Place::SentCommands | Place::FileNotifications | Place::ReadProperties) | None => {}
        }
        if drain {
            self.engine.drained(link);
        }
    }

    /// Sends the commands that wait in sessions, and asks for as many as credit allows. Whoever has been shut out gets none.
    pub(super) fn send_commands(&mut self) {
        if !std::mem::take(&mut self.is_woken) {
            return;
        }
        let Self { hub, engine, links, devices, deliveries, unanswered, is_woken, .. } = self;
        for (id, device) in devices.iter_mut() {
            let settled = |link: &LinkId| match links.get(link) {
                Some(Place::Commands { settled, .. }) => Some((*link, *settled)),
                _ => None,
            };
            let receivers: Vec<(LinkId, bool)> = device.links.iter().filter_map(settled).collect();
            if receivers.is_empty() && !device.receives && !device.session.has_deliveries() {
                continue;
            }
            while engine.has_room()
                && let Some(receiver) = receivers.iter().copied().find(|(link, _)| engine.sendable(*link) > 0)
                && let Some(delivery) = device.session.take_delivery()
            {
                match send(engine, receiver, id, &delivery) {
                    Ok(Sent::Unsettled(number)) => drop(deliveries.insert((receiver.0, number), delivery.token)),
                    Ok(Sent::Settled) => unanswered.push((id.clone(), delivery.token)),
                    Err(Unsent::NotNow) => {
                        not_sent(hub, &device.session, delivery.token);
                        break;
                    }
                    Err(Unsent::Never(why)) => {
                        let command = delivery.command;
                        tracing::warn!(device = %id, %command, "command {command} is dead-lettered, AMQP can't say it: {why}");
                        settle_of_session(hub, &device.session, delivery.token, Settlement::Reject);
                    }
                }
            }
            // The rest follows what is being written.
            *is_woken |= !engine.has_room() && device.session.has_deliveries();
            follow_credit(hub, engine, device, &receivers, deliveries.keys());
        }
    }

    /// Everything has left: what is settled by that is done.
    pub(super) fn written(&mut self) {
        self.back_ends.feedback.written();
        for (id, token) in std::mem::take(&mut self.unanswered) {
            if let Some(device) = self.devices.get(&id) {
                settle_of_session(self.hub, &device.session, token, Settlement::Complete);
            }
        }
    }

    /// The peer says what has become of deliveries.
    pub(super) fn disposition(&mut self, disposition: Disposition) {
        let Disposition { deliveries, state, settled } = disposition;
        // There may be room for more that are not settled.
        self.wake_readers();
        let settlement = settlement(state.as_ref());
        for (link, number) in deliveries {
            if settlement.is_none() && !settled {
                // It has been received, and nothing is decided.
                continue;
            }
            self.settle_feedback(link, number, state.as_ref());
            // Whoever forgets it without a word has not said that it is done.
            let settlement = settlement.unwrap_or(Settlement::Abandon);
            if let Some(token) = self.deliveries.remove(&(link, number))
                && let Some(device) = self.links.get(&link).and_then(|place| self.devices.get(place.device()?))
            {
                settle_of_session(self.hub, &device.session, token, settlement);
                self.is_woken = true;
            }
            if !settled {
                self.engine.settle_sent(link, number, state.clone());
            }
        }
    }

    /// A receiver has gone: what it had and did not settle waits for another.
    pub(super) fn give_back_deliveries(&mut self, link: LinkId, id: &DeviceId) {
        let Self { hub, devices, deliveries, .. } = self;
        let Some(device) = devices.get(id) else { return };
        deliveries.retain(|(of, _), token| {
            if *of == link {
                settle_of_session(hub, &device.session, *token, Settlement::Abandon);
            }
            *of != link
        });
    }
}

/// What has been sent.
enum Sent {
    /// Under this number; its receiver will settle it.
    Unsettled(u32),
    /// Its receiver wants to hear nothing more of it.
    Settled,
}

/// What has not.
enum Unsent {
    NotNow,
    Never(&'static str),
}

fn send(engine: &mut engine::Connection, (link, settled): (LinkId, bool), device: &DeviceId, delivery: &Delivery) -> Result<Sent, Unsent> {
    let mut bytes = Vec::with_capacity(delivery.content.len() + 256);
    write(device, delivery, &mut bytes).map_err(|_| Unsent::Never("what is stored of it is damaged"))?;
    let tag = DeliveryTag::new(&delivery.token.0).expect("sixteen bytes fit");
    match engine.send(link, &Outgoing { tag, message_format: 0, settled, payload: &[&bytes] }) {
        Ok(_) if settled => Ok(Sent::Settled),
        Ok(number) => Ok(Sent::Unsettled(number)),
        Err(NotSent::TooLarge) => Err(Unsent::Never("it is larger than the device takes")),
        Err(NotSent::NoLink | NotSent::NoCredit | NotSent::NoWindow | NotSent::Unsettled | NotSent::OutputFull) => Err(Unsent::NotNow),
    }
}

/// Appends the command as its device reads it, with the hub's stamps as C#'s SDK wants their types.
fn write(device: &DeviceId, delivery: &Delivery, out: &mut Vec<u8>) -> Result<(), Damaged> {
    let mut message: Message<'_> = encoding::decode(&delivery.content)?;
    message.properties.to = Some(format!("/devices/{device}/messages/deviceBound").into());
    let count = u8::try_from(delivery.delivery_count).unwrap_or(u8::MAX);
    let stamps = [
        ("iothub-enqueuedtime", Value::Timestamp(delivery.enqueued_time)),
        ("iothub-deliverycount", Value::Ubyte(count)),
        ("iothub-sequencenumber", Value::Ulong(delivery.command.0)),
        ("iothub-messagelocktoken", Value::String(delivery.token.to_string().into())),
    ];
    // What a back end says must not pass for what the hub says.
    message.annotations.retain(|(name, _)| stamps.iter().all(|(stamp, _)| !name.eq_ignore_ascii_case(stamp)));
    message.annotations.extend(stamps.map(|(name, value)| (name.into(), value)));
    message::write(&message, out);
    Ok(())
}

/// What an outcome means for a command; `None` when it is none.
pub fn settlement(state: Option<&DeliveryState>) -> Option<Settlement> {
    match state? {
        DeliveryState::Accepted(_) => Some(Settlement::Complete),
        DeliveryState::Rejected(_) | DeliveryState::Modified(Modified { undeliverable_here: Some(true), .. }) => Some(Settlement::Reject),
        DeliveryState::Released(_) | DeliveryState::Modified(_) => Some(Settlement::Abandon),
        DeliveryState::Received(_) => None,
    }
}

/// Asks for as many commands as the device's receivers take.
fn follow_credit<'d>(
    hub: &Hub,
    engine: &engine::Connection,
    device: &mut Device<'_>,
    receivers: &[(LinkId, bool)],
    unsettled: impl Iterator<Item = &'d (LinkId, u32)>,
) {
    if receivers.is_empty() {
        device.receives = false;
        unsubscribe(hub, &device.session);
        for delivery in device.session.take_deliveries() {
            not_sent(hub, &device.session, delivery.token);
        }
        return;
    }
    let credit: usize = receivers.iter().map(|(link, _)| engine.sendable(*link) as usize).sum();
    let unsettled = unsettled.filter(|(link, _)| receivers.iter().any(|(receiver, _)| receiver == link)).count();
    device.receives = true;
    subscribe(hub, &device.session, (credit + unsettled).min(WINDOW_MAX_DELIVERIES));
}
