//! Readers of partitions: where they begin, what they are given, who has to go for whom, and what ends them.

use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::messaging::FilterSet;
use fe2o3_amqp_types::primitives::{Array, Symbol};
use serde_amqp::Value as Foreign;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::back_ends::back_end;
use super::proofs::sasl;
use super::*;
use crate::amqp::engine::tests::peer::disposition;
use crate::core::consumer_group::ConsumerGroup;
use crate::core::message::encoding::EncodedAnnotations;
use crate::core::time::UnixMillis;
use crate::ops::policies::replace_policies;
use crate::ops::world::event_hubs_token;
use crate::store::EventBatch;

const PARTITION: &str = "hub/ConsumerGroups/$Default/Partitions/1";
const OFFSET: &str = "amqp.annotation.x-opt-offset";

/// A receiver of a partition.
fn reader(address: &str, handle: u32) -> Attach {
    receiver(address, handle)
}

fn with_selector(selector: &str, attach: Attach) -> Attach {
    let value = Foreign::String(selector.to_owned());
    let described = Described { descriptor: Descriptor::Code(0x0000_468C_0000_0004), value };
    with_filter("apache.org:selector-filter:string", Foreign::Described(Box::new(described)), attach)
}

fn with_filter(name: &str, filter: Foreign, attach: Attach) -> Attach {
    let mut source = attach.source.unwrap();
    source.filter = Some(FilterSet::from_iter([(Symbol::from(name), filter)]));
    Attach { source: Some(source), ..attach }
}

fn with_epoch(epoch: i64, attach: Attach) -> Attach {
    with_property("com.microsoft:epoch", Foreign::Long(epoch), attach)
}

fn with_property(name: &str, value: Foreign, attach: Attach) -> Attach {
    let mut properties = Fields::new();
    properties.insert(name.into(), value);
    Attach { properties: Some(properties), ..attach }
}

fn append(world: &World, partition: u16, messages: &[Message<'_>]) {
    let mut batch = EventBatch { enqueued_time: world.hub.now(), ..EventBatch::default() };
    for message in messages {
        encoding::encode(message, &EncodedAnnotations::default(), &mut batch.bytes);
        batch.ends.push((PartitionId(partition), batch.bytes.len()));
    }
    world.log.try_append(&mut batch).unwrap();
}

/// Appends so many messages to partition 1.
fn append_some(world: &World, count: usize) {
    append(world, 1, &vec![payload("event"); count]);
}

fn annotation(message: &Message<'_>, name: &str) -> Option<Value<'static>> {
    let found = message.annotations.iter().rev().find(|(known, _)| known == name)?;
    Some(match &found.1 {
        Value::Long(number) => Value::Long(*number),
        Value::Timestamp(time) => Value::Timestamp(*time),
        Value::String(text) => Value::String(text.to_string().into()),
        other => panic!("{other:?}"),
    })
}

impl Client {
    async fn grant(&mut self, handle: u32, received: u32, more: u32) {
        self.say(&Performative::Flow(credit(handle, received, more))).await;
    }

    /// The next event's number, on this handle.
    async fn event(&mut self, handle: u32) -> i64 {
        let (transfer, bytes) = self.hear_transfer().await;
        assert_eq!(transfer.handle, handle);
        let message = message::read(&bytes).unwrap();
        let Some(Value::Long(number)) = annotation(&message, "x-opt-sequence-number") else { panic!("no number") };
        number
    }

    async fn events(&mut self, handle: u32, count: usize) -> Vec<i64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.event(handle).await);
        }
        numbers
    }

    /// An answer comes, and nothing else before it.
    async fn hears_nothing(&mut self) {
        assert_eq!(self.put_token(HUB, "nonsense").await, 401);
    }

    /// Why a reader is not let in: it is granted, and ended at once.
    async fn not_read(&mut self, attach: Attach) -> Error {
        let handle = attach.handle;
        self.attach(attach).await.expect("Event Hubs' links are granted before they are refused");
        self.ended(handle).await
    }

    async fn ended(&mut self, handle: u32) -> Error {
        let (ended, error) = self.detached().await;
        assert_eq!(ended, handle);
        self.say(&detach(handle)).await;
        error.unwrap()
    }
}

