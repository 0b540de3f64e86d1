//! What a request may tell the connection that it came on: that somebody has authenticated, and that HTTP ends here.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures_util::future::BoxFuture;

/// Stands for a request's connection. Whoever accepts connections puts it into each request's extensions; without it nobody listens.
#[derive(Clone, Default)]
pub struct HttpConnection {
    on_authenticated: Option<Arc<dyn Fn() + Send + Sync>>,
    sequel: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

impl HttpConnection {
    /// A connection that wants to know when somebody has authenticated on it.
    #[must_use]
    pub fn new(on_authenticated: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on_authenticated: Some(Arc::new(on_authenticated)), sequel: Arc::default() }
    }

    /// Somebody has: a stranger's limits end. To be said before the body is read.
    pub fn authenticated(&self) {
        if let Some(tell) = &self.on_authenticated {
            tell();
        }
    }

    /// What the connection does once HTTP has left it. Runs in the connection's own task, so that it ends when the hub does.
    pub fn go_on_with(&self, sequel: BoxFuture<'static, ()>) {
        *self.sequel.lock().unwrap_or_else(PoisonError::into_inner) = Some(sequel);
    }

    /// What [`Self::go_on_with`] was given, for the connection's task.
    #[must_use]
    pub fn sequel(&self) -> Option<BoxFuture<'static, ()>> {
        self.sequel.lock().unwrap_or_else(PoisonError::into_inner).take()
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
