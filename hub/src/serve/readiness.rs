//! Whether the hub takes work, asked by anybody and as often as they like: the stores are asked once a second, whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{self, Instant};

use crate::store::Registry;

/// How long the stores may take to say that they are there. Less than the second that Kubernetes gives a probe.
const STORE_ANSWER_TIME: Duration = Duration::from_millis(800);

/// How long their answer counts. Probes come every few seconds, so they get a fresh one.
const ANSWER_COUNTS_FOR: Duration = Duration::from_secs(1);

/// Whether the hub takes work.
pub struct Readiness {
    registry: Arc<dyn Registry>,
    /// Listening, and not about to stop.
    open: AtomicBool,
    /// What the stores said, and when. Whoever asks meanwhile waits for that answer instead of asking, too.
    answer: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Readiness {
    /// Not yet.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, open: AtomicBool::new(false), answer: Mutex::default() }
    }

    /// From now on the stores decide, if `open`; or else it takes none.
    pub fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// Whether it does, or else why not.
    pub async fn check(&self) -> Result<(), String> {
        self.check_by(self.ask()).await
    }

    async fn check_by(&self, ask: impl Future<Output = Result<(), String>>) -> Result<(), String> {
        if !self.open.load(Ordering::Relaxed) {
            return Err("starting or stopping".to_owned());
        }
        let mut answer = self.answer.lock().await;
        match &*answer {
            Some((given_at, known)) if given_at.elapsed() < ANSWER_COUNTS_FOR => known.clone(),
            _ => {
                let fresh = ask.await;
                *answer = Some((Instant::now(), fresh.clone()));
                fresh
            }
        }
    }

    async fn ask(&self) -> Result<(), String> {
        match time::timeout(STORE_ANSWER_TIME, self.registry.count()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("the registry does not answer in time".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::store::memory::registry::MemoryRegistry;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_asks_the_stores_once_a_second() {
        let asked = AtomicU32::new(0);
        let ask = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let readiness = Readiness::new(Arc::new(MemoryRegistry::default()));
        assert!(readiness.check().await.is_err());
        readiness.set_open(true);
        for _ in 0..100 {
            assert_eq!(readiness.check_by(ask()).await, Ok(()));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        time::advance(ANSWER_COUNTS_FOR).await;
        assert_eq!(readiness.check_by(ask()).await, Ok(()));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        readiness.set_open(false);
        assert!(readiness.check().await.is_err(), "what the stores said does not matter any more");
    }
}
