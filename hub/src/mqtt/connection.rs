//! The one place where MQTT meets a socket: bytes in, verbs of the hub, bytes out.
//!
//! Owns the buffers, the timers and the order of things: what one read brought is appended as one batch, after the session was asked
//! whether it still lives; the PUBACKs that have become due and the next commands leave in one write. Decides nothing about packets.

use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep_until, timeout};

use self::admit::{Admitted, admit};
use super::codec::{Decoded, Limits, decode};
use super::deliveries::WINDOW_MAX_DELIVERIES;
use super::session::{MqttSession, Step, Violation, leaves_will};
use crate::core::certificate::PresentedChain;
use crate::core::command::Settlement;
use crate::core::session::DisconnectReason;
use crate::core::telemetry::Stamps;
use crate::net::socket::{read_some, write};
use crate::ops::authenticate::Origin;
use crate::ops::open_session::OpenSession;
use crate::ops::receive_commands::{not_sent, subscribe, unsubscribe};
use crate::ops::send_telemetry::{self, AppendRefused};
use crate::ops::settle_command::settle_of_session;
use crate::ops::{Durability, EventBatch, Hub, Session};

mod admit;

/// How long a device may take to accept what is sent to it; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How long the end of a connection may take: it holds nobody up.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How long a will may wait for room in the log.
const WILL_MAX: Duration = Duration::from_secs(10);

/// Room that a batch sets aside beside what was read, in bytes, because every event is stored with its stamps.
const STAMPS_ROOM_BYTES: usize = 4 * 1024;

/// Who is at the other end, before anything is proved.
#[derive(Debug)]
pub struct Stranger {
    /// Over what, and from where.
    pub origin: Origin,
    /// The certificate that it presented, whose key it has. Let go once the stranger is let in or refused.
    pub certificate: Option<PresentedChain>,
}

/// Serves one connection until it ends. CONNECT must have come `connect_within` from now. `authenticated` is called once the device has
/// proved who it is, before it is told so.
#[expect(clippy::manual_async_fn, reason = "an async fn's future would hold the stream, which is large with TLS, twice")]
pub fn serve_connection<S>(
    hub: Arc<Hub>,
    mut stream: S,
    stranger: Stranger,
    connect_within: Duration,
    authenticated: impl FnOnce() + Send,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    async move {
        // Boxed, so that what letting in needs is given back before the long, mostly idle life begins.
        let admitted = Box::pin(admit(&hub, &mut stream, stranger, connect_within, authenticated)).await;
        if let Some(connection) = &mut admitted.map(|admitted| Connection::new(&hub, &mut stream, admitted)) {
            let reason = connection.run().await;
            connection.session.close(reason);
            close(&mut *connection.stream).await;
            if let Some(will) = connection.will.take() {
                Box::pin(leave_will(&hub, &connection.session, *will)).await;
            }
        } else {
            close(&mut stream).await;
        }
    }
}

/// Says goodbye as far as the peer lets it be said.
async fn close<S: AsyncWrite + Unpin>(stream: &mut S) {
    let _ = timeout(CLOSE_MAX, stream.shutdown()).await;
}

/// Stores the will of a device whose session has ended, if it leaves one.
async fn leave_will(hub: &Hub, session: &Session, mut will: EventBatch) {
    if !session.ended().is_some_and(leaves_will) {
        return;
    }
    let device = session.device_id();
    match timeout(WILL_MAX, send_telemetry::append_will(hub, session, &mut will)).await {
        Ok(Ok(()) | Err(AppendRefused::SessionEnded(_))) => {}
        Ok(Err(error)) => tracing::warn!(%device, %error, "the will of device {device} is lost: {error}"),
        Err(_) => tracing::warn!(%device, "the will of device {device} is lost: the event log has no room"),
    }
}

