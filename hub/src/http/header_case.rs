//! Keeps how the names of `iothub-app-` headers are spelt.
//!
//! What follows that prefix is the name of an application property, and those know upper and lower case. HTTP/1.1 carries the spelling,
//! but hyper gives and takes names in lower case only; so the bytes are looked at on their way to it, and names are respelt on their way
//! from it. (HTTP/2 has no upper case in names.) Owns the spellings that one connection used last, and those of the answer at hand. Never
//! changes anything of what comes in, nor more than the case of a header's name in what goes out.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFIX: &[u8] = b"iothub-app-";

/// The handshake of a WebSocket: what follows is not HTTP.
const LAST_WORDS: &[u8] = b"sec-websocket-key";

/// What follows the head of an answer.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The longest property name whose spelling is kept; those of SDKs have a few dozen bytes.
const NAME_MAX_BYTES: usize = 256;

/// The most spellings kept for a connection, as many as a message may have properties.
const SPELLINGS_MAX: usize = 256;

/// The spellings of one connection; goes with each of its requests. Requests on it follow each other, so those it used last are those of
/// the request at hand. Somebody who writes header lines into a body can confuse the case of their own properties, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Spellings(Arc<Shared>);

/// By the name in lower case.
#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<HashMap<String, String>>,
    to_say: Mutex<HashMap<String, String>>,
}

impl Spellings {
    /// How the client spelt the header that hyper calls `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<String> {
        lock(&self.0.heard).get(name).cloned()
    }

    /// The headers of the next answer that have one of these names, in any case, get it in this one.
    pub fn answer_with(&self, names: impl Iterator<Item = String>) {
        *lock(&self.0.to_say) = names.map(|name| (name.to_ascii_lowercase(), name)).collect();
    }

    /// The beginning of an answer with its names respelt; `None` when there is nothing to respell in it.
    fn respell(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut names = lock(&self.0.to_say);
        if names.is_empty() || !bytes.starts_with(b"HTTP/1.") {
            return None;
        }
        let length = bytes.windows(HEAD_END.len()).position(|four| four == HEAD_END)?;
        let mut head = bytes[..length].to_vec();
        for line in head.split_mut(|byte| *byte == b'\n') {
            let Some(name) = line.iter().position(|byte| *byte == b':').map(|end| &mut line[..end]) else { continue };
            if let Some(spelling) = str::from_utf8(name).ok().and_then(|name| names.get(name)) {
                name.copy_from_slice(spelling.as_bytes());
            }
        }
        names.clear();
        Some(head)
    }

    fn remember(&self, spelling: &[u8]) {
        let Ok(spelling) = str::from_utf8(spelling) else { return };
        let name = spelling.to_ascii_lowercase();
        let mut spellings = lock(&self.0.heard);
        if name == spelling {
            // The common case, which needs no memory; but an earlier spelling does not count any more.
            spellings.remove(&name);
            return;
        }
        if spellings.len() == SPELLINGS_MAX {
            spellings.clear();
        }
        spellings.insert(name, spelling.to_owned());
    }
}

fn lock(map: &Mutex<HashMap<String, String>>) -> MutexGuard<'_, HashMap<String, String>> {
    // Any state of the map is a good one.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose incoming header names are looked at, and whose outgoing ones are respelt.
#[derive(Debug)]
pub struct Observed<S> {
    stream: S,
    spellings: Spellings,
    scanner: Scanner,
    /// What is still to be written in place of the bytes that hyper wants written, which are as many.
    respelt: Vec<u8>,
}

impl<S> Observed<S> {
    /// `spellings` is for the requests that come over `stream`.
    pub fn new(stream: S, spellings: Spellings) -> Self {
        Self { stream, spellings, scanner: Scanner::Between, respelt: Vec::new() }
    }
}

impl<S: AsyncWrite + Unpin> Observed<S> {
    /// Whether other bytes are to be written in place of the first of these.
    fn must_respell(&mut self, bytes: &[u8]) -> bool {
        if self.respelt.is_empty() {
            self.respelt = self.spellings.respell(bytes).unwrap_or_default();
        }
        !self.respelt.is_empty()
    }

    /// Writes them. What is not taken comes again, by the contract of [`AsyncWrite`].
    fn poll_respelt(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let length = self.respelt.len().min(bytes.len());
        let polled = Pin::new(&mut self.stream).poll_write(context, &self.respelt[..length]);
        if let Poll::Ready(Ok(written)) = polled {
            self.respelt.drain(..written);
        }
        polled
    }
}

/// Where in the bytes it is.
#[derive(Debug, PartialEq, Eq)]
enum Scanner {
    /// Somewhere in a line whose rest does not matter.
    Between,
    /// At the beginning of a line, which so far is this; becomes a name at a colon.
    Name(Vec<u8>),
    /// No HTTP any more.
    Off,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8], spellings: &Spellings) {
        while !bytes.is_empty() {
            match self {
                Self::Off => return,
                Self::Between => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
                    bytes = &bytes[end + 1..];
                    *self = Self::Name(Vec::new());
                }
                Self::Name(name) => {
                    let (byte, rest) = (bytes[0], &bytes[1..]);
                    bytes = rest;
                    match byte {
                        b'\n' => name.clear(),
                        b':' if name.eq_ignore_ascii_case(LAST_WORDS) => *self = Self::Off,
                        b':' => {
                            if is_prefix(PREFIX, name) {
                                spellings.remember(name);
                            }
                            *self = Self::Between;
                        }
                        _ if name.len() < PREFIX.len() + NAME_MAX_BYTES => {
                            name.push(byte);
                            let candidate = is_prefix(&PREFIX[..name.len().min(PREFIX.len())], name)
                                || LAST_WORDS.get(..name.len()).is_some_and(|start| is_prefix(start, name));
                            if !candidate {
                                *self = Self::Between;
                            }
                        }
                        _ => *self = Self::Between,
                    }
                }
            }
        }
    }
}

