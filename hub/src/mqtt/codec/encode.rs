//! [`Packet`]s to bytes.

use super::super::packet::{ConnAck, Connect, Delivery, Packet, PacketId, PacketKind, Publish, QoS, SubAck, Subscribe, Unsubscribe};
use super::bits;

/// A packet that MQTT can't write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text or a binary field of more than 65,535 bytes (MQTT 1.5.3).
    #[error("a field of {0} bytes has no length in MQTT")]
    FieldTooLong(usize),
    /// A body of more than 268,435,455 bytes (MQTT 2.2.3).
    #[error("a packet of {0} bytes has no length in MQTT")]
    PacketTooLong(usize),
}

/// The largest remaining length that four bytes can say (MQTT 2.2.3).
const REMAINING_LENGTH_MAX_BYTES: usize = 268_435_455;

/// Appends the packet to `out`; appends nothing when it can't be written.
pub fn encode(packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match packet {
        Packet::Connect(connect) => encode_connect(connect, out),
        Packet::ConnAck(answer) => {
            encode_connack(*answer, out);
            Ok(())
        }
        Packet::Publish(publish) => encode_publish(publish, out),
        Packet::PubAck(id) | Packet::PubRec(id) | Packet::PubComp(id) | Packet::UnsubAck(id) => {
            encode_acknowledgement(packet.kind(), 0, *id, out);
            Ok(())
        }
        Packet::PubRel(id) => {
            encode_acknowledgement(PacketKind::PubRel, 0b0010, *id, out);
            Ok(())
        }
        Packet::Subscribe(subscribe) => encode_subscribe(subscribe, out),
        Packet::SubAck(answer) => encode_suback(answer, out),
        Packet::Unsubscribe(unsubscribe) => encode_unsubscribe(unsubscribe, out),
        Packet::PingReq | Packet::PingResp | Packet::Disconnect => {
            out.extend([(packet.kind() as u8) << 4, 0]);
            Ok(())
        }
    }
}

/// Appends PUBACK, the packet that the hub writes most.
pub fn encode_puback(packet_id: PacketId, out: &mut Vec<u8>) {
    encode_acknowledgement(PacketKind::PubAck, 0, packet_id, out);
}

/// Appends CONNACK.
pub fn encode_connack(answer: ConnAck, out: &mut Vec<u8>) {
    out.extend([(PacketKind::ConnAck as u8) << 4, 2, u8::from(answer.session_present), answer.code as u8]);
}

fn encode_acknowledgement(kind: PacketKind, flags: u8, packet_id: PacketId, out: &mut Vec<u8>) {
    let [high, low] = packet_id.0.get().to_be_bytes();
    out.extend([(kind as u8) << 4 | flags, 2, high, low]);
}

fn encode_connect(connect: &Connect<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut flags = if connect.clean_session { bits::CONNECT_CLEAN_SESSION } else { 0 };
    let mut length = 10 + field_length(connect.client_id.as_bytes())?;
    if let Some(will) = &connect.will {
        flags |=
            bits::CONNECT_WILL | (will.qos as u8) << bits::CONNECT_WILL_QOS_SHIFT | if will.retain { bits::CONNECT_WILL_RETAIN } else { 0 };
        length += field_length(will.topic.as_bytes())? + field_length(will.payload)?;
    }
    if let Some(user_name) = connect.user_name {
        flags |= bits::CONNECT_USER_NAME;
        length += field_length(user_name.as_bytes())?;
    }
    if let Some(password) = connect.password {
        flags |= bits::CONNECT_PASSWORD;
        length += field_length(password)?;
    }
    put_header(PacketKind::Connect, 0, length, out)?;
    put_field(b"MQTT", out);
    out.extend([4, flags]);
    out.extend(connect.keep_alive_seconds.to_be_bytes());
    put_field(connect.client_id.as_bytes(), out);
    if let Some(will) = &connect.will {
        put_field(will.topic.as_bytes(), out);
        put_field(will.payload, out);
    }
    if let Some(user_name) = connect.user_name {
        put_field(user_name.as_bytes(), out);
    }
    if let Some(password) = connect.password {
        put_field(password, out);
    }
    Ok(())
}

fn encode_publish(publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (qos, packet_id, duplicate) = match publish.delivery {
        Delivery::AtMostOnce => (QoS::AtMostOnce, None, false),
        Delivery::AtLeastOnce { packet_id, duplicate } => (QoS::AtLeastOnce, Some(packet_id), duplicate),
        Delivery::ExactlyOnce { packet_id, duplicate } => (QoS::ExactlyOnce, Some(packet_id), duplicate),
    };
    let flags = (qos as u8) << bits::PUBLISH_QOS_SHIFT
        | if duplicate { bits::PUBLISH_DUPLICATE } else { 0 }
        | if publish.retain { bits::PUBLISH_RETAIN } else { 0 };
    let id_length = if packet_id.is_some() { 2 } else { 0 };
    put_header(PacketKind::Publish, flags, field_length(publish.topic.as_bytes())? + id_length + publish.payload.len(), out)?;
    put_field(publish.topic.as_bytes(), out);
    if let Some(packet_id) = packet_id {
        out.extend(packet_id.0.get().to_be_bytes());
    }
    out.extend_from_slice(publish.payload);
    Ok(())
}

fn encode_subscribe(subscribe: &Subscribe<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut length = 2;
    for (filter, _) in &subscribe.filters {
        length += field_length(filter.as_bytes())? + 1;
    }
    put_header(PacketKind::Subscribe, 0b0010, length, out)?;
    out.extend(subscribe.packet_id.0.get().to_be_bytes());
    for (filter, qos) in &subscribe.filters {
        put_field(filter.as_bytes(), out);
        out.push(*qos as u8);
    }
    Ok(())
}

fn encode_suback(answer: &SubAck, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put_header(PacketKind::SubAck, 0, 2 + answer.granted.len(), out)?;
    out.extend(answer.packet_id.0.get().to_be_bytes());
    out.extend(answer.granted.iter().map(|granted| granted.map_or(bits::SUBACK_FAILURE, |qos| qos as u8)));
    Ok(())
}

fn encode_unsubscribe(unsubscribe: &Unsubscribe<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut length = 2;
    for filter in &unsubscribe.filters {
        length += field_length(filter.as_bytes())?;
    }
    put_header(PacketKind::Unsubscribe, 0b0010, length, out)?;
    out.extend(unsubscribe.packet_id.0.get().to_be_bytes());
    for filter in &unsubscribe.filters {
        put_field(filter.as_bytes(), out);
    }
    Ok(())
}

/// How many bytes a length-prefixed field takes.
fn field_length(bytes: &[u8]) -> Result<usize, EncodeError> {
    if bytes.len() > usize::from(u16::MAX) { Err(EncodeError::FieldTooLong(bytes.len())) } else { Ok(2 + bytes.len()) }
}

fn put_field(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).expect("field_length has checked every field before the first is written");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_header(kind: PacketKind, flags: u8, mut length: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if length > REMAINING_LENGTH_MAX_BYTES {
        return Err(EncodeError::PacketTooLong(length));
    }
    out.reserve(length + 5);
    out.push((kind as u8) << 4 | flags);
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits fit");
        length >>= 7;
        if length == 0 {
            out.push(low);
            return Ok(());
        }
        out.push(low | 0x80);
    }
}
