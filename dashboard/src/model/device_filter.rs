//! Which devices a list shows, and in which order: in the address, so that it can be shared, and in the question to the hub.

use super::state::DeviceState;
use crate::routes::Query;

/// By what a list can be sorted: as the API and the address call it.
pub const SORTS: [&str; 5] = ["id", "state", "since", "queue", "reason"];

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
            tag: text("tag"),
            sort: query.get("sort").filter(|sort| SORTS.contains(sort)).unwrap_or_default().to_owned(),
            descending: query.get("order") == Some("desc"),
        }
    }

    /// As a query: of an address, and of the API's.
    #[must_use]
    pub fn query(&self) -> Query {
        let states: Vec<_> = self.states.iter().map(|state| state.name()).collect();
        Query::default()
            .with("prefix", self.prefix.as_str())
            .with("state", states.join(","))
            .with("auth", self.authentication.as_str())
            .with("held", if self.held { "true" } else { "" })
            .with("queueMin", self.queue_min.map(|least| least.to_string()).unwrap_or_default())
            .with("tag", self.tag.as_str())
            .with("sort", self.sort.as_str())
            .with("order", if self.descending { "desc" } else { "" })
    }

    /// Whether it leaves nobody out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self { sort: self.sort.clone(), descending: self.descending, ..Self::default() }
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
        assert!(filter.is_all() && filter.clone().sorted("id").is_all());
    }

    #[test]
    fn a_second_click_takes_back_or_turns_round() {
        let filter = DeviceFilter::default().toggled(DeviceState::Never);
        assert_eq!(filter.states, [DeviceState::Never]);
        assert_eq!(filter.toggled(DeviceState::Never), DeviceFilter::default());
        let sorted = DeviceFilter::default().sorted("id");
        assert!(!sorted.descending && sorted.clone().sorted("id").descending && !sorted.sorted("queue").descending);
    }
}
