//! The Event Hubs-compatible endpoint, with Azure's Event Hubs clients for Python and Node.js as they are: what they are told, what they read
//! from each position, who has to go for whom, and how processors share the partitions.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use e2e::consumer_groups::until_place;
use e2e::events::{Event, Events};
use e2e::hub::{Hub, Options};
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use serde_json::{Value, json};

/// Devices enough that a hub with eight partitions has events in each.
const DEVICES: [&str; 16] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11", "d12", "d13", "d14", "d15"];

/// Messages per device and round.
const EACH: u16 = 5;

const PARTITIONS: u16 = 8;

/// Whose client it is.
#[derive(Clone, Copy)]
enum Sdk {
    Python,
    Node,
}

impl Sdk {
    /// The script of that name in its language.
    fn script(self, name: &str, hub: &Hub, transport: &str) -> Result<Program> {
        let program = match self {
            Self::Python => Program::python(&format!("{name}.py"), hub)?,
            Self::Node => Program::node(&format!("{name}.js"), hub)?,
        };
        Ok(program.env("EVENTHUB_CONNECTION_STRING", &hub.event_hub_connection_string).env("TRANSPORT", transport))
    }
}

/// Each device sends its numbers, beginning with `first`, with a property and a content type.
async fn send(hub: &Hub, devices: &[&str], first: u16) -> Result<()> {
    for device in devices {
        let mut connection = Connection::admitted(hub, device).await?;
        for number in first..first + EACH {
            let topic = format!("{}%24.mid=m-{number}&%24.ct=application%2Fjson&room=a%20b", events_topic(device));
            connection.publish(&topic, number, number.to_string().as_bytes()).await?;
        }
    }
    Ok(())
}

fn milliseconds(event: &Event) -> Result<i64> {
    Ok(event.enqueued_time.parse::<jiff::Timestamp>()?.as_millisecond())
}

#[test]
fn python_event_hubs_reads_from_every_position() -> Result<()> {
    reads_from_every_position(Sdk::Python, "amqp")
}

#[test]
fn python_event_hubs_reads_over_a_websocket() -> Result<()> {
    reads_from_every_position(Sdk::Python, "ws")
}

#[test]
fn node_event_hubs_reads_from_every_position() -> Result<()> {
    reads_from_every_position(Sdk::Node, "amqp")
}

#[test]
fn node_event_hubs_reads_over_a_websocket() -> Result<()> {
    reads_from_every_position(Sdk::Node, "ws")
}

fn reads_from_every_position(sdk: Sdk, transport: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&DEVICES[..3]).await?;
        send(&hub, &DEVICES[..3], 1).await?;
        let all = Events::all(&hub).await?;
        let partition = all.last().context("events")?.partition;
        let there: Vec<&Event> = all.iter().filter(|event| event.partition == partition).collect();
        let middle = there[there.len() / 2];
        let (number, offset, time) = (middle.sequence_number, &middle.offset, milliseconds(middle)? - 1);
        let after = |is_after: &dyn Fn(&Event) -> bool| there.iter().copied().filter(|event| is_after(event)).collect::<Vec<_>>();
        let mut later = Vec::new();
        for event in &there {
            if milliseconds(event)? > time {
                later.push(*event);
            }
        }
        let cases = [
            (json!("-1"), false, there.clone()),
            (json!(-1), false, there.clone()),
            (json!(offset), false, after(&|event| event.sequence_number > number)),
            (json!(offset), true, after(&|event| event.sequence_number >= number)),
            (json!(number), false, after(&|event| event.sequence_number > number)),
            (json!(number), true, after(&|event| event.sequence_number >= number)),
            (json!({ "time": time }), false, later),
        ];
        let wishes = cases.iter().map(
            |(from, inclusive, expected)| json!({ "partition": partition, "from": from, "inclusive": inclusive, "count": expected.len() }),
        );
        let wishes = Value::Array(wishes.collect()).to_string();
        let told = sdk.script("event_hub", &hub, transport)?.env("POSITIONS", wishes).story().await?;

        ensure!(told[0]["name"] == "hub" && told[0]["partitions"] == json!(["0", "1", "2", "3"]), "{}", told[0]);
        for (partition, said) in told[1..5].iter().enumerate() {
            is_as_it_stands(said, partition, &all)?;
        }
        for ((from, inclusive, expected), said) in cases.iter().zip(&told[5..]) {
            let read = said["events"].as_array().with_context(|| format!("{from} {inclusive}: {said}"))?;
            ensure!(read.len() == expected.len(), "{from} {inclusive}: {} events of {}: {said}", read.len(), expected.len());
            for (event, sent) in read.iter().zip(expected) {
                is_what_was_sent(event, sent, there.last().context("events")?)?;
            }
        }
        ensure!(told.len() == 5 + cases.len(), "{told:?}");
        Ok(())
    })
}

