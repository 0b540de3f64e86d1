//! How a stranger becomes a device: CONNECT, and what it is answered.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::{Stranger, WRITE_MAX, now};
use crate::core::certificate::PresentedChain;
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::core::telemetry::{Occasion, Stamps};
use crate::mqtt::codec::{DecodeError, Decoded, Limits, decode, encode_connack};
use crate::mqtt::connect::{Admission, ConnectRefused, admission};
use crate::mqtt::packet::{ConnAck, ConnectReturnCode, Packet, QoS, Will};
use crate::mqtt::session::{MqttSession, Violation};
use crate::mqtt::topic;
use crate::net::socket::{read_some, write};
use crate::ops::authenticate::{AuthenticateError, Origin, Proof, authenticate_device, refuse};
use crate::ops::open_session::{OpenSession, open_session};
use crate::ops::refusals::RefusalReason;
use crate::ops::{EventBatch, Hub, send_telemetry};

/// What is known of a device that has been let in.
pub(super) struct Admitted<'a> {
    pub session: OpenSession<'a>,
    pub mqtt: MqttSession,
    pub stamps: Stamps,
    pub will: Option<Box<EventBatch>>,
    /// What came after CONNECT.
    pub input: Vec<u8>,
}

/// Lets a stranger in, or says why not; `None` when the connection is to be closed.
pub(super) async fn admit<'a, S>(
    hub: &'a Hub,
    stream: &mut S,
    stranger: Stranger,
    connect_within: Duration,
    authenticated: impl FnOnce(),
) -> Option<Admitted<'a>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Stranger { origin, certificate } = stranger;
    let mut input = Vec::new();
    match timeout(connect_within, read_packet(stream, &mut input)).await {
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
        Ok(wish) => let_in(hub, &wish, certificate.as_ref(), origin).await,
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
            admitted.session.close(DisconnectReason::ConnectionLost);
            None
        }
    }
}

/// Authenticates and opens the session. Beside it: whether a kept MQTT session goes on (MQTT-3.2.2-2).
async fn let_in<'a>(
    hub: &'a Hub,
    wish: &Admission<'_>,
    certificate: Option<&PresentedChain>,
    origin: Origin,
) -> Result<(Admitted<'a>, bool), ConnectReturnCode> {
    let proof = Proof { token: wish.token, certificate };
    let right = match authenticate_device(hub, wish.claimed, proof, origin).await {
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
            refuse(hub, wish.claimed, RefusalReason::UnacceptableWill(violation.to_string().as_str().into()), origin).await;
            return Err(ConnectReturnCode::NotAuthorized);
        }
    };
    let session = match open_session(hub, right, origin).await {
        Ok(session) => OpenSession::new(hub, session),
        Err(error) => {
            tracing::warn!(%error, "device {} can't be let in: {error}", wish.claimed);
            return Err(ConnectReturnCode::ServerUnavailable);
        }
    };
    if let Some(reason) = session.ended() {
        session.close(reason);
        return Err(ConnectReturnCode::NotAuthorized);
    }
    let kept = hub.presence.begin_mqtt_session(&session, wish.clean_session);
    let session_present = kept.is_some();
    let token_lasts = session.right().good_until.since(hub.now());
    let mqtt = MqttSession::new(session.device_id().clone(), wish.silence_max, token_lasts, kept.unwrap_or_default(), now());
    Ok((Admitted { session, mqtt, stamps, will, input: Vec::new() }, session_present))
}

/// The will as it would be stored, so that one the hub would not take is refused now and not when nobody can be told.
fn stage_will(will: &Will<'_>, right: &DeviceRight, stamps: &Stamps) -> Result<Box<EventBatch>, Violation> {
    if will.qos == QoS::ExactlyOnce {
        return Err(Violation::ExactlyOnce);
    }
    let message = topic::telemetry(right.device_id.as_str(), will.topic, will.payload)?;
    let mut batch = Box::<EventBatch>::default();
    send_telemetry::stage(message, Occasion { retain: will.retain, will: true }, stamps, &mut batch)?;
    Ok(batch)
}

/// Counts a stranger that gets no answer.
fn dismiss<'a>(hub: &Hub, reason: &'static str) -> Option<Admitted<'a>> {
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
