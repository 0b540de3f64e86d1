//! Somebody panics: whoever holds something gives it back, and nobody is left waiting.

use super::*;
use crate::core::command::draft::draft;
use crate::core::command::machine::Poll;
use crate::core::identity::DeviceIdentity;
use crate::ops::commands::request::Request;
use crate::ops::open_session::OpenSession;
use crate::store::memory::registry::MemoryRegistry;
use crate::store::{DeviceActivity, DeviceCount, ExpectationFailed, Registry, RegistryError, RegistryWrite};

/// A registry that panics when it is asked for this device.
struct PanickingRegistry(MemoryRegistry, &'static str);

#[async_trait::async_trait]
impl Registry for PanickingRegistry {
    async fn get(&self, id: &DeviceId) -> Result<Option<DeviceIdentity>, RegistryError> {
        assert!(id.as_str() != self.1, "told to panic");
        self.0.get(id).await
    }

    async fn list(&self, after: Option<&DeviceId>, limit: usize) -> Result<Vec<DeviceIdentity>, RegistryError> {
        self.0.list(after, limit).await
    }

    async fn write(&self, writes: Vec<RegistryWrite>) -> Result<Vec<Result<(), ExpectationFailed>>, RegistryError> {
        self.0.write(writes).await
    }

    async fn record_activity(&self, activity: Vec<DeviceActivity>) -> Result<(), RegistryError> {
        self.0.record_activity(activity).await
    }

    async fn count(&self) -> Result<DeviceCount, RegistryError> {
        self.0.count().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_panics_gives_back_what_it_has() {
    let world = World::with_device("D").await;
    let session = world.session().await;
    subscribe(&world.hub, &session, 2);
    let (taken, waiting) = (world.send("m1").await.unwrap(), world.send("m2").await.unwrap());
    world.settled().await;
    let hub = Arc::clone(&world.hub);
    let connection = tokio::spawn(async move {
        let session = OpenSession::new(&hub, session);
        assert!(session.take_delivery().is_none(), "it has come, and this panics");
    });
    assert!(connection.await.unwrap_err().is_panic());
    world.settled().await;
    assert_eq!(world.steps(taken.id).await.last(), Some(&StepKind::Returned(ReturnReason::ConnectionClosed)));
    assert_eq!(world.steps(waiting.id).await.last(), Some(&StepKind::Returned(ReturnReason::NotSent)));
    let session = world.session().await;
    subscribe(&world.hub, &session, 2);
    world.settled().await;
    let again: Vec<_> = session.take_deliveries().iter().map(|delivery| (delivery.command, delivery.delivery_count)).collect();
    assert_eq!(again, [(taken.id, 2), (waiting.id, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_poll_panics_does_not_count() {
    let world = World::with_device("D").await;
    let (right, command) = (world.right().await, world.send("m1").await.unwrap());
    let hub = Arc::clone(&world.hub);
    let polled = tokio::spawn(async move {
        let poll = Poll { id: hub.commands.next_poll(), protocol: origin().protocol, lock_time: None, until: NOW };
        let unsent = hub.commands.ask(|answer| Request::Poll(right, poll, answer)).await.unwrap();
        assert!(unsent.is_none(), "it has come, and this panics");
    });
    assert!(polled.await.unwrap_err().is_panic());
    world.settled().await;
    assert_eq!(world.steps(command.id).await.last(), Some(&StepKind::Returned(ReturnReason::NotSent)));
    assert_eq!(world.receive().await.map(|delivery| (delivery.command, delivery.delivery_count)), Some((command.id, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_desk_that_panics_leaves_nobody_waiting() {
    let world = World::on(Arc::new(PanickingRegistry(MemoryRegistry::default(), "P")));
    world.write(Expected::Absent, Some(identity("D"))).await;
    let (right, hub) = (world.right().await, Arc::clone(&world.hub));
    let polled = tokio::spawn(async move { next_command(&hub, &right, origin(), None, Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    world.settled().await;
    let message = Message { body: Body::Data(vec![b"x"[..].into()]), ..Message::default() };
    let to_nobody = draft(message, Acknowledgement::None, "service".to_owned(), &identity("P"), NOW).unwrap();
    assert!(world.hub.commands.ask(|answer| Request::Send(to_nobody, answer)).await.is_err(), "the desk has panicked over it");
    assert!(matches!(polled.await.unwrap(), Err(ReceiveError::Store(_))));
    assert!(matches!(world.send("m1").await, Err(SendRefused::Store(_))));
    assert_eq!(world.hub.commands.identities_changed(vec![device()]).await, Ok(()));
    assert_eq!(world.hub.commands.statistics(), Statistics::default(), "what can be read without the desk still can");
}
