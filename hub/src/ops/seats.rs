//! Places for those who stay: so many for one person or the tokens of one policy, so many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::core::principal::Principal;

/// The places.
#[derive(Clone, Debug)]
pub struct Seats {
    taken: Arc<Mutex<Taken>>,
    of: &'static str,
    each_max: usize,
    max: usize,
}

#[derive(Debug, Default)]
struct Taken {
    by_each: HashMap<Principal, usize>,
    all: usize,
}

/// No place is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSeat {
    /// For this person.
    #[error("you have {count} {of} already; close one")]
    OfPerson {
        /// How many.
        count: usize,
        /// Of what.
        of: &'static str,
    },
    /// For this policy.
    #[error("the policy has {count} {of} already")]
    OfPolicy {
        /// How many.
        count: usize,
        /// Of what.
        of: &'static str,
    },
    /// For anybody.
    #[error("the hub has {count} {of} already")]
    AtAll {
        /// How many.
        count: usize,
        /// Of what.
        of: &'static str,
    },
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    who: Principal,
}

impl Seats {
    /// Of these things, so many for each who comes, and in all.
    #[must_use]
    pub fn new(of: &'static str, each_max: usize, max: usize) -> Self {
        Self { taken: Arc::default(), of, each_max, max }
    }

    /// Takes a place.
    pub fn take(&self, who: &Principal) -> Result<Seat, NoSeat> {
        let of = self.of;
        let mut taken = self.taken();
        if taken.by_each.get(who).is_some_and(|count| *count >= self.each_max) {
            let count = self.each_max;
            return Err(if who.is_person() { NoSeat::OfPerson { count, of } } else { NoSeat::OfPolicy { count, of } });
        }
        if taken.all >= self.max {
            return Err(NoSeat::AtAll { count: self.max, of });
        }
        *taken.by_each.entry(who.clone()).or_default() += 1;
        taken.all += 1;
        Ok(Seat { seats: self.clone(), who: who.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_each.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                taken.by_each.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::principal::SignInMethod;

    #[test]
    fn each_has_so_many_and_all_have_so_many_and_who_has_none_is_told_whose_are_taken() {
        let seats = Seats::new("places", 2, 3);
        let [a, c] = ["a", "c"].map(|name| Principal::Policy(name.to_owned()));
        // A policy and a person of one name are two.
        let person = Principal::Person("a".to_owned(), SignInMethod::Password);
        let one = seats.take(&a).unwrap();
        let _two = seats.take(&a).unwrap();
        assert_eq!(seats.take(&a).unwrap_err().to_string(), "the policy has 2 places already");
        let _three = seats.take(&person).unwrap();
        assert_eq!(seats.take(&c).unwrap_err().to_string(), "the hub has 3 places already");
        drop(one);
        let _four = seats.take(&person).unwrap();
        assert_eq!(seats.take(&person).unwrap_err().to_string(), "you have 2 places already; close one");
    }
}
