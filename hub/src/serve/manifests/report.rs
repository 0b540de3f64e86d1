//! What is said about the folder: in the log, once for each thing that is wrong and once when it is over, and in the metrics.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::roster::DEVICES_MAX;
use super::{DeviceStanding, Manifests};
use crate::observe::ManifestState;

impl Manifests {
    /// Says what is wrong, once, and that it is right again.
    pub(super) fn say(&mut self) {
        let problems = self.problems();
        for (subject, text) in &problems {
            if self.said.get(subject) != Some(text) {
                warn!(manifest = %subject, "manifests: {subject}: {text}");
            }
        }
        for subject in self.said.keys().filter(|subject| !problems.contains_key(*subject)) {
            info!(manifest = %subject, "manifests: {subject}: what was wrong is over");
        }
        self.said = problems;
    }

    /// What is wrong, by what it is about.
    fn problems(&self) -> BTreeMap<String, String> {
        let path = self.folder.path().display();
        let mut problems: BTreeMap<String, String> = BTreeMap::new();
        let folder = self.folder_error.clone().into_iter();
        problems.extend(folder.map(|text| (format!("the folder {path}"), text)));
        problems.extend(self.folder.problems().map(|(file, text)| (file.to_owned(), text.to_owned())));
        problems.extend(self.roster.refused.iter().map(|(place, refusal)| (place.to_string(), format!("{}: {refusal}", refusal.reason()))));
        for (id, standing) in &self.standings {
            let place = self.roster.devices.get(id).map(|entry| entry.place.to_string()).unwrap_or_default();
            match standing {
                DeviceStanding::InHub => {}
                DeviceStanding::Waits => {
                    let text = "it waits until every file can be read: one that can't be may speak for it, and not let it in";
                    problems.insert(format!("{place}: device {id}"), text.to_owned());
                }
                DeviceStanding::Held(text) | DeviceStanding::Refused(text) | DeviceStanding::Failed(text) => {
                    problems.insert(format!("{place}: device {id}"), text.clone());
                }
            }
        }
        for (file, contents) in self.folder.good().filter(|(_, contents)| !contents.passed_over.is_empty()) {
            problems
                .entry(file.to_owned())
                .or_insert_with(|| format!("passed over, because it is no Device: {}", contents.passed_over.join(", ")));
        }
        if let (Some(why), false) = (self.keeps_everything(), self.missing.is_empty()) {
            let text = match self.missing.len() {
                1 => format!("1 device has no manifest any more and stays all the same: {why}"),
                count => format!("{count} devices have no manifest any more and stay all the same: {why}"),
            };
            problems.insert(format!("the folder {path} lacks devices"), text);
        }
        if self.roster.overflows {
            problems.insert(format!("the folder {path} overflows"), format!("only the first {DEVICES_MAX} devices are taken"));
        }
        problems
    }

    /// Counts how devices stand.
    pub(super) fn count(&self) {
        let count = |state: fn(&DeviceStanding) -> bool| self.standings.values().filter(|standing| state(standing)).count();
        let metrics = &self.hub.metrics;
        metrics.manifests(ManifestState::InHub, count(|standing| matches!(standing, DeviceStanding::InHub)));
        metrics.manifests(ManifestState::Held, count(|standing| matches!(standing, DeviceStanding::Held(_))));
        let refused = count(|standing| matches!(standing, DeviceStanding::Refused(_))) + self.roster.refused.len();
        metrics.manifests(ManifestState::Refused, refused);
        metrics.manifests(ManifestState::Failed, count(|standing| matches!(standing, DeviceStanding::Failed(_) | DeviceStanding::Waits)));
        metrics.manifests(ManifestState::Missing, self.missing.len());
        metrics.manifest_problems(self.folder.problems().count() + usize::from(self.folder_error.is_some()));
    }
}
