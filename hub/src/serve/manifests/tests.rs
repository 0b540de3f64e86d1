use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::*;
use crate::core::identity::change::{Author, Change, Precondition, Request, Settings};
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, ManagedBy, Monitoring};
use crate::ops::change_devices::change_device;
use crate::ops::new_key::new_key;
use crate::ops::world::World;

/// A hub in memory, a folder, and the time between two looks at it.
struct Rig {
    world: World,
    disk: tempfile::TempDir,
    manifests: Manifests,
}

impl Rig {
    fn new() -> Self {
        let (world, disk) = (World::new(), tempfile::tempdir().unwrap());
        fs::create_dir(disk.path().join("devices")).unwrap();
        let manifests = Manifests::open(&world.hub, &disk.path().join("devices"), disk.path()).unwrap();
        Self { world, disk, manifests }
    }

    /// The hub ends, and another one begins.
    fn restart(&mut self) {
        self.manifests = Manifests::open(&self.world.hub, &self.folder(), self.disk.path()).unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.disk.path().join("devices")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder().join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.folder().join(file)).unwrap();
    }

    /// Long enough for everything: a file to settle, a manifest to be missed, all to be compared.
    async fn later(&mut self) {
        for _ in 0..2 {
            self.world.clock.0.fetch_add(60_000, Ordering::Relaxed);
            self.manifests.round().await;
        }
    }

    /// A look after that many milliseconds.
    async fn after(&mut self, ms: i64) {
        self.world.clock.0.fetch_add(ms, Ordering::Relaxed);
        self.manifests.round().await;
    }

    async fn get(&self, id: &str) -> Option<DeviceIdentity> {
        self.world.hub.registry.get(&DeviceId::parse(id).unwrap()).await.unwrap()
    }

    async fn ask(&self, id: &str, change: Change, author: Author) {
        let id = DeviceId::parse(id).unwrap();
        change_device(&self.world.hub, &crate::ops::world::by_service(), id, Request { change, author }).await.unwrap();
    }

    fn credentials(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.disk.path().join("credentials").join(id)).ok()
    }

    fn said(&self, word: &str) -> bool {
        self.manifests.said.iter().any(|(subject, text)| format!("{subject}: {text}").contains(word))
    }
}

fn person() -> Author {
    Author::Policy { name: "service".to_owned(), release: false }
}

fn device(name: &str, spec: &str) -> String {
    format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn keys(identity: &DeviceIdentity) -> (String, String) {
    let Authentication::SymmetricKey { primary, secondary } = &identity.authentication else { panic!("it has no keys") };
    (primary.expose_base64(), secondary.expose_base64())
}

#[tokio::test]
async fn what_the_folder_says_is_carried_out_and_a_second_time_nothing_is_written() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", "enabled: false, statusReason: repair, tags: {site: north}"));
    rig.later().await;
    let pump = rig.get("pump").await.unwrap();
    assert_eq!((pump.status(), pump.status_reason.as_deref()), (DeviceStatus::Disabled, Some("repair")));
    assert_eq!((pump.tags.as_deref(), &pump.managed_by), (Some(r#"{"site":"north"}"#), &Some(ManagedBy::ManifestFolder)));
    assert!(rig.credentials("pump").unwrap().contains(&keys(&pump).0));
    rig.later().await;
    rig.restart();
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().version, pump.version);
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    let pump = rig.get("pump").await.unwrap();
    assert_eq!((pump.status(), pump.status_reason, pump.tags), (DeviceStatus::Enabled, None, None));
}

#[tokio::test]
async fn what_a_manifest_has_watched_is_watched_until_it_says_otherwise() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", "monitoring: {offlineAfter: 15m, perDeviceMetrics: true}"));
    rig.later().await;
    let pump = rig.get("pump").await.unwrap();
    assert_eq!(pump.monitoring, Monitoring { offline_after: "15m".parse().ok(), per_device_metrics: true });
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().version, pump.version, "nothing to do");
    rig.write("a.yaml", &device("pump", "monitoring: {offlineAfter: 900s}"));
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().monitoring, Monitoring { offline_after: "15m".parse().ok(), per_device_metrics: false });
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().monitoring, Monitoring::default());
    // Half a second over 90 days.
    rig.write("a.yaml", &device("pump", "monitoring: {offlineAfter: 2160h0.5s}"));
    rig.later().await;
    assert!(rig.said("spec.monitoring.offlineAfter: from 10s to 2160h"), "{:?}", rig.manifests.said);
}

