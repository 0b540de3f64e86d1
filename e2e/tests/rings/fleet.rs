//! `mooring-hub simulate`, and what people do with commands beside it: `mooring-hub command`, `mooring-hub feedback`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::events::Events;
use e2e::hub::{Hub, binary};
use e2e::namespace::isolated;
use e2e::program::{Actor, Outcome, Program};
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::Value;

/// The first of a simulated fleet.
const DEVICE: &str = "sim-0001";

/// `mooring-hub WORDS`, told where the hub's own file is, with address and credentials.
fn mooring_hub(hub: &Hub, words: &[&str]) -> Result<Program> {
    Ok(Program::named(&binary()?.display().to_string()).args(words).env("MOORING_DATA", hub.data()))
}

async fn says(hub: &Hub, words: &[&str]) -> Result<String> {
    Ok(String::from_utf8(mooring_hub(hub, words)?.output().await?)?)
}

/// A simulation that runs to its end, and its summary.
async fn simulated(hub: &Hub, words: &[&str]) -> Result<Value> {
    let words = [&["simulate", "--output", "json"], words].concat();
    Ok(serde_json::from_str(&says(hub, &words).await?)?)
}

/// A hub with one simulated device of some habit, which goes on until the story ends.
async fn one_device(habit: &[&str]) -> Result<(Hub, Actor)> {
    // Made by the hub, so that a command can wait for it before it has connected for the first time.
    let hub = Hub::start(&[DEVICE]).await?;
    let words = [&["simulate", "--devices", "1", "--interval", "200ms"], habit].concat();
    let fleet = mooring_hub(&hub, &words)?.in_its_own_group().start()?;
    Ok((hub, fleet))
}

fn printed(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

/// The payloads that each device sent, as numbers.
async fn numbers(hub: &Hub) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in Events::all(hub).await? {
        let number = event.body.as_ref().and_then(|body| body["n"].as_u64()).context("a message without a number")?;
        numbers.entry(event.device_id).or_default().push(number);
    }
    Ok(numbers)
}

#[test]
fn a_fleet_sends_what_it_was_told_and_stops_by_itself() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let words = ["--devices", "20", "--messages", "10", "--rate", "20/s", "--template", r#"{"n":{{sequence}}}"#];
        let summary = simulated(&hub, &words).await?;
        ensure!(summary["acknowledged"] == 200 && summary["sent"] == 200 && summary["stoppedBy"] == "messages", "{summary}");
        ensure!(summary["errors"] == 0 && summary["connects"] == 20, "{summary}");
        let sent = numbers(&hub).await?;
        ensure!(sent.len() == 20 && sent.values().all(|numbers| numbers.iter().copied().eq(1..=10)), "{sent:?}");

        // The same devices once more, and then away with them.
        let summary = simulated(&hub, &["--devices", "20", "--for", "1s", "--remove"]).await?;
        ensure!(summary["stoppedBy"] == "time" && summary["removed"] == 20 && summary["errors"] == 0, "{summary}");
        Rest::owner(&hub)?.call(Method::GET, &format!("/devices/{DEVICE}"), &[], Vec::new()).await?.expect(404)?;
        Ok(())
    })
}

/// What was under way when a connection broke is sent again.
#[test]
fn devices_that_sleep_and_flap_lose_nothing() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let habits = ["--sleep", "50%:300ms/200ms", "--flap", "50%:500ms", "--seed", "3"];
        let words = ["--devices", "6", "--messages", "15", "--rate", "10/s", "--template", r#"{"n":{{sequence}}}"#];
        let summary = simulated(&hub, &[&words[..], &habits[..]].concat()).await?;
        ensure!(summary["acknowledged"] == 90 && summary["errors"] == 0, "{summary}");
        ensure!(summary["connects"].as_u64() > Some(6) && summary["reconnects"].as_u64() > Some(0), "nobody slept or flapped: {summary}");
        for (device, numbers) in numbers(&hub).await? {
            let seen: BTreeSet<u64> = numbers.iter().copied().collect();
            ensure!(seen.iter().copied().eq(1..=15), "{device} sent {numbers:?}");
        }
        Ok(())
    })
}

