//! Which devices a list shows.

use super::tags::Tag;
use super::{Credentials, DeviceState, Row};
use crate::core::session::DisconnectReason;
use crate::core::time::UnixMillis;

/// What has to fit; what is empty or absent leaves nobody out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetFilter {
    /// What ids begin with.
    pub prefix: String,
    /// One of these states.
    pub states: Vec<DeviceState>,
    /// One of these ways to prove oneself.
    pub credentials: Vec<Credentials>,
    /// Whether they may connect.
    pub enabled: Option<bool>,
    /// Whether somebody shut them out.
    pub held: Option<bool>,
    /// Whether they come from a manifest.
    pub managed: Option<bool>,
    /// Whether they connect again and again.
    pub flapping: Option<bool>,
    /// Last seen before this, or never.
    pub seen_before: Option<UnixMillis>,
    /// Last seen at this time or later.
    pub seen_after: Option<UnixMillis>,
    /// As many commands wait, or more.
    pub queue_min: u32,
    /// The last connection ended for one of these reasons.
    pub reasons: Vec<DisconnectReason>,
    /// All of these tags.
    pub tags: Vec<Tag>,
}

impl FleetFilter {
    /// Whether all fits but the beginning of the id.
    pub(super) fn includes(&self, row: &Row, state: DeviceState) -> bool {
        fn one_of<T: PartialEq>(wanted: &[T], is: &T) -> bool {
            wanted.is_empty() || wanted.contains(is)
        }
        fn is(wanted: Option<bool>, is: bool) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let last = row.seen.last;
        one_of(&self.states, &state)
            && one_of(&self.credentials, &row.registered.credentials)
            && is(self.enabled, row.registered.enabled)
            && is(self.held, row.registered.held)
            && is(self.managed, row.registered.source.is_some())
            && is(self.flapping, state == DeviceState::Flapping)
            && self.seen_before.is_none_or(|before| last.is_none_or(|last| last < before))
            && self.seen_after.is_none_or(|after| last.is_some_and(|last| last >= after))
            && row.queue >= self.queue_min
            && (self.reasons.is_empty() || row.seen.reason.is_some_and(|reason| self.reasons.contains(&reason)))
            && self.tags.iter().all(|tag| row.registered.tags.have(*tag))
    }
}
