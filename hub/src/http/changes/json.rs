//! Changes as JSON objects, without the keys of anybody.

use serde_json::{Value, json};

use crate::core::change::{Change, Transition};
use crate::core::command::receipt_document::ReceiptDocument;
use crate::core::command::{Command, Receipt, Step, StepKind};
use crate::core::identity::DeviceIdentity;
use crate::http::audit::EntryDocument;
use crate::http::commands::json::{CommandDocument, StepDocument};
use crate::http::registry::document;
use crate::ops::read_commands::CommandView;
use crate::ops::read_devices::DeviceView;
use crate::ops::watch_changes::Standing;

/// What of an identity changes without a change of the identity, and is told as what it is.
const VOLATILE: [&str; 4] = ["connectionState", "connectionStateUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount"];

#[cfg(test)]
thread_local! {
    /// How many texts of changes were made by this thread, which in tests has a hub for itself.
    static TEXTS_MADE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How many texts of changes were made so far.
#[cfg(test)]
pub fn texts_made() -> u64 {
    TEXTS_MADE.get()
}

/// The change's data: a JSON object on one line.
pub fn render(change: &Change) -> String {
    #[cfg(test)]
    TEXTS_MADE.set(TEXTS_MADE.get() + 1);
    match change {
        Change::IdentityWritten(identity) => {
            json!({ "operation": "written", "deviceId": identity.device_id.as_str(), "device": device(identity) })
        }
        Change::IdentityDeleted(id) => json!({ "operation": "deleted", "deviceId": id.as_str() }),
        Change::Presence(transition) => presence(transition),
        Change::Refused { claimed, time, protocol, address, reason: (reason, text) } => json!({
            "claimed": claimed,
            "time": time.to_string(),
            "protocol": protocol.name(),
            "address": address.to_string(),
            "reason": reason,
            "text": text,
        }),
        Change::Command(what, step) => json!({ "command": command(what, step), "step": StepDocument::of(step) }),
        Change::Receipt(what) => receipt(what),
        Change::ReceiptStep(what, step) => receipt_step(what, step),
        Change::Audited(entry) => json!(EntryDocument::of(entry)),
    }
    .to_string()
}

/// How something stands, in the same form.
pub fn render_standing(standing: &Standing) -> String {
    match standing {
        Standing::Like(change) => render(change),
        Standing::Command(view) => json!({ "command": CommandDocument::of(view) }).to_string(),
    }
}

/// The registry's document without keys, and without what is told by other kinds of changes.
fn device(identity: &DeviceIdentity) -> Value {
    let view = DeviceView {
        identity: identity.clone(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        commands_pending: 0,
    };
    let mut device = document::without_keys(&view);
    if let Some(fields) = device.as_object_mut() {
        VOLATILE.iter().for_each(|name| drop(fields.remove(*name)));
    }
    device
}

fn presence(transition: &Transition) -> Value {
    let mut presence = json!({
        "deviceId": transition.device_id.as_str(),
        "connection": transition.connection.to_string(),
        "protocol": transition.protocol.name(),
        "address": transition.address.to_string(),
        "time": transition.time.to_string(),
        "state": if transition.disconnected.is_some() { "disconnected" } else { "connected" },
        "deviceConnected": transition.connected,
    });
    if let Some(reason) = transition.disconnected {
        presence["reason"] = reason.name().into();
    }
    presence
}

/// A command as its last step has left it. Until when it is locked is not told here.
fn command(command: &Command, step: &Step) -> CommandDocument {
    let state = match (command.ended, &step.kind) {
        (Some((outcome, _)), _) => outcome.name(),
        (None, StepKind::Delivered { .. }) => "Invisible",
        (None, _) => "Enqueued",
    };
    let can_be_sent_again = command.ended.is_some_and(|(outcome, _)| outcome.keeps_content());
    CommandDocument::of(&CommandView { command: command.clone(), state, locked_until: None, can_be_sent_again })
}

/// Azure's record (facts §7.4), and which command it is of.
fn receipt(receipt: &Receipt) -> Value {
    let mut data = json!(ReceiptDocument::of(receipt));
    data["commandId"] = receipt.command.to_string().into();
    data
}

/// The same, and what became of it.
fn receipt_step(what: &Receipt, step: &Step) -> Value {
    let mut data = receipt(what);
    if let (Value::Object(data), Value::Object(step)) = (&mut data, json!(StepDocument::of(step))) {
        data.extend(step);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::command::{CommandId, Outcome, ReceiptId, ReceiptLoss};
    use crate::core::identity::Rotation;
    use crate::core::session::{ConnectionId, DisconnectReason, Protocol};
    use crate::ops::world::{NOW, identity, key};

    #[test]
    fn an_identity_is_shown_without_its_keys() {
        let mut written = identity("D");
        written.tags = Some(r#"{"site":"north"}"#.into());
        written.monitoring.offline_after = "10m".parse().ok();
        written.rotation = Some(Rotation { requested_at: "2026-11-23T03:00:00Z".parse().unwrap(), begun_at: None });
        let text = render(&Change::IdentityWritten(std::sync::Arc::new(written)));
        assert!([1, 2].iter().all(|byte| !text.contains(&key(*byte).expose_base64())), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["device"]["tags"], json!({"site": "north"}));
        assert_eq!(value["device"]["wantedStatus"], "enabled");
        assert_eq!(value["device"]["monitoring"], json!({"offlineAfter": "10m", "perDeviceMetrics": false}));
        assert_eq!(value["device"]["rotation"], json!({"requestedAt": "2026-11-23T03:00:00Z", "begunAt": null}));
        assert_eq!(value["device"]["authentication"]["type"], "sas");
        assert_eq!(value["device"].get("connectionState"), None, "it is told by presence");
    }

    #[test]
    fn a_transition_says_why_it_ended_and_whether_the_device_is_there() {
        let transition = Transition {
            device_id: identity("D").device_id,
            connection: ConnectionId(7),
            protocol: Protocol::MqttWs,
            address: [192, 0, 2, 1].into(),
            time: NOW,
            disconnected: Some(DisconnectReason::TakenOver),
            connected: true,
        };
        let value: Value = serde_json::from_str(&render(&Change::Presence(transition))).unwrap();
        assert_eq!(
            value,
            json!({
                "deviceId": "D", "connection": "7", "protocol": "mqtt-ws", "address": "192.0.2.1", "time": "2023-11-14T22:13:20.000Z",
                "state": "disconnected", "reason": "TakenOver", "deviceConnected": true
            })
        );
    }

    #[test]
    fn a_receipt_that_leaves_the_queue_says_how() {
        let of = identity("D");
        let receipt = Receipt {
            id: ReceiptId(3),
            command: CommandId(12),
            original_message_id: "m-1".to_owned(),
            device_id: of.device_id,
            generation_id: of.generation_id,
            outcome: Outcome::Completed,
            time: NOW,
            expiry_time: NOW,
            delivery_count: 1,
        };
        let told = |change: Change| serde_json::from_str::<Value>(&render(&change)).unwrap();
        let waits = told(Change::Receipt(receipt.clone()));
        assert_eq!((&waits["commandId"], waits.get("step")), (&json!("12"), None));
        let with = |more: &[(&str, &str)]| {
            let mut expected = waits.clone();
            more.iter().for_each(|(name, value)| expected[*name] = json!(value));
            expected
        };
        let left = |kind| told(Change::ReceiptStep(receipt.clone(), Step { time: NOW, kind }));
        let time = "2023-11-14T22:13:20.000Z";
        assert_eq!(left(StepKind::ReceiptRead), with(&[("time", time), ("step", "ReceiptRead")]));
        let lost = left(StepKind::ReceiptLost(ReceiptLoss::QueueFull));
        assert_eq!(lost, with(&[("time", time), ("step", "ReceiptLost"), ("reason", "QueueFull")]));
    }
}
