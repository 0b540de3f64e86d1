//! As much of MQTT 3.1.1 as a device needs that publishes with QoS 1 and takes commands. Bytes in, bytes out: no sockets, no clocks.

use anyhow::{Context, Result, bail};

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

/// SUBSCRIBE to one filter with QoS 1, as the first packet with an id.
pub fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = FIRST_PACKET_ID.to_be_bytes().to_vec();
    push_text(&mut body, filter);
    body.push(1);
    packet(0x82, &body)
}

pub fn puback(id: u16) -> [u8; PUBACK_BYTES] {
    let [high, low] = id.to_be_bytes();
    [PUBACK_HEADER[0], PUBACK_HEADER[1], high, low]
}

/// What a server tells a device that takes commands.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    SubAck { granted: u8 },
    Publish { topic: &'a str, id: u16 },
    Other,
}

/// The first packet in `bytes` and its length; `None` when it is not whole yet.
pub fn first_packet(bytes: &[u8]) -> Result<Option<(Told<'_>, usize)>> {
    let (mut length, mut header) = (0, 1);
    loop {
        let Some(&byte) = bytes.get(header) else { return Ok(None) };
        // MQTT 2.2.3: at most four bytes of length.
        if header > 4 {
            bail!("a packet's length does not end");
        }
        length |= usize::from(byte & 0x7F) << (7 * (header - 1));
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let Some(body) = bytes.get(header..header + length) else { return Ok(None) };
    let told = match (bytes[0], body) {
        (0x90, [_, _, granted]) => Told::SubAck { granted: *granted },
        // QoS 1, perhaps DUP.
        (0x32 | 0x3A, [high, low, rest @ ..]) => {
            let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).context("a topic is cut off")?;
            let [high, low, ..] = rest else { bail!("a PUBLISH without its id") };
            Told::Publish { topic: std::str::from_utf8(topic)?, id: u16::from_be_bytes([*high, *low]) }
        }
        _ => Told::Other,
    };
    Ok(Some((told, header + length)))
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
    fn what_a_device_is_told_is_whole_or_not_yet() {
        let publish = packet(0x32, &[&[0, 3], b"a/b".as_slice(), &[1, 2], &[7; 300]].concat());
        for cut in 0..publish.len() {
            assert!(first_packet(&publish[..cut]).is_ok_and(|told| told.is_none()), "cut at {cut}");
        }
        let told = first_packet(&publish).ok().flatten().expect("it is whole");
        assert_eq!(told, (Told::Publish { topic: "a/b", id: 0x102 }, publish.len()));
        assert_eq!(first_packet(&[0x90, 3, 0, 1, 1]).ok().flatten(), Some((Told::SubAck { granted: 1 }, 5)));
        assert_eq!(first_packet(&PINGRESP).ok().flatten(), Some((Told::Other, 2)));
        assert!(first_packet(&[0x32, 3, 0, 9, 0]).is_err() && first_packet(&[0x32, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
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
