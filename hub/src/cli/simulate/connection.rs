//! One MQTT connection of a simulated device, from the connect to its end, with rumqttc.
//!
//! Owns the packet ids and what is under way under them. rumqttc's own resending is not used: its event loop lives as long as one connection,
//! so that a device that is asleep costs no buffers.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet, Publish, QoS, TlsConfiguration,
    Transport,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::behaviour::OnCommand;
use super::device::{Device, Ended, Message};
use super::device_token;
use super::world::World;

/// Messages of a device that are under way at once.
const WINDOW: usize = 8;

/// rumqttc's own window: wider, so that it never holds back PUBACKs because of ours.
const RUMQTTC_WINDOW: u16 = 16;

/// rumqttc's queue of requests: a window of messages, and a PUBACK for each of the ten packets that it reads before it takes requests.
const REQUESTS_MAX: usize = 64;

/// A command is at most 64 KiB; the topic holds its properties. Messages are at most 256 KiB.
const INCOMING_MAX_BYTES: usize = 128 * 1024;
const OUTGOING_MAX_BYTES: usize = 300 * 1024;

/// How long a connect may take, up to the CONNACK.
const CONNECT_TIMEOUT_S: u64 = 30;

/// How often a silent device shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Events that rumqttc keeps room for: it reads ten packets at once. It would keep room for a hundred, 15 KiB of each device.
const EVENTS_KEPT: usize = 10;

/// How long the last acknowledgements are waited for when the simulation is over.
const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(5);

/// Far away: a timer that is not to go off.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Connects, and stays as long as the device's habits, the hub and the simulation let it.
pub(super) async fn run(device: &mut Device, world: &World, after_a_loss: bool) -> Ended {
    // Whoever waits for a turn has no buffers yet.
    let turn = tokio::select! {
        turn = world.pacer.turn() => turn,
        () = world.stop.cancelled() => return Ended::Stopped,
    };
    let (client, mut events) = AsyncClient::new(options(device, world), REQUESTS_MAX);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_TIMEOUT_S).set_tcp_nodelay(true);
    events.set_network_options(network);
    let connected = tokio::select! {
        connected = connect(&mut events) => connected,
        () = world.stop.cancelled() => return Ended::Stopped,
    };
    drop(turn);
    if let Err(reason) = connected {
        return Ended::Refused(reason);
    }
    events.state.events.shrink_to(EVENTS_KEPT);
    world.tally.connects.more();
    if after_a_loss {
        world.tally.reconnects.more();
    }
    world.tally.connected.more();
    let mut link = Link::new(device, world, client);
    let ended = match link.subscribe() {
        Ok(()) => link.stay(&mut events).await,
        Err(reason) => Ended::Lost(reason),
    };
    link.give_back();
    world.tally.connected.less();
    ended
}

/// Up to the CONNACK.
async fn connect(events: &mut EventLoop) -> Result<(), String> {
    events.poll().await.map(drop).map_err(|error| match error {
        ConnectionError::ConnectionRefused(code) => format!("the hub refused it ({code:?}); its log and its API's refusals say why"),
        error => error.to_string(),
    })
}

fn options(device: &Device, world: &World) -> MqttOptions {
    let (identity, hub) = (&device.identity, &world.hub);
    let id = identity.id.as_str();
    let (host, port) = &hub.mqtt;
    let mut options = MqttOptions::new(id, host, *port);
    options
        .set_credentials(
            format!("{}/{id}/?api-version=2021-04-12&DeviceClientType=mooring-hub", hub.host_name),
            device_token(identity, hub),
        )
        .set_transport(Transport::Tls(TlsConfiguration::Rustls(hub.tls.clone())))
        .set_clean_session(false)
        .set_keep_alive(KEEP_ALIVE)
        .set_inflight(RUMQTTC_WINDOW)
        .set_manual_acks(true)
        .set_max_packet_size(INCOMING_MAX_BYTES, OUTGOING_MAX_BYTES);
    options
}