/// The connection string of a hub, as C#'s samples have it: the events are at the hub's own address.
#[test]
fn python_and_node_event_hubs_read_by_the_hubs_own_address() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&["press"]).await?;
        send(&hub, &["press"], 1).await?;
        let all = Events::all(&hub).await?;
        let partition = all.last().context("events")?.partition;
        let string = hub.event_hub_connection_string.replace("EntityPath=hub", "EntityPath=messages/events");
        ensure!(string.contains("EntityPath=messages/events"), "{string}");
        let wish = json!([{ "partition": partition, "from": "-1", "inclusive": false, "count": all.len() }]).to_string();
        for sdk in [Sdk::Python, Sdk::Node] {
            let script = sdk.script("event_hub", &hub, "amqp")?.env("EVENTHUB_CONNECTION_STRING", &string);
            let told = script.env("POSITIONS", &wish).story().await?;
            ensure!(told[0]["partitions"] == json!(["0", "1", "2", "3"]), "{}", told[0]);
            let read = told.last().and_then(|said| said["events"].as_array()).with_context(|| format!("nothing was read: {told:?}"))?;
            ensure!(read.len() == all.len(), "{} events of {}: {told:?}", read.len(), all.len());
            for (event, sent) in read.iter().zip(&all) {
                is_what_was_sent(event, sent, all.last().context("events")?)?;
            }
        }
        Ok(())
    })
}

/// What a client is told of a partition is what the hub's own API shows.
fn is_as_it_stands(said: &Value, partition: usize, all: &[Event]) -> Result<()> {
    let last = all.iter().rfind(|event| usize::from(event.partition) == partition);
    let id = partition.to_string();
    ensure!(said["name"] == "hub" && said["id"] == id && said["begin"] == 0, "{said}");
    match last {
        Some(last) => {
            ensure!(
                said["last"] == last.sequence_number && said["lastOffset"] == last.offset.as_str() && said["isEmpty"] == false,
                "{said}"
            );
            ensure!(said["lastTime"] == milliseconds(last)?, "{said}");
        }
        None => ensure!(said["last"] == -1 && said["lastOffset"] == "-1" && said["isEmpty"] == true, "{said}"),
    }
    Ok(())
}

fn is_what_was_sent(event: &Value, sent: &Event, last: &Event) -> Result<()> {
    ensure!(event["sequenceNumber"] == sent.sequence_number && event["offset"] == sent.offset.as_str(), "{event}, not {sent:?}");
    ensure!(event["enqueued"] == milliseconds(sent)? && event["device"] == sent.device_id.as_str(), "{event}, not {sent:?}");
    let body = String::from_utf8(sent.bytes()?)?;
    ensure!(event["body"] == body.as_str() && event["messageId"] == format!("m-{body}"), "{event}, not {sent:?}");
    ensure!(event["contentType"] == "application/json" && event["properties"] == json!({ "room": "a b" }), "{event}");
    ensure!(event["lastEnqueued"] == last.sequence_number, "{event}: it is not told how far the partition is");
    Ok(())
}

#[test]
fn python_event_hubs_reads_what_comes_and_epochs_decide_who() -> Result<()> {
    follows_and_gives_way(Sdk::Python, "amqp", 0, ["stolen", "epoch"])
}

#[test]
fn python_event_hubs_reads_what_comes_and_epochs_decide_who_over_a_websocket() -> Result<()> {
    follows_and_gives_way(Sdk::Python, "ws", 0, ["stolen", "epoch"])
}

#[test]
fn node_event_hubs_reads_what_comes_and_epochs_decide_who() -> Result<()> {
    // Node.js' client takes 0 for no level at all.
    follows_and_gives_way(Sdk::Node, "amqp", 1, ["ReceiverDisconnectedError", "epoch"])
}

