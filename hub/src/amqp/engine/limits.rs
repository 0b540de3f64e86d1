//! How much of the hub one connection may take.

use std::time::Duration;

/// The smallest max-frame-size that AMQP allows (AMQP 2.4.1), in bytes.
pub const FRAME_MIN_MAX_BYTES: u32 = 512;

/// The largest frame that the hub sends, in bytes, whatever the peer would take: large enough for any throughput, small enough for any
/// client's buffer.
pub const FRAME_OUT_MAX_BYTES: u32 = 64 * 1024;

/// The largest frame before `open` has come, in bytes: SASL frames (AMQP 5.3.1), and `open` itself, whose properties some clients fill.
pub const FRAME_BEFORE_OPEN_MAX_BYTES: usize = 4096;

/// Transfers that a session may send before it hears of the window again. They take no memory: what a link holds is bounded by its credit.
pub const INCOMING_WINDOW_TRANSFERS: u32 = 8192;

/// What the hub says it may send; AMQP gives it no use but to be told.
pub const OUTGOING_WINDOW_TRANSFERS: u32 = 0x7fff_ffff;

/// Output that waits to be written, in bytes; with more, the engine takes no more input and sends no more deliveries.
pub const OUTPUT_MAX_BYTES: usize = 512 * 1024;

/// How long a peer may take to answer `close` before the connection is cut.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The shortest idle-time-out that the hub serves, in milliseconds: it sends an empty frame in half of that.
pub const IDLE_TIME_OUT_MIN_MS: u32 = 500;

/// The longest description of an error that is sent, in bytes, so that every error fits into the smallest frame.
pub const DESCRIPTION_MAX_BYTES: usize = 256;

/// The longest delivery-tag (AMQP 2.8.7), in bytes.
pub const DELIVERY_TAG_MAX_BYTES: usize = 32;

/// The longest name of a link, in bytes: it is kept for as long as the link is, and said again in the smallest frame when the link is
/// refused. SDKs put a device's id or two UUIDs into it.
pub const LINK_NAME_MAX_BYTES: usize = 256;

/// How deep values may be nested: a filter in a source in an attach is five deep.
pub const NESTING_MAX: usize = 16;

/// What a connection may have at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames, in bytes.
    pub frame_bytes: u32,
    /// Sessions.
    pub sessions: usize,
    /// Links, over all sessions.
    pub links: usize,
    /// One message, in bytes, as it is sent.
    pub message_bytes: usize,
    /// Pieces of messages that have not come whole, over all links, in bytes.
    pub pieces_bytes: usize,
    /// Deliveries of one session that the peer has not settled.
    pub unsettled_deliveries: usize,
}

impl Limits {
    /// Until somebody has proved who they are. Java's clients open up to four sessions before they hear an answer; a token in its message
    /// has less than 4 KiB.
    pub const STRANGER: Self =
        Self { frame_bytes: 16 * 1024, sessions: 4, links: 4, message_bytes: 16 * 1024, pieces_bytes: 16 * 1024, unsettled_deliveries: 16 };

    /// Afterwards: a gateway of a thousand devices with a session and four links each. A message may have Azure's 256 KiB beside its
    /// headers and annotations.
    pub const TRUSTED: Self = Self {
        frame_bytes: 64 * 1024,
        sessions: 1024,
        links: 4096,
        message_bytes: 272 * 1024,
        pieces_bytes: 4 * 1024 * 1024,
        unsettled_deliveries: 4096,
    };
}