/// A device that has been let in, and its socket.
struct Connection<'a, S> {
    hub: &'a Hub,
    stream: &'a mut S,
    session: OpenSession<'a>,
    mqtt: MqttSession,
    stamps: Stamps,
    will: Option<Box<EventBatch>>,
    durability: Durability,
    /// What was read and is not a whole packet yet.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    /// What is to be appended.
    batch: EventBatch,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(hub: &'a Hub, stream: &'a mut S, admitted: Admitted<'a>) -> Self {
        let Admitted { session, mqtt, stamps, will, input } = admitted;
        let (durability, output, batch) = (hub.events.durability(), Vec::new(), EventBatch::default());
        Self { hub, stream, session, mqtt, stamps, will, durability, input, output, batch }
    }

    /// Serves the device until the connection or the session ends, and says why it did.
    async fn run(&mut self) -> DisconnectReason {
        // Those of a kept MQTT session hold without another SUBSCRIBE (MQTT-3.1.2-4).
        self.follow_subscriptions();
        self.serve().await
    }

    async fn serve(&mut self) -> DisconnectReason {
        let session = Session::clone(&self.session);
        let mut timer = pin!(sleep_until(self.mqtt.deadline().into()));
        loop {
            if let Err(reason) = self.take_input().await {
                return reason;
            }
            self.give_back();
            let has_commands = session.has_deliveries();
            let Self { stream, input, mqtt, durability, .. } = self;
            tokio::select! {
                biased;
                () = session.wait_woken(), if !has_commands => if let Some(reason) = session.ended() {
                    return reason;
                },
                read = read_some(&mut **stream, input), if mqtt.may_read() => match read {
                    Ok(1..) => if let Err(reason) = mqtt.heard(now()) {
                        return reason;
                    },
                    Ok(0) | Err(_) => return DisconnectReason::ConnectionLost,
                },
                () = durability.changed(), if mqtt.waits() => {}
                // Commands that had to let what the device sends go first.
                () = ready(()), if has_commands => {}
                () = timer.as_mut() => {
                    if let Err(reason) = mqtt.time_passed(now()) {
                        return reason;
                    }
                    timer.as_mut().reset(mqtt.deadline().into());
                }
            }
        }
    }

    /// Acts on every packet that has come whole, appends what they brought, and sends every answer that is due, and commands.
    async fn take_input(&mut self) -> Result<(), DisconnectReason> {
        let taken = self.take_packets();
        if !self.batch.is_empty() {
            let append = send_telemetry::append(self.hub, &self.session, &mut self.batch);
            match unless_ended(append, &self.session).await? {
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
        self.publish_commands()?;
        if self.output.is_empty() {
            return Ok(());
        }
        match unless_ended(timeout(WRITE_MAX, write(&mut *self.stream, &self.output)), &self.session).await? {
            Ok(Ok(())) => {
                self.output.clear();
                for token in self.mqtt.written() {
                    settle_of_session(self.hub, &self.session, token, Settlement::Complete);
                }
                Ok(())
            }
            Ok(Err(_)) => Err(DisconnectReason::ConnectionLost),
            Err(_) => Err(DisconnectReason::TooSlow),
        }
    }

    /// Puts the next commands behind the answers. Whoever has been shut out gets none, nor does who has just unsubscribed.
    fn publish_commands(&mut self) -> Result<(), DisconnectReason> {
        if let Some(reason) = self.session.ended() {
            return Err(reason);
        }
        let Self { hub, session, mqtt, output, .. } = self;
        if !mqtt.wants_commands() {
            for delivery in session.take_deliveries() {
                not_sent(hub, session, delivery.token);
            }
        }
        let next = || session.take_delivery();
        mqtt.publish_commands(output, next, |delivery, error| {
            let (device, command) = (session.device_id(), delivery.command);
            tracing::warn!(%device, %command, %error, "command {command} is dead-lettered, MQTT can't say it: {error}");
            settle_of_session(hub, session, delivery.token, Settlement::Reject);
        });
        Ok(())
    }

    /// Has commands delivered while the device has a subscription to them, and not otherwise.
    fn follow_subscriptions(&mut self) {
        if self.mqtt.wants_commands() {
            subscribe(self.hub, &self.session, WINDOW_MAX_DELIVERIES);
        } else {
            unsubscribe(self.hub, &self.session);
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
            Step::Telemetry(message, occasion, receipt) => {
                if self.batch.is_empty() {
                    // Once for the whole read, in all likelihood.
                    self.batch.bytes.reserve(self.input.len() - start + STAMPS_ROOM_BYTES);
                }
                send_telemetry::stage(message, occasion, &self.stamps, &mut self.batch)?;
                self.mqtt.staged(receipt);
            }
            Step::KeepSubscriptions => {
                self.hub.presence.keep_subscriptions(&self.session, self.mqtt.subscriptions());
                self.follow_subscriptions();
            }
            Step::Complete(command, token) => {
                let token = self.session.take_delivery_of(command).map_or(token, |again| again.token);
                settle_of_session(self.hub, &self.session, token, Settlement::Complete);
            }
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
async fn unless_ended<T>(work: impl Future<Output = T>, session: &Session) -> Result<T, DisconnectReason> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        reason = session.wait_ended() => Err(reason),
    }
}

/// This machine's steady time, for keep-alive: a step of the wall clock must not end every connection.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
