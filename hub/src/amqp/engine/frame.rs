//! Protocol headers (AMQP 2.2) and frames (AMQP 2.3): where they begin and end, and for whom they are. Never looks into a body.

use super::limits::FRAME_MIN_MAX_BYTES;

/// Bytes of a protocol header, and of a frame's.
pub const HEADER_BYTES: usize = 8;

/// What a connection begins with, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `AMQP 0 1 0 0`.
    Amqp,
    /// `AMQP 3 1 0 0`: SASL first.
    Sasl,
}

impl Protocol {
    /// Its header.
    #[must_use]
    pub fn header(self) -> [u8; HEADER_BYTES] {
        let id = match self {
            Self::Amqp => 0,
            Self::Sasl => 3,
        };
        [b'A', b'M', b'Q', b'P', id, 1, 0, 0]
    }

    /// What `input` begins with; `Ok(None)` when that can't be told yet.
    pub fn read(input: &[u8]) -> Result<Option<Self>, NoProtocol> {
        for protocol in [Self::Amqp, Self::Sasl] {
            let header = protocol.header();
            if input.len() >= HEADER_BYTES && input[..HEADER_BYTES] == header {
                return Ok(Some(protocol));
            }
            if input.len() < HEADER_BYTES && header.starts_with(input) {
                return Ok(None);
            }
        }
        Err(NoProtocol)
    }
}

/// The bytes begin with no protocol that the hub speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection begins with another protocol")]
pub struct NoProtocol;

/// Whose a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Type 0x00.
    Amqp,
    /// Type 0x01.
    Sasl,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its size with its header, in bytes.
    pub size: usize,
    /// Where its body begins.
    pub body: usize,
    /// Whose it is.
    pub kind: FrameKind,
    /// Its channel; without meaning in SASL frames.
    pub channel: u16,
}

/// A frame that breaks AMQP 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Larger than was agreed.
    #[error("a frame of {size} bytes is larger than {max}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What was agreed.
        max: usize,
    },
    /// Its header does not fit into it.
    #[error("a frame's header contradicts itself")]
    Header,
    /// A type that does not exist.
    #[error("frames of type {0:#04x} do not exist")]
    Type(u8),
}

impl Frame {
    /// The frame that `input` begins with, `Ok(None)` until it is whole. One that is wrong is refused as soon as its header is there.
    pub fn read(input: &[u8], max: usize) -> Result<Option<Self>, BadFrame> {
        let Some(&[s0, s1, s2, s3, offset, kind, c0, c1]) = input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).map_err(|_| BadFrame::Header)?;
        if size > max {
            return Err(BadFrame::TooLarge { size, max });
        }
        let body = 4 * usize::from(offset);
        if body < HEADER_BYTES || size < body {
            return Err(BadFrame::Header);
        }
        let kind = match kind {
            0 => FrameKind::Amqp,
            1 => FrameKind::Sasl,
            other => return Err(BadFrame::Type(other)),
        };
        let frame = Self { size, body, kind, channel: u16::from_be_bytes([c0, c1]) };
        Ok(if input.len() < size { None } else { Some(frame) })
    }
}

/// Appends a frame whose body is written by `body`; says how many bytes it has.
pub fn write(output: &mut Vec<u8>, kind: FrameKind, channel: u16, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = output.len();
    let [c0, c1] = channel.to_be_bytes();
    output.extend_from_slice(&[0, 0, 0, 0, 2, u8::from(kind == FrameKind::Sasl), c0, c1]);
    body(output);
    let size = output.len() - start;
    let written = u32::try_from(size).expect("the hub's frames are far below 4 GiB");
    output[start..start + 4].copy_from_slice(&written.to_be_bytes());
    size
}

/// The largest frame that both sides are good for, given what the peer said in its `open`.
#[must_use]
pub fn agreed_max(of_peer: u32, ours: u32) -> u32 {
    of_peer.max(FRAME_MIN_MAX_BYTES).min(ours)
}
