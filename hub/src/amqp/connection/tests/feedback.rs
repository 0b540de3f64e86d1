//! Back ends receive receipts.

use fe2o3_amqp_types::messaging::{Modified, Rejected, Released};
use serde_json::Value as Json;

use super::back_ends::back_end;
use super::*;
use crate::amqp::engine::tests::peer::disposition;
use crate::core::command::Acknowledgement;
use crate::core::principal::By;
use crate::ops::purge_commands::purge_commands;
use crate::ops::send_command::{NewCommand, send_command};

const FEEDBACK: &str = "/messages/serviceBound/feedback";

/// A receipt for a command of this name, which was purged.
async fn receipt(world: &World, name: &'static str) {
    let properties = Properties { message_id: Some(MessageId::String(name.into())), ..Properties::default() };
    let command = NewCommand {
        message: Message { properties, ..payload("go") },
        ack: Acknowledgement::Full,
        sent_by: "service".into(),
        again_of: None,
    };
    send_command(&world.hub, identity("D").device_id, command).await.unwrap();
    purge_commands(&world.hub, &By::the_hub(), identity("D").device_id).await.unwrap();
}

/// A back end with a link for receipts, at handle 2, and some credit.
async fn receiving(world: &World, granted: u32) -> Client {
    let mut client = back_end(world).await;
    client.attach(receiver(FEEDBACK, 2)).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, granted))).await;
    client
}

fn waiting(world: &World) -> usize {
    world.hub.commands.statistics().receipts_waiting
}

impl Client {
    /// The next array: its number, the commands' names, and how often it has been delivered.
    async fn receipts(&mut self) -> (u32, Vec<String>, u8) {
        let (transfer, payload) = self.hear_transfer().await;
        assert_eq!(transfer.delivery_tag.unwrap().as_bytes().len(), 16);
        let message = message::read(&payload).unwrap();
        assert_eq!(message.properties.user_id.as_deref(), Some(HUB.as_bytes()));
        assert_eq!(message.properties.content_type.as_deref(), Some("application/vnd.microsoft.iothub.feedback.json"));
        let Body::Data(sections) = &message.body else { panic!("{:?}", message.body) };
        assert_eq!(sections.len(), 1);
        let receipts: Vec<Json> = serde_json::from_slice(&sections[0]).unwrap();
        let names = receipts.iter().map(|receipt| {
            assert_eq!((&receipt["deviceId"], &receipt["statusCode"]), (&"D".into(), &"Purged".into()));
            receipt["originalMessageId"].as_str().unwrap().to_owned()
        });
        let count = message.annotations.iter().find(|(name, _)| name == "iothub-deliverycount").map(|(_, value)| value.clone());
        let Some(Value::Ubyte(count)) = count else { panic!("{count:?} is no ubyte") };
        (transfer.delivery_id.unwrap(), names.collect(), count)
    }

    async fn settle_receipts(&mut self, number: u32, state: DeliveryState) {
        self.say(&disposition(Role::Receiver, number, number, true, Some(state))).await;
    }

    /// Waits until the hub has acted on all that was said.
    async fn has_been_heard(&mut self, world: &World) {
        assert_eq!(self.put_token(HUB, &policy_token(HUB, "registryRead")).await, 200);
        crate::ops::receive_feedback::receive_feedback(&world.hub, 0).await.unwrap();
    }
}

#[tokio::test]
async fn receipts_come_as_soon_as_they_are_and_each_outcome_means_what_azure_means() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 100).await;
    client.has_been_heard(&world).await;
    let modified = Modified { delivery_failed: Some(true), undeliverable_here: Some(true), message_annotations: None };
    for (name, state, comes_again) in [
        ("read", accepted(), false),
        ("not-wanted", DeliveryState::Rejected(Rejected { error: None }), false),
        ("released", DeliveryState::Released(Released {}), true),
        ("modified", DeliveryState::Modified(modified), true),
    ] {
        receipt(&world, name).await;
        let (number, names, count) = client.receipts().await;
        assert_eq!((&names[..], count), (&[name.to_owned()][..], 1));
        client.settle_receipts(number, state).await;
        if comes_again {
            let (number, names, count) = client.receipts().await;
            assert_eq!((&names[..], count), (&[name.to_owned()][..], 2));
            client.settle_receipts(number, accepted()).await;
        }
        client.has_been_heard(&world).await;
        assert_eq!(waiting(&world), 0, "{name}");
    }
}

#[tokio::test]
async fn what_waits_comes_together_and_no_more_than_credit_allows() {
    let world = World::with_device("D").await;
    for _ in 0..70 {
        receipt(&world, "m").await;
    }
    let mut client = receiving(&world, 1).await;
    let (first, names, _) = client.receipts().await;
    assert_eq!(names.len(), 64);
    client.has_been_heard(&world).await;
    // As Java grants it: one after the other.
    client.settle_receipts(first, accepted()).await;
    client.say(&Performative::Flow(credit(2, 1, 1))).await;
    assert_eq!(client.receipts().await.1.len(), 6);
}

