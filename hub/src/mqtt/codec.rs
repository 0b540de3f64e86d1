//! MQTT 3.1.1 bytes to [`Packet`]s and back.
//!
//! Owns the format and every rule of it whose breach "MUST close the Network Connection". Borrows texts and payloads from the bytes and
//! keeps nothing between calls: whoever owns the buffer calls again when there is more. Never decides whether a packet is welcome.

use super::packet::{
    ConnAck, Connect, ConnectReturnCode, Delivery, Packet, PacketId, PacketKind, Publish, QoS, SubAck, Subscribe, Unsubscribe, Will,
};

mod encode;
#[cfg(test)]
mod tests;

pub use encode::{EncodeError, encode, encode_connack, encode_puback};

/// The largest payload of a message: 256 KiB, Azure's limit for device-to-cloud messages. What the properties add to it is
/// `core::telemetry`'s to check.
pub const PAYLOAD_MAX_BYTES: usize = 256 * 1024;

/// The largest PUBLISH body: the longest topic that MQTT can write, its length, a packet id and the largest payload.
pub const PUBLISH_MAX_BYTES: usize = 2 + u16::MAX as usize + 2 + PAYLOAD_MAX_BYTES;

/// The largest body of any other packet: CONNECT with a device id, a user name, a token (all below 1 KiB) and a will of several KiB fits.
/// It is also all that a stranger can make the hub keep.
pub const CONTROL_MAX_BYTES: usize = 16 * 1024;

/// The most filters in one SUBSCRIBE or UNSUBSCRIBE. Azure documents 5 subscriptions to a connection, its SDKs use up to 4.
pub const FILTERS_MAX: usize = 16;

/// How large packets may be now, in bytes after the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// PUBLISH.
    pub publish_bytes: usize,
    /// Every other kind.
    pub control_bytes: usize,
}

impl Limits {
    /// Until CONNECT is accepted: strangers publish nothing.
    pub const BEFORE_CONNECT: Self = Self { publish_bytes: 0, control_bytes: CONTROL_MAX_BYTES };
    /// Afterwards.
    pub const CONNECTED: Self = Self { publish_bytes: PUBLISH_MAX_BYTES, control_bytes: CONTROL_MAX_BYTES };
}

/// What the bytes begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet.
    Packet {
        /// It.
        packet: Packet<'a>,
        /// How many bytes it took.
        length: usize,
    },
    /// The beginning of a packet, without fault so far.
    Incomplete {
        /// How many bytes the whole packet will have, once that is known.
        total: Option<usize>,
    },
}

