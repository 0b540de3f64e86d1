//! A place of its own for each story: a network, mounts and an /etc/hosts that nobody else sees. Nothing of the host is touched.
//!
//! The SDKs insist on the ports 8883 and 443 and on checking the host name, so every hub must have them. Namespaces belong to threads, and
//! what a thread starts inherits them: many hubs run side by side on the real ports.

use std::io::Write;
use std::panic::resume_unwind;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::NamedTempFile;

use crate::hub;
use crate::patience::ONE_STORY;

/// The hub's name in the stories.
pub const HUB: &str = "hub.mooring.test";
/// A name that leads to the hub, and that its certificate holds only when it is told to.
pub const EDGE: &str = "edge.mooring.test";
/// A name that leads to the hub, which does not know it.
pub const STRANGER: &str = "stranger.mooring.test";

/// Runs a story in namespaces of its own, and shows what its hubs logged when it fails.
///
/// # Errors
/// The story's own, a story that takes longer than [`ONE_STORY`], or namespaces that can't be had: the rings need root, or `unshare`
/// around them (`make test` sees to it).
pub fn isolated<S>(story: S) -> Result<()>
where
    S: AsyncFnOnce() -> Result<()> + Send + 'static,
{
    on_ground(Ground::Own, story)
}

/// Which network a story sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// One of its own, with nobody in it.
    Own,
    /// The machine's.
    Host,
}

/// The same with a choice of the network; mounts and /etc/hosts are its own on either ground.
///
/// # Errors
/// As [`isolated`].
pub fn on_ground<S>(ground: Ground, story: S) -> Result<()>
where
    S: AsyncFnOnce() -> Result<()> + Send + 'static,
{
    let name = std::thread::current().name().unwrap_or("story").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _hosts = enter(ground)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let outcome = runtime.block_on(async { tokio::time::timeout(ONE_STORY, story()).await });
        let outcome = outcome.unwrap_or_else(|_| bail!("the story did not end in {} s", ONE_STORY.as_secs()));
        if outcome.is_err() {
            hub::show_last_words();
        }
        outcome
    });
    thread.context("no thread for the story")?.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Moves the calling thread, and whatever it will start, into fresh namespaces. The hosts file lives as long as the answer.
fn enter(ground: Ground) -> Result<NamedTempFile> {
    let network = if ground == Ground::Own { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
    unshare(network | CloneFlags::CLONE_NEWNS).context("no namespaces: run as root, or by `make test`")?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).context("mounts can't be made private")?;
    let mut hosts = NamedTempFile::new()?;
    writeln!(hosts, "127.0.0.1 localhost")?;
    if ground == Ground::Own {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("no `ip`: apt-get install iproute2")?;
        ensure!(up.success(), "the loopback device did not come up");
        for name in [HUB, EDGE, STRANGER] {
            writeln!(hosts, "127.0.0.1 {name}")?;
        }
    }
    mount(Some(hosts.path()), "/etc/hosts", nothing, MsFlags::MS_BIND, nothing).context("/etc/hosts can't be covered")?;
    Ok(hosts)
}

/// Lets a name lead to an address, for this story alone.
///
/// # Errors
/// When the story's hosts file can't be written.
pub fn point(name: &str, address: &str) -> Result<()> {
    let hosts = std::fs::read_to_string("/etc/hosts")?;
    let others: Vec<_> = hosts.lines().filter(|line| line.split_whitespace().nth(1) != Some(name)).collect();
    // In place: a file put in its stead would not be the one that is mounted here.
    Ok(std::fs::write("/etc/hosts", format!("{}\n{address} {name}\n", others.join("\n")))?)
}

/// Mounts an empty file system of the given size over a folder, seen by this story alone.
///
/// # Errors
/// When it can't be mounted.
pub fn mount_small(folder: &std::path::Path, mib: u32) -> Result<()> {
    let size = format!("size={mib}m");
    mount(Some("none"), folder, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).with_context(|| format!("no tmpfs of {mib} MiB"))
}
