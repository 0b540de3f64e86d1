//! What time it is: an argument everywhere but in [`crate::run`], so that what depends on it can be tested.

use jiff::Timestamp;

/// Tells the time.
pub type Clock = fn() -> Timestamp;
