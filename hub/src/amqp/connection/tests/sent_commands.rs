//! Back ends send commands.

use super::back_ends::{back_end, with_keys};
use super::*;
use crate::core::command::draft::ACKNOWLEDGEMENT_PROPERTY;
use crate::core::command::{Acknowledgement, Command};
use crate::ops::policies::replace_policies;
use crate::ops::read_commands::{CommandFilter, CommandQuery, list_commands};

const DEVICEBOUND: &str = "/messages/devicebound";

/// A back end with a link for commands, at handle 2.
pub(super) async fn commanding(world: &World) -> Client {
    let mut client = back_end(world).await;
    client.commanding(2).await;
    client
}

impl Client {
    async fn commanding(&mut self, handle: u32) {
        self.attach(sender(DEVICEBOUND, handle)).await.unwrap();
        assert!(matches!(self.hear().await, Performative::Flow(flow) if flow.handle == Some(handle) && flow.link_credit == Some(100)));
    }

    async fn is_rejected(&mut self, delivery: u32) -> ErrorCondition {
        let (first, last, state) = self.outcome().await;
        assert_eq!((first, last), (delivery, delivery));
        let DeliveryState::Rejected(rejected) = state else { panic!("{state:?}") };
        condition(rejected.error)
    }
}

pub(super) fn command<'a>(to: &'a str, id: &'a str, ack: Acknowledgement) -> Message<'a> {
    let ack = (ACKNOWLEDGEMENT_PROPERTY.into(), Value::String(ack.name().into()));
    Message {
        properties: Properties { to: Some(to.into()), message_id: Some(MessageId::String(id.into())), ..Properties::default() },
        application_properties: vec![ack],
        ..payload("go")
    }
}

/// What the hub has for its devices, oldest first.
async fn commands(world: &World) -> Vec<Command> {
    let query = CommandQuery { device: None, state: CommandFilter::Any, before: None, limit: 1000 };
    let views = list_commands(&world.hub, query).await.unwrap();
    views.into_iter().rev().map(|view| view.command).collect()
}

fn azure(condition: &str) -> ErrorCondition {
    ErrorCondition::Custom(format!("com.microsoft:{condition}").into())
}

#[tokio::test]
async fn a_command_is_accepted_once_it_is_durable() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    let id = client.transfer(2, &bytes_of(&command(&devicebound("D"), "m-1", Acknowledgement::Negative))).await;
    client.is_accepted(id).await;
    let [command] = &commands(&world).await[..] else { panic!("there is one") };
    assert_eq!((command.message_id.as_deref(), command.ack, &*command.sent_by), (Some("m-1"), Acknowledgement::Negative, "service"));
    assert_eq!(command.device_id.as_str(), "D");
}

