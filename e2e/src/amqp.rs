//! Devices and readers over AMQP in Rust, with fe2o3-amqp, a client that others wrote.

use anyhow::{Context, Result, bail};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::annotations::AnnotationKey;
use fe2o3_amqp::types::messaging::{Data, Message, Source};
use fe2o3_amqp::types::primitives::{Symbol, Value};
use fe2o3_amqp::{Connection, Receiver, Sender, Session};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use crate::hub::Ready;
use crate::namespace::HUB;
use crate::patience::within;
use crate::tls;

/// How many commands may be on their way to a device at once.
const CREDIT: u32 = 8;

/// How many events may be on their way to a reader at once.
const EVENTS_CREDIT: u32 = 1000;

/// The filter that says where a reader begins.
const SELECTOR: &str = "apache.org:selector-filter:string";

/// A device's connection, by SASL PLAIN with its token. It ends when it is dropped.
pub struct Device {
    id: String,
    session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
}

impl Device {
    /// Connects and is let in.
    ///
    /// # Errors
    /// When it is not, or the hub is not there.
    pub async fn admitted(hub: &Ready, id: &str) -> Result<Self> {
        let (connection, session) = connect(hub, id, id, hub.device(id)?.token()).await?;
        Ok(Self { id: id.to_owned(), session, connection })
    }

    /// A link on which it sends.
    ///
    /// # Errors
    /// When it is not granted.
    pub async fn sender(&mut self) -> Result<Sender> {
        let address = format!("/devices/{}/messages/events", self.id);
        Ok(within("a sender to attach", Sender::attach(&mut self.session, "events", address)).await??)
    }

    /// A link on which it receives commands, each of which it settles.
    ///
    /// # Errors
    /// When it is not granted.
    pub async fn receiver(&mut self) -> Result<Receiver> {
        let address = format!("/devices/{}/messages/devicebound", self.id);
        let receiver = Receiver::builder().name("commands").source(address).credit_mode(CreditMode::Auto(CREDIT));
        Ok(within("a receiver to attach", receiver.attach(&mut self.session)).await??)
    }

    /// Waits until the connection is gone, which links do not always notice.
    pub async fn lost(&mut self) {
        let _ = self.connection.on_close().await;
    }
}

/// A back end that reads a partition, on a connection of its own. It ends when it is dropped.
pub struct EventReader {
    receiver: Receiver,
    /// How many events may still come.
    credit: u32,
    _session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
}

/// An event as this client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadEvent {
    /// Its number.
    pub sequence_number: i64,
    /// Where it lies: opaque, growing.
    pub offset: String,
    /// Whose it is.
    pub device_id: String,
    /// What was sent.
    pub body: Vec<u8>,
}

impl EventReader {
    /// Reads on behind the event with this offset; without one, from the beginning.
    ///
    /// # Errors
    /// When it is not let in, or the hub is not there.
    pub async fn after(hub: &Ready, partition: u16, offset: Option<&str>) -> Result<Self> {
        let (connection, mut session) = connect(hub, "reader", "service@sas.root.hub", hub.policy("service")?.token()).await?;
        let selector = Described {
            descriptor: Descriptor::Name(Symbol::from(SELECTOR)),
            value: Value::String(format!("amqp.annotation.x-opt-offset > '{}'", offset.unwrap_or("-1"))),
        };
        let source =
            Source::builder().address(format!("hub/ConsumerGroups/$Default/Partitions/{partition}")).add_to_filter(SELECTOR, selector);
        let receiver = Receiver::builder().name("events").source(source.build()).sender_settle_mode(SenderSettleMode::Settled);
        // This client renews credit by itself for what it settles, and here nothing is left to settle.
        let receiver = receiver.credit_mode(CreditMode::Manual);
        let receiver = within("a receiver to attach", receiver.attach(&mut session)).await??;
        Ok(Self { receiver, credit: 0, _session: session, connection })
    }

    /// The next event, whenever it comes.
    ///
    /// # Errors
    /// When the connection or the link is gone first.
    pub async fn next(&mut self) -> Result<ReadEvent> {
        if self.credit < EVENTS_CREDIT / 2 {
            self.receiver.set_credit(EVENTS_CREDIT).await?;
            self.credit = EVENTS_CREDIT;
        }
        let delivery = tokio::select! {
            delivery = self.receiver.recv::<Data>() => delivery?,
            _ = self.connection.on_close() => bail!("the connection is gone"),
        };
        self.credit -= 1;
        ReadEvent::of(delivery.message())
    }
}

impl ReadEvent {
    fn of(message: &Message<Data>) -> Result<Self> {
        let annotation = |name: &str| {
            let found = message.message_annotations.as_ref().and_then(|all| all.get(&Symbol::from(name) as &dyn AnnotationKey));
            found.with_context(|| format!("an event without {name}"))
        };
        let text = |name: &str| match annotation(name)? {
            Value::String(text) => Ok(text.clone()),
            other => bail!("{name} is {other:?}"),
        };
        let Value::Long(sequence_number) = *annotation("x-opt-sequence-number")? else { bail!("a number of another type") };
        let body = message.body.0.to_vec();
        Ok(Self { sequence_number, offset: text("x-opt-offset")?, device_id: text("iothub-connection-device-id")?, body })
    }
}

async fn connect(hub: &Ready, container: &str, user: &str, password: String) -> Result<(ConnectionHandle<()>, SessionHandle<()>)> {
    let stream = within("a TLS handshake", tls::connect(HUB, 5671, hub.ca_file())).await??;
    let sasl = SaslProfile::Plain { username: user.to_owned(), password };
    let opening = Connection::builder().container_id(container).hostname(HUB).sasl_profile(sasl).open_with_stream(stream);
    // It is a large one.
    let mut connection = within("a connection to open", Box::pin(opening)).await?.context("no connection")?;
    let session = within("a session to begin", Session::begin(&mut connection)).await??;
    Ok((connection, session))
}
