//! The link that `dev` prints: good once, for a short time, in this life of the hub.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::secret::{Digest, digest, fresh};
use crate::core::time::UnixMillis;

/// How long a link is good: for somebody who has just started the hub.
pub const LINK_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How many links may wait.
const LINKS_MAX: usize = 8;

/// Whoever comes by a link is called so.
pub const LINK_NAME: &str = "dev";

/// Links that have not been used.
#[derive(Debug, Default)]
pub struct OneTimeLinks(Mutex<Vec<(Digest, UnixMillis)>>);

impl OneTimeLinks {
    /// A new one's code.
    pub fn make(&self, now: UnixMillis) -> String {
        let code = fresh();
        let mut links = self.links();
        if links.len() == LINKS_MAX {
            links.remove(0);
        }
        links.push((digest(&code), now.plus(LINK_LIFETIME)));
        code
    }

    /// Whether it is good. Then it is not, the next time.
    pub(super) fn take(&self, code: &str, now: UnixMillis) -> bool {
        let wanted = digest(code);
        let mut links = self.links();
        links.retain(|(_, ends)| now < *ends);
        let found = links.iter().position(|(digest, _)| *digest == wanted);
        found.map(|place| links.remove(place)).is_some()
    }

    /// Whether there are any.
    pub(super) fn any(&self, now: UnixMillis) -> bool {
        self.links().iter().any(|(_, ends)| now < *ends)
    }

    fn links(&self) -> MutexGuard<'_, Vec<(Digest, UnixMillis)>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_for_a_short_time() {
        let (links, now) = (OneTimeLinks::default(), UnixMillis(0));
        let (first, second) = (links.make(now), links.make(now));
        assert!(first != second && links.any(now));
        assert!(links.take(&first, now) && !links.take(&first, now) && !links.take("", now));
        assert!(!links.take(&second, now.plus(LINK_LIFETIME)) && !links.any(now.plus(LINK_LIFETIME)));
    }

    #[test]
    fn the_oldest_make_room() {
        let (links, now) = (OneTimeLinks::default(), UnixMillis(0));
        let codes: Vec<String> = (0..=LINKS_MAX).map(|_| links.make(now)).collect();
        assert!(!links.take(&codes[0], now) && codes[1..].iter().all(|code| links.take(code, now)));
    }
}
