//! What would fill the audit if it were in it each time: who reads bodies, and what programs send. It is written down once an hour.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lru::LruCache;
use tokio::sync::Mutex as AsyncMutex;
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

/// How many who read are remembered for that: people and policies. 10 MB at most.
const READERS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not 0");

/// How many programs that send are remembered for that. They are policies, of which nobody has so many.
const SENDERS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(100).expect("not 0");

/// For how many devices within an hour one has entries; one more says that there were others. So a program that sends leaves at most 131,760
/// in 90 days, and one who reads 133,920, however large the fleet is.
const DEVICES_AN_HOUR: usize = 60;

/// How often somebody who reads on looks whether it is to be said again.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);

/// What was said lately.
pub(super) struct Said {
    readers: Mutex<LruCache<Principal, Arc<AsyncMutex<Hour>>>>,
    senders: Mutex<LruCache<String, Hour>>,
}

/// What was said of one in an hour.
struct Hour {
    since: UnixMillis,
    devices: HashSet<DeviceId>,
    /// Of all devices at once.
    all: bool,
    /// That there were others than these.
    others: bool,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saying {
    /// What was done.
    This,
    /// That it was done with others, too.
    Others,
    Nothing,
}

impl Default for Said {
    fn default() -> Self {
        Self { readers: Mutex::new(LruCache::new(READERS_REMEMBERED)), senders: Mutex::new(LruCache::new(SENDERS_REMEMBERED)) }
    }
}

impl Said {
    /// Held while it is written down that this one reads: many streams that one opens at once must not each find that there is something to say.
    fn reader(&self, reader: &Principal, now: UnixMillis) -> Arc<AsyncMutex<Hour>> {
        let mut readers = self.readers.lock().expect("nothing panics while it holds this lock");
        let begun = || Arc::new(AsyncMutex::new(Hour::begun(now)));
        Arc::clone(readers.get_or_insert_ref(reader, begun))
    }

    fn sends(&self, policy: &str, device: &DeviceId, now: UnixMillis) -> Saying {
        let mut senders = self.senders.lock().expect("nothing panics while it holds this lock");
        let sender = senders.get_or_insert_mut_ref(policy, || Hour::begun(now));
        let saying = sender.what_to_say(Some(device), now);
        sender.was_said(saying, Some(device));
        saying
    }

    /// What was to be said could not be.
    fn was_not_said(&self, policy: &str, saying: Saying, device: &DeviceId) {
        let mut senders = self.senders.lock().expect("nothing panics while it holds this lock");
        match (saying, senders.get_mut(policy)) {
            (Saying::This, Some(sender)) => drop(sender.devices.remove(device)),
            (Saying::Others, Some(sender)) => sender.others = false,
            (Saying::Nothing, _) | (_, None) => {}
        }
    }
}

impl Hour {
    fn begun(now: UnixMillis) -> Self {
        Self { since: now, devices: HashSet::new(), all: false, others: false }
    }

    /// What to say of this device now, or of all. A clock that was set back must not keep anything from being said.
    fn what_to_say(&mut self, device: Option<&DeviceId>, now: UnixMillis) -> Saying {
        if self.since > now || now.since(self.since) >= SAID_EVERY {
            *self = Self::begun(now);
        }
        match device {
            None if self.all => Saying::Nothing,
            None => Saying::This,
            Some(device) if self.devices.contains(device) => Saying::Nothing,
            Some(_) if self.devices.len() < DEVICES_AN_HOUR => Saying::This,
            Some(_) if self.others => Saying::Nothing,
            Some(_) => Saying::Others,
        }
    }

    fn was_said(&mut self, saying: Saying, device: Option<&DeviceId>) {
        match (saying, device) {
            (Saying::This, Some(device)) => drop(self.devices.insert(device.clone())),
            (Saying::This, None) => self.all = true,
            (Saying::Others, _) => self.others = true,
            (Saying::Nothing, _) => {}
        }
    }
}

/// Writes down that somebody reads bodies, of one device or of all, unless that was said in this hour. Whoever reads waits for it.
pub async fn record_bodies_read(hub: &Arc<Hub>, by: &By, device: Option<&DeviceId>) -> Result<(), AuditLogError> {
    let reader = hub.audit.said.reader(&by.principal, hub.now());
    let mut hour = reader.lock().await;
    let saying = hour.what_to_say(device, hub.now());
    let deed = Deed::done(AuditAction::BodiesRead);
    let deed = match (saying, device) {
        (Saying::Nothing, _) => return Ok(()),
        (Saying::This, Some(device)) => deed.to(device.as_str()),
        (Saying::This, None) => deed.saying("of all devices"),
        (Saying::Others, _) => deed.saying(format!("of more than {DEVICES_AN_HOUR} devices within an hour")),
    };
    record(hub, by, deed).await?;
    hour.was_said(saying, device);
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
    let program = match (&by.principal, by.door) {
        (Principal::Policy(policy), Door::Rest) => Some(policy),
        _ => None,
    };
    let saying = program.map_or(Saying::This, |policy| hub.audit.said.sends(policy, device, hub.now()));
    let deed = Deed::done(AuditAction::CommandSent);
    let written = match saying {
        Saying::This => record_done(hub, by, deed.to(device.as_str()).saying(format!("command {id}"))).await,
        Saying::Others => record_done(hub, by, deed.saying(format!("to more than {DEVICES_AN_HOUR} devices within an hour"))).await,
        Saying::Nothing => true,
    };
    if let (Some(policy), false) = (program, written) {
        hub.audit.said.was_not_said(policy, saying, device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::principal::SignInMethod;
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

        for number in 2..DEVICES_AN_HOUR {
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

    /// However many streams somebody opens at once, and of however many devices.
    #[tokio::test]
    async fn whoever_reads_of_many_devices_leaves_so_many_entries_an_hour() {
        let world = World::new();
        let ada = By { principal: Principal::Person("ada".into(), SignInMethod::Password), door: Door::Dashboard, address: None };
        let read_all = async |by: &By, devices: usize| {
            let readers = (0..3 * devices).map(|number| {
                let (hub, by) = (Arc::clone(&world.hub), by.clone());
                let device = DeviceId::parse(&format!("d-{}", number % devices)).unwrap();
                tokio::spawn(async move { record_bodies_read(&hub, &by, Some(&device)).await })
            });
            for reader in readers.collect::<Vec<_>>() {
                reader.await.unwrap().unwrap();
            }
            record_bodies_read(&world.hub, by, None).await.unwrap();
            let query = AuditQuery { limit: 1000, ..AuditQuery::default() };
            let entries = read_audit(&world.hub, &query).await.unwrap();
            let others = "of more than 60 devices within an hour";
            (entries.len(), entries.iter().filter(|entry| entry.detail.as_deref() == Some(others)).count())
        };
        assert_eq!(read_all(&ada, DEVICES_AN_HOUR).await, (61, 0));
        assert_eq!(read_all(&ada, 200).await, (62, 1));
        assert_eq!(read_all(&by_service(), 200).await, (124, 2), "each for itself");
        world.clock.0.fetch_add(SAID_EVERY.as_millis() as i64, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(read_all(&ada, 3).await, (128, 2), "once an hour, each again");
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
