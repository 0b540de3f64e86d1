//! `$management`: who is told what there is to read, and by what right.

use serde_amqp::Value as Foreign;

use super::*;
use crate::ops::world::event_hubs_token;
use crate::store::EventBatch;

const EVENT_HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// A receiver of answers with a name of its own.
fn answers(handle: u32, target: Option<&str>) -> Attach {
    let target = target.map(|name| AnyTarget::Target(Box::new(Target { address: Some(name.into()), ..Target::default() })));
    Attach { target, ..receiver("$management", handle) }
}

fn request(id: MessageId<'static>, reply_to: Option<&'static str>, properties: &[(&'static str, &str)]) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned().into());
    let all = [("operation", "READ")].iter().chain(properties);
    bytes_of(&Message {
        properties: Properties { message_id: Some(id), reply_to: reply_to.map(Into::into), ..Properties::default() },
        application_properties: all.map(|(name, value)| ((*name).into(), text(value))).collect(),
        ..Message::default()
    })
}

/// What an answer says: its code, and the properties.
fn answer(payload: &[u8], id: &MessageId<'_>) -> (i32, Vec<(String, Foreign)>) {
    let message = message::read(payload).unwrap();
    assert_eq!(message.properties.correlation_id.as_ref(), Some(id));
    let code = message.application_properties.iter().find(|(name, _)| name == "status-code").map(|(_, value)| value.clone());
    let (Some(Value::Int(code)), Body::Value(body)) = (code, message.body) else { panic!("no answer") };
    let entry = |(key, value): (Foreign, Foreign)| match key {
        Foreign::String(key) => (key, value),
        other => panic!("{other:?}"),
    };
    match serde_amqp::from_slice(&body).unwrap() {
        Foreign::Map(map) => (code, map.into_iter().map(entry).collect()),
        Foreign::Null => (code, Vec::new()),
        other => panic!("{other:?}"),
    }
}

fn value<'a>(entries: &'a [(String, Foreign)], name: &str) -> &'a Foreign {
    &entries.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1
}

impl Client {
    /// A stranger with a pair of links, at handles 0 and 1.
    async fn asking(world: &World, target: Option<&str>) -> Self {
        let mut client = Self::open(world).await;
        client.attach(sender("$management", 0)).await.unwrap();
        assert!(matches!(client.hear().await, Performative::Flow(_)));
        client.attach(answers(1, target)).await.unwrap();
        client.say(&Performative::Flow(credit(1, 0, 100))).await;
        client
    }

    /// Asks with a settled message, as Java does.
    async fn ask(&mut self, reply_to: Option<&'static str>, properties: &[(&'static str, &str)]) -> (i32, Vec<(String, Foreign)>) {
        let id = MessageId::Ulong(u64::from(self.next_delivery));
        let transfer = Transfer { settled: Some(true), ..delivery(0, self.next_delivery) };
        self.next_delivery += 1;
        self.send(&said(0, &Performative::Transfer(transfer), &request(id.clone(), reply_to, properties))).await;
        loop {
            match self.heard().await {
                Some(Heard::Frame(_, Performative::Transfer(transfer), payload)) => {
                    assert_eq!(transfer.handle, 1);
                    return answer(&payload, &id);
                }
                Some(Heard::Frame(_, Performative::Flow(_), _)) => {}
                other => panic!("an answer was due, not {other:?}"),
            }
        }
    }
}

