//! A voice for what may happen to ten thousand at once, or for ever: it speaks now and then, and says how often it was silent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Speaks at most once in a while.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    spoken: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// At most once in this time.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, spoken: Mutex::new((None, 0)) }
    }

    /// Whether to speak now; if so, how often it was silent since it last did.
    pub fn speaks(&self, now: Instant) -> Option<u64> {
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, silent) = &mut *spoken;
        if last.is_some_and(|last| now.duration_since(last) < self.every) {
            *silent += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_did_not_say() {
        let (seldom, start) = (Seldom::new(Duration::from_secs(60)), Instant::now());
        let speaks = |second| seldom.speaks(start + Duration::from_secs(second));
        assert_eq!(speaks(0), Some(0));
        assert_eq!((speaks(1), speaks(59)), (None, None));
        assert_eq!((speaks(60), speaks(120)), (Some(2), Some(0)));
    }
}
