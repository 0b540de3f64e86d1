//! The front on a socket in memory, over a hub on stores in memory, as clients have it.

use std::sync::atomic::Ordering;

use fe2o3_amqp_types::definitions::{AmqpError, Error, ErrorCondition, LinkError};
use fe2o3_amqp_types::messaging::{Source, Target};
use fe2o3_amqp_types::sasl::{SaslCode, SaslOutcome};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::amqp::engine::tests::handshake::sasl_init;
use crate::amqp::engine::tests::peer::words::{AnyTarget, Attach, Flow, Performative, Protocol as Header, Transfer};
use crate::amqp::engine::tests::peer::{self, Heard, accepted, attach, begin, delivery, detach, hear, said};
use crate::amqp::engine::{Open, Role};
use crate::amqp::message;
use crate::core::event::{PartitionId, SequenceNumber};
use crate::core::identity::{DeviceIdentity, DeviceStatus, Version};
use crate::core::message::{Body, Message, MessageId, Properties, Value, encoding};
use crate::core::sas::sign;
use crate::core::session::Protocol;
use crate::ops::world::{NOW, World, device_token, identity, key, origin, payload, policy_token};
use crate::store::{EventLog as _, Expected};

mod answers;
mod any_order;
mod back_ends;
mod commands;
mod devices;
mod endings;
mod feedback;
mod management;
mod proofs;
mod readers;
mod sent_commands;

const HUB: &str = "hub.example";
const TRUST_WITHIN: Duration = Duration::from_secs(30);

/// A connection to the hub, as its client has it.
struct Client {
    stream: DuplexStream,
    input: BytesMut,
    served: JoinHandle<()>,
    stop: CancellationToken,
    next_delivery: u32,
}

impl Client {
    fn dial(world: &World) -> Self {
        Self::dial_with(world, None)
    }

    fn dial_with(world: &World, certificate: Option<PresentedChain>) -> Self {
        let (stream, server) = duplex(1024 * 1024);
        let stop = CancellationToken::new();
        let stranger = Stranger { origin: Origin { protocol: Protocol::Amqp, ..origin() }, certificate };
        let served = tokio::spawn(serve_connection(Arc::clone(&world.hub), server, stranger, TRUST_WITHIN, stop.clone(), || ()));
        Self { stream, input: BytesMut::new(), served, stop, next_delivery: 0 }
    }

    /// As Node's SDK comes: no SASL, one session.
    async fn open(world: &World) -> Self {
        let mut client = Self::dial(world);
        client.begin(0).await;
        client
    }

    /// With a pair of links to `$cbs`, at handles 0 and 1.
    async fn with_cbs(world: &World) -> Self {
        let mut client = Self::open(world).await;
        client.attach(sender("$cbs", 0)).await.unwrap();
        assert!(matches!(client.hear().await, Performative::Flow(_)));
        client.attach(receiver("$cbs", 1)).await.unwrap();
        client.say(&Performative::Flow(credit(1, 0, 100))).await;
        client
    }

    /// With device D's token, and a link on which it sends, at handle 2.
    async fn sending(world: &World) -> Self {
        let mut client = Self::with_cbs(world).await;
        assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
        client.sender_of("D", 2).await;
        client
    }

