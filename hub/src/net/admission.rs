//! Who may come in before they have proved who they are, and for how long that counts.
//!
//! Owns the number of connections, and per source address the *unfinished* ones (nobody authenticated yet) and the *failed* ones
//! (gone without having authenticated). Never counts an authenticated connection against its address: whole fleets sit behind one NAT.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusals::{Refusal, Refusals};
use crate::core::time::{Clock, UnixMillis};

/// Addresses that are remembered at once: about 3 MB. More than can be unfinished at a time, so the unfinished ones always fit.
const REMEMBERED_SOURCES: usize = 65_536;

/// What strangers are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerLimits {
    /// Connections of all kinds at once.
    pub connections: u32,
    /// Connections that have not authenticated yet, at once.
    pub unfinished: u32,
    /// The same, of one address (IPv6: of one /64, which is what one subscriber gets).
    pub unfinished_per_address: u32,
    /// Failures that one address may have in a burst.
    pub failed_per_address: u32,
    /// Failures per second that are forgiven to one address.
    pub failed_per_address_per_second: u32,
    /// Bytes, as they are on the wire, that one connection may send before it authenticates.
    pub bytes_before_authentication: u32,
}

/// The door. One for all listeners of a hub on which somebody authenticates.
pub struct Admissions {
    limits: StrangerLimits,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    refusals: Arc<Refusals>,
}

impl Admissions {
    /// A door that holds strangers to `limits`.
    #[must_use]
    pub fn new(limits: StrangerLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { limits, clock, ledger: Mutex::default(), refusals: Arc::default() })
    }

    /// Another door with limits of its own, so that a crowd at one leaves the other open. What both refuse is counted together.
    #[must_use]
    pub fn beside(&self, limits: StrangerLimits) -> Arc<Self> {
        Arc::new(Self { limits, clock: Arc::clone(&self.clock), ledger: Mutex::default(), refusals: Arc::clone(&self.refusals) })
    }

    /// Lets a connection in, or says why not. `None` is a connection whose true source is not known yet (behind a proxy).
    pub fn admit(self: &Arc<Self>, source: Option<IpAddr>) -> Result<Admission, Refusal> {
        let source = source.map(Source::of);
        self.ledger().admit(source, self.clock.now(), &self.limits)?;
        Ok(Admission(Arc::new(Stranger {
            admissions: Arc::clone(self),
            source,
            bytes_left: AtomicU32::new(self.limits.bytes_before_authentication),
            finished: AtomicBool::new(false),
        })))
    }

    /// What was refused so far.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.ledger().connections
    }

    /// How many of them have not authenticated.
    #[must_use]
    pub fn unfinished(&self) -> u32 {
        self.ledger().unfinished
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing panics while it holds the lock, and the numbers are right after every statement anyway.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes with a connection. A protocol calls [`Self::authenticated`] once it knows who is there; a connection that ends without that
/// has failed. Clones stand for the same connection.
#[derive(Clone)]
pub struct Admission(Arc<Stranger>);

/// More than [`StrangerLimits::bytes_before_authentication`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes from somebody who has not authenticated")]
pub struct TooManyBytes;

struct Stranger {
    admissions: Arc<Admissions>,
    source: Option<Source>,
    bytes_left: AtomicU32,
    finished: AtomicBool,
}

impl Admission {
    /// The peer has proved who it is: it no longer counts against its address, and may send what it likes. Idempotent.
    pub fn authenticated(&self) {
        self.0.finish(Outcome::Fine);
    }

    /// Nothing can be said against the peer, though it did not authenticate: another `Admission` stands for the connection, or it was
    /// closed before it said a word, as load balancers do to see whether a port is open.
    pub(super) fn forgive(&self) {
        self.0.finish(Outcome::Fine);
    }

    /// Whether [`Self::authenticated`] was called.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.0.finished.load(Ordering::Relaxed)
    }

    /// The peer sent `count` bytes; an error when that was more than a stranger may. (The one read that goes too far has been read.)
    pub(super) fn spend(&self, count: u32) -> Result<(), TooManyBytes> {
        if self.is_authenticated() {
            return Ok(());
        }
        // One task reads a connection, so nobody else changes the number between load and store.
        let left = self.0.bytes_left.load(Ordering::Relaxed);
        self.0.bytes_left.store(left.saturating_sub(count), Ordering::Relaxed);
        if count > left { Err(TooManyBytes) } else { Ok(()) }
    }

    /// Whether the peer has sent anything.
    pub(super) fn has_spoken(&self) -> bool {
        self.0.bytes_left.load(Ordering::Relaxed) != self.0.admissions.limits.bytes_before_authentication
    }

    /// Counts why this connection is turned away.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.0.admissions.refusals.count(refusal);
    }
}

