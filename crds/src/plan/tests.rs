use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::device::{Adoption, Device, Rotation};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn device(spec: &Value) -> Device {
    serde_json::from_value(json!({ "apiVersion": crate::API_VERSION, "kind": "Device", "metadata": { "name": "pump" }, "spec": spec }))
        .unwrap()
}

fn wanted(spec: &Value) -> Wanted {
    Wanted::of(&device(spec)).unwrap()
}

/// What a registry would make of a plan.
#[derive(Clone, Debug, PartialEq)]
struct World {
    identity: Option<IdentityView>,
    seen: Option<RotationSeen>,
    renewed: u32,
}

impl World {
    fn carry_out(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::Nothing => {}
            Step::Create(changes) => {
                assert!(self.identity.is_none(), "made over somebody");
                self.identity = Some(IdentityView {
                    owner: Owner::ThisManifest,
                    hold: None,
                    enabled: true,
                    status_reason: None,
                    authentication: IdentityAuthentication::Keys { as_brought: false },
                    tags: Map::new(),
                    monitoring: Monitoring::default(),
                });
                self.change(changes, now);
            }
            Step::Adopt(changes) => {
                let identity = self.identity.as_mut().expect("only what is there is adopted");
                assert!(matches!(identity.owner, Owner::Nobody | Owner::Predecessor), "taken from its owner");
                identity.owner = Owner::ThisManifest;
                self.change(changes, now);
            }
            Step::Update(changes) => self.change(changes, now),
            Step::Release => self.identity.as_mut().expect("only what is there is released").owner = Owner::Nobody,
            Step::Delete => self.identity = None,
        }
    }

    fn change(&mut self, changes: Changes, now: Timestamp) {
        let identity = self.identity.as_mut().expect("only what is there is changed");
        assert_eq!(identity.owner, Owner::ThisManifest, "changed what is not its own");
        identity.enabled = changes.enabled.unwrap_or(identity.enabled);
        if let Some(reason) = changes.status_reason {
            identity.status_reason = reason;
        }
        if let Some(authentication) = changes.authentication {
            identity.authentication = match authentication {
                WantedAuthentication::GeneratedKeys | WantedAuthentication::KeysOf(_) => IdentityAuthentication::Keys { as_brought: true },
                WantedAuthentication::Thumbprints { primary, secondary } => {
                    IdentityAuthentication::Thumbprints { primary: Some(primary), secondary }
                }
                WantedAuthentication::CertificateAuthority => IdentityAuthentication::CertificateAuthority,
            };
        }
        identity.tags = changes.tags.unwrap_or(identity.tags.clone());
        identity.monitoring = changes.monitoring.unwrap_or(identity.monitoring);
        match changes.rotation {
            Some(RotationStep::Note(requested_at)) => self.seen = Some(RotationSeen { requested_at, begun_at: None }),
            Some(RotationStep::Begin(requested_at)) => {
                self.seen = Some(RotationSeen { requested_at, begun_at: Some(now) });
                self.renewed += 1;
            }
            Some(RotationStep::Finish) => self.seen.as_mut().expect("only what was begun is finished").begun_at = None,
            None => {}
        }
    }

    fn plan(&self, wanted: &Wanted, now: Timestamp) -> Plan {
        plan(wanted, self.identity.as_ref(), self.seen, now)
    }
}

fn nowhere() -> World {
    World { identity: None, seen: None, renewed: 0 }
}

fn there(owner: Owner) -> World {
    let mut world = nowhere();
    world.carry_out(Step::Create(creation(&wanted(&json!({})))), at(0));
    world.identity.as_mut().unwrap().owner = owner;
    world
}

#[test]
fn what_is_nobodys_is_adopted_only_when_told_and_what_is_anothers_never() {
    let plan = there(Owner::Nobody).plan(&wanted(&json!({})), at(0));
    assert_eq!(plan, Plan::refused(Refusal::Exists));
    let plan = there(Owner::Nobody).plan(&wanted(&json!({ "adoption": "Adopt" })), at(0));
    assert_eq!(plan, Plan { step: Step::Adopt(Changes::default()), standing: Standing::InHub });
    let plan = there(Owner::Predecessor).plan(&wanted(&json!({})), at(0));
    assert_eq!(plan, Plan { step: Step::Adopt(Changes::default()), standing: Standing::InHub }, "a Device made again is its own heir");
    let plan = there(Owner::Another("kubernetes/a/b/c".to_owned())).plan(&wanted(&json!({ "adoption": "Adopt" })), at(0));
    assert_eq!(plan, Plan::refused(Refusal::ManagedByAnother("kubernetes/a/b/c".to_owned())));
}

