//! What would fill the audit if it were in it each time: who reads bodies, and what programs send. It is written down once an hour.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lru::LruCache;
use tokio::time::{Instant, sleep_until};

use super::{record, record_done};
use crate::core::audit::{AuditAction, Deed};
use crate::core::command::CommandId;
use crate::core::device_id::DeviceId;
use crate::core::principal::{By, Door, Principal};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::audit::AuditLogError;

/// How long it is not said again: who looks on for a day leaves 24 entries, and not 100,000.
const SAID_EVERY: Duration = Duration::from_secs(60 * 60);

/// How many readers and devices are remembered for that.
const READERS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

/// How many programs that send are remembered for that. They are policies, of which nobody has so many.
const SENDERS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(100).expect("not 0");

/// To how many devices within an hour a program has entries; one more says that there were others. So it leaves at most 131,760 in 90 days,
/// however large the fleet is and whatever it sends.
const DEVICES_PER_SENDER: usize = 60;

/// How often somebody who reads on looks whether it is to be said again.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);

/// What was said lately.
pub(super) struct Said {
    bodies: Mutex<LruCache<(Principal, String), UnixMillis>>,
    senders: Mutex<LruCache<String, Sender>>,
}

/// A program that sends, in an hour.
struct Sender {
    since: UnixMillis,
    devices: HashSet<DeviceId>,
    /// Whether it was said that there were others.
    others: bool,
}

/// What to say of a command that was sent.
#[derive(Debug, PartialEq, Eq)]
enum Saying {
    /// That it was.
    Command,
    /// That its sender sends to others, too.
    Others,
    Nothing,
}

impl Default for Said {
    fn default() -> Self {
        Self { bodies: Mutex::new(LruCache::new(READERS_REMEMBERED)), senders: Mutex::new(LruCache::new(SENDERS_REMEMBERED)) }
    }
}

impl Said {
    fn bodies(&self) -> MutexGuard<'_, LruCache<(Principal, String), UnixMillis>> {
        self.bodies.lock().expect("nothing panics while it holds this lock")
    }

    fn sends(&self, policy: &str, device: &DeviceId, now: UnixMillis) -> Saying {
        let mut senders = self.senders.lock().expect("nothing panics while it holds this lock");
        let begun = || Sender { since: now, devices: HashSet::new(), others: false };
        let sender = senders.get_or_insert_mut(policy.to_owned(), begun);
        if !is_lately(sender.since, now) {
            *sender = begun();
        }
        if sender.devices.contains(device) {
            Saying::Nothing
        } else if sender.devices.len() < DEVICES_PER_SENDER {
            sender.devices.insert(device.clone());
            Saying::Command
        } else if std::mem::replace(&mut sender.others, true) {
            Saying::Nothing
        } else {
            Saying::Others
        }
    }
}

/// A clock that was set back must not keep anything from being said.
fn is_lately(said: UnixMillis, now: UnixMillis) -> bool {
    said <= now && now.since(said) < SAID_EVERY
}

/// Writes down that somebody reads bodies, of one device or of all, unless that was said lately. Whoever reads waits for it.
pub async fn record_bodies_read(hub: &Arc<Hub>, by: &By, device: Option<&DeviceId>) -> Result<(), AuditLogError> {
    let key = (by.principal.clone(), device.map(DeviceId::to_string).unwrap_or_default());
    let now = hub.now();
    if hub.audit.said.bodies().get(&key).is_some_and(|last| is_lately(*last, now)) {
        return Ok(());
    }
    let deed = Deed::done(AuditAction::BodiesRead);
    let deed = device.map_or_else(|| deed.clone().saying("of all devices"), |device| deed.clone().to(device.as_str()));
    record(hub, by, deed).await?;
    hub.audit.said.bodies().put(key, now);
    Ok(())
}

/// Somebody who reads bodies, and goes on for as long as this is kept.
pub struct BodiesReader {
    hub: Arc<Hub>,
    by: By,
    device: Option<DeviceId>,
    look: Instant,
    /// What writes it down now, kept because whoever waits for it may turn to something else.
    written: Option<BoxFuture<'static, Result<(), AuditLogError>>>,
}

impl BodiesReader {
    /// Writes down that somebody begins to read.
    pub async fn begin(hub: &Arc<Hub>, by: By, device: Option<DeviceId>) -> Result<Self, AuditLogError> {
        record_bodies_read(hub, &by, device.as_ref()).await?;
        Ok(Self { hub: Arc::clone(hub), by, device, look: Instant::now() + LOOK_EVERY, written: None })
    }

