use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000);
const LATER: UnixMillis = UnixMillis(2_000);

fn id() -> DeviceId {
    DeviceId::parse("D").expect("a device id")
}

fn key(byte: u8) -> SymmetricKey {
    SymmetricKey::from_bytes(vec![byte; 32]).expect("long enough")
}

fn fresh(seed: u8) -> Fresh {
    Fresh { generation: u128::from(seed), version: i64::from(seed) * 1_000, primary_key: key(seed), secondary_key: key(seed) }
}

fn kubernetes(uid: &str) -> ManagedBy {
    ManagedBy::Kubernetes { namespace: "plant".to_owned(), name: "pump".to_owned(), uid: uid.to_owned() }
}

fn person() -> Author {
    Author::Policy { name: "iothubowner".to_owned(), release: false }
}

fn manifest(claim: Claim) -> Author {
    Author::Manifest { source: kubernetes("1"), claim }
}

fn status(status: DeviceStatus) -> Settings {
    Settings { status: Some(status), ..Settings::default() }
}

fn reason(text: &str) -> Option<Option<StatusReason>> {
    Some(Some(StatusReason::parse(text).expect("short")))
}

fn ask(current: Option<&DeviceIdentity>, change: Change, author: Author) -> Result<Outcome, Refused> {
    decide(&id(), current, &Request { change, author }, LATER, fresh(9))
}

fn identity(outcome: Result<Outcome, Refused>) -> DeviceIdentity {
    match outcome {
        Ok(Outcome::Kept(identity)) => *identity,
        other => panic!("expected an identity, not {other:?}"),
    }
}

fn made_by(author: Author, settings: Settings) -> DeviceIdentity {
    identity(decide(&id(), None, &Request { change: Change::Create(settings), author }, NOW, fresh(1)))
}

fn updated(current: &DeviceIdentity, settings: Settings, author: Author) -> DeviceIdentity {
    identity(ask(Some(current), Change::Update(settings, Precondition::Any), author))
}

fn rotation(second: i64) -> Rotation {
    Rotation { requested_at: jiff::Timestamp::from_second(second).expect("in range"), begun_at: None }
}

fn keys_of(identity: &DeviceIdentity) -> [&SymmetricKey; 2] {
    let Authentication::SymmetricKey { primary, secondary } = &identity.authentication else { panic!("it has no keys") };
    [primary, secondary]
}

#[test]
fn a_new_identity_is_enabled_and_has_what_was_given_and_what_was_not() {
    let settings = Settings { secondary_key: Some(key(42)), ..Settings::default() };
    let made = made_by(person(), settings);
    assert_eq!(made.status(), DeviceStatus::Enabled);
    assert_eq!(keys_of(&made), [&key(1), &key(42)]);
    assert_eq!((made.version, made.generation_id, made.status_updated_time), (Version(1_000), GenerationId("1".to_owned()), None));
}

#[test]
fn each_mode_minds_who_is_there() {
    let there = made_by(person(), Settings::default());
    let right = || Precondition::ETag(there.version.etag());
    let wrong = || Precondition::ETag("MA==".to_owned());
    let settings = Settings::default;
    assert_eq!(ask(Some(&there), Change::Create(settings()), person()), Err(Refused::AlreadyExists(id())));
    for absent in [Change::Update(settings(), Precondition::Any), Change::Delete(Precondition::Any), Change::Update(settings(), right())] {
        assert_eq!(ask(None, absent, person()), Err(Refused::NotFound(id())));
    }
    for mismatch in [Change::Update(settings(), wrong()), Change::Delete(wrong()), Change::CreateOrUpdate(settings(), wrong())] {
        assert_eq!(ask(Some(&there), mismatch, person()), Err(Refused::ETagMismatch(id())));
    }
    for fits in [Change::Update(settings(), right()), Change::CreateOrUpdate(settings(), right())] {
        assert_eq!(identity(ask(Some(&there), fits, person())).version, there.version.next());
    }
    assert_eq!(ask(Some(&there), Change::Delete(right()), person()), Ok(Outcome::Deleted));
    let created = identity(ask(None, Change::CreateOrUpdate(settings(), wrong()), person()));
    assert_eq!(created.generation_id, GenerationId("9".to_owned()), "the precondition is for the one that is there");
}

