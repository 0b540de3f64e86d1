//! Device manifests without Kubernetes: a folder is followed, and what its files say is carried out in the registry.
//!
//! Owns when things are done, and what is never done: a device goes only when its manifest is known to be gone. That is, it was in this
//! folder; every file in there can be understood as it is now; something is left there that speaks for it, an empty list at least; and it
//! stays away for [`DELETION_GRACE`] in which all this holds and nothing changes. A folder that vanishes, is not mounted, or is emptied
//! all at once takes nothing with it, and neither does one that fills again. Nor is a device let in while a file that may speak for it
//! can't be understood.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mooring_crds::plan::Wanted;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time;
use tracing::{info, warn};

use self::credentials::{CredentialsError, CredentialsFolder};
use self::folder::{FolderError, Look, ManifestFolder, SETTLE_TIME};
use self::records::{Record, Records, RecordsError};
use self::roster::{Entry, Roster};
use self::work::Task;
use crate::core::device_id::DeviceId;
use crate::core::time::UnixMillis;
use crate::ops::Hub;

mod carry_out;
mod credentials;
mod folder;
mod records;
mod report;
mod roster;
#[cfg(test)]
mod tests;
mod text;
mod work;

/// How long a manifest has to stay away, from a whole and quiet folder, before its device goes: editors and `git` remove a file and write
/// it anew.
const DELETION_GRACE: Duration = Duration::from_secs(2);

/// How long to wait for the next word from the folder before it is looked at; several words come for one change.
const DEBOUNCE_TIME: Duration = Duration::from_millis(100);

/// A folder that never falls silent is looked at all the same.
const DEBOUNCE_ROUNDS_MAX: usize = 20;

/// How often the folder is looked at without a word: network file systems send none.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How soon what did not go through is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often every device is compared with the registry, at least; and for each device that many times this, so that a large folder
/// costs a few percent of a core.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
const COMPARE_EVERY_PER_DEVICE: Duration = Duration::from_millis(1);

/// How many devices change in one transaction: enough for group commit, and few enough that others get their turn.
const BATCH: usize = 200;

/// How often a look is repeated, at most, because files are being written while the hub starts.
const SETTLING_LOOKS_MAX: usize = 10;

/// The folder can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestsError {
    /// What was carried out before.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Where credentials go.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Carries out what a folder says.
pub struct Manifests {
    hub: Arc<Hub>,
    folder: ManifestFolder,
    folder_error: Option<String>,
    roster: Roster,
    credentials: Arc<CredentialsFolder>,
    records: Records,
    /// What each device was made to be when it was last looked at, so that only what has changed is looked at again.
    done: HashMap<DeviceId, Arc<Wanted>>,
    /// Since when a device's manifest is missing from a whole and quiet folder.
    missing: BTreeMap<DeviceId, UnixMillis>,
    standings: BTreeMap<DeviceId, DeviceStanding>,
    compared_at: Option<UnixMillis>,
    /// What was said last about what, so that it is said once.
    said: BTreeMap<String, String>,
}

/// When the folder is looked at next, if it doesn't say a word before.
enum Next {
    WhenSettled,
    Soon,
    Later,
}

impl Next {
    fn after(self) -> Duration {
        match self {
            Self::WhenSettled => SETTLE_TIME,
            Self::Soon => RETRY_AFTER,
            Self::Later => LOOK_EVERY,
        }
    }
}

/// How a device stands that has a manifest. What is not as it wants is told in words.
enum DeviceStanding {
    InHub,
    Held(String),
    Refused(String),
    /// It could be let in, or prove itself otherwise, but for files that can't be read.
    Waits,
    /// It did not go through, and is tried again.
    Failed(String),
}

impl Manifests {
    /// Of a folder, for a hub with this data folder. The folder itself may come later.
    pub fn open(hub: &Arc<Hub>, folder: &Path, data: &Path) -> Result<Self, ManifestsError> {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        Ok(Self {
            credentials: Arc::new(CredentialsFolder::open(data, hub.names.primary())?),
            records: Records::load(data)?,
            hub: Arc::clone(hub),
            folder: ManifestFolder::new(&folder),
            folder_error: None,
            roster: Roster::default(),
            done: HashMap::new(),
            missing: BTreeMap::new(),
            standings: BTreeMap::new(),
            compared_at: None,
            said: BTreeMap::new(),
        })
    }

    /// Carries out what the folder says now. What is being written at the moment is waited for, but not for long.
    pub async fn carry_out_once(&mut self) {
        for _ in 0..SETTLING_LOOKS_MAX {
            match self.round().await {
                Next::WhenSettled => time::sleep(SETTLE_TIME).await,
                Next::Soon | Next::Later => break,
            }
        }
        let (devices, folder, credentials) = (self.roster.devices.len(), self.folder.path().display(), self.credentials.path().display());
        let noun = if devices == 1 { "device" } else { "devices" };
        info!(devices, "manifests: {devices} {noun} in {folder}; the credentials are in {credentials}");
    }

