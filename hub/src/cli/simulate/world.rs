//! What all devices of a fleet share: where the hub is, what they say and how often, what they count, and who may connect next.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use super::template::Template;
use crate::cli::client::DeviceEndpoints;

/// Connections that are being made at once. The hub lets one address have 512 on which nobody has authenticated yet; others may share it.
const CONNECTING_MAX: usize = 64;

/// The surroundings of a simulated device.
pub(super) struct World {
    pub(super) hub: DeviceEndpoints,
    pub(super) template: Template,
    /// What follows `devices/{id}/messages/events/` in the topic of its messages.
    pub(super) bag: String,
    /// Between two messages of a device.
    pub(super) interval: Duration,
    /// How many messages each device sends before it has done enough.
    pub(super) messages: Option<u64>,
    pub(super) tally: Tally,
    pub(super) pacer: Pacer,
    /// Told when the simulation is over.
    pub(super) stop: CancellationToken,
}

/// Lets devices connect one after another, so that neither this machine nor the hub has to bear all of them at once.
pub(super) struct Pacer {
    between: Duration,
    next: Mutex<Instant>,
    connecting: Semaphore,
}

impl Pacer {
    pub(super) fn new(between: Duration) -> Self {
        Self { between, next: Mutex::new(Instant::now()), connecting: Semaphore::new(CONNECTING_MAX) }
    }

    /// Waits until it is one's turn to connect; the permit is held until one is connected.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let permit = self.connecting.acquire().await.expect("nobody closes it");
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.between;
            turn
        };
        sleep_until(turn).await;
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connects_are_spread_out_and_a_pause_is_not_saved_up() {
        let pacer = Pacer::new(Duration::from_millis(10));
        let begun = Instant::now();
        for _ in 0..10 {
            drop(pacer.turn().await);
        }
        assert_eq!(begun.elapsed(), Duration::from_millis(90));
        sleep_until(begun + Duration::from_secs(60)).await;
        drop(pacer.turn().await);
        drop(pacer.turn().await);
        assert_eq!(begun.elapsed(), Duration::from_millis(60_010));
    }
}
