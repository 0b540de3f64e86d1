//! How often somebody may try to sign in: by address, and by the name that is tried. Pure, but for its lock; of bounded size.
//!
//! An attempt that succeeds is given back. Names are counted whether or not anybody has them.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use crate::core::principal::Principal;
use crate::core::time::UnixMillis;

/// How many addresses, and how many names, are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not 0");

/// Of one address (IPv6: of one /64): ten at once, then one every six seconds. A household's typing, and no guessing.
const PER_ADDRESS: Pace = Pace { burst: 10, every: Duration::from_secs(6) };

/// Of one name, from wherever: twenty at once, then one every five seconds, which is 17,280 a day for all who guess together.
const PER_NAME: Pace = Pace { burst: 20, every: Duration::from_secs(5) };

/// Refused attempts that are written into the audit, of all strangers together: the rest would push out what matters. 2,880 a day, which is a
/// quarter of the audit in its 90 days.
const STRANGERS_AUDITED: Pace = Pace { burst: 100, every: Duration::from_secs(30) };

/// What is written into the audit of that for which one person lacks the right.
const PERSON_AUDITED: Pace = Pace { burst: 100, every: Duration::from_secs(30) };

/// How many people are remembered for that.
const PEOPLE_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).expect("not 0");

#[derive(Clone, Copy)]
struct Pace {
    burst: u32,
    every: Duration,
}

impl Pace {
    /// Takes one at `now`, where `until` is the time up to which earlier ones have used the pace up; or says how long to wait.
    fn take(self, until: &mut UnixMillis, now: UnixMillis) -> Result<(), Duration> {
        // No further ahead than it can be, unless the clock was set back.
        let used = (*until).max(now).min(now.plus(self.every * self.burst));
        *until = used;
        let ahead = used.since(now);
        let room = self.every * (self.burst - 1);
        if ahead > room {
            return Err(ahead - room);
        }
        *until = used.plus(self.every);
        Ok(())
    }

    fn give_back(self, until: &mut UnixMillis) {
        until.0 -= i64::try_from(self.every.as_millis()).unwrap_or(0);
    }
}

/// Who has tried lately.
#[derive(Debug)]
pub struct Attempts(Mutex<Tried>);

#[derive(Debug)]
struct Tried {
    addresses: LruCache<IpAddr, UnixMillis>,
    names: LruCache<[u8; 32], UnixMillis>,
    /// Who has signed in, and from where: others' guesses at a name must not keep its owner out.
    known: LruCache<([u8; 32], IpAddr), ()>,
    strangers_audited: UnixMillis,
    people_audited: LruCache<Principal, UnixMillis>,
}

/// Too often: when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften(pub Duration);

impl Default for Attempts {
    fn default() -> Self {
        let (addresses, names, known) = (LruCache::new(REMEMBERED), LruCache::new(REMEMBERED), LruCache::new(REMEMBERED));
        let people_audited = LruCache::new(PEOPLE_REMEMBERED);
        Self(Mutex::new(Tried { addresses, names, known, strangers_audited: UnixMillis(0), people_audited }))
    }
}

impl Attempts {
    /// Somebody tries.
    pub fn take(&self, address: IpAddr, name: &str, now: UnixMillis) -> Result<(), TooOften> {
        let mut tried = self.tried();
        let begun = || UnixMillis(0);
        PER_ADDRESS.take(tried.addresses.get_or_insert_mut(network(address), begun), now).map_err(TooOften)?;
        if name.is_empty() || tried.known.get(&(digest(name), network(address))).is_some() {
            return Ok(());
        }
        let named = PER_NAME.take(tried.names.get_or_insert_mut(digest(name), begun), now).map_err(TooOften);
        if named.is_err()
            && let Some(until) = tried.addresses.get_mut(&network(address))
        {
            PER_ADDRESS.give_back(until);
        }
        named
    }

    /// It was the right one.
    pub fn succeeded(&self, address: IpAddr, name: &str) {
        let mut tried = self.tried();
        tried.addresses.get_mut(&network(address)).into_iter().for_each(|until| PER_ADDRESS.give_back(until));
        let known = tried.known.put((digest(name), network(address)), ()).is_some();
        // Somebody who was known has not taken it.
        if !known {
            tried.names.get_mut(&digest(name)).into_iter().for_each(|until| PER_NAME.give_back(until));
        }
    }

    /// Whether one more stranger who was refused may be written into the audit.
    pub fn stranger_may_be_audited(&self, now: UnixMillis) -> bool {
        STRANGERS_AUDITED.take(&mut self.tried().strangers_audited, now).is_ok()
    }