impl Stranger {
    fn finish(&self, outcome: Outcome) {
        if !self.finished.swap(true, Ordering::Relaxed) {
            self.admissions.ledger().finish(self.source, outcome, self.admissions.clock.now(), &self.admissions.limits);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.finish(Outcome::Failed);
        self.admissions.ledger().connections -= 1;
    }
}

/// What addresses are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self(address),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    Failed,
}

/// The numbers, and the rules for them; `now` is an argument.
#[derive(Debug, Default)]
struct Ledger {
    connections: u32,
    unfinished: u32,
    sources: HashMap<Source, SourceAccount>,
}

/// What is remembered of an address. One that has neither unfinished nor failed connections is forgotten.
#[derive(Debug, Default)]
struct SourceAccount {
    unfinished: u32,
    /// A leaky bucket of failures, in thousandths.
    failed_thousandths: u64,
    leaked_at: UnixMillis,
}

impl Ledger {
    fn admit(&mut self, source: Option<Source>, now: UnixMillis, limits: &StrangerLimits) -> Result<(), Refusal> {
        if self.connections >= limits.connections {
            return Err(Refusal::TooManyConnections);
        }
        if self.unfinished >= limits.unfinished {
            return Err(Refusal::TooManyUnfinished);
        }
        if let Some(source) = source {
            let account = self.account(source);
            account.leak(now, limits);
            if account.unfinished >= limits.unfinished_per_address {
                return Err(Refusal::TooManyUnfinishedOfAddress);
            }
            if account.failed_thousandths >= u64::from(limits.failed_per_address) * 1000 {
                return Err(Refusal::TooManyFailedOfAddress);
            }
            account.unfinished += 1;
        }
        self.connections += 1;
        self.unfinished += 1;
        Ok(())
    }

    fn finish(&mut self, source: Option<Source>, outcome: Outcome, now: UnixMillis, limits: &StrangerLimits) {
        self.unfinished -= 1;
        let Some(source) = source else { return };
        let Some(account) = self.sources.get_mut(&source) else { return };
        account.unfinished -= 1;
        account.leak(now, limits);
        if outcome == Outcome::Failed {
            account.failed_thousandths += 1000;
        }
        if account.unfinished == 0 && account.failed_thousandths == 0 {
            self.sources.remove(&source);
        }
    }

    /// The account of an address, made when it is new. When the memory is full, every address without an unfinished connection is
    /// forgotten, so that each such sweep is paid for by tens of thousands of new addresses.
    fn account(&mut self, source: Source) -> &mut SourceAccount {
        if self.sources.len() >= REMEMBERED_SOURCES && !self.sources.contains_key(&source) {
            self.sources.retain(|_, account| account.unfinished > 0);
        }
        self.sources.entry(source).or_default()
    }
}

