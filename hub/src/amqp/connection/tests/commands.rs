//! Commands over AMQP, with the real desk: what reaches the device, and what becomes of it.

use fe2o3_amqp_types::messaging::{Modified, Rejected, Released};

use super::*;
use crate::amqp::engine::tests::peer::disposition;
use crate::core::command::{Acknowledgement, CommandId, Outcome, Settlement};
use crate::ops::receive_feedback::{receive_feedback, settle_feedback};
use crate::ops::send_command::{NewCommand, send_command};

async fn send(world: &World, payload_text: &'static str) -> CommandId {
    let properties = Properties { message_id: Some(MessageId::String("m".into())), ..Properties::default() };
    let message = Message { properties, ..payload(payload_text) };
    let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".into(), again_of: None };
    send_command(&world.hub, identity("D").device_id, command).await.unwrap().id
}

async fn receipts(world: &World) -> Vec<(CommandId, Outcome)> {
    let Some(batch) = receive_feedback(&world.hub, 64).await.unwrap() else { return Vec::new() };
    settle_feedback(&world.hub, batch.token, Settlement::Complete).await.unwrap();
    batch.receipts.iter().map(|receipt| (receipt.command, receipt.outcome)).collect()
}

/// A client with a link on which D receives, at handle 2, and some credit.
async fn receiving(world: &World, granted: u32) -> Client {
    let mut client = Client::with_cbs(world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.attach(receiver(&devicebound("D"), 2)).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, granted))).await;
    client
}

impl Client {
    /// The next command: its number, its payload and how often it has been delivered.
    async fn command(&mut self) -> (u32, Vec<u8>, u8) {
        let (transfer, payload) = self.hear_transfer().await;
        assert_eq!((transfer.handle, transfer.settled), (2, Some(false)));
        assert_eq!(transfer.delivery_tag.unwrap().as_bytes().len(), 16);
        let message = message::read(&payload).unwrap();
        assert_eq!(message.properties.to.as_deref(), Some("/devices/D/messages/deviceBound"));
        let count = message.annotations.iter().find(|(name, _)| name == "iothub-deliverycount").map(|(_, value)| value.clone());
        let Some(Value::Ubyte(count)) = count else { panic!("{count:?} is no ubyte") };
        (transfer.delivery_id.unwrap(), message.body.to_bytes().into_owned(), count)
    }

    /// The end of a drain: the link's delivery-count, and the credit that is left.
    async fn drained(&mut self) -> (u32, u32) {
        match self.hear().await {
            Performative::Flow(Flow { handle: Some(2), drain: true, delivery_count: Some(count), link_credit: Some(left), .. }) => {
                (count, left)
            }
            other => panic!("the end of the drain was due, not {other:?}"),
        }
    }

    async fn settle(&mut self, number: u32, state: DeliveryState) {
        self.say(&disposition(Role::Receiver, number, number, true, Some(state))).await;
    }
}

#[tokio::test]
async fn each_outcome_means_what_azure_means() {
    let world = World::with_device("D").await;
    let [done, refused, here, back] =
        [send(&world, "done").await, send(&world, "refused").await, send(&world, "not here").await, send(&world, "back").await];
    let mut client = receiving(&world, 100).await;
    let modified =
        |failed, here| DeliveryState::Modified(Modified { delivery_failed: failed, undeliverable_here: here, message_annotations: None });
    for (payload, state) in [
        ("done", accepted()),
        ("refused", DeliveryState::Rejected(Rejected { error: None })),
        ("not here", modified(Some(true), Some(true))),
        ("back", DeliveryState::Released(Released {})),
    ] {
        let (number, heard, count) = client.command().await;
        assert_eq!((&heard[..], count), (payload.as_bytes(), 1));
        client.settle(number, state).await;
    }
    for (count, state) in [(2, modified(Some(true), None)), (3, accepted())] {
        let (number, heard, delivered) = client.command().await;
        assert_eq!((&heard[..], delivered), (&b"back"[..], count));
        client.settle(number, state).await;
    }
    // What is answered now comes after all that.
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    let outcomes = receipts(&world).await;
    assert_eq!(outcomes.iter().map(|(command, _)| *command).collect::<Vec<_>>(), [done, refused, here, back]);
    assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Completed).count(), 2);
}

