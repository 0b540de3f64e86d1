//! Consumer groups: by configuration, without a restart, and how far behind they are.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::connection_string::ConnectionString;
use e2e::consumer_groups::{groups, place, until_place};
use e2e::hub::{Hub, Options, binary};
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::patience::within;
use e2e::program::{Actor, Program};
use e2e::rest::{self, Rest};
use serde_json::Value;

use crate::serve::{serve, until_ready, write_configuration};

/// The groups' names, as the API has them.
async fn names(api: &Rest) -> Result<Vec<String>> {
    Ok(groups(api).await?.iter().filter_map(|group| group["name"].as_str()).map(str::to_owned).collect())
}

/// Asks until the groups are these.
async fn until_groups(api: &Rest, names: &[&str]) -> Result<()> {
    let asking = async {
        while self::names(api).await? != names {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    within("the groups to be as the file says", asking).await?
}

/// The value of a group's series among the metrics, over all partitions; `None` when there is none.
async fn metric(hub: &Hub, name: &str, group: &str) -> Result<Option<u64>> {
    let text = rest::client(hub)?.get(format!("{}/metrics", hub.endpoints.metrics)).send().await?.text().await?;
    let of_group = format!("{name}{{group=\"{group}\",");
    let values = text.lines().filter(|line| line.starts_with(&of_group)).filter_map(|line| line.rsplit(' ').next());
    let values: Vec<u64> = values.map(str::parse).collect::<Result<_, _>>()?;
    Ok((!values.is_empty()).then(|| values.iter().sum()))
}

/// The line of `mooring-hub events groups` that is about a group's partition with events.
async fn shown(hub: &Hub, group: &str) -> Result<String> {
    let command = Program::named(&binary()?.display().to_string()).args(["events", "groups"]).env("MOORING_DATA", hub.data());
    let said = String::from_utf8(command.output().await?)?;
    said.lines().find(|line| line.starts_with(group)).map(str::to_owned).with_context(|| format!("{group} is not in {said}"))
}

#[test]
fn groups_are_added_and_taken_away_without_a_restart() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let folder = tempfile::tempdir()?;
        let with_groups = |groups: &str| write_configuration(&hub, folder.path(), &format!("events = {{consumer_groups = {groups}}}"));
        let mut server = serve(&with_groups("[\"alerts\"]")?)?.start()?;
        until_ready(&hub, &mut server).await?;
        let api = Rest::api(&hub, service_of(folder.path())?)?;
        until_groups(&api, &["$Default", "alerts"]).await?;

        with_groups("[\"alerts\", \"Billing\"]")?;
        server.hang_up()?;
        until_groups(&api, &["$Default", "alerts", "Billing"]).await?;

        with_groups("[\"alerts\", \"ALERTS\"]")?;
        server.hang_up()?;
        within("a word about the file", broken(&hub, &mut server)).await??;
        ensure!(names(&api).await? == ["$Default", "alerts", "Billing"], "a file with a mistake counted");

        with_groups("[\"Billing\"]")?;
        server.hang_up()?;
        until_groups(&api, &["$Default", "Billing"]).await?;
        let metrics = rest::client(&hub)?.get(format!("https://{HUB}:9464/metrics")).send().await?.text().await?;
        ensure!(metrics.lines().any(|line| line == "mooring_configuration_broken 0"), "the file is good again");
        Ok(())
    })
}

/// The policy whose keys the server has made for itself.
fn service_of(folder: &Path) -> Result<ConnectionString> {
    let keys: Value = serde_json::from_slice(&std::fs::read(folder.join("data/policies.json"))?)?;
    let key = keys["service"]["primaryKey"].as_str().context("no key")?;
    ConnectionString::parse(&format!("HostName={HUB};SharedAccessKeyName=service;SharedAccessKey={key}"))
}

/// Waits until the metrics say that the file can't be used, and the log why.
async fn broken(hub: &Hub, server: &mut Actor) -> Result<()> {
    let client = rest::client(hub)?;
    loop {
        let metrics = client.get(format!("https://{HUB}:9464/metrics")).send().await?.text().await?;
        if metrics.lines().any(|line| line == "mooring_configuration_broken 1") {
            break;
        }
        server.still_runs()?;
        tokio::task::yield_now().await;
    }
    let log = server.standard_error();
    ensure!(log.contains("ALERTS is there twice"), "{log}");
    Ok(())
}