impl SourceAccount {
    fn leak(&mut self, now: UnixMillis, limits: &StrangerLimits) {
        let elapsed_ms = u64::try_from(now.since(self.leaked_at).as_millis()).unwrap_or(u64::MAX);
        let leaked = elapsed_ms.saturating_mul(u64::from(limits.failed_per_address_per_second));
        self.failed_thousandths = self.failed_thousandths.saturating_sub(leaked);
        self.leaked_at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: StrangerLimits = StrangerLimits {
        connections: 100,
        unfinished: 6,
        unfinished_per_address: 3,
        failed_per_address: 4,
        failed_per_address_per_second: 2,
        bytes_before_authentication: 1000,
    };

    #[derive(Default)]
    struct FakeClock(AtomicI64);

    impl Clock for FakeClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    fn door() -> (Arc<Admissions>, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::default());
        (Admissions::new(LIMITS, Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_authenticated_connection_no_longer_counts_against_its_address() {
        let (door, _) = door();
        let fleet: Vec<_> = (0..50)
            .map(|_| {
                let admission = door.admit(address("192.0.2.1")).ok().unwrap();
                admission.authenticated();
                admission
            })
            .collect();
        assert_eq!((door.connections(), door.unfinished()), (50, 0));
        drop(fleet);
        assert_eq!(door.connections(), 0);
        assert!(door.ledger().sources.is_empty(), "nothing is remembered of those who did nothing wrong");
    }

    #[test]
    fn unfinished_connections_are_bounded_per_address_and_overall() {
        let (door, _) = door();
        let mut held: Vec<_> = (0..3).map(|_| door.admit(address("192.0.2.1")).ok().unwrap()).collect();
        assert_eq!(door.admit(address("192.0.2.1")).err(), Some(Refusal::TooManyUnfinishedOfAddress));
        assert_eq!(door.admit(address("::ffff:192.0.2.1")).err(), Some(Refusal::TooManyUnfinishedOfAddress), "the same host");
        held.extend((0..3).map(|_| door.admit(address("192.0.2.2")).ok().unwrap()));
        assert_eq!(door.admit(address("192.0.2.3")).err(), Some(Refusal::TooManyUnfinished));
        held[0].authenticated();
        held[0].authenticated();
        assert!(door.admit(address("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_whole_ipv6_subscriber_is_one_source() {
        let (door, _) = door();
        let _held: Vec<_> = (1..4).map(|host| door.admit(address(&format!("2001:db8::{host}"))).ok().unwrap()).collect();
        assert_eq!(door.admit(address("2001:db8::ffff:4")).err(), Some(Refusal::TooManyUnfinishedOfAddress));
        assert!(door.admit(address("2001:db8:0:1::4")).is_ok());
    }

    #[test]
    fn failures_shut_an_address_out_until_they_are_forgiven() {
        let (door, clock) = door();
        for _ in 0..4 {
            drop(door.admit(address("192.0.2.1")).ok().unwrap());
        }
        assert_eq!(door.admit(address("192.0.2.1")).err(), Some(Refusal::TooManyFailedOfAddress));
        assert!(door.admit(address("192.0.2.2")).is_ok());
        clock.0.store(499, Ordering::Relaxed);
        assert!(door.admit(address("192.0.2.1")).map(|admission| admission.forgive()).is_ok(), "the first of the failures leaks at once");
    }

    #[test]
    fn an_address_that_is_not_known_yet_counts_overall_only() {
        let (door, _) = door();
        let _waiting: Vec<_> = (0..6).map(|_| door.admit(None).ok().unwrap()).collect();
        assert_eq!(door.admit(None).err(), Some(Refusal::TooManyUnfinished));
    }

    #[test]
    fn the_memory_for_addresses_is_bounded() {
        let (door, _) = door();
        let held = door.admit(address("192.0.2.1")).ok().unwrap();
        for number in 0..=u32::try_from(REMEMBERED_SOURCES).unwrap() {
            drop(door.admit(Some(IpAddr::from(number.to_be_bytes()))).ok().unwrap());
        }
        assert!(door.ledger().sources.len() <= REMEMBERED_SOURCES);
        assert!(door.ledger().sources.contains_key(&Source::of(held.0.source.unwrap().0)));
    }

    #[test]
    fn a_crowd_at_one_door_leaves_the_other_open() {
        let (door, _) = door();
        let side_door = door.beside(StrangerLimits { connections: 1, ..LIMITS });
        let _held = side_door.admit(address("192.0.2.1")).ok().unwrap();
        assert_eq!(side_door.admit(address("192.0.2.2")).err(), Some(Refusal::TooManyConnections));
        assert_eq!((door.connections(), door.unfinished()), (0, 0));
        side_door.refusals().count(Refusal::TooManyConnections);
        assert_eq!(door.refusals().of(Refusal::TooManyConnections), 1);
    }

    proptest! {
        /// Whatever comes and goes, the numbers are those of the connections that are there.
        #[test]
        fn the_numbers_are_those_of_the_connections(steps in proptest::collection::vec((0u8..4, 0u8..3), 0..200)) {
            let (door, clock) = door();
            let mut held = Vec::new();
            for (step, host) in steps {
                match step {
                    0 | 1 => held.extend(door.admit(Some(IpAddr::from([10, 0, 0, host])))),
                    2 => { held.get(usize::from(host)).map(Admission::authenticated); }
                    _ => if usize::from(host) < held.len() { held.swap_remove(usize::from(host)); }
                }
                clock.0.fetch_add(700, Ordering::Relaxed);
                let unfinished = held.iter().filter(|admission| !admission.is_authenticated()).count();
                prop_assert_eq!((door.connections() as usize, door.unfinished() as usize), (held.len(), unfinished));
                prop_assert!(unfinished <= LIMITS.unfinished as usize);
            }
            drop(held);
            prop_assert!(door.ledger().sources.values().all(|account| account.unfinished == 0));
        }
    }
}