fn custom(error: &Error) -> &str {
    match &error.condition {
        ErrorCondition::Custom(name) => name.as_str(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_position_is_a_beginning() {
    let world = World::new();
    append_some(&world, 2);
    world.clock.0.fetch_add(1000, Ordering::Relaxed);
    append_some(&world, 1);
    let mut client = back_end(&world).await;
    let time = |sign: &str, time: i64| format!("amqp.annotation.x-opt-enqueued-time {sign} '{time}'");
    let attach = with_filter("apache.org:selector-filter:string", Foreign::Null, reader(PARTITION, 20));
    client.attach(attach).await.expect("null is no filter");
    client.grant(20, 0, 1).await;
    assert_eq!(client.event(20).await, 0, "null is no filter, so it begins at the beginning");
    for (handle, (selector, expected)) in (2..).zip([
        (None, &[0, 1, 2][..]),
        (Some(format!("{OFFSET} > '-1'")), &[0, 1, 2]),
        (Some(format!("{OFFSET} > '0'")), &[1, 2]),
        (Some(format!("{OFFSET} >= '0'")), &[0, 1, 2]),
        (Some("amqp.annotation.x-opt-sequence-number > '1'".to_owned()), &[2]),
        (Some("amqp.annotation.x-opt-sequence-number >= '1'".to_owned()), &[1, 2]),
        (Some(time(">", NOW.0)), &[2]),
        (Some(time(">=", NOW.0)), &[0, 1, 2]),
        (Some(time(">", 0)), &[0, 1, 2]),
        (Some(time(">", NOW.0 + 1000)), &[]),
        (Some(format!("{OFFSET} > '2'")), &[]),
        (Some(format!("{OFFSET} > '@latest'")), &[]),
    ]) {
        let attach = reader(PARTITION, handle);
        client.attach(selector.iter().fold(attach, |attach, selector| with_selector(selector, attach))).await.unwrap();
        client.grant(handle, 0, 100).await;
        assert_eq!(client.events(handle, expected.len()).await, expected, "{selector:?}");
        client.hears_nothing().await;
        client.say(&detach(handle)).await;
        assert_eq!(client.detached().await.0, handle);
    }
}

/// Nothing that came after the attach is passed over, however late the credit is.
#[tokio::test(start_paused = true)]
async fn the_end_is_where_it_was_at_the_attach() {
    let world = World::new();
    append_some(&world, 2);
    let mut client = back_end(&world).await;
    client.attach(with_selector(&format!("{OFFSET} > '@latest'"), reader(PARTITION, 2))).await.unwrap();
    append_some(&world, 1);
    client.hears_nothing().await;
    append_some(&world, 1);
    client.grant(2, 0, 1).await;
    assert_eq!(client.event(2).await, 2);
    client.hears_nothing().await;
    client.grant(2, 1, 10).await;
    assert_eq!(client.event(2).await, 3);
    append(&world, 2, &[payload("another partition's")]);
    append_some(&world, 2);
    assert_eq!(client.events(2, 2).await, [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_filters_that_hold_are_told() {
    let world = World::new();
    let mut client = back_end(&world).await;
    let attach = with_selector(&format!("{OFFSET} > '@latest'"), reader(PARTITION, 2));
    let wished = Array(vec![Symbol::from("com.microsoft:georeplication"), Symbol::from("com.microsoft:enable-receiver-runtime-metric")]);
    let filter = attach.source.as_ref().unwrap().filter.clone();
    let attach = Attach { desired_capabilities: Some(wished), ..attach };
    client.say(&Performative::Attach(Box::new(attach))).await;
    let Performative::Attach(answer) = client.hear().await else { panic!("an attach was due") };
    assert_eq!(answer.source.unwrap().filter, filter);
    let offered: Vec<String> = answer.offered_capabilities.unwrap().0.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(offered, ["com.microsoft:enable-receiver-runtime-metric"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_what_was_sent_and_what_the_hub_says_of_it() {
    let world = World::with_device("D").await;
    let mut device = Client::sending(&world).await;
    let sent = Message {
        annotations: vec![("iothub-interface-id".into(), Value::Symbol("dtmi:x".into()))],
        properties: Properties {
            message_id: Some(MessageId::Uuid([7; 16])),
            user_id: Some(b"me"[..].into()),
            content_type: Some("application/json".into()),
            correlation_id: Some(MessageId::Ulong(9)),
            ..Properties::default()
        },
        application_properties: vec![
            ("temperature".into(), Value::Double(21.5)),
            ("count".into(), Value::Int(-7)),
            ("at".into(), Value::Timestamp(UnixMillis(5))),
            ("on".into(), Value::Boolean(true)),
        ],
        body: Body::Data(vec![b"{\"a\":"[..].into(), b"1}"[..].into()]),
    };
    let id = device.transfer(2, &bytes_of(&sent)).await;
    device.is_accepted(id).await;

    let partition = PartitionId::of_device(&DeviceId::parse("D").unwrap(), world.hub.events.partition_count());
    let mut client = back_end(&world).await;
    let wished = Array(vec![Symbol::from("com.microsoft:enable-receiver-runtime-metric")]);
    let attach = reader(&format!("amqps://hub.example/HUB/consumergroups/$default/Partitions/{partition}"), 2);
    client.attach(Attach { desired_capabilities: Some(wished), ..attach }).await.unwrap();
    client.grant(2, 0, 1).await;
    let (transfer, bytes) = client.hear_transfer().await;
    assert_eq!((transfer.settled, transfer.message_format), (Some(true), Some(0)));
    // Delivery annotations come first.
    assert_eq!(&bytes[..3], &[0x00, 0x53, 0x71]);
    let told = String::from_utf8_lossy(&bytes[..160]).into_owned();
    for name in ["last_enqueued_sequence_number", "last_enqueued_offset", "last_enqueued_time_utc", "runtime_info_retrieval_time_utc"] {
        assert!(told.contains(name), "{name}");
    }
    let event = message::read(&bytes).unwrap();
    let to = Some("/devices/D/messages/events".into());
    assert_eq!(event.properties, Properties { to, ..sent.properties.clone() });
    assert_eq!((&event.application_properties, &event.body), (&sent.application_properties, &sent.body));
    for (name, value) in [
        ("x-opt-sequence-number", Value::Long(0)),
        ("x-opt-offset", Value::String("0".into())),
        ("x-opt-enqueued-time", Value::Timestamp(NOW)),
        ("iothub-enqueuedtime", Value::Timestamp(NOW)),
        ("iothub-connection-device-id", Value::String("D".into())),
        ("iothub-message-source", Value::String("Telemetry".into())),
    ] {
        assert_eq!(annotation(&event, name), Some(value), "{name}");
    }
    assert!(event.annotations.contains(&("iothub-interface-id".into(), Value::Symbol("dtmi:x".into()))));
}

#[tokio::test(start_paused = true)]
async fn large_events_and_many_of_them_arrive_whole_and_in_order() {
    const COUNT: usize = 40;
    let world = World::new();
    let large = Message { body: Body::Data(vec![vec![7; 40_000].into()]), ..Message::default() };
    append(&world, 1, &vec![large; COUNT]);
    append(&world, 2, &vec![payload("small"); COUNT]);
    let mut client = back_end(&world).await;
    for (handle, partition) in [(2, 1), (3, 2)] {
        client.attach(reader(&format!("hub/ConsumerGroups/$Default/Partitions/{partition}"), handle)).await.unwrap();
        client.grant(handle, 0, 1000).await;
    }
    let mut next = [0, 0];
    while next != [COUNT, COUNT] {
        let (transfer, bytes) = client.hear_transfer().await;
        let at = usize::try_from(transfer.handle).unwrap() - 2;
        let tag = u64::try_from(next[at]).unwrap().to_be_bytes();
        assert_eq!(transfer.delivery_tag.unwrap().as_bytes(), tag);
        assert!(bytes.len() > [40_000, 5][at]);
        next[at] += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn drained_credit_is_used_for_what_there_is_and_given_back() {
    let world = World::new();
    append_some(&world, 3);
    let mut client = back_end(&world).await;
    client.attach(reader(PARTITION, 2)).await.unwrap();
    let drain = |received, more| {
        let mut flow = credit(2, received, more);
        flow.drain = true;
        Performative::Flow(flow)
    };
    for (granted, given, count) in [(2, &[0, 1][..], 2), (10, &[2], 12), (5, &[], 17)] {
        client.say(&drain(count - granted, granted)).await;
        assert_eq!(client.events(2, given.len()).await, given);
        let Performative::Flow(drained) = client.hear().await else { panic!("a flow was due") };
        assert_eq!((drained.handle, drained.delivery_count, drained.link_credit), (Some(2), Some(count), Some(0)));
    }
    append_some(&world, 1);
    client.hears_nothing().await;
    client.grant(2, 17, 1).await;
    assert_eq!(client.event(2).await, 3);
}

#[tokio::test(start_paused = true)]
async fn who_settles_is_asked_to_and_forgotten_then() {
    let world = World::new();
    append_some(&world, 2);
    let mut client = back_end(&world).await;
    client.attach(Attach { snd_settle_mode: Some(0), rcv_settle_mode: Some(1), ..reader(PARTITION, 2) }).await.unwrap();
    client.grant(2, 0, 10).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (transfer, _) = client.hear_transfer().await;
        assert_eq!(transfer.settled, Some(false));
        ids.push(transfer.delivery_id.unwrap());
    }
    for id in ids {
        client.say(&disposition(Role::Receiver, id, id, false, Some(accepted()))).await;
        let Performative::Disposition(answer) = client.hear().await else { panic!("a disposition was due") };
        assert!(answer.settled && answer.role == Role::Sender && answer.first == id);
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_steals_from_those_below_it_and_its_equals() {
    let world = World::new();
    append_some(&world, 1);
    let (mut first, mut second) = (back_end(&world).await, back_end(&world).await);
    first.attach(reader(PARTITION, 2)).await.unwrap();
    first.grant(2, 0, 10).await;
    assert_eq!(first.event(2).await, 0);

    second.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(first.ended(2).await.condition, LinkError::Stolen.into());
    append_some(&world, 1);
    second.grant(2, 0, 10).await;
    assert_eq!(second.events(2, 2).await, [0, 1]);
    first.hears_nothing().await;

    let refused = first.not_read(reader(PARTITION, 2)).await;
    assert_eq!(refused.condition, LinkError::Stolen.into());
    first.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(second.ended(2).await.condition, LinkError::Stolen.into());
    second.attach(with_epoch(3, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(first.ended(2).await.condition, LinkError::Stolen.into());
    let refused = first.not_read(with_epoch(2, reader(PARTITION, 2))).await;
    assert_eq!(refused.condition, LinkError::Stolen.into());
    assert!(refused.description.unwrap().contains("higher epoch '3'"));
    // Another partition, and another group, are not meant.
    first.attach(with_epoch(0, reader("hub/ConsumerGroups/$Default/Partitions/2", 3))).await.unwrap();

    // A reader that goes leaves its seat.
    second.say(&detach(2)).await;
    assert_eq!(second.detached().await.0, 2);
    first.attach(reader(PARTITION, 2)).await.unwrap();
    first.grant(2, 0, 1).await;
    assert_eq!(first.event(2).await, 0);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn five_read_beside_one_another_and_a_lost_connection_leaves_its_seats() {
    let world = World::new();
    world.hub.consumer_groups.replace(vec![ConsumerGroup::parse("Analytics").unwrap()]);
    let (mut client, mut other) = (back_end(&world).await, back_end(&world).await);
    for handle in 2..7 {
        client.attach(reader(PARTITION, handle)).await.unwrap();
    }
    let refused = other.not_read(reader(PARTITION, 2)).await;
    assert_eq!(refused.condition, AmqpError::ResourceLimitExceeded.into());
    other.attach(reader("hub/ConsumerGroups/analytics/Partitions/1", 2)).await.unwrap();
    let Client { stream, served, .. } = client;
    drop(stream);
    served.await.unwrap();
    other.attach(reader(PARTITION, 3)).await.unwrap();
    // A group that goes takes its readers with it.
    world.hub.consumer_groups.replace(Vec::new());
    assert_eq!(other.ended(2).await.condition, AmqpError::ResourceDeleted.into());
    other.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_is_told_why_and_takes_nobodys_seat() {
    let world = World::new();
    append_some(&world, 2);
    let (mut holder, mut client) = (back_end(&world).await, back_end(&world).await);
    holder.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    let alone = |attach| with_epoch(1, attach);
    let selector = |text: &str| with_selector(text, alone(reader(PARTITION, 2)));
    for (attach, condition) in [
        (alone(reader("other/ConsumerGroups/$Default/Partitions/1", 2)), ErrorCondition::from(AmqpError::NotFound)),
        (alone(reader("hub/ConsumerGroups/nobody/Partitions/1", 2)), AmqpError::NotFound.into()),
        (selector("amqp.annotation.x-opt-offset > 'no offset'"), ErrorCondition::Custom("com.microsoft:argument-error".into())),
        (with_filter("jms-selector", Foreign::String("a = 1".into()), alone(reader(PARTITION, 2))), AmqpError::NotImplemented.into()),
    ] {
        assert_eq!(client.not_read(attach).await.condition, condition);
    }
    for (attach, condition) in [
        (alone(reader("hub/ConsumerGroups/$Default/Partitions/4", 2)), "com.microsoft:argument-out-of-range"),
        (alone(reader("hub/ConsumerGroups/$Default/Partitions/x", 2)), "com.microsoft:argument-out-of-range"),
        // The events it left off at are not the ones that are here.
        (selector("amqp.annotation.x-opt-offset > '2'"), "com.microsoft:argument-error"),
        (selector("amqp.annotation.x-opt-sequence-number >= '3'"), "com.microsoft:argument-error"),
        (with_property("com.microsoft:epoch", Foreign::String("1".into()), reader(PARTITION, 2)), "com.microsoft:argument-error"),
    ] {
        assert_eq!(custom(&client.not_read(attach).await), condition);
    }
    assert_eq!(client.attach(sender(PARTITION, 2)).await.unwrap_err().condition, AmqpError::NotAllowed.into());
    holder.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_its_right_by_a_token_that_covers_its_partition() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into());
    for (audience, token) in [
        ("sb://hub.example/hub/ConsumerGroups/$Default/Partitions/2", "service"),
        ("sb://hub.example/hub/ConsumerGroups/other", "service"),
        ("hub.example/devices", "service"),
    ] {
        assert_eq!(client.put_token(audience, &event_or_policy_token(audience, token)).await, 200, "{audience}");
        assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into(), "{audience}");
    }
    assert_eq!(client.put_token("hub.example", &policy_token("hub.example", "device")).await, 200);
    assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into());
    let audience = "sb://hub.example/hub/consumergroups/$Default";
    assert_eq!(client.put_token(audience, &event_or_policy_token(audience, "service")).await, 200);
    client.attach(reader(PARTITION, 2)).await.unwrap();
    // And by the narrow one, its own.
    client.attach(reader("hub/ConsumerGroups/$Default/Partitions/2", 3)).await.unwrap();
}

fn event_or_policy_token(resource: &str, policy: &str) -> String {
    if resource.starts_with("sb://") { event_hubs_token(resource, policy) } else { policy_token(resource, policy) }
}

#[tokio::test(start_paused = true)]
async fn a_reader_ends_with_its_right_and_nothing_more_leaves() {
    let world = World::new();
    append_some(&world, 1);
    let mut client = Client::with_cbs(&world).await;
    let audience = "sb://hub.example/hub";
    assert_eq!(client.put_token(audience, &event_hubs_token(audience, "service")).await, 200);
    client.attach(reader(PARTITION, 2)).await.unwrap();
    client.grant(2, 0, 10).await;
    assert_eq!(client.event(2).await, 0);
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(66)).await;
    append_some(&world, 1);
    assert_eq!(client.ended(2).await.condition, AmqpError::UnauthorizedAccess.into());

    let mut client = back_end(&world).await;
    client.attach(with_selector(&format!("{OFFSET} > '@latest'"), reader(PARTITION, 2))).await.unwrap();
    client.grant(2, 0, 10).await;
    client.hears_nothing().await;
    let policies = world.hub.policies.current();
    let other = |policy: &crate::core::policy::Policy| crate::core::policy::Policy { primary: key(5), secondary: key(6), ..policy.clone() };
    replace_policies(&world.hub, policies.iter().map(other).collect());
    append_some(&world, 1);
    assert_eq!(client.ended(2).await.condition, AmqpError::UnauthorizedAccess.into());
}

/// The connection's other links go on, and only so much is asked of the disk.
#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_nobody_up() {
    let world = World::with_device("D").await;
    append_some(&world, 3);
    let mut client = back_end(&world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    world.log.hold_reads();
    client.attach(with_selector("amqp.annotation.x-opt-enqueued-time > '0'", reader(PARTITION, 2))).await.unwrap();
    client.attach(reader(PARTITION, 3)).await.unwrap();
    client.grant(2, 0, 2).await;
    client.grant(3, 0, 1).await;
    client.sender_of("D", 4).await;
    let id = client.transfer(4, &text("goes on")).await;
    client.is_accepted(id).await;
    client.hears_nothing().await;
    // Its page arrives when nobody waits for it any more.
    client.say(&detach(3)).await;
    assert_eq!(client.detached().await.0, 3);
    world.log.answer_reads();
    assert_eq!(client.events(2, 2).await, [0, 1]);
    client.hears_nothing().await;
    client.grant(2, 2, 2).await;
    assert_eq!(client.event(2).await, 2);
}

#[tokio::test(start_paused = true)]
async fn how_far_a_group_has_come_is_known() {
    let world = World::new();
    append_some(&world, 3);
    let mut client = back_end(&world).await;
    client.attach(reader(PARTITION, 2)).await.unwrap();
    let stands = |who: &[Option<i64>]| {
        let place = world.hub.consumer_groups.status(&*world.hub.events).remove(0).partitions.remove(1);
        assert_eq!(place.readers.iter().map(|reader| reader.epoch).collect::<Vec<_>>(), who);
        (place.position.map(|position| position.next.0), place.lag())
    };
    assert_eq!(stands(&[None]), (Some(0), Some(3)), "it begins before the first");
    client.grant(2, 0, 2).await;
    assert_eq!(client.events(2, 2).await, [0, 1]);
    client.hears_nothing().await;
    assert_eq!(stands(&[None]), (Some(2), Some(1)));
    let metrics = |world: &World| {
        let mut registry = prometheus_client::registry::Registry::default();
        world.hub.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    assert!(metrics(&world).contains("event_readers 1"));
    client.say(&detach(2)).await;
    assert_eq!(client.detached().await.0, 2);
    assert!(metrics(&world).contains("event_readers 0"));
    append_some(&world, 1);
    assert_eq!(stands(&[]), (Some(2), Some(2)), "it falls behind without a reader");

    // Who steals begins where it says, and the group stands there.
    let mut thief = back_end(&world).await;
    client.attach(with_epoch(0, with_selector(&format!("{OFFSET} > '1'"), reader(PARTITION, 2)))).await.unwrap();
    client.grant(2, 0, 1).await;
    assert_eq!(client.event(2).await, 2);
    client.hears_nothing().await;
    assert_eq!(stands(&[Some(0)]), (Some(3), Some(1)));
    thief.attach(with_epoch(5, with_selector(&format!("{OFFSET} > '0'"), reader(PARTITION, 2)))).await.unwrap();
    assert_eq!(client.ended(2).await.condition, LinkError::Stolen.into());
    assert_eq!(stands(&[Some(5)]), (Some(1), Some(3)));
    thief.grant(2, 0, 10).await;
    assert_eq!(thief.events(2, 3).await, [1, 2, 3]);
    thief.hears_nothing().await;
    assert_eq!(stands(&[Some(5)]), (Some(4), Some(0)));
}

/// Retention takes no notice of readers: who is overtaken goes on where events begin, and what is gone is no lag.
#[tokio::test(start_paused = true)]
async fn who_is_overtaken_by_retention_goes_on_where_events_begin() {
    let world = World::new();
    let large = Message { body: Body::Data(vec![vec![7; 60_000].into()]), ..Message::default() };
    append(&world, 1, &vec![large; 6]);
    let mut client = back_end(&world).await;
    client.attach(reader(PARTITION, 2)).await.unwrap();
    client.grant(2, 0, 1).await;
    assert_eq!(client.event(2).await, 0);
    client.hears_nothing().await;
    world.log.drop_before(PartitionId(1), SequenceNumber(4));
    let lag = || world.hub.consumer_groups.status(&*world.hub.events)[0].partitions[1].lag();
    assert_eq!(lag(), Some(2));
    client.grant(2, 1, 10).await;
    assert_eq!(client.events(2, 2).await, [4, 5]);
    client.hears_nothing().await;
    assert_eq!(lag(), Some(0));
    client.attach(with_selector(&format!("{OFFSET} > '1'"), reader(PARTITION, 3))).await.unwrap();
    client.grant(3, 0, 10).await;
    assert_eq!(client.events(3, 2).await, [4, 5], "one that begins with what is gone");
}

/// Azure's client for Java was seen to name itself, to want to settle second, and to renew its credit one by one. No bytes of it are kept.
#[tokio::test(start_paused = true)]
async fn java_reads_by_what_it_was_seen_to_ask_for() {
    let world = World::new();
    append_some(&world, 2);
    let mut client = Client::with_cbs(&world).await;
    let audience = "amqp://hub.example/hub/ConsumerGroups/$Default/Partitions/1";
    assert_eq!(client.put_token(audience, &event_hubs_token(audience, "service")).await, 200);
    let attach = with_selector(&format!("{OFFSET} > '-1'"), reader(PARTITION, 2));
    let attach = with_property("com.microsoft:receiver-name", Foreign::String("MF_1".into()), attach);
    client.attach(Attach { rcv_settle_mode: Some(1), ..attach }).await.unwrap();
    for number in 0..2 {
        client.grant(2, number, 1).await;
        assert_eq!(client.event(2).await, i64::from(number));
        client.hears_nothing().await;
    }
    let place = world.hub.consumer_groups.status(&*world.hub.events).remove(0).partitions.remove(1);
    let name = place.readers[0].client.as_ref().map(|client| client.name.to_string());
    assert_eq!((name.as_deref(), place.lag()), (Some("MF_1"), Some(0)));
}

/// amenzhinsky's client for Go was seen to bring the policy's key itself, and to begin with a time in the old spelling. No bytes of it are kept.
#[tokio::test(start_paused = true)]
async fn go_reads_by_what_it_was_seen_to_ask_for() {
    let world = World::new();
    append_some(&world, 1);
    world.clock.0.fetch_add(1, Ordering::Relaxed);
    append_some(&world, 1);
    let mut client = Client::dial(&world);
    let response = format!("\0service\0{}", key(101).expose_base64());
    assert_eq!(sasl(&mut client, "PLAIN", Some(response.as_bytes())).await, SaslCode::Ok);
    client.begin(0).await;
    let attach = reader("/hub/ConsumerGroups/$Default/Partitions/1", 0);
    client.attach(with_selector(&format!("amqp.annotation.x-opt-enqueuedtimeutc > '{}'", NOW.0), attach)).await.unwrap();
    client.grant(0, 0, 10).await;
    assert_eq!(client.event(0).await, 1);
}

/// Old readers ask at the hub's own address, and are told where to go; partitions are served there as well.
#[tokio::test(start_paused = true)]
async fn the_hubs_own_address_leads_to_the_events() {
    let world = World::new();
    append_some(&world, 1);
    let mut stranger = Client::open(&world).await;
    let refused = stranger.attach(receiver("messages/events/", 0)).await.unwrap_err();
    assert_eq!(refused.condition, AmqpError::UnauthorizedAccess.into());

    let mut client = back_end(&world).await;
    for (address, rest) in
        [("messages/events/", "/"), ("/messages/events", ""), ("amqps://hub.example/messages/events/$management", "/$management")]
    {
        let redirect = client.attach(receiver(address, 2)).await.unwrap_err();
        assert_eq!(redirect.condition, LinkError::Redirect.into());
        let info = redirect.info.unwrap();
        let of = |name: &str| info.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.clone());
        assert_eq!(of("address"), Some(Foreign::String(format!("amqps://hub.example:5671/hub{rest}"))));
        assert_eq!((of("hostname"), of("network-host")), (Some(Foreign::String(HUB.into())), Some(Foreign::String(HUB.into()))));
        assert_eq!(of("port"), Some(Foreign::Int(5671)));
    }
    client.attach(reader("messages/events/ConsumerGroups/$Default/Partitions/1", 2)).await.unwrap();
    client.grant(2, 0, 1).await;
    assert_eq!(client.event(2).await, 0);
}
