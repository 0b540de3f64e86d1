//! TLS connections from many local addresses, and MQTT connections on top of them.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::mqtt;
use crate::sas::Device;
use crate::tls::HOST;

/// Linux has about 28,000 ephemeral ports for each local address, and a closed connection keeps its port for a minute.
/// With these, 127.0.0.2 to 127.0.0.33, neither runs out, and limits per address see many small clients.
const SOURCE_ADDRESSES: usize = 32;
/// Handshakes that are under way at once: enough to keep a server busy, few enough for any limit on unfinished ones.
const HANDSHAKES_AT_ONCE: usize = 16;
/// Longer than any run, so that no server has a reason to close what is idle, and below Azure's limit of 1,767 s.
const KEEP_ALIVE_S: u16 = 1200;

pub type Connection = TlsStream<TcpStream>;

/// Opens a TLS connection; `number` chooses the local address.
pub async fn open(server: SocketAddr, client: &Arc<ClientConfig>, number: usize) -> Result<Connection> {
    let last = u8::try_from(2 + number % SOURCE_ADDRESSES).expect("there are fewer source addresses than 254");
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    let tcp = socket.connect(server).await.with_context(|| format!("connecting to {server}"))?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(HOST).expect("the constant is a host name");
    TlsConnector::from(Arc::clone(client)).connect(name, tcp).await.context("TLS handshake")
}

/// Opens an MQTT connection for `device`, up to the server's CONNACK.
pub async fn open_mqtt(server: SocketAddr, client: &Arc<ClientConfig>, number: usize, device: &Device) -> Result<Connection> {
    let mut connection = open(server, client, number).await?;
    connection.write_all(&mqtt::connect(device, KEEP_ALIVE_S)).await?;
    connection.flush().await?;
    let mut connack = [0; mqtt::CONNACK_BYTES];
    connection.read_exact(&mut connack).await.context("waiting for CONNACK")?;
    mqtt::check_connack(connack)?;
    Ok(connection)
}

/// Says DISCONNECT and waits until the server has closed, so that its work for this connection is done.
pub async fn close_mqtt(mut connection: Connection) -> Result<()> {
    connection.write_all(&mqtt::DISCONNECT).await?;
    connection.flush().await?;
    // Servers differ in whether they say goodbye on TLS's level: an unclean end is as good as a clean one here.
    let _ = connection.read(&mut [0; 16]).await;
    Ok(())
}

/// Runs `open_one` for every number in `numbers`, a few at a time, and returns what they made, in order of completion.
/// Must run inside a `LocalSet`.
pub async fn open_many<T: 'static, Opening: Future<Output = Result<T>> + 'static>(
    numbers: std::ops::Range<usize>,
    open_one: impl Fn(usize) -> Opening + 'static,
) -> Result<Vec<T>> {
    let opened = Rc::new(RefCell::new(Vec::with_capacity(numbers.len())));
    let next = Rc::new(Cell::new(numbers.start));
    let open_one = Rc::new(open_one);
    let mut workers = JoinSet::new();
    for _ in 0..HANDSHAKES_AT_ONCE.min(numbers.len()) {
        let (opened, next, open_one) = (Rc::clone(&opened), Rc::clone(&next), Rc::clone(&open_one));
        workers.spawn_local(async move {
            while next.get() < numbers.end {
                let number = next.replace(next.get() + 1);
                let one = open_one(number).await.with_context(|| format!("connection {number}"))?;
                opened.borrow_mut().push(one);
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a connecting task was lost")??;
    }
    Ok(opened.take())
}