/// A device on a connection.
struct Link<'a> {
    device: &'a mut Device,
    world: &'a World,
    client: AsyncClient,
    /// Messages that rumqttc has and has not written yet, so without a packet id, in order.
    queued: VecDeque<Message>,
    /// Those that are written and not acknowledged, in the order of sending.
    written: Vec<(u16, Message)>,
    /// When it goes to sleep.
    sleep: Instant,
    /// When it breaks its connection.
    flap: Instant,
    /// When it gives up waiting for the last acknowledgements; `None` until the simulation is over.
    give_up: Option<Instant>,
}

/// What happens next on a connection.
enum Next {
    Event(Result<Event, ConnectionError>),
    Flap,
    Sleep,
    Stop,
    GiveUp,
}

impl<'a> Link<'a> {
    fn new(device: &'a mut Device, world: &'a World, client: AsyncClient) -> Self {
        let now = Instant::now();
        let behaviour = device.identity.behaviour;
        let mut after = |time: Option<Duration>| now + time.map_or(NEVER, |time| device.about(time));
        let (sleep, flap) = (after(behaviour.sleep.map(|(awake, _)| awake)), after(behaviour.flap));
        Self { device, world, client, queued: VecDeque::new(), written: Vec::new(), sleep, flap, give_up: None }
    }

    fn subscribe(&self) -> Result<(), String> {
        let identity = &self.device.identity;
        if identity.behaviour.on_command == OnCommand::Refuse {
            return Ok(());
        }
        let filter = format!("devices/{}/messages/devicebound/#", identity.id);
        self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|error| error.to_string())
    }

    async fn stay(&mut self, events: &mut EventLoop) -> Ended {
        loop {
            if let Err(reason) = self.fill_window() {
                return Ended::Lost(reason);
            }
            if self.under_way() == 0 && self.device.outbox.is_empty() {
                if self.device.has_made_all(self.world) {
                    return self.say_goodbye(events, Ended::Done).await;
                }
                if self.give_up.is_some() {
                    return self.say_goodbye(events, Ended::Stopped).await;
                }
            }
            let next = self.next(pin!(events.poll())).await;
            match next {
                Next::Event(Ok(event)) => {
                    if let Err(reason) = self.take(event) {
                        return Ended::Lost(reason);
                    }
                }
                Next::Event(Err(_)) if self.give_up.is_some() => return Ended::Stopped,
                Next::Event(Err(error)) => return Ended::Lost(error.to_string()),
                Next::Flap => return Ended::Flapped,
                Next::Sleep => return self.say_goodbye(events, Ended::Asleep).await,
                // What was never sent stays unsent; what was sent is to be acknowledged.
                Next::Stop => {
                    self.give_up = Some(Instant::now() + LAST_ACKNOWLEDGEMENTS);
                    self.device.outbox.clear();
                }
                Next::GiveUp => return Ended::Stopped,
            }
        }
    }

    /// Makes messages as they are due until something else is to be done. `poll` is not dropped meanwhile: in the middle of a write
    /// rumqttc would lose what it was writing.
    async fn next(&mut self, mut poll: Pin<&mut impl Future<Output = Result<Event, ConnectionError>>>) -> Next {
        loop {
            let room = self.device.outbox.is_empty() && self.under_way() < WINDOW;
            let may_make = room && self.give_up.is_none() && !self.device.has_made_all(self.world);
            tokio::select! {
                event = &mut poll => return Next::Event(event),
                () = sleep_until(self.device.due), if may_make => {
                    self.device.make_message(self.world);
                    if let Err(reason) = self.fill_window() {
                        return Next::Event(Err(ConnectionError::Io(std::io::Error::other(reason))));
                    }
                }
                () = sleep_until(self.flap) => return Next::Flap,
                () = sleep_until(self.sleep), if self.give_up.is_none() => return Next::Sleep,
                () = self.world.stop.cancelled(), if self.give_up.is_none() => return Next::Stop,
                () = sleep_until(self.give_up.unwrap_or(self.sleep)), if self.give_up.is_some() => return Next::GiveUp,
            }
        }
    }

    fn under_way(&self) -> usize {
        self.queued.len() + self.written.len()
    }

    /// Hands rumqttc what waits in the outbox, as far as the window allows.
    fn fill_window(&mut self) -> Result<(), String> {
        while self.under_way() < WINDOW {
            let Some(mut message) = self.device.outbox.pop_front() else { break };
            self.client.try_publish(&message.topic, QoS::AtLeastOnce, false, message.payload.clone()).map_err(|error| error.to_string())?;
            if message.sent.is_none() {
                message.sent = Some(Instant::now());
                self.world.tally.sent.more();
            }
            self.queued.push_back(message);
        }
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), String> {
        match event {
            // rumqttc writes them in the order in which it was given them.
            Event::Outgoing(Outgoing::Publish(id)) => {
                let message = self.queued.pop_front().ok_or("rumqttc wrote a message that it was not given")?;
                self.written.push((id, message));
            }
            Event::Incoming(Packet::PubAck(puback)) => {
                if let Some(place) = self.written.iter().position(|(id, _)| *id == puback.pkid) {
                    let (_, message) = self.written.remove(place);
                    self.world.tally.acknowledged_after(message.sent.map(|sent| sent.elapsed()).unwrap_or_default());
                }
            }
            Event::Incoming(Packet::Publish(command)) => return self.obey(&command),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
        Ok(())
    }

    /// Does with a command what is this device's habit.
    fn obey(&mut self, command: &Publish) -> Result<(), String> {
        let tally = &self.world.tally;
        tally.commands_received.more();
        let on_command = self.device.identity.behaviour.on_command;
        if on_command == OnCommand::Ignore {
            tally.commands_ignored.more();
            return Ok(());
        }
        self.client.try_ack(command).map_err(|error| error.to_string())?;
        tally.commands_completed.more();
        if on_command == OnCommand::Answer {
            let (topic, payload) = answer(self.device.identity.id.as_str(), command);
            if self.device.answer(topic, payload) {
                tally.commands_answered.more();
            } else {
                tally.failed(format!("{}: so many commands that one got no answer", self.device.identity.id));
            }
        }
        Ok(())
    }

    /// DISCONNECT, and waits until it is written.
    async fn say_goodbye(&self, events: &mut EventLoop, ended: Ended) -> Ended {
        if self.client.try_disconnect().is_ok() {
            let written = async {
                while let Ok(event) = events.poll().await {
                    if event == Event::Outgoing(Outgoing::Disconnect) {
                        return;
                    }
                }
            };
            // The hub notices a closed connection all the same.
            let _ = timeout(LAST_ACKNOWLEDGEMENTS, written).await;
        }
        ended
    }

    /// Puts what is not acknowledged back into the outbox, in its order and before what was not sent yet.
    fn give_back(&mut self) {
        let written = self.written.drain(..).map(|(_, message)| message);
        for message in written.chain(self.queued.drain(..)).rev() {
            self.device.outbox.push_front(message);
        }
    }
}