#[test]
fn what_an_update_does_not_say_stays() {
    let settings = Settings {
        primary_key: Some(key(7)),
        status_reason: reason("new"),
        tags: Some(Some(Tags::parse(&json!({"floor": 3})).expect("an object"))),
        ..Settings::default()
    };
    let made = made_by(person(), settings);
    let mut expected = made.clone();
    expected.version = made.version.next();
    assert_eq!(updated(&made, Settings::default(), person()), expected);
    assert_eq!(updated(&made, status(DeviceStatus::Enabled), person()), expected, "no other status, so its time and reason stay");

    let emptied = updated(&made, Settings { status_reason: Some(None), tags: Some(None), ..Settings::default() }, person());
    assert_eq!((emptied.status_reason, emptied.tags), (None, None));
}

#[test]
fn a_persons_disable_is_a_hold_and_their_enable_lifts_it() {
    let made = made_by(person(), Settings::default());
    let held = updated(&made, Settings { status_reason: reason("stolen"), ..status(DeviceStatus::Disabled) }, person());
    assert_eq!(held.hold, Some(Hold { by: "iothubowner".to_owned(), since: LATER }));
    assert_eq!((held.status(), held.status_updated_time), (DeviceStatus::Disabled, Some(LATER)));
    let other = Author::Policy { name: "registryReadWrite".to_owned(), release: false };
    let again = updated(&held, status(DeviceStatus::Disabled), other.clone());
    assert_eq!((&again.hold, &again.status_reason), (&held.hold, &held.status_reason), "the first one's hold stands");
    let lifted = updated(&held, status(DeviceStatus::Enabled), other);
    assert_eq!((lifted.status(), lifted.hold, lifted.status_reason), (DeviceStatus::Enabled, None, None), "\"stolen\" was about the hold");
    assert!(made_by(person(), status(DeviceStatus::Disabled)).hold.is_some(), "made disabled, it is shut out from the start");
}

#[test]
fn a_manifest_says_what_it_wants_and_lifts_no_hold() {
    let made = made_by(manifest(Claim::Own), Settings::default());
    assert_eq!(made.managed_by, Some(kubernetes("1")));
    let off = updated(&made, Settings { status_reason: reason("winter"), ..status(DeviceStatus::Disabled) }, manifest(Claim::Own));
    assert_eq!((off.status(), &off.hold), (DeviceStatus::Disabled, &None), "a manifest's disable is no hold");
    assert_eq!(updated(&off, status(DeviceStatus::Enabled), manifest(Claim::Own)).status(), DeviceStatus::Enabled);

    let held = updated(&made, Settings { status_reason: reason("stolen"), ..status(DeviceStatus::Disabled) }, person());
    assert_eq!(held.wanted_status, DeviceStatus::Enabled, "what the manifest wants is the manifest's");
    let insisted = updated(&held, Settings { status_reason: reason("spring"), ..status(DeviceStatus::Enabled) }, manifest(Claim::Own));
    assert_eq!((insisted.status(), &insisted.hold), (DeviceStatus::Disabled, &held.hold));
    assert_eq!(insisted.status_reason.as_deref(), Some("stolen"), "the reason is that of whoever holds it");

    let turned_off = updated(&held, status(DeviceStatus::Disabled), manifest(Claim::Own));
    let lifted = updated(&turned_off, status(DeviceStatus::Enabled), person());
    assert_eq!((lifted.status(), &lifted.hold), (DeviceStatus::Disabled, &None), "the hold is lifted; the manifest still disables it");
    let refused = ask(Some(&lifted), Change::Update(status(DeviceStatus::Enabled), Precondition::Any), person());
    assert_eq!(refused, Err(Refused::DisabledByManifest { id: id(), owner: Box::new(kubernetes("1")) }));
}

#[test]
fn a_manifest_takes_only_what_is_its_own_or_what_it_adopts() {
    let unmanaged = made_by(person(), Settings::default());
    let change = || Change::CreateOrUpdate(Settings::default(), Precondition::Any);
    assert_eq!(ask(Some(&unmanaged), change(), manifest(Claim::Own)), Err(Refused::Unmanaged(id())));
    assert_eq!(ask(Some(&unmanaged), Change::Delete(Precondition::Any), manifest(Claim::Own)), Err(Refused::Unmanaged(id())));
    let adopted = identity(ask(Some(&unmanaged), change(), manifest(Claim::Adopt)));
    assert_eq!((adopted.managed_by.as_ref(), keys_of(&adopted)), (Some(&kubernetes("1")), keys_of(&unmanaged)));

    // A resource of the same name made later is somebody else.
    for claim in [Claim::Own, Claim::Adopt, Claim::Release] {
        let other = Author::Manifest { source: kubernetes("2"), claim };
        let refused = Refused::ManagedByAnother { id: id(), owner: Box::new(kubernetes("1")), asker: Box::new(kubernetes("2")) };
        assert_eq!(ask(Some(&adopted), change(), other.clone()), Err(refused.clone()));
        assert_eq!(ask(Some(&adopted), Change::Delete(Precondition::Any), other), Err(refused));
    }
    let released = identity(ask(Some(&adopted), change(), manifest(Claim::Release)));
    assert_eq!(released.managed_by, None);
}

