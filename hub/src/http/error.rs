//! Errors as Azure's REST API says them, in the old form, which is the only one that all SDKs take apart:
//! `{"Message":"ErrorCode:<code>;<text>","ExceptionMessage":"Tracking ID:…"}` and the header `iothub-errorcode`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body;
use crate::core::command::draft::MessageRefused;
use crate::core::command::feedback::LockLost;
use crate::core::command::machine::NoRoom;
use crate::core::identity::change::Refused;
use crate::ops::authenticate::AuthenticateError;
use crate::ops::change_devices::ChangeError;
use crate::ops::purge_commands::PurgeError;
use crate::ops::read_commands::ReadContentError;
use crate::ops::receive_commands::ReceiveError;
use crate::ops::send_again::SendAgainRefused;
use crate::ops::send_command::SendRefused;
use crate::ops::settle_command::SettleError;
use crate::ops::{AppendError, AuditLogError, CommandsError, RegistryError};

/// When to come again after the registry or the log did not answer for a reason that says nothing about time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error's body.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(example = json!({"Message": "ErrorCode:DeviceNotFound;there is no device pump", "ExceptionMessage": "Tracking ID:0123456789abcdef"}))]
pub struct ErrorDocument {
    /// `Tracking ID:` and what the hub's log calls the request by; empty for a 401.
    exception_message: String,
    /// `ErrorCode:`, Azure's name for the error, a semicolon, and a sentence for people.
    message: String,
}

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

    /// Something in the request can't be; `text` says what. 400004.
    pub fn argument_invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ArgumentInvalid", text)
    }

    /// The one answer to everybody who is refused, whatever the reason. 401002.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "IotHubUnauthorizedAccess", "Unauthorized")
    }

    /// The same, with what it is about in front.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }

    /// Not now. 503001.
    pub fn unavailable(text: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", text) }
    }

    /// Too much of it at once. 429001.
    pub fn throttled(text: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", text) }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Azure's name for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// 409001, 404001, 412001 and 400003.
impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let (status, code) = match refused {
            // A manifest that finds somebody else's identity: for it, the name is taken.
            Refused::AlreadyExists(_) | Refused::Unmanaged(_) | Refused::ManagedByAnother { .. } => {
                (StatusCode::CONFLICT, "DeviceAlreadyExists")
            }
            Refused::NotFound(_) => (StatusCode::NOT_FOUND, "DeviceNotFound"),
            Refused::ETagMismatch(_) => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            Refused::DisabledByManifest { .. }
            | Refused::TagsOfManifest { .. }
            | Refused::MonitoringOfManifest { .. }
            | Refused::RotationOfManifests(_)
            | Refused::DeletedUnderManifest { .. } => (StatusCode::BAD_REQUEST, "InvalidOperation"),
        };
        Self::new(status, code, refused.to_string())
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refused) => refused.into(),
            ChangeError::Contended(_) => Self::unavailable(error.to_string(), RETRY_AFTER),
            ChangeError::Registry(error) => error.into(),
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        tracing::warn!(%error, "a request could not be served: {error}");
        match error {
            RegistryError::Full => Self::unavailable("the hub's disk is full", RETRY_AFTER),
            RegistryError::Unavailable(_) => Self::unavailable("the registry does not answer now", RETRY_AFTER),
            // 500001; the reason is for the owner, in the log.
            RegistryError::Damaged { id, .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", format!("what is stored of device {id} can't be read"))
            }
        }
    }
}

impl From<AuthenticateError> for Failure {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Refused => Self::unauthorized(),
            AuthenticateError::Registry(error) => error.into(),
        }
    }
}

impl From<CommandsError> for Failure {
    fn from(error: CommandsError) -> Self {
        tracing::warn!(%error, "a request could not be served: {error}");
        match error {
            CommandsError::Full => Self::unavailable("the hub's disk is full", RETRY_AFTER),
            CommandsError::Unavailable(_) => Self::unavailable("commands can't be read or written now", RETRY_AFTER),
            CommandsError::Damaged { command, .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", format!("what is stored of command {command} can't be read"))
            }
        }
    }
}

