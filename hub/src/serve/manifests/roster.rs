//! Which manifest speaks for which device, out of everything that the files say.
//!
//! Two manifests may be for the same device: the one in the file whose name comes first (in one file, the earlier one) counts, and the
//! other is told. Where a manifest stands says nothing else, so that moving or renaming a file changes nothing. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use mooring_crds::plan::{Refusal, Wanted};

use super::text::Contents;
use crate::core::device_id::DeviceId;

/// The most devices that a folder may have; Device manifests are for devices that somebody knows by name.
pub const DEVICES_MAX: usize = 100_000;

/// Who speaks for whom.
#[derive(Debug, Default)]
pub struct Roster {
    /// By device.
    pub devices: BTreeMap<DeviceId, Entry>,
    /// Manifests that are not carried out: where they are, and why.
    pub refused: Vec<(Place, Refusal)>,
    /// Whether anything of ours is said at all; that there are no devices is something, too.
    pub speaks: bool,
    /// More than [`DEVICES_MAX`]: some are left out.
    pub overflows: bool,
}

/// The manifest that speaks for a device.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it wants.
    pub wanted: Arc<Wanted>,
    /// Where it is.
    pub place: Place,
}

/// A file and a line. Displays as `pumps.yaml, line 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

impl Roster {
    /// Out of files in the order of their names.
    pub fn of<'f>(files: impl Iterator<Item = (&'f str, &'f Contents)>) -> Self {
        let mut roster = Self::default();
        for (name, contents) in files {
            roster.speaks |= contents.speaks;
            let file: Arc<str> = name.into();
            for manifest in &contents.devices {
                let place = Place { file: Arc::clone(&file), line: manifest.line };
                roster.add(Entry { wanted: Arc::clone(&manifest.wanted), place });
            }
        }
        roster
    }

    fn add(&mut self, entry: Entry) {
        let id = DeviceId::parse(&entry.wanted.device_id).expect("a manifest's device id is checked when it is read");
        match self.devices.get(&id) {
            Some(first) => self.refused.push((entry.place, Refusal::DeviceIdConflict(first.place.to_string()))),
            None if self.devices.len() == DEVICES_MAX => self.overflows = true,
            None => drop(self.devices.insert(id, entry)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::manifests::text::{Syntax, read};

    fn contents(devices: &[&str]) -> Contents {
        let manifest = |name: &&str| format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}}}\nspec: {{}}\n");
        read(devices.iter().map(manifest).collect::<Vec<_>>().join("---\n").as_bytes(), Syntax::Yaml).unwrap()
    }

    fn places(roster: &Roster) -> Vec<String> {
        roster.devices.iter().map(|(id, entry)| format!("{id}: {}", entry.place)).collect()
    }

    #[test]
    fn the_first_by_name_speaks_and_the_other_is_told() {
        let (a, b) = (contents(&["x", "y", "x"]), contents(&["y", "z"]));
        let roster = Roster::of([("a.yaml", &a), ("b.yaml", &b)].into_iter());
        assert_eq!(places(&roster), ["x: a.yaml, line 1", "y: a.yaml, line 6", "z: b.yaml, line 6"]);
        let told: Vec<String> = roster.refused.iter().map(|(place, refusal)| format!("{place}: {}", refusal.reason())).collect();
        assert_eq!(told, ["a.yaml, line 11: DeviceIdConflict", "b.yaml, line 1: DeviceIdConflict"]);
    }

    #[test]
    fn an_empty_list_says_something_and_an_empty_folder_does_not() {
        let none = read(b"apiVersion: v1\nkind: List\nitems: []\n", Syntax::Yaml).unwrap();
        assert!(Roster::of([("none.yaml", &none)].into_iter()).speaks);
        assert!(!Roster::of([("notes.yaml", &Contents::default())].into_iter()).speaks);
    }
}
