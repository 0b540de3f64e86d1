//! The messages of the change stream (docs/changes.md), parsed once at the edge. What a hub of tomorrow says besides is passed over.

use super::audit::Entry;
use super::json::value::Value;
use super::json::{FromJson, field, object};
use super::order::sorted;
use super::payload::harmless;
use super::time::Moment;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where the stream goes on after this one.
    pub position: Option<String>,
    /// What it says.
    pub what: What,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Something happened, or is so.
    Change(Change),
    /// Forget what you know: how things stand comes next.
    SnapshotBegin,
    /// That was how things stand.
    SnapshotEnd,
    /// So many changes are lost to this reader.
    Skipped(u64),
    /// The position can't be gone on from, and why.
    Reset(String),
    /// All is quiet.
    Heartbeat,
    /// There is no more, and why.
    Problem(String),
}

/// A change of the hub's world.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An identity was written, or is there.
    Written(Box<Device>),
    /// An identity is gone.
    Deleted(String),
    /// A connection came or went.
    Presence(Presence),
    /// Somebody was refused.
    Refusal(Refusal),
    /// A command made a step, or is there.
    Command(Box<Command>, Option<Step>),
    /// A receipt came, was read or was lost.
    Receipt(Receipt),
    /// Somebody did something.
    Audit(Box<Entry>),
}

impl Change {
    /// Whose state it may have changed.
    #[must_use]
    pub fn of_device(&self) -> Option<&str> {
        match self {
            Self::Written(device) => Some(&device.device_id),
            Self::Deleted(id) => Some(id),
            Self::Presence(presence) => Some(&presence.device_id),
            Self::Command(command, _) => Some(&command.device_id),
            Self::Refusal(_) | Self::Receipt(_) | Self::Audit(_) => None,
        }
    }
}

/// An identity without its keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// Which life of that id.
    pub generation_id: String,
    /// Of this version of it.
    pub etag: String,
    /// `enabled` or `disabled`.
    pub status: String,
    /// Why, in the words of who said so.
    pub status_reason: Option<String>,
    /// Since when.
    pub status_updated_time: Option<Moment>,
    /// How it proves itself.
    pub authentication: Authentication,
    /// What its owner calls it.
    pub tags: Option<Value>,
    /// The manifest that it comes from.
    pub managed_by: Option<ManagedBy>,
    /// Who shut it out.
    pub hold: Option<Hold>,
    /// What its manifest wants, or whoever wrote it last: a hold is not in it.
    pub wanted_status: String,
    /// What is watched about it.
    pub monitoring: Option<Value>,
}

object!(Device {
    device_id: "deviceId",
    generation_id: "generationId",
    etag: "etag",
    status: "status",
    status_reason: "statusReason",
    status_updated_time: "statusUpdatedTime",
    authentication: "authentication",
    tags: "tags",
    managed_by: "managedBy",
    hold: "hold",
    wanted_status: "wantedStatus",
    monitoring: "monitoring"
});

/// How a device proves itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Authentication {
    /// `sas`, `selfSigned` or `certificateAuthority`.
    pub r#type: String,
    /// Of `selfSigned`: its certificates'.
    pub thumbprints: Option<Thumbprints>,
}

object!(Authentication { r#type: "type", thumbprints: "x509Thumbprint" });

/// By what a certificate is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thumbprints {
    /// Of the first.
    pub primary: Option<String>,
    /// Of the second.
    pub secondary: Option<String>,
}

object!(Thumbprints { primary: "primaryThumbprint", secondary: "secondaryThumbprint" });

/// Where an identity comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedBy {
    /// `Kubernetes`, or `ManifestFolder`.
    pub kind: String,
    /// The manifest's namespace.
    pub namespace: Option<String>,
    /// The manifest's name.
    pub name: Option<String>,
}

object!(ManagedBy { kind: "kind", namespace: "namespace", name: "name" });

/// A device that is shut out by a person or a back end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hold {
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Option<Moment>,
}

object!(Hold { by: "by", since: "since" });

/// A connect or a disconnect.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Presence {
    /// Whose.
    pub device_id: String,
    /// Which connection.
    pub connection: String,
    /// Over what.
    pub protocol: String,
    /// From where.
    pub address: String,
    /// When.
    pub time: Moment,
    /// `connected` or `disconnected`.
    pub state: String,
    /// Why it ended.
    pub reason: Option<String>,
    /// Whether the device has a connection now.
    pub device_connected: bool,
}

object!(Presence {
    device_id: "deviceId",
    connection: "connection",
    protocol: "protocol",
    address: "address",
    time: "time",
    state: "state",
    reason: "reason",
    device_connected: "deviceConnected"
});

impl Presence {
    /// Whether it came.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.state == "connected"
    }
}

/// Somebody who was refused.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Refusal {
    /// Whom it said to be.
    pub claimed: String,
    /// When.
    pub time: Moment,
    /// Over what.
    pub protocol: String,
    /// From where: `address` in the stream, `peer` (with its port) in lists.
    pub address: String,
    /// For programs.
    pub reason: String,
    /// For people: `text` in the stream, `description` in lists.
    pub text: String,
}

