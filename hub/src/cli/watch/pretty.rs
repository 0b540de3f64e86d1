//! A change for people, on one line. Much of it was written by somebody else: nothing that a terminal would obey gets through.

use serde_json::Value;

use crate::cli::device::sanitized;
use crate::cli::events::pretty::Style;
use crate::core::time::UnixMillis;

const GOOD: &str = "32";
const BAD: &str = "31";
const ODD: &str = "33";

/// The change as a line: time, device, what happened, and what there is to say of it. `now` stands in for a time that it does not have.
pub(super) fn change(kind: &str, change: &Value, now: &str, style: Style) -> String {
    let text = |name: &str| sanitized(change[name].as_str().unwrap_or_default());
    let line = |time: &str, device: &str, colour: &str, what: &str, more: &str| {
        let what = style.paint(colour, &format!("{what:<12}"));
        format!("{}  {}  {what}  {more}", style.dim(&sanitized(time)), style.device(&format!("{device:<20}"))).trim_end().to_owned() + "\n"
    };
    match kind {
        "presence" => {
            let came = change["state"] == "connected";
            let from = format!("{} from {}, connection {}", text("protocol"), text("address"), text("connection"));
            let stays = if !came && change["deviceConnected"] == true { ", the device has another connection" } else { "" };
            let more = if came { from } else { format!("{}: {from}{stays}", text("reason")) };
            line(&text("time"), &text("deviceId"), if came { GOOD } else { BAD }, &text("state"), &more)
        }
        "registry" => {
            let held = if change["device"]["hold"].is_object() { ", held" } else { "" };
            let status = change["device"]["status"].as_str().map(|status| format!(", {}", sanitized(status))).unwrap_or_default();
            line(now, &text("deviceId"), ODD, "identity", &format!("{}{status}{held}", text("operation")))
        }
        "refusal" => {
            let more = format!("{}: {} ({} from {})", text("reason"), text("text"), text("protocol"), text("address"));
            line(&text("time"), &text("claimed"), BAD, "refused", &more)
        }
        "command" => {
            let (command, step) = (&change["command"], &change["step"]);
            let of = |part: &Value, name: &str| sanitized(part[name].as_str().unwrap_or_default());
            let again =
                step["deliveryCount"].as_u64().filter(|count| *count > 1).map(|count| format!(", delivery {count}")).unwrap_or_default();
            let over = step["protocol"].as_str().map(|protocol| format!(" over {}", sanitized(protocol))).unwrap_or_default();
            let why = step["reason"].as_str().map(|reason| format!(": {}", sanitized(reason))).unwrap_or_default();
            let time = if step.is_object() { of(step, "time") } else { now.to_owned() };
            let what = if step.is_object() { of(step, "step") } else { of(command, "state") };
            line(&time, &of(command, "deviceId"), ODD, &format!("command {}", of(command, "id")), &format!("{what}{over}{again}{why}"))
        }
        "receipt" => {
            let became = match change["step"].as_str() {
                Some("ReceiptRead") => ", read".to_owned(),
                Some("ReceiptLost") => format!(", lost: {}", text("reason")),
                _ => String::new(),
            };
            let more = format!("of command {}: {}{became}", text("commandId"), text("statusCode"));
            // Azure writes seven digits; the column has room for three.
            let time = change["time"].as_str().or(change["enqueuedTimeUtc"].as_str()).and_then(|time| time.parse::<UnixMillis>().ok());
            line(&time.map_or_else(|| now.to_owned(), |time| time.to_string()), &text("deviceId"), ODD, "receipt", &more)
        }
        "audit" => {
            let refused = change["reason"].as_str().map(|_| format!(", refused: {}", text("reason"))).unwrap_or_default();
            let detail = change["detail"].as_str().map(|_| format!(" ({})", text("detail"))).unwrap_or_default();
            let who = sanitized(change["who"]["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("the hub"));
            let colour = if refused.is_empty() { ODD } else { BAD };
            line(
                &text("time"),
                &text("deviceId"),
                colour,
                "audit",
                &format!("{who}, {}: {}{detail}{refused}", text("door"), text("action")),
            )
        }
        "snapshot-begin" => style.dim("how things stand:") + "\n",
        "snapshot-end" => style.dim("what happens from now on:") + "\n",
        "skipped" => style.paint(BAD, &format!("{} changes were missed: this came too slowly through", change["count"])) + "\n",
        "reset" => style.paint(BAD, &format!("what happened meanwhile is not known ({})", text("reason"))) + "\n",
        other => style.dim(&sanitized(other)) + "\n",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(kind: &str, data: &Value) -> String {
        change(kind, data, "now", Style { colour: false })
    }

    #[test]
    fn a_change_is_a_line() {
        let presence = json!({
            "deviceId": "pump", "connection": "7", "protocol": "mqtt", "address": "192.0.2.1", "time": "T",
            "state": "disconnected", "reason": "TakenOver", "deviceConnected": true
        });
        assert_eq!(
            shown("presence", &presence),
            "T  pump                  disconnected  TakenOver: mqtt from 192.0.2.1, connection 7, the device has another connection\n"
        );
        let command = json!({
            "command": {"id": "12", "deviceId": "pump", "state": "Invisible"},
            "step": {"time": "T", "step": "Delivered", "protocol": "mqtt", "connection": "7", "deliveryCount": 2}
        });
        assert_eq!(shown("command", &command), "T  pump                  command 12    Delivered over mqtt, delivery 2\n");
        let mut receipt = json!({
            "deviceId": "pump", "commandId": "12", "statusCode": "Success", "enqueuedTimeUtc": "2026-11-23T03:00:00.0000000Z"
        });
        assert_eq!(shown("receipt", &receipt), "2026-11-23T03:00:00.000Z  pump                  receipt       of command 12: Success\n");
        (receipt["time"], receipt["step"]) = ("2026-11-23T03:00:01.000Z".into(), "ReceiptRead".into());
        assert_eq!(
            shown("receipt", &receipt),
            "2026-11-23T03:00:01.000Z  pump                  receipt       of command 12: Success, read\n"
        );
        (receipt["step"], receipt["reason"]) = ("ReceiptLost".into(), "Expired".into());
        assert!(shown("receipt", &receipt).ends_with("of command 12: Success, lost: Expired\n"));
        let audit = json!({
            "id": "1", "time": "T", "who": {"kind": "person", "name": "ada", "method": "password"}, "door": "dashboard", "address": "192.0.2.1",
            "action": "DeviceDisabled", "deviceId": "pump", "detail": "stolen", "outcome": "Done"
        });
        assert_eq!(shown("audit", &audit), "T  pump                  audit         ada, dashboard: DeviceDisabled (stolen)\n");
        let registry = json!({"operation": "deleted", "deviceId": "pump"});
        assert_eq!(shown("registry", &registry), "now  pump                  identity      deleted\n");
    }

    #[test]
    fn nobody_writes_to_the_terminal() {
        let evil = "\x1b]0;owned\x07\u{9b}31m";
        for kind in ["presence", "registry", "refusal", "command", "receipt", "audit", "reset", evil] {
            let lost = json!({"step": "ReceiptLost", "reason": evil, "time": evil, "commandId": evil});
            assert!(!shown(kind, &lost).contains(['\x1b', '\x07', '\u{9b}']), "{kind}");
            let data = json!({
                "deviceId": evil, "claimed": evil, "time": evil, "state": evil, "reason": evil, "text": evil, "protocol": evil, "address": evil, "connection": evil,
                "operation": evil, "commandId": evil, "statusCode": evil, "enqueuedTimeUtc": evil, "device": {"status": evil},
                "who": {"name": evil}, "door": evil, "action": evil, "detail": evil,
                "command": {"id": evil, "deviceId": evil}, "step": {"time": evil, "step": evil, "reason": evil, "protocol": evil}
            });
            assert!(!shown(kind, &data).contains(['\x1b', '\x07', '\u{9b}']), "{kind}");
        }
    }
}
