//! A WebSocket as the byte stream that MQTT is spoken over (MQTT chapter 6), and AMQP, which wants the same of it.
//!
//! Owns framing: binary messages in, of which a packet may need several and several may share one; one binary message out per write;
//! pings answered, the close said. Never looks at the bytes. The upgrade itself belongs to HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The largest WebSocket message: the largest message of a device's and more, for clients that write several packets or frames at once.
const MESSAGE_MAX_BYTES: usize = 512 * 1024;

/// What an idle WebSocket keeps for reading: small, because most are idle.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A WebSocket's binary messages, end to end.
pub struct WebSocketBytes<S> {
    socket: WebSocketStream<S>,
    /// What has come and was not read yet.
    unread: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketBytes<S> {
    /// The server's end of a WebSocket over `upgraded`, a stream on which the HTTP upgrade has been done.
    pub async fn over(upgraded: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX_BYTES))
            .max_frame_size(Some(MESSAGE_MAX_BYTES));
        Self { socket: WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await, unread: Bytes::new(), ended: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketBytes<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                // Pongs have been queued for pings by the time they are seen here.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    // MQTT-6.0.0-1.
                    this.ended = true;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a WebSocket message of text")));
                }
                // A close that can't be read is a close: Java's SDK sends one with a malformed code.
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => this.ended = true,
            }
        }
        let count = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..count]);
        this.unread.advance(count);
        if this.unread.is_empty() {
            // Lets go of the message, which may be a large one.
            this.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketBytes<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.get_mut().socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(into_io)?;
        socket.start_send(Message::Binary(Bytes::copy_from_slice(bytes))).map_err(into_io)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context).map_err(into_io)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The WebSocket's farewell, as far as the peer lets it be said, then the stream's own.
        let _ = ready!(Pin::new(&mut this.socket).poll_close(context));
        Pin::new(this.socket.get_mut()).poll_shutdown(context)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    async fn pair() -> (WebSocketStream<DuplexStream>, WebSocketBytes<DuplexStream>) {
        let (client, server) = duplex(4096);
        (WebSocketStream::from_raw_socket(client, Role::Client, None).await, WebSocketBytes::over(server).await)
    }

    #[tokio::test]
    async fn bytes_pass_whatever_the_messages_hold() {
        let (mut client, mut server) = pair().await;
        for part in ["one", "", " two", " three"] {
            client.send(Message::binary(part.as_bytes())).await.unwrap();
        }
        let mut read = [0; 13];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"one two three");
        server.write_all(b"answer").await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&b"answer"[..]));
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_nothing_else_happens() {
        let (mut client, mut server) = pair().await;
        client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
        let mut byte = [0];
        tokio::select! {
            _ = server.read(&mut byte) => panic!("there is nothing to read"),
            pong = client.next() => assert_eq!(pong.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"?"))),
        }
    }

    #[tokio::test]
    async fn any_kind_of_close_is_the_end() {
        let (mut client, mut server) = pair().await;
        client.close(None).await.unwrap();
        assert_eq!(server.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        // A close whose code is cut in half, as no library would send it.
        let (client, server) = duplex(4096);
        let (mut client, mut server) = (client, WebSocketBytes::over(server).await);
        client.write_all(&[0x88, 0x81, 0, 0, 0, 0, 3]).await.unwrap();
        assert_eq!(server.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        // None at all.
        let (client, mut server) = pair().await;
        drop(client);
        assert_eq!(server.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn text_is_refused() {
        let (mut client, mut server) = pair().await;
        client.send(Message::text("hello")).await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_message_above_the_limit_is_the_end_and_a_large_one_is_not() {
        let large = vec![7; 300 * 1024];
        let (mut client, mut server) = pair().await;
        let sender = tokio::spawn(async move {
            client.send(Message::binary(large)).await.unwrap();
            let _ = client.send(Message::binary(vec![0; MESSAGE_MAX_BYTES + 1])).await;
        });
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, vec![7; 300 * 1024]);
        drop(server);
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn shutting_down_says_goodbye() {
        let (mut client, mut server) = pair().await;
        server.shutdown().await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    }
}
