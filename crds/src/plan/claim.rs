//! Which of several Devices is for a device of a hub: the oldest.

use std::cmp::Ordering;

use jiff::Timestamp;

/// That a Device is for a device of a hub. It lasts until the Device is gone, and not only marked for deletion: until then the identity is
/// still to be taken back in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim<'a> {
    /// The Device's `metadata.creationTimestamp`, which is in whole seconds.
    pub created: Timestamp,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Ord for Claim<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.created, self.namespace, self.name).cmp(&(other.created, other.namespace, other.name))
    }
}

impl PartialOrd for Claim<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The one that counts among the claims to one device of one hub: the oldest, and of equally old ones the first by namespace, then name.
/// The others are refused with [`super::Refusal::DeviceIdConflict`]. In whatever order they are seen, it is the same one.
#[must_use]
pub fn first_claim<'a>(claims: impl IntoIterator<Item = Claim<'a>>) -> Option<Claim<'a>> {
    claims.into_iter().min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(seconds: i64, namespace: &'static str, name: &'static str) -> Claim<'static> {
        Claim { created: Timestamp::from_second(seconds).unwrap(), namespace, name }
    }

    #[test]
    fn the_oldest_comes_first_and_names_decide_between_equals() {
        assert_eq!(first_claim([]), None);
        assert_eq!(first_claim([claim(2, "a", "a"), claim(1, "b", "b")]), Some(claim(1, "b", "b")));
        assert_eq!(first_claim([claim(1, "b", "a"), claim(1, "a", "b"), claim(1, "a", "c")]), Some(claim(1, "a", "b")));
        // Not as one text, where a hyphen would come before the slash.
        assert_eq!(first_claim([claim(1, "a-b", "x"), claim(1, "a", "y")]), Some(claim(1, "a", "y")));
    }

    fn any_claims() -> impl Strategy<Value = Vec<Claim<'static>>> {
        let name = || prop_oneof![Just("a"), Just("a-b"), Just("b")];
        proptest::collection::vec((0i64..4, name(), name()).prop_map(|(created, namespace, name)| claim(created, namespace, name)), 1..12)
    }

    proptest! {
        #[test]
        fn whoever_looks_sees_the_same_one_first(claims in any_claims(), turn in 0usize..12, later in 4i64..9) {
            let first = first_claim(claims.iter().copied()).unwrap();
            prop_assert!(claims.contains(&first) && claims.iter().all(|claim| first.created <= claim.created));
            let mut turned = claims.clone();
            turned.rotate_left(turn % claims.len());
            turned.reverse();
            prop_assert_eq!(first_claim(turned), Some(first));
            // One that comes later never takes the place of one that is there.
            let newcomer = claim(later, "a", "a");
            prop_assert_eq!(first_claim(claims.iter().copied().chain([newcomer])), Some(first));
            // When the first one goes, exactly one of the others follows.
            let left: Vec<_> = claims.iter().copied().filter(|claim| *claim != first).collect();
            prop_assert_eq!(first_claim(left.iter().copied()).is_some(), !left.is_empty());
        }
    }
}
