//! A folder with a database in it, and what only the database as a whole can show.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Database, SqlCommands, SqlConnectionLog, SqlRegistry};
use crate::core::command::CommandId;
use crate::core::identity::{DeviceStatus, Monitoring};
use crate::core::session::BootId;
use crate::core::time::UnixMillis;
use crate::store::commands::Commands as _;
use crate::store::connection_log::ConnectionLog as _;
use crate::store::{DeviceActivity, Expected, Registry as _, RegistryWrite};

/// Gone with what is in it when it is dropped.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("registry.sqlite")
    }

    /// Opens the database in it. An earlier one that was not closed is like a killed hub's.
    pub(super) async fn database(&self) -> Database {
        Database::open_sqlite(&self.file(), None).await.expect("opens")
    }
}

#[tokio::test]
async fn a_closed_database_is_one_whole_file() {
    let folder = Folder::new();
    let database = folder.database().await;
    let log = SqlConnectionLog::new(database.clone());
    log.begin_boot(UnixMillis(1)).await.expect("answers");
    database.close().await;
    assert!(log.begin_boot(UnixMillis(2)).await.is_err(), "closed for everybody");
    assert!(!folder.file().with_extension("sqlite-wal").exists(), "the write-ahead log is folded in");
    let boot = SqlConnectionLog::new(folder.database().await).last_heartbeats().await.expect("answers");
    assert_eq!(boot, [(BootId(1), UnixMillis(1))]);
}

#[tokio::test]
async fn a_life_in_which_a_device_was_connected_last_is_kept() {
    let database = Folder::new();
    let database = database.database().await;
    let (log, registry) = (SqlConnectionLog::new(database.clone()), SqlRegistry::new(database));
    let mut boots = Vec::new();
    for time in 1..4 {
        boots.push(log.begin_boot(UnixMillis(time)).await.expect("answers"));
    }
    let identity = crate::ops::world::identity("D");
    let (id, generation_id) = (identity.device_id.clone(), identity.generation_id.clone());
    let write = RegistryWrite { id: id.clone(), expected: Expected::Absent, new: Some(identity), audit: None };
    registry.write(vec![write]).await.expect("answers")[0].expect("nobody is there");
    let seen = async |connected_boot| {
        let (id, generation_id) = (id.clone(), generation_id.clone());
        let activity = DeviceActivity { id, generation_id, connected_boot, last_activity_time: None, connection_state_updated_time: None };
        registry.record_activity(vec![activity]).await.expect("answers");
    };
    seen(Some(boots[0])).await;
    assert_eq!(log.forget_boots(boots[2], UnixMillis(9), 10).await.expect("answers"), 1);
    let left = log.last_heartbeats().await.expect("answers");
    assert_eq!(left.iter().map(|(boot, _)| *boot).collect::<Vec<_>>(), [boots[0], boots[2]]);
    seen(None).await;
    assert_eq!(log.forget_boots(boots[2], UnixMillis(9), 10).await.expect("answers"), 1);
}

/// Written by the first version that kept identities: a table `device` without what came later, and nothing else.
#[tokio::test]
async fn the_first_versions_registry_stays_readable() {
    let folder = Folder::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/golden/format-1/registry.sqlite");
    std::fs::copy(golden, folder.file()).expect("copies");
    // Twice: the second finds the tables brought up to date.
    for boot in 1..3 {
        let database = folder.database().await;
        let devices = SqlRegistry::new(database.clone()).list(None, 10).await.expect("reads");
        let [held, plain, talkative] = &devices[..] else { panic!("three devices: {devices:?}") };
        assert_eq!((held.device_id.as_str(), held.status()), ("held", DeviceStatus::Disabled));
        assert_eq!(
            held.hold.as_ref().map(|hold| (hold.by.as_str(), hold.since)),
            Some(("registryReadWrite", UnixMillis(1_763_000_000_000)))
        );
        assert_eq!(
            (plain.generation_id.0.as_str(), plain.version.0, plain.connected_boot),
            ("106741314464874793488059737775193902593", 7, None)
        );
        assert_eq!(talkative.last_activity_time, Some(UnixMillis(1_763_000_001_000)));
        assert_eq!(talkative.tags.as_deref(), Some(r#"{"site":"Zürich"}"#));
        assert!(devices.iter().all(|device| (device.monitoring, device.rotation) == (Monitoring::default(), None)));
        assert_eq!(SqlCommands::new(database.clone()).command(CommandId(0)).await.expect("reads"), None);
        assert_eq!(SqlConnectionLog::new(database.clone()).begin_boot(UnixMillis(9)).await.expect("answers"), BootId(boot));
        database.close().await;
    }
}
