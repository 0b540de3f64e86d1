//! Which of several operators leads: a Lease that its holder renews, and that another takes when it is not renewed.
//!
//! Clocks of machines are never compared: who waits counts, on its own steady clock, since when the Lease has been as it is. Whoever can't
//! renew stops before another may begin, and its process ends: nothing of it can go on by mistake.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::labels::MANAGER;

/// For how long a Lease is good that is not renewed.
const LEASE: Duration = Duration::from_secs(15);

/// How often it is renewed, and looked at by those who wait.
const RENEWED_EVERY: Duration = Duration::from_secs(4);

/// After how long without a renewal its holder stops: well before another may begin.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(4);

/// What is to be done with the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nobody has made it: make it.
    Create,
    /// Nobody holds it any more: take it.
    Take,
    /// It is ours: say so again.
    Renew,
    /// It is somebody else's.
    Wait,
}

/// What is to be done. `unchanged_for`: since when the Lease has been as it is, on our own clock.
#[must_use]
pub fn decide(lease: Option<&LeaseSpec>, me: &str, unchanged_for: Duration) -> Action {
    let Some(lease) = lease else { return Action::Create };
    let good_for = Duration::from_secs(lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0));
    match lease.holder_identity.as_deref() {
        Some(holder) if holder == me => Action::Renew,
        None | Some("") => Action::Take,
        Some(_) if unchanged_for >= good_for => Action::Take,
        Some(_) => Action::Wait,
    }
}

/// The Lease as `me` writes it.
#[must_use]
pub fn held(before: Option<&LeaseSpec>, me: &str, now: Timestamp) -> LeaseSpec {
    let already_mine = before.is_some_and(|before| before.holder_identity.as_deref() == Some(me));
    let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
    let since = before.filter(|_| already_mine).and_then(|before| before.acquire_time.clone());
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        acquire_time: Some(since.unwrap_or(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if already_mine || before.is_none() { transitions } else { transitions + 1 }),
        ..LeaseSpec::default()
    }
}

/// The Lease can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refuses, or is not there.
    #[error("the Lease can't be read or written")]
    Api(#[from] kube::Error),
    /// Nothing came back.
    #[error("the API server did not answer in time")]
    Time,
}

/// Takes part in the election.
pub struct Election {
    leases: Api<Lease>,
    name: String,
    me: String,
    clock: Clock,
}

impl Election {
    /// By the Lease of this name; `me` is never the name of another.
    #[must_use]
    pub fn new(leases: Api<Lease>, name: String, me: String, clock: Clock) -> Self {
        Self { leases, name, me, clock }
    }

    /// Returns when it leads.
    pub async fn won(&self) {
        let mut seen: Option<(Option<LeaseSpec>, Instant)> = None;
        loop {
            match self.try_once(&mut seen).await {
                Ok(true) => {
                    info!(lease = self.name, identity = self.me, "leading as {}", self.me);
                    return;
                }
                Ok(false) => {}
                Err(error) => warn!(error = %why(&error), "the Lease {} can't be had: {}", self.name, why(&error)),
            }
            sleep(RENEWED_EVERY).await;
        }
    }

    /// Returns when it leads no more.
    pub async fn lost(&self) {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEWED_EVERY).await;
            match self.try_once(&mut None).await {
                Ok(true) => renewed = Instant::now(),
                Ok(false) => return,
                Err(error) => warn!(error = %why(&error), "the Lease {} can't be renewed: {}", self.name, why(&error)),
            }
            if renewed.elapsed() >= GIVEN_UP_AFTER {
                return;
            }
        }
    }

    /// Lets go of the Lease, so that another begins at once.
    pub async fn release(&self) -> Result<(), LeaseError> {
        let Some(mut lease) = self.read().await? else { return Ok(()) };
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.me)) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            self.write(&lease).await?;
        }
        Ok(())
    }

    /// Whether it leads now.
    async fn try_once(&self, seen: &mut Option<(Option<LeaseSpec>, Instant)>) -> Result<bool, LeaseError> {
        let lease = self.read().await?;
        let spec = lease.as_ref().and_then(|lease| lease.spec.clone());
        if seen.as_ref().is_none_or(|(before, _)| *before != spec) {
            *seen = Some((spec.clone(), Instant::now()));
        }
        let unchanged_for = seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let action = decide(lease.as_ref().map(|_| spec.clone().unwrap_or_default()).as_ref(), &self.me, unchanged_for);
        let wanted = held(spec.as_ref(), &self.me, (self.clock)());
        match (action, lease) {
            (Action::Wait, _) => return Ok(false),
            (_, Some(mut lease)) => {
                // Its resourceVersion goes with it: of two that take it at once, one is refused.
                lease.spec = Some(wanted);
                self.write(&lease).await?;
            }
            (_, None) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(wanted) };
                in_time(self.leases.create(&writer(), &lease)).await?;
            }
        }
        Ok(true)
    }

    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        in_time(self.leases.get_opt(&self.name)).await
    }

    async fn write(&self, lease: &Lease) -> Result<(), LeaseError> {
        in_time(self.leases.replace(&lease.name_any(), &writer(), lease)).await.map(|_| ())
    }
}

fn writer() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    timeout(REQUEST_MAX, request).await.map_err(|_| LeaseError::Time)?.map_err(LeaseError::Api)
}

fn why(error: &LeaseError) -> String {
    match error {
        LeaseError::Api(error) => error.to_string(),
        LeaseError::Time => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_lease_is_made_renewed_waited_for_and_taken() {
        let mine = held(None, "a", at(100));
        assert_eq!(decide(None, "a", Duration::ZERO), Action::Create);
        assert_eq!(decide(Some(&mine), "a", Duration::from_secs(99)), Action::Renew);
        assert_eq!(decide(Some(&mine), "b", LEASE - Duration::from_secs(1)), Action::Wait);
        assert_eq!(decide(Some(&mine), "b", LEASE), Action::Take);
        let released = LeaseSpec { holder_identity: None, ..mine };
        assert_eq!(decide(Some(&released), "b", Duration::ZERO), Action::Take);
        assert_eq!(decide(Some(&LeaseSpec::default()), "b", Duration::ZERO), Action::Take);
    }

    #[test]
    fn a_holder_keeps_its_time_and_another_one_counts_as_a_transition() {
        let first = held(None, "a", at(100));
        let renewed = held(Some(&first), "a", at(104));
        assert_eq!((&renewed.acquire_time, renewed.lease_transitions), (&first.acquire_time, Some(0)));
        assert_eq!(renewed.renew_time, Some(MicroTime(at(104))));
        let taken = held(Some(&renewed), "b", at(200));
        assert_eq!((taken.acquire_time, taken.lease_transitions), (Some(MicroTime(at(200))), Some(1)));
    }

    #[test]
    fn who_can_t_renew_stops_before_another_begins() {
        assert!(GIVEN_UP_AFTER + REQUEST_MAX < LEASE);
    }
}
