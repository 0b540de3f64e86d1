//! What a request may tell the connection that it came on: that somebody has authenticated, when to end, and that HTTP ends here.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::certificate::PresentedChain;

/// Stands for a request's connection. Whoever accepts connections puts it into each request's extensions; without it nobody listens.
#[derive(Clone, Default)]
pub struct HttpConnection(Arc<Shared>);

#[derive(Default)]
struct Shared {
    on_authenticated: Option<Box<dyn Fn() + Send + Sync>>,
    certificate: Mutex<Option<PresentedChain>>,
    authenticated: AtomicBool,
    sequel: Mutex<Option<BoxFuture<'static, ()>>>,
    last_answer: Notify,
    cut: Notify,
}

/// What a connection waits for to be closed, unless this is dropped before.
#[derive(Debug)]
pub struct Closing(AbortHandle);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HttpConnection {
    /// A connection that wants to know when somebody has authenticated on it, and whose client presented that certificate.
    #[must_use]
    pub fn new(certificate: Option<PresentedChain>, on_authenticated: impl Fn() + Send + Sync + 'static) -> Self {
        let (on_authenticated, certificate) = (Some(Box::new(on_authenticated) as Box<_>), Mutex::new(certificate));
        Self(Arc::new(Shared { on_authenticated, certificate, ..Shared::default() }))
    }

    /// The certificate that the client presented, whose key it has: each request is judged by it anew.
    #[must_use]
    pub fn certificate(&self) -> Option<PresentedChain> {
        self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, for what follows HTTP; the connection does not keep it.
    #[must_use]
    pub fn take_certificate(&self) -> Option<PresentedChain> {
        self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Somebody has: a stranger's limits end. To be said before the body is read.
    pub fn authenticated(&self) {
        self.0.authenticated.store(true, Ordering::Relaxed);
        if let Some(tell) = &self.0.on_authenticated {
            tell();
        }
    }

    /// Whether somebody has, in what is spoken now: what HTTP knew does not count for what follows it.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.0.authenticated.load(Ordering::Relaxed)
    }

    /// What the connection does once HTTP has left it. Runs in the connection's own task, so that it ends when the hub does.
    pub fn go_on_with(&self, sequel: BoxFuture<'static, ()>) {
        self.0.authenticated.store(false, Ordering::Relaxed);
        *self.0.sequel.lock().unwrap_or_else(PoisonError::into_inner) = Some(sequel);
    }

    /// What [`Self::go_on_with`] was given, for the connection's task.
    #[must_use]
    pub fn sequel(&self) -> Option<BoxFuture<'static, ()>> {
        self.0.sequel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The connection takes no more requests, and ends with the answers that it owes.
    pub fn end(&self) {
        self.0.last_answer.notify_one();
    }

    /// Waits until [`Self::end`] is called, for the connection's task.
    pub async fn told_to_end(&self) {
        self.0.last_answer.notified().await;
    }

    /// Closes the connection after `due`, whatever is under way on it, unless the answer is dropped before: for what must not go on,
    /// although the client does not take what it is sent, so that nothing is asked for the next piece.
    #[must_use]
    pub fn close_after(&self, due: impl Future<Output = ()> + Send + 'static) -> Closing {
        let shared = Arc::clone(&self.0);
        let waiting = tokio::spawn(async move {
            due.await;
            shared.cut.notify_one();
        });
        Closing(waiting.abort_handle())
    }

    /// Waits until what was given to [`Self::close_after`] has come, for the connection's task.
    pub async fn told_to_close(&self) {
        self.0.cut.notified().await;
    }
}

impl<S: Sync> FromRequestParts<S> for HttpConnection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpConnection")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_time_to_close_comes_unless_it_is_dropped() {
        let connection = HttpConnection::default();
        drop(connection.close_after(sleep(Duration::from_secs(60))));
        let started = Instant::now();
        let _later = connection.close_after(sleep(Duration::from_secs(61)));
        connection.told_to_close().await;
        assert_eq!(started.elapsed().as_secs(), 61);
    }

    #[test]
    fn what_follows_http_has_to_authenticate_for_itself() {
        let connection = HttpConnection::default();
        connection.authenticated();
        assert!(connection.is_authenticated());
        connection.go_on_with(Box::pin(async {}));
        assert!(!connection.is_authenticated());
    }
}
