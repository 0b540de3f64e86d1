//! Somebody at the dashboard: a script of `e2e/node/dashboard` that drives Debian's Chromium, and reports what is on the screen, and when.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::hub::Ready;
use crate::program::{Actor, Program};

/// A script that is told where the page is: a link that signs somebody in, or, where people have passwords, the page alone.
///
/// # Errors
/// When the hub has said nothing of a page, or what drives the browser is not installed.
pub fn visitor(script: &str, hub: &Ready) -> Result<Program> {
    let page = hub.dashboard.as_deref().context("the hub has printed no link to its dashboard")?;
    Ok(Program::node(&format!("dashboard/{script}"), hub)?.env("DASHBOARD", page))
}

/// Where pictures of the page are laid, for people to look at.
///
/// # Errors
/// When nobody said where things are kept.
pub fn pictures() -> Result<PathBuf> {
    let cache = std::env::var_os("MOORING_CACHE").context("MOORING_CACHE is not set: run the rings by `make test` or `make e2e`")?;
    let folder = PathBuf::from(cache).join("screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Waits until the script has seen `event`, and says how long it was on its way to the screen since `begun_ms`.
///
/// # Errors
/// When the script sees something else, or nothing.
pub async fn seen(visitor: &mut Actor, event: &str, begun_ms: u64) -> Result<Value> {
    let told = visitor.until(event).await?;
    let at = told["at"].as_u64().with_context(|| format!("{told} does not say when"))?;
    say(&format!(
        "{event}{}: on the screen after {} ms",
        told["screen"].as_str().map(|screen| format!(" ({screen})")).unwrap_or_default(),
        at.saturating_sub(begun_ms)
    ));
    Ok(told)
}

/// Waits until the script has come to its end, at which the page had nothing to complain of.
///
/// # Errors
/// When it ended otherwise, with what it said.
pub async fn leaves(mut visitor: Actor) -> Result<()> {
    visitor.until("end").await?;
    let status = visitor.end().await?;
    ensure!(status.success(), "{status}\n{}", visitor.standard_error());
    Ok(())
}

/// The present in milliseconds since 1970, by the clock that the browser has, too.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "how long something takes on its way to a screen is measured, not asserted")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Says what was measured, to whoever runs the stories with `--nocapture`.
#[expect(clippy::print_stderr, reason = "a test's voice")]
pub fn say(text: &str) {
    eprintln!("{text}");
}
