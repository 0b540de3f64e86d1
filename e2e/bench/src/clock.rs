//! The benchmark's clocks. Everything that needs the time asks here, and nothing else reads it.

use std::time::{Duration, Instant, SystemTime};

/// The monotonic clock, for latencies and rates.
#[expect(clippy::disallowed_methods, reason = "this is where the benchmark reads the monotonic clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for the expiry of tokens and the names of result files.
#[expect(clippy::disallowed_methods, reason = "this is where the benchmark reads the wall clock")]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
