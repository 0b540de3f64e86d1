//! What people expect, by example; and the machine against a model that looks at everything each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// When this life of the hub began, in seconds; the one before it ended at [`ENDED`].
const BEGAN: i64 = 10_000;
const ENDED: i64 = 9_000;

fn at(seconds: i64) -> UnixMillis {
    UnixMillis(seconds * 1000)
}

fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

/// Enabled, expected after a minute, and never seen.
fn device(name: &str) -> WatchedDevice {
    WatchedDevice {
        id: id(name),
        offline_after: Some(Duration::from_secs(60)),
        own_series: false,
        enabled: true,
        enabled_since: None,
        connected: false,
        last_transition: None,
    }
}

fn away_since(name: &str, seconds: i64) -> WatchedDevice {
    WatchedDevice { last_transition: Some(at(seconds)), ..device(name) }
}

/// A hub that has started, and had another life before.
fn started(stored: &[WatchedDevice]) -> Expectations {
    let mut machine = Expectations::new(at(BEGAN));
    machine.begin_round(Some(at(ENDED)));
    for device in stored {
        machine.stored(device, at(BEGAN));
    }
    machine.end_round();
    machine
}

fn offline_at(machine: &mut Expectations, seconds: i64) -> usize {
    assert!(machine.advance(at(seconds), 1000));
    machine.counts().offline
}

#[test]
fn a_device_is_offline_after_its_time_and_not_before() {
    let mut machine = started(&[]);
    machine.changed(&device("D"), at(BEGAN + 100));
    assert_eq!(machine.counts(), Expected { devices: 1, offline: 0 });
    assert_eq!(offline_at(&mut machine, BEGAN + 159), 0);
    assert_eq!(offline_at(&mut machine, BEGAN + 160), 1, "it was made and never came");
    machine.transition(&id("D"), (false, true), at(BEGAN + 200), at(BEGAN + 200));
    assert_eq!(offline_at(&mut machine, BEGAN + 1000), 0);
    machine.transition(&id("D"), (true, false), at(BEGAN + 1000), at(BEGAN + 1000));
    assert_eq!(offline_at(&mut machine, BEGAN + 1059), 0);
    assert_eq!(offline_at(&mut machine, BEGAN + 1060), 1);
    machine.forget(&id("D"));
    assert_eq!(machine.counts(), Expected::default());
}

#[test]
fn nothing_is_expected_of_a_device_that_is_shut_out_and_it_has_its_time_when_it_is_let_in() {
    let mut machine = started(&[away_since("D", 0)]);
    assert_eq!(machine.counts(), Expected { devices: 1, offline: 1 });
    let out = WatchedDevice { enabled: false, enabled_since: Some(at(BEGAN + 10)), ..device("D") };
    machine.changed(&out, at(BEGAN + 10));
    assert_eq!(machine.counts(), Expected::default());
    let back = WatchedDevice { enabled_since: Some(at(BEGAN + 500)), ..device("D") };
    machine.changed(&back, at(BEGAN + 500));
    assert_eq!(offline_at(&mut machine, BEGAN + 559), 0);
    assert_eq!(offline_at(&mut machine, BEGAN + 560), 1);
}

#[test]
fn a_restart_alarms_nobody_about_a_fleet_that_comes_back_and_forgets_nobody_who_was_gone() {
    let fleet: Vec<_> = (0..10).map(|number| away_since(&format!("f{number}"), ENDED)).collect();
    let [gone, just_gone, never] = [away_since("gone", ENDED - 60), away_since("just-gone", ENDED - 59), device("never")];
    let mut machine = started(&[&fleet[..], &[gone, just_gone, never]].concat());
    assert_eq!(machine.counts(), Expected { devices: 13, offline: 2 }, "who was gone, and who never came");
    for device in &fleet {
        machine.transition(&device.id, (false, true), at(BEGAN + 50), at(BEGAN + 50));
    }
    assert_eq!(offline_at(&mut machine, BEGAN + 59), 2);
    assert_eq!(offline_at(&mut machine, BEGAN + 60), 3, "who went shortly before the hub did");
}

#[test]
fn when_it_is_not_known_how_the_last_life_ended_everybody_has_time() {
    let mut machine = Expectations::new(at(BEGAN));
    machine.begin_round(None);
    machine.stored(&away_since("D", 0), at(BEGAN));
    machine.end_round();
    assert_eq!(offline_at(&mut machine, BEGAN + 59), 0);
    assert_eq!(offline_at(&mut machine, BEGAN + 60), 1);
}

#[test]
fn a_take_over_is_no_absence() {
    let connected = WatchedDevice { connected: true, own_series: true, last_transition: Some(at(BEGAN + 1)), ..device("D") };
    let mut machine = started(&[connected]);
    machine.transition(&id("D"), (false, true), at(BEGAN + 5), at(BEGAN + 5));
    machine.transition(&id("D"), (true, true), at(BEGAN + 6), at(BEGAN + 6));
    assert_eq!(offline_at(&mut machine, BEGAN + 1000), 0);
    assert_eq!(machine.series(1).0[0].last_transition, Some(at(BEGAN + 5)));
}

#[test]
fn so_many_have_series_and_the_others_are_counted() {
    let asks = |name: &str| WatchedDevice { own_series: true, enabled: false, offline_after: None, ..device(name) };
    let mut machine = started(&[asks("c"), asks("a"), asks("b"), device("d")]);
    let (shown, left_out) = machine.series(2);
    assert_eq!((shown.iter().map(|series| series.id.as_str()).collect::<Vec<_>>(), left_out), (vec!["a", "b"], 1));
    machine.forget(&id("a"));
    assert_eq!(machine.series(2).0[1].id, id("c"));
    assert_eq!(machine.counts().devices, 1);
}

