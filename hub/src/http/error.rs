//! Errors as Azure's REST API says them, in the old form, which is the only one that all SDKs take apart:
//! `{"Message":"ErrorCode:<code>;<text>","ExceptionMessage":"…"}` and the header `iothub-errorcode`.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::ops::AppendError;
use crate::ops::authenticate::AuthenticateError;

/// When to come again after the registry or the log did not answer for a reason that says nothing about time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request that was not done, as it is told to whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    text: String,
    retry_after: Option<Duration>,
}

impl Failure {
    /// With Azure's code for it, and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), retry_after: None }
    }

    /// Something in the request can't be; `text` says what.
    pub fn argument_invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ArgumentInvalid", text)
    }

    /// The one answer to everybody who is refused, whatever the reason.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess", "Unauthorized")
    }

    /// The same, with what it is about in front.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// Not now.
    pub fn unavailable(text: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", text) }
    }
}

impl From<AuthenticateError> for Failure {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Refused => Self::unauthorized(),
            AuthenticateError::Registry(error) => {
                tracing::warn!(%error, "the registry could not be asked: {error}");
                Self::unavailable("the registry does not answer now", RETRY_AFTER)
            }
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Busy => Self::unavailable(error.to_string(), RETRY_AFTER),
            AppendError::DiskFull { retry_after } | AppendError::Unavailable { retry_after } => {
                Self::unavailable(error.to_string(), retry_after)
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "Message": format!("ErrorCode:{};{}", self.code, self.text), "ExceptionMessage": "" });
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert("iothub-errorcode", HeaderValue::from_static(self.code));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}
