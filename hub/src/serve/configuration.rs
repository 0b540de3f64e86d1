//! The configuration file while the hub runs: its consumer groups are followed, and nothing else of it.
//!
//! Of all settings they are the one that whoever writes a new back end needs at once, and a restart would cost every device its connection.
//! So they stay where the other settings are, in the one file that people edit and that a ConfigMap brings. What else has changed there
//! counts at the next start. A file that the hub could not start with changes nothing.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::settling::Settling;
use crate::config::{Config, ConfigError, Source};
use crate::core::consumer_group::ConsumerGroup;

/// The setting.
const SETTING: &str = "events.consumer_groups";

/// The file, and the groups that were last read from it.
#[derive(Debug)]
pub(super) struct FollowedConfiguration {
    source: Source,
    path: PathBuf,
    groups: Vec<ConsumerGroup>,
    settling: Settling,
}

/// What a look at the file has found.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing new.
    Same,
    /// It has changed, and counts when it looks the same again.
    Unsettled,
    /// It has changed and can be used; these are the groups if they are others now.
    Good(Option<Vec<ConsumerGroup>>),
    /// It has changed and can't be used; the groups stay as they were.
    Broken(ConfigError),
}

impl FollowedConfiguration {
    /// The file that `config` was read from. `None` when the groups can't change: there is no file, or a flag or the environment has them.
    pub(super) fn of(source: &Source, config: &Config) -> Option<Self> {
        let given = source.overrides.iter().any(|given| given.name == SETTING);
        let path = source.path.clone().filter(|_| !given)?;
        // It may have changed since it was read, so it is looked at as if it had.
        Some(Self { source: source.clone(), path, groups: config.events.consumer_groups.get().to_vec(), settling: Settling::default() })
    }

    /// Looks at the file. Blocks on the disk.
    pub(super) fn look(&mut self) -> Found {
        let text = fs::read_to_string(&self.path);
        let contents = text.as_ref().ok().map(|text| Sha256::digest(text).into());
        if !self.settling.have_changed(contents) {
            return if self.settling.is_unsettled() { Found::Unsettled } else { Found::Same };
        }
        let read = text.map_err(|source| ConfigError::Read { path: self.path.clone(), source });
        match read.and_then(|text| self.source.parse(&text)) {
            Ok(config) => {
                let groups = config.events.consumer_groups.get().to_vec();
                let same = spelling(&groups) == spelling(&self.groups);
                self.groups = groups;
                Found::Good((!same).then(|| self.groups.clone()))
            }
            Err(error) => Found::Broken(error),
        }
    }
}

/// Groups are the same without case, but people want to see them as they wrote them.
fn spelling(groups: &[ConsumerGroup]) -> Vec<&str> {
    groups.iter().map(ConsumerGroup::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Override;

    struct File(tempfile::TempDir);

    impl File {
        fn new(groups: &str) -> Self {
            let file = Self(tempfile::tempdir().unwrap());
            file.write(groups);
            file
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("hub.toml")
        }

        fn write(&self, events: &str) {
            let text = format!("host_name = \"h\"\ndata = \"d\"\ntls = {{certificate = \"c\", key = \"k\"}}\n[events]\n{events}\n");
            fs::write(self.path(), text).unwrap();
        }

        fn follow(&self, overrides: &[(&str, &str)]) -> Option<FollowedConfiguration> {
            let given = |(name, text): &(&str, &str)| Override { name: (*name).into(), text: (*text).into(), origin: "--it".into() };
            let source = Source { path: Some(self.path()), overrides: overrides.iter().map(given).collect() };
            FollowedConfiguration::of(&source, &source.read().unwrap())
        }
    }

    /// What a look finds once the file has settled: the groups' names, if they are others.
    fn settled(followed: &mut FollowedConfiguration) -> Option<Vec<String>> {
        assert!(matches!(followed.look(), Found::Unsettled));
        match followed.look() {
            Found::Good(groups) => groups.map(|groups| groups.iter().map(ToString::to_string).collect()),
            found => panic!("{found:?}"),
        }
    }

    fn broken(followed: &mut FollowedConfiguration) -> String {
        assert!(matches!(followed.look(), Found::Unsettled));
        match followed.look() {
            Found::Broken(error) => error.to_string(),
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn groups_are_followed_and_what_else_has_changed_is_not() {
        let file = File::new("consumer_groups = [\"a\"]");
        let mut followed = file.follow(&[("log.filter", "warn")]).unwrap();
        assert_eq!(settled(&mut followed), None, "as it was read");
        assert!(matches!(followed.look(), Found::Same));
        file.write("consumer_groups = [\"a\", \"b\"]");
        assert_eq!(settled(&mut followed), Some(vec!["a".to_owned(), "b".to_owned()]));
        file.write("consumer_groups = [\"a\", \"b\"]\npartitions = 32");
        assert_eq!(settled(&mut followed), None);
        file.write("consumer_groups = [\"A\", \"b\"]");
        assert_eq!(settled(&mut followed), Some(vec!["A".to_owned(), "b".to_owned()]));
        file.write("");
        assert_eq!(settled(&mut followed), Some(vec![]));
    }

    #[test]
    fn a_file_that_can_not_be_used_keeps_the_groups_and_is_named_once() {
        let file = File::new("consumer_groups = [\"a\"]");
        let mut followed = file.follow(&[]).unwrap();
        settled(&mut followed);
        file.write("consumer_groups = [\"a b\"]");
        let error = broken(&mut followed);
        assert!(error.contains("hub.toml") && error.contains("line 5") && error.contains("not ' '"), "{error}");
        assert!(matches!(followed.look(), Found::Same), "said once");
        file.write("consumer_groups = [\"a\"]\npartition = 4");
        assert!(broken(&mut followed).contains("unknown field"));
        fs::write(file.path(), [0xff]).unwrap();
        assert!(broken(&mut followed).contains("can't be read"));
        fs::write(file.path(), "").unwrap();
        assert!(broken(&mut followed).contains("host_name is not set"), "as while it is being written");
        file.write("consumer_groups = [\"a\"]");
        assert_eq!(settled(&mut followed), None, "as it was");
    }

    #[test]
    fn what_a_flag_or_the_environment_says_does_not_change() {
        let file = File::new("");
        assert!(file.follow(&[("events.consumer_groups", "a")]).is_none());
        assert!(
            FollowedConfiguration::of(&Source::default(), &Source { path: Some(file.path()), ..Source::default() }.read().unwrap())
                .is_none()
        );
    }
}