#[test]
fn nothing_is_kept_of_who_asks_for_nothing_and_of_who_is_gone_when_all_are_told_anew() {
    let unwatched = WatchedDevice { offline_after: None, ..device("u") };
    let mut machine = started(&[unwatched, device("a"), device("b")]);
    assert_eq!(machine.devices.len(), 2);
    machine.begin_round(Some(at(ENDED)));
    machine.stored(&device("b"), at(BEGAN + 1));
    machine.end_round();
    assert_eq!(machine.devices.keys().collect::<Vec<_>>(), [&id("b")]);
}

#[test]
fn a_tracked_device_takes_as_much_memory_as_is_said() {
    // A table that has just grown is half full; a tree's nodes are, too. The name is allocated once.
    let place = 2 * size_of::<(DeviceId, Tracked)>() + 2 * size_of::<(UnixMillis, DeviceId)>();
    assert!(place <= 250, "{place}");
}

#[derive(Clone, Debug)]
enum Step {
    Stored(WatchedDevice),
    Changed(WatchedDevice),
    Forgotten(u8),
    Connected(u8),
    Disconnected(u8),
    Passes(i64),
}

fn any_device() -> impl Strategy<Value = WatchedDevice> {
    let time = || prop::option::of((ENDED - 200..BEGAN + 100).prop_map(at));
    (0..4u8, prop::option::of(10..90u64), any::<bool>(), any::<bool>(), time(), any::<bool>(), time()).prop_map(
        |(name, after, own_series, enabled, enabled_since, connected, last_transition)| WatchedDevice {
            id: id(&name.to_string()),
            offline_after: after.map(Duration::from_secs),
            own_series,
            enabled,
            enabled_since,
            connected,
            last_transition,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_device().prop_map(Step::Stored),
        any_device().prop_map(Step::Changed),
        (0..4u8).prop_map(Step::Forgotten),
        (0..4u8).prop_map(Step::Connected),
        (0..4u8).prop_map(Step::Disconnected),
        (1..50i64).prop_map(Step::Passes),
    ]
}

/// What is known of a device, as it was told, and since when.
type Facts = BTreeMap<DeviceId, (WatchedDevice, UnixMillis)>;

fn tell(facts: &mut Facts, device: &WatchedDevice, stored: bool, now: UnixMillis) {
    let before = facts.remove(&device.id);
    let mut device = device.clone();
    if let (Some((before, _)), false) = (&before, stored) {
        (device.connected, device.last_transition) = (before.connected, before.last_transition);
    }
    let unknown = if stored { LONG_AGO } else { now };
    let since = device.enabled_since.unwrap_or(before.map_or(unknown, |(_, since)| since));
    if device.is_watched() {
        facts.insert(device.id.clone(), (device, since));
    }
}

fn counted(facts: &Facts, now: UnixMillis) -> Expected {
    let expected = facts.values().filter(|(device, _)| device.enabled && device.offline_after.is_some());
    let offline = expected.clone().filter(|(device, since)| {
        let after = device.offline_after.unwrap();
        let away_since = device.last_transition.map_or(*since, |time| time.max(*since));
        let before_the_end = away_since.plus(after) <= at(ENDED);
        !device.connected && (before_the_end || (away_since.plus(after) <= now && at(BEGAN).plus(after) <= now))
    });
    Expected { devices: expected.clone().count(), offline: offline.count() }
}

proptest! {
    #[test]
    fn the_counts_are_those_of_looking_at_everything(steps in prop::collection::vec(any_step(), 1..60)) {
        let (mut machine, mut facts, mut now) = (started(&[]), Facts::new(), at(BEGAN));
        for step in steps {
            match step {
                Step::Stored(device) => { tell(&mut facts, &device, true, now); machine.stored(&device, now); }
                Step::Changed(device) => { tell(&mut facts, &device, false, now); machine.changed(&device, now); }
                Step::Forgotten(name) => { facts.remove(&id(&name.to_string())); machine.forget(&id(&name.to_string())); }
                Step::Connected(name) | Step::Disconnected(name) => {
                    let (name, connects) = (id(&name.to_string()), matches!(step, Step::Connected(_)));
                    if let Some((device, _)) = facts.get_mut(&name) {
                        if connects || device.connected {
                            device.last_transition = Some(now);
                        }
                        device.connected = connects;
                    }
                    machine.transition(&name, (!connects, connects), now, now);
                }
                Step::Passes(seconds) => { now = UnixMillis(now.0 + seconds * 1000); }
            }
            prop_assert!(machine.advance(now, 1000));
            prop_assert_eq!(machine.counts(), counted(&facts, now));
            let asking: Vec<_> = facts.values().filter(|(device, _)| device.own_series).map(|(device, _)| device.id.clone()).collect();
            let (shown, left_out) = machine.series(2);
            prop_assert_eq!(shown.iter().map(|series| series.id.clone()).collect::<Vec<_>>(), asking.iter().take(2).cloned().collect::<Vec<_>>());
            prop_assert_eq!(left_out, asking.len().saturating_sub(2));
            prop_assert!(machine.due.len() <= machine.devices.len() && machine.devices.len() == facts.len());
        }
    }
}