    /// Follows the folder, for as long as it is polled.
    pub async fn follow(mut self) {
        let wake = Arc::new(Notify::new());
        let mut watch: Option<(RecommendedWatcher, (u64, u64))> = None;
        let mut wait = Duration::ZERO;
        loop {
            let _ = time::timeout(wait, wake.notified()).await;
            for _ in 0..DEBOUNCE_ROUNDS_MAX {
                if time::timeout(DEBOUNCE_TIME, wake.notified()).await.is_err() {
                    break;
                }
            }
            let identity = self.folder.identity();
            if watch.as_ref().map(|(_, of)| *of) != identity {
                watch = identity.and_then(|identity| Some((watched(self.folder.path(), &wake)?, identity)));
            }
            wait = self.round().await.after();
        }
    }

    /// Looks at the folder, carries out what it says, and answers when to look again.
    async fn round(&mut self) -> Next {
        let look = self.look().await;
        let now = self.hub.now();
        let gone = self.gone(look, now);
        let compare = self.is_time_to_compare(now);
        let due = self.due(gone, compare);
        if let Err(error) = self.work(due).await {
            warn!(%error, "manifests: the registry does not answer, and is asked again soon: {error}");
            self.done.clear();
        } else if compare {
            self.compared_at = Some(now);
        }
        if let Err(error) = self.save_records().await {
            warn!(error = &error as &dyn std::error::Error, "manifests: {error}");
        }
        self.say();
        self.count();
        match () {
            () if look.unsettled => Next::WhenSettled,
            () if !self.missing.is_empty() || self.done.len() < self.roster.devices.len() => Next::Soon,
            () => Next::Later,
        }
    }

    /// Reads what has changed.
    async fn look(&mut self) -> Look {
        let mut folder = std::mem::replace(&mut self.folder, ManifestFolder::new(Path::new("")));
        let now = self.hub.now();
        let (folder, look) = blocking(move || {
            let look = folder.look(now);
            (folder, look)
        })
        .await;
        self.folder = folder;
        self.folder_error = match &look {
            Ok(_) => None,
            Err(FolderError::Read { source, .. }) => Some(format!("it can't be read ({source}); everything stays as it is")),
            Err(error @ FolderError::TooMany(_)) => Some(format!("{error}; everything stays as it is")),
        };
        let look = look.unwrap_or_default();
        if look.changed {
            self.roster = Roster::of(self.folder.good());
            let devices = &self.roster.devices;
            self.done.retain(|id, _| devices.contains_key(id));
            self.standings.retain(|id, _| devices.contains_key(id));
        }
        if self.folder.is_complete() {
            self.done.retain(|id, _| !matches!(self.standings.get(id), Some(DeviceStanding::Waits)));
        }
        look
    }

    /// The devices whose manifests are gone for good. A folder that is being filled again, or changed, is waited for.
    fn gone(&mut self, look: Look, now: UnixMillis) -> Vec<(DeviceId, Record)> {
        let waits = look.changed || look.unsettled || self.keeps_everything().is_some();
        let since = |id: &DeviceId| self.missing.get(id).copied().filter(|_| !waits).unwrap_or(now);
        let is_missing = |id: &DeviceId, record: &Record| record.folder == self.folder.path() && !self.roster.devices.contains_key(id);
        let missing = self.records.iter().filter(|(id, record)| is_missing(id, record));
        self.missing = missing.map(|(id, _)| (id.clone(), since(id))).collect();
        let ripe = self.missing.iter().filter(|(_, since)| now.since(**since) >= DELETION_GRACE);
        ripe.filter_map(|(id, _)| Some((id.clone(), self.records.get(id)?.clone()))).collect()
    }

    /// Why no device goes, whatever is missing.
    fn keeps_everything(&self) -> Option<&'static str> {
        match () {
            () if self.folder_error.is_some() => Some("the folder can't be read"),
            () if !self.folder.is_complete() => {
                Some("a file in the folder can't be understood, or is being written, and may be what speaks for them")
            }
            () if self.roster.overflows => Some("the folder has too many devices"),
            () if !self.roster.speaks => Some(
                "no manifest at all is left in the folder, as if it were not mounted. To take the last ones away, put a file there that says \
                 so: {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}",
            ),
            () => None,
        }
    }

    fn is_time_to_compare(&self, now: UnixMillis) -> bool {
        let count = u32::try_from(self.roster.devices.len()).unwrap_or(u32::MAX);
        let every = COMPARE_EVERY.max(COMPARE_EVERY_PER_DEVICE * count);
        self.compared_at.is_none_or(|at| now.since(at) >= every || now < at)
    }

    /// What has changed, or everything.
    fn due(&self, gone: Vec<(DeviceId, Record)>, everything: bool) -> Vec<(DeviceId, Task)> {
        let is_due = |id: &DeviceId, entry: &Entry| everything || self.done.get(id) != Some(&entry.wanted);
        let there = self.roster.devices.iter().filter(|(id, entry)| is_due(id, entry));
        let there = there.map(|(id, entry)| (id.clone(), Task::Manifest(entry.clone())));
        gone.into_iter().map(|(id, record)| (id, Task::Gone(record))).chain(there).collect()
    }
}

/// Does on another thread what waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Wakes when something happens in the folder. Without it, the folder is looked at now and then.
fn watched(folder: &Path, wake: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let wake = Arc::clone(wake);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking at the folder is an access, too.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            wake.notify_one();
        }
    });
    let watching = watcher.and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    watching.inspect_err(|error| warn!(%error, "manifests: changes are noticed only every {LOOK_EVERY:?}: {error}")).ok()
}
