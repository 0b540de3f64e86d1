//! Commands for people. What others have written is shown without what a terminal would obey.

use serde_json::Value;

use super::journey::{Journey, Stage};
use crate::cli::device::{sanitized, table};
use crate::cli::duration::shown;

/// A command that was just sent, in a sentence.
pub(super) fn sent(command: &Value) -> String {
    let again = command["againOf"].as_str().map(|id| format!(" ({} again)", sanitized(id))).unwrap_or_default();
    format!(
        "Command {}{again} is in the queue of {}, until {}.",
        text(command, "id"),
        text(command, "deviceId"),
        text(command, "expiryTime")
    )
}

/// One line of a journey: when, what, and what else there is to say.
pub(super) fn stage(stage: &Stage) -> String {
    format!("  {:>10}  {:<21}  {}", shown(stage.after), sanitized(&stage.name), stage.remark).trim_end().to_owned()
}

/// All of a journey in one line, for where there are many.
pub(in crate::cli) fn journey_in_one_line(journey: &Journey) -> String {
    let stages = journey.stages();
    let steps: Vec<String> = stages
        .iter()
        .filter(|stage| stage.name != "ReceiptRead")
        .map(|stage| {
            let time = shown(stage.after);
            match stage.name.as_str() {
                // It comes to be with the end, whose time stands before it.
                "Receipt" => format!("receipt {}", stage.remark),
                "Returned" => format!("back ({}) {time}", stage.remark),
                "Enqueued" => "enqueued".to_owned(),
                name => format!("{} {time}", name.to_lowercase()),
            }
        })
        .collect();
    format!("{:>5}  {}  {}", journey.id(), text(journey.command(), "deviceId"), steps.join(" → "))
}

/// What a step says beside its name.
pub(super) fn remark(step: &Value) -> String {
    let field = |name: &str| step[name].as_str().map(sanitized);
    let mut parts = Vec::new();
    parts.extend(field("protocol").map(|protocol| format!("over {protocol}")));
    let connection = step["connection"].as_str().map(sanitized).or_else(|| step["connection"].as_u64().map(|id| id.to_string()));
    parts.extend(connection.map(|id| format!("connection {id}")));
    parts.extend(step["deliveryCount"].as_u64().filter(|count| *count > 1).map(|count| format!("delivery {count}")));
    parts.extend(field("reason"));
    parts.extend(field("as").map(|id| format!("as command {id}")));
    parts.join(", ")
}

/// A page of commands, in columns.
pub(super) fn list(page: &Value) -> String {
    let commands = page["commands"].as_array().map(Vec::as_slice).unwrap_or_default();
    if commands.is_empty() {
        return "There are no such commands. `mooring-hub command send DEVICE PAYLOAD` sends one.".to_owned();
    }
    let mut rows = vec![["COMMAND", "DEVICE", "STATE", "DELIVERED", "ENQUEUED", "MESSAGE ID"].map(str::to_owned)];
    rows.extend(commands.iter().map(|command| {
        let delivered = command["deliveryCount"].as_u64().unwrap_or_default().to_string();
        let [id, device, state, enqueued, message] =
            ["id", "deviceId", "state", "enqueuedTime", "messageId"].map(|name| text(command, name));
        [id, device, state, delivered, enqueued, message]
    }));
    let mut shown = table(&rows);
    if let Some(next) = page["next"].as_str() {
        shown.push_str(&format!("\nThere are more: --before {}", sanitized(next)));
    }
    shown
}