#[test]
fn a_hold_outlives_its_manifest() {
    let made = made_by(manifest(Claim::Own), Settings::default());
    assert_eq!(ask(Some(&made), Change::Delete(Precondition::Any), manifest(Claim::Own)), Ok(Outcome::Deleted));
    let held = updated(&made, status(DeviceStatus::Disabled), person());
    let left = identity(ask(Some(&held), Change::Delete(Precondition::Any), manifest(Claim::Own)));
    assert_eq!((&left.managed_by, &left.hold, left.version), (&None, &held.hold, held.version.next()));
    assert_eq!(ask(Some(&left), Change::Create(Settings::default()), manifest(Claim::Own)), Err(Refused::AlreadyExists(id())));
    let adopted = updated(&left, status(DeviceStatus::Enabled), manifest(Claim::Adopt));
    assert_eq!(adopted.status(), DeviceStatus::Disabled);
}

#[test]
fn a_person_can_change_what_is_not_the_manifests_and_release_the_rest() {
    let tags = |value| Some(Some(Tags::parse(&value).expect("an object")));
    let made = made_by(manifest(Claim::Own), Settings { tags: tags(json!({"a": 1, "b": 2})), ..Settings::default() });
    let rotated = updated(&made, Settings { primary_key: Some(key(5)), ..Settings::default() }, person());
    assert_eq!(keys_of(&rotated), [&key(5), &key(1)]);
    updated(&made, Settings { tags: tags(json!({"b": 2, "a": 1})), ..Settings::default() }, person());
    let other_tags = Settings { tags: tags(json!({})), ..Settings::default() };
    let refused = ask(Some(&made), Change::Update(other_tags.clone(), Precondition::Any), person());
    assert_eq!(refused, Err(Refused::TagsOfManifest { id: id(), owner: Box::new(kubernetes("1")) }));
    let refused = ask(Some(&made), Change::Delete(Precondition::Any), person());
    assert_eq!(refused, Err(Refused::DeletedUnderManifest { id: id(), owner: Box::new(kubernetes("1")) }));

    let releasing = Author::Policy { name: "iothubowner".to_owned(), release: true };
    let released = updated(&made, other_tags, releasing.clone());
    assert_eq!((released.managed_by, released.tags.as_deref()), (None, Some("{}")));
    assert_eq!(ask(Some(&made), Change::Delete(Precondition::Any), releasing), Ok(Outcome::Deleted));
}

#[test]
fn what_is_watched_is_the_manifests_to_say_where_there_is_one() {
    let says = |text: &str| Settings {
        monitoring: Some(Monitoring { offline_after: Some(text.parse().expect("a duration")), per_device_metrics: true }),
        ..Settings::default()
    };
    let unmanaged = made_by(person(), says("10m"));
    assert_eq!(Some(unmanaged.monitoring), says("10m").monitoring);
    let other = updated(&unmanaged, says("20m"), person());
    assert_eq!(Some(other.monitoring), says("20m").monitoring);
    assert_eq!(updated(&other, Settings::default(), person()).monitoring, other.monitoring, "nothing said of it");

    let managed = updated(&other, says("30m"), manifest(Claim::Adopt));
    updated(&managed, says("1800s"), person());
    let refused = ask(Some(&managed), Change::Update(says("31m"), Precondition::Any), person());
    assert_eq!(refused, Err(Refused::MonitoringOfManifest { id: id(), owner: Box::new(kubernetes("1")) }));
    let releasing = Author::Policy { name: "iothubowner".to_owned(), release: true };
    assert_eq!(updated(&managed, says("31m"), releasing).managed_by, None);
}

