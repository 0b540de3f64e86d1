//! The work on each device: read what the registry has, plan, write down, ask, and keep what follows.

use std::sync::Arc;

use jiff::Timestamp;
use mooring_crds::plan::{Standing, Step, plan, plan_deletion};
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::carry_out::{leave_admission_out, primary_key, request, rotation_records, view};
use super::records::{Record, RecordsError};
use super::roster::Entry;
use super::{BATCH, DeviceStanding, Manifests, blocking};
use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::identity::change::{Outcome, Refused, Request};
use crate::core::principal::By;
use crate::ops::RegistryError;
use crate::ops::change_devices::{ChangeError, change_devices};
use crate::ops::new_key::new_key;

/// What is to be looked at.
pub(super) enum Task {
    /// A manifest that is there.
    Manifest(Entry),
    /// One that is gone.
    Gone(Record),
}

/// What follows when a request went through.
#[derive(Default)]
struct Consequence {
    record: Option<Record>,
    standing: Option<DeviceStanding>,
    /// A rotation begins, which is known to be carried out once only if it is written down before.
    rotates: bool,
}

impl Manifests {
    /// Looks at each device, and does what its manifest, or the want of one, asks for.
    pub(super) async fn work(&mut self, due: Vec<(DeviceId, Task)>) -> Result<(), RegistryError> {
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            self.work_on(due.by_ref().take(BATCH).collect()).await?;
        }
        Ok(())
    }

    async fn work_on(&mut self, tasks: Vec<(DeviceId, Task)>) -> Result<(), RegistryError> {
        let (mut requests, mut waiting) = (Vec::new(), Vec::new());
        let mut settled = Vec::new();
        let mut rotates = false;
        for (id, task) in tasks {
            let identity = self.hub.registry.get(&id).await?;
            let (request, consequence) = self.decide(&id, &task, identity.as_ref());
            rotates |= consequence.rotates;
            match request {
                Some(request) => {
                    requests.push((id.clone(), request));
                    waiting.push((id, task, consequence));
                }
                None => settled.push((id, task, consequence, identity)),
            }
        }
        // A rotation is written down before it is carried out; what can't be written down is not done. Everything else is written down
        // once, after all batches: the file grows with the folder.
        if rotates && let Err(error) = self.save_records().await {
            return Err(RegistryError::Unavailable(format!("{error}, so nothing is changed")));
        }
        let answers = change_devices(&self.hub, &By::the_hub(), requests, None).await?;
        for ((id, task, consequence), answer) in waiting.into_iter().zip(answers) {
            match answer {
                Ok(Outcome::Kept(identity)) => settled.push((id, task, consequence, Some(*identity))),
                Ok(Outcome::Deleted) => settled.push((id, task, consequence, None)),
                Err(error) => self.did_not_go_through(&id, &task, &error),
            }
        }
        self.settle(settled).await;
        Ok(())
    }

    /// Writes down what was carried out.
    pub(super) async fn save_records(&mut self) -> Result<(), RecordsError> {
        let mut records = std::mem::take(&mut self.records);
        let (records, saved) = blocking(move || {
            let saved = records.save();
            (records, saved)
        })
        .await;
        self.records = records;
        saved
    }

    /// What is to be asked of the registry for one device, and what follows from it.
    fn decide(&mut self, id: &DeviceId, task: &Task, identity: Option<&DeviceIdentity>) -> (Option<Request>, Consequence) {
        let seen_identity = identity.map(view);
        let known = self.records.get(id).and_then(|record| record.rotation.clone());
        let now = Timestamp::from_millisecond(self.hub.now().0).unwrap_or_default();
        let entry = match task {
            Task::Gone(record) => {
                let step = plan_deletion(record.deletion_policy, seen_identity.as_ref());
                announce_departure(id, &step);
                return (request(&step, identity, new_key).unwrap_or_default(), Consequence::default());
            }
            Task::Manifest(entry) => entry,
        };
        let seen = known.as_ref().zip(identity.and_then(primary_key)).and_then(|(known, primary)| known.seen(primary));
        let mut plan = plan(&entry.wanted, seen_identity.as_ref(), seen, now);
        if let Standing::Refused(refusal) = &plan.standing {
            let standing = DeviceStanding::Refused(format!("{}: {refusal}", refusal.reason()));
            return (None, Consequence { standing: Some(standing), ..Consequence::default() });
        }
        let waits = !self.folder.is_complete() && leave_admission_out(&mut plan.step);
        let request = match request(&plan.step, identity, new_key) {
            Ok(request) => request,
            Err(error) => {
                let standing = Some(DeviceStanding::Refused(format!("Invalid: {error}")));
                return (None, Consequence { record: self.records.get(id).cloned(), standing, rotates: false });
            }
        };
        let (before, after) = rotation_records(&plan.step, identity, known.as_ref(), now);
        let rotates = before.as_ref().is_some_and(|before| before.replaces.is_some());
        let record =
            |rotation| Record { folder: self.folder.path().to_path_buf(), deletion_policy: entry.wanted.deletion_policy, rotation };
        let (before, after) = (before.map(|before| record(Some(before))), record(after));
        if let Some(before) = before {
            self.records.set(id, before);
        }
        let standing = match plan.standing {
            Standing::Held(hold) => DeviceStanding::Held(format!(
                "HeldInHub: {} has shut the device out, since {}; it stays out until it is let in the same way: mooring-hub device enable {id}",
                hold.by, hold.since
            )),
            Standing::InHub | Standing::Refused(_) if waits => DeviceStanding::Waits,
            Standing::InHub | Standing::Refused(_) => DeviceStanding::InHub,
        };
        (request, Consequence { record: Some(after), standing: Some(standing), rotates })
    }

    /// Somebody else was faster, or the rules say no: it is looked at again in a moment.
    fn did_not_go_through(&mut self, id: &DeviceId, task: &Task, error: &ChangeError) {
        self.done.remove(id);
        match error {
            ChangeError::Refused(Refused::ETagMismatch(_) | Refused::AlreadyExists(_) | Refused::NotFound(_)) => {
                debug!(device = %id, "manifests: device {id} has changed meanwhile, and is looked at again");
            }
            error if matches!(task, Task::Manifest(_)) => {
                self.standings.insert(id.clone(), DeviceStanding::Failed(format!("it could not be changed, and is tried again: {error}")));
            }
            error => {
                warn!(device = %id, %error, "manifests: the manifest of device {id} is gone, and the device could not follow: {error}")
            }
        }
    }

    /// Keeps what follows: records, standings, and credentials of what is there.
    async fn settle(&mut self, settled: Vec<(DeviceId, Task, Consequence, Option<DeviceIdentity>)>) {
        let credentials = Arc::clone(&self.credentials);
        let kept = spawn_blocking(move || {
            let keep = |(id, task, consequence, identity): (DeviceId, Task, Consequence, Option<DeviceIdentity>)| {
                let outcome = match (&task, &consequence.record, identity) {
                    (Task::Manifest(entry), Some(_), Some(identity)) => {
                        credentials.keep(&id, &identity.authentication, entry.wanted.format).map(drop)
                    }
                    _ => credentials.remove(&id),
                };
                (id, task, consequence, outcome)
            };
            settled.into_iter().map(keep).collect::<Vec<_>>()
        });
        for (id, task, Consequence { record, mut standing, .. }, outcome) in kept.await.unwrap_or_default() {
            let kept = outcome.is_ok();
            if let Err(error) = outcome {
                standing = standing.map(|_| DeviceStanding::Failed(error.to_string()));
            }
            match record {
                Some(record) => self.records.set(&id, record),
                None if kept => self.records.remove(&id),
                None => {}
            }
            if let (Task::Manifest(entry), true) = (task, kept) {
                self.done.insert(id.clone(), entry.wanted);
            }
            if let Some(standing) = standing {
                self.standings.insert(id, standing);
            }
        }
    }
}

/// What takes a device away is said for each.
fn announce_departure(id: &DeviceId, step: &Step) {
    match step {
        Step::Delete => info!(device = %id, "manifests: the manifest of device {id} is gone: the device is deleted"),
        Step::Release => info!(device = %id, "manifests: the manifest of device {id} is gone: the device stays, and nobody manages it"),
        Step::Nothing | Step::Create(_) | Step::Adopt(_) | Step::Update(_) => {}
    }
}
