//! How fast things happen now, as it is told to those who look all the time.

use serde_json::{Map, Value, json};

use crate::core::command::Outcome;
use crate::core::rates::{Counted, Counts, Gauges, Step};
use crate::core::session::DisconnectReason;
use crate::ops::rates::{RatesNow, refusal_names};

/// One message: a JSON object on one line.
pub fn render(now: &RatesNow) -> String {
    let mut message = json!({ "kind": "rates", "time": now.time.to_string(), "last": sample(&now.look.last) });
    if let Some((start, step)) = &now.look.finished {
        message["second"] = sample(step);
        message["second"]["time"] = start.to_string().into();
    }
    message.to_string()
}

fn sample(step: &Step) -> Value {
    let Step { counts, gauges } = step;
    let Gauges { connected, commands_enqueued, commands_delivered, oldest_command, receipts_waiting } = gauges;
    json!({
        "connected": connected,
        "connects": counts.one(Counted::Connects),
        "disconnects": named(counts, Counted::Disconnects, DisconnectReason::ALL.map(DisconnectReason::name)),
        "events": { "messages": counts.one(Counted::EventMessages), "bytes": counts.one(Counted::EventBytes) },
        "commands": {
            "enqueued": counts.one(Counted::CommandsEnqueued),
            "bytes": counts.one(Counted::CommandBytes),
            "delivered": counts.one(Counted::CommandsDelivered),
            "ended": named(counts, Counted::CommandsEnded, Outcome::ALL.map(Outcome::name)),
        },
        "receipts": {
            "made": named(counts, Counted::ReceiptsMade, Outcome::ALL.map(Outcome::name)),
            "read": counts.one(Counted::ReceiptsRead),
            "lost": counts.one(Counted::ReceiptsLost),
        },
        "refusals": named(counts, Counted::Refusals, refusal_names().iter().copied()),
        "throttled": counts.one(Counted::Throttled),
        "backlog": {
            "enqueued": commands_enqueued,
            "delivered": commands_delivered,
            "oldest": oldest_command.map(|time| time.to_string()),
            "receipts": receipts_waiting,
        },
    })
}

/// What occurred, by name.
fn named(counts: &Counts, counted: Counted, names: impl IntoIterator<Item = &'static str>) -> Map<String, Value> {
    let counts = names.into_iter().zip(counts.of(counted));
    counts.filter(|(_, count)| **count > 0).map(|(name, count)| (name.to_owned(), (*count).into())).collect()
}
