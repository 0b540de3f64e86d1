//! What is written down, and when.

use super::*;
use crate::core::principal::{Door, SignInMethod};
use crate::ops::world::World;

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
    let device = DeviceId::parse("D").unwrap();
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