#[test]
fn a_held_device_is_told_what_its_manifest_wants_but_not_why() {
    let mut world = there(Owner::ThisManifest);
    let hold = Hold { by: "service".to_owned(), since: "yesterday".to_owned() };
    world.identity.as_mut().unwrap().hold = Some(hold.clone());
    let plan = world.plan(&wanted(&json!({ "enabled": false, "statusReason": "repair", "tags": { "a": 1 } })), at(0));
    let tags = json!({ "a": 1 }).as_object().cloned();
    assert_eq!(plan.step, Step::Update(Changes { enabled: Some(false), tags, ..Changes::default() }));
    assert_eq!(plan.standing, Standing::Held(hold));
}

#[test]
fn a_rotation_is_carried_out_once_and_the_old_key_goes_after_the_overlap() {
    let asked = |second: i64| wanted(&json!({ "rotation": { "requestedAt": at(second).to_string(), "overlap": "1h" } }));
    let mut world = nowhere();
    world.carry_out(world.plan(&asked(10), at(20)).step, at(20));
    assert_eq!(world.plan(&asked(10), at(30)).step, Step::Nothing, "new keys need no rotation");
    assert_eq!(world.plan(&asked(5), at(30)).step, Step::Nothing, "nor does what was asked for before");
    world.carry_out(world.plan(&asked(40), at(50)).step, at(50));
    assert_eq!((world.renewed, world.plan(&asked(40), at(51)).step), (1, Step::Nothing));
    assert_eq!(world.plan(&asked(40), at(50 + 3599)).step, Step::Nothing);
    let finish = Step::Update(Changes { rotation: Some(RotationStep::Finish), ..Changes::default() });
    assert_eq!(world.plan(&asked(40), at(50 + 3600)).step, finish);
    assert_eq!(world.plan(&wanted(&json!({})), at(51)).step, finish, "without a rotation, nobody says how long");
    world.carry_out(finish, at(50 + 3600));
    assert_eq!(world.plan(&asked(40), at(9999)).step, Step::Nothing);
}

#[test]
fn a_manifest_that_goes_takes_only_what_is_its_own() {
    let view = |owner: Owner, hold: bool| IdentityView {
        hold: hold.then(|| Hold { by: String::new(), since: String::new() }),
        ..there(owner).identity.unwrap()
    };
    for (policy, owner, hold, step) in [
        (DeletionPolicy::Delete, Owner::ThisManifest, false, Step::Delete),
        (DeletionPolicy::Delete, Owner::ThisManifest, true, Step::Release),
        (DeletionPolicy::Retain, Owner::ThisManifest, false, Step::Release),
        (DeletionPolicy::Delete, Owner::Predecessor, false, Step::Delete),
        (DeletionPolicy::Delete, Owner::Predecessor, true, Step::Release),
        (DeletionPolicy::Retain, Owner::Predecessor, false, Step::Release),
        (DeletionPolicy::Delete, Owner::Nobody, false, Step::Nothing),
        (DeletionPolicy::Delete, Owner::Another(String::new()), true, Step::Nothing),
    ] {
        assert_eq!(plan_deletion(policy, Some(&view(owner, hold))), step);
    }
    assert_eq!(plan_deletion(DeletionPolicy::Delete, None), Step::Nothing);
}

