//! The change stream, taken apart: bytes → blocks of server-sent events → messages. Knows no socket and no clock.

use serde::Deserialize;

use super::identity::Identity;

/// The longest block: an identity with tags of 8 KiB, generously escaped.
const BLOCK_MAX_BYTES: usize = 256 * 1024;

/// A stream that is none, or of another hub.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A block without end.
    #[error("a message of the change stream is longer than {BLOCK_MAX_BYTES} bytes")]
    TooLong,
    /// Not what the kind says.
    #[error("a message {kind:?} of the change stream can't be read")]
    Unreadable {
        /// Which kind.
        kind: String,
    },
}

/// What the stream says.
#[derive(Debug)]
pub enum Message {
    /// How things stand comes now: forget what you know.
    SnapshotBegin,
    /// That was it.
    SnapshotEnd,
    /// An identity was made or changed, or is there.
    Written(Box<Identity>),
    /// An identity is gone.
    Deleted(String),
    /// A device came or went.
    Presence {
        /// Which.
        device_id: String,
        /// Whether it has a connection now.
        connected: bool,
        /// Since when.
        time: jiff::Timestamp,
    },
    /// The position can't be gone on from; how things stand comes next.
    Reset,
    /// Something is missing: open the stream anew, without a position.
    Skipped,
    /// There is no more, and why.
    Problem(String),
    /// Nothing that concerns us.
    Other,
}

/// A message, and where the stream can be gone on with behind it.
#[derive(Debug)]
pub struct Told {
    /// The message; [`Message::Other`] when only the position moved.
    pub message: Message,
    /// The position, if it has one.
    pub position: Option<String>,
}

/// Takes bytes as they come, in whatever pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    kind: String,
    data: String,
    position: Option<String>,
    /// The last byte was a carriage return: a line feed next belongs to it.
    after_return: bool,
}

impl Parser {
    /// What has become complete with these bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Told>, StreamError> {
        let mut told = Vec::new();
        for &byte in bytes {
            let belongs_to_return = std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
            if belongs_to_return {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                let line = std::mem::take(&mut self.line);
                told.extend(self.end_line(&line)?);
            } else if self.line.len() + self.data.len() < BLOCK_MAX_BYTES {
                self.line.push(byte);
            } else {
                return Err(StreamError::TooLong);
            }
        }
        Ok(told)
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Told>, StreamError> {
        if line.is_empty() {
            return self.end_block();
        }
        let text = String::from_utf8_lossy(line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "id" => self.position = Some(value.to_owned()),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, `retry`, and what is still to be invented.
            _ => {}
        }
        Ok(None)
    }

    fn end_block(&mut self) -> Result<Option<Told>, StreamError> {
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let position = self.position.take();
        if kind.is_empty() && position.is_none() {
            return Ok(None);
        }
        let message = message(&kind, &data).ok_or(StreamError::Unreadable { kind })?;
        Ok(Some(Told { message, position }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistryData {
    operation: String,
    device_id: String,
    #[serde(default)]
    device: Option<Box<Identity>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PresenceData {
    device_id: String,
    time: jiff::Timestamp,
    device_connected: bool,
}

#[derive(Deserialize)]
struct ProblemData {
    message: String,
}

fn message(kind: &str, data: &str) -> Option<Message> {
    Some(match kind {
        "snapshot-begin" => Message::SnapshotBegin,
        "snapshot-end" => Message::SnapshotEnd,
        "reset" => Message::Reset,
        "skipped" => Message::Skipped,
        "registry" => {
            let data: RegistryData = serde_json::from_str(data).ok()?;
            if data.operation == "deleted" { Message::Deleted(data.device_id) } else { Message::Written(data.device?) }
        }
        "presence" => {
            let data: PresenceData = serde_json::from_str(data).ok()?;
            Message::Presence { device_id: data.device_id, connected: data.device_connected, time: data.time }
        }
        "problem" => Message::Problem(serde_json::from_str::<ProblemData>(data).ok()?.message),
        _ => Message::Other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        "retry: 2000\n:\nid: 1-1\n\n",
        "event: snapshot-begin\ndata: {}\n\n",
        "event: registry\ndata: {\"operation\":\"written\",\"deviceId\":\"pümp\",\"device\":{\"deviceId\":\"pümp\",\"etag\":\"MQ==\"}}\n\n",
        "event: snapshot-end\nid: 1-2\ndata: {}\n\n",
        "event: presence\nid: 1-3\ndata: {\"deviceId\":\"a\",\"connection\":\"1\",\"time\":\"2026-11-23T03:00:00.000Z\",",
        "\"state\":\"disconnected\",\"deviceConnected\":false}\r\n\r\n",
        ":\n\n",
        "event: registry\nid: 1-4\ndata: {\"operation\":\"deleted\",\"deviceId\":\"b\"}\n\n",
        "event: skipped\nid: 1-5\ndata: {\"count\":4}\n\n",
        "event: tomorrow\nid: 1-6\ndata: {}\n\n",
        "event: problem\ndata: {\"message\":\"the token has expired\"}\n\n",
    );

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        let told = pieces.iter().flat_map(|piece| parser.take(piece).unwrap());
        told.map(|told| format!("{:?} {:?}", told.position, told.message)).collect()
    }

    #[test]
    fn a_stream_is_taken_apart() {
        let mut parser = Parser::default();
        let told = parser.take(STREAM.as_bytes()).unwrap();
        assert_eq!(told.len(), 9);
        assert!(matches!(&told[2].message, Message::Written(identity) if identity.device_id == "pümp"));
        assert!(matches!(&told[4].message, Message::Presence { connected: false, .. }));
        assert_eq!(told[4].position.as_deref(), Some("1-3"));
        assert!(matches!(&told[7].message, Message::Other), "a kind that we don't know");
        assert!(matches!(&told[8].message, Message::Problem(why) if why.contains("expired")));
    }

    #[test]
    fn what_is_no_stream_is_told_and_bounded() {
        let unreadable = Parser::default().take(b"event: presence\ndata: {}\n\n").unwrap_err();
        assert_eq!(unreadable, StreamError::Unreadable { kind: "presence".to_owned() });
        let mut parser = Parser::default();
        assert_eq!(parser.take(&vec![b'x'; BLOCK_MAX_BYTES + 1]).unwrap_err(), StreamError::TooLong);
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_says_the_same(cuts in proptest::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[STREAM.as_bytes()]));
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Parser::default().take(&bytes);
        }
    }
}
