//! Places for those who stay: so many for the tokens of one policy, so many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The places.
#[derive(Clone, Debug)]
pub struct Seats {
    taken: Arc<Mutex<Taken>>,
    per_policy_max: usize,
    max: usize,
}

#[derive(Debug, Default)]
struct Taken {
    by_policy: HashMap<String, usize>,
    all: usize,
}

/// No place is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSeat {
    /// For this policy.
    #[error("the policy has {0} already")]
    OfPolicy(usize),
    /// For anybody.
    #[error("the hub has {0} already")]
    AtAll(usize),
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    policy: String,
}

impl Seats {
    /// So many per policy, and in all.
    #[must_use]
    pub fn new(per_policy_max: usize, max: usize) -> Self {
        Self { taken: Arc::default(), per_policy_max, max }
    }

    /// Takes a place.
    pub fn take(&self, policy: &str) -> Result<Seat, NoSeat> {
        let mut taken = self.taken();
        if taken.by_policy.get(policy).is_some_and(|count| *count >= self.per_policy_max) {
            return Err(NoSeat::OfPolicy(self.per_policy_max));
        }
        if taken.all >= self.max {
            return Err(NoSeat::AtAll(self.max));
        }
        *taken.by_policy.entry(policy.to_owned()).or_default() += 1;
        taken.all += 1;
        Ok(Seat { seats: self.clone(), policy: policy.to_owned() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_policy.get_mut(&self.policy) {
            *count -= 1;
            if *count == 0 {
                taken.by_policy.remove(&self.policy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_so_many_and_all_have_so_many() {
        let seats = Seats::new(2, 3);
        let one = seats.take("a").unwrap();
        let _two = seats.take("a").unwrap();
        assert_eq!(seats.take("a").unwrap_err(), NoSeat::OfPolicy(2));
        let _three = seats.take("b").unwrap();
        assert_eq!(seats.take("c").unwrap_err(), NoSeat::AtAll(3));
        drop(one);
        assert!(seats.take("a").is_ok());
    }
}
