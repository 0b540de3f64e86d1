//! Changes as JSON objects, without the keys of anybody.

use serde_json::{Value, json};

use crate::core::change::{Change, Transition};
use crate::core::command::{Command, Receipt, Receiver, Step, StepKind};
use crate::core::identity::DeviceIdentity;
use crate::core::time::UnixMillis;
use crate::http::registry::document;
use crate::ops::read_devices::DeviceView;

/// What of an identity changes without a change of the identity, and is told as what it is.
const VOLATILE: [&str; 4] = ["connectionState", "connectionStateUpdatedTime", "lastActivityTime", "cloudToDeviceMessageCount"];

/// What of an identity's authentication anybody who may watch may know.
const SHOWN_OF_AUTHENTICATION: [&str; 2] = ["type", "x509Thumbprint"];

/// The change's data: a JSON object on one line.
pub fn render(change: &Change) -> String {
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
        Change::Command(what, step) => json!({ "command": command(what, step), "step": timeline_entry(step) }),
        Change::Receipt(what) => receipt(what),
    }
    .to_string()
}

/// The registry's document without keys, and without what is told by other kinds of changes.
fn device(identity: &DeviceIdentity) -> Value {
    let view = DeviceView {
        identity: identity.clone(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
    };
    let mut device = document::of(&view);
    if let Some(fields) = device.as_object_mut() {
        VOLATILE.iter().for_each(|name| drop(fields.remove(*name)));
    }
    if let Some(authentication) = device["authentication"].as_object_mut() {
        authentication.retain(|name, _| SHOWN_OF_AUTHENTICATION.contains(&name.as_str()));
    }
    device
}

fn presence(transition: &Transition) -> Value {
    let mut presence = json!({
        "deviceId": transition.device_id.as_str(),
        "connection": transition.connection.0,
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

fn command(command: &Command, step: &Step) -> Value {
    json!({
        "id": command.id.to_string(),
        "deviceId": command.device_id.as_str(),
        "generationId": command.generation_id.0,
        "messageId": command.message_id,
        "ack": command.ack.name(),
        "sentBy": command.sent_by,
        "againOf": command.again_of.map(|id| id.to_string()),
        "state": match (command.ended, &step.kind) {
            (Some((outcome, _)), _) => outcome.name(),
            (None, StepKind::Delivered { .. }) => "Invisible",
            (None, _) => "Enqueued",
        },
        "sizeBytes": command.size_bytes,
        "enqueuedTime": command.enqueued_time.to_string(),
        "expiryTime": command.expiry_time.to_string(),
        "deliveryCount": command.delivery_count,
        "endedTime": command.ended.map(|(_, time)| time.to_string()),
    })
}

fn timeline_entry(step: &Step) -> Value {
    let mut entry = json!({ "time": step.time.to_string() });
    let by = |entry: &mut Value, receiver: &Receiver| {
        entry["protocol"] = receiver.protocol.name().into();
        if let Some(connection) = receiver.connection {
            entry["connection"] = connection.0.into();
        }
    };
    entry["step"] = match &step.kind {
        StepKind::Enqueued => "Enqueued",
        StepKind::Delivered { receiver, delivery_count } => {
            by(&mut entry, receiver);
            entry["deliveryCount"] = (*delivery_count).into();
            "Delivered"
        }
        StepKind::Returned(reason) => {
            entry["reason"] = reason.name().into();
            "Returned"
        }
        StepKind::Ended { outcome, receiver } => {
            if let Some(receiver) = receiver {
                by(&mut entry, receiver);
            }
            outcome.name()
        }
        StepKind::ReceiptRead => "ReceiptRead",
        StepKind::ReceiptLost(loss) => {
            entry["reason"] = loss.name().into();
            "ReceiptLost"
        }
        StepKind::SentAgain(id) => {
            entry["as"] = id.to_string().into();
            "SentAgain"
        }
    }
    .into();
    entry
}

/// Azure's record (facts §7.4), and which command it is of.
fn receipt(receipt: &Receipt) -> Value {
    json!({
        "originalMessageId": receipt.original_message_id,
        "description": receipt.outcome.status_code(),
        "deviceGenerationId": receipt.generation_id.0,
        "deviceId": receipt.device_id.as_str(),
        "enqueuedTimeUtc": seven_digits(receipt.time),
        "statusCode": receipt.outcome.status_code(),
        "commandId": receipt.command.to_string(),
    })
}

/// .NET's way to write a time: to a ten-millionth of a second.
fn seven_digits(time: UnixMillis) -> String {
    let text = time.to_string();
    text.strip_suffix('Z').map_or(text.clone(), |start| format!("{start}0000Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::session::{ConnectionId, DisconnectReason, Protocol};
    use crate::ops::world::{NOW, identity, key};

    #[test]
    fn an_identity_is_shown_without_its_keys() {
        let mut written = identity("D");
        written.tags = Some(r#"{"site":"north"}"#.into());
        let text = render(&Change::IdentityWritten(std::sync::Arc::new(written.clone())));
        assert!([1, 2].iter().all(|byte| !text.contains(&key(*byte).expose_base64())), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["device"]["tags"], json!({"site": "north"}));
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
                "deviceId": "D", "connection": 7, "protocol": "mqtt-ws", "address": "192.0.2.1", "time": "2023-11-14T22:13:20.000Z",
                "state": "disconnected", "reason": "TakenOver", "deviceConnected": true
            })
        );
    }

    #[test]
    fn times_of_receipts_have_seven_digits() {
        assert_eq!(seven_digits(NOW), "2023-11-14T22:13:20.0000000Z");
    }
}