#[test]
fn only_manifests_count_rotations_and_everybody_may_write_back_what_they_read() {
    let says = |rotation| Settings { rotation: Some(rotation), ..Settings::default() };
    let refused = Err(Refused::RotationOfManifests(id()));
    assert_eq!(ask(None, Change::Create(says(Some(rotation(1)))), person()), refused);
    assert_eq!(made_by(person(), says(None)).rotation, None);
    let made = made_by(manifest(Claim::Own), says(Some(rotation(1))));
    assert_eq!(made.rotation, Some(rotation(1)));
    assert_eq!(updated(&made, says(Some(rotation(1))), person()).rotation, made.rotation, "as it was read");
    assert_eq!(updated(&made, Settings::default(), person()).rotation, made.rotation, "left out");
    let releasing = Author::Policy { name: "iothubowner".to_owned(), release: true };
    for (rotation, author) in [(Some(rotation(2)), person()), (None, person()), (None, releasing.clone())] {
        assert_eq!(ask(Some(&made), Change::Update(says(rotation), Precondition::Any), author), refused);
    }
    let released = updated(&made, Settings::default(), releasing);
    assert_eq!(released.rotation, made.rotation, "whoever adopts it later knows of it");
    let begun = Rotation { begun_at: Some(jiff::Timestamp::UNIX_EPOCH), ..rotation(2) };
    assert_eq!(updated(&made, says(Some(begun)), manifest(Claim::Own)).rotation, Some(begun));
    assert_eq!(updated(&made, says(None), manifest(Claim::Own)).rotation, None);
}

#[test]
fn texts_have_limits() {
    assert!(StatusReason::parse(&"ö".repeat(128)).is_ok());
    assert_eq!(StatusReason::parse(&"ö".repeat(129)), Err(StatusReasonTooLong(129)));
    assert_eq!(Tags::parse(&json!([1])), Err(InvalidTags::NotAnObject));
    assert!(Tags::parse(&json!({"k": "x".repeat(TAGS_MAX_BYTES - 8)})).is_ok());
    assert_eq!(Tags::parse(&json!({"k": "x".repeat(TAGS_MAX_BYTES - 7)})), Err(InvalidTags::TooLong(TAGS_MAX_BYTES + 1)));
}

/// A step of a random history.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    precondition: u8,
    settings: Settings,
    author: Author,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let claim = prop_oneof![3 => Just(Claim::Own), 2 => Just(Claim::Adopt), 1 => Just(Claim::Release)];
    let manifest = (0..2_u8, claim).prop_map(|(uid, claim)| Author::Manifest { source: kubernetes(&uid.to_string()), claim });
    let person = prop::bool::weighted(0.15).prop_map(|release| Author::Policy { name: "iothubowner".to_owned(), release });
    let status = prop::option::of(prop_oneof![Just(DeviceStatus::Enabled), Just(DeviceStatus::Disabled)]);
    let keys = (prop::option::of(100..110_u8), prop::option::of(100..110_u8));
    let tags = prop::option::of(prop::option::of((0..2).prop_map(|n| Tags::parse(&json!({ "n": n })).expect("an object"))));
    let monitoring =
        prop::option::of(any::<bool>().prop_map(|per_device_metrics| Monitoring { per_device_metrics, ..Monitoring::default() }));
    let rotation = prop::option::weighted(0.3, prop::option::of((0..2_i64).prop_map(rotation)));
    let settings =
        (status, keys, tags, monitoring, rotation).prop_map(|(status, (primary, secondary), tags, monitoring, rotation)| Settings {
            status,
            primary_key: primary.map(key),
            secondary_key: secondary.map(key),
            tags,
            monitoring,
            rotation,
            ..Settings::default()
        });
    let step = (0..4_u8, 0..4_u8, settings, prop_oneof![manifest, person]);
    prop::collection::vec(step.prop_map(|(kind, precondition, settings, author)| Step { kind, precondition, settings, author }), 1..60)
}

impl Step {
    fn request(&self, current: Option<&DeviceIdentity>) -> Request {
        let precondition = match (self.precondition, current) {
            (0, _) | (1, None) => Precondition::ETag(Version(-1).etag()),
            (1, Some(current)) => Precondition::ETag(current.version.etag()),
            _ => Precondition::Any,
        };
        let settings = self.settings.clone();
        let change = match self.kind {
            0 => Change::Create(settings),
            1 => Change::Update(settings, precondition),
            2 => Change::CreateOrUpdate(settings, precondition),
            _ => Change::Delete(precondition),
        };
        Request { change, author: self.author.clone() }
    }

    fn by_person(&self) -> bool {
        matches!(self.author, Author::Policy { .. })
    }

