//! The one place where MQTT meets a socket: bytes in, verbs of the hub, bytes out.
//!
//! Owns the buffers, the timers and the order of things: what one read brought is appended as one batch, after the session was asked
//! whether it still lives; the PUBACKs that have become due leave in one write. Decides nothing about packets.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{sleep_until, timeout};

use super::codec::{DecodeError, Decoded, Limits, decode, encode_connack};
use super::connect::{Admission, ConnectRefused, admission};
use super::packet::{ConnAck, ConnectReturnCode, Packet, Will};
use super::session::{MqttSession, Step, Violation, leaves_will};
use super::topic::{self, Occasion};
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::core::telemetry::Stamps;
use crate::ops::authenticate::{AuthenticateError, Origin, authenticate_device, refuse};
use crate::ops::open_session::{close_session, open_session};
use crate::ops::refusals::RefusalReason;
use crate::ops::send_telemetry::{self, AppendRefused};
use crate::ops::{Durability, EventBatch, Hub, Session};

/// Until when a stranger must have sent CONNECT, counted from the first moment after TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// How long a device may take to accept what is sent to it; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How long the end of a connection may take: it holds nobody up.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How long a will may wait for room in the log.
const WILL_MAX: Duration = Duration::from_secs(10);

/// The most that one read takes, in bytes: what one TLS record can hold. It is on the stack, so that idle connections need no buffer.
const READ_MAX_BYTES: usize = 16 * 1024;

/// Room that a batch sets aside beside what was read, in bytes, because every event is stored with its stamps.
const STAMPS_ROOM_BYTES: usize = 4 * 1024;

/// Serves one connection until it ends. `authenticated` is called once the device has proved who it is, before it is told so.
pub fn serve_connection<S>(
    hub: Arc<Hub>,
    mut stream: S,
    origin: Origin,
    authenticated: impl FnOnce() + Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // Not an `async fn`: its future would hold the stream, which is large with TLS, twice.
    async move {
        // Boxed, so that what letting in needs is given back before the long, mostly idle life begins.
        if let Some(admitted) = Box::pin(admit(&hub, &mut stream, origin, authenticated)).await {
            let Admitted { session, mqtt, stamps, will, input } = admitted;
            let durability = hub.events.durability();
            let mut connection = Connection {
                hub: &hub,
                stream: &mut stream,
                session,
                mqtt,
                stamps,
                durability,
                input,
                output: Vec::new(),
                batch: EventBatch::default(),
            };
            let reason = connection.run().await;
            let session = connection.session;
            close_session(&hub, &session, reason);
            if let Some(will) = will {
                Box::pin(leave_will(&hub, &session, *will)).await;
            }
        }
        let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
    }
}

/// What is known of a device that has been let in.
struct Admitted {
    session: Session,
    mqtt: MqttSession,
    stamps: Stamps,
    will: Option<Box<EventBatch>>,
    /// What came after CONNECT.
    input: Vec<u8>,
}

/// Lets a stranger in, or says why not; `None` when the connection is to be closed.
async fn admit<S>(hub: &Hub, stream: &mut S, origin: Origin, authenticated: impl FnOnce()) -> Option<Admitted>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = Vec::new();
    match timeout(CONNECT_WITHIN, read_packet(stream, &mut input)).await {
        Ok(Ok(())) => {}
        Ok(Err(NoPacket::Malformed(DecodeError::ProtocolLevel(_)))) => {
            hub.metrics.refused("ProtocolLevel");
            answer(stream, false, ConnectReturnCode::UnacceptableProtocolVersion).await;
            return None;
        }
        Ok(Err(NoPacket::Malformed(_))) => return dismiss(hub, "MalformedConnect"),
        Ok(Err(NoPacket::Gone)) => return dismiss(hub, "GoneBeforeConnect"),
        Err(_) => return dismiss(hub, "ConnectTimeout"),
    }
    let Ok(Decoded::Packet { packet: Packet::Connect(connect), length }) = decode(&input, Limits::BEFORE_CONNECT) else {
        // MQTT-3.1.0-1.
        return dismiss(hub, "NotConnect");
    };
    let let_in = match admission(&connect, &hub.names) {
        Ok(wish) => let_in(hub, &wish, origin).await,
        Err(ConnectRefused::Unauthorized { claimed, reason }) => {
            refuse(hub, &claimed, reason, origin).await;
            Err(ConnectReturnCode::NotAuthorized)
        }
        Err(refused @ ConnectRefused::IdentifierRejected) => {
            hub.metrics.refused("IdentifierRejected");
            Err(refused.return_code())
        }
    };
    match let_in {
        Err(code) => {
            answer(stream, false, code).await;
            None
        }
        Ok((mut admitted, session_present)) => {
            authenticated();
            input.drain(..length);
            admitted.input = input;
            if answer(stream, session_present, ConnectReturnCode::Accepted).await {
                return Some(admitted);
            }
            close_session(hub, &admitted.session, DisconnectReason::ConnectionLost);
            None
        }
    }
}

