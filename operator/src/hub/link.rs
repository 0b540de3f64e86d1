//! The link to one hub: its clients, the batches of writes, and the task that follows its change stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::batch::{Batch, Row};
use super::changes::{Message, Parser};
use super::client::{Client, HubError};
use super::identity::{Identity, Presence};
use super::known::{Known, News, Seen};
use super::{Endpoint, HubInfo, HubKey, Instruments};

/// The stream says something every 15 s; after three times that there is nobody any more.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long the first attempt to come back waits, and how long the later ones at most.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// How long a hub may be away before its Devices say so: longer than a restart takes, because each says so in a write of its own.
const AWAY_TOLERATED: Duration = Duration::from_secs(60);

/// One hub.
#[derive(Debug)]
pub struct Link {
    key: HubKey,
    endpoint: Endpoint,
    clients: Result<Clients, HubError>,
    live: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Clients {
    ordinary: Arc<Client>,
    /// With connections of its own: who is shut out does not stand in a queue.
    shut_out: Client,
    batch: Batch,
}

impl Link {
    /// Begins to follow the hub, once it is known which identities Devices name.
    pub(super) fn begin(key: HubKey, endpoint: Endpoint, known: &Arc<Known>, instruments: &Instruments) -> Self {
        let client = || Client::new(&endpoint, instruments);
        let made = (|| Ok((client()?, client()?, client()?)))();
        Self::with(key, endpoint, known, made)
    }

    /// To a hub that a test plays, without TLS.
    #[cfg(test)]
    pub(super) fn plain(key: HubKey, endpoint: Endpoint, known: &Arc<Known>, instruments: &Instruments) -> Self {
        let client = || Client::plain(&endpoint, instruments);
        let made = (|| Ok((client()?, client()?, client()?)))();
        Self::with(key, endpoint, known, made)
    }

    fn with(key: HubKey, endpoint: Endpoint, known: &Arc<Known>, made: Result<(Client, Client, Client), HubError>) -> Self {
        let live = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        let clients = made.map(|(ordinary, shut_out, following)| {
            let ordinary = Arc::new(ordinary);
            let (batch, batches) = Batch::new(Arc::clone(&ordinary));
            let follower = Follower {
                key: key.clone(),
                client: following,
                known: Arc::clone(known),
                live: Arc::clone(&live),
                position: None,
                snapshot: None,
            };
            tasks.extend([tokio::spawn(batches), tokio::spawn(follower.run())]);
            Clients { ordinary, shut_out, batch }
        });
        if let Err(error) = &clients {
            tracing::error!(hub = %key, "the IotHub {key}: {error}");
        }
        Self { key, endpoint, clients, live, tasks }
    }