object!(Refusal {
    claimed: "claimed",
    time: "time",
    protocol: "protocol",
    address: "address" | "peer",
    reason: "reason",
    text: "text" | "description"
});

/// A command without its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Its number, as text.
    pub id: String,
    /// For whom.
    pub device_id: String,
    /// What its sender calls it.
    pub message_id: Option<String>,
    /// Which receipts its sender wants.
    pub ack: String,
    /// The policy that sent it.
    pub sent_by: String,
    /// The command that it repeats.
    pub again_of: Option<String>,
    /// What it is now.
    pub state: String,
    /// With everything.
    pub size_bytes: u64,
    /// When it was taken.
    pub enqueued_time: Option<Moment>,
    /// When it runs out.
    pub expiry_time: Option<Moment>,
    /// How often it was delivered.
    pub delivery_count: u64,
    /// When it ended.
    pub ended_time: Option<Moment>,
    /// Whether it can be sent again.
    pub can_be_sent_again: bool,
    /// Its way, where that was asked for.
    pub steps: Vec<Step>,
}

object!(Command {
    id: "id",
    device_id: "deviceId",
    message_id: "messageId",
    ack: "ack",
    sent_by: "sentBy",
    again_of: "againOf",
    state: "state",
    size_bytes: "sizeBytes",
    enqueued_time: "enqueuedTime",
    expiry_time: "expiryTime",
    delivery_count: "deliveryCount",
    ended_time: "endedTime",
    can_be_sent_again: "canBeSentAgain",
    steps: "steps"
});

impl Command {
    /// What it is called: by its sender, or by its number. To be read, not to be gone by.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.message_id {
            Some(name) if !name.is_empty() => harmless(name),
            _ => format!("command {}", self.id),
        }
    }

    /// Whether the hub still has what it says: a command that has had its effect is not kept.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.ended_time.is_none() || self.can_be_sent_again
    }

    /// As which command it was sent again, as far as its steps say; the last time.
    #[must_use]
    pub fn sent_again_as(&self) -> Option<String> {
        self.steps.iter().rev().find_map(|step| step.r#as.clone())
    }

    /// Whether its steps are known from the first on: lists have none, and the live link those alone that it was there for.
    #[must_use]
    pub fn has_whole_way(&self) -> bool {
        self.steps.first().is_some_and(|step| step.step == "Enqueued")
    }

    /// Takes in what somebody tells of it, with as many of its steps as they know. A list that was on its way while the command went on does
    /// not take it back; what comes with a step comes in its order.
    pub fn learn(&mut self, told: Self, step: Option<Step>) {
        let is_late = self.ended_time.is_some() || (step.is_none() && told.ended_time.is_none() && told.progress() < self.progress());
        let mut steps = std::mem::take(&mut self.steps);
        for step in told.steps.iter().cloned().chain(step) {
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        if !is_late {
            *self = told;
        }
        self.steps = sorted(steps, |one, other| one.time.cmp(&other.time));
    }

    /// Grows on the way: delivered, back in the queue, delivered once more.
    fn progress(&self) -> (u64, bool) {
        (self.delivery_count, self.delivery_count > 0 && self.state == "Enqueued")
    }

    /// What is told next counts, even if it seems to be earlier.
    pub fn doubt(&mut self) {
        if self.ended_time.is_none() {
            self.delivery_count = 0;
        }
    }
}

/// A step on a command's way.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Step {
    /// When.
    pub time: Moment,
    /// What.
    pub step: String,
    /// Over what.
    pub protocol: Option<String>,
    /// How often it had been delivered.
    pub delivery_count: Option<u64>,
    /// Why.
    pub reason: Option<String>,
    /// As which command it was sent again.
    pub r#as: Option<String>,
}

