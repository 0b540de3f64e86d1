//! Commands all the way: sent over HTTPS and durable, delivered over MQTT, acknowledged, and their receipts read and completed over HTTPS.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::clock;
use crate::connection::{self, Connection};
use crate::histogram::Histogram;
use crate::http::{self, Client};
use crate::load::{Pace, Reading};
use crate::mqtt::{self, Told};
use crate::report::Metrics;
use crate::sas::Device;
use crate::server::{Kind, Server, Stage};
use crate::tls::HOST;

/// A command is small; its topic is longer than its payload.
const RECEIVE_BYTES: usize = 1024;
/// Azure's feedback queue is asked; when it has nothing, it says so at once.
const FEEDBACK_POLL: Duration = Duration::from_millis(1);
const FEEDBACK_PATH: &str = "/messages/serviceBound/feedback";

#[derive(Clone, Copy)]
pub struct Load {
    pub devices: usize,
    pub senders: usize,
    pub readers: usize,
    /// Commands on their way at once.
    pub window: usize,
    pub payload_bytes: usize,
}

pub fn run(stage: &Stage, load: Load, pace: Pace) -> Result<Metrics> {
    let server = stage.start(Kind::Hub, load.devices)?;
    let (mqtt, https) = (stage.certificate.client(None)?, stage.certificate.client(Some("http/1.1"))?);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure(&server, mqtt, &https, load, pace)).with_context(|| server.log_tail())
}

/// Where commands are on their way, by the number that is their message-id.
struct Board {
    sent: u64,
    under_way: HashMap<u64, UnderWay>,
    measured: bool,
    deliveries: Histogram,
    receipts: Histogram,
}

struct UnderWay {
    sent: Instant,
    acknowledged: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

type SharedBoard = Rc<RefCell<Board>>;

impl Board {
    fn new() -> Self {
        Self { sent: 0, under_way: HashMap::new(), measured: false, deliveries: Histogram::new(), receipts: Histogram::new() }
    }

    fn send(&mut self, permit: OwnedSemaphorePermit) -> u64 {
        self.sent += 1;
        self.under_way.insert(self.sent, UnderWay { sent: clock::now(), acknowledged: None, _permit: permit });
        self.sent
    }

    fn deliver(&mut self, number: u64, at: Instant) {
        if let Some(command) = self.under_way.get_mut(&number)
            && command.acknowledged.is_none()
        {
            command.acknowledged = Some(at);
            if self.measured {
                self.deliveries.record(at - command.sent);
            }
        }
    }

