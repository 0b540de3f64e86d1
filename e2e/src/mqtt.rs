//! MQTT 3.1.1 by hand, from the specification: for what no client library does, such as sending too much, or reading a refusal's bytes.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::connection_string::ConnectionString;
use crate::hub::Ready;
use crate::namespace::HUB;
use crate::patience::within;
use crate::tls;

/// PINGREQ.
pub const PING: [u8; 2] = [0xc0, 0];
/// DISCONNECT.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];
/// The retain flag of a PUBLISH.
pub const RETAIN: u8 = 0x01;

/// CONNECT, field by field.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// Client id.
    pub client_id: String,
    /// User name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Keep-alive; 0 for none.
    pub keep_alive_s: u16,
    /// Whether the session begins empty.
    pub clean_session: bool,
    /// Topic and payload of the will, QoS 1.
    pub will: Option<(String, Vec<u8>)>,
}

impl Connect {
    /// As a device's SDK would, with a fresh token.
    #[must_use]
    pub fn device(credential: &ConnectionString) -> Self {
        Self::with_password(credential, &credential.token())
    }

    /// As a device's SDK would, with a password of the story's choice.
    #[must_use]
    pub fn with_password(credential: &ConnectionString, password: &str) -> Self {
        Self {
            client_id: credential.device().to_owned(),
            user_name: Some(credential.user_name()),
            password: Some(password.to_owned()),
            keep_alive_s: 60,
            ..Self::default()
        }
    }

    /// MQTT 3.1.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let present = |field: bool, bit: u8| if field { bit } else { 0 };
        let will = present(self.will.is_some(), 0x0c);
        let flags =
            present(self.clean_session, 0x02) | will | present(self.password.is_some(), 0x40) | present(self.user_name.is_some(), 0x80);
        let mut body = text("MQTT");
        body.extend([4, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(text(&self.client_id));
        if let Some((topic, payload)) = &self.will {
            body.extend(text(topic));
            body.extend(binary(payload));
        }
        body.extend(self.user_name.iter().chain(&self.password).flat_map(|field| text(field)));
        packet(0x10, &body)
    }
}

/// PUBLISH (MQTT 3.3): QoS 1 with a packet id, QoS 0 without; `flags` are added.
#[must_use]
pub fn publish(topic: &str, id: Option<u16>, payload: &[u8], flags: u8) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    body.extend(payload);
    packet(0x30 | if id.is_some() { 0x02 } else { 0 } | flags, &body)
}