/// The bytes are no MQTT 3.1.1, or too many: close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Packet kinds 0 and 15 are reserved (MQTT 2.2.1).
    #[error("packet kind {0} is reserved")]
    ReservedKind(u8),
    /// The flags of the fixed header are not what the kind prescribes (MQTT-2.2.2-2).
    #[error("{kind} has the flags {flags:#06b}")]
    ReservedFlags {
        /// Of what.
        kind: PacketKind,
        /// The lower half of the first byte.
        flags: u8,
    },
    /// The length has more than four bytes (MQTT 2.2.3).
    #[error("the remaining length has more than four bytes")]
    RemainingLength,
    /// Larger than [`Limits`] has it.
    #[error("{kind} of {bytes} bytes is larger than {max_bytes}")]
    TooLarge {
        /// What.
        kind: PacketKind,
        /// Its size.
        bytes: usize,
        /// The limit for its kind.
        max_bytes: usize,
    },
    /// A field reaches beyond the packet's end.
    #[error("{0} ends in the middle of a field")]
    Truncated(PacketKind),
    /// Something follows the last field.
    #[error("{0} goes on after its last field")]
    TrailingBytes(PacketKind),
    /// A text is not UTF-8 (MQTT-1.5.3-1).
    #[error("a text in {0} is not UTF-8")]
    NotUtf8(PacketKind),
    /// A text holds U+0000 (MQTT-1.5.3-2).
    #[error("a text in {0} holds U+0000")]
    NulCharacter(PacketKind),
    /// MQTT-2.3.1-1.
    #[error("{0} has packet id 0")]
    PacketIdZero(PacketKind),
    /// The protocol is not called `MQTT` (MQTT-3.1.2-1).
    #[error("CONNECT is for another protocol")]
    ProtocolName,
    /// A level that the hub does not speak: answer with return code 1, then close (MQTT-3.1.2-2).
    #[error("CONNECT asks for protocol level {0}, not 4")]
    ProtocolLevel(u8),
    /// CONNECT's flags contradict themselves (MQTT-3.1.2-3, -11, -13, -14, -15, -22).
    #[error("CONNECT has the flags {0:#010b}")]
    ConnectFlags(u8),
    /// Quality of service 3 (MQTT-3.3.1-4, MQTT-3-8.3-4).
    #[error("{0} asks for a quality of service that does not exist")]
    QoS(PacketKind),
    /// A duplicate of a message that has no id to be recognised by (MQTT-3.3.1-2).
    #[error("PUBLISH with quality of service 0 says that it is a duplicate")]
    DuplicateAtMostOnce,
    /// Topic names and filters have at least one character (MQTT-4.7.3-1).
    #[error("{0} has an empty topic")]
    EmptyTopic(PacketKind),
    /// MQTT-3.8.3-3, MQTT-3.10.3-2.
    #[error("{0} has no topic filter")]
    NoFilter(PacketKind),
    /// More than [`FILTERS_MAX`].
    #[error("{0} has more than 16 topic filters")]
    TooManyFilters(PacketKind),
    /// A return code or flag in an answer that MQTT reserves.
    #[error("{0} has a reserved value")]
    ReservedValue(PacketKind),
}

/// Reads the packet that `bytes` begin with. What can be seen to be wrong is refused at once, before the rest has come.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Decoded<'_>, DecodeError> {
    let Some(&first) = bytes.first() else { return Ok(Decoded::Incomplete { total: None }) };
    let kind = PacketKind::from_number(first >> 4).ok_or(DecodeError::ReservedKind(first >> 4))?;
    let flags = first & 0x0f;
    check_flags(kind, flags)?;
    let Some((body_length, header_length)) = remaining_length(bytes)? else { return Ok(Decoded::Incomplete { total: None }) };
    let max_bytes = if kind == PacketKind::Publish { limits.publish_bytes } else { limits.control_bytes };
    if body_length > max_bytes {
        return Err(DecodeError::TooLarge { kind, bytes: body_length, max_bytes });
    }
    let length = header_length + body_length;
    let Some(body) = bytes.get(header_length..length) else { return Ok(Decoded::Incomplete { total: Some(length) }) };
    let packet = decode_body(kind, flags, Fields { kind, rest: body })?;
    Ok(Decoded::Packet { packet, length })
}

/// MQTT-2.2.2-1 and -2: PUBLISH has flags of its own, these four are 0b0010 or 0.
fn check_flags(kind: PacketKind, flags: u8) -> Result<(), DecodeError> {
    let right = match kind {
        PacketKind::Publish => true,
        PacketKind::PubRel | PacketKind::Subscribe | PacketKind::Unsubscribe => flags == 0b0010,
        _ => flags == 0,
    };
    if right { Ok(()) } else { Err(DecodeError::ReservedFlags { kind, flags }) }
}

/// The length of the body and of the fixed header (MQTT 2.2.3); `None` when the length has not come whole.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut length = 0;
    for (index, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 2)));
        }
    }
    if bytes.len() > 4 { Err(DecodeError::RemainingLength) } else { Ok(None) }
}