#[tokio::test]
async fn many_are_on_their_way_and_answered_in_their_order_while_the_connection_goes_on() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(identity("E"))).await;
    let mut client = commanding(&world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.sender_of("D", 3).await;
    let held = world.commands.hold_commits().await;
    let names: Vec<String> = (0..40).map(|number| format!("m-{number}")).collect();
    let mut first = None;
    for (number, name) in names.iter().enumerate() {
        let to = devicebound(["D", "E", "nobody"][number % 3]);
        let id = client.transfer(2, &bytes_of(&command(&to, name, Acknowledgement::None))).await;
        first.get_or_insert(id);
    }
    let telemetry = client.transfer(3, &text("meanwhile")).await;
    client.is_accepted(telemetry).await;
    drop(held);
    let mut answered = first.unwrap();
    while answered < telemetry {
        let (from, to, state) = client.outcome().await;
        assert_eq!(from, answered);
        assert_eq!(matches!(state, DeliveryState::Rejected(_)), (from - first.unwrap()) % 3 == 2);
        answered = to + 1;
    }
    let wanted: Vec<&String> = names.iter().enumerate().filter(|(number, _)| number % 3 < 2).map(|(_, name)| name).collect();
    let sent = commands(&world).await;
    assert_eq!(sent.iter().map(|command| command.message_id.as_ref().unwrap()).collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn whoever_is_not_served_hears_why() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    let to = devicebound("D");
    let mut large = command(&to, "m", Acknowledgement::None);
    large.body = Body::Data(vec![vec![0; 65 * 1024].into()]);
    let mut far = command(&to, "m", Acknowledgement::None);
    far.properties.absolute_expiry_time = Some(NOW.plus(Duration::from_secs(3 * 86_400)));
    let mut odd = command(&to, "m", Acknowledgement::None);
    odd.application_properties = vec![(ACKNOWLEDGEMENT_PROPERTY.into(), Value::String("sometimes".into()))];
    let nobodys = devicebound("nobody");
    for (message, wanted) in [
        (command(&nobodys, "m", Acknowledgement::None), ErrorCondition::from(AmqpError::NotFound)),
        (command("/devices/D", "m", Acknowledgement::None), azure("argument-error")),
        (command("/devices/D/modules/M/messages/devicebound", "m", Acknowledgement::None), azure("argument-error")),
        (command(&to, "a b", Acknowledgement::None), azure("argument-error")),
        (large, LinkError::MessageSizeExceeded.into()),
        (far, azure("argument-error")),
        (odd, azure("argument-error")),
    ] {
        let id = client.transfer(2, &bytes_of(&message)).await;
        assert_eq!(client.is_rejected(id).await, wanted, "{message:?}");
    }
    let nonsense = client.transfer(2, b"nonsense").await;
    assert_eq!(client.is_rejected(nonsense).await, AmqpError::DecodeError.into());
    for _ in 0..50 {
        let id = client.transfer(2, &bytes_of(&command(&to, "m", Acknowledgement::None))).await;
        client.is_accepted(id).await;
    }
    let id = client.transfer(2, &bytes_of(&command(&to, "m", Acknowledgement::None))).await;
    assert_eq!(client.is_rejected(id).await, AmqpError::ResourceLimitExceeded.into());
    world.commands.set_failing(true);
    let id = client.transfer(2, &bytes_of(&command(&nobodys, "m", Acknowledgement::None))).await;
    assert_eq!(client.is_rejected(id).await, AmqpError::NotFound.into(), "the link is still there");
}

#[tokio::test]
async fn what_can_not_be_written_may_be_tried_again() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    world.commands.set_failing(true);
    let id = client.transfer(2, &bytes_of(&command(&devicebound("D"), "m", Acknowledgement::None))).await;
    assert_eq!(client.is_rejected(id).await, azure("timeout"));
}

/// Node encodes it, the others do not, and an id may hold a percent sign of its own.
#[tokio::test]
async fn a_device_is_found_encoded_or_not() {
    let world = World::with_device("D").await;
    for device in ["a%41", "a:b", "100%"] {
        world.write(Expected::Absent, Some(identity(device))).await;
    }
    let mut client = commanding(&world).await;
    for to in ["a%2541", "a%41", "a%3Ab", "a:b", "100%25", "100%"] {
        let id = client.transfer(2, &bytes_of(&command(&devicebound(to), to, Acknowledgement::None))).await;
        client.is_accepted(id).await;
    }
    let found: Vec<String> = commands(&world).await.iter().map(|command| command.device_id.to_string()).collect();
    assert_eq!(found, ["a%41", "a%41", "a:b", "a:b", "100%", "100%"]);
}

/// Python's and C's senders of the first years say so, and so do people who don't care.
#[tokio::test]
async fn what_was_sent_without_waiting_is_sent_when_its_link_and_its_connection_have_gone() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    let held = world.commands.hold_commits().await;
    for handle in [2, 3] {
        if handle == 3 {
            client.commanding(3).await;
        }
        let settled = Transfer { settled: Some(true), ..delivery(handle, client.next_delivery) };
        client.next_delivery += 1;
        let to = devicebound("D");
        client.send(&said(0, &Performative::Transfer(settled), &bytes_of(&command(&to, "m", Acknowledgement::None)))).await;
        if handle == 2 {
            client.say(&detach(2)).await;
            assert_eq!(client.detached().await.0, 2);
        }
    }
    client.say(&Performative::Close(None)).await;
    assert!(matches!(client.hear().await, Performative::Close(None)));
    drop(held);
    client.rest().await;
    assert_eq!(commands(&world).await.len(), 2);
}

#[tokio::test]
async fn nothing_is_sent_by_a_key_that_is_gone() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    replace_policies(&world.hub, with_keys(&world, 102, 103));
    client.transfer(2, &bytes_of(&command(&devicebound("D"), "late", Acknowledgement::None))).await;
    let (handle, error) = client.detached().await;
    assert_eq!((handle, condition(error)), (2, AmqpError::UnauthorizedAccess.into()));
    assert!(matches!(client.hear().await, Performative::Close(Some(_))));
    client.say(&Performative::Close(None)).await;
    client.rest().await;
    assert!(commands(&world).await.is_empty());
}