/// A reader's number is right while it reads, stays when it dies, and is still there when the hub has ended and begun again.
#[test]
fn lag_counts_on_without_the_reader_and_over_a_restart() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().devices(&["press"]).argument("--consumer-group").argument("billing").start().await?;
        let mut device = Connection::admitted(&hub, "press").await?;
        for id in 1..=3 {
            device.publish(&events_topic("press"), id, b"1").await?;
        }
        let api = Rest::api(&hub, hub.policy("service")?)?;
        let mut reader = group_reader(&hub, "billing")?;
        for number in 0..3 {
            let event = reader.until("event").await?;
            ensure!(event["sequenceNumber"] == number, "{event}");
        }
        let read = place(&api, "billing", None).await?;
        ensure!(read["lastDeliveredSequenceNumber"] == 2 && read["lagEvents"] == 0 && read["lagSeconds"] == 0, "{read}");
        ensure!(read["readers"][0]["policy"] == "service" && read["readers"][0]["name"].is_string(), "{read}");
        ensure!(metric(&hub, "mooring_consumer_group_readers", "billing").await?.is_some_and(|readers| readers > 0), "nobody reads");

        reader.kill9().await?;
        until_place(&api, "billing", None, "the dead reader to be gone", |place| place["readers"].as_array().is_some_and(Vec::is_empty))
            .await?;
        for id in 4..=5 {
            device.publish(&events_topic("press"), id, b"2").await?;
        }
        let left = place(&api, "billing", None).await?;
        ensure!(left["lastDeliveredSequenceNumber"] == 2 && left["lagEvents"] == 2, "{left}");
        ensure!(metric(&hub, "mooring_consumer_group_lag_events", "billing").await? == Some(2));
        ensure!(metric(&hub, "mooring_consumer_group_lag_events", "$Default").await?.is_none(), "nobody has read there");

        hub.stop().await?;
        hub.restart().await?;
        let api = Rest::api(&hub, hub.policy("service")?)?;
        let again = until_place(&api, "billing", None, "the hub to remember", |place| !place["lagEvents"].is_null()).await?;
        ensure!(again["lastDeliveredSequenceNumber"] == 2 && again["lagEvents"] == 2, "{again}");
        let mut device = Connection::admitted(&hub, "press").await?;
        device.publish(&events_topic("press"), 6, b"3").await?;
        ensure!(place(&api, "billing", None).await?["lagEvents"] == 3);
        ensure!(metric(&hub, "mooring_consumer_group_lag_events", "billing").await? == Some(3));
        let line = shown(&hub, "billing").await?;
        ensure!(line.contains("2 of 5"), "{line}");

        let mut reader = group_reader(&hub, "billing")?;
        for number in 0..6 {
            let event = reader.until("event").await?;
            ensure!(event["sequenceNumber"] == number, "{event}");
        }
        ensure!(place(&api, "billing", None).await?["lagEvents"] == 0);
        Ok(())
    })
}

/// The places of readers are written every two seconds, so after this a kill finds some of them on disk.
const SOME_PLACE_IS_WRITTEN: Duration = Duration::from_secs(6);

/// A kill takes what a reader was given in the last moments, and no more: the group goes on from a place that it was at, and falls behind.
#[test]
#[expect(clippy::disallowed_methods, reason = "nothing tells when a place is on disk; that it is by then is what is promised")]
fn lag_counts_on_after_the_hub_was_killed() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().devices(&["press"]).argument("--consumer-group").argument("billing").start().await?;
        let mut device = Connection::admitted(&hub, "press").await?;
        let mut reader = group_reader(&hub, "billing")?;
        let begin = Instant::now();
        let mut read = 0;
        while begin.elapsed() < SOME_PLACE_IS_WRITTEN {
            read += 1;
            device.publish(&events_topic("press"), read, b"1").await?;
            let event = reader.until("event").await?;
            ensure!(event["sequenceNumber"] == read - 1, "{event}");
        }
        hub.kill9().await?;
        reader.kill9().await?;
        hub.restart().await?;

        let api = Rest::api(&hub, hub.policy("service")?)?;
        let again = until_place(&api, "billing", None, "the hub to remember", |place| !place["lagEvents"].is_null()).await?;
        let last = again["lastDeliveredSequenceNumber"].as_u64().with_context(|| format!("no place: {again}"))?;
        let lag = u64::from(read).checked_sub(last + 1).with_context(|| format!("a place behind the last of {read} events: {again}"))?;
        ensure!(again["lagEvents"] == lag, "{read} events: {again}");
        let mut device = Connection::admitted(&hub, "press").await?;
        device.publish(&events_topic("press"), 1, b"2").await?;
        let later = place(&api, "billing", None).await?;
        ensure!(later["lastDeliveredSequenceNumber"] == last && later["lagEvents"] == lag + 1, "{later}");
        Ok(())
    })
}

/// Azure's own client, in the group.
fn group_reader(hub: &Hub, group: &str) -> Result<Actor> {
    let policy = hub.policy("service")?;
    let endpoint = format!("Endpoint=sb://{HUB}/;SharedAccessKeyName=service;SharedAccessKey={};EntityPath=hub", policy.key);
    Program::python("group_reader.py", hub)?.arg(endpoint).arg(group).start()
}
