//! What a Device's status says. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use mooring_crds::device::{DeviceStatus, RotationStatus};
use mooring_crds::plan::Hold;

use crate::conditions::{Said, conditions, is_true};
use crate::hub::identity::{Identity, Presence};

const READY: &str = "Ready";
const CREDENTIALS_ISSUED: &str = "CredentialsIssued";
/// The condition that the hub has what the manifest says.
pub const SYNCED: &str = "Synced";
const CONNECTED: &str = "Connected";

/// Why something is not as the manifest wants it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In a word, for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Problem {
    /// With both.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What became of a reconcile.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The identity is as the manifest wants it, but for a hold.
    InHub {
        /// As it is.
        identity: Box<Identity>,
        /// Who has shut it out.
        hold: Option<Hold>,
        /// The Secret with its credentials, or why there is none.
        credentials: Result<String, Problem>,
    },
    /// Not carried out, until somebody changes something.
    Refused(Problem),
    /// Not carried out now: what was there stays as it was.
    Waiting(Problem),
}

/// Of what a status is.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The Device's generation.
    pub generation: Option<i64>,
    /// The identity that it names.
    pub device_id: &'a str,
    /// How it proves itself.
    pub authentication: &'a str,
}

/// The status, over the one before. What it says about presence stays: see [`with_presence`].
#[must_use]
pub fn status(before: &DeviceStatus, subject: Subject<'_>, outcome: &Outcome, now: Timestamp) -> DeviceStatus {
    let says = |said: &Said| conditions(&before.conditions, std::slice::from_ref(said), subject.generation, now);
    let kept = |kind: &str| before.conditions.iter().filter(|condition| condition.type_ == kind).cloned().collect::<Vec<_>>();
    let mut status = DeviceStatus {
        observed_generation: subject.generation,
        device_id: Some(subject.device_id.to_owned()),
        authentication_type: Some(subject.authentication.to_owned()),
        ..before.clone()
    };
    status.conditions = match outcome {
        Outcome::InHub { identity, hold, credentials } => {
            status.generation_id = Some(identity.generation_id.clone());
            status.rotation =
                identity.rotation.map(|rotation| RotationStatus { requested_at: rotation.requested_at, begun_at: rotation.begun_at });
            if let Ok(secret) = credentials {
                status.credentials_secret = Some(secret.clone());
            }
            let connected = kept(CONNECTED);
            in_hub(hold.as_ref(), credentials).iter().flat_map(says).chain(connected).collect()
        }
        Outcome::Refused(problem) => {
            (status.generation_id, status.rotation) = (None, None);
            (status.last_transition_time, status.last_disconnect_time) = (None, None);
            let Problem { reason, message } = problem;
            [READY, CREDENTIALS_ISSUED, SYNCED].map(|kind| Said::no(kind, reason, message)).iter().flat_map(says).collect()
        }
        Outcome::Waiting(Problem { reason, message }) => {
            let stays = before.observed_generation == subject.generation && is_true(&before.conditions, READY);
            let ready = if stays { kept(READY) } else { says(&Said::no(READY, reason, message)) };
            let issued = match kept(CREDENTIALS_ISSUED) {
                issued if issued.is_empty() => says(&Said::no(CREDENTIALS_ISSUED, reason, message)),
                issued => issued,
            };
            let synced = says(&Said::unknown(SYNCED, reason, message));
            ready.into_iter().chain(issued).chain(synced).chain(kept(CONNECTED)).collect()
        }
    };
    status
}

fn in_hub(hold: Option<&Hold>, credentials: &Result<String, Problem>) -> [Said; 3] {
    let ready = match (hold, credentials) {
        (Some(Hold { by, since }), _) => Said::no(
            READY,
            "HeldInHub",
            format!(
                "somebody has shut the device out in the hub with the policy {by}, {since}; it stays out until it is enabled there, as \
                 with `mooring-hub device enable`"
            ),
        ),
        (None, Err(problem)) => Said::no(READY, problem.reason, &problem.message),
        (None, Ok(_)) => Said::yes(READY, "InHub", "the device is in the hub as its manifest wants it"),
    };
    let issued = match credentials {
        Ok(secret) => Said::yes(CREDENTIALS_ISSUED, "Issued", format!("the credentials are in the Secret {secret}")),
        Err(problem) => Said::no(CREDENTIALS_ISSUED, problem.reason, &problem.message),
    };
    [ready, issued, Said::yes(SYNCED, "InHub", "the hub has what the manifest says")]
}

