//! `mooring-hub events groups`: which consumer groups there are, and how far behind each is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::Value;

use super::print;
use crate::cli::client::HubClient;
use crate::cli::device::table;
use crate::cli::duration::shown;

/// Where nothing is known, or nobody is.
const NOTHING: &str = "–";

/// Prints them, for people or as the API gives them.
pub(super) async fn run(client: &HubClient, json: bool) -> Result<()> {
    let document: Value = client.send(client.request(Method::GET, "/api/v1/consumer-groups")).await?.json().await?;
    let text = if json { format!("{document}\n") } else { table(&rows(&document)?) };
    print(&text).map(drop)
}

/// A row for each partition that a group has been read in, and one for a group that nobody has read in.
fn rows(document: &Value) -> Result<Vec<[String; 6]>> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().context("the hub's list of consumer groups can't be read");
    let mut rows = vec![["GROUP", "PARTITION", "DELIVERED", "LAG", "OLDEST", "READERS"].map(str::to_owned)];
    for group in list(document, "consumerGroups")? {
        let name = group["name"].as_str().unwrap_or_default().to_owned();
        let partitions = list(&group, "partitions")?;
        let is_known =
            |partition: &&Value| !partition["lagEvents"].is_null() || partition["readers"].as_array().is_some_and(|r| !r.is_empty());
        let known = rows.len();
        rows.extend(partitions.iter().filter(is_known).map(|partition| row(name.clone(), partition)));
        if rows.len() == known {
            rows.push([name, String::new(), String::new(), String::new(), String::new(), "nobody so far".to_owned()]);
        }
    }
    Ok(rows)
}

fn row(group: String, partition: &Value) -> [String; 6] {
    let number = |name: &str| partition[name].as_i64().map_or_else(|| NOTHING.to_owned(), |number| number.to_string());
    let age = partition["lagSeconds"].as_u64().filter(|age| *age > 0).map(|age| shown_seconds(Duration::from_secs(age)));
    let delivered = format!("{} of {}", number("lastDeliveredSequenceNumber"), number("lastEnqueuedSequenceNumber"));
    let readers: Vec<String> = partition["readers"].as_array().into_iter().flatten().map(reader).collect();
    let readers = if readers.is_empty() { NOTHING.to_owned() } else { readers.join(", ") };
    [group, number("partition"), delivered, number("lagEvents"), age.unwrap_or_else(|| NOTHING.to_owned()), readers]
}

/// The API knows whole seconds.
fn shown_seconds(age: Duration) -> String {
    if age.as_secs() < 100 { format!("{} s", age.as_secs()) } else { shown(age) }
}

fn reader(reader: &Value) -> String {
    let name = reader["name"].as_str().or(reader["address"].as_str()).unwrap_or("somebody");
    reader["epoch"].as_i64().map_or_else(|| name.to_owned(), |epoch| format!("{name} (epoch {epoch})"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_a_row_for_each_partition_that_was_read() {
        let unread = json!({"partition": 1, "lastDeliveredSequenceNumber": null, "lastEnqueuedSequenceNumber": 9, "lagEvents": null, "lagSeconds": null, "readers": []});
        let lagging = json!({"partition": 0, "lastDeliveredSequenceNumber": 30, "lastEnqueuedSequenceNumber": 41, "lagEvents": 11, "lagSeconds": 125, "readers": []});
        let read = json!({"partition": 2, "lastDeliveredSequenceNumber": -1, "lastEnqueuedSequenceNumber": -1, "lagEvents": 0, "lagSeconds": 0, "readers": [
            {"name": "one\u{1b}", "address": "192.0.2.1", "epoch": 3}, {"name": null, "address": "192.0.2.2", "epoch": null}]});
        let document = json!({"consumerGroups": [
            {"name": "$Default", "partitions": [unread]}, {"name": "alerts", "partitions": [lagging, unread, read]}]});
        assert_eq!(
            table(&rows(&document).unwrap()).lines().collect::<Vec<_>>(),
            [
                "GROUP     PARTITION  DELIVERED  LAG  OLDEST    READERS",
                "$Default                                       nobody so far",
                "alerts    0          30 of 41   11   2 m 05 s  –",
                "alerts    2          -1 of -1   0    –         one\u{fffd} (epoch 3), 192.0.2.2",
            ]
        );
        assert!(rows(&json!({})).is_err());
    }
}