#[tokio::test]
async fn a_device_goes_as_its_manifest_said_even_when_nobody_was_there_to_see() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("deleted", ""));
    rig.write("b.yaml", &device("retained", "deletionPolicy: Retain"));
    rig.write("c.yaml", &device("stays", ""));
    rig.later().await;
    rig.restart();
    rig.remove("a.yaml");
    rig.remove("b.yaml");
    rig.manifests.round().await;
    assert!(rig.get("deleted").await.is_some(), "it may come back in a moment");
    rig.later().await;
    assert!(rig.get("deleted").await.is_none() && rig.credentials("deleted").is_none());
    assert_eq!(rig.get("retained").await.unwrap().managed_by, None);
    assert!(rig.credentials("retained").is_none() && rig.credentials("stays").is_some());
    assert_eq!(rig.manifests.records.iter().count(), 1);
}

#[tokio::test]
async fn a_folder_that_is_emptied_or_vanishes_takes_nothing_with_it_until_it_says_so() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("a", ""));
    rig.write("b.yaml", &device("b", ""));
    rig.later().await;
    fs::rename(rig.folder(), rig.disk.path().join("unmounted")).unwrap();
    rig.later().await;
    assert!(rig.said("can't be read"));
    fs::create_dir(rig.folder()).unwrap();
    rig.later().await;
    rig.restart();
    rig.later().await;
    assert!(rig.said("2 devices have no manifest any more and stay all the same"), "{:?}", rig.manifests.said);
    assert!(rig.get("a").await.is_some() && rig.get("b").await.is_some() && rig.credentials("a").is_some());
    rig.write("broken.yaml", "{");
    rig.write("none.yaml", "apiVersion: v1\nkind: List\nitems: []\n");
    rig.later().await;
    assert!(rig.get("a").await.is_some(), "the broken file may speak for it");
    rig.remove("broken.yaml");
    rig.later().await;
    assert!(rig.get("a").await.is_none() && rig.get("b").await.is_none());
}

#[tokio::test]
async fn a_folder_that_is_emptied_and_fills_again_has_its_time() {
    let mut rig = Rig::new();
    let files = ["a", "b", "c"];
    for name in files {
        rig.write(&format!("{name}.yaml"), &device(name, ""));
    }
    rig.later().await;
    for name in files {
        rig.remove(&format!("{name}.yaml"));
    }
    rig.after(1).await;
    rig.after(5_000).await;
    rig.write("a.yaml", &device("a", ""));
    rig.after(1).await;
    rig.after(1_500).await;
    rig.write("b.yaml", &device("b", ""));
    rig.after(1).await;
    rig.after(1_500).await;
    assert!(rig.get("b").await.is_some() && rig.get("c").await.is_some() && rig.credentials("c").is_some());
    rig.after(500).await;
    assert!(rig.get("b").await.is_some() && rig.get("c").await.is_none(), "two quiet seconds are enough");
}

#[tokio::test]
async fn a_file_that_is_cut_off_or_broken_now_keeps_everything() {
    for text in ["", "# nothing\n", "{"] {
        let mut rig = Rig::new();
        rig.write("a.yaml", &device("a", ""));
        rig.write("b.yaml", &device("b", ""));
        rig.write("c.yaml", &device("c", ""));
        rig.later().await;
        rig.write("a.yaml", text);
        rig.remove("b.yaml");
        rig.later().await;
        assert!(rig.get("a").await.is_some(), "what it said before holds");
        assert!(rig.get("b").await.is_some(), "it may have moved into the file that can't be understood");
        assert!(rig.said("1 device has no manifest any more and stays all the same"), "{:?}", rig.manifests.said);
        rig.restart();
        rig.later().await;
        assert!(rig.get("a").await.is_some() && rig.get("b").await.is_some());
        rig.remove("a.yaml");
        rig.later().await;
        assert!(rig.get("a").await.is_none() && rig.get("b").await.is_none() && rig.get("c").await.is_some());
    }
}

