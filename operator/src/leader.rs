//! Which of several operators leads: a Lease that its holder renews, and that another takes when it is not renewed.
//!
//! Clocks of machines are never compared: who waits counts, on its own steady clock, since when the Lease has been as it is. Whoever can't
//! renew stops before another may begin, and its process ends: nothing of it can go on by mistake.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::labels::MANAGER;

/// For how long a Lease is good that is not renewed.
const LEASE: Duration = Duration::from_secs(15);

/// How often it is renewed, and looked at by those who wait.
const RENEWED_EVERY: Duration = Duration::from_secs(4);

/// How long after it was last written its holder stops: well before another may begin, who counts from when that write came by.
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
    /// When the last write that succeeded was begun.
    written: Mutex<Instant>,
}

impl Election {
    /// By the Lease of this name; `me` is never the name of another.
    #[must_use]
    pub fn new(leases: Api<Lease>, name: String, me: String, clock: Clock) -> Self {
        Self { leases, name, me, clock, written: Mutex::new(Instant::now()) }
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

    /// Returns when it leads no more, whatever a request waits for then.
    pub async fn lost(&self) {
        loop {
            let given_up = *self.written.lock().unwrap_or_else(PoisonError::into_inner) + GIVEN_UP_AFTER;
            let renewing = async {
                sleep(RENEWED_EVERY).await;
                self.try_once(&mut None).await
            };
            match timeout_at(given_up, renewing).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => warn!(error = %why(&error), "the Lease {} can't be renewed: {}", self.name, why(&error)),
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
        let begun = Instant::now();
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
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = begun;
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
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

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

    /// An API server that keeps one Lease, and falls silent when told to.
    #[derive(Clone, Default)]
    struct Server {
        lease: Arc<Mutex<Option<Value>>>,
        is_silent: Arc<AtomicBool>,
    }

    impl Server {
        fn election(&self, me: &str) -> Election {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| server.clone().answer(request));
            Election::new(Api::namespaced(kube::Client::new(service, "a"), "a"), "lease".to_owned(), me.to_owned(), || at(100))
        }

        async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
            if self.is_silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let is_write = request.method() != Method::GET;
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut lease = self.lease.lock().unwrap();
            if is_write {
                *lease = Some(serde_json::from_slice(&body).unwrap());
            }
            let (code, document) = match &*lease {
                Some(lease) => (200, lease.clone()),
                None => (404, json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 })),
            };
            Ok(Response::builder().status(code).body(Body::from(document.to_string().into_bytes())).unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_t_renew_stops_before_another_begins() {
        let server = Server::default();
        let (first, second) = (server.election("a"), server.election("b"));
        first.won().await;
        assert!(timeout(10 * LEASE, first.lost()).await.is_err(), "it is renewed");
        assert!(timeout(LEASE / 2, second.won()).await.is_err(), "it is another's");

        let last = server.lease.lock().unwrap().clone();
        server.is_silent.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        first.lost().await;
        assert!(begun.elapsed() <= GIVEN_UP_AFTER, "{:?}", begun.elapsed());
        assert_eq!(*server.lease.lock().unwrap(), last);

        server.is_silent.store(false, Ordering::Relaxed);
        second.won().await;
        assert!(begun.elapsed() >= LEASE, "{:?}", begun.elapsed());
        first.lost().await;
        first.release().await.unwrap();
        assert_eq!(server.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"], "b", "what is another's is not released");
        second.release().await.unwrap();
        first.won().await;
    }
}
