//! Sorting, once for all types: a sort for each of them is code that a browser has to load.

use std::cmp::Ordering;

/// The items in this order; equal ones as they came.
#[must_use]
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let places = places(items.len(), &|one, other| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    let mut items: Vec<_> = items.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| items.get_mut(place)?.take()).collect()
}

fn places(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    places.sort_by(|one, other| compare(*one, *other));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_stay_as_they_came() {
        let items = vec![(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd')];
        let order: String = sorted(items, |one, other| one.0.cmp(&other.0)).into_iter().map(|(_, letter)| letter).collect();
        assert_eq!(order, "bdac");
        assert!(sorted(Vec::<u8>::new(), Ord::cmp).is_empty());
    }
}