    /// A receipt was in an answer that came at `at`. The command stays on its way until the receipt is completed.
    fn receipt(&mut self, number: u64, at: Instant) {
        let acknowledged = self.under_way.get(&number).and_then(|command| command.acknowledged);
        if let Some(acknowledged) = acknowledged.filter(|_| self.measured) {
            self.receipts.record(at.saturating_duration_since(acknowledged));
        }
    }
}

async fn measure(server: &Server, mqtt: Arc<ClientConfig>, https: &Arc<ClientConfig>, load: Load, pace: Pace) -> Result<Metrics> {
    let address = server.addresses.mqtt;
    let open = move |number| {
        let mqtt = mqtt.clone();
        async move { subscribed(connection::open_mqtt(address, &mqtt, number, &Device::new(HOST, number)).await?, number).await }
    };
    let devices = connection::open_many(0..load.devices, open).await?;
    let board: SharedBoard = Rc::new(RefCell::new(Board::new()));
    let window = Arc::new(Semaphore::new(load.window));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for device in devices {
        tasks.spawn_local(take_commands(device, Rc::clone(&board)));
    }
    for number in 0..load.senders {
        let api = Client::new(connection::open(server.addresses.api, https, number).await?);
        tasks.spawn_local(send_commands(api, server.owner_token.clone(), load, Arc::clone(&window), Rc::clone(&board)));
    }
    for number in 0..load.readers {
        let api = Client::new(connection::open(server.addresses.api, https, number).await?);
        tasks.spawn_local(read_receipts(api, server.owner_token.clone(), Rc::clone(&board)));
    }

    let measured = async {
        sleep(pace.warm_up).await;
        board.borrow_mut().measured = true;
        let before = Reading::take(server.pid())?;
        sleep(pace.measured).await;
        let after = Reading::take(server.pid())?;
        anyhow::Ok(metrics(&before, &after, &board.borrow()))
    };
    // Nobody ends by itself: the first who does has failed.
    tokio::select! {
        metrics = measured => metrics,
        Some(ended) = tasks.join_next() => {
            ended.context("a task was lost")??;
            bail!("a client ended before its time")
        }
    }
}

fn metrics(before: &Reading, after: &Reading, board: &Board) -> Metrics {
    let mut metrics = after.metrics_since(before, board.receipts.count());
    for (name, latencies, share) in [
        ("delivery_p50_ms", &board.deliveries, 0.5),
        ("delivery_p99_ms", &board.deliveries, 0.99),
        ("receipt_p50_ms", &board.receipts, 0.5),
        ("receipt_p99_ms", &board.receipts, 0.99),
    ] {
        metrics.insert(name, latencies.quantile(share).as_secs_f64() * 1e3);
    }
    metrics
}

/// The connection once it has subscribed to its commands.
async fn subscribed(mut connection: Connection, number: usize) -> Result<Connection> {
    let filter = format!("devices/{}/messages/devicebound/#", Device::id(number));
    connection.write_all(&mqtt::subscribe(&filter)).await?;
    connection.flush().await?;
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await.context("waiting for SUBACK")?;
    ensure!(matches!(mqtt::first_packet(&answer)?, Some((Told::SubAck { granted: 1 }, _))), "{answer:02x?} is no SUBACK with QoS 1");
    Ok(connection)
}

/// A device: PUBACKs whatever comes, at once.
async fn take_commands(mut connection: Connection, board: SharedBoard) -> Result<()> {
    let mut received = Vec::with_capacity(RECEIVE_BYTES);
    let mut out = Vec::new();
    loop {
        ensure!(connection.read_buf(&mut received).await? > 0, "the server closed a connection");
        let at = clock::now();
        let mut taken = 0;
        while let Some((told, length)) = mqtt::first_packet(&received[taken..])? {
            if let Told::Publish { topic, id } = told {
                let number = topic.split(['/', '&']).find_map(|entry| entry.strip_prefix("%24.mid=")?.parse().ok());
                board.borrow_mut().deliver(number.context("a command without its message-id")?, at);
                out.extend(mqtt::puback(id));
            }
            taken += length;
        }
        received.drain(..taken);
        connection.write_all(&out).await?;
        connection.flush().await?;
        out.clear();
    }
}

/// A back end that sends: one request at a time, to one device after another.
async fn send_commands(mut api: Client, token: String, load: Load, window: Arc<Semaphore>, board: SharedBoard) -> Result<()> {
    let payload = vec![0x5A; load.payload_bytes];
    loop {
        let permit = Arc::clone(&window).acquire_owned().await?;
        let number = board.borrow_mut().send(permit);
        let device = Device::id(usize::try_from(number)? % load.devices);
        let message_id = number.to_string();
        let headers = [("iothub-ack", "full"), ("iothub-messageid", message_id.as_str())];
        let request = http::request("POST", &format!("/api/v1/devices/{device}/commands"), &token, &headers, &payload);
        api.exchange(&request).await?;
    }
}

/// A back end that reads receipts, and completes them.
async fn read_receipts(mut api: Client, token: String, board: SharedBoard) -> Result<()> {
    let receive = http::request("GET", &format!("{FEEDBACK_PATH}?api-version=2021-04-12"), &token, &[], b"");
    loop {
        let answer = api.exchange(&receive).await?;
        let at = clock::now();
        if answer.status == 204 {
            sleep(FEEDBACK_POLL).await;
            continue;
        }
        let lock = answer.header("etag").context("receipts without a lock token")?.trim_matches('"').to_owned();
        let receipts = answer.json()?;
        let numbers: Vec<u64> = receipts
            .as_array()
            .into_iter()
            .flatten()
            .map(|receipt| {
                ensure!(receipt["statusCode"] == "Success", "a command failed: {receipt}");
                Ok(receipt["originalMessageId"].as_str().unwrap_or_default().parse()?)
            })
            .collect::<Result<_>>()?;
        numbers.iter().for_each(|number| board.borrow_mut().receipt(*number, at));
        let complete = http::request("DELETE", &format!("{FEEDBACK_PATH}/{lock}?api-version=2021-04-12"), &token, &[], b"");
        api.exchange(&complete).await?;
        numbers.iter().for_each(|number| drop(board.borrow_mut().under_way.remove(number)));
    }
}
