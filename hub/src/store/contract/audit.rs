//! What every [`AuditLog`] must do, and every [`Registry`] beside it. `audit_contract!(place)` makes a test of each promise: `place` is an
//! async function to a fresh place, whose `open` opens both, once more after each time as a killed hub that starts again would.

use std::net::IpAddr;
use std::sync::Arc;

use crate::core::audit::{AuditAction, AuditEntry, AuditId, Deed};
use crate::core::device_id::DeviceId;
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, GenerationId, Monitoring, Version};
use crate::core::principal::{By, Door, Principal, SignInMethod};
use crate::core::time::UnixMillis;
use crate::store::audit::{AuditLog, AuditQuery, Authors};
use crate::store::{ExpectationFailed, Expected, Registry, RegistryWrite};

/// One `#[tokio::test]` per promise. This module is imported as `contract` where the macro is used, so that `tests/` can include the file.
macro_rules! audit_contract {
    ($place:path) => {
        audit_contract!($place:
            keeps_every_field,
            lists_the_latest_first,
            lists_of_a_device_and_of_a_principal,
            lists_without_some_actions,
            an_entry_is_never_changed,
            a_change_is_audited_with_it_or_not_at_all,
            forgets_the_oldest,
            forgets_those_of_programs_or_of_others,
            a_large_batch_is_whole,
        );
    };
    ($place:path : $($promise:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let place = $place().await;
                contract::$promise(async || place.open().await).await;
            }
        )*
    };
}
pub(crate) use audit_contract;

type Both = (Arc<dyn AuditLog>, Arc<dyn Registry>);

pub(crate) async fn keeps_every_field(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    let people = SignInMethod::ALL.map(|method| Principal::Person("ada – \"ключ\"\n".to_owned(), method));
    let others = [Principal::Policy("service".to_owned()), Principal::Manifest("kubernetes/a/b".to_owned()), Principal::Hub];
    let principals: Vec<Principal> = people.into_iter().chain(others).collect();
    let addresses = [None, Some("192.0.2.1"), Some("2001:db8::ffff")].map(|text| text.map(|text| text.parse::<IpAddr>().expect("one")));
    let entries = AuditAction::ALL.into_iter().zip(1..).map(|(action, number)| AuditEntry {
        time: UnixMillis(i64::MAX),
        by: By {
            principal: principals[number as usize % principals.len()].clone(),
            door: Door::ALL[number as usize % Door::ALL.len()],
            address: addresses[number as usize % 3],
        },
        action,
        device: (number % 2 == 0).then(|| "a-.+%_#*?!(),:;=@$'Z".to_owned()),
        detail: (number % 3 == 0).then(|| "tags".to_owned()),
        refused: (number % 4 == 0).then(|| "she may not".to_owned()),
        ..entry(number << 40, "")
    });
    let mut entries: Vec<AuditEntry> = entries.collect();
    log.append(&entries).await.expect("answers");
    entries.reverse();
    let (log, _) = open().await;
    assert_eq!(all(&log).await, entries);
    assert_eq!(log.last().await.expect("answers"), Some(entries[0].id));
}

pub(crate) async fn lists_the_latest_first(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    assert_eq!(log.last().await.expect("answers"), None);
    for number in [3, 1, 2] {
        log.append(&[entry(number, "a")]).await.expect("answers");
    }
    let listed = async |before: Option<u64>, limit| {
        let query = AuditQuery { before: before.map(AuditId), limit, ..AuditQuery::default() };
        log.entries(&query).await.expect("answers").iter().map(|entry| entry.id.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 1000).await, [3, 2, 1]);
    assert_eq!(listed(None, 2).await, [3, 2]);
    assert_eq!(listed(Some(2), 2).await, [1]);
    assert_eq!(listed(Some(1), 2).await, [0; 0]);
}

