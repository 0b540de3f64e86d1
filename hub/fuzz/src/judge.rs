//! A listener who takes nothing for granted: everything that an engine says is taken apart here, with nothing of the engine's own.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::definitions::{Handle, Role};
use fe2o3_amqp_types::performatives::Performative;

/// Frames before the peer has said what it takes (AMQP 2.4.1), and SASL's always (AMQP 5.3.1).
const FRAME_MIN_MAX_BYTES: usize = 512;

/// Bytes of a frame's header, and of a protocol's.
const HEADER_BYTES: usize = 8;

/// What was heard so far.
#[derive(Debug)]
pub struct Judge {
    pending: Vec<u8>,
    /// The largest frame that the peer takes.
    pub frame_max_bytes: usize,
    opened: bool,
    closed: bool,
    sessions: BTreeSet<u16>,
    /// Links that the engine has attached, and whether it is their sender.
    links: BTreeMap<(u16, u32), bool>,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            frame_max_bytes: FRAME_MIN_MAX_BYTES,
            opened: false,
            closed: false,
            sessions: BTreeSet::new(),
            links: BTreeMap::new(),
        }
    }
}

impl Judge {
    /// The engine has said this; it must be whole frames.
    ///
    /// # Panics
    /// When it breaks a rule.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while !rest.is_empty() {
            let size = match rest {
                [b'A', b'M', b'Q', b'P', id, 1, 0, 0, ..] => {
                    assert!(matches!(id, 0 | 3), "there is no protocol {id}");
                    HEADER_BYTES
                }
                _ => self.frame(rest),
            };
            rest = &rest[size..];
        }
    }

    /// The frame that `bytes` begin with; gives its size.
    fn frame(&mut self, bytes: &[u8]) -> usize {
        let [s0, s1, s2, s3, offset, kind, c0, c1] = *bytes.first_chunk().expect("a frame has a header");
        let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])).expect("this is no machine of 16 bits");
        assert_eq!(offset, 2, "the hub writes no extended headers");
        assert!(size >= HEADER_BYTES && size <= bytes.len(), "a frame of {size} bytes in {} that were written", bytes.len());
        let body = &bytes[HEADER_BYTES..size];
        match kind {
            0 if body.is_empty() => {}
            0 => {
                // `open` and `close` are small by what is in them.
                assert!(size <= self.frame_max_bytes, "a frame of {size} bytes for a peer that takes {}", self.frame_max_bytes);
                self.performative(u16::from_be_bytes([c0, c1]), body);
            }
            1 => assert!(size <= FRAME_MIN_MAX_BYTES && !self.opened, "a SASL frame of {size} bytes"),
            other => panic!("there are no frames of type {other}"),
        }
        size
    }

    fn performative(&mut self, channel: u16, body: &[u8]) {
        let length = measure(body);
        let performative: Performative =
            serde_amqp::from_slice(&body[..length]).unwrap_or_else(|error| panic!("{error}: {:02x?}", &body[..length]));
        assert!(!self.closed, "after close comes {performative:?}");
        assert_eq!(!self.opened, matches!(performative, Performative::Open(_)), "open comes first and once, not {performative:?}");
        let is_session = matches!(performative, Performative::Open(_) | Performative::Close(_) | Performative::Begin(_));
        assert!(is_session || self.sessions.contains(&channel), "no session on {channel} for {performative:?}");
        assert!(matches!(performative, Performative::Transfer(_)) || length == body.len(), "{performative:?} has a payload");
        match performative {
            Performative::Open(_) => self.opened = true,
            Performative::Close(_) => self.closed = true,
            Performative::Begin(begin) => {
                assert!(begin.remote_channel.is_some(), "the hub begins no session of its own");
                assert!(self.sessions.insert(channel), "a session begins twice on {channel}");
            }
            Performative::End(_) => {
                self.sessions.remove(&channel);
                self.links.retain(|(of, _), _| *of != channel);
            }
            Performative::Attach(attach) => {
                let Handle(handle) = attach.handle;
                let known = self.links.insert((channel, handle), attach.role == Role::Sender);
                assert!(known.is_none(), "handle {handle} is attached twice");
            }
            Performative::Detach(detach) => {
                assert!(self.links.remove(&(channel, detach.handle.0)).is_some(), "handle {} is not attached", detach.handle.0);
            }
            Performative::Transfer(transfer) => {
                assert_eq!(self.links.get(&(channel, transfer.handle.0)), Some(&true), "a transfer on {}", transfer.handle.0);
                assert!(!transfer.more || length < body.len(), "a transfer that brings nothing, with more to come");
            }
            Performative::Flow(flow) => {
                if let Some(Handle(handle)) = flow.handle {
                    assert!(self.links.contains_key(&(channel, handle)), "a flow on {handle}");
                }
            }
            Performative::Disposition(_) => {}
        }
    }
}

/// How long the described list is that `body` begins with, which has all fields of its performative.
fn measure(body: &[u8]) -> usize {
    let [0x00, 0x53, code, constructor, rest @ ..] = body else { panic!("no performative: {body:02x?}") };
    let fields = match code {
        0x10 => 10,
        0x11 => 8,
        0x12 => 14,
        0x13 | 0x14 => 11,
        0x15 => 6,
        0x16 => 3,
        0x17 | 0x18 => 1,
        other => panic!("there is no performative {other:#x}"),
    };
    let (size, count, header) = match (constructor, rest) {
        (0xc0, [size, count, ..]) => (usize::from(*size) + 1, u32::from(*count), 4),
        (0xd0, [s0, s1, s2, s3, c0, c1, c2, c3, ..]) => {
            let size = usize::try_from(u32::from_be_bytes([*s0, *s1, *s2, *s3])).expect("this is no machine of 16 bits");
            (size + 4, u32::from_be_bytes([*c0, *c1, *c2, *c3]), 4)
        }
        other => panic!("no list: {other:02x?}"),
    };
    assert_eq!(count, fields, "{code:#x} has fields too many or too few");
    header + size
}
