//! MQTT 3.1.1's fourteen control packets as values, borrowed from the bytes they were read from.
//!
//! Owns their shapes: what can't be said in MQTT can't be said here either. Never bytes (that is [`super::codec`]) and never a meaning
//! (that is [`super::session`]).

use std::fmt;
use std::num::NonZeroU16;

/// A control packet (MQTT 3.1.1, chapter 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client asks to be let in.
    Connect(Connect<'a>),
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// A message, either way.
    Publish(Publish<'a>),
    /// A QoS 1 message has arrived for good.
    PubAck(PacketId),
    /// QoS 2, first answer.
    PubRec(PacketId),
    /// QoS 2, second question.
    PubRel(PacketId),
    /// QoS 2, last answer.
    PubComp(PacketId),
    /// A client wants messages.
    Subscribe(Subscribe<'a>),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// A client wants messages no longer.
    Unsubscribe(Unsubscribe<'a>),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(PacketId),
    /// A client is alive, and asks whether the server is.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// A client takes its leave; its will is forgotten.
    Disconnect,
}

impl Packet<'_> {
    /// Which of the fourteen it is.
    #[must_use]
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::Connect(_) => PacketKind::Connect,
            Self::ConnAck(_) => PacketKind::ConnAck,
            Self::Publish(_) => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::Subscribe(_) => PacketKind::Subscribe,
            Self::SubAck(_) => PacketKind::SubAck,
            Self::Unsubscribe(_) => PacketKind::Unsubscribe,
            Self::UnsubAck(_) => PacketKind::UnsubAck,
            Self::PingReq => PacketKind::PingReq,
            Self::PingResp => PacketKind::PingResp,
            Self::Disconnect => PacketKind::Disconnect,
        }
    }
}

/// The upper half of a packet's first byte (MQTT 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// 1.
    Connect = 1,
    /// 2.
    ConnAck = 2,
    /// 3.
    Publish = 3,
    /// 4.
    PubAck = 4,
    /// 5.
    PubRec = 5,
    /// 6.
    PubRel = 6,
    /// 7.
    PubComp = 7,
    /// 8.
    Subscribe = 8,
    /// 9.
    SubAck = 9,
    /// 10.
    Unsubscribe = 10,
    /// 11.
    UnsubAck = 11,
    /// 12.
    PingReq = 12,
    /// 13.
    PingResp = 13,
    /// 14.
    Disconnect = 14,
}

impl PacketKind {
    /// The kind of a number; `None` for the reserved 0 and 15, and beyond.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// The specification's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        }
    }
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ties an answer to its question; never 0 (MQTT-2.3.1-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// The id of a number; `None` for 0.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Quality of service (MQTT 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once. The hub has none.
    ExactlyOnce = 2,
}

impl QoS {
    /// The quality of a number; `None` beyond 2.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// MQTT 3.1, of protocol level 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Begin anew: forget the subscriptions of earlier connections, and keep none of this one's.
    pub clean_session: bool,
    /// Within what time, in seconds, the client promises to be heard of; 0 promises nothing.
    pub keep_alive_seconds: u16,
    /// The client's name for itself.
    pub client_id: &'a str,
    /// What to publish if the connection ends without DISCONNECT.
    pub will: Option<Will<'a>>,
    /// User name.
    pub user_name: Option<&'a str>,
    /// Password; never without a user name (MQTT-3.1.2-22).
    pub password: Option<&'a [u8]>,
}

/// A client's last words (MQTT 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where to.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// How.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
}

/// MQTT 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server still has a session of the client's.
    pub session_present: bool,
    /// Whether the client is in.
    pub code: ConnectReturnCode,
}

/// MQTT 3.2.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// In.
    Accepted = 0,
    /// Not this level of the protocol.
    UnacceptableProtocolVersion = 1,
    /// Not this client id.
    IdentifierRejected = 2,
    /// Not now.
    ServerUnavailable = 3,
    /// User name or password are not well formed.
    BadUserNameOrPassword = 4,
    /// Not you.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The code of a number; `None` beyond 5.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

/// MQTT 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// How, and whether for the first time.
    pub delivery: Delivery,
    /// Whether it is to be retained, or has been.
    pub retain: bool,
    /// Where to; at least one character.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
}

/// The quality of service of one message with what belongs to it: only QoS 1 and 2 have a packet id (MQTT-2.3.1-5) and can be
/// duplicates (MQTT-3.3.1-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// What PUBACK will repeat.
        packet_id: PacketId,
        /// Whether it may have been sent before.
        duplicate: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// What PUBREC will repeat.
        packet_id: PacketId,
        /// Whether it may have been sent before.
        duplicate: bool,
    },
}

/// MQTT 3.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What SUBACK will repeat.
    pub packet_id: PacketId,
    /// Each topic filter and the best quality of service wanted; at least one.
    pub filters: Vec<(&'a str, QoS)>,
}

/// MQTT 3.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// SUBSCRIBE's.
    pub packet_id: PacketId,
    /// One answer per filter, in their order: the quality of service granted, or `None` for a refusal (0x80).
    pub granted: Vec<Option<QoS>>,
}

/// MQTT 3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK will repeat.
    pub packet_id: PacketId,
    /// The topic filters; at least one.
    pub filters: Vec<&'a str>,
}
