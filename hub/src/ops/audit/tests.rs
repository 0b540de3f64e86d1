//! What is written down, and when.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;

use super::*;
use crate::core::audit::AuditAction;
use crate::core::command::{Acknowledgement, CommandId};
use crate::core::device_id::DeviceId;
use crate::core::principal::{Principal, SignInMethod};
use crate::ops::purge_commands::purge_commands;
use crate::ops::read_commands::{CommandQuery, list_commands};
use crate::ops::send_again::send_again;
use crate::ops::send_command::{NewCommand, send_command_by};
use crate::ops::world::{World, payload};
use crate::store::memory::audit::MemoryAuditLog;

fn ada() -> By {
    By { principal: Principal::Person("ada".into(), SignInMethod::Password), door: Door::Dashboard, address: None }
}

async fn all(world: &World) -> Vec<AuditEntry> {
    read_audit(&world.hub, &AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap()
}

#[tokio::test]
async fn entries_that_come_together_are_all_written() {
    let world = World::new();
    let deeds = (0..50).map(|number| {
        let hub = Arc::clone(&world.hub);
        tokio::spawn(async move { record(&hub, &ada(), Deed::done(AuditAction::CommandSent).to(format!("d-{number}"))).await })
    });
    for deed in deeds.collect::<Vec<_>>() {
        deed.await.unwrap().unwrap();
    }
    let entries = all(&world).await;
    assert_eq!(entries.len(), 50);
    assert!(entries.windows(2).all(|pair| pair[0].id > pair[1].id), "each has a number of its own");
}

#[tokio::test]
async fn who_reads_on_is_written_down_once_an_hour() {
    let world = World::new();
    let device = device();
    let read = async |device: Option<&DeviceId>| record_bodies_read(&world.hub, &ada(), device).await.unwrap();
    for _ in 0..3 {
        read(Some(&device)).await;
        read(None).await;
    }
    assert_eq!(all(&world).await.len(), 2);
    world.clock.0.fetch_add(60 * 60 * 1000, Ordering::Relaxed);
    read(Some(&device)).await;
    assert_eq!(all(&world).await.len(), 3);
}

#[tokio::test]
async fn what_is_too_old_is_forgotten() {
    let world = World::new();
    record(&world.hub, &ada(), Deed::done(AuditAction::SignIn)).await.unwrap();
    world.clock.0.fetch_add(89 * 24 * 3600 * 1000, Ordering::Relaxed);
    record(&world.hub, &ada(), Deed::done(AuditAction::SignOut)).await.unwrap();
    prune_audit(&world.hub).await.unwrap();
    assert_eq!(all(&world).await.len(), 2);
    world.clock.0.fetch_add(2 * 24 * 3600 * 1000, Ordering::Relaxed);
    prune_audit(&world.hub).await.unwrap();
    assert_eq!(all(&world).await.iter().map(|entry| entry.action).collect::<Vec<_>>(), [AuditAction::SignOut]);
}

#[tokio::test]
async fn neither_programs_nor_people_push_out_what_the_others_did() {
    let limits = AuditLimits { entries_max: 100, ..AuditLimits::default() };
    for (of_people, of_programs, left) in [
        (10, 5_000, [10, 90]),
        (5_000, 10, [90, 10]),
        (5_000, 5_000, [50, 50]),
        (45, 70, [45, 55]),
        (60, 45, [55, 45]),
        (60, 40, [60, 40]),
        (0, 101, [0, 100]),
    ] {
        let log = Arc::<MemoryAuditLog>::default();
        let audit = Audit::new(Arc::clone(&log) as _, None, limits);
        let deeds = (0..of_people).map(|_| ada()).chain((0..of_programs).map(|_| crate::ops::world::by_service()));
        let entries: Vec<_> = deeds.map(|by| audit.entry(crate::ops::world::NOW, &by, Deed::done(AuditAction::DeviceCreated))).collect();
        log.append(&entries).await.unwrap();
        audit.prune(crate::ops::world::NOW).await.unwrap();
        assert_eq!([log.count(Authors::Others).await.unwrap(), log.count(Authors::Programs).await.unwrap()], left);
        let latest = log.entries(&AuditQuery { limit: 1, ..AuditQuery::default() }).await.unwrap();
        assert_eq!(latest[0], *entries.last().unwrap(), "the oldest went");
    }
}

/// A log that dies of the first entries that it is to write.
#[derive(Default)]
struct Dies {
    log: MemoryAuditLog,
    has_died: AtomicBool,
}

#[async_trait]
impl AuditLog for Dies {
    async fn append(&self, entries: &[AuditEntry]) -> Result<(), AuditLogError> {
        assert!(self.has_died.swap(true, Ordering::Relaxed), "this is what it dies of");
        self.log.append(entries).await
    }

    async fn entries(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, AuditLogError> {
        self.log.entries(query).await
    }

    async fn last(&self) -> Result<Option<AuditId>, AuditLogError> {
        self.log.last().await
    }

    async fn count(&self, of: Authors) -> Result<usize, AuditLogError> {
        self.log.count(of).await
    }

    async fn prune(&self, of: Authors, before: AuditId, limit: usize) -> Result<usize, AuditLogError> {
        self.log.prune(of, before, limit).await
    }
}

#[tokio::test]
async fn a_log_that_dies_of_an_entry_writes_the_next_ones() {
    let world = World::auditing(Arc::<Dies>::default());
    assert!(record(&world.hub, &ada(), Deed::done(AuditAction::SignIn)).await.is_err());
    record(&world.hub, &ada(), Deed::done(AuditAction::SignOut)).await.unwrap();
    assert_eq!(all(&world).await.len(), 1);
}

fn device() -> DeviceId {
    DeviceId::parse("D").unwrap()
}

fn open() -> NewCommand<'static> {
    NewCommand { message: payload("open"), ack: Acknowledgement::None, sent_by: "ada".to_owned(), again_of: None }
}

/// Somebody asks, and goes away before the answer, when the device's queue has become so long.
async fn leaves<T>(world: &World, asks: impl Future<Output = T>, queue: usize) {
    let mut asks = Box::pin(asks);
    for _ in 0..1000 {
        if world.hub.commands.pending_of(&device()) == queue {
            return;
        }
        assert!(asks.as_mut().now_or_never().is_none(), "the desk has not decided yet");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing was done");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_did_who_went_away_is_written_down() {
    let world = World::with_device("D").await;
    let written = async || {
        // As a hub that ends does.
        finish_audit(&world.hub).await;
        all(&world).await.iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    leaves(&world, send_command_by(&world.hub, &ada(), device(), open()), 1).await;
    assert_eq!(written().await, [AuditAction::CommandSent]);
    leaves(&world, purge_commands(&world.hub, &ada(), device()), 0).await;
    assert_eq!(written().await, [AuditAction::CommandsPurged, AuditAction::CommandSent]);
    let purged = list_commands(&world.hub, CommandQuery { limit: 1, ..CommandQuery::default() }).await.unwrap()[0].command.id;
    leaves(&world, send_again(&world.hub, &ada(), purged), 1).await;
    assert_eq!(written().await[0], AuditAction::CommandSentAgain);
}

#[tokio::test]
async fn what_could_not_be_written_down_is_the_next_time() {
    let world = World::auditing(Arc::<Dies>::default());
    for entries in [0, 1, 1] {
        record_command_sent(&world.hub, &crate::ops::world::by_service(), &device(), CommandId(7)).await;
        assert_eq!(all(&world).await.len(), entries);
    }
}

/// A person may be refused as often as she asks.
#[tokio::test]
async fn of_a_person_who_is_refused_a_thousand_things_a_hundred_are_written_down() {
    let world = World::new();
    let deed = |number: u32| Deed::refused(AuditAction::DeviceDeleted, "it is not there").to(format!("d-{number}"));
    record_all_refused(&world.hub, &ada(), (0..1000).map(deed)).await;
    let query = AuditQuery { limit: 1000, ..AuditQuery::default() };
    assert_eq!(read_audit(&world.hub, &query).await.unwrap().len(), 100);
    world.clock.0.fetch_add(30_000, Ordering::Relaxed);
    record_all_refused(&world.hub, &ada(), (0..9).map(deed)).await;
    assert_eq!(read_audit(&world.hub, &query).await.unwrap().len(), 101);
}

#[tokio::test]
async fn what_a_person_was_refused_is_written_down_and_what_a_program_was_is_not() {
    let world = World::new();
    let program = crate::ops::world::by_service();
    for by in [&program, &ada()] {
        assert!(send_command_by(&world.hub, by, device(), open()).await.is_err());
        assert!(purge_commands(&world.hub, by, device()).await.is_err());
        assert!(send_again(&world.hub, by, CommandId(9)).await.is_err());
        assert!(crate::ops::show_secrets::show_secrets(&world.hub, by, &device()).await.is_err());
    }
    let refused = all(&world).await;
    let of = |entry: &AuditEntry| (entry.action, entry.device.is_some(), entry.by == ada() && entry.refused.is_some());
    let expected = [
        (AuditAction::SecretsShown, true, true),
        (AuditAction::CommandSentAgain, false, true),
        (AuditAction::CommandsPurged, true, true),
        (AuditAction::CommandSent, true, true),
    ];
    assert_eq!(refused.iter().map(of).collect::<Vec<_>>(), expected);
}
