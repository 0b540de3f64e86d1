//! The hub, its devices and a back end in a simulated network, where hosts crash, lines break and the store answers late: turmoil. A seed
//! is a history; the same seed is the same history.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use super::bytes_of;
use crate::core::command::machine::NOT_SENT_MAX;
use crate::core::command::{
    Acknowledgement, Command, CommandId, CommandLimits, Outcome, Receiver, ReturnReason, Settlement, Step, StepKind,
};
use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
use crate::core::message::{Body, Message, MessageId};
use crate::core::policy::Policies;
use crate::core::sas::sign;
use crate::core::session::{BootId, Protocol};
use crate::core::time::{Clock, UnixMillis};
use crate::mqtt::codec::{Decoded, Limits, decode};
use crate::mqtt::connection::{Stranger, serve_connection};
use crate::mqtt::packet::{Connect, Delivery, Packet, PacketId, QoS, Subscribe};
use crate::ops::audit::{Audit, AuditLimits};
use crate::ops::authenticate::Origin;
use crate::ops::describe_hub::{Alone, CertificateExpiry};
use crate::ops::receive_feedback::{receive_feedback, settle_feedback};
use crate::ops::send_command::{NewCommand, send_command};
use crate::ops::sign_in::SignIn;
use crate::ops::world::{NOW, identity, key};
use crate::ops::{Hub, HubParts, commands};
use crate::store::commands::{CommandQuery, CommandWrite, Commands, CommandsError, Pending};
use crate::store::memory::audit::MemoryAuditLog;
use crate::store::memory::commands::MemoryCommands;
use crate::store::memory::connection_log::MemoryConnectionLog;
use crate::store::memory::event_log::MemoryEventLog;
use crate::store::memory::group_positions::MemoryGroupPositions;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{Expected, Registry as _, RegistryWrite};

const DEVICES: [&str; 4] = ["a", "b", "c", "d"];
const PORT: u16 = 8883;

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(120);

/// How long they then go right: long enough for every command to end, and for its receipt to be read.
const PEACE: Duration = Duration::from_secs(120);

fn limits() -> CommandLimits {
    CommandLimits {
        default_ttl: Duration::from_secs(60),
        lock_time: Duration::from_secs(5),
        delivery_count_max: 4,
        queue_depth_max: 6,
        feedback_lock_time: Duration::from_secs(5),
        feedback_ttl: Duration::from_secs(3600),
        ..CommandLimits::default()
    }
}

/// The simulation's time.
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn now(&self) -> UnixMillis {
        NOW.plus(turmoil::sim_elapsed().unwrap_or_default())
    }
}

/// Commands on a disk that takes its time, so that a crash comes before or after the commit, and its answer is lost either way.
struct SlowCommands {
    inner: Arc<MemoryCommands>,
    random: Mutex<StdRng>,
}

impl SlowCommands {
    async fn wait(&self) {
        let time = Duration::from_millis(self.random.lock().unwrap().random_range(0..20));
        sleep(time).await;
    }
}

#[async_trait::async_trait]
impl Commands for SlowCommands {
    async fn load(&self) -> Result<Pending, CommandsError> {
        self.wait().await;
        self.inner.load().await
    }

    async fn commit(&self, writes: &[CommandWrite]) -> Result<(), CommandsError> {
        self.wait().await;
        let fails = self.random.lock().unwrap().random_bool(0.01);
        if fails && self.random.lock().unwrap().random_bool(0.5) {
            return Err(CommandsError::Unavailable("not written".to_owned()));
        }
        self.inner.commit(writes).await?;
        self.wait().await;
        if fails { Err(CommandsError::Unavailable("written, and not said so".to_owned())) } else { Ok(()) }
    }

