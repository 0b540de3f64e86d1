//! The change stream over a WebSocket: one text message per change, as JSON.
//!
//! Listens only for the client's pings and its goodbye; whatever else it says is passed over.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::feed::{Feed, Message};

/// How long a client may take nothing of what it is sent; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How much is collected before it is sent: what may still go out after the right to it is lost.
const COLLECTED_BYTES: usize = 8 * 1024;

/// How long the farewell may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The largest message that a client may send: it has nothing to say.
const HEARD_MAX_BYTES: usize = 4 * 1024;

/// Tells the client what `feed` brings, until either has enough.
pub async fn tell(upgraded: TokioIo<Upgraded>, mut feed: Feed) {
    let config = WebSocketConfig::default()
        .read_buffer_size(HEARD_MAX_BYTES)
        .write_buffer_size(COLLECTED_BYTES)
        .max_message_size(Some(HEARD_MAX_BYTES))
        .max_frame_size(Some(HEARD_MAX_BYTES));
    let mut socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    loop {
        tokio::select! {
            messages = feed.next() => {
                let Some(messages) = messages else { break };
                let patience = if feed.is_over() { CLOSE_MAX } else { WRITE_MAX };
                let sent = tokio::select! {
                    biased;
                    // Whatever of these messages is not on its way yet is not told any more; the feed says why.
                    () = feed.lost() => continue,
                    sent = send(&mut socket, &messages, patience) => sent,
                };
                if sent.is_none() {
                    return;
                }
            }
            heard = socket.next() => match heard {
                // Pongs have been queued for pings by the time they are seen here.
                Some(Ok(message)) if !message.is_close() => {}
                Some(_) | None => break,
            },
        }
    }
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "".into() };
    let _ = timeout(CLOSE_MAX, socket.close(Some(goodbye))).await;
}

/// `None`: the client is gone, or takes nothing for so long. Messages are sent whole or not at all, also when this is dropped.
async fn send(socket: &mut WebSocketStream<TokioIo<Upgraded>>, messages: &[Message], patience: Duration) -> Option<()> {
    for message in messages {
        let text = tungstenite::Message::text(message.whole(""));
        timeout(patience, socket.feed(text)).await.ok()?.ok()?;
    }
    timeout(patience, socket.flush()).await.ok()?.ok()
}
