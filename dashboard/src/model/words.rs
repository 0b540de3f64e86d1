//! The API's words in people's words.

use super::state::Tone;

/// Why a connection ended.
#[must_use]
pub fn disconnect_reason(reason: &str) -> &str {
    match reason {
        "ClientDisconnected" => "closed by the device",
        "ConnectionLost" => "connection reset",
        "KeepAliveTimeout" => "keep-alive timeout",
        "TakenOver" => "taken over by a new session",
        "TokenExpired" => "token expired",
        "DeviceDisabled" => "device disabled",
        "DeviceDeleted" => "device deleted",
        "KeyReplaced" => "key replaced",
        "CertificateReplaced" => "certificate replaced",
        "ProtocolViolation" => "protocol error",
        "TooSlow" => "took nothing for too long",
        "StoreUnavailable" => "the hub's store failed",
        "HubShutdown" => "hub shut down",
        "HubRestarted" => "hub restarted",
        other => other,
    }
}

/// Whether it is bad that a connection ended so, or somebody meant it.
#[must_use]
pub fn disconnect_tone(reason: &str) -> Tone {
    match reason {
        "TakenOver" | "DeviceDisabled" | "DeviceDeleted" | "KeyReplaced" | "CertificateReplaced" | "HubShutdown" | "HubRestarted" => {
            Tone::Mute
        }
        _ => Tone::Bad,
    }
}

/// Why somebody came back from an OpenID Connect issuer without being signed in.
#[must_use]
pub fn sign_in_problem(problem: &str) -> &'static str {
    match problem {
        "NoRights" => "You may not do anything here: none of your groups has a right to this hub. Ask whoever runs it.",
        "TooOften" => "There were too many attempts to sign in from where you are. Come again in a minute.",
        "Unavailable" => "Nobody can be signed in this way now: the hub can't ask the issuer. Its log says why. Try again.",
        // Whatever else stands there: anybody may have written it.
        _ => {
            "You were not signed in. It took too long, was begun in another browser, or the issuer did not want to; the hub's audit says which. Begin again."
        }
    }
}

/// Why somebody was refused.
#[must_use]
pub fn refusal_reason(reason: &str) -> &str {
    match reason {
        "UnknownDevice" => "unknown id",
        "InvalidDeviceId" => "invalid id",
        "DeviceDisabled" => "disabled",
        "NoToken" => "no token",
        "MalformedToken" => "malformed token",
        "TokenExpired" => "token expired",
        "OtherResource" => "token for something else",
        "SignedWithNeitherKey" | "SignedWithNeitherPolicyKey" => "wrong key",
        "HasNoKeys" => "has no keys",
        "HasNoCertificate" => "no certificate",
        "UnreadableCertificate" => "unreadable certificate",
        "UnknownThumbprint" => "unknown certificate",
        "CertificateNotYetValid" => "certificate not valid yet",
        "CertificateExpired" => "certificate expired",
        "OtherCommonName" => "certificate of another",
        "UnknownAuthority" => "unknown authority",
        "AuthorityNotAllowed" => "authority not allowed",
        "UnsoundChain" => "unsound chain",
        "UnknownPolicy" => "unknown policy",
        "NotAllowed" => "not allowed",
        "NeedsPolicy" => "needs a policy",
        "ForeignHost" => "foreign host name",
        "ClientIdAndUserName" => "client id and user name differ",
        "UnacceptableWill" => "unacceptable will",
        other => other,
    }
}

/// A protocol, as it is written.
#[must_use]
pub fn protocol(name: &str) -> &str {
    match name {
        "mqtt" => "MQTT",
        "mqtt-ws" => "MQTT over WebSocket",
        "amqp" => "AMQP",
        "amqp-ws" => "AMQP over WebSocket",
        "https" => "HTTPS",
        other => other,
    }
}

/// How a device proves itself.
#[must_use]
pub fn authentication(name: &str) -> &str {
    match name {
        "sas" => "SAS",
        "selfSigned" => "X.509 thumbprint",
        "certificateAuthority" => "X.509 CA",
        other => other,
    }
}

/// With a capital in front, at the beginning of a line: of the letters that our own words begin with.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| std::iter::once(first.to_ascii_uppercase()).chain(letters).collect())
}

/// An id's head and its last eight characters, which tell siblings apart; short ones are all head.
#[must_use]
pub fn head_and_tail(id: &str) -> (&str, &str) {
    const WHOLE_MAX: usize = 20;
    const TAIL: usize = 8;
    let letters = id.chars().count();
    if letters <= WHOLE_MAX {
        return (id, "");
    }
    id.char_indices().nth(letters - TAIL).map_or((id, ""), |(at, _)| id.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_not_known_yet_is_said_as_it_is() {
        assert_eq!((disconnect_reason("Eclipse"), refusal_reason("Eclipse"), protocol("coap")), ("Eclipse", "Eclipse", "coap"));
        assert_eq!((disconnect_tone("Eclipse"), disconnect_tone("TakenOver")), (Tone::Bad, Tone::Mute));
    }

    #[test]
    fn what_stands_in_a_link_is_not_said() {
        let said = ["Refused", "Call 555-0100", ""].map(sign_in_problem);
        assert!(said.iter().all(|text| *text == said[0]) && said[0] != sign_in_problem("NoRights"));
    }

    #[test]
    fn long_ids_keep_their_tail() {
        assert_eq!(head_and_tail("meter-ams-04127"), ("meter-ams-04127", ""));
        let id = "cabinet-eu-west-store-004417-unit-3-9f3a77c2d81b44e0";
        assert_eq!(head_and_tail(id), ("cabinet-eu-west-store-004417-unit-3-9f3a77c2", "d81b44e0"));
        assert_eq!(head_and_tail("ä".repeat(21).as_str()).1.chars().count(), 8);
    }

    #[test]
    fn a_sentence_begins_with_a_capital() {
        assert_eq!(
            (sentence("keep-alive timeout").as_str(), sentence("").as_str(), sentence("über").as_str()),
            ("Keep-alive timeout", "", "über")
        );
    }
}