impl From<AuditLogError> for Failure {
    fn from(error: AuditLogError) -> Self {
        tracing::warn!(%error, "a request could not be served: {error}");
        Self::unavailable("the audit can't be read or written now, and without it this is not done", RETRY_AFTER)
    }
}

impl From<ReadContentError> for Failure {
    fn from(error: ReadContentError) -> Self {
        match error {
            ReadContentError::Store(error) => error.into(),
            ReadContentError::Audit(error) => error.into(),
        }
    }
}

/// 404001, 413001, 400004, 403009, 403004 and 403002.
impl From<SendRefused> for Failure {
    fn from(refused: SendRefused) -> Self {
        let text = refused.to_string();
        let (status, code) = match refused {
            SendRefused::UnknownDevice(_) => (StatusCode::NOT_FOUND, "DeviceNotFound"),
            SendRefused::Message(MessageRefused::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "MessageTooLarge"),
            SendRefused::Message(MessageRefused::ExpiryTooFar(_)) => (StatusCode::FORBIDDEN, "InvalidMessageExpiryTime"),
            SendRefused::Message(
                MessageRefused::AlreadyExpired(_)
                | MessageRefused::PropertyName(_)
                | MessageRefused::PropertyValue(_)
                | MessageRefused::Message(_),
            ) => (StatusCode::BAD_REQUEST, "ArgumentInvalid"),
            SendRefused::NoRoom(NoRoom::QueueFull { .. }) => (StatusCode::FORBIDDEN, "DeviceMaximumQueueDepthExceeded"),
            SendRefused::NoRoom(NoRoom::HubFull { .. }) => (StatusCode::FORBIDDEN, "IotHubQuotaExceeded"),
            SendRefused::Store(error) => return error.into(),
            SendRefused::Registry(error) => return error.into(),
        };
        Self::new(status, code, text)
    }
}

impl From<SendAgainRefused> for Failure {
    fn from(refused: SendAgainRefused) -> Self {
        let text = refused.to_string();
        match refused {
            SendAgainRefused::UnknownCommand(_) => Self::new(StatusCode::NOT_FOUND, "CommandNotFound", text),
            SendAgainRefused::NotEnded(_) | SendAgainRefused::NotDeadLettered { .. } => {
                Self::new(StatusCode::CONFLICT, "InvalidOperation", text)
            }
            SendAgainRefused::Damaged(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerError", text),
            SendAgainRefused::Refused(refused) => refused.into(),
            SendAgainRefused::Store(error) => error.into(),
        }
    }
}

impl From<ReceiveError> for Failure {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::NoLongerGood => Self::unauthorized(),
            ReceiveError::Store(error) => error.into(),
            ReceiveError::Registry(error) => error.into(),
        }
    }
}

/// 412002.
impl From<LockLost> for Failure {
    fn from(lost: LockLost) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "DeviceMessageLockLost", lost.to_string())
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::LockLost(lost) => lost.into(),
            SettleError::NoLongerGood => Self::unauthorized(),
            SettleError::Store(error) => error.into(),
            SettleError::Registry(error) => error.into(),
        }
    }
}

impl From<PurgeError> for Failure {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::UnknownDevice(_) => Self::new(StatusCode::NOT_FOUND, "DeviceNotFound", error.to_string()),
            PurgeError::Store(error) => error.into(),
            PurgeError::Registry(error) => error.into(),
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
        // A refusal is the same to the byte for everybody, so it gets none.
        let tracking_id = match self.status {
            StatusCode::UNAUTHORIZED => String::new(),
            _ => format!("Tracking ID:{:032x}", rand::random::<u128>()),
        };
        tracing::debug!(code = self.code, tracking_id, "answered {}: {}", self.code, self.text);
        // Node's client splits at semicolons and shows only the part after the first.
        let message = format!("ErrorCode:{};{}", self.code, self.text.replace(';', ","));
        let document = ErrorDocument { exception_message: tracking_id, message };
        let mut response = body::json(self.status, &document);
        response.headers_mut().insert("iothub-errorcode", HeaderValue::from_static(self.code));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}