    async fn contents(&self, commands: &[CommandId]) -> Result<Vec<(CommandId, Bytes)>, CommandsError> {
        self.inner.contents(commands).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<Command>, CommandsError> {
        self.inner.command(id).await
    }

    async fn history(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, CommandsError> {
        self.inner.history(id).await
    }

    async fn list(&self, query: &CommandQuery) -> Result<Vec<Command>, CommandsError> {
        self.inner.list(query).await
    }

    async fn prune(&self, ended_before: UnixMillis, limit: usize) -> Result<usize, CommandsError> {
        self.inner.prune(ended_before, limit).await
    }
}

/// What people outside saw.
#[derive(Debug, Default)]
struct History {
    /// In the order in which it happened, with the simulation's time.
    trace: Vec<String>,
    /// Commands that the back end was told are taken.
    taken: BTreeMap<CommandId, String>,
    /// How often each payload came to its device.
    seen: BTreeMap<String, usize>,
    /// What the back end read, and had its word heard that it had.
    receipts: BTreeMap<CommandId, BTreeSet<&'static str>>,
}

/// What outlives every crash.
#[derive(Clone)]
struct Outside {
    seed: u64,
    commands: Arc<MemoryCommands>,
    registry: Arc<MemoryRegistry>,
    history: Arc<Mutex<History>>,
    boots: Arc<Mutex<u64>>,
}

impl Outside {
    fn new(seed: u64) -> Self {
        let registry = MemoryRegistry::default();
        let write = |name: &&str| RegistryWrite {
            id: DeviceId::parse(name).unwrap(),
            expected: Expected::Absent,
            new: Some(identity(name)),
            audit: None,
        };
        registry.write(DEVICES.iter().map(write).collect()).now_or_never().unwrap().unwrap();
        Self { seed, commands: Arc::default(), registry: Arc::new(registry), history: Arc::default(), boots: Arc::default() }
    }

    fn note(&self, what: impl FnOnce(&mut History) -> String) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        let mut history = self.history.lock().unwrap();
        let what = what(&mut history);
        history.trace.push(format!("{at} {what}"));
    }

    /// A number for somebody who throws dice.
    fn dice(&self, who: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(who))
    }

    /// One life of the hub.
    async fn hub(self) -> turmoil::Result {
        let boot = {
            let mut boots = self.boots.lock().unwrap();
            *boots += 1;
            *boots
        };
        self.note(|_| format!("hub begins its life {boot}"));
        let store = SlowCommands { inner: Arc::clone(&self.commands), random: Mutex::new(self.dice(1000 + boot)) };
        let hub = Arc::new(Hub::new(HubParts {
            names: HubNames::new("hub.example", &[]),
            boot: BootId(boot),
            policies: Policies::from_iter([]),
            command_limits: limits(),
            offline_after: None,
            registry: Arc::clone(&self.registry) as _,
            events: Arc::new(MemoryEventLog::new(NonZeroU16::MIN)),
            commands: Arc::new(store),
            connection_log: Arc::new(MemoryConnectionLog::default()),
            group_positions: Arc::new(MemoryGroupPositions::default()),
            audit: Audit::new(Arc::<MemoryAuditLog>::default(), None, AuditLimits::default()),
            sign_in: SignIn::default(),
            certificate_expiry: CertificateExpiry::told_by(|| None),
            surroundings: Arc::new(Alone),
            clock: Arc::new(SimulatedClock),
        }));
        // All in one task: the order in which a crash drops tasks depends on what other tests spawn, and a dropped stream throws dice.
        let mut tasks: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>> = FuturesUnordered::new();
        tasks.push(Box::pin(commands::run(Arc::clone(&hub))));
        tasks.push(Box::pin(self.clone().send_commands(Arc::clone(&hub), boot)));
        tasks.push(Box::pin(self.read_receipts(Arc::clone(&hub))));
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => {
                    let (stream, peer) = accepted?;
                    let stranger = Stranger { origin: Origin { protocol: Protocol::Mqtt, peer }, certificate: None };
                    tasks.push(Box::pin(serve_connection(Arc::clone(&hub), stream, stranger, Duration::from_secs(10), || ())));
                }
                _ = tasks.next() => {}
            }
        }
    }

    async fn send_commands(self, hub: Arc<Hub>, boot: u64) {
        let mut random = self.dice(2000 + boot);
        let mut number = 0;
        while turmoil::sim_elapsed().is_some_and(|elapsed| elapsed < TROUBLE) {
            sleep(Duration::from_millis(random.random_range(1..400))).await;
            let device = DEVICES[random.random_range(0..DEVICES.len())];
            number += 1;
            let payload = format!("{device}-{boot}-{number}");
            let mut message = Message { body: Body::Data(vec![payload.clone().into_bytes().into()]), ..Message::default() };
            message.properties.message_id = Some(MessageId::String(payload.clone().into()));
            if random.random_bool(0.3) {
                let ttl = Duration::from_millis(random.random_range(1..20_000));
                message.properties.absolute_expiry_time = Some(hub.now().plus(ttl));
            }
            let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".to_owned(), again_of: None };
            let device = DeviceId::parse(device).unwrap();
            let sent = send_command(&hub, device.clone(), command).await;
            assert!(hub.commands.pending_of(&device) <= limits().queue_depth_max);
            self.note(|history| match sent {
                Ok(command) => {
                    history.taken.insert(command.id, payload.clone());
                    format!("{payload} is taken as {}", command.id)
                }
                Err(error) => format!("{payload} is not taken: {error}"),
            });
        }
    }

    async fn read_receipts(self, hub: Arc<Hub>) {
        loop {
            sleep(Duration::from_millis(50)).await;
            let Ok(Some(batch)) = receive_feedback(&hub, 10).await else { continue };
            if settle_feedback(&hub, batch.token, Settlement::Complete).await.is_err() {
                continue;
            }
            self.note(|history| {
                let read = batch.receipts.iter().map(|receipt| {
                    history.receipts.entry(receipt.command).or_default().insert(receipt.outcome.name());
                    format!("{} {}", receipt.command, receipt.outcome.name())
                });
                format!("receipts: {}", read.collect::<Vec<_>>().join(", "))
            });
        }
    }

    /// A device comes and goes, and acknowledges or does not.
    async fn device(self, name: &'static str) -> turmoil::Result {
        let mut random = self.dice(u64::from(name.as_bytes()[0]));
        loop {
            let lasts = Duration::from_millis(random.random_range(500..15_000));
            if let Ok(Err(error)) = timeout(lasts, self.clone().connection(name, &mut random)).await {
                self.note(|_| format!("{name} lost its connection: {}", error.kind()));
            }
            sleep(Duration::from_millis(random.random_range(100..5_000))).await;
        }
    }

    async fn connection(self, name: &'static str, random: &mut StdRng) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("hub", PORT)).await?;
        let token = sign(&format!("hub.example/devices/{name}"), NOW.plus(Duration::from_secs(86_400)), &key(1), None);
        let connect = Connect {
            clean_session: false,
            keep_alive_seconds: 10,
            client_id: name,
            will: None,
            user_name: Some(&format!("hub.example/{name}/?api-version=2021-04-12")),
            password: Some(token.as_bytes()),
        };
        stream.write_all(&bytes_of(&Packet::Connect(connect))).await?;
        let filter = format!("devices/{name}/messages/devicebound/#");
        let packet_id = PacketId::new(1).unwrap();
        let subscribe = Subscribe { packet_id, filters: vec![(&filter, QoS::AtLeastOnce)] };
        stream.write_all(&bytes_of(&Packet::Subscribe(subscribe))).await?;
        let mut input = Vec::new();
        loop {
            while let Ok(Decoded::Packet { packet, length }) = decode(&input, Limits::CONNECTED) {
                let answer = match packet {
                    Packet::Publish(publish) => {
                        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                        let Delivery::AtLeastOnce { packet_id, .. } = publish.delivery else { panic!("QoS 1 was asked for") };
                        let takes = random.random_bool(0.7);
                        self.note(|history| {
                            *history.seen.entry(payload.clone()).or_default() += 1;
                            format!("{name} sees {payload}{}", if takes { "" } else { ", and ignores it" })
                        });
                        takes.then_some(packet_id)
                    }
                    _ => None,
                };
                input.drain(..length);
                if let Some(packet_id) = answer {
                    stream.write_all(&bytes_of(&Packet::PubAck(packet_id))).await?;
                }
            }
            match timeout(Duration::from_secs(4), stream.read_buf(&mut input)).await {
                Ok(read) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                Err(_) => stream.write_all(&bytes_of(&Packet::PingReq)).await?,
            }
        }
    }
}