fn is_prefix(prefix: &[u8], bytes: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if polled.is_ready() {
            this.scanner.scan(&buffer.filled()[before..], &this.spellings);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.must_respell(bytes) { self.poll_respelt(context, bytes) } else { Pin::new(&mut self.stream).poll_write(context, bytes) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // hyper writes the head of an answer as one slice.
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && self.must_respell(first)
        {
            return self.poll_respelt(context, first);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const REQUEST: &[u8] = b"POST /devices/D/messages/events HTTP/1.1\r\nHost: h\r\niothub-app-tempAlert: true\r\nIoTHub-App-lower: x\r\n\
        iothub-messageid: M\r\nIOTHUB-APP-Second: iothub-app-NotThis\r\n\r\nbody\n";

    fn scanned(pieces: impl IntoIterator<Item = &'static [u8]>) -> (Scanner, Spellings) {
        let (mut scanner, spellings) = (Scanner::Between, Spellings::default());
        for piece in pieces {
            scanner.scan(piece, &spellings);
        }
        (scanner, spellings)
    }

    #[test]
    fn spellings_are_found_however_the_bytes_come() {
        for size in 1..REQUEST.len() {
            let (_, spellings) = scanned(REQUEST.chunks(size));
            assert_eq!(spellings.of("iothub-app-tempalert").as_deref(), Some("iothub-app-tempAlert"), "in pieces of {size}");
            assert_eq!(spellings.of("iothub-app-second").as_deref(), Some("IOTHUB-APP-Second"));
            assert_eq!(spellings.of("iothub-app-lower").as_deref(), Some("IoTHub-App-lower"));
            assert_eq!(lock(&spellings.0.heard).len(), 3);
        }
    }

    #[test]
    fn the_latest_spelling_counts() {
        let (_, spellings) = scanned([&b"\r\niothub-app-Ab: 1\r\niothub-app-aB: 1\r\n"[..]]);
        assert_eq!(spellings.of("iothub-app-ab").as_deref(), Some("iothub-app-aB"));
        let (_, spellings) = scanned([&b"\r\niothub-app-Ab: 1\r\niothub-app-ab: 1\r\n"[..]]);
        assert_eq!(spellings.of("iothub-app-ab"), None);
    }

    #[test]
    fn a_web_socket_is_left_alone_and_memory_is_bounded() {
        let (scanner, _) = scanned([&b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n"[..]]);
        assert_eq!(scanner, Scanner::Off);
        let (mut scanner, spellings) = scanned([&b"\n"[..]]);
        scanner.scan(format!("iothub-app-{}:", "X".repeat(10_000)).as_bytes(), &spellings);
        assert_eq!(scanner, Scanner::Between);
        for i in 0..1000 {
            scanner.scan(format!("\niothub-app-X{i}: y").as_bytes(), &spellings);
            assert!(lock(&spellings.0.heard).len() <= SPELLINGS_MAX);
        }
    }

    #[tokio::test]
    async fn an_answer_gets_its_names_as_they_are_spelt() {
        const ANSWER: &str = "HTTP/1.1 200 OK\r\niothub-app-level: iothub-app-level: 1\r\niothub-app-other: 2\r\n\r\niothub-app-level: 3";
        for room in [1, 7, ANSWER.len()] {
            for vectored in [false, true] {
                let (ours, mut theirs) = tokio::io::duplex(room);
                let spellings = Spellings::default();
                let mut ours = Observed::new(ours, spellings.clone());
                spellings.answer_with(["iothub-app-LeVel".to_owned(), "iothub-app-absent".to_owned()].into_iter());
                let writing = async {
                    for answer in [ANSWER; 2] {
                        let mut left = answer.as_bytes();
                        while !left.is_empty() {
                            let written = if vectored { ours.write_vectored(&[IoSlice::new(left)]).await } else { ours.write(left).await };
                            left = &left[written.unwrap()..];
                        }
                    }
                    drop(ours);
                };
                let mut read = String::new();
                let ((), end) = tokio::join!(writing, theirs.read_to_string(&mut read));
                end.unwrap();
                assert_eq!(read, ANSWER.replacen("level", "LeVel", 1) + ANSWER, "{room} {vectored}");
            }
        }
    }

    #[tokio::test]
    async fn the_bytes_pass_unchanged() {
        let spellings = Spellings::default();
        let mut read = Vec::new();
        Observed::new(REQUEST, spellings.clone()).read_to_end(&mut read).await.unwrap();
        assert_eq!(read, REQUEST);
        assert!(spellings.of("iothub-app-tempalert").is_some());
    }
}
