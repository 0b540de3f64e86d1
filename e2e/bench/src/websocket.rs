//! As much of WebSockets as the benchmark needs: a browser's live link, which asks for what its pages show and takes what it is told.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connection::Connection;
use crate::tls::HOST;

/// What a browser says has at most so many bytes here, so that one byte says how many.
const SAID_MAX_BYTES: usize = 125;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const LAST_FRAME: u8 = 0x80;
const MASKED: u8 = 0x80;

/// An open WebSocket.
pub struct WebSocket {
    connection: Connection,
    received: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
}

/// A frame: its kind, where it begins, and where it ends.
struct Frame {
    kind: u8,
    begin: usize,
    end: usize,
}

impl WebSocket {
    /// Makes one of a connection.
    pub async fn open(mut connection: Connection, target: &str, token: &str) -> Result<Self> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bW9vcmluZyBiZW5jaG1hcms=\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await?;
        connection.flush().await?;
        let mut received = Vec::new();
        let taken = loop {
            if connection.read_buf(&mut received).await? == 0 {
                bail!("the server closed the connection before it had answered");
            }
            if let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break head + 4;
            }
        };
        if !received.starts_with(b"HTTP/1.1 101 ") {
            bail!("no WebSocket, but {}", String::from_utf8_lossy(&received));
        }
        Ok(Self { connection, received, taken })
    }

    /// Says a text.
    pub async fn say(&mut self, text: &str) -> Result<()> {
        let length = u8::try_from(text.len()).ok().filter(|length| usize::from(*length) <= SAID_MAX_BYTES).context("too much to say")?;
        // A mask of zeros is one, too: nothing between here and the server could be misled by what is said.
        let frame = [&[LAST_FRAME | TEXT, MASKED | length, 0, 0, 0, 0], text.as_bytes()].concat();
        self.connection.write_all(&frame).await?;
        Ok(self.connection.flush().await?)
    }

    /// Waits for the next text, and answers with its bytes. Loses nothing when it is dropped while it waits.
    pub async fn hear(&mut self) -> Result<&[u8]> {
        loop {
            match parse(&self.received[self.taken..])? {
                Some(Frame { kind: TEXT, begin, end }) => {
                    let at = self.taken;
                    self.taken += end;
                    return Ok(&self.received[at + begin..at + end]);
                }
                Some(Frame { kind: CLOSE, .. }) => bail!("the server closed a WebSocket"),
                Some(Frame { end, .. }) => self.taken += end,
                None => {
                    self.received.drain(..std::mem::take(&mut self.taken));
                    if self.connection.read_buf(&mut self.received).await? == 0 {
                        bail!("the server closed a connection");
                    }
                }
            }
        }
    }
}

/// The first frame, once all of it is there. Servers mask nothing, and this one cuts no text into pieces.
fn parse(bytes: &[u8]) -> Result<Option<Frame>> {
    let (begin, length) = match bytes {
        [_, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        [_, 126 | 127, ..] | [] | [_] => return Ok(None),
        [_, length, ..] if *length < 126 => (2, u64::from(*length)),
        _ => bail!("a server masks nothing"),
    };
    if bytes[0] & LAST_FRAME == 0 {
        bail!("a text in pieces, which this client does not read");
    }
    let end = begin + usize::try_from(length)?;
    Ok((bytes.len() >= end).then_some(Frame { kind: bytes[0] & 0x0f, begin, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_or_not_yet() {
        for length in [0_usize, 5, 125, 126, 70_000] {
            let mut bytes = match length {
                0..126 => vec![0x81, length as u8],
                126..65_536 => [&[0x81, 126][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            let begin = bytes.len();
            bytes.resize(begin + length, b'x');
            assert!((0..bytes.len()).all(|cut| parse(&bytes[..cut]).is_ok_and(|frame| frame.is_none())), "{length}");
            bytes.push(0);
            let frame = parse(&bytes).ok().flatten().expect("it is whole");
            assert_eq!((frame.kind, frame.begin, frame.end), (TEXT, begin, begin + length));
        }
        assert!(parse(&[0x01, 0]).is_err() && parse(&[0x81, 0x85, 0, 0]).is_err());
    }
}