/// SUBSCRIBE (MQTT 3.8) to one filter.
#[must_use]
pub fn subscribe(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(text(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// PUBACK (MQTT 3.4).
#[must_use]
pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// The filter of a device's commands.
#[must_use]
pub fn commands_filter(device: &str) -> String {
    format!("devices/{device}/messages/devicebound/#")
}

/// Any packet: its first byte, its length, its body.
#[must_use]
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let (low, rest) = (u8::try_from(length % 128).expect("a remainder of 128"), length / 128);
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        length = rest;
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a story's strings are short");
    [&length.to_be_bytes(), bytes].concat()
}

/// What a hub sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    ConnAck {
        /// Session present.
        session_present: bool,
        /// Return code.
        code: u8,
    },
    /// PUBACK.
    PubAck(u16),
    /// SUBACK of one filter.
    SubAck {
        /// Packet id.
        id: u16,
        /// Granted QoS, or 0x80.
        code: u8,
    },
    /// PINGRESP.
    PingResp,
    /// PUBLISH: a command.
    Publish {
        /// Packet id; none with QoS 0.
        id: Option<u16>,
        /// Whether it may have been sent before.
        duplicate: bool,
        /// The topic.
        topic: String,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Anything else: first byte and body.
    Other(u8, Vec<u8>),
}

/// A connection over TLS.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// When TCP or TLS fails.
    pub async fn open(hub: &Ready) -> Result<Self> {
        let stream = within("a TLS handshake", tls::connect(HUB, 8883, hub.ca_file())).await??;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Speaks TLS over a connection that is there, after whatever else was said on it.
    ///
    /// # Errors
    /// When TLS fails.
    pub async fn over(hub: &Ready, tcp: TcpStream) -> Result<Self> {
        let stream = within("a TLS handshake", tls::shake_hands(HUB, tcp, hub.ca_file())).await??;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Connects as a device with a fresh token, and is let in.
    ///
    /// # Errors
    /// When it is not.
    pub async fn admitted(hub: &Ready, device: &str) -> Result<Self> {
        Self::admitted_as(hub, &Connect::device(&hub.device(device)?)).await
    }

    /// Connects with a CONNECT of the story's choice, and is let in.
    ///
    /// # Errors
    /// When it is not.
    pub async fn admitted_as(hub: &Ready, connect: &Connect) -> Result<Self> {
        let mut connection = Self::open(hub).await?;
        connection.is_admitted(connect).await?;
        Ok(connection)
    }

    /// Sends a CONNECT of the story's choice, and is let in.
    ///
    /// # Errors
    /// When it is not.
    pub async fn is_admitted(&mut self, connect: &Connect) -> Result<()> {
        self.send(&connect.encode()).await?;
        match self.next().await?.context("closed instead of CONNACK")? {
            Packet::ConnAck { code: 0, .. } => Ok(()),
            other => bail!("{other:?} instead of CONNACK 0"),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection is closed, or takes nothing more.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        within("bytes to be taken", self.stream.write_all(bytes)).await??;
        Ok(within("bytes to be sent", self.stream.flush()).await??)
    }

    /// Publishes with QoS 1 to the device's own topic, and gets the PUBACK.
    ///
    /// # Errors
    /// When anything else comes.
    pub async fn publish(&mut self, topic: &str, id: u16, payload: &[u8]) -> Result<()> {
        self.send(&publish(topic, Some(id), payload, 0)).await?;
        let answer = self.next().await?;
        ensure!(answer == Some(Packet::PubAck(id)), "{answer:?} instead of PUBACK {id}");
        Ok(())
    }

    /// Subscribes to the device's commands with QoS 1.
    ///
    /// # Errors
    /// When that is not granted.
    pub async fn subscribe_to_commands(&mut self, device: &str) -> Result<()> {
        self.send(&subscribe(1, &commands_filter(device), 1)).await?;
        let answer = self.next().await?;
        ensure!(answer == Some(Packet::SubAck { id: 1, code: 1 }), "{answer:?} instead of SUBACK");
        Ok(())
    }

    /// The next packet; `None` when the hub has closed the connection.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn next(&mut self) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.take_packet()? {
                return Ok(Some(packet));
            }
            if !self.read("a packet").await? {
                return Ok(None);
            }
        }
    }

    /// Reads until the hub closes the connection; answers every byte it sent first.
    ///
    /// # Errors
    /// When it does not close.
    pub async fn bytes_until_closed(&mut self) -> Result<Vec<u8>> {
        while self.read("the hub to close").await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Reads until the hub closes the connection; answers the packets it sent first.
    ///
    /// # Errors
    /// When it does not close.
    pub async fn packets_until_closed(&mut self) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        while let Some(packet) = self.next().await? {
            packets.push(packet);
        }
        Ok(packets)
    }

    /// Reads once; `false` at the end, however the hub or its machine brought it about.
    async fn read(&mut self, what: &str) -> Result<bool> {
        Ok(within(what, self.stream.read_buf(&mut self.unread)).await?.is_ok_and(|count| count > 0))
    }

    fn take_packet(&mut self) -> Result<Option<Packet>> {
        let mut length = 0;
        for (index, byte) in self.unread.iter().enumerate().skip(1) {
            ensure!(index <= 4, "a remaining length of more than four bytes");
            length |= usize::from(byte & 0x7f) << (7 * (index - 1));
            if byte & 0x80 == 0 {
                let (start, end) = (index + 1, index + 1 + length);
                if self.unread.len() < end {
                    return Ok(None);
                }
                let packet = decode(self.unread[0], &self.unread[start..end]);
                self.unread.drain(..end);
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }
}

fn decode(first: u8, body: &[u8]) -> Packet {
    match (first, body) {
        (0x20, &[flags, code]) => Packet::ConnAck { session_present: flags & 1 == 1, code },
        (0x40, &[high, low]) => Packet::PubAck(u16::from_be_bytes([high, low])),
        (0x90, &[high, low, code]) => Packet::SubAck { id: u16::from_be_bytes([high, low]), code },
        (0xd0, &[]) => Packet::PingResp,
        _ => decode_publish(first, body).unwrap_or_else(|| Packet::Other(first, body.to_vec())),
    }
}

/// PUBLISH (MQTT 3.3) of QoS 0 or 1; `None` for anything else.
fn decode_publish(first: u8, body: &[u8]) -> Option<Packet> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (id, payload) = match first & 0xf7 {
        0x30 => (None, rest),
        0x32 => rest.split_first_chunk().map(|(id, rest)| (Some(u16::from_be_bytes(*id)), rest))?,
        _ => return None,
    };
    let topic = String::from_utf8(topic.to_vec()).ok()?;
    Some(Packet::Publish { id, duplicate: first & 0x08 != 0, topic, payload: payload.to_vec() })
}

/// The topic that a device publishes to.
#[must_use]
pub fn events_topic(device: &str) -> String {
    format!("devices/{device}/messages/events/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MQTT 2.2.3, table 2.4.
    #[test]
    fn remaining_lengths_are_the_specifications() {
        assert_eq!(packet(0x30, &[0; 127])[..2], [0x30, 0x7f]);
        assert_eq!(packet(0x30, &[0; 128])[..3], [0x30, 0x80, 0x01]);
        assert_eq!(packet(0x30, &[0; 16_384])[..4], [0x30, 0x80, 0x80, 0x01]);
    }
}