#[test]
fn node_event_hubs_reads_what_comes_and_epochs_decide_who_over_a_websocket() -> Result<()> {
    follows_and_gives_way(Sdk::Node, "ws", 1, ["ReceiverDisconnectedError", "epoch"])
}

fn follows_and_gives_way(sdk: Sdk, transport: &'static str, level: i64, words: [&'static str; 2]) -> Result<()> {
    isolated(async move || {
        let hub = Options::default().devices(&["press"]).argument("--consumer-group").argument("second").start().await?;
        send(&hub, &["press"], 1).await?;
        let partition = Events::all(&hub).await?.last().context("events")?.partition;
        let reader = |group: &str, from: &str, level: Option<i64>| {
            let script = sdk.script("event_reader", &hub, transport)?;
            let script = script.env("PARTITION", partition.to_string()).env("FROM", from).env("GROUP", group);
            level.into_iter().fold(script, |script, level| script.env("OWNER_LEVEL", level.to_string())).start()
        };
        let mut latest = reader("$Default", "\"@latest\"", None)?;
        let mut in_group = reader("SECOND", "\"-1\"", None)?;
        for number in 0..EACH {
            ensure!(in_group.until("read").await?["sequenceNumber"] == number);
        }
        let api = Rest::api(&hub, hub.policy("service")?)?;
        let is_one = |place: &Value| place["readers"].as_array().is_some_and(|readers| readers.len() == 1);
        until_place(&api, "$Default", Some(partition), "the reader to be known", is_one).await?;
        send(&hub, &["press"], 1 + EACH).await?;
        for number in EACH..2 * EACH {
            ensure!(latest.until("read").await?["sequenceNumber"] == number, "what was there before came, or something was passed over");
            ensure!(in_group.until("read").await?["sequenceNumber"] == number);
        }
        if let Sdk::Node = sdk {
            // Python's client tries again for ever, and says nothing of it.
            fails_with(&mut reader("nobody", "\"-1\"", None)?, &["consumer group"]).await?;
        }

        let mut first = reader("$Default", "\"-1\"", Some(level))?;
        first.until("read").await?;
        fails_with(&mut latest, &words).await?;
        let mut higher = reader("$Default", "\"-1\"", Some(level + 1))?;
        higher.until("read").await?;
        fails_with(&mut first, &words).await?;
        let mut lower = reader("$Default", "\"-1\"", Some(level))?;
        fails_with(&mut lower, &["higher epoch"]).await?;
        send(&hub, &["press"], 1 + 2 * EACH).await?;
        let seen = async {
            while higher.until("read").await?["sequenceNumber"] != 3 * EACH - 1 {}
            anyhow::Ok(())
        };
        within("the reader with the highest epoch to read on", seen).await??;
        in_group.still_runs()
    })
}

/// Waits until a failure is reported whose text has one of the words.
async fn fails_with(reader: &mut Actor, words: &[&str]) -> Result<()> {
    let failing = async {
        loop {
            let failed = reader.until("failed").await?;
            if words.iter().any(|word| failed["error"].as_str().is_some_and(|error| error.contains(word))) {
                return anyhow::Ok(());
            }
        }
    };
    within(&format!("a failure about {words:?}"), failing).await?
}

#[test]
fn python_event_processor_goes_on_after_the_hub_was_killed() -> Result<()> {
    goes_on_after_the_hub_was_killed(Sdk::Python)
}

#[test]
fn node_event_processor_goes_on_after_the_hub_was_killed() -> Result<()> {
    goes_on_after_the_hub_was_killed(Sdk::Node)
}