/// Authenticates and opens the session. Beside it: whether a kept MQTT session goes on (MQTT-3.2.2-2).
async fn let_in(hub: &Hub, wish: &Admission<'_>, origin: Origin) -> Result<(Admitted, bool), ConnectReturnCode> {
    let right = match authenticate_device(hub, wish.claimed, wish.token, origin).await {
        Ok(right) => right,
        Err(AuthenticateError::Refused) => return Err(ConnectReturnCode::NotAuthorized),
        Err(AuthenticateError::Registry(error)) => {
            tracing::warn!(%error, "device {} can't be let in: {error}", wish.claimed);
            return Err(ConnectReturnCode::ServerUnavailable);
        }
    };
    let stamps = send_telemetry::stamps(hub, &right);
    let will = match wish.will.as_ref().map(|will| stage_will(will, &right, &stamps)).transpose() {
        Ok(will) => will,
        Err(violation) => {
            refuse(hub, wish.claimed, RefusalReason::UnacceptableWill(violation.to_string()), origin).await;
            return Err(ConnectReturnCode::NotAuthorized);
        }
    };
    let session = match open_session(hub, right, origin).await {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%error, "device {} can't be let in: {error}", wish.claimed);
            return Err(ConnectReturnCode::ServerUnavailable);
        }
    };
    if let Some(reason) = session.ended() {
        close_session(hub, &session, reason);
        return Err(ConnectReturnCode::NotAuthorized);
    }
    let kept = hub.presence.begin_mqtt_session(session.device_id(), wish.clean_session);
    let session_present = kept.is_some();
    let token_lasts = session.right().good_until.since(hub.now());
    let mqtt = MqttSession::new(session.device_id().clone(), wish.silence_max, token_lasts, kept.unwrap_or_default(), now());
    Ok((Admitted { session, mqtt, stamps, will, input: Vec::new() }, session_present))
}

/// The will as it would be stored, so that one the hub would not take is refused now and not when nobody can be told.
fn stage_will(will: &Will<'_>, right: &DeviceRight, stamps: &Stamps) -> Result<Box<EventBatch>, Violation> {
    let message = topic::telemetry(right.device_id.as_str(), will.topic, will.payload, will.retain, Occasion::Will)?;
    let mut batch = Box::<EventBatch>::default();
    send_telemetry::stage(message, stamps, &mut batch)?;
    Ok(batch)
}

/// Stores the will of a device whose session has ended, if it leaves one.
async fn leave_will(hub: &Hub, session: &Session, mut will: EventBatch) {
    if !session.ended().is_some_and(leaves_will) {
        return;
    }
    let device = session.device_id();
    match timeout(WILL_MAX, send_telemetry::append_will(hub, session.right(), &mut will)).await {
        Ok(Ok(()) | Err(AppendRefused::SessionEnded(_))) => {}
        Ok(Err(error)) => tracing::warn!(%device, %error, "the will of device {device} is lost: {error}"),
        Err(_) => tracing::warn!(%device, "the will of device {device} is lost: the event log has no room"),
    }
}

/// Counts a stranger that gets no answer.
fn dismiss(hub: &Hub, reason: &'static str) -> Option<Admitted> {
    hub.metrics.refused(reason);
    None
}

/// Why no packet came from a stranger.
enum NoPacket {
    Malformed(DecodeError),
    Gone,
}

/// Reads until `input` begins with a packet.
async fn read_packet<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> Result<(), NoPacket> {
    loop {
        if let Decoded::Packet { .. } = decode(input, Limits::BEFORE_CONNECT).map_err(NoPacket::Malformed)? {
            return Ok(());
        }
        match read_some(stream, input).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(NoPacket::Gone),
        }
    }
}

/// Sends CONNACK; says whether that went well.
async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, session_present: bool, code: ConnectReturnCode) -> bool {
    let mut output = Vec::with_capacity(4);
    encode_connack(ConnAck { session_present, code }, &mut output);
    matches!(timeout(WRITE_MAX, write(stream, &output)).await, Ok(Ok(())))
}