    /// Whether one more thing may be written into the audit for which this person lacks the right.
    pub fn person_may_be_audited(&self, person: &Principal, now: UnixMillis) -> bool {
        let mut tried = self.tried();
        let until = tried.people_audited.get_or_insert_mut(person.clone(), || UnixMillis(0));
        PERSON_AUDITED.take(until, now).is_ok()
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// An IPv6 host has as many addresses as it likes within its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        },
    }
}

fn digest(name: &str) -> [u8; 32] {
    Sha256::digest(name.to_lowercase()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_at_once_and_then_one_at_a_time() {
        let attempts = Attempts::default();
        let take = |from: &str, now: UnixMillis| attempts.take(address(from), "", now);
        assert!((0..10).all(|_| take("192.0.2.1", NOW).is_ok()));
        assert_eq!(take("192.0.2.1", NOW), Err(TooOften(Duration::from_secs(6))));
        assert_eq!(take("::ffff:192.0.2.1", NOW), Err(TooOften(Duration::from_secs(6))));
        assert!(take("192.0.2.2", NOW).is_ok());
        let later = NOW.plus(Duration::from_secs(6));
        assert!(take("192.0.2.1", later).is_ok() && take("192.0.2.1", later).is_err());
        assert!((0..10).all(|host| take(&format!("2001:db8::{host}"), NOW).is_ok()));
        assert!(take("2001:db8::ffff", NOW).is_err() && take("2001:db8:0:1::1", NOW).is_ok());
    }

    #[test]
    fn a_name_has_so_many_from_wherever_in_any_spelling() {
        let attempts = Attempts::default();
        let take = |host: u32, name: &str| attempts.take(IpAddr::from(host.to_be_bytes()), name, NOW);
        assert!((0..20).all(|host| take(host, if host % 2 == 0 { "Ada" } else { "ada" }).is_ok()));
        assert!(take(99, "ADA").is_err() && take(99, "bob").is_ok());
    }

    #[test]
    fn guesses_do_not_keep_out_whoever_has_been_in_from_there() {
        let attempts = Attempts::default();
        let (home, ada) = (address("192.0.2.1"), "ada");
        attempts.take(home, ada, NOW).unwrap();
        attempts.succeeded(home, ada);
        assert!((0..20_u32).all(|host| attempts.take(IpAddr::from(host.to_be_bytes()), ada, NOW).is_ok()));
        assert!(attempts.take(address("192.0.2.2"), ada, NOW).is_err() && attempts.take(home, ada, NOW).is_ok());
        assert!((0..20).filter(|_| attempts.take(home, ada, NOW).is_ok()).count() < 10, "but from there, too, it is not for guessing");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_for_long() {
        let attempts = Attempts::default();
        let take = |now: UnixMillis| attempts.take(address("192.0.2.1"), "", now);
        assert!((0..10).all(|_| take(NOW).is_ok()));
        let earlier = UnixMillis(NOW.0 - 365 * 86_400_000);
        assert_eq!(take(earlier), Err(TooOften(Duration::from_secs(6))));
        assert!(take(earlier.plus(Duration::from_secs(5))).is_err() && take(earlier.plus(Duration::from_secs(6))).is_ok());
    }

    #[test]
    fn what_succeeds_is_given_back() {
        let attempts = Attempts::default();
        for _ in 0..1000 {
            attempts.take(address("192.0.2.1"), "ada", NOW).unwrap();
            attempts.succeeded(address("192.0.2.1"), "ada");
        }
    }

    proptest! {
        /// Whatever the times, never more than the burst and the pace allow.
        #[test]
        fn the_pace_holds(gaps in proptest::collection::vec(0..20_000_u64, 1..200)) {
            let attempts = Attempts::default();
            let (mut now, mut taken) = (NOW, 0_u64);
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                taken += u64::from(attempts.take(address("192.0.2.1"), "", now).is_ok());
                prop_assert!(taken <= 10 + now.since(NOW).as_secs() / 6);
            }
        }
    }

    #[test]
    fn strangers_who_guess_take_no_place_in_the_audit_from_people() {
        let attempts = Attempts::default();
        let person = |name: &str| Principal::Person(name.to_owned(), crate::core::principal::SignInMethod::Password);
        let strangers = |now| (0..1000).filter(|_| attempts.stranger_may_be_audited(now)).count();
        assert_eq!(strangers(NOW), 100);
        let of = |name: &str, now| (0..1000).filter(|_| attempts.person_may_be_audited(&person(name), now)).count();
        assert_eq!([of("ada", NOW), of("ada", NOW), of("grace", NOW)], [100, 0, 100]);
        let day = 24 * 60 * 60 * 1000;
        let at = |minute: i64| UnixMillis(NOW.0 + minute * 60 * 1000);
        let of_a_day: usize = (1..=24 * 60).map(|minute| strangers(at(minute))).sum();
        assert_eq!((of_a_day, at(24 * 60).0), (2880, NOW.0 + day), "what the documentation says");
    }
}