#[tokio::test]
async fn nobody_is_let_in_by_a_second_manifest_while_the_first_cannot_be_read() {
    let mut rig = Rig::new();
    let first = format!("{}---\n{}", device("pump", "enabled: false, statusReason: stolen"), device("fan", ""));
    rig.write("a.yaml", &first);
    rig.write("b.yaml", &device("pump", "tags: {site: north}, rotation: {requestedAt: \"2026-11-23T03:00:00Z\"}"));
    rig.write("c.yaml", &device("fan", "enabled: false, authentication: {x509CA: {}}"));
    rig.later().await;
    let before = rig.get("pump").await.unwrap();
    rig.write("a.yaml", "{");
    rig.restart();
    rig.later().await;
    let (pump, fan) = (rig.get("pump").await.unwrap(), rig.get("fan").await.unwrap());
    assert_eq!((pump.status(), pump.status_reason.as_deref()), (DeviceStatus::Disabled, Some("stolen")));
    assert_eq!((keys(&pump), pump.tags.as_deref()), (keys(&before), Some(r#"{"site":"north"}"#)));
    assert!(rig.said("b.yaml, line 1: device pump: it waits until every file can be read"), "{:?}", rig.manifests.said);
    assert_eq!(fan.status(), DeviceStatus::Disabled, "who is shut out is shut out at once");
    assert!(matches!(fan.authentication, Authentication::SymmetricKey { .. }));
    rig.remove("a.yaml");
    rig.after(1).await;
    let (pump, fan) = (rig.get("pump").await.unwrap(), rig.get("fan").await.unwrap());
    assert_eq!((pump.status(), pump.status_reason.as_deref()), (DeviceStatus::Enabled, None));
    assert!(keys(&pump).0 != keys(&before).0 && keys(&pump).1 == keys(&before).0);
    assert_eq!(fan.authentication, Authentication::CertificateAuthority);
    assert!(!rig.said("it waits"));
}

#[tokio::test]
async fn another_folder_takes_nothing_of_the_first_one_away() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("a", ""));
    rig.later().await;
    let other = rig.disk.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("b.yaml"), device("b", "")).unwrap();
    rig.manifests = Manifests::open(&rig.world.hub, &other, rig.disk.path()).unwrap();
    rig.later().await;
    assert!(rig.get("a").await.is_some() && rig.get("b").await.is_some());
}

#[tokio::test]
async fn renaming_and_moving_change_nothing() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    let before = rig.get("pump").await.unwrap();
    fs::rename(rig.folder().join("a.yaml"), rig.folder().join("b.yaml")).unwrap();
    rig.later().await;
    rig.write("c.json", r#"{"apiVersion":"mooring.dev/v1alpha1","kind":"Device","metadata":{"name":"pump"},"spec":{}}"#);
    rig.later().await;
    assert!(rig.said("c.json, line 1: DeviceIdConflict"));
    rig.remove("b.yaml");
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap(), before);
}

#[tokio::test]
async fn a_hold_stays_whatever_the_folder_does() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", ""));
    rig.write("b.yaml", &device("other", ""));
    rig.later().await;
    let disable = Settings { status: Some(DeviceStatus::Disabled), ..Settings::default() };
    rig.ask("pump", Change::Update(disable, Precondition::Any), person()).await;
    rig.later().await;
    assert!(rig.said("HeldInHub: service has shut the device out"));
    rig.write("a.yaml", &device("pump", "statusReason: please"));
    rig.later().await;
    rig.restart();
    rig.remove("a.yaml");
    rig.later().await;
    let pump = rig.get("pump").await.unwrap();
    assert_eq!((pump.status(), &pump.managed_by), (DeviceStatus::Disabled, &None));
    rig.write("a.yaml", &device("pump", "adoption: Adopt"));
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().status(), DeviceStatus::Disabled);
}

#[tokio::test]
async fn what_is_there_already_is_adopted_only_when_told() {
    let mut rig = Rig::new();
    rig.ask("pump", Change::Create(Settings::default()), person()).await;
    let before = rig.get("pump").await.unwrap();
    rig.write("a.yaml", &device("pump", "enabled: false"));
    rig.later().await;
    assert!(rig.said("a.yaml, line 1: device pump: NotAdopted") && rig.credentials("pump").is_none());
    assert_eq!(rig.get("pump").await.unwrap(), before);
    rig.write("a.yaml", &device("pump", "enabled: false, adoption: Adopt"));
    rig.later().await;
    let adopted = rig.get("pump").await.unwrap();
    assert_eq!((adopted.status(), keys(&adopted)), (DeviceStatus::Disabled, keys(&before)));
    assert_eq!(adopted.generation_id, before.generation_id);
}

