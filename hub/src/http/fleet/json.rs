//! How the fleet stands, as it is told to those who look all the time.

use serde_json::{Map, Value, json};

use crate::ops::fleet_index::FleetSummary;

/// One message: a JSON object on one line.
pub fn render_summary(summary: &FleetSummary) -> String {
    let FleetSummary { time, whole, revision, counts, states, flapping } = summary;
    let states: Map<String, Value> = states.iter().map(|(state, count)| (state.name().to_owned(), (*count).into())).collect();
    let flapping = flapping
        .iter()
        .map(|(id, streak)| json!({ "deviceId": id.as_str(), "connects": streak.connects, "since": streak.since.to_string() }));
    json!({
        "kind": "fleet",
        "time": time.to_string(),
        "whole": whole,
        "revision": revision,
        "total": counts.total,
        "enabled": counts.enabled,
        "connected": counts.connected,
        "held": counts.held,
        "states": states,
        "flapping": flapping.collect::<Vec<_>>(),
    })
    .to_string()
}
