//! Devices over AMQP in Rust, with fe2o3-amqp, a client that others wrote.

use anyhow::{Context, Result};
use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::{Connection, Receiver, Sender, Session};

use crate::hub::Ready;
use crate::namespace::HUB;
use crate::patience::within;
use crate::tls;

/// How many commands may be on their way to a device at once.
const CREDIT: u32 = 8;

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
        let stream = within("a TLS handshake", tls::connect(HUB, 5671, hub.ca_file())).await??;
        let sasl = SaslProfile::Plain { username: id.to_owned(), password: hub.device(id)?.token() };
        let opening = Connection::builder().container_id(id).hostname(HUB).sasl_profile(sasl).open_with_stream(stream);
        // It is a large one.
        let mut connection = within("a connection to open", Box::pin(opening)).await?.context("no connection")?;
        let session = within("a session to begin", Session::begin(&mut connection)).await??;
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
