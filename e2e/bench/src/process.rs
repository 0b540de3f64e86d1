//! What Linux says about processes and about the whole machine: CPU time, memory, who is busy. Reads `/proc`, changes nothing.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Linux reports CPU time to user space in ticks of this many per second (USER_HZ), whatever the kernel's own timer does.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time that a process has used, in user and in kernel mode, by all its threads including those that have ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, ticks) = name_and_ticks(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Bytes that a process has had fetched from the disk; what the kernel still held of the files is not among them.
pub fn bytes_read_from_disk(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).with_context(|| format!("what process {pid} has read"))?;
    let read = io.lines().find_map(|line| line.strip_prefix("read_bytes:")).context("no read_bytes in /proc/PID/io")?;
    Ok(read.trim().parse()?)
}

/// Memory of a process in KiB.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Resident pages, shared ones included.
    pub rss_kib: u64,
    /// Resident pages, each shared one divided by the number of its users.
    pub pss_kib: u64,
    /// Resident pages without a file behind them: heap and stacks.
    pub anonymous_kib: u64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("memory of process {pid}"))?;
    let field = |name: &str| -> Result<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in smaps_rollup"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok(Memory { rss_kib: field("Rss:")?, pss_kib: field("Pss:")?, anonymous_kib: field("Anonymous:")? })
}

/// What all CPUs together have done since the machine started.
#[derive(Clone, Copy)]
pub struct MachineTime {
    pub busy: Duration,
    /// Taken by the hypervisor for other machines.
    pub stolen: Duration,
    pub total: Duration,
}

impl MachineTime {
    pub fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat does not begin with cpu")?;
        // user nice system idle iowait irq softirq steal; guest time is part of user time already.
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else { anyhow::bail!("/proc/stat has too few fields") };
        let busy = user + nice + system + irq + softirq;
        let time = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND);
        Ok(Self { busy: time(busy), stolen: time(steal), total: time(busy + idle + iowait + steal) })
    }
}

/// CPU time of every process by pid, with its name.
pub fn all_cpu_times() -> HashMap<u32, (String, Duration)> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        // A process may end between the listing and this read: it is then nobody's load any more.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, ticks) = name_and_ticks(&stat)?;
        Some((pid, (name.to_owned(), Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))))
    })
    .collect()
}

/// The command name may hold spaces and parentheses, so the fields are counted from the last `)`; proc(5): utime is the 14th, stime the 15th.
fn name_and_ticks(stat: &str) -> Option<(&str, u64)> {
    let (head, fields) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((name, ticks.next()?.ok()? + ticks.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_command_names_do_not_shift_the_fields() {
        let stat = "17 (a) (b c) S 1 17 17 0 -1 4194304 1 2 3 4 250 50 0 0 20 0 1 0 9 8 7";
        assert_eq!(name_and_ticks(stat), Some(("a) (b c", 300)));
    }

    #[test]
    fn this_very_process_can_be_read() {
        let me = std::process::id();
        assert!(cpu_time(me).is_ok() && bytes_read_from_disk(me).is_ok());
        assert!(memory(me).is_ok_and(|memory| memory.rss_kib >= memory.anonymous_kib && memory.rss_kib > 0));
        assert!(MachineTime::read().is_ok_and(|time| time.total >= time.busy));
    }
}