pub(crate) async fn lists_of_a_device_and_of_a_principal(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    let by = |name: &str| By { principal: Principal::Policy(name.to_owned()), door: Door::Rest, address: None };
    let entries =
        [(1, "a", "x"), (2, "b", "x"), (3, "a", "y")].map(|(number, device, who)| AuditEntry { by: by(who), ..entry(number, device) });
    log.append(&entries).await.expect("answers");
    let listed = async |device: Option<&str>, who: Option<&str>, before: Option<u64>| {
        let (device, who) = (device.map(str::to_owned), who.map(str::to_owned));
        let entries = log
            .entries(&AuditQuery { before: before.map(AuditId), device, who, limit: 10, ..AuditQuery::default() })
            .await
            .expect("answers");
        entries.iter().map(|entry| entry.id.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(Some("a"), None, None).await, [3, 1]);
    assert_eq!(listed(Some("a"), None, Some(3)).await, [1]);
    assert_eq!(listed(None, Some("x"), None).await, [2, 1]);
    assert_eq!(listed(Some("a"), Some("x"), None).await, [1]);
    assert_eq!(listed(Some("A"), None, None).await, [0; 0], "ids have case");
}

pub(crate) async fn lists_without_some_actions(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    let actions = [AuditAction::CommandSent, AuditAction::DeviceDisabled, AuditAction::CommandSentAgain, AuditAction::SecretsShown];
    let entries: Vec<_> = (1..=40).map(|number| AuditEntry { action: actions[number as usize % 4], ..entry(number, "a") }).collect();
    log.append(&entries).await.expect("answers");
    let listed = async |without: &[AuditAction], before: Option<u64>, limit| {
        let query = AuditQuery { before: before.map(AuditId), device: Some("a".to_owned()), without: without.to_vec(), limit, who: None };
        log.entries(&query).await.expect("answers").iter().map(|entry| entry.id.0).collect::<Vec<_>>()
    };
    let commands = [AuditAction::CommandSent, AuditAction::CommandSentAgain];
    assert_eq!(listed(&commands, None, 3).await, [39, 37, 35], "as many as are asked for, whatever lies between them");
    assert_eq!(listed(&commands, Some(6), 10).await, [5, 3, 1]);
    assert_eq!(listed(&actions, None, 10).await, [0; 0]);
    assert_eq!(listed(&[], Some(u64::MAX), 2).await, [40, 39], "a number that no entry can have");
}

pub(crate) async fn an_entry_is_never_changed(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    log.append(&[entry(1, "a")]).await.expect("answers");
    log.append(&[entry(1, "b"), entry(2, "c")]).await.expect("answers");
    assert_eq!(all(&log).await, [entry(2, "c"), entry(1, "a")]);
}

pub(crate) async fn a_change_is_audited_with_it_or_not_at_all(open: impl AsyncFn() -> Both) {
    let (log, registry) = open().await;
    let create = |name: &str, number: u64| RegistryWrite {
        id: DeviceId::parse(name).expect("an id"),
        expected: Expected::Absent,
        new: Some(identity(name)),
        audit: Some(entry(number, name)),
    };
    let answers = registry.write(vec![create("a", 1), create("b", 2), create("a", 3)]).await.expect("answers");
    assert_eq!(answers, [Ok(()), Ok(()), Err(ExpectationFailed)]);
    let deletion = RegistryWrite { expected: Expected::Version(Version(1)), new: None, ..create("a", 4) };
    assert_eq!(registry.write(vec![deletion]).await.expect("answers"), [Ok(())]);
    let (log_again, _) = open().await;
    assert_eq!(all(&log_again).await, [entry(4, "a"), entry(2, "b"), entry(1, "a")]);
    assert_eq!(all(&log).await.len(), 3, "and what was open sees the same");
}

pub(crate) async fn forgets_the_oldest(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    let entries: Vec<_> = (1..=10).map(|number| entry(number, "a")).collect();
    log.append(&entries).await.expect("answers");
    let prune = async |before, limit| log.prune(Authors::All, AuditId(before), limit).await.expect("answers");
    assert_eq!(prune(4, 2).await, 2, "no more than that at once");
    assert_eq!([prune(4, 2).await, prune(4, 2).await], [1, 0]);
    assert_eq!(log.count(Authors::All).await.expect("answers"), 7);
    assert_eq!(prune(6, 10).await, 2);
    assert_eq!(all(&log).await.iter().map(|entry| entry.id.0).collect::<Vec<_>>(), [10, 9, 8, 7, 6]);
    assert_eq!(prune(u64::MAX, 10).await, 5);
}

pub(crate) async fn forgets_those_of_programs_or_of_others(open: impl AsyncFn() -> Both) {
    let (log, _) = open().await;
    let person = Principal::Person("ada".to_owned(), SignInMethod::Password);
    let who = [Principal::Policy("p".to_owned()), person, Principal::Manifest("m".to_owned()), Principal::Hub];
    let by = |number: u64| By { principal: who[number as usize % 4].clone(), door: Door::Rest, address: None };
    let entries: Vec<_> = (0..12).map(|number| AuditEntry { by: by(number), ..entry(number + 1, "a") }).collect();
    log.append(&entries).await.expect("answers");
    let counts = async || {
        let mut counts = Vec::new();
        for of in [Authors::All, Authors::Programs, Authors::Others] {
            counts.push(log.count(of).await.expect("answers"));
        }
        counts
    };
    assert_eq!(counts().await, [12, 6, 6]);
    assert_eq!(log.prune(Authors::Programs, AuditId(u64::MAX), 4).await.expect("answers"), 4);
    assert_eq!(log.prune(Authors::Others, AuditId(3), 4).await.expect("answers"), 1);
    assert_eq!(counts().await, [7, 2, 5]);
    assert_eq!(all(&log).await.iter().map(|entry| entry.id.0).collect::<Vec<_>>(), [12, 11, 10, 9, 8, 6, 4]);
}

pub(crate) async fn a_large_batch_is_whole(open: impl AsyncFn() -> Both) {
    const ENTRIES: u64 = 3000;
    let (log, _) = open().await;
    let entries: Vec<_> = (1..=ENTRIES).map(|number| entry(number, "a")).collect();
    log.append(&entries).await.expect("answers");
    log.append(&[]).await.expect("answers");
    let listed = log.entries(&AuditQuery { limit: 5000, ..AuditQuery::default() }).await.expect("answers");
    assert_eq!(listed.len() as u64, ENTRIES);
}

fn entry(number: u64, device: &str) -> AuditEntry {
    let by = By { principal: Principal::Policy("service".to_owned()), door: Door::Rest, address: None };
    Deed::done(AuditAction::DeviceChanged).to(device).entry(AuditId(number), UnixMillis(number.cast_signed()), by)
}

async fn all(log: &Arc<dyn AuditLog>) -> Vec<AuditEntry> {
    log.entries(&AuditQuery { limit: 1000, ..AuditQuery::default() }).await.expect("the audit answers")
}

fn identity(name: &str) -> DeviceIdentity {
    DeviceIdentity {
        device_id: DeviceId::parse(name).expect("an id"),
        generation_id: GenerationId("1".into()),
        version: Version(1),
        wanted_status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::CertificateAuthority,
        tags: None,
        monitoring: Monitoring::default(),
        rotation: None,
        managed_by: None,
        hold: None,
        connected_boot: None,
        connection_state_updated_time: None,
        last_activity_time: None,
    }
}
