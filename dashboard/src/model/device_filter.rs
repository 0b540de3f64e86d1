//! Which devices a list shows, and in which order: in the address, so that it can be shared, and in the question to the hub.

use super::state::DeviceState;
use super::time::Moment;
use crate::routes::Query;

/// By what a list can be sorted: as the API and the address call it.
pub const SORTS: [&str; 6] = ["id", "state", "since", "queue", "reason", "lastSeen"];

/// A hundred years: nothing is longer ago.
const FOR_EVER: u64 = 3_155_760_000;

/// The filter and the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// What ids begin with.
    pub prefix: String,
    /// States, none for all.
    pub states: Vec<DeviceState>,
    /// `sas`, `selfSigned` or `certificateAuthority`; empty for all.
    pub authentication: String,
    /// Only those that somebody shut out.
    pub held: bool,
    /// Only those with as many commands waiting.
    pub queue_min: Option<u64>,
    /// Only those of which nothing was heard for so many seconds.
    pub away: Option<u64>,
    /// Only those of which something was heard within so many seconds.
    pub away_max: Option<u64>,
    /// Why the last connection ended, in the API's word; empty for all.
    pub reason: String,
    /// Only those that a manifest speaks for, or only the others.
    pub managed: Option<bool>,
    /// Only those with this tag: `key:value`.
    pub tag: String,
    /// One of [`SORTS`]; empty: the newest change first.
    pub sort: String,
    /// The largest first.
    pub descending: bool,
}

impl DeviceFilter {
    /// From an address. What can't be understood is as if it were not there.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
        Self {
            prefix: text("prefix"),
            states: text("state").split(',').filter_map(DeviceState::named).collect(),
            authentication: text("auth"),
            held: query.get("held") == Some("true"),
            queue_min: query.get("queueMin").and_then(|least| least.parse().ok()),
            away: query.get("away").and_then(|seconds| seconds.parse().ok()),
            away_max: query.get("awayMax").and_then(|seconds| seconds.parse().ok()),
            reason: text("reason"),
            managed: query.get("managed").and_then(|managed| managed.parse().ok()),
            tag: text("tag"),
            sort: query.get("sort").filter(|sort| SORTS.contains(sort)).unwrap_or_default().to_owned(),
            descending: query.get("order") == Some("desc"),
        }
    }

    /// As the API is asked, at this moment.
    #[must_use]
    pub fn question(&self, now: Moment) -> Query {
        let before =
            |seconds: Option<u64>| seconds.map(|seconds| now.plus(-(seconds.min(FOR_EVER) as i64) * 1000).iso()).unwrap_or_default();
        let query = self.query().with("away", "").with("awayMax", "");
        query.with("seenBefore", before(self.away)).with("seenAfter", before(self.away_max))
    }

    /// As the page's address has it.
    #[must_use]
    pub fn query(&self) -> Query {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let states: Vec<_> = self.states.iter().map(|state| state.name()).collect();
        Query::default()
            .with("prefix", self.prefix.as_str())
            .with("state", states.join(","))
            .with("auth", self.authentication.as_str())
            .with("held", if self.held { "true" } else { "" })
            .with("queueMin", number(self.queue_min))
            .with("away", number(self.away))
            .with("awayMax", number(self.away_max))
            .with("reason", self.reason.as_str())
            .with("managed", self.managed.map(|managed| managed.to_string()).unwrap_or_default())
            .with("tag", self.tag.as_str())
            .with("sort", self.sort.as_str())
            .with("order", if self.descending { "desc" } else { "" })
    }

    /// Whether it leaves nobody out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_same_but_for_order(&Self::default())
    }

    /// Whether the same devices fit it.
    #[must_use]
    pub fn is_same_but_for_order(&self, other: &Self) -> bool {
        *self == Self { sort: self.sort.clone(), descending: self.descending, ..other.clone() }
    }

    /// With this state, or without it.
    #[must_use]
    pub fn toggled(mut self, state: DeviceState) -> Self {
        if let Some(index) = self.states.iter().position(|found| *found == state) {
            self.states.remove(index);
        } else {
            self.states.push(state);
        }
        self
    }

    /// Sorted by this; once more turns the order round.
    #[must_use]
    pub fn sorted(mut self, by: &str) -> Self {
        self.descending = self.sort == by && !self.descending;
        by.clone_into(&mut self.sort);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_all_of_it() {
        let text = "?prefix=pump-&state=offline,flapping&auth=sas&held=true&queueMin=3&tag=site:north&sort=queue&order=desc";
        let filter = DeviceFilter::of(&Query::parse(text));
        assert_eq!(filter.states, [DeviceState::Offline, DeviceState::Flapping]);
        assert_eq!((filter.queue_min, filter.descending, filter.is_all()), (Some(3), true, false));
        assert_eq!(filter.query().text(), text);
    }

    #[test]
    fn what_can_not_be_understood_is_passed_over() {
        let filter = DeviceFilter::of(&Query::parse("?state=asleep&queueMin=many&sort=colour&x=y"));
        assert_eq!(filter, DeviceFilter::default());
        assert!(filter.is_all() && filter.sorted("id").is_all());
    }

    #[test]
    fn how_long_ago_becomes_a_time_when_it_is_asked() {
        let filter = DeviceFilter::of(&Query::parse("?away=600&awayMax=99999999999999&state=offline"));
        let question = filter.question(Moment::parse("2026-11-23T14:00:00.000Z").unwrap());
        assert_eq!(
            (question.get("seenBefore"), question.get("away"), question.get("state")),
            (Some("2026-11-23T13:50:00.000Z"), None, Some("offline"))
        );
        assert_eq!(filter.query().get("away"), Some("600"));
    }

    #[test]
    fn a_second_click_takes_back_or_turns_round() {
        let filter = DeviceFilter::default().toggled(DeviceState::Never);
        assert_eq!(filter.states, [DeviceState::Never]);
        assert_eq!(filter.toggled(DeviceState::Never), DeviceFilter::default());
        let sorted = DeviceFilter::default().sorted("id");
        assert!(!sorted.descending && sorted.clone().sorted("id").descending && !sorted.clone().sorted("queue").descending);
        assert!(
            sorted.is_same_but_for_order(&DeviceFilter::default())
                && !sorted.toggled(DeviceState::Never).is_same_but_for_order(&DeviceFilter::default())
        );
    }
}