#[tokio::test]
async fn keys_are_rotated_once_with_an_overlap_and_the_credentials_follow() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    let first = keys(&rig.get("pump").await.unwrap());
    rig.write("a.yaml", &device("pump", "rotation: {requestedAt: \"2026-11-23T03:00:00Z\", overlap: 1h}"));
    rig.later().await;
    rig.restart();
    rig.later().await;
    let second = keys(&rig.get("pump").await.unwrap());
    assert!(second.0 != first.0 && second.1 == first.0, "the key before stays good");
    assert!(rig.credentials("pump").unwrap().contains(&second.0));
    rig.world.clock.0.fetch_add(3_600_000, Ordering::Relaxed);
    rig.later().await;
    let third = keys(&rig.get("pump").await.unwrap());
    assert!(third.0 == second.0 && third.1 != second.1, "and then it goes");
    rig.later().await;
    assert_eq!(keys(&rig.get("pump").await.unwrap()), third);
}

#[tokio::test]
async fn certificates_come_and_go_as_the_manifest_says() {
    let mut rig = Rig::new();
    let (sha1, sha256) = ("Ab".repeat(20), "0c".repeat(32));
    rig.write("a.yaml", &device("pump", &format!("authentication: {{x509Thumbprint: {{primary: {sha1}, secondary: {sha256}}}}}")));
    rig.later().await;
    let pump = rig.get("pump").await.unwrap();
    assert!(matches!(pump.authentication, Authentication::SelfSigned { primary: Some(_), secondary: Some(_) }));
    assert!(rig.credentials("pump").unwrap().contains("x509=true"), "{:?}", rig.credentials("pump"));
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().version, pump.version, "thumbprints are the same in either case");
    rig.write("a.yaml", &device("pump", "authentication: {x509CA: {}}"));
    rig.later().await;
    assert_eq!(rig.get("pump").await.unwrap().authentication, Authentication::CertificateAuthority);
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    let with_keys = rig.get("pump").await.unwrap();
    assert!(rig.credentials("pump").unwrap().contains(&keys(&with_keys).0));
}

#[tokio::test]
async fn credentials_that_are_lost_or_stale_are_written_again() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &device("pump", ""));
    rig.later().await;
    let before = rig.credentials("pump").unwrap();
    fs::remove_file(rig.disk.path().join("credentials/pump")).unwrap();
    rig.later().await;
    assert_eq!(rig.credentials("pump"), Some(before.clone()));
    let rotated = Settings { primary_key: Some(new_key()), ..Settings::default() };
    rig.ask("pump", Change::Update(rotated, Precondition::Any), person()).await;
    rig.later().await;
    assert_ne!(rig.credentials("pump"), Some(before));
}

#[tokio::test]
async fn what_was_carried_out_is_written_down_before_a_rotation_and_else_once() {
    const COUNT: usize = BATCH + 1;
    let mut rig = Rig::new();
    let all = |spec: &str| (0..COUNT).map(|number| device(&format!("d-{number}"), spec)).collect::<Vec<_>>().join("---\n");
    // A folder at the file's place can't be written.
    let records = rig.disk.path().join(records::RECORDS_FILE);
    fs::create_dir(&records).unwrap();
    rig.write("a.yaml", &all(""));
    rig.later().await;
    assert_eq!(rig.world.hub.registry.count().await.unwrap().total, COUNT as u64, "no batch waits for the file");
    let before = keys(&rig.get("d-0").await.unwrap());
    rig.write("a.yaml", &all("rotation: {requestedAt: \"2026-11-23T03:00:00Z\"}"));
    rig.later().await;
    assert_eq!(keys(&rig.get("d-0").await.unwrap()), before, "what can't be written down is not done");
    fs::remove_dir(&records).unwrap();
    rig.later().await;
    assert_eq!(keys(&rig.get("d-0").await.unwrap()).1, before.0);
    assert_eq!(Records::load(rig.disk.path()).unwrap().iter().count(), COUNT);
}

#[tokio::test]
async fn many_devices_come_and_go() {
    const COUNT: usize = 3 * BATCH + 1;
    let mut rig = Rig::new();
    rig.write("a.yaml", &(0..COUNT).map(|number| device(&format!("d-{number}"), "")).collect::<Vec<_>>().join("---\n"));
    rig.later().await;
    assert_eq!(rig.world.hub.registry.count().await.unwrap().total, COUNT as u64);
    rig.write("a.yaml", &device("d-0", ""));
    rig.later().await;
    assert_eq!(rig.world.hub.registry.count().await.unwrap().total, 1);
}