/// A device that has been let in, and its socket.
struct Connection<'a, S> {
    hub: &'a Hub,
    stream: &'a mut S,
    session: Session,
    mqtt: MqttSession,
    stamps: Stamps,
    durability: Durability,
    /// What was read and is not a whole packet yet.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    /// What is to be appended.
    batch: EventBatch,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// Serves the device until the connection or the session ends, and says why it did.
    async fn run(&mut self) -> DisconnectReason {
        let session = self.session.clone();
        let mut ended = pin!(session.wait_ended());
        let mut timer = pin!(sleep_until(self.mqtt.deadline().into()));
        loop {
            if let Err(reason) = self.take_input(ended.as_mut()).await {
                return reason;
            }
            self.give_back();
            let Self { stream, input, mqtt, durability, .. } = self;
            tokio::select! {
                biased;
                reason = ended.as_mut() => return reason,
                read = read_some(&mut **stream, input), if mqtt.may_read() => match read {
                    Ok(1..) => if let Err(reason) = mqtt.heard(now()) {
                        return reason;
                    },
                    Ok(0) | Err(_) => return DisconnectReason::ConnectionLost,
                },
                () = durability.changed(), if mqtt.waits() => {}
                () = timer.as_mut() => {
                    if let Err(reason) = mqtt.time_passed(now()) {
                        return reason;
                    }
                    timer.as_mut().reset(mqtt.deadline().into());
                }
            }
        }
    }

    /// Acts on every packet that has come whole, appends what they brought, and sends every answer that is due.
    async fn take_input(&mut self, mut ended: Pin<&mut impl Future<Output = DisconnectReason>>) -> Result<(), DisconnectReason> {
        let taken = self.take_packets();
        if !self.batch.is_empty() {
            let append = send_telemetry::append(self.hub, &self.session, &mut self.batch);
            match unless_ended(append, ended.as_mut()).await? {
                Ok(ticket) => self.mqtt.appended(ticket),
                Err(AppendRefused::SessionEnded(reason)) => return Err(reason),
                Err(error) => {
                    let device = self.session.device_id();
                    tracing::warn!(%device, %error, "device {device} is sent away, its messages can't be stored: {error}");
                    return Err(DisconnectReason::StoreUnavailable);
                }
            }
        }
        // Only now: what came before the end or the violation was sent in good order.
        taken?;
        if self.mqtt.waits() {
            self.mqtt.durable(self.durability.now(), &mut self.output).map_err(|_| DisconnectReason::StoreUnavailable)?;
        }
        if self.output.is_empty() {
            return Ok(());
        }
        match unless_ended(timeout(WRITE_MAX, write(&mut *self.stream, &self.output)), ended).await? {
            Ok(Ok(())) => {
                self.output.clear();
                Ok(())
            }
            Ok(Err(_)) => Err(DisconnectReason::ConnectionLost),
            Err(_) => Err(DisconnectReason::TooSlow),
        }
    }

    /// Takes the whole packets out of the input, up to the first that ends the connection.
    fn take_packets(&mut self) -> Result<(), DisconnectReason> {
        if self.input.is_empty() {
            return Ok(());
        }
        let mut taken = 0;
        let result = loop {
            match self.take_packet(taken) {
                Ok(Taken::Packet { length }) => taken += length,
                Ok(Taken::Incomplete { total }) => {
                    self.input.drain(..taken);
                    // Exactly: a message of 256 KiB must not make room for 512.
                    self.input.reserve_exact(total.unwrap_or_default().saturating_sub(self.input.len()));
                    return Ok(());
                }
                Ok(Taken::Disconnect) => break Err(DisconnectReason::ClientDisconnected),
                Err(violation) => {
                    let (device, connection) = (self.session.device_id(), self.session.connection());
                    tracing::info!(%device, %connection, %violation, "device {device} broke a rule: {violation}");
                    break Err(DisconnectReason::ProtocolViolation);
                }
            }
        };
        self.input.clear();
        result
    }

    fn take_packet(&mut self, start: usize) -> Result<Taken, Violation> {
        let (packet, length) = match decode(&self.input[start..], Limits::CONNECTED)? {
            Decoded::Packet { packet, length } => (packet, length),
            Decoded::Incomplete { total } => return Ok(Taken::Incomplete { total }),
        };
        match self.mqtt.packet(packet, &mut self.output)? {
            Step::Done => {}
            Step::Telemetry(message, receipt) => {
                if self.batch.is_empty() {
                    // Once for the whole read, in all likelihood.
                    self.batch.bytes.reserve(self.input.len() - start + STAMPS_ROOM_BYTES);
                }
                send_telemetry::stage(message, &self.stamps, &mut self.batch)?;
                self.mqtt.staged(receipt);
            }
            Step::KeepSubscriptions => self.hub.presence.keep_subscriptions(self.mqtt.device(), self.mqtt.subscriptions()),
            Step::Disconnect => return Ok(Taken::Disconnect),
        }
        Ok(Taken::Packet { length })
    }

    /// An idle connection keeps no buffer.
    fn give_back(&mut self) {
        if self.mqtt.waits() {
            return;
        }
        self.output = Vec::new();
        self.batch = EventBatch::default();
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }
}

/// What one look at the input found.
enum Taken {
    Packet { length: usize },
    Incomplete { total: Option<usize> },
    Disconnect,
}

/// `work`'s output, unless the session ends before it is done.
async fn unless_ended<T>(work: impl Future<Output = T>, ended: impl Future<Output = DisconnectReason>) -> Result<T, DisconnectReason> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        reason = ended => Err(reason),
    }
}

/// Appends what one read gives to `input`, and says how much that was; 0 is the end.
async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        let mut memory = [MaybeUninit::uninit(); READ_MAX_BYTES];
        let mut buffer = ReadBuf::uninit(&mut memory);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// This machine's steady time, for keep-alive: a step of the wall clock must not end every connection.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