/// The status with what is known of presence. A Device without an identity has none.
#[must_use]
pub fn with_presence(mut status: DeviceStatus, presence: Option<Presence>, now: Timestamp) -> DeviceStatus {
    let Some(presence) = presence.filter(|_| status.generation_id.is_some()) else { return status };
    let said = match presence {
        Presence { connected: true, .. } => Said::yes(CONNECTED, "Connected", "the device has a connection"),
        Presence { since: Some(_), .. } => Said::no(CONNECTED, "Disconnected", "the device has no connection"),
        Presence { since: None, .. } => Said::no(CONNECTED, "NeverConnected", "the device has not connected yet"),
    };
    let condition: Vec<Condition> = conditions(&status.conditions, &[said], status.observed_generation, now);
    status.conditions.retain(|condition| condition.type_ != CONNECTED);
    status.conditions.extend(condition);
    if presence.since.is_some() {
        status.last_transition_time = presence.since;
    }
    status.last_disconnect_time = if presence.connected { None } else { presence.since.or(status.last_disconnect_time) };
    status
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn subject(generation: i64) -> Subject<'static> {
        Subject { generation: Some(generation), device_id: "pump", authentication: "symmetricKey" }
    }

    fn in_hub(hold: bool) -> Outcome {
        let identity = serde_json::from_value(json!({ "deviceId": "pump", "generationId": "7", "etag": "e" })).unwrap();
        let hold = hold.then(|| Hold { by: "service".to_owned(), since: "2026-11-23T03:00:00Z".to_owned() });
        Outcome::InHub { identity, hold, credentials: Ok("pump-credentials".to_owned()) }
    }

    fn said(status: &DeviceStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{} {} {} {:?}", c.type_, c.status, c.reason, c.observed_generation)).collect()
    }

    #[test]
    fn ready_is_said_when_it_is_so_and_stays_while_the_hub_is_away() {
        let ready = status(&DeviceStatus::default(), subject(1), &in_hub(false), at(1));
        assert_eq!(said(&ready), ["Ready True InHub Some(1)", "CredentialsIssued True Issued Some(1)", "Synced True InHub Some(1)"]);
        assert_eq!(status(&ready, subject(1), &in_hub(false), at(9)), ready, "nothing changes, not even a time");
        let away = Outcome::Waiting(Problem::new("HubNotReady", "it restarts"));
        let waiting = status(&ready, subject(1), &away, at(2));
        assert_eq!(said(&waiting)[0], "Ready True InHub Some(1)");
        assert_eq!(said(&waiting)[2], "Synced Unknown HubNotReady Some(1)");
        assert_eq!(waiting.generation_id.as_deref(), Some("7"));
        let changed = status(&ready, subject(2), &away, at(2));
        assert_eq!(said(&changed)[0], "Ready False HubNotReady Some(2)", "another spec has not been carried out");
    }

    #[test]
    fn a_hold_is_told_by_whom_and_since_when() {
        let held = status(&DeviceStatus::default(), subject(1), &in_hub(true), at(1));
        let ready = &held.conditions[0];
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "HeldInHub"));
        assert!(ready.message.contains("service") && ready.message.contains("2026-11-23T03:00:00Z"), "{}", ready.message);
        let refused = status(&held, subject(1), &Outcome::Refused(Problem::new("ManagedByAnother", "")), at(2));
        assert_eq!((refused.generation_id, refused.conditions.len()), (None, 3));
    }

    #[test]
    fn presence_is_said_of_what_is_in_the_hub() {
        let ready = status(&DeviceStatus::default(), subject(1), &in_hub(false), at(1));
        let never = with_presence(ready, Some(Presence { connected: false, since: None }), at(2));
        assert_eq!(said(&never)[3], "Connected False NeverConnected Some(1)");
        let connected = with_presence(never, Some(Presence { connected: true, since: Some(at(3)) }), at(4));
        assert_eq!((connected.last_transition_time, connected.last_disconnect_time), (Some(at(3)), None));
        let gone = with_presence(connected, Some(Presence { connected: false, since: Some(at(5)) }), at(6));
        assert_eq!((gone.last_transition_time, gone.last_disconnect_time), (Some(at(5)), Some(at(5))));
        assert_eq!(with_presence(gone.clone(), None, at(7)), gone, "nobody knows better");
        assert_eq!(status(&gone, subject(1), &in_hub(false), at(9)), gone);
        let nothing = DeviceStatus::default();
        assert_eq!(with_presence(nothing.clone(), Some(Presence { connected: true, since: None }), at(1)), nothing);
    }
}