#[tokio::test]
async fn what_a_lost_link_or_connection_had_is_for_the_next() {
    let world = World::with_device("D").await;
    receipt(&world, "m").await;
    let mut client = receiving(&world, 1).await;
    assert_eq!(client.receipts().await.2, 1);
    client.say(&detach(2)).await;
    assert_eq!(client.detached().await.0, 2);
    client.attach(receiver(FEEDBACK, 3)).await.unwrap();
    client.say(&Performative::Flow(credit(3, 0, 1))).await;
    assert_eq!(client.receipts().await.2, 2);
    let mut other = receiving(&world, 1).await;
    drop(client.stream);
    client.served.await.unwrap();
    assert_eq!(other.receipts().await.2, 3);
}

#[tokio::test]
async fn receivers_share_in_turn() {
    let world = World::with_device("D").await;
    let mut clients = [receiving(&world, 100).await, receiving(&world, 100).await];
    for client in &mut clients {
        client.has_been_heard(&world).await;
    }
    for name in ["a", "b", "c", "d"] {
        receipt(&world, name).await;
        let client = &mut clients[usize::from(matches!(name, "b" | "d"))];
        let (number, names, _) = client.receipts().await;
        assert_eq!(names, [name]);
        client.settle_receipts(number, accepted()).await;
        client.has_been_heard(&world).await;
    }
}

#[tokio::test]
async fn a_drain_gives_what_there_is_and_then_the_rest_of_the_credit_back() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 5).await;
    client.has_been_heard(&world).await;
    let drain = |granted, count| {
        let mut flow = credit(2, count, granted);
        flow.drain = true;
        Performative::Flow(flow)
    };
    client.say(&drain(5, 0)).await;
    let Performative::Flow(drained) = client.hear().await else { panic!("a flow was due") };
    assert_eq!((drained.delivery_count, drained.link_credit), (Some(5), Some(0)));
    receipt(&world, "m").await;
    client.say(&drain(5, 5)).await;
    assert_eq!(client.receipts().await.1, ["m"]);
    let Performative::Flow(drained) = client.hear().await else { panic!("a flow was due") };
    assert_eq!((drained.delivery_count, drained.link_credit), (Some(10), Some(0)));
    // It is not over for that.
    client.say(&Performative::Flow(credit(2, 10, 1))).await;
    receipt(&world, "n").await;
    assert_eq!(client.receipts().await.1, ["n"]);
}

#[tokio::test]
async fn what_has_left_is_read_for_a_receiver_that_settles_nothing() {
    let world = World::with_device("D").await;
    let mut client = back_end(&world).await;
    client.attach(Attach { snd_settle_mode: Some(1), ..receiver(FEEDBACK, 2) }).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, 1))).await;
    receipt(&world, "m").await;
    assert_eq!(client.hear_transfer().await.0.settled, Some(true));
    client.has_been_heard(&world).await;
    assert_eq!(waiting(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_settles_nothing() {
    let world = World::with_device("D").await;
    receipt(&world, "m").await;
    let mut client = receiving(&world, 2).await;
    let (late, _, _) = client.receipts().await;
    world.clock.0.fetch_add(60_000, Ordering::Relaxed);
    let (number, _, count) = client.receipts().await;
    assert_eq!(count, 2);
    client.settle_receipts(late, accepted()).await;
    client.has_been_heard(&world).await;
    assert_eq!(waiting(&world), 1);
    client.settle_receipts(number, accepted()).await;
    client.has_been_heard(&world).await;
    assert_eq!(waiting(&world), 0);
}

#[tokio::test]
async fn a_receiver_of_small_messages_gets_fewer_at_a_time() {
    let world = World::with_device("D").await;
    for _ in 0..5 {
        receipt(&world, "m").await;
    }
    let mut client = back_end(&world).await;
    client.attach(Attach { max_message_size: Some(600), ..receiver(FEEDBACK, 2) }).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, 1))).await;
    let (number, names, _) = client.receipts().await;
    assert!((1..5).contains(&names.len()), "{names:?}");
    client.settle_receipts(number, accepted()).await;
    client.attach(Attach { max_message_size: Some(100), ..receiver(FEEDBACK, 3) }).await.unwrap();
    client.say(&Performative::Flow(credit(3, 0, 1))).await;
    let (handle, error) = client.detached().await;
    assert_eq!((handle, condition(error)), (3, LinkError::MessageSizeExceeded.into()));
}

#[tokio::test]
async fn when_the_store_fails_a_receiver_is_sent_away_and_its_connection_stays() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 1).await;
    client.has_been_heard(&world).await;
    world.commands.set_failing(true);
    let command = NewCommand { message: payload("go"), ack: Acknowledgement::None, sent_by: "service".into(), again_of: None };
    assert!(send_command(&world.hub, identity("D").device_id, command).await.is_err());
    let (handle, error) = client.detached().await;
    assert_eq!((handle, condition(error)), (2, LinkError::DetachForced.into()));
    assert_eq!(client.put_token(HUB, "nonsense").await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_settles_late_keeps_eight_arrays_from_the_others_and_no_longer_than_their_locks() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 100).await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        receipt(&world, name).await;
        assert_eq!(client.receipts().await.1, [name]);
    }
    receipt(&world, "i").await;
    client.has_been_heard(&world).await;
    world.clock.0.fetch_add(60_000, Ordering::Relaxed);
    client.say(&Performative::Flow(credit(2, 8, 100))).await;
    let (_, names, count) = client.receipts().await;
    assert_eq!((names.concat().as_str(), count), ("abcdefghi", 2));
}