/// A message that answers a command: its correlation-id is the command's message-id, and its payload repeats the command's.
fn answer(device: &str, command: &Publish) -> (String, Vec<u8>) {
    // Both are property bags with the same rules, so a value goes over as it came.
    let message_id = command.topic.rsplit('/').next().unwrap_or_default().split('&').find_map(|entry| entry.strip_prefix("%24.mid="));
    let correlation = message_id.map(|id| format!("&%24.cid={id}")).unwrap_or_default();
    let body = String::from_utf8_lossy(&command.payload);
    let payload = serde_json::json!({ "done": body });
    (
        format!("devices/{device}/messages/events/kind=answer&%24.ct=application%2Fjson&%24.ce=utf-8{correlation}"),
        payload.to_string().into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_to_what() {
        let topic = "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2FdeviceBound&%24.mid=m%201&iothub-ack=full";
        let (topic, payload) = answer("d", &Publish::new(topic, QoS::AtLeastOnce, "open"));
        assert_eq!(topic, "devices/d/messages/events/kind=answer&%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid=m%201");
        assert_eq!(payload, br#"{"done":"open"}"#);
        let (topic, _) = answer("d", &Publish::new("devices/d/messages/devicebound/", QoS::AtLeastOnce, "x"));
        assert!(topic.ends_with("utf-8"), "{topic}");
    }
}
