//! The crash ring over AMQP: the real binary is killed again and again while devices send by fe2o3-amqp's client, and observers read each
//! partition on from the offset that they have; one of them over AMQP, by a selector.

use std::collections::BTreeSet;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use e2e::amqp::{EventReader, ReadEvent};
use e2e::events::{Event, Events};
use e2e::history::History;
use e2e::hub::Hub;
use e2e::load::Sender;
use e2e::namespace::isolated;
use e2e::patience::within;
use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use tokio::sync::watch;

/// How often the hub is killed, unless MOORING_KILLS says otherwise (`make soak` does).
const KILLS: u32 = 15;

/// Devices that send all the while; more than the partitions, so that some share one.
const DEVICES: usize = 12;

/// The hub's default.
const PARTITIONS: u16 = 4;

/// A kill comes after so many acknowledgements at most since the start.
const ACKNOWLEDGEMENTS_MAX: u64 = 3000;

#[test]
fn kills_under_load_lose_nothing_that_was_accepted_over_amqp() -> Result<()> {
    isolated(async || {
        let kills = std::env::var("MOORING_KILLS").ok().map_or(Ok(KILLS), |text| text.parse()).context("MOORING_KILLS is not a number")?;
        let ids: Vec<String> = (0..DEVICES).map(|number| format!("sender-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let senders: Vec<Sender> = ids.iter().map(|id| Sender::new(id)).collect();
        let observers: Vec<Observer> = (0..PARTITIONS).map(Observer::of).collect();
        let follower = Follower::default();
        let mut hub = Hub::start(&ids).await?;
        for number in 0..kills {
            // Spread over the whole range, and the same in every run.
            let target = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACKNOWLEDGEMENTS_MAX;
            until_killed(&mut hub, &senders, &observers, &follower, target)
                .await
                .with_context(|| format!("kill {number}, after {target} outcomes"))?;
            hub.restart().await.with_context(|| format!("the restart after kill {number}"))?;
        }
        let kept = Events::all(&hub).await?;
        let acknowledged = senders.iter().map(|sender| (sender.device.clone(), sender.acknowledged())).collect();
        let history = History { acknowledged, ..History::default() };
        history.judge(&kept)?;
        for observer in &observers {
            observer.read(&hub, "false").await?;
            let own: Vec<&Event> = kept.iter().filter(|event| event.partition == observer.partition).collect();
            let seen = observer.seen.lock().expect("nobody panics while it is held");
            ensure!(seen.iter().eq(own), "partition {}: the observer has {} events of others", observer.partition, seen.len());
        }
        follower.has_all_of(&hub, &kept).await?;
        report(kills, &history, kept.len());
        Ok(())
    })
}

/// Lets devices send and observers read until so many outcomes have come; then kills the hub, at whatever it is doing.
async fn until_killed(hub: &mut Hub, senders: &[Sender], observers: &[Observer], follower: &Follower, target: u64) -> Result<()> {
    let (progress, mut acknowledged) = watch::channel(0);
    let process = hub.process_id()?;
    let killing = async {
        within("acknowledgements", acknowledged.wait_for(|count| *count >= target)).await??;
        kill(process, Signal::SIGKILL).context("the hub can't be killed")
    };
    let sending = try_join_all(senders.iter().map(|sender| sender.send_over_amqp_until_killed(hub, &progress)));
    let observing = try_join_all(observers.iter().map(|observer| observer.read(hub, "true")));
    tokio::try_join!(killing, sending, observing, follower.follow(hub))?;
    hub.kill9().await
}

/// A consumer of one partition, which keeps the place that it has come to.
#[derive(Debug)]
struct Observer {
    partition: u16,
    seen: Mutex<Vec<Event>>,
}

impl Observer {
    fn of(partition: u16) -> Self {
        Self { partition, seen: Mutex::default() }
    }

    /// Reads on from the last offset, which still is that of the same event, until the stream ends or breaks.
    async fn read(&self, hub: &Hub, follow: &str) -> Result<()> {
        let last = self.seen.lock().expect("nobody panics while it is held").last().cloned();
        let from = last.as_ref().map_or("earliest".to_owned(), |event| format!("offset:{}", event.offset));
        let query = format!("partition={}&from={from}&follow={follow}", self.partition);
        let Ok(mut reader) = Events::open(hub, &query).await else { return Ok(()) };
        if let Some(last) = last {
            let Ok(Some(again)) = reader.next().await else { return Ok(()) };
            ensure!(again == last, "offset {} was {last:?}, and is {again:?} now", last.offset);
        }
        while let Ok(Some(event)) = reader.next().await {
            self.seen.lock().expect("nobody panics while it is held").push(event);
        }
        Ok(())
    }
}

/// A consumer over AMQP of the first partition, which goes on behind the offset that it has come to.
#[derive(Debug, Default)]
struct Follower(Mutex<Vec<ReadEvent>>);

impl Follower {
    const PARTITION: u16 = 0;

    /// Reads on until the connection breaks.
    async fn follow(&self, hub: &Hub) -> Result<()> {
        let last = self.0.lock().expect("nobody panics while it is held").last().map(|event| event.offset.clone());
        let Ok(mut reader) = EventReader::after(hub, Self::PARTITION, last.as_deref()).await else { return Ok(()) };
        while let Ok(event) = reader.next().await {
            self.take(event)?;
        }
        Ok(())
    }

    /// Nothing comes twice, and nothing is passed over.
    fn take(&self, event: ReadEvent) -> Result<()> {
        let mut seen = self.0.lock().expect("nobody panics while it is held");
        ensure!(event.sequence_number == i64::try_from(seen.len())?, "{event:?} came after {:?}", seen.last());
        seen.push(event);
        Ok(())
    }

    /// Reads the rest, and compares what it has with what the hub keeps.
    async fn has_all_of(&self, hub: &Hub, kept: &[Event]) -> Result<()> {
        let own = kept.iter().filter(|event| event.partition == Self::PARTITION);
        let own: Vec<ReadEvent> = own.map(as_read).collect::<Result<_>>()?;
        ensure!(!own.is_empty(), "partition {} has no events", Self::PARTITION);
        let (last, count) = {
            let seen = self.0.lock().expect("nobody panics while it is held");
            (seen.last().map(|event| event.offset.clone()), seen.len())
        };
        ensure!(count > 0, "nothing was read over AMQP between the kills");
        let mut reader = EventReader::after(hub, Self::PARTITION, last.as_deref()).await?;
        for _ in count..own.len() {
            self.take(within("an event over AMQP", reader.next()).await??)?;
        }
        let seen = self.0.lock().expect("nobody panics while it is held");
        let other = seen.iter().zip(&own).find(|(seen, own)| seen != own);
        ensure!(other.is_none() && seen.len() == own.len(), "{} events over AMQP and {} kept: {other:?}", seen.len(), own.len());
        Ok(())
    }
}

fn as_read(event: &Event) -> Result<ReadEvent> {
    let (offset, device_id) = (event.offset.clone(), event.device_id.clone());
    Ok(ReadEvent { sequence_number: i64::try_from(event.sequence_number)?, offset, device_id, body: event.bytes()? })
}

#[expect(clippy::print_stderr, reason = "a test's voice")]
fn report(kills: u32, history: &History, kept: usize) {
    let acknowledged: usize = history.acknowledged.values().map(BTreeSet::len).sum();
    eprintln!("{kills} kills: {acknowledged} messages accepted over AMQP, {kept} events kept");
}