/// Before it has shown a token anywhere else.
#[tokio::test(start_paused = true)]
async fn java_asks_with_a_token_in_its_request_and_is_trusted_then() {
    let world = World::new();
    let mut client = Client::asking(&world, Some("management-client-reply-to")).await;
    let token = event_hubs_token("amqp://hub.example/hub", "service");
    let reply_to = Some("management-client-reply-to");
    let (code, hub) = client.ask(reply_to, &[("name", "hub"), ("type", EVENT_HUB), ("security_token", &token)]).await;
    assert_eq!(code, 200);
    assert_eq!(value(&hub, "name"), &Foreign::String("hub".into()));
    assert_eq!(value(&hub, "partition_count"), &Foreign::Int(4));
    let Foreign::Array(ids) = value(&hub, "partition_ids") else { panic!("no array") };
    assert_eq!(ids.0, ["0", "1", "2", "3"].map(|id| Foreign::String(id.into())));
    // What it has shown lasts, and a stranger's limits are gone.
    for handle in 2..8 {
        client.attach(receiver(&format!("hub/ConsumerGroups/$Default/Partitions/{}", handle % 4), handle)).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(client.ask(reply_to, &[("name", "hub"), ("type", EVENT_HUB)]).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_partitions_properties_are_what_it_holds() {
    let world = World::new();
    let mut client = Client::asking(&world, None).await;
    let token = event_hubs_token("sb://hub.example/hub/$management", "service");
    let ask = [("name", "messages/events"), ("type", PARTITION), ("partition", "2"), ("security_token", token.as_str())];
    let (code, empty) = client.ask(None, &ask).await;
    assert_eq!((code, value(&empty, "last_enqueued_sequence_number")), (200, &Foreign::Long(-1)));
    assert_eq!(
        (value(&empty, "last_enqueued_offset"), value(&empty, "is_partition_empty")),
        (&Foreign::String("-1".into()), &Foreign::Bool(true))
    );
    for _ in 0..2 {
        world.log.try_append(&mut EventBatch { enqueued_time: NOW, bytes: vec![7], ends: vec![(PartitionId(2), 1)] }).unwrap();
    }
    let (_, filled) = client.ask(None, &ask).await;
    assert_eq!(value(&filled, "begin_sequence_number"), &Foreign::Long(0));
    assert_eq!(value(&filled, "last_enqueued_sequence_number"), &Foreign::Long(1));
    assert_eq!(value(&filled, "is_partition_empty"), &Foreign::Bool(false));
    assert_eq!(value(&filled, "partition"), &Foreign::String("2".into()));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_know_is_told_nothing_and_what_is_not_there_is_told_to_the_others() {
    let world = World::with_device("D").await;
    let mut client = Client::asking(&world, None).await;
    let hub = [("name", "hub"), ("type", EVENT_HUB)];
    assert_eq!(client.ask(None, &hub).await, (401, Vec::new()));
    for token in [
        event_hubs_token("sb://hub.example/hub", "device"),
        event_hubs_token("sb://hub.example/hub/ConsumerGroups/$Default", "service"),
        event_hubs_token("sb://other.example/hub", "service"),
        device_token("D", 1),
        "nonsense".to_owned(),
    ] {
        let asked = tokio::time::Instant::now();
        let (code, told) = client.ask(None, &[hub[0], hub[1], ("security_token", &token)]).await;
        assert_eq!((code, told.len()), (401, 0), "{token}");
        assert!(asked.elapsed() >= Duration::from_millis(100), "as everybody is refused");
    }
    let token = event_hubs_token("sb://hub.example/hub", "service");
    for (asked, code) in [
        (&[("name", "hub"), ("type", EVENT_HUB)][..], 200),
        (&[("name", "other"), ("type", EVENT_HUB)], 404),
        (&[("name", "hub"), ("type", PARTITION), ("partition", "4")], 404),
        (&[("name", "hub"), ("type", PARTITION), ("partition", "x")], 404),
        (&[("name", "hub"), ("type", PARTITION)], 400),
        (&[("name", "hub"), ("type", "com.microsoft:consumergroup")], 400),
    ] {
        let all: Vec<_> = asked.iter().copied().chain([("security_token", token.as_str())]).collect();
        assert_eq!(client.ask(None, &all).await.0, code, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_connections_speaks_for_requests_without_one() {
    let world = World::new();
    let mut client = super::back_ends::back_end(&world).await;
    client.attach(sender("hub/$management", 2)).await.unwrap();
    assert!(matches!(client.hear().await, Performative::Flow(_)));
    // As Go names its end, and another beside it.
    for (handle, target) in [(3, "a1b2"), (4, "c3d4")] {
        client.attach(answers(handle, Some(target))).await.unwrap();
        client.say(&Performative::Flow(credit(handle, 0, 1))).await;
    }
    for (reply_to, expected) in [("c3d4", 4), ("a1b2", 3)] {
        let id = MessageId::String(reply_to.into());
        client.transfer(2, &request(id.clone(), Some(reply_to), &[("name", "HUB"), ("type", EVENT_HUB)])).await;
        let (mut answered, mut is_accepted) = (false, false);
        while !answered || !is_accepted {
            match client.heard().await {
                Some(Heard::Frame(_, Performative::Transfer(transfer), payload)) => {
                    assert_eq!((transfer.handle, answer(&payload, &id).0), (expected, 200));
                    answered = true;
                }
                Some(Heard::Frame(_, Performative::Disposition(said), _)) => is_accepted = said.state == Some(accepted()),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// So many links, and so long, and no more: as for everybody who has shown nothing.
#[tokio::test(start_paused = true)]
async fn a_stranger_stays_one() {
    let world = World::new();
    let mut client = Client::asking(&world, None).await;
    for handle in [2, 3] {
        client.attach(answers(handle, None)).await.unwrap();
    }
    let refused = client.attach(answers(4, None)).await.unwrap_err();
    assert_eq!(refused.condition, AmqpError::ResourceLimitExceeded.into());
    assert!(!client.rest().await.is_empty());
}