object!(Step { time: "time", step: "step", protocol: "protocol", delivery_count: "deliveryCount", reason: "reason", r#as: "as" });

/// A receipt.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Receipt {
    /// Of which command.
    pub command_id: String,
    /// Of whose.
    pub device_id: String,
    /// How it ended.
    pub status_code: String,
    /// When it ended.
    pub enqueued_time_utc: Moment,
    /// What became of the receipt, if it has left the queue.
    pub step: Option<String>,
    /// When.
    pub time: Option<Moment>,
    /// Why it was lost.
    pub reason: Option<String>,
}

object!(Receipt {
    command_id: "commandId",
    device_id: "deviceId",
    status_code: "statusCode",
    enqueued_time_utc: "enqueuedTimeUtc",
    step: "step",
    time: "time",
    reason: "reason"
});

/// Reads a message; `None` for what this page does not know.
#[must_use]
pub fn parse(text: &str) -> Option<Message> {
    let value = Value::parse(text).ok()?;
    let position = value.get("position").and_then(Value::as_str).map(str::to_owned);
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = value.get("kind")?.as_str()?.to_owned();
    let what = match kind.as_str() {
        "snapshot-begin" => What::SnapshotBegin,
        "snapshot-end" => What::SnapshotEnd,
        "heartbeat" => What::Heartbeat,
        "skipped" => What::Skipped(field(&value, &["count"])),
        "reset" => What::Reset(word("reason")),
        "problem" => What::Problem(word("message")),
        kind => What::Change(change(kind, &value)?),
    };
    Some(Message { position, what })
}

fn change(kind: &str, value: &Value) -> Option<Change> {
    let named = |name: &str| value.get(name).and_then(Value::as_str);
    Some(match kind {
        "registry" if named("operation")? == "deleted" => Change::Deleted(named("deviceId")?.to_owned()),
        "registry" => Change::Written(FromJson::from_json(value.get("device")?)?),
        "presence" => {
            named("deviceId")?;
            Change::Presence(FromJson::from_json(value)?)
        }
        "refusal" => Change::Refusal(FromJson::from_json(value)?),
        "command" => Change::Command(FromJson::from_json(value.get("command")?)?, value.get("step").and_then(FromJson::from_json)),
        "receipt" => Change::Receipt(FromJson::from_json(value)?),
        "audit" => Change::Audit(FromJson::from_json(value)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> What {
        parse(text).unwrap().what
    }

    #[test]
    fn what_happens_is_understood() {
        let text = r#"{"position":"3-1042","kind":"presence","deviceId":"pump","connection":"17","protocol":"mqtt","address":"192.0.2.1",
            "time":"2026-11-23T03:00:41.250Z","state":"disconnected","reason":"KeepAliveTimeout","deviceConnected":false}"#;
        let Message { position, what: What::Change(Change::Presence(presence)) } = parse(text).unwrap() else { panic!("presence") };
        assert_eq!(
            (position.as_deref(), presence.is_connect(), presence.reason.as_deref()),
            (Some("3-1042"), false, Some("KeepAliveTimeout"))
        );

        let text = r#"{"kind":"command","command":{"id":"12","deviceId":"valve","state":"Completed","enqueuedTime":"2026-11-23T03:00:00.000Z"},
            "step":{"time":"2026-11-23T03:00:07.250Z","step":"Completed","protocol":"mqtt","connection":"42"}}"#;
        let What::Change(Change::Command(command, Some(step))) = what(text) else { panic!("a command") };
        assert_eq!((command.name().as_str(), step.step.as_str()), ("command 12", "Completed"));
        assert!(command.has_content(), "as long as it has not ended");
        let named = Command { message_id: Some("open\u{202e}esolc".to_owned()), ended_time: Some(Moment(1)), ..Command::default() };
        assert_eq!((named.name().as_str(), named.has_content()), ("open‹U+202E›esolc", false));
        assert!(Command { can_be_sent_again: true, ..named }.has_content());

        let text = r#"{"kind":"registry","operation":"written","deviceId":"d","device":{"deviceId":"d","status":"disabled",
            "authentication":{"type":"sas","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":"ab"}},"hold":{"by":"service","since":"2026-11-23T03:00:00.000Z"}}}"#;
        let What::Change(Change::Written(device)) = what(text) else { panic!("a device") };
        let slots = device.authentication.thumbprints.unwrap();
        assert_eq!((slots.primary, slots.secondary.as_deref()), (None, Some("ab")));
        assert_eq!((device.authentication.r#type.as_str(), device.hold.unwrap().by.as_str()), ("sas", "service"));
        assert_eq!(what(r#"{"kind":"registry","operation":"deleted","deviceId":"d"}"#), What::Change(Change::Deleted("d".to_owned())));
        assert_eq!(Change::Deleted("d".to_owned()).of_device(), Some("d"));
        assert_eq!(Change::Refusal(Refusal { claimed: "d".to_owned(), ..Refusal::default() }).of_device(), None, "it said to be it");
    }

    #[test]
    fn a_refusal_reads_the_same_from_the_stream_and_from_a_list() {
        let stream = r#"{"kind":"refusal","claimed":"pump","time":"2026-11-23T03:00:00.000Z","protocol":"mqtt","address":"192.0.2.1","reason":"NoToken","text":"t"}"#;
        let list = r#"{"claimed":"pump","time":"2026-11-23T03:00:00.000Z","protocol":"mqtt","peer":"192.0.2.1","reason":"NoToken","description":"t"}"#;
        assert_eq!(what(stream), What::Change(Change::Refusal(crate::model::json::read(list).unwrap())));
    }

    #[test]
    fn the_stream_speaks_of_itself() {
        assert_eq!(what(r#"{"kind":"skipped","count":7}"#), What::Skipped(7));
        assert_eq!(what(r#"{"kind":"reset","reason":"TooOld"}"#), What::Reset("TooOld".to_owned()));
        assert_eq!(what(r#"{"kind":"problem","message":"over"}"#), What::Problem("over".to_owned()));
        assert_eq!(what(r#"{"kind":"snapshot-begin"}"#), What::SnapshotBegin);
        assert_eq!(parse(r#"{"kind":"heartbeat","position":"3-1"}"#).unwrap().position.as_deref(), Some("3-1"));
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        for text in ["", "[]", "{}", r#"{"kind":"eclipse"}"#, r#"{"kind":"presence","deviceId":5}"#, r#"{"kind":"registry"}"#] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