#[tokio::test]
async fn no_more_leave_than_credit_allows_and_a_lost_link_gives_back() {
    let world = World::with_device("D").await;
    for payload in ["a", "b", "c"] {
        send(&world, payload).await;
    }
    let mut client = receiving(&world, 2).await;
    let (first, a, _) = client.command().await;
    let (_, b, _) = client.command().await;
    assert_eq!((&a[..], &b[..]), (&b"a"[..], &b"b"[..]));
    client.settle(first, accepted()).await;
    // An answer comes, and no command before it.
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.say(&detach(2)).await;
    assert_eq!(client.detached().await.0, 2);
    client.attach(receiver(&devicebound("D"), 2)).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, 100))).await;
    let mut again = [client.command().await, client.command().await].map(|(_, payload, count)| (payload, count));
    again.sort();
    assert_eq!(again, [(b"b".to_vec(), 2), (b"c".to_vec(), 1)]);
}

/// Nobody has asked the desk for the device's commands before.
#[tokio::test]
async fn a_drain_brings_what_waits_and_then_takes_the_credit() {
    let world = World::with_device("D").await;
    for payload in ["a", "b"] {
        send(&world, payload).await;
    }
    let mut client = receiving(&world, 0).await;
    let drain = |count, granted| Performative::Flow(Flow { drain: true, ..credit(2, count, granted) });
    client.say(&drain(0, 7)).await;
    for payload in [b"a", b"b"] {
        assert_eq!(client.command().await.1, payload);
    }
    assert_eq!(client.drained().await, (7, 0));
    client.say(&drain(7, 3)).await;
    assert_eq!(client.drained().await, (10, 0));
    send(&world, "c").await;
    client.say(&Performative::Flow(credit(2, 10, 1))).await;
    assert_eq!(client.command().await.1, b"c");
}

#[tokio::test]
async fn telemetry_and_commands_share_a_session() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 10).await;
    client.sender_of("D", 3).await;
    assert_eq!(world.hub.presence.sessions(None, 10).len(), 1);
    send(&world, "go").await;
    let (number, _, _) = client.command().await;
    client.settle(number, accepted()).await;
    let id = client.transfer(3, &text("went")).await;
    client.is_accepted(id).await;
    world.write(Expected::Version(Version(1)), Some(disabled("D"))).await;
    let mut ended = [client.detached().await.0, client.detached().await.0];
    ended.sort_unstable();
    assert_eq!(ended, [2, 3]);
}

/// A receiver that wants everything settled has what has left.
#[tokio::test]
async fn what_has_left_is_done_for_a_receiver_that_settles_nothing() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.attach(Attach { snd_settle_mode: Some(1), ..receiver(&devicebound("D"), 2) }).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, 10))).await;
    let id = send(&world, "go").await;
    let (transfer, _) = client.hear_transfer().await;
    assert_eq!((transfer.handle, transfer.settled), (2, Some(true)));
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    assert_eq!(receipts(&world).await, [(id, Outcome::Completed)]);
}

#[tokio::test]
async fn what_a_back_end_says_does_not_pass_for_what_the_hub_says() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 10).await;
    let annotations = vec![("iothub-deliverycount".into(), Value::Ubyte(77)), ("note".into(), Value::Boolean(true))];
    let message = Message { annotations, ..payload("go") };
    let command = NewCommand { message, ack: Acknowledgement::None, sent_by: "service".into(), again_of: None };
    send_command(&world.hub, identity("D").device_id, command).await.unwrap();
    let (_, bytes) = client.hear_transfer().await;
    let annotations = message::read(&bytes).unwrap().annotations;
    let counts: Vec<_> = annotations.iter().filter(|(name, _)| name == "iothub-deliverycount").map(|(_, value)| value.clone()).collect();
    assert_eq!(counts, [Value::Ubyte(1)]);
}