    /// Which hub.
    #[must_use]
    pub fn key(&self) -> &HubKey {
        &self.key
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether its change stream is open.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// What the hub says about itself.
    pub async fn info(&self) -> Result<HubInfo, HubError> {
        self.client()?.info().await
    }

    /// For single requests.
    pub fn client(&self) -> Result<&Client, HubError> {
        self.clients.as_ref().map(|clients| &*clients.ordinary).map_err(Clone::clone)
    }

    /// For whom somebody wants shut out now: connections of their own.
    pub fn shut_out(&self) -> Result<&Client, HubError> {
        self.clients.as_ref().map(|clients| &clients.shut_out).map_err(Clone::clone)
    }

    /// Writes one row, together with others that wait.
    pub async fn write(&self, row: Row) -> Result<Option<Identity>, HubError> {
        self.clients.as_ref().map_err(Clone::clone)?.batch.write(row).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Follows the change stream, and comes again when it is cut.
struct Follower {
    key: HubKey,
    client: Client,
    known: Arc<Known>,
    live: Arc<AtomicBool>,
    position: Option<String>,
    snapshot: Option<Seen>,
}

/// Why a stream is not read any further.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Stream(#[from] super::changes::StreamError),
    #[error("it was silent for too long")]
    Silent,
    #[error("it has ended")]
    Ended,
    #[error("it was read too slowly")]
    Skipped,
    #[error("{0}")]
    Problem(String),
}

impl Follower {
    async fn run(mut self) {
        self.known.wait_until_all_named().await;
        let mut wait = RECONNECT_FIRST;
        let mut away_since = None;
        let mut told_away = false;
        loop {
            let cut = self.follow().await;
            if self.live.swap(false, Ordering::Relaxed) {
                wait = RECONNECT_FIRST;
                (away_since, told_away) = (Some(Instant::now()), false);
            }
            let since = *away_since.get_or_insert_with(Instant::now);
            tracing::debug!(hub = %self.key, "the change stream of the IotHub {} was cut: {cut}", self.key);
            if !told_away && since.elapsed() >= AWAY_TOLERATED {
                told_away = true;
                tracing::warn!(hub = %self.key, "the IotHub {} has been away for a while: {cut}", self.key);
                self.known.news.put(News::Hub(self.key.clone()));
            }
            // A hub that restarts is not stormed by all that follow it at once.
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(RECONNECT_MAX);
        }
    }

    /// Reads until it is cut.
    async fn follow(&mut self) -> Cut {
        match self.read().await {
            Ok(never) => match never {},
            Err(cut) => {
                // Nobody can go on from the middle of a snapshot.
                if self.snapshot.take().is_some() || matches!(cut, Cut::Skipped | Cut::Stream(_) | Cut::Hub(HubError::Refused { .. })) {
                    self.position = None;
                }
                cut
            }
        }
    }

    async fn read(&mut self) -> Result<std::convert::Infallible, Cut> {
        let opening = self.client.changes(self.position.as_deref());
        let mut response = timeout(SILENCE_MAX, opening).await.map_err(|_| Cut::Silent)??;
        let mut parser = Parser::default();
        loop {
            let chunk = timeout(SILENCE_MAX, response.chunk()).await.map_err(|_| Cut::Silent)?;
            let Some(chunk) = chunk.map_err(|error| HubError::Unreachable(error.to_string()))? else { return Err(Cut::Ended) };
            for told in parser.take(&chunk)? {
                if self.snapshot.is_none() && told.position.is_some() {
                    self.position = told.position;
                    if !self.live.swap(true, Ordering::Relaxed) && !matches!(told.message, Message::Reset) {
                        self.known.news.put(News::Hub(self.key.clone()));
                    }
                }
                self.hear(told.message)?;
            }
        }
    }

    fn hear(&mut self, message: Message) -> Result<(), Cut> {
        match message {
            Message::SnapshotBegin => self.snapshot = Some(Seen::default()),
            Message::SnapshotEnd => {
                if let Some(seen) = self.snapshot.take() {
                    self.known.snapshot_ended(&self.key, &seen);
                }
                self.live.store(true, Ordering::Relaxed);
                self.known.news.put(News::Hub(self.key.clone()));
            }
            Message::Written(identity) => {
                if let Some(seen) = self.snapshot.as_mut().filter(|_| self.known.names(&self.key, &identity.device_id)) {
                    seen.identities.insert(identity.device_id.clone());
                }
                self.known.written(&self.key, &identity);
            }
            Message::Deleted(device_id) => {
                if let Some(seen) = &mut self.snapshot {
                    seen.identities.remove(&device_id);
                }
                self.known.deleted(&self.key, &device_id);
            }
            Message::Presence { device_id, connected, time } => {
                if let Some(seen) = self.snapshot.as_mut().filter(|_| self.known.names(&self.key, &device_id)) {
                    if connected {
                        seen.connected.insert(device_id.clone())
                    } else {
                        seen.connected.remove(&device_id)
                    };
                }
                self.known.moved(&self.key, &device_id, Presence { connected, since: Some(time) });
            }
            // How things stand comes next, by itself.
            Message::Reset | Message::Other => {}
            Message::Skipped => return Err(Cut::Skipped),
            Message::Problem(why) => return Err(Cut::Problem(why)),
        }
        Ok(())
    }
}
