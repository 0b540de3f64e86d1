//! A back end beside the fleet: sends commands to random devices, and tells what became of each. Takes no receipts, which are others'.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::template::{Moment, Template};
use crate::cli::client::{HubClient, now};
use crate::cli::command::{Changed, Journey, Watch, ask, journey_in_one_line, send_request, show};
use crate::core::device_id::DeviceId;

/// What they are told.
const COMMAND: &str = r#"{"do":"{{choice open close report blink}}","number":{{sequence}}}"#;

/// How long a command waits for its device: longer than most simulated devices sleep.
const TTL: Duration = Duration::from_secs(5 * 60);

/// Commands whose way is followed at once; beyond them, commands are sent and not followed.
const FOLLOWED_MAX: usize = 200;

/// Lines that nobody has shown yet.
const LINES_MAX: usize = 64;

/// Where it is at work.
struct BackEnd {
    client: HubClient,
    ids: Vec<DeviceId>,
    template: Template,
    rng: SmallRng,
    sent: u64,
    /// By the commands' ids.
    followed: BTreeMap<String, Journey>,
    told: mpsc::Sender<String>,
}

/// Starts it; it ends when nobody listens any more. What it has to say comes line by line.
pub(super) fn start(client: HubClient, ids: Vec<DeviceId>, every: Duration, seed: u64) -> mpsc::Receiver<String> {
    let (told, lines) = mpsc::channel(LINES_MAX);
    let template = Template::parse(COMMAND).expect("it is one");
    let rng = SmallRng::seed_from_u64(!seed);
    let back_end = BackEnd { client, ids, template, rng, sent: 0, followed: BTreeMap::new(), told };
    tokio::spawn(back_end.run(every));
    lines
}

impl BackEnd {
    async fn run(mut self, every: Duration) {
        let mut watch = Watch::begin(&self.client, "kinds=command").await;
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                _ = due.tick() => self.send().await,
                changed = watch.changed() => self.look(&changed).await,
            };
            let line = done.err().map(|error| format!("       {error:#}"));
            if let Some(line) = line
                && self.told.send(line).await.is_err()
            {
                return;
            }
            if self.told.is_closed() {
                return;
            }
        }
    }

    async fn send(&mut self) -> Result<()> {
        let Some(device) = self.ids.get(self.rng.random_range(0..self.ids.len().max(1))) else { return Ok(()) };
        self.sent += 1;
        let moment = Moment { device: device.as_str(), number: 0, sequence: self.sent, now: now(), measured_for: Duration::ZERO };
        let payload = self.template.render(&moment, &mut [], &mut self.rng);
        let request = send_request(&self.client, device, "full")
            .header("iothub-messageid", format!("simulate-{}", self.sent))
            .header("iothub-expiry", now().plus(TTL).to_string())
            .header("iothub-contenttype", "application/json")
            .body(payload);
        let journey = Journey::new(ask(&self.client, request).await?)?;
        if self.followed.len() < FOLLOWED_MAX {
            self.followed.insert(journey.id().to_owned(), journey);
        }
        Ok(())
    }

    /// Reads the timelines of those that may have changed, and tells of those that have ended.
    async fn look(&mut self, changed: &Changed) -> Result<()> {
        let ids: Vec<String> = match changed {
            Changed::These(ids) => ids.clone(),
            Changed::Any => self.followed.keys().cloned().collect(),
        };
        for id in ids {
            // Named twice, by its end and by its receipt.
            if !self.followed.contains_key(&id) {
                continue;
            }
            let document: Value = show(&self.client, &id).await?;
            let journey = Journey::new(document)?;
            if journey.outcome().is_some() {
                self.followed.remove(&id);
                // Who does not listen any more is noticed by the caller.
                let _ = self.told.send(journey_in_one_line(&journey)).await;
            }
        }
        Ok(())
    }
}