#[test]
fn what_can_not_be_carried_out_is_refused_with_the_field() {
    for (spec, word) in [
        (json!({ "deviceId": "a b" }), "spec.deviceId"),
        (json!({ "authentication": { "symmetricKey": {}, "x509CA": {} } }), "not 2 of them"),
        (json!({ "authentication": { "x509Thumbprint": { "primary": "xy" } } }), "x509Thumbprint"),
        (json!({ "authentication": { "x509CA": {} }, "rotation": { "requestedAt": "2026-11-23T00:00:00Z" } }), "spec.rotation"),
        (json!({ "monitoring": { "offlineAfter": "9s" } }), "this one is 9s"),
        (json!({ "monitoring": { "offlineAfter": "2161h" } }), "from 10s to 2160h"),
        (json!({ "statusReason": "x".repeat(129) }), "this one has 129"),
        (json!({ "tags": { "a": "x".repeat(TAGS_MAX_BYTES) } }), "spec.tags"),
    ] {
        let error = Wanted::of(&device(&spec)).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let brings = json!({ "authentication": { "symmetricKey": { "secretRef": { "name": "keys" } } } });
    let error = wanted(&brings).without_kubernetes().unwrap_err().to_string();
    assert!(error.starts_with("spec.authentication.symmetricKey.secretRef needs Kubernetes"), "{error}");
}

fn any_wanted() -> impl Strategy<Value = Wanted> {
    let authentication = prop_oneof![
        Just(json!({ "symmetricKey": {} })),
        Just(json!({ "symmetricKey": { "secretRef": { "name": "keys" } } })),
        Just(json!({ "x509Thumbprint": { "primary": "AB".repeat(20) } })),
        Just(json!({ "x509Thumbprint": { "primary": "cd".repeat(32), "secondary": "ab".repeat(20) } })),
        Just(json!({ "x509CA": {} })),
    ];
    let rotation = proptest::option::of((0i64..100, 0u64..50));
    let monitoring = proptest::option::of((proptest::option::of(10u64..13), any::<bool>()));
    let settings =
        (any::<bool>(), proptest::option::of("[ab]{0,2}"), proptest::option::of(0u8..3), monitoring, any::<bool>(), any::<bool>());
    (authentication, rotation, settings).prop_map(|(authentication, rotation, (enabled, reason, tag, monitoring, adopt, retain))| {
        let mut device = device(&json!({ "enabled": enabled, "statusReason": reason, "authentication": authentication }));
        device.spec.tags = tag.and_then(|tag| json!({ "n": tag }).as_object().cloned());
        device.spec.monitoring = monitoring.map(|(after, per_device_metrics)| Monitoring {
            offline_after: after.map(|seconds| crate::GoDuration(std::time::Duration::from_secs(seconds))),
            per_device_metrics,
        });
        device.spec.adoption = if adopt { Adoption::Adopt } else { Adoption::Fail };
        device.spec.deletion_policy = if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete };
        let generated = wanted_generated(&device);
        device.spec.rotation = rotation.filter(|_| generated).map(|(requested_at, overlap)| Rotation {
            requested_at: at(requested_at),
            overlap: crate::GoDuration(std::time::Duration::from_secs(overlap)),
        });
        Wanted::of(&device).unwrap()
    })
}

fn wanted_generated(device: &Device) -> bool {
    Wanted::of(device).unwrap().authentication == WantedAuthentication::GeneratedKeys
}

/// What may happen to a device: its manifest changes, goes or comes; a person holds it, lets it in, takes it from its manifest.
#[derive(Clone, Debug)]
enum Event {
    Manifest(Box<Wanted>),
    Gone(DeletionPolicy),
    Hold,
    Lift,
    Take(Owner),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any_wanted().prop_map(|wanted| Event::Manifest(Box::new(wanted))),
        1 => any::<bool>().prop_map(|retain| Event::Gone(if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete })),
        1 => Just(Event::Hold),
        1 => Just(Event::Lift),
        1 => prop_oneof![Just(Owner::Another(String::new())), Just(Owner::Nobody), Just(Owner::Predecessor)].prop_map(Event::Take),
    ]
}

proptest! {
    #[test]
    fn planned_again_there_is_nothing_to_do_and_no_hold_is_lifted(events in proptest::collection::vec(any_event(), 1..20)) {
        let mut world = nowhere();
        for (step, event) in events.into_iter().enumerate() {
            let now = at(i64::try_from(step).unwrap() * 10);
            let before = world.identity.clone();
            let held = before.as_ref().and_then(|identity| identity.hold.clone());
            match event {
                Event::Manifest(wanted) => {
                    world.carry_out(world.plan(&wanted, now).step, now);
                    // An overlap of nothing ends as it begins.
                    world.carry_out(world.plan(&wanted, now).step, now);
                    prop_assert_eq!(world.plan(&wanted, now).step, Step::Nothing);
                    prop_assert_eq!(world.identity.as_ref().and_then(|identity| identity.hold.clone()), held);
                }
                Event::Gone(policy) => {
                    world.carry_out(plan_deletion(policy, world.identity.as_ref()), now);
                    prop_assert_eq!(plan_deletion(policy, world.identity.as_ref()), Step::Nothing);
                    if let (Some(before), None) = (&before, &world.identity) {
                        prop_assert!(matches!(before.owner, Owner::ThisManifest | Owner::Predecessor) && before.hold.is_none(), "deleted what was not its own to delete");
                    }
                }
                Event::Hold => {
                    if let Some(identity) = &mut world.identity {
                        identity.hold = Some(Hold { by: "somebody".to_owned(), since: String::new() });
                    }
                }
                Event::Lift => {
                    if let Some(identity) = &mut world.identity {
                        identity.hold = None;
                    }
                }
                Event::Take(owner) => {
                    if let Some(identity) = &mut world.identity {
                        identity.owner = owner;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_its_own_is_not_touched(wanted in any_wanted(), another in any::<bool>(), now in 0i64..200) {
        let owner = if another { Owner::Another("somebody".to_owned()) } else { Owner::Nobody };
        let world = there(owner);
        let plan = world.plan(&wanted, at(now));
        if another || !wanted.adopt {
            prop_assert_eq!(plan.step, Step::Nothing);
            prop_assert!(matches!(plan.standing, Standing::Refused(_)));
        }
    }
}