    /// Writes it down again whenever that is due; answers when it can't be, and nothing more is to be read. Nothing is missed when this is
    /// dropped.
    pub async fn cannot_go_on(&mut self) -> AuditLogError {
        loop {
            if self.written.is_none() {
                sleep_until(self.look).await;
                let (hub, by, device) = (Arc::clone(&self.hub), self.by.clone(), self.device.clone());
                self.written = Some(async move { record_bodies_read(&hub, &by, device.as_ref()).await }.boxed());
            }
            if let Some(written) = &mut self.written {
                let written = written.await;
                (self.written, self.look) = (None, Instant::now() + LOOK_EVERY);
                if let Err(error) = written {
                    return error;
                }
            }
        }
    }
}

/// Writes down that a command was sent: each one of a person, and of a program the first of an hour to each device, to so many devices. Who
/// sent a command is kept with the command.
pub(in crate::ops) async fn record_command_sent(hub: &Arc<Hub>, by: &By, device: &DeviceId, id: CommandId) {
    let saying = match (&by.principal, by.door) {
        (Principal::Policy(policy), Door::Rest) => hub.audit.said.sends(policy, device, hub.now()),
        _ => Saying::Command,
    };
    let deed = Deed::done(AuditAction::CommandSent);
    match saying {
        Saying::Command => record_done(hub, by, deed.to(device.as_str()).saying(format!("command {id}"))).await,
        Saying::Others => record_done(hub, by, deed.saying(format!("to more than {DEVICES_PER_SENDER} devices within an hour"))).await,
        Saying::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::audit::read_audit;
    use crate::ops::world::{World, by_service};
    use crate::store::audit::AuditQuery;

    #[tokio::test]
    async fn a_program_that_sends_on_is_written_down_once_an_hour_and_a_person_each_time() {
        let world = World::new();
        let send = async |by: &By, device: &str| {
            record_command_sent(&world.hub, by, &DeviceId::parse(device).unwrap(), CommandId(7)).await;
            let query = AuditQuery { limit: 1000, ..AuditQuery::default() };
            let entries = read_audit(&world.hub, &query).await.unwrap();
            (entries.len(), entries[0].device.clone(), entries[0].detail.clone().unwrap())
        };
        let later = |time: i64| world.clock.0.fetch_add(time, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(send(&by_service(), "D").await, (1, Some("D".into()), "command 7".into()));
        assert_eq!(send(&by_service(), "D").await.0, 1);
        let other = By { principal: Principal::Policy("owner".into()), ..by_service() };
        assert_eq!([send(&other, "D").await.0, send(&by_service(), "E").await.0], [2, 3]);
        for door in [Door::Dashboard, Door::CommandLine] {
            let by = By { door, ..by_service() };
            let before = send(&by, "D").await.0;
            assert_eq!(send(&by, "D").await.0, before + 1);
        }

        for number in 2..DEVICES_PER_SENDER {
            send(&by_service(), &format!("d-{number}")).await;
        }
        let (before, device, detail) = send(&by_service(), "one-more").await;
        assert_eq!((device, detail.as_str()), (None, "to more than 60 devices within an hour"));
        assert_eq!([send(&by_service(), "and-another").await.0, send(&by_service(), "D").await.0], [before; 2]);
        later(SAID_EVERY.as_millis() as i64);
        assert_eq!(send(&by_service(), "D").await.0, before + 1);
        later(-2 * SAID_EVERY.as_millis() as i64);
        assert_eq!(send(&by_service(), "D").await.0, before + 2, "the clock was set back");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_on_is_written_down_again() {
        let world = World::new();
        let mut reader = BodiesReader::begin(&world.hub, by_service(), None).await.unwrap();
        for _ in 0..15 {
            world.clock.0.fetch_add(LOOK_EVERY.as_millis() as i64, std::sync::atomic::Ordering::Relaxed);
            tokio::time::advance(LOOK_EVERY).await;
            // Somebody to whom much is told hardly ever waits for it.
            for _ in 0..5 {
                assert!(reader.cannot_go_on().now_or_never().is_none());
            }
            tokio::task::yield_now().await;
            assert!(reader.cannot_go_on().now_or_never().is_none());
        }
        let query = AuditQuery { limit: 10, ..AuditQuery::default() };
        assert_eq!(read_audit(&world.hub, &query).await.unwrap().len(), 3, "at the beginning, and after each of two hours");
    }
}