    async fn begin(&mut self, channel: u16) {
        self.send(&Header::Amqp.header()).await;
        let open = Open { container_id: "client".into(), hostname: Some(HUB.into()), max_frame_size: Some(4096), ..Open::default() };
        self.say(&Performative::Open(Box::new(open))).await;
        self.send(&said(channel, &Performative::Begin(Box::new(begin())), &[])).await;
        assert_eq!(self.heard().await, Some(Heard::Header(Header::Amqp)));
        assert!(matches!(self.hear().await, Performative::Open(_)));
        assert!(matches!(self.hear().await, Performative::Begin(_)));
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn say(&mut self, performative: &Performative) {
        self.send(&said(0, performative, &[])).await;
    }

    async fn heard(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = hear(&mut self.input) {
                return Some(heard);
            }
            if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn hear(&mut self) -> Performative {
        match self.heard().await {
            Some(Heard::Frame(0, performative, payload)) if payload.is_empty() => performative,
            other => panic!("a frame was due, not {other:?}"),
        }
    }

    /// A message, in as many frames as it took: with what the first one said.
    async fn hear_transfer(&mut self) -> (Transfer, Vec<u8>) {
        let (mut first, mut whole) = (None, Vec::new());
        loop {
            match self.heard().await {
                Some(Heard::Frame(0, Performative::Transfer(transfer), payload)) => {
                    whole.extend(payload);
                    let more = transfer.more;
                    let first = first.get_or_insert(transfer);
                    if !more {
                        return (first.clone(), whole);
                    }
                }
                other => panic!("a transfer was due, not {other:?}"),
            }
        }
    }

    /// Asks for a link; an error when it is refused.
    async fn attach(&mut self, attach: Attach) -> Result<(), Error> {
        let handle = attach.handle;
        self.say(&Performative::Attach(Box::new(attach))).await;
        let Performative::Attach(answer) = self.hear().await else { panic!("an attach was due") };
        assert_eq!(answer.handle, handle);
        if answer.source.is_some() && answer.target.is_some() {
            return Ok(());
        }
        assert!(answer.source.is_none() && answer.target.is_none());
        let (refused, error) = self.detached().await;
        assert_eq!(refused, handle);
        self.say(&detach(handle)).await;
        Err(error.unwrap())
    }

    async fn sender_of(&mut self, device: &str, handle: u32) {
        self.attach(sender(&events(device), handle)).await.unwrap();
        assert!(matches!(self.hear().await, Performative::Flow(flow) if flow.handle == Some(handle) && flow.link_credit == Some(1000)));
    }

    async fn detached(&mut self) -> (u32, Option<Error>) {
        match self.hear().await {
            Performative::Detach(detach) => (detach.handle, detach.error),
            other => panic!("a detach was due, not {other:?}"),
        }
    }

    /// The hub closes the connection, and says nothing more before.
    async fn is_closed_by(&mut self, reason: impl Into<ErrorCondition>) {
        match self.hear().await {
            Performative::Close(error) => assert_eq!(condition(error), reason.into()),
            other => panic!("a close was due, not {other:?}"),
        }
    }

    async fn transfer(&mut self, handle: u32, payload: &[u8]) -> u32 {
        self.transfer_of(handle, 0, payload).await
    }

    async fn transfer_of(&mut self, handle: u32, message_format: u32, payload: &[u8]) -> u32 {
        let id = self.next_delivery;
        self.next_delivery += 1;
        let mut frames = payload.chunks(32 * 1024).peekable();
        loop {
            let frame = frames.next().unwrap_or_default();
            let more = frames.peek().is_some();
            let transfer = Transfer { message_format: Some(message_format), more, ..delivery(handle, id) };
            self.send(&said(0, &Performative::Transfer(transfer), frame)).await;
            if !more {
                return id;
            }
        }
    }

    /// What has become of transfers: the first and the last, and the outcome.
    async fn outcome(&mut self) -> (u32, u32, DeliveryState) {
        loop {
            match self.hear().await {
                Performative::Disposition(said) => {
                    assert!(said.settled && said.role == Role::Receiver);
                    return (said.first, said.last.unwrap_or(said.first), said.state.unwrap());
                }
                Performative::Flow(_) => {}
                other => panic!("a disposition was due, not {other:?}"),
            }
        }
    }

    async fn is_accepted(&mut self, delivery: u32) {
        assert_eq!(self.outcome().await, (delivery, delivery, accepted()));
    }

    /// Brings a token and says what the status code of the answer is. The id comes back in its own type.
    async fn put_token(&mut self, audience: &str, token: &str) -> i32 {
        let id = MessageId::Ulong(u64::from(self.next_delivery));
        let put = self.transfer(0, &put_token(Some(id.clone()), audience, token)).await;
        let (mut code, mut is_accepted) = (None, false);
        while code.is_none() || !is_accepted {
            match self.heard().await {
                Some(Heard::Frame(_, Performative::Transfer(transfer), payload)) => {
                    assert_eq!(transfer.handle, 1);
                    let answer = message::read(&payload).unwrap();
                    assert_eq!(answer.properties.correlation_id, Some(id.clone()));
                    let status =
                        answer.application_properties.iter().find(|(name, _)| name == "status-code").map(|(_, value)| value.clone());
                    let Some(Value::Int(status)) = status else { panic!("{status:?} is no int") };
                    code = Some(status);
                }
                Some(Heard::Frame(_, Performative::Disposition(said), _)) => {
                    assert_eq!((said.first, said.state), (put, Some(accepted())));
                    is_accepted = true;
                }
                Some(Heard::Frame(_, Performative::Flow(_), _)) => {}
                other => panic!("an answer was due, not {other:?}"),
            }
        }
        code.unwrap()
    }

    /// Reads until the hub closes, and waits for all that it does afterwards.
    async fn rest(mut self) -> Vec<Heard> {
        let mut rest = Vec::new();
        while let Some(heard) = self.heard().await {
            rest.push(heard);
        }
        self.served.await.unwrap();
        rest
    }
}

fn sender(address: &str, handle: u32) -> Attach {
    let target = AnyTarget::Target(Box::new(Target { address: Some(address.into()), ..Target::default() }));
    Attach { target: Some(target), source: None, ..attach(&format!("sender {handle}"), handle, Role::Sender) }
}

fn receiver(address: &str, handle: u32) -> Attach {
    let source = Box::new(Source { address: Some(address.into()), ..Source::default() });
    Attach { source: Some(source), target: None, ..attach(&format!("receiver {handle}"), handle, Role::Receiver) }
}

/// Credit for a link, from a client that counts its deliveries, and does not say how many transfers the session has had.
fn credit(handle: u32, received: u32, more: u32) -> Flow {
    Flow { next_incoming_id: None, ..peer::credit(handle, received, more) }
}

fn events(device: &str) -> String {
    format!("/devices/{device}/messages/events")
}

fn devicebound(device: &str) -> String {
    format!("/devices/{device}/messages/devicebound")
}

/// One that lets tests wait.
fn long_token(device: &str) -> String {
    sign(&format!("{HUB}/devices/{device}"), NOW.plus(Duration::from_secs(86_400)), &key(1), None)
}

fn put_token(id: Option<MessageId<'_>>, audience: &str, token: &str) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned().into());
    let mut body = vec![0xb1];
    body.extend(u32::try_from(token.len()).unwrap().to_be_bytes());
    body.extend_from_slice(token.as_bytes());
    bytes_of(&Message {
        properties: Properties { message_id: id, ..Properties::default() },
        application_properties: vec![
            ("operation".into(), text("put-token")),
            ("type".into(), text("servicebus.windows.net:sastoken")),
            ("name".into(), text(audience)),
        ],
        body: Body::Value(body.into()),
        ..Message::default()
    })
}

fn bytes_of(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::write(message, &mut bytes);
    bytes
}

fn text(payload_text: &'static str) -> Vec<u8> {
    bytes_of(&payload(payload_text))
}

fn condition(error: Option<Error>) -> ErrorCondition {
    error.expect("a reason").condition
}

fn disabled(id: &str) -> DeviceIdentity {
    DeviceIdentity { wanted_status: DeviceStatus::Disabled, version: Version(2), ..identity(id) }
}

/// The payloads of everything that is durable.
async fn payloads(world: &World) -> Vec<Vec<u8>> {
    let mut stored = Vec::new();
    for partition in 0..4 {
        for event in world.log.read(PartitionId(partition), SequenceNumber(0), usize::MAX).await.unwrap() {
            stored.push(encoding::decode(&event.content).unwrap().body.to_bytes().into_owned());
        }
    }
    stored
}

#[tokio::test]
async fn a_message_is_accepted_once_it_is_durable() {
    let world = World::with_device("D").await;
    let mut client = Client::sending(&world).await;
    world.log.hold();
    let first = client.transfer(2, &text("a")).await;
    client.transfer(2, &text("b")).await;
    // An answer comes, and it is not for these.
    assert_eq!(client.put_token("hub.example/devices/D", &device_token("D", 9)).await, 401);
    assert!(payloads(&world).await.is_empty());
    world.log.release();
    assert_eq!(client.outcome().await, (first, first + 1, accepted()));
    assert_eq!(payloads(&world).await, [b"a", b"b"]);
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let world = World::with_device("D").await;
    let mut client = Client::sending(&world).await;
    let batch = |messages: &[Vec<u8>]| {
        bytes_of(&Message { body: Body::Data(messages.iter().map(|message| message.as_slice().into()).collect()), ..Message::default() })
    };
    let invalid = bytes_of(&Message {
        properties: Properties { message_id: Some(MessageId::String("é".into())), ..Properties::default() },
        ..payload("no")
    });
    let bad = client.transfer_of(2, message::BATCH_FORMAT, &batch(&[text("x"), invalid])).await;
    let (first, _, DeliveryState::Rejected(rejected)) = client.outcome().await else { panic!("it was not taken") };
    assert_eq!(first, bad);
    assert!(matches!(condition(rejected.error), ErrorCondition::Custom(name) if name.as_str() == "com.microsoft:argument-error"));
    let good = client.transfer_of(2, message::BATCH_FORMAT, &batch(&[text("a"), text("b")])).await;
    client.is_accepted(good).await;
    let nonsense = client.transfer(2, b"nonsense").await;
    let (first, _, DeliveryState::Rejected(rejected)) = client.outcome().await else { panic!("it was not taken") };
    assert_eq!((first, condition(rejected.error)), (nonsense, AmqpError::DecodeError.into()));
    assert_eq!(payloads(&world).await, [b"a", b"b"]);
}

#[tokio::test]
async fn what_can_not_be_stored_ends_the_devices_links_and_is_not_accepted() {
    let world = World::with_device("D").await;
    let mut client = Client::sending(&world).await;
    world.log.hold();
    client.transfer(2, &text("lost")).await;
    assert_eq!(client.put_token("hub.example/devices/D", &device_token("D", 9)).await, 401);
    world.log.fail();
    let (handle, error) = client.detached().await;
    assert_eq!((handle, condition(error)), (2, LinkError::DetachForced.into()));
    assert!(payloads(&world).await.is_empty());
}

/// On the links first: whoever closes the connection then is not kept waiting.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_hub_is_told() {
    let world = World::with_device("D").await;
    for closes in [true, false] {
        let mut client = Client::sending(&world).await;
        client.stop.cancel();
        let (handle, error) = client.detached().await;
        assert_eq!((handle, condition(error)), (2, LinkError::DetachForced.into()));
        client.say(&detach(2)).await;
        assert_eq!(client.attach(sender(&events("D"), 3)).await.unwrap_err().condition, LinkError::DetachForced.into());
        if closes {
            client.say(&Performative::Close(None)).await;
            assert_eq!(client.hear().await, Performative::Close(None));
        } else {
            client.is_closed_by(LinkError::DetachForced).await;
            client.say(&Performative::Close(None)).await;
        }
        client.rest().await;
        assert!(world.hub.presence.is_empty());
    }
    let mut without_links = Client::with_cbs(&world).await;
    without_links.stop.cancel();
    without_links.is_closed_by(LinkError::DetachForced).await;
}

/// Beside its stream, the engine's sessions and links (`engine::tests::handshake`), and a tree's leaf for its devices, which holds eleven.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let world = World::with_device("D").await;
    let (_client, server) = duplex(16);
    let stream = size_of_val(&server);
    let stranger = Stranger { origin: origin(), certificate: None };
    let future = serve_connection(Arc::clone(&world.hub), server, stranger, TRUST_WITHIN, CancellationToken::new(), || ());
    let own = size_of_val(&future) - stream;
    assert!(own <= 2560, "the future of a connection has {own} bytes beside its stream");
    let leaf = 11 * size_of::<(DeviceId, Box<Device<'_>>)>() + size_of::<Device<'_>>();
    assert!(leaf <= 512, "a connection's first device takes {leaf} bytes");
}
