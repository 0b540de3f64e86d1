//! Closed-loop load: threads that each drive their share of the connections, and the measurement of one window of time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime;
use tokio::task::{JoinSet, LocalSet};

use crate::clock;
use crate::histogram::Histogram;
use crate::process::{self, MachineTime};
use crate::report::Metrics;

/// A server that answers nothing for this long after the load has stopped is stuck.
const LAST_ANSWERS_LIMIT: Duration = Duration::from_secs(30);

/// How long to run, and with how many threads.
#[derive(Clone, Copy)]
pub struct Pace {
    pub warm_up: Duration,
    pub measured: Duration,
    pub threads: usize,
}

/// A client that always has its window full: a turn sends what the window allows and waits until something is answered.
pub trait ClosedLoop {
    async fn turn(&mut self, tally: &RefCell<Tally>) -> Result<()>;
}

/// What one thread has counted.
pub struct Tally {
    phase: Arc<Phase>,
    latencies: Histogram,
}

impl Tally {
    /// Counts an answer that arrived at `now` to what was sent at `sent`, if this is the measured time.
    pub fn answered(&mut self, sent: Instant, now: Instant) {
        if self.phase.is(Phase::MEASURED) {
            self.latencies.record(now.saturating_duration_since(sent));
        }
    }
}

struct Phase(AtomicU8);

impl Phase {
    const WARM_UP: u8 = 0;
    const MEASURED: u8 = 1;
    const OVER: u8 = 2;

    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Relaxed) == phase
    }

    fn begin(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }
}

/// Opens `count` clients on `pace.threads` threads, lets them run, and measures the time after the warm-up.
pub fn measure<C, Opening>(
    pace: Pace,
    count: usize,
    server_pid: u32,
    open: impl Fn(usize) -> Opening + Clone + Send + 'static,
) -> Result<Metrics>
where
    C: ClosedLoop + 'static,
    Opening: Future<Output = Result<C>> + 'static,
{
    let phase = Arc::new(Phase(AtomicU8::new(Phase::WARM_UP)));
    let (ready, all_ready) = mpsc::channel();
    let mut threads = Vec::new();
    for index in 0..pace.threads {
        let numbers = count * index / pace.threads..count * (index + 1) / pace.threads;
        let (start, started) = mpsc::channel();
        let (phase, ready, open) = (Arc::clone(&phase), ready.clone(), open.clone());
        let thread = thread::spawn(move || drive(numbers, open, &phase, (ready, started), pace));
        threads.push((thread, start));
    }
    drop(ready);
    // A thread that fails to connect drops its end without a word; joining it brings the reason.
    let connected = all_ready.iter().take(pace.threads).count() == pace.threads;
    let reading = if connected {
        threads.iter().try_for_each(|(_, start)| start.send(())).context("a load thread has ended early")?;
        thread::sleep(pace.warm_up);
        let before = Reading::take(server_pid)?;
        phase.begin(Phase::MEASURED);
        thread::sleep(pace.measured);
        let after = Reading::take(server_pid)?;
        phase.begin(Phase::OVER);
        Some((before, after))
    } else {
        None
    };
    let mut latencies = Histogram::new();
    for (thread, start) in threads {
        drop(start);
        latencies.merge(&thread.join().map_err(|_| anyhow!("a load thread panicked"))??);
    }
    let (before, after) = reading.context("the load could not start")?;
    Ok(metrics(&before, &after, &latencies))
}

/// One thread: its connections, one task each, until the load is over.
fn drive<C: ClosedLoop + 'static, Opening: Future<Output = Result<C>> + 'static>(
    numbers: std::ops::Range<usize>,
    open: impl Fn(usize) -> Opening + 'static,
    phase: &Arc<Phase>,
    (ready, started): (mpsc::Sender<()>, mpsc::Receiver<()>),
    pace: Pace,
) -> Result<Histogram> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let clients = local.block_on(&runtime, crate::connection::open_many(numbers, open))?;
    ready.send(()).context("the benchmark has given up")?;
    if started.recv().is_err() {
        return Ok(Histogram::new());
    }
    let tally = Rc::new(RefCell::new(Tally { phase: Arc::clone(phase), latencies: Histogram::new() }));
    let limit = pace.warm_up + pace.measured + LAST_ANSWERS_LIMIT;
    local.block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for mut client in clients {
            let (phase, tally) = (Arc::clone(phase), Rc::clone(&tally));
            tasks.spawn_local(async move {
                while !phase.is(Phase::OVER) {
                    client.turn(&tally).await?;
                }
                anyhow::Ok(())
            });
        }
        let finished = tokio::time::timeout(limit, async {
            while let Some(task) = tasks.join_next().await {
                task.context("a client's task was lost")??;
            }
            anyhow::Ok(())
        });
        finished.await.unwrap_or_else(|_| bail!("the server has stopped answering"))
    })?;
    Ok(std::mem::replace(&mut tally.borrow_mut().latencies, Histogram::new()))
}

/// The clocks at one moment.
pub struct Reading {
    at: Instant,
    server: Duration,
    generator: Duration,
    machine: MachineTime,
}

impl Reading {
    pub fn take(server_pid: u32) -> Result<Self> {
        let generator = process::cpu_time(std::process::id())?;
        Ok(Self { at: clock::now(), server: process::cpu_time(server_pid)?, generator, machine: MachineTime::read()? })
    }

    /// What every scenario reports: the rate, and CPU by whom, for `count` pieces of work done between `before` and `self`.
    pub fn metrics_since(&self, before: &Self, count: u64) -> Metrics {
        let elapsed = self.at - before.at;
        let (server, generator) = (self.server - before.server, self.generator - before.generator);
        let machine = self.machine.total.saturating_sub(before.machine.total).as_secs_f64().max(f64::MIN_POSITIVE);
        // Kernel threads (the file system's above all) and interrupts are in here, and anybody else's work.
        let others = self.machine.busy.saturating_sub(before.machine.busy).saturating_sub(server + generator);
        let stolen = self.machine.stolen.saturating_sub(before.machine.stolen);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        Metrics::from([
            ("per_second", count as f64 / elapsed.as_secs_f64()),
            ("server_cpu_us", each(server)),
            ("generator_cpu_us", each(generator)),
            ("server_cores", server.as_secs_f64() / elapsed.as_secs_f64()),
            ("generator_cores", generator.as_secs_f64() / elapsed.as_secs_f64()),
            ("other_load_percent", others.as_secs_f64() * 100.0 / machine),
            ("stolen_percent", stolen.as_secs_f64() * 100.0 / machine),
        ])
    }
}

fn metrics(before: &Reading, after: &Reading, latencies: &Histogram) -> Metrics {
    let mut metrics = after.metrics_since(before, latencies.count());
    let milliseconds = |share| latencies.quantile(share).as_secs_f64() * 1e3;
    metrics.insert("p50_ms", milliseconds(0.5));
    metrics.insert("p99_ms", milliseconds(0.99));
    metrics.insert("max_ms", milliseconds(1.0));
    metrics
}
