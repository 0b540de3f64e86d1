//! A session ends with what its device proved. Its connection sees to that by a steady clock, so that no step of the wall clock ends a
//! connection; here it is seen to that a hub whose clock was wrong when a device came in does not go on believing what has run out.

use crate::core::sas::CLOCK_TOLERANCE;
use crate::core::session::{DeviceRight, DisconnectReason};
use crate::core::time::UnixMillis;
use crate::ops::Hub;
use crate::store::presence::Session;

/// Ends every session that ought to have ended by the hub's clock. For those that send nothing: the verbs of a session ask for
/// themselves.
pub async fn end_expired(hub: &Hub) {
    let now = hub.now();
    let mut after = None;
    loop {
        let page = hub.presence.sessions(after.as_ref(), usize::MAX);
        let Some(last) = page.last() else { return };
        after = Some(last.key());
        page.iter().filter(|session| has_run_out(&session.right(), now)).for_each(|session| session.end(DisconnectReason::TokenExpired));
        tokio::task::yield_now().await;
    }
}

/// Why the session has ended, asked at `now` before something that it brought takes effect: one that ought to have ended has.
pub(super) fn ended(session: &Session, now: UnixMillis) -> Option<DisconnectReason> {
    if has_run_out(&session.right(), now) {
        session.end(DisconnectReason::TokenExpired);
    }
    session.ended()
}

/// With a tolerance, because a wall clock is set by seconds now and then.
fn has_run_out(right: &DeviceRight, now: UnixMillis) -> bool {
    now > right.good_until.plus(CLOCK_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;
    use crate::core::command::{LockToken, Settlement};
    use crate::ops::open_session::open_session;
    use crate::ops::settle_command::settle_of_session;
    use crate::ops::world::{World, device_token, origin};

    #[tokio::test]
    async fn a_session_settles_nothing_once_its_time_is_over_by_the_clock() {
        let world = World::with_device("D").await;
        let session = open_session(&world.hub, world.login("D", &device_token("D", 1)).await.unwrap(), origin()).await.unwrap();
        let settle = || settle_of_session(&world.hub, &session, LockToken([0; 16]), Settlement::Complete);
        let last = session.right().good_until.plus(CLOCK_TOLERANCE);
        world.clock.0.store(last.0, Ordering::Relaxed);
        settle();
        assert_eq!((session.ended(), session.last_activity()), (None, last), "a step of some seconds");
        world.clock.0.store(last.plus(Duration::from_millis(1)).0, Ordering::Relaxed);
        settle();
        assert_eq!((session.ended(), session.last_activity()), (Some(DisconnectReason::TokenExpired), last));
    }
}