fn decode_body<'a>(kind: PacketKind, flags: u8, mut fields: Fields<'a>) -> Result<Packet<'a>, DecodeError> {
    let packet = match kind {
        PacketKind::Connect => Packet::Connect(decode_connect(&mut fields)?),
        PacketKind::ConnAck => Packet::ConnAck(decode_connack(&mut fields)?),
        PacketKind::Publish => Packet::Publish(decode_publish(flags, &mut fields)?),
        PacketKind::PubAck => Packet::PubAck(fields.packet_id()?),
        PacketKind::PubRec => Packet::PubRec(fields.packet_id()?),
        PacketKind::PubRel => Packet::PubRel(fields.packet_id()?),
        PacketKind::PubComp => Packet::PubComp(fields.packet_id()?),
        PacketKind::Subscribe => Packet::Subscribe(decode_subscribe(&mut fields)?),
        PacketKind::SubAck => Packet::SubAck(decode_suback(&mut fields)?),
        PacketKind::Unsubscribe => Packet::Unsubscribe(decode_unsubscribe(&mut fields)?),
        PacketKind::UnsubAck => Packet::UnsubAck(fields.packet_id()?),
        PacketKind::PingReq => Packet::PingReq,
        PacketKind::PingResp => Packet::PingResp,
        PacketKind::Disconnect => Packet::Disconnect,
    };
    if fields.rest.is_empty() { Ok(packet) } else { Err(DecodeError::TrailingBytes(kind)) }
}

fn decode_connect<'a>(fields: &mut Fields<'a>) -> Result<Connect<'a>, DecodeError> {
    // Not `text`: whatever the name is, it is only compared.
    if fields.binary()? != b"MQTT" {
        return Err(DecodeError::ProtocolName);
    }
    match fields.byte()? {
        4 => {}
        other => return Err(DecodeError::ProtocolLevel(other)),
    }
    let flags = fields.byte()?;
    let has = |flag| flags & flag != 0;
    let will_qos = QoS::from_number((flags >> bits::CONNECT_WILL_QOS_SHIFT) & 0b11).ok_or(DecodeError::ConnectFlags(flags))?;
    let reserved = has(0b0000_0001);
    let will_details_without_will = !has(bits::CONNECT_WILL) && (will_qos != QoS::AtMostOnce || has(bits::CONNECT_WILL_RETAIN));
    let password_without_user_name = has(bits::CONNECT_PASSWORD) && !has(bits::CONNECT_USER_NAME);
    if reserved || will_details_without_will || password_without_user_name {
        return Err(DecodeError::ConnectFlags(flags));
    }
    let keep_alive_seconds = fields.number()?;
    let client_id = fields.text()?;
    let will = if has(bits::CONNECT_WILL) {
        Some(Will { topic: fields.topic()?, payload: fields.binary()?, qos: will_qos, retain: has(bits::CONNECT_WILL_RETAIN) })
    } else {
        None
    };
    let user_name = if has(bits::CONNECT_USER_NAME) { Some(fields.text()?) } else { None };
    let password = if has(bits::CONNECT_PASSWORD) { Some(fields.binary()?) } else { None };
    Ok(Connect { clean_session: has(bits::CONNECT_CLEAN_SESSION), keep_alive_seconds, client_id, will, user_name, password })
}

fn decode_connack(fields: &mut Fields<'_>) -> Result<ConnAck, DecodeError> {
    let session_present = match fields.byte()? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::ReservedValue(fields.kind)),
    };
    let code = ConnectReturnCode::from_number(fields.byte()?).ok_or(DecodeError::ReservedValue(fields.kind))?;
    Ok(ConnAck { session_present, code })
}

fn decode_publish<'a>(flags: u8, fields: &mut Fields<'a>) -> Result<Publish<'a>, DecodeError> {
    let duplicate = flags & bits::PUBLISH_DUPLICATE != 0;
    let qos = QoS::from_number((flags >> bits::PUBLISH_QOS_SHIFT) & 0b11).ok_or(DecodeError::QoS(fields.kind))?;
    let topic = fields.topic()?;
    let delivery = match qos {
        QoS::AtMostOnce if duplicate => return Err(DecodeError::DuplicateAtMostOnce),
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id: fields.packet_id()?, duplicate },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id: fields.packet_id()?, duplicate },
    };
    Ok(Publish { delivery, retain: flags & bits::PUBLISH_RETAIN != 0, topic, payload: std::mem::take(&mut fields.rest) })
}