#[test]
fn a_fleet_that_is_interrupted_ends_cleanly() -> Result<()> {
    isolated(async || {
        let (hub, mut fleet) = one_device(&["--output", "json"]).await?;
        let mut events = Events::open(&hub, "from=earliest").await?;
        events.take(3).await?;
        fleet.interrupt()?;
        let summary = fleet.next().await?;
        ensure!(summary["stoppedBy"] == "signal" && summary["sent"] == summary["acknowledged"], "{summary}");
        let status = fleet.end().await?;
        ensure!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
fn a_command_is_followed_to_its_receipt() -> Result<()> {
    isolated(async || {
        let (hub, _fleet) = one_device(&[]).await?;
        let sent = ["command", "send", DEVICE, "blink", "--message-id", "m-1", "--property", "level=high", "--wait"];
        let outcome = mooring_hub(&hub, &sent)?.outcome().await?;
        let text = printed(&outcome);
        ensure!(outcome.status.success(), "{text}{}", outcome.stderr);
        let steps: Vec<&str> = ["Enqueued", "Delivered", "Completed", "Receipt"].into_iter().filter(|step| text.contains(step)).collect();
        ensure!(steps.len() == 4 && text.contains("Success"), "{text}");

        // The receipt is still the back end's to take.
        let taken = says(&hub, &["feedback"]).await?;
        ensure!(taken.contains("Success") && taken.contains(DEVICE) && taken.contains("m-1"), "{taken}");
        ensure!(says(&hub, &["feedback"]).await?.is_empty(), "it was taken");
        let again = says(&hub, &["command", "send", DEVICE, "--ack", "none", "--wait", "--output", "json"]).await?;
        let again: Value = serde_json::from_str(&again)?;
        ensure!(again["state"] == "Completed" && again["receipt"].is_null(), "{again}");
        ensure!(says(&hub, &["command", "list", "--device", DEVICE]).await?.matches("Completed").count() == 2);
        let listed = says(&hub, &["command", "list", "--output", "json"]).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        let first = listed["commands"].as_array().and_then(|commands| commands.last()).context("no commands")?;
        let shown = says(&hub, &["command", "show", first["id"].as_str().context("an id")?]).await?;
        ensure!(shown.contains("ReceiptRead") && shown.contains("m-1"), "{shown}");

        let mut events = Events::open(&hub, "from=earliest").await?;
        let answer = loop {
            let event = events.next().await?.context("the stream ended")?;
            if event.property("kind") == "answer" {
                break event;
            }
        };
        ensure!(answer.system("correlation-id") == "m-1" && answer.body.context("an answer")?["done"] == "blink");
        Ok(())
    })
}

/// Its lock would hold it for a minute, so the device that has it goes; then it is back in the queue, where its time runs out.
#[test]
fn a_command_that_is_ignored_expires() -> Result<()> {
    isolated(async || {
        let (hub, mut fleet) = one_device(&["--ignore", "100%"]).await?;
        let mut waiting = mooring_hub(&hub, &["command", "send", DEVICE, "blink", "--expires-in", "5s", "--wait"])?.start()?;
        let mut text = String::new();
        while !text.contains("Delivered") {
            text += &waiting.line().await?.with_context(|| format!("it ended before the delivery: {text}"))?;
        }
        fleet.interrupt()?;
        fleet.end().await?;
        while let Some(line) = waiting.line().await? {
            text += &line;
        }
        let status = waiting.end().await?;
        ensure!(status.code() == Some(1), "{status}\n{text}{}", waiting.standard_error());
        ensure!(text.contains("ConnectionClosed") && text.contains("Expired") && !text.contains("Completed"), "{text}");
        Ok(())
    })
}

/// MQTT has no refusal, so they refuse over HTTPS.
#[test]
fn a_command_that_is_refused_can_be_sent_again() -> Result<()> {
    isolated(async || {
        let (hub, _fleet) = one_device(&["--refuse", "100%"]).await?;
        let outcome = mooring_hub(&hub, &["command", "send", DEVICE, "blink", "--wait", "--output", "json"])?.outcome().await?;
        ensure!(outcome.status.code() == Some(1), "{}\n{}", outcome.status, outcome.stderr);
        let document: Value = serde_json::from_slice(&outcome.stdout)?;
        ensure!(document["state"] == "Rejected" && document["receipt"] == "Rejected", "{document}");
        let id = document["id"].as_str().context("an id")?;
        let outcome = mooring_hub(&hub, &["command", "send-again", id, "--wait"])?.outcome().await?;
        ensure!(outcome.status.code() == Some(1) && printed(&outcome).contains("Rejected"), "{outcome:?}");
        Ok(())
    })
}

#[test]
fn a_queue_is_emptied() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        for number in ["1", "2"] {
            says(&hub, &["command", "send", DEVICE, number]).await?;
        }
        ensure!(says(&hub, &["command", "purge", DEVICE]).await?.contains("Purged 2"), "a wrong number of purged commands");
        ensure!(says(&hub, &["command", "list", "--state", "Purged"]).await?.matches(DEVICE).count() == 2);
        let unknown = mooring_hub(&hub, &["command", "send", "nobody", "x"])?.outcome().await?;
        ensure!(!unknown.status.success() && unknown.stderr.contains("nobody"), "{unknown:?}");
        Ok(())
    })
}
