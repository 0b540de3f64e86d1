//! What a CONNECT asks for: who, with what proof, for how long at a time.
//!
//! Owns the shapes of Azure's user name and the rules of keep-alive. Never asks whether the proof is good.

use std::time::Duration;

use super::packet::{Connect, ConnectReturnCode, Will};
use crate::core::host::HubNames;
use crate::ops::refusals::RefusalReason;

/// The longest time that nothing is heard of a client: Azure's 1767 s. It also holds for clients that promise no keep-alive.
pub const SILENCE_MAX: Duration = Duration::from_secs(1767);

/// A well-formed wish to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission<'a> {
    /// Who the client says to be; no device id yet.
    pub claimed: &'a str,
    /// Its proof.
    pub token: Option<&'a str>,
    /// Whether it begins anew.
    pub clean_session: bool,
    /// After how long a silence it counts as gone.
    pub silence_max: Duration,
    /// Its will.
    pub will: Option<Will<'a>>,
}

/// Why a CONNECT is answered at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectRefused {
    /// An empty client id (MQTT-3.1.3-8): the hub makes up no names for devices.
    #[error("the client id is empty")]
    IdentifierRejected,
    /// Nobody that this hub could let in.
    #[error("{reason}")]
    Unauthorized {
        /// What the client calls itself.
        claimed: String,
        /// For the owner.
        reason: RefusalReason,
    },
}

impl ConnectRefused {
    /// What the client is told.
    #[must_use]
    pub fn return_code(&self) -> ConnectReturnCode {
        match self {
            Self::IdentifierRejected => ConnectReturnCode::IdentifierRejected,
            Self::Unauthorized { .. } => ConnectReturnCode::NotAuthorized,
        }
    }
}

/// Reads a CONNECT to the hub called `names`.
pub fn admission<'a>(connect: &Connect<'a>, names: &HubNames) -> Result<Admission<'a>, ConnectRefused> {
    if connect.client_id.is_empty() {
        return Err(ConnectRefused::IdentifierRejected);
    }
    let refused = |reason| ConnectRefused::Unauthorized { claimed: connect.client_id.to_owned(), reason };
    let (host, device) = connect.user_name.and_then(host_and_device).ok_or_else(|| refused(RefusalReason::ClientIdAndUserName))?;
    if device != connect.client_id {
        return Err(refused(RefusalReason::ClientIdAndUserName));
    }
    if !names.contain(host) {
        return Err(refused(RefusalReason::ForeignHost(host.into())));
    }
    Ok(Admission {
        claimed: device,
        // A password that is not text is a malformed token, as the empty text is.
        token: connect.password.map(|password| std::str::from_utf8(password).unwrap_or_default()),
        clean_session: connect.clean_session,
        silence_max: silence_max(connect.keep_alive_seconds),
        will: connect.will.clone(),
    })
}

/// `H/D`, `H/D/?api-version=…&…`, `H/D/api-version=…` or `H/D/DeviceClientType=…`: what follows the device id tells of the client's
/// software, and every version of it is welcome.
fn host_and_device(user_name: &str) -> Option<(&str, &str)> {
    let (host, rest) = user_name.split_once('/')?;
    Some((host, rest.split('/').next().unwrap_or(rest)))
}

/// One and a half times the keep-alive (MQTT-3.1.2-24), at most [`SILENCE_MAX`].
fn silence_max(keep_alive_seconds: u16) -> Duration {
    match keep_alive_seconds {
        0 => SILENCE_MAX,
        seconds => (Duration::from_secs(seconds.into()) * 3 / 2).min(SILENCE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect<'a>(client_id: &'a str, user_name: Option<&'a str>) -> Connect<'a> {
        Connect { clean_session: false, keep_alive_seconds: 60, client_id, will: None, user_name, password: Some(b"token") }
    }

    fn names() -> HubNames {
        HubNames::new("hub.example", &["gateway".into()])
    }

    #[test]
    fn every_shape_of_user_name_is_understood() {
        for user_name in [
            "hub.example/D/?api-version=2019-10-01&DeviceClientType=py-azure-iot-device%2F2.14.0",
            "hub.example/D/?api-version=2099-01-01",
            "hub.example/D/api-version=2016-11-14",
            "hub.example/D/DeviceClientType=azure-iot-device%2F1.0.2",
            "hub.example/D",
            "hub.example/D/",
            "HUB.example/D/?api-version=2021-04-12&model-id=dtmi%3Acom%3Ax%3B1",
            "Gateway/D/?api-version=2021-04-12",
        ] {
            let admission = admission(&connect("D", Some(user_name)), &names()).unwrap();
            assert_eq!((admission.claimed, admission.token), ("D", Some("token")), "{user_name}");
        }
        let odd = "d?#+%=$'";
        let user_name = format!("hub.example/{odd}/?api-version=2021-04-12");
        assert_eq!(admission(&connect(odd, Some(&user_name)), &names()).unwrap().claimed, odd);
    }

    #[test]
    fn everything_else_is_refused() {
        for (client_id, user_name) in [
            ("D", None),
            ("D", Some("")),
            ("D", Some("D")),
            ("D", Some("hub.example/")),
            ("D", Some("hub.example/d/?api-version=2021-04-12")),
            ("D", Some("hub.example/E/?api-version=2021-04-12")),
            ("D/M", Some("hub.example/D/M/?api-version=2021-04-12")),
        ] {
            let refused = admission(&connect(client_id, user_name), &names()).unwrap_err();
            let expected = ConnectRefused::Unauthorized { claimed: client_id.into(), reason: RefusalReason::ClientIdAndUserName };
            assert_eq!(refused, expected, "{user_name:?}");
            assert_eq!(refused.return_code(), ConnectReturnCode::NotAuthorized);
        }
        let foreign = admission(&connect("D", Some("other.example/D/?api-version=2021-04-12")), &names()).unwrap_err();
        let expected = ConnectRefused::Unauthorized { claimed: "D".into(), reason: RefusalReason::ForeignHost("other.example".into()) };
        assert_eq!(foreign, expected);
        let nameless = admission(&connect("", Some("hub.example//")), &names()).unwrap_err();
        assert_eq!(nameless.return_code(), ConnectReturnCode::IdentifierRejected);
    }

    #[test]
    fn silence_is_borne_one_and_a_half_times_the_keep_alive() {
        let of = |keep_alive_seconds| silence_max(keep_alive_seconds).as_millis();
        assert_eq!(
            [of(1), of(60), of(230), of(1177), of(1178), of(1179), of(65_535), of(0)],
            [1_500, 90_000, 345_000, 1_765_500, 1_767_000, 1_767_000, 1_767_000, 1_767_000]
        );
    }
}
