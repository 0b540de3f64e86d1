//! Commands on their way to devices: sent as credit allows, and settled as the device says.
//!
//! Keeps no command: what can't be sent waits in its session, so that it does not count before it leaves.

use std::collections::HashMap;

use fe2o3_amqp_types::messaging::{DeliveryState, Modified};

use super::devices::{Device, HeldCommand};
use super::place::Drain;
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

/// The most deliveries of one device that are not settled. Eight keep a line of 100 ms busy with 80 commands a second; and eight of the
/// largest ones, 512 KiB, are the most that a device which takes nothing makes the hub hold. Whoever drains gets all that its credit
/// reaches to at once: no more than a queue may have.
const WINDOW_MAX_DELIVERIES: usize = 8;

impl Conversation<'_> {
    /// A receiver has credit, or wants it used up.
    pub(super) async fn credit(&mut self, link: LinkId, drain: bool) {
        match self.links.get(&link) {
            Some(Place::Feedback { .. }) => return self.feedback_credit(link, drain),
            Some(Place::Answers | Place::Properties { .. }) => self.send_answers(),
            // What it is drained of may have to be read first.
            Some(Place::Partition) => return self.reader_credit(link, drain),
            Some(Place::Commands { .. }) => return self.commands_credit(link, drain).await,
            Some(Place::PutToken | Place::Events(_) | Place::SentCommands | Place::FileNotifications | Place::ReadProperties) | None => {}
        }
        if drain {
            self.engine.drained(link);
        }
    }

    /// A device's receiver has credit. If it wants that used up, what waits goes first, be it in the session or still at the desk; but to
    /// nobody who has been shut out.
    async fn commands_credit(&mut self, link: LinkId, drains: bool) {
        self.drain(link, if drains { Drain::Wanted } else { Drain::No });
        if drains {
            self.is_woken = true;
            self.end_links_of_ended();
            self.send_commands();
            until_handed_out(self.hub).await;
            self.is_woken = true;
            self.drain(link, Drain::HandedOut);
            self.end_links_of_ended();
            self.send_commands();
        }
    }

    fn drain(&mut self, link: LinkId, is: Drain) {
        if let Some(Place::Commands { device, drain, .. }) = self.links.get_mut(&link) {
            *drain = is;
            let device = device.clone();
            self.concerns(&device);
        }
    }

    /// There may be something to send to a device, or room for more.
    pub(super) fn concerns(&mut self, id: &DeviceId) {
        if let Some(device) = self.devices.get_mut(id)
            && !std::mem::replace(&mut device.is_concerned, true)
        {
            self.concerned.push(id.clone());
        }
    }

    /// Sends the commands that wait in the sessions of those devices for which something has changed, and asks for as many as credit
    /// allows. Whoever has been shut out gets none.
    pub(super) fn send_commands(&mut self) {
        let mut concerned = std::mem::take(&mut self.concerned);
        if std::mem::take(&mut self.is_woken) {
            // The bell does not say whose it is.
            let rung = self.devices.iter().filter(|(_, device)| !device.is_concerned && device.session.has_deliveries());
            concerned.extend(rung.map(|(id, _)| id.clone()));
        }
        concerned.iter().for_each(|id| self.send_commands_of(id));
    }

    fn send_commands_of(&mut self, id: &DeviceId) {
        let Self { hub, engine, links, devices, unanswered, .. } = self;
        let Some(device) = devices.get_mut(id) else { return };
        device.is_concerned = false;
        if device.session.ended().is_some() {
            return;
        }
        let receivers = receivers(links, device);
        // What is not its own any more does not keep it from more.
        let now = hub.now();
        device.held.retain(|held| held.locked_until > now);
        while engine.has_room()
            && let Some(receiver) = receivers.iter().find(|receiver| engine.sendable(receiver.link) > 0)
            && let Some(delivery) = device.session.take_delivery()
        {
            match send(engine, receiver, id, &delivery) {
                Ok(_) if receiver.settled && !engine.is_sending(receiver.link) => unanswered.push((id.clone(), delivery.token)),
                Ok(number) => {
                    let Delivery { token, locked_until, .. } = delivery;
                    device.held.push(HeldCommand { link: receiver.link, number, token, locked_until });
                }
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
        let is_all = !device.session.has_deliveries();
        for receiver in receivers.iter().filter(|receiver| receiver.drain == Drain::HandedOut) {
            if is_all || engine.credit(receiver.link) == 0 {
                engine.drained(receiver.link);
                if let Some(Place::Commands { drain, .. }) = links.get_mut(&receiver.link) {
                    *drain = Drain::No;
                }
            }
        }
        follow_credit(hub, engine, device, &receivers);
        if !is_all && !engine.has_room() {
            // The rest follows what is being written.
            self.concerns(id);
        }
    }

    /// A command that nobody settles is in the output, whole.
    pub(super) fn sent(&mut self, link: LinkId, number: u32) {
        self.back_ends.feedback.sent(link, number);
        let Some(id) = self.links.get(&link).and_then(Place::device) else { return };
        if let Some(held) = self.devices.get_mut(id).and_then(|device| device.take_held(link, number)) {
            self.unanswered.push((id.clone(), held.token));
        }
    }

    /// Everything that is in the output has left: what is settled by that is done, and what found the output full may follow.
    pub(super) fn written(&mut self) {
        self.back_ends.feedback.written();
        for (id, token) in std::mem::take(&mut self.unanswered) {
            if let Some(device) = self.devices.get(&id) {
                settle_of_session(self.hub, &device.session, token, Settlement::Complete);
            }
        }
        self.send_held_answers();
    }

    /// The peer says what has become of deliveries.
    pub(super) fn disposition(&mut self, disposition: Disposition) {
        let range = disposition.range();
        let Disposition { deliveries, state, settled } = disposition;
        // There may be room for more that are not settled.
        self.wake_readers();
        // Whoever forgets it without a word has not said that it is done.
        let settlement = settlement(state.as_ref()).unwrap_or(Settlement::Abandon);
        for (link, number) in deliveries {
            self.settle_feedback(link, number, state.as_ref());
            let Some(id) = self.links.get(&link).and_then(Place::device) else { continue };
            if let Some(device) = self.devices.get_mut(id)
                && let Some(held) = device.take_held(link, number)
            {
                settle_of_session(self.hub, &device.session, held.token, settlement);
                let id = id.clone();
                self.concerns(&id);
            }
        }
        if !settled && let Some((session, first, last)) = range {
            self.engine.settle_sent(session, first, last, state);
        }
    }

    /// A receiver has gone: what it had and did not settle, and what was on its way, waits for another.
    pub(super) fn give_back_commands(&mut self, link: LinkId, id: &DeviceId) {
        let Self { hub, devices, .. } = self;
        let Some(device) = devices.get_mut(id) else { return };
        for held in device.held.extract_if(.., |held| held.link == link) {
            settle_of_session(hub, &device.session, held.token, Settlement::Abandon);
        }
    }
}

/// A link on which a device receives.
struct Receiver {
    link: LinkId,
    /// Whether it wants to settle none.
    settled: bool,
    drain: Drain,
}

fn receivers(links: &HashMap<LinkId, Place>, device: &Device<'_>) -> Vec<Receiver> {
    let receiver = |link: &LinkId| match links.get(link) {
        Some(Place::Commands { settled, drain, .. }) => Some(Receiver { link: *link, settled: *settled, drain: *drain }),
        _ => None,
    };
    device.links.iter().filter_map(receiver).collect()
}

/// Why a command was not sent.
enum Unsent {
    NotNow,
    Never(&'static str),
}

fn send(engine: &mut engine::Connection, receiver: &Receiver, device: &DeviceId, delivery: &Delivery) -> Result<u32, Unsent> {
    let mut bytes = Vec::with_capacity(delivery.content.len() + 256);
    write(device, delivery, &mut bytes).map_err(|_| Unsent::Never("what is stored of it is damaged"))?;
    let tag = DeliveryTag::new(&delivery.token.0).expect("sixteen bytes fit");
    match engine.send(receiver.link, &Outgoing { tag, message_format: 0, settled: receiver.settled, payload: &[&bytes] }) {
        Ok(number) => Ok(number),
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

/// Asks for as many commands as the device's receivers take: for all that their credit reaches to when it is to be used up.
fn follow_credit(hub: &Hub, engine: &engine::Connection, device: &mut Device<'_>, receivers: &[Receiver]) {
    if receivers.is_empty() {
        if std::mem::take(&mut device.receives) || device.session.has_deliveries() {
            unsubscribe(hub, &device.session);
            for delivery in device.session.take_deliveries() {
                not_sent(hub, &device.session, delivery.token);
            }
        }
        return;
    }
    let credit =
        |receiver: &Receiver| if receiver.drain == Drain::No { engine.sendable(receiver.link) } else { engine.credit(receiver.link) };
    let credit: usize = receivers.iter().map(|receiver| credit(receiver) as usize).sum();
    let drains = receivers.iter().any(|receiver| receiver.drain != Drain::No);
    device.receives = true;
    subscribe(hub, &device.session, (credit + device.held.len()).min(if drains { usize::MAX } else { WINDOW_MAX_DELIVERIES }));
}
