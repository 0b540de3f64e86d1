//! The live link's socket: what the browser says is carried out, one request after another, and what it has subscribed to is told.
//!
//! Owns signs of life and the farewell. One task a browser; nothing is read ahead of what the browser takes.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::Browser;
use super::request::{Request, RequestError, SubscriptionId, parse};
use super::subscriptions::Subscriptions;
use super::told::problem;

/// How long a browser may take nothing of what it is sent; beyond that its connection counts as dead.
const WRITE_MAX: Duration = Duration::from_secs(30);

/// How much is collected before it is sent: what may still go out after the right to it is lost.
const COLLECTED_BYTES: usize = 8 * 1024;

/// How long the farewell may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How often a browser to which nothing else is told hears that the link lives. Below the 60 s after which proxies commonly give up.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// The largest request.
const HEARD_MAX_BYTES: usize = 4 * 1024;

const HEARTBEAT: &str = r#"{"id":0,"kind":"heartbeat"}"#;

/// What is spoken about when it is about the link itself.
const LINK: SubscriptionId = 0;

/// What comes next.
enum Next {
    Heard(Option<Result<tungstenite::Message, tungstenite::Error>>),
    Told(Vec<String>),
    Quiet,
    Over(String),
}

/// Serves a browser until either has enough.
pub(super) async fn serve(upgraded: TokioIo<Upgraded>, browser: Browser) {
    let config = WebSocketConfig::default()
        .read_buffer_size(HEARD_MAX_BYTES)
        .write_buffer_size(COLLECTED_BYTES)
        .max_message_size(Some(HEARD_MAX_BYTES))
        .max_frame_size(Some(HEARD_MAX_BYTES));
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    let mut link = Link { socket, browser, subscriptions: Subscriptions::default() };
    if link.run().await.is_some() {
        let goodbye = CloseFrame { code: CloseCode::Away, reason: "".into() };
        let _ = timeout(CLOSE_MAX, link.socket.close(Some(goodbye))).await;
    }
}

struct Link {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    browser: Browser,
    subscriptions: Subscriptions,
}

impl Link {
    /// `None`: the browser is gone, or takes nothing.
    async fn run(&mut self) -> Option<()> {
        let mut right = self.browser.right();
        let lost = tokio::select! {
            biased;
            // Also while the browser does not take what it is told: whatever of that is not on its way yet is not told any more.
            lost = right.lost() => lost,
            gone = self.talk() => return gone,
        };
        let farewell = self.send(vec![problem(LINK, None, &lost.to_string())]);
        timeout(CLOSE_MAX, farewell).await.ok()?
    }

    /// As [`Self::run`], whatever right there is. Messages are sent whole or not at all, also when this is dropped.
    async fn talk(&mut self) -> Option<()> {
        self.send(vec![HEARTBEAT.to_owned()]).await?;
        loop {
            let quiet = Instant::now() + HEARTBEAT_EVERY;
            let next = tokio::select! {
                biased;
                heard = self.socket.next() => Next::Heard(heard),
                messages = self.subscriptions.next() => Next::Told(messages),
                // Behind what is told, so that the last things are told before the end.
                () = self.browser.hub.changes.ended() => Next::Over("the hub is stopping".to_owned()),
                () = sleep_until(quiet) => Next::Quiet,
            };
            let messages = match next {
                Next::Told(messages) => messages,
                Next::Quiet => vec![HEARTBEAT.to_owned()],
                Next::Over(why) => return self.send(vec![problem(LINK, None, &why)]).await,
                Next::Heard(Some(Ok(message))) if message.is_close() => return Some(()),
                Next::Heard(Some(Ok(message))) => match self.heard(&message).await {
                    Ok(answer) => answer,
                    Err(unreadable) => return self.send(vec![problem(LINK, Some("ArgumentInvalid"), &unreadable.to_string())]).await,
                },
                Next::Heard(Some(Err(tungstenite::Error::Capacity(_)))) => {
                    let text = format!("a request has at most {HEARD_MAX_BYTES} bytes");
                    return self.send(vec![problem(LINK, Some("ArgumentInvalid"), &text)]).await;
                }
                Next::Heard(Some(Err(_)) | None) => return Some(()),
            };
            self.send(messages).await?;
        }
    }

    /// Carries out what the browser said; answers with what to say to that. An error ends the link.
    async fn heard(&mut self, message: &tungstenite::Message) -> Result<Vec<String>, RequestError> {
        let text = match message {
            tungstenite::Message::Text(text) => text,
            // Pongs have been queued for pings by the time they are seen here.
            tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => return Ok(Vec::new()),
            tungstenite::Message::Binary(_) | tungstenite::Message::Close(_) | tungstenite::Message::Frame(_) => {
                return Err(RequestError::Unreadable);
            }
        };
        let answer = match parse(text) {
            Err(RequestError::Invalid(id, why)) => {
                self.subscriptions.close(id);
                problem(id, Some("ArgumentInvalid"), &why)
            }
            Err(RequestError::Unreadable) => return Err(RequestError::Unreadable),
            Ok((id, Request::Unsubscribe)) => {
                // Also when it has just ended by itself: the browser can't know.
                self.subscriptions.close(id);
                format!("{{\"id\":{id},\"kind\":\"unsubscribed\"}}")
            }
            Ok((id, Request::Subscribe(wanted))) => match self.subscriptions.room_for(id) {
                Err(no_room) => {
                    // A browser that takes one id for two things would not know which of them a message is of.
                    self.subscriptions.close(id);
                    problem(id, Some("ArgumentInvalid"), &no_room.to_string())
                }
                Ok(()) => match self.browser.subscribe(id, wanted).await {
                    Ok(messages) => {
                        self.subscriptions.open(id, messages);
                        return Ok(Vec::new());
                    }
                    Err(failure) => problem(id, Some(failure.code()), failure.text()),
                },
            },
        };
        Ok(vec![answer])
    }

    async fn send(&mut self, messages: Vec<String>) -> Option<()> {
        for message in messages {
            timeout(WRITE_MAX, self.socket.feed(tungstenite::Message::text(message))).await.ok()?.ok()?;
        }
        timeout(WRITE_MAX, self.socket.flush()).await.ok()?.ok()
    }
}