fn decode_subscribe<'a>(fields: &mut Fields<'a>) -> Result<Subscribe<'a>, DecodeError> {
    let packet_id = fields.packet_id()?;
    let filters = fields.filters(|fields| {
        let filter = fields.topic()?;
        let qos = QoS::from_number(fields.byte()?).ok_or(DecodeError::QoS(fields.kind))?;
        Ok((filter, qos))
    })?;
    Ok(Subscribe { packet_id, filters })
}

fn decode_suback(fields: &mut Fields<'_>) -> Result<SubAck, DecodeError> {
    let packet_id = fields.packet_id()?;
    let granted = fields.filters(|fields| match fields.byte()? {
        bits::SUBACK_FAILURE => Ok(None),
        number => QoS::from_number(number).map(Some).ok_or(DecodeError::ReservedValue(fields.kind)),
    })?;
    Ok(SubAck { packet_id, granted })
}

fn decode_unsubscribe<'a>(fields: &mut Fields<'a>) -> Result<Unsubscribe<'a>, DecodeError> {
    Ok(Unsubscribe { packet_id: fields.packet_id()?, filters: fields.filters(Fields::topic)? })
}

/// What is left of a packet's body.
struct Fields<'a> {
    kind: PacketKind,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.number()?).ok_or(DecodeError::PacketIdZero(self.kind))
    }

    /// Length-prefixed bytes (MQTT 1.5.3 without the UTF-8).
    fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    /// Length-prefixed UTF-8 (MQTT 1.5.3).
    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| DecodeError::NotUtf8(self.kind))?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NulCharacter(self.kind));
        }
        Ok(text)
    }

    /// A topic name or filter. Wildcards in a PUBLISH's topic are left to [`super::topic`]: Azure's clients may write a property's `+` plainly.
    fn topic(&mut self) -> Result<&'a str, DecodeError> {
        let topic = self.text()?;
        if topic.is_empty() { Err(DecodeError::EmptyTopic(self.kind)) } else { Ok(topic) }
    }

    /// One item or more, up to the packet's end.
    fn filters<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::with_capacity(1);
        while !self.rest.is_empty() {
            if items.len() == FILTERS_MAX {
                return Err(DecodeError::TooManyFilters(self.kind));
            }
            items.push(item(self)?);
        }
        if items.is_empty() { Err(DecodeError::NoFilter(self.kind)) } else { Ok(items) }
    }
}

/// Bits of the fixed header and of CONNECT, for both directions.
mod bits {
    /// MQTT 3.1.2.4.
    pub const CONNECT_CLEAN_SESSION: u8 = 0b0000_0010;
    /// MQTT 3.1.2.5.
    pub const CONNECT_WILL: u8 = 0b0000_0100;
    /// MQTT 3.1.2.6: two bits.
    pub const CONNECT_WILL_QOS_SHIFT: u32 = 3;
    /// MQTT 3.1.2.7.
    pub const CONNECT_WILL_RETAIN: u8 = 0b0010_0000;
    /// MQTT 3.1.2.9.
    pub const CONNECT_PASSWORD: u8 = 0b0100_0000;
    /// MQTT 3.1.2.8.
    pub const CONNECT_USER_NAME: u8 = 0b1000_0000;
    /// MQTT 3.3.1.3.
    pub const PUBLISH_RETAIN: u8 = 0b0001;
    /// MQTT 3.3.1.2: two bits.
    pub const PUBLISH_QOS_SHIFT: u32 = 1;
    /// MQTT 3.3.1.1.
    pub const PUBLISH_DUPLICATE: u8 = 0b1000;
    /// MQTT 3.9.3: the filter was refused.
    pub const SUBACK_FAILURE: u8 = 0x80;
}
