//! The machine that the numbers come from: what it is, and whether it is quiet enough for them to mean anything.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::clock;
use crate::histogram::Histogram;
use crate::process::{MachineTime, all_cpu_times};

/// How long each look at the machine's load takes.
const CALM_SAMPLE: Duration = Duration::from_secs(5);
/// A build that made this very binary needs a while to leave the load average; nobody waits longer than this for quiet.
const CALM_WAIT: Duration = Duration::from_secs(120);
/// More than this share of all CPUs used (or stolen) by others moves the results by more than their own spread.
const BUSY_LIMIT_PERCENT: f64 = 5.0;
/// Descriptors that are not connections: files, pipes, listeners, epoll instances.
const DESCRIPTORS_KEPT_FREE: usize = 200;
const FDATASYNC_SAMPLES: usize = 100;
/// About what one group of a journal adds.
const FDATASYNC_WRITE_BYTES: usize = 4096;

/// Everything about the machine and the checkout that a reader of the results needs.
pub fn describe(work_folder: &Path) -> Result<Value> {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    Ok(json!({
        "commit": git(&["rev-parse", "HEAD"]),
        "uncommittedChanges": git(&["status", "--porcelain", "--untracked-files=no"]).map(|changes| !changes.is_empty()),
        "unixTime": clock::unix_seconds(),
        "kernel": read_trimmed("/proc/sys/kernel/osrelease"),
        "cpu": model.map(|(_, name)| name.trim()),
        "cpus": cpus(),
        "memoryKib": memory_kib.and_then(|text| text.trim().parse::<u64>().ok()),
        "loadAverage": read_trimmed("/proc/loadavg"),
        "fileSystem": file_system_of(work_folder),
        "fdatasyncP50Ms": fdatasync_p50(work_folder)?.as_secs_f64() * 1e3,
    }))
}

/// Returns once the machine has been quiet for one sample; fails, naming the busiest processes, if it will not be.
pub fn wait_for_calm() -> Result<()> {
    let deadline = clock::now() + CALM_WAIT;
    let mut told = false;
    while let Some(noise) = noise()? {
        if clock::now() >= deadline {
            bail!("this machine is not quiet enough to measure on: {noise}. End that work, or pass --anyway to try the benchmark out");
        }
        if !told {
            crate::report::progress(&format!("waiting up to {} s for a quiet machine: {noise}", CALM_WAIT.as_secs()));
            told = true;
        }
    }
    Ok(())
}

/// What is disturbing, looking for a few seconds; `None` when it is quiet.
fn noise() -> Result<Option<String>> {
    let (before, processes_before) = (MachineTime::read()?, all_cpu_times());
    thread::sleep(CALM_SAMPLE);
    let (after, processes_after) = (MachineTime::read()?, all_cpu_times());
    let total = (after.total - before.total).as_secs_f64();
    let used = after.busy.saturating_sub(before.busy) + after.stolen.saturating_sub(before.stolen);
    let busy_percent = used.as_secs_f64() * 100.0 / total;
    let load = read_trimmed("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0);
    if busy_percent <= BUSY_LIMIT_PERCENT && load <= cpus() as f64 {
        return Ok(None);
    }
    let mut busiest: Vec<_> = processes_after
        .into_iter()
        .map(|(pid, (name, time))| {
            let earlier = processes_before.get(&pid).map_or(Duration::ZERO, |(_, time)| *time);
            (time.saturating_sub(earlier), format!("{name} ({pid})"))
        })
        .filter(|(time, _)| !time.is_zero())
        .collect();
    busiest.sort_unstable_by(|one, other| other.cmp(one));
    let names: Vec<_> = busiest.into_iter().take(3).map(|(_, name)| name).collect();
    let names = if names.is_empty() { "no process in sight".to_owned() } else { names.join(", ") };
    Ok(Some(format!("{busy_percent:.0} % of its CPUs are busy or stolen, load average {load}; busiest: {names}")))
}

/// Lifts the limit on open descriptors as far as it may be lifted (children inherit it), and refuses what would not fit.
pub fn make_room_for(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let room = limit.maximum.map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap_or(usize::MAX));
    if connections + DESCRIPTORS_KEPT_FREE > room {
        bail!("{connections} connections do not fit into this machine's limit of {room} descriptors for a process");
    }
    Ok(())
}

/// The first line that a program prints about itself, or `None` when it can't be run.
pub fn version_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read_trimmed(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Type and device of the file system that holds `folder`: the longest mount point that is a prefix of it.
fn file_system_of(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|fields| fields.len() > 2 && folder.starts_with(PathBuf::from(fields[1])));
    let nearest = holding.max_by_key(|fields| fields[1].len())?;
    Some(format!("{} on {}", nearest[2], nearest[0]))
}

/// What the disk's promise costs: the median time of appending a little and waiting for it to be on disk.
fn fdatasync_p50(folder: &Path) -> Result<Duration> {
    let path = folder.join("fdatasync-probe");
    let mut file = fs::File::create(&path)?;
    let mut latencies = Histogram::new();
    for _ in 0..FDATASYNC_SAMPLES {
        let begun = clock::now();
        file.write_all(&[0x5A; FDATASYNC_WRITE_BYTES])?;
        file.sync_data()?;
        latencies.record(clock::now() - begun);
    }
    fs::remove_file(path)?;
    Ok(latencies.quantile(0.5))
}