fn goes_on_after_the_hub_was_killed(sdk: Sdk) -> Result<()> {
    isolated(async move || {
        let mut hub = Hub::start(&DEVICES[..4]).await?;
        let store = tempfile::tempdir()?;
        let mut seen = Seen::default();
        let mut processors = vec![processor(sdk, "amqp", &hub, store.path())?];
        send(&hub, &DEVICES[..4], 1).await?;
        seen.until_all(&hub, &mut processors).await?;

        hub.kill9().await?;
        hub.restart().await?;
        send(&hub, &DEVICES[..4], 1 + EACH).await?;
        seen.until_all(&hub, &mut processors).await?;

        // One that begins anew begins where the other was, and not before.
        processors[0].kill9().await?;
        let read_before = seen.0.clone();
        send(&hub, &DEVICES[..4], 1 + 2 * EACH).await?;
        let mut processor = processor(sdk, "amqp", &hub, store.path())?;
        let mut again = Seen::default();
        let new = usize::from(EACH) * 4;
        while again.0.difference(&read_before).count() < new {
            again.note(&processor.next().await?)?;
        }
        // What was read and not yet remembered when it was killed may come once more.
        let repeated = again.0.intersection(&read_before).count();
        ensure!(repeated <= usize::from(EACH) * 2, "{repeated} of {} events came once more", read_before.len());
        Ok(())
    })
}

#[test]
fn python_event_processors_share_eight_partitions() -> Result<()> {
    share_eight_partitions(Sdk::Python, "amqp")
}

#[test]
fn node_event_processors_share_eight_partitions() -> Result<()> {
    share_eight_partitions(Sdk::Node, "amqp")
}

#[test]
fn node_event_processors_share_eight_partitions_over_websockets() -> Result<()> {
    share_eight_partitions(Sdk::Node, "ws")
}

/// One is killed, one is added, and nothing stays unread.
fn share_eight_partitions(sdk: Sdk, transport: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = Options::default().argument("--partitions").argument(&PARTITIONS.to_string()).devices(&DEVICES).start().await?;
        let store = tempfile::tempdir()?;
        let mut seen = Seen::default();
        let mut processors = vec![processor(sdk, transport, &hub, store.path())?];
        send(&hub, &DEVICES, 1).await?;
        let spread: BTreeSet<u16> = Events::all(&hub).await?.iter().map(|event| event.partition).collect();
        ensure!(spread.len() == usize::from(PARTITIONS), "events in {spread:?} alone");
        seen.until_all(&hub, &mut processors).await?;

        let mut second = processor(sdk, transport, &hub, store.path())?;
        second.until("claimed").await?;
        processors.push(second);
        send(&hub, &DEVICES, 1 + EACH).await?;
        seen.until_all(&hub, &mut processors).await?;

        processors.remove(0).kill9().await?;
        send(&hub, &DEVICES, 1 + 2 * EACH).await?;
        seen.until_all(&hub, &mut processors).await?;

        let mut third = processor(sdk, transport, &hub, store.path())?;
        third.until("claimed").await?;
        processors.push(third);
        send(&hub, &DEVICES, 1 + 3 * EACH).await?;
        seen.until_all(&hub, &mut processors).await
    })
}

fn processor(sdk: Sdk, transport: &str, hub: &Hub, store: &Path) -> Result<Actor> {
    sdk.script("event_processor", hub, transport)?.env("STORE", store).start()
}

/// What processors have read: partition and number.
#[derive(Default)]
struct Seen(BTreeSet<(u16, u64)>);

impl Seen {
    fn note(&mut self, said: &Value) -> Result<()> {
        if said["event"] == "read" {
            let (Some(partition), Some(number)) = (said["partition"].as_u64(), said["sequenceNumber"].as_u64()) else { bail!("{said}") };
            self.0.insert((u16::try_from(partition)?, number));
        }
        Ok(())
    }

    /// Listens to one or two processors until they have read everything that the hub keeps.
    async fn until_all(&mut self, hub: &Hub, processors: &mut [Actor]) -> Result<()> {
        let all: BTreeSet<_> = Events::all(hub).await?.iter().map(|event| (event.partition, event.sequence_number)).collect();
        let read = self.until_seen(&all, processors).await;
        read.with_context(|| format!("unread: {:?}", all.difference(&self.0).collect::<Vec<_>>()))
    }

    async fn until_seen(&mut self, all: &BTreeSet<(u16, u64)>, processors: &mut [Actor]) -> Result<()> {
        while !all.is_subset(&self.0) {
            let said = match processors {
                [one] => one.next().await?,
                // Whoever speaks first. A line is not lost when the other one was faster.
                [one, other] => tokio::select! {
                    said = one.next() => said?,
                    said = other.next() => said?,
                },
                others => bail!("{} processors", others.len()),
            };
            self.note(&said)?;
        }
        Ok(())
    }
}