/// Lets a history happen.
fn live(seed: u64) -> Outside {
    let outside = Outside::new(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(5))
        .simulation_duration(TROUBLE + PEACE + Duration::from_secs(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(80))
        .build();
    let hub = outside.clone();
    sim.host("hub", move || hub.clone().hub());
    for name in DEVICES {
        let device = outside.clone();
        sim.host(name, move || device.clone().device(name));
    }
    let mut random = outside.dice(0);
    let mut next = Duration::from_secs(2);
    let mut parted = None;
    while sim.elapsed() < TROUBLE + PEACE {
        sim.step().unwrap();
        if sim.elapsed() < next {
            continue;
        }
        next = sim.elapsed() + Duration::from_millis(random.random_range(500..6_000));
        if let Some(name) = parted.take() {
            sim.repair("hub", name);
        }
        if sim.elapsed() > TROUBLE {
            continue;
        }
        match random.random_range(0..4) {
            0 => {
                sim.crash("hub");
                sim.bounce("hub");
            }
            1 => {
                let name = DEVICES[random.random_range(0..DEVICES.len())];
                sim.crash(name);
                sim.bounce(name);
            }
            _ => {
                let name = DEVICES[random.random_range(0..DEVICES.len())];
                sim.partition("hub", name);
                parted = Some(name);
            }
        }
    }
    drop(sim);
    outside
}

/// What must hold of every command, whatever happened.
fn check(outside: &Outside) {
    let history = outside.history.lock().unwrap();
    let pending = outside.commands.load().now_or_never().unwrap().unwrap();
    assert_eq!((pending.commands.len(), pending.receipts.len()), (0, 0), "all has ended, and all receipts are read");
    assert!(history.taken.len() > 200 && *outside.boots.lock().unwrap() > 3, "something happened");
    let mut outcomes = BTreeSet::new();
    for number in 0..pending.next_command {
        let id = CommandId(number);
        let history_of = outside.commands.history(id).now_or_never().unwrap().unwrap();
        let (command, steps) = history_of.expect("what was numbered was kept");
        let (outcome, _) = command.ended.expect("all has ended");
        outcomes.insert(outcome.name());
        let payload = command.message_id.as_deref().unwrap();
        check_timeline(id, &steps);
        let seen = history.seen.get(payload).copied().unwrap_or_default();
        match outcome {
            Outcome::Completed => assert!(seen > 0, "{payload} was completed unseen"),
            Outcome::Expired | Outcome::DeliveryCountExceeded => {}
            other => panic!("nobody made {payload} {other:?}"),
        }
        // The back end may have crashed with the hub between its word and the answer to it: then nobody wrote the receipt down.
        let read = history.receipts.get(&id).cloned().unwrap_or_default();
        assert!(read.is_subset(&BTreeSet::from([outcome.name()])), "{payload} ended {outcome:?} and its receipts say {read:?}");
        assert_eq!(steps.iter().filter(|step| step.kind == StepKind::ReceiptRead).count(), 1, "{payload} has one receipt");
    }
    for (id, payload) in &history.taken {
        let command = outside.commands.command(*id).now_or_never().unwrap().unwrap();
        assert_eq!(command.and_then(|command| command.message_id).as_ref(), Some(payload), "what was taken is kept");
    }
    assert!(outcomes.len() == 3, "all outcomes occur: {outcomes:?}");
}

/// One end, nothing delivered after it, and each delivery counted.
fn check_timeline(id: CommandId, steps: &[Step]) {
    // How often it has been delivered so far. A hub that was killed has forgotten how many in a row were not sent.
    let (mut counted, mut not_sent) = (0..=0, 0);
    let mut has_ended = false;
    for step in steps {
        match &step.kind {
            StepKind::Delivered { delivery_count, .. } => {
                assert!(!has_ended, "command {id} was delivered after its end: {steps:?}");
                assert!(counted.contains(&(delivery_count - 1)), "{id}: {steps:?}");
                counted = *delivery_count..=*delivery_count;
            }
            StepKind::Returned(ReturnReason::NotSent) => {
                not_sent += 1;
                counted = counted.end() - 1..=if not_sent > NOT_SENT_MAX { *counted.end() } else { counted.end() - 1 };
            }
            StepKind::Returned(_) => not_sent = 0,
            StepKind::Ended { .. } => {
                assert!(!has_ended, "command {id} ended twice: {steps:?}");
                has_ended = true;
            }
            _ => {}
        }
    }
    assert!(steps.windows(2).all(|pair| pair[0].time <= pair[1].time), "{id}: {steps:?}");
}

#[test]
fn a_timeline_may_count_the_eleventh_delivery_that_was_not_sent_and_none_before_it() {
    let timeline = |unsent: u8, last| {
        let kinds = (0..unsent).flat_map(|_| [delivered(1), StepKind::Returned(ReturnReason::NotSent)]).chain([delivered(last)]);
        let steps: Vec<Step> = kinds.map(|kind| Step { time: NOW, kind }).collect();
        std::panic::catch_unwind(|| check_timeline(CommandId(1), &steps)).is_ok()
    };
    assert!(timeline(NOT_SENT_MAX, 1) && timeline(NOT_SENT_MAX + 1, 2) && timeline(NOT_SENT_MAX + 1, 1));
    assert!(!timeline(NOT_SENT_MAX, 2) && !timeline(NOT_SENT_MAX + 1, 3));
}

fn delivered(delivery_count: u32) -> StepKind {
    StepKind::Delivered { receiver: Receiver { protocol: Protocol::Mqtt, connection: None }, delivery_count }
}

#[test]
fn whatever_happens_each_command_ends_once_and_its_sender_is_told_once() {
    for seed in 0..6 {
        let checked = std::panic::catch_unwind(|| check(&live(seed)));
        assert!(checked.is_ok(), "failed with seed {seed}");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let trace = || std::mem::take(&mut live(11).history.lock().unwrap().trace);
    let (first, second) = (trace(), trace());
    assert!(first.len() > 500, "{}", first.len());
    if let Some(place) = first.iter().zip(&second).position(|(first, second)| first != second) {
        let around = place.saturating_sub(10)..place + 1;
        panic!("the histories part: {:#?} and {:#?}", &first[around.clone()], &second[around]);
    }
    assert_eq!(first.len(), second.len());
}
