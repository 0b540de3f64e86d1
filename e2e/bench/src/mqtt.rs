//! As much of MQTT 3.1.1 as a device needs that only publishes with QoS 1. Bytes in, bytes out: no sockets, no clocks.

use anyhow::{Result, bail};

use crate::sas::Device;

/// 1 to 65,535 are good (MQTT-2.3.1-1); with windows far below that, an id is long free again before its turn comes.
const FIRST_PACKET_ID: u16 = 1;
pub const CONNACK_BYTES: usize = 4;
pub const PINGREQ: [u8; 2] = [0xC0, 0];
pub const PINGRESP: [u8; 2] = [0xD0, 0];
pub const DISCONNECT: [u8; 2] = [0xE0, 0];
const PUBACK_BYTES: usize = 4;
/// Type PUBACK, remaining length 2.
const PUBACK_HEADER: [u8; 2] = [0x40, 2];

/// CONNECT with a clean session, the device's name and its token.
pub fn connect(device: &Device, keep_alive_s: u16) -> Vec<u8> {
    /// User name, password, clean session.
    const FLAGS: u8 = 0b1100_0010;
    let mut body = Vec::new();
    push_text(&mut body, "MQTT");
    body.extend([4, FLAGS]);
    body.extend(keep_alive_s.to_be_bytes());
    push_text(&mut body, &device.id);
    push_text(&mut body, &device.username);
    push_text(&mut body, &device.token);
    packet(0x10, &body)
}

pub fn check_connack(bytes: [u8; CONNACK_BYTES]) -> Result<()> {
    match bytes {
        [0x20, 2, _, 0] => Ok(()),
        [0x20, 2, _, code] => bail!("the server refused the connection with CONNACK code {code}"),
        other => bail!("{other:02x?} is no CONNACK"),
    }
}

/// One PUBLISH, encoded once; each copy differs in its packet id alone.
pub struct Publish {
    bytes: Vec<u8>,
    id_offset: usize,
    next_id: u16,
}

impl Publish {
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
        push_text(&mut body, topic);
        let id_in_body = body.len();
        body.extend([0, 0]);
        body.extend(payload);
        // PUBLISH, QoS 1, neither DUP nor RETAIN.
        let bytes = packet(0x32, &body);
        let id_offset = bytes.len() - body.len() + id_in_body;
        Self { bytes, id_offset, next_id: FIRST_PACKET_ID }
    }

    /// Appends a copy and returns its packet id.
    pub fn push(&mut self, out: &mut Vec<u8>) -> u16 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(FIRST_PACKET_ID);
        self.bytes[self.id_offset..self.id_offset + 2].copy_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&self.bytes);
        id
    }

    pub fn encoded_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Finds PUBACKs in a stream that may be cut anywhere.
#[derive(Default)]
pub struct Pubacks {
    partial: [u8; PUBACK_BYTES],
    filled: usize,
}

impl Pubacks {
    /// Calls `acknowledged` with each packet id in turn; anything but a PUBACK is an error.
    pub fn feed(&mut self, bytes: &[u8], mut acknowledged: impl FnMut(u16) -> Result<()>) -> Result<()> {
        for &byte in bytes {
            self.partial[self.filled] = byte;
            self.filled += 1;
            if self.filled < PUBACK_BYTES {
                continue;
            }
            self.filled = 0;
            match self.partial {
                [kind, length, high, low] if [kind, length] == PUBACK_HEADER => acknowledged(u16::from_be_bytes([high, low]))?,
                other => bail!("{other:02x?} is no PUBACK"),
            }
        }
        Ok(())
    }
}

fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    let mut rest = body.len();
    // MQTT 2.2.3: seven bits a byte, the lowest first, the top bit says that more follow.
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the benchmark's own names and tokens are short");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_laid_out_as_the_specification_says() {
        let mut publish = Publish::new("a/b", b"xyz");
        let mut out = Vec::new();
        assert_eq!((publish.push(&mut out), publish.push(&mut out)), (1, 2));
        let first = [0x32, 10, 0, 3, b'a', b'/', b'b', 0, 1, b'x', b'y', b'z'];
        assert_eq!(out[..12], first);
        assert_eq!(out[12..][7..9], [0, 2]);
        assert_eq!(publish.encoded_bytes(), 12);
    }

    #[test]
    fn long_packets_have_long_lengths() {
        assert_eq!(packet(0x32, &[0; 321])[..3], [0x32, 0xC1, 0x02]);
        assert_eq!(packet(0x32, &[0; 65_536])[..4], [0x32, 0x80, 0x80, 0x04]);
    }

    #[test]
    fn packet_ids_skip_zero() {
        let mut publish = Publish::new("t", b"");
        publish.next_id = u16::MAX;
        let mut out = Vec::new();
        assert_eq!((publish.push(&mut out), publish.push(&mut out)), (u16::MAX, 1));
    }

    #[test]
    fn pubacks_are_found_however_the_stream_is_cut() {
        let stream = [0x40, 2, 0, 1, 0x40, 2, 1, 0, 0x40, 2, 0xff, 0xff];
        for cut in 0..=stream.len() {
            let mut found = Vec::new();
            let mut pubacks = Pubacks::default();
            for part in [&stream[..cut], &stream[cut..]] {
                pubacks
                    .feed(part, |id| {
                        found.push(id);
                        Ok(())
                    })
                    .expect("these are PUBACKs");
            }
            assert_eq!(found, [1, 256, 65_535]);
        }
        assert!(Pubacks::default().feed(&[0xD0, 0, 0, 0], |_| Ok(())).is_err());
    }
}