/// A command with its timeline.
pub(super) fn details(command: &Value) -> String {
    let size = command["sizeBytes"].as_u64().unwrap_or_default();
    let mut rows = vec![
        ["Command".to_owned(), text(command, "id")],
        ["Device".to_owned(), text(command, "deviceId")],
        ["State".to_owned(), text(command, "state")],
        ["Expires".to_owned(), text(command, "expiryTime")],
        ["Receipts".to_owned(), text(command, "ack")],
        ["Sent by".to_owned(), text(command, "sentBy")],
        ["Size".to_owned(), format!("{size} bytes")],
    ];
    for (name, field) in [("Message id", "messageId"), ("Again of", "againOf"), ("Locked until", "lockedUntil")] {
        rows.extend(command[field].as_str().map(|value| [name.to_owned(), sanitized(value)]));
    }
    let mut shown = table(&rows);
    shown.push('\n');
    for step in command["steps"].as_array().into_iter().flatten() {
        let line = format!("  {}  {:<21}  {}", text(step, "time"), text(step, "step"), remark(step));
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    if command["canBeSentAgain"] == true {
        shown.push_str(&format!("\n`mooring-hub command send-again {}` sends it once more.\n", text(command, "id")));
    }
    shown
}

/// What a purge did.
pub(super) fn purged(answer: &Value) -> String {
    match answer["totalMessagesPurged"].as_u64().unwrap_or_default() {
        1 => format!("Purged one command of {}.", text(answer, "deviceId")),
        count => format!("Purged {count} commands of {}.", text(answer, "deviceId")),
    }
}

fn text(document: &Value, name: &str) -> String {
    sanitized(document[name].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn journey() -> Journey {
        let steps = json!([
            { "time": "2026-11-23T03:00:00.000Z", "step": "Enqueued" },
            { "time": "2026-11-23T03:00:00.004Z", "step": "Delivered", "protocol": "mqtt", "connection": "7", "deliveryCount": 1 },
            { "time": "2026-11-23T03:01:00.000Z", "step": "Returned", "reason": "LockExpired" },
            { "time": "2026-11-23T03:01:00.002Z", "step": "Delivered", "protocol": "mqtt", "connection": "7", "deliveryCount": 2 },
            { "time": "2026-11-23T03:01:00.012Z", "step": "Completed", "protocol": "mqtt", "connection": "7" },
        ]);
        let document = json!({ "id": "12", "deviceId": "pump\x1b", "messageId": "m", "ack": "full", "enqueuedTime": "2026-11-23T03:00:00.000Z", "steps": steps });
        Journey::new(document).unwrap()
    }

    #[test]
    fn a_journey_is_an_aligned_block() {
        let lines: Vec<_> = journey().lines().collect();
        let expected = [
            "        0 ms  Enqueued",
            "        4 ms  Delivered              over mqtt, connection 7",
            "     60.00 s  Returned               LockExpired",
            "     60.00 s  Delivered              over mqtt, connection 7, delivery 2",
            "     60.01 s  Completed              over mqtt, connection 7",
            "     60.01 s  Receipt                Success",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_journey_fits_on_a_line() {
        let expected = "   12  pump\u{fffd}  enqueued → delivered 4 ms → back (LockExpired) 60.00 s → delivered 60.00 s → completed 60.01 s → receipt Success";
        assert_eq!(journey_in_one_line(&journey()), expected);
    }

    #[test]
    fn a_list_has_columns_and_says_how_to_go_on() {
        assert!(list(&json!({ "commands": [], "next": null })).contains("command send"));
        let command =
            json!({ "id": "12", "deviceId": "d", "state": "Enqueued", "deliveryCount": 0, "enqueuedTime": "T", "messageId": null });
        let shown = list(&json!({ "commands": [command], "next": "12" }));
        assert_eq!(
            shown,
            "COMMAND  DEVICE  STATE     DELIVERED  ENQUEUED  MESSAGE ID\n12       d       Enqueued  0          T\n\nThere are more: --before 12"
        );
    }

    #[test]
    fn a_dead_letter_says_how_to_send_it_again() {
        let command = json!({ "id": "12", "deviceId": "d", "state": "Expired", "canBeSentAgain": true, "sizeBytes": 5,
            "steps": [{ "time": "T", "step": "Expired" }] });
        let shown = details(&command);
        assert!(shown.contains("  T  Expired\n") && shown.contains("send-again 12"), "{shown}");
        assert_eq!(purged(&json!({ "totalMessagesPurged": 1, "deviceId": "d" })), "Purged one command of d.");
    }
}