/// What its device can't take now does not come any nearer to its end by waiting: neither by locks that ran out, nor by rounds in which it
/// never left.
#[tokio::test(start_paused = true)]
async fn a_command_is_delivered_once_for_each_credit_however_often_its_lock_runs_out() {
    let world = World::with_device("D").await;
    let mut client = receiving(&world, 1).await;
    send(&world, "go").await;
    let (late, _, count) = client.command().await;
    assert_eq!(count, 1);
    for _ in 0..30 {
        world.clock.0.fetch_add(61_000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    }
    assert_eq!(receipts(&world).await, []);
    client.say(&Performative::Flow(credit(2, 1, 1))).await;
    let (number, payload, count) = client.command().await;
    assert_eq!((&payload[..], count), (&b"go"[..], 2));
    client.settle(late, accepted()).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    assert_eq!(receipts(&world).await, [], "what settles it has been lost");
    client.settle(number, accepted()).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    assert_eq!(receipts(&world).await.len(), 1);
}

#[tokio::test]
async fn a_drain_brings_all_that_waits_and_that_there_is_credit_for() {
    let world = World::with_device("D").await;
    for _ in 0..20 {
        send(&world, "go").await;
    }
    let mut client = receiving(&world, 0).await;
    let drain = |count, granted| Performative::Flow(Flow { drain: true, ..credit(2, count, granted) });
    client.say(&drain(0, 20)).await;
    for _ in 0..20 {
        client.command().await;
    }
    assert_eq!(client.drained().await, (20, 0));
    // What comes later waits for credit again.
    send(&world, "later").await;
    client.say(&drain(20, 5)).await;
    assert_eq!(client.command().await.1, b"later");
    assert_eq!(client.drained().await, (25, 0));
}

/// A client that settles nothing, and whose window lets a part of a large command through.
async fn half_way(world: &World) -> (Client, CommandId) {
    let properties = Properties { message_id: Some(MessageId::String("m".into())), ..Properties::default() };
    let message = Message { properties, body: Body::Data(vec![vec![7; 6000].into()]), ..Message::default() };
    let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".into(), again_of: None };
    let id = send_command(&world.hub, identity("D").device_id, command).await.unwrap().id;
    let mut client = Client::with_cbs(world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.attach(Attach { snd_settle_mode: Some(1), ..receiver(&devicebound("D"), 2) }).await.unwrap();
    // One transfer has been received: the answer to the token.
    client.say(&Performative::Flow(Flow { next_incoming_id: Some(1), incoming_window: 1, ..credit(2, 0, 10) })).await;
    let Some(Heard::Frame(0, Performative::Transfer(transfer), _)) = client.heard().await else { panic!("a transfer was due") };
    assert!(transfer.more && transfer.settled == Some(true));
    (client, id)
}

#[tokio::test]
async fn what_nobody_settles_is_done_when_it_has_left_whole() {
    let world = World::with_device("D").await;
    let (mut client, id) = half_way(&world).await;
    assert_eq!(receipts(&world).await, []);
    client.say(&Performative::Flow(Flow { next_incoming_id: Some(2), incoming_window: 10, ..credit(2, 1, 10) })).await;
    let Some(Heard::Frame(0, Performative::Transfer(transfer), _)) = client.heard().await else { panic!("a transfer was due") };
    assert!(!transfer.more);
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    assert_eq!(receipts(&world).await, [(id, Outcome::Completed)]);
}

#[tokio::test]
async fn what_nobody_settles_and_left_in_part_waits_for_another_receiver() {
    let world = World::with_device("D").await;
    for is_lost in [true, false] {
        let (mut client, _) = half_way(&world).await;
        let mut other = if is_lost {
            let Client { stream, served, .. } = client;
            drop(stream);
            served.await.unwrap();
            receiving(&world, 0).await
        } else {
            client.say(&detach(2)).await;
            assert_eq!(client.detached().await.0, 2);
            client.attach(receiver(&devicebound("D"), 2)).await.unwrap();
            client
        };
        assert_eq!(receipts(&world).await, []);
        other.say(&Performative::Flow(credit(2, 0, 1))).await;
        let (transfer, _) = other.hear_transfer().await;
        let number = transfer.delivery_id.unwrap();
        other.settle(number, accepted()).await;
        assert_eq!(other.put_token("hub.example/devices/D", &long_token("D")).await, 200);
        assert_eq!(receipts(&world).await.len(), 1);
    }
}