    /// What must hold between two lives' moments that this step joined.
    fn check(&self, before: Option<&DeviceIdentity>, after: Option<&DeviceIdentity>, fresh: &Fresh) {
        let (Some(before), Some(after)) = (before, after) else {
            if let Some(made) = after {
                assert_eq!(made.generation_id.0, fresh.generation.to_string());
                assert_eq!(keys_of(made)[0], self.settings.primary_key.as_ref().unwrap_or(&fresh.primary_key));
            }
            assert!(self.by_person() || before.is_none_or(|before| before.hold.is_none()), "a manifest deleted a held identity");
            return;
        };
        assert_ne!(after.version, before.version, "versions strictly change");
        assert_eq!(after.generation_id, before.generation_id, "a generation is a life");
        let given = if self.kind == 3 { [None, None] } else { [self.settings.primary_key.as_ref(), self.settings.secondary_key.as_ref()] };
        for ((after, before), given) in keys_of(after).into_iter().zip(keys_of(before)).zip(given) {
            assert_eq!(after, given.unwrap_or(before), "keys change only when given");
        }
        assert_eq!(after.status_updated_time != before.status_updated_time, after.status() != before.status());
        match &self.author {
            Author::Manifest { .. } => assert_eq!(after.hold, before.hold, "a manifest neither makes nor lifts a hold"),
            Author::Policy { release: false, .. } => {
                assert_eq!(after.managed_by, before.managed_by, "a person takes nothing from a manifest without saying so");
                let manifests = |of: &DeviceIdentity| (of.wanted_status, of.tags.clone(), of.monitoring);
                assert!(after.managed_by.is_none() || manifests(after) == manifests(before));
            }
            Author::Policy { release: true, .. } => assert_eq!(after.managed_by, None),
        }
        let said = self.settings.rotation.filter(|_| self.kind != 3 && !self.by_person());
        assert_eq!(after.rotation, said.unwrap_or(before.rotation), "a rotation is what a manifest says of it");
    }
}

proptest! {
    #[test]
    fn histories(steps in steps()) {
        let mut current: Option<DeviceIdentity> = None;
        let mut shut_out = false;
        for (step, time) in steps.iter().zip(1..) {
            let request = step.request(current.as_ref());
            let fresh = fresh(time);
            let Ok(outcome) = decide(&id(), current.as_ref(), &request, UnixMillis(i64::from(time)), fresh.clone()) else { continue };
            let next = match outcome {
                Outcome::Kept(identity) => Some(*identity),
                Outcome::Deleted => None,
            };
            step.check(current.as_ref(), next.as_ref(), &fresh);
            current = next;
            if step.by_person() {
                shut_out = match (step.kind, step.settings.status) {
                    (3, _) | (_, Some(DeviceStatus::Enabled)) => false,
                    (_, Some(DeviceStatus::Disabled)) => true,
                    (_, None) => shut_out,
                };
            }
            // The promise: no manifest re-admits what a person has shut out, whatever it does.
            prop_assert!(!shut_out || current.as_ref().is_some_and(|device| device.status() == DeviceStatus::Disabled));
        }
    }
}

fn by(wish: AuthenticationWish) -> Settings {
    Settings { authentication: Some(wish), ..Settings::default() }
}

#[test]
fn a_device_goes_from_keys_to_certificates_and_back_to_other_keys() {
    let thumbprint = Thumbprint::Sha256([7; 32]);
    let wish = AuthenticationWish::Thumbprints(Thumbprints::new(None, Some(thumbprint)).expect("there is one"));
    let keys = made_by(person(), Settings::default());
    let self_signed = updated(&keys, by(wish), person());
    assert_eq!(self_signed.authentication, Authentication::SelfSigned { primary: None, secondary: Some(thumbprint) });
    assert_eq!(updated(&self_signed, Settings::default(), person()).authentication, self_signed.authentication, "nothing said of it");
    let issued = updated(&self_signed, by(AuthenticationWish::CertificateAuthority), person());
    assert_eq!(issued.authentication, Authentication::CertificateAuthority);
    // `ask` has other fresh keys than `made_by`.
    assert_eq!(keys_of(&updated(&issued, by(AuthenticationWish::Keys), person())), [&key(9), &key(9)]);
    let given = Settings { primary_key: Some(key(42)), ..Settings::default() };
    assert_eq!(keys_of(&updated(&issued, given, person())), [&key(42), &key(9)], "a key says it, too");
    assert_eq!(updated(&keys, by(AuthenticationWish::Keys), person()).authentication, keys.authentication, "they stay");
    assert_eq!(made_by(manifest(Claim::Own), by(wish)).authentication, self_signed.authentication);
    assert_eq!(Thumbprints::new(None, None), Err(NoThumbprint));
}
