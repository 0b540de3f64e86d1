//! The crash ring: the real binary is killed again and again under load, and the history is judged.
//!
//! SIGKILL leaves the page cache alone, so this is about the process: what it acknowledges, how it recovers, what its readers were told.
//! Losing power is the journal's own ring, over a simulated disk.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::events::Events;
use e2e::history::History;
use e2e::hub::Hub;
use e2e::load::Sender;
use e2e::namespace::isolated;
use e2e::patience::within;
use futures_util::future::try_join_all;
use tokio::sync::watch;

/// How often the hub is killed, unless MOORING_KILLS says otherwise (`make soak` does).
const KILLS: u32 = 40;

/// Devices that send all the while; more than the partitions, so that some share one.
const DEVICES: usize = 12;

/// A kill comes after so many acknowledgements at most since the start.
const ACKNOWLEDGEMENTS_MAX: u64 = 3000;

/// How long the last readers of a killed hub may take to notice.
const READERS_END: Duration = Duration::from_secs(30);

#[test]
fn forty_kills_under_load_lose_nothing() -> Result<()> {
    isolated(async || {
        let kills = std::env::var("MOORING_KILLS").ok().map_or(Ok(KILLS), |text| text.parse()).context("MOORING_KILLS is not a number")?;
        let ids: Vec<String> = (0..DEVICES).map(|number| format!("sender-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let senders: Vec<Sender> = ids.iter().map(|id| Sender::new(id)).collect();
        let mut hub = Hub::start(&ids).await?;
        let mut history = History::default();
        for kill in 0..kills {
            // Spread over the whole range, and the same in every run.
            let target = u64::from(kill).wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACKNOWLEDGEMENTS_MAX;
            until_killed(&mut hub, &senders, target, &mut history).await.with_context(|| format!("kill {kill}, after {target} PUBACKs"))?;
            hub.restart().await.with_context(|| format!("the restart after kill {kill}"))?;
        }
        history.acknowledged = senders.iter().map(|sender| (sender.device.clone(), sender.acknowledged())).collect();
        let kept = Events::all(&hub).await?;
        history.judge(&kept)?;
        report(kills, &history, kept.len());
        Ok(())
    })
}

/// Lets the devices send and a back end read until `target` PUBACKs have come; then kills the hub, at whatever it is doing.
async fn until_killed(hub: &mut Hub, senders: &[Sender], target: u64, history: &mut History) -> Result<()> {
    let (progress, mut acknowledged) = watch::channel(0);
    let mut reader = Events::open(hub, "from=latest").await?;
    let reading = async {
        // The stream breaks when the hub dies; what came before that counts.
        while let Ok(Some(event)) = reader.next().await {
            history.saw(&event)?;
        }
        anyhow::Ok(())
    };
    let process = hub.process_id()?;
    let killing = async {
        within("acknowledgements", acknowledged.wait_for(|count| *count >= target)).await??;
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).context("the hub can't be killed")
    };
    let sending = try_join_all(senders.iter().map(|sender| sender.send_until_killed(hub, &progress)));
    tokio::try_join!(killing, sending, async { tokio::time::timeout(READERS_END, reading).await? })?;
    hub.kill9().await
}

#[expect(clippy::print_stderr, reason = "a test's voice")]
fn report(kills: u32, history: &History, kept: usize) {
    let acknowledged: usize = history.acknowledged.values().map(std::collections::BTreeSet::len).sum();
    eprintln!(
        "{kills} kills: {acknowledged} messages acknowledged, {kept} events kept, {} of them read live before a kill",
        history.read_live.len()
    );
}
