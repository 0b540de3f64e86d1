use proptest::prelude::*;

use super::tags::Tag;
use super::*;
use crate::core::identity::sample::identity;
use crate::core::identity::{Authentication, DeviceIdentity, DeviceStatus, Hold, ManagedBy};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn put(fleet: &mut Fleet, identity: &DeviceIdentity) {
    fleet.put(&identity.device_id, Registered::of(identity), Seen::default(), 0);
}

fn shown(page: &FleetPage) -> Vec<&str> {
    page.devices.iter().map(|device| device.id.as_str()).collect()
}

fn all(fleet: &Fleet, filter: FleetFilter) -> Vec<String> {
    let query = FleetQuery { filter, limit: 1000, ..FleetQuery::default() };
    shown(&fleet.page(&query, &HashSet::new())).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_device_goes_through_its_states() {
    let (mut fleet, d, calm) = (Fleet::default(), id("d"), HashSet::new());
    put(&mut fleet, &identity("d"));
    let state = |fleet: &Fleet, flapping| fleet.device(&d, flapping).unwrap().state;
    assert_eq!(state(&fleet, false), DeviceState::Never);
    fleet.transition(&d, NOW, None, true);
    assert_eq!((state(&fleet, false), fleet.counts().connected), (DeviceState::Connected, 1));
    let later = UnixMillis(NOW.0 + 5);
    fleet.transition(&d, later, Some(DisconnectReason::TakenOver), true);
    assert_eq!(fleet.device(&d, false).unwrap().state_since, Some(NOW), "it was there all the time");
    fleet.transition(&d, later, Some(DisconnectReason::ConnectionLost), false);
    let gone = fleet.device(&d, false).unwrap();
    assert_eq!(
        (gone.state, gone.state_since, gone.seen.reason),
        (DeviceState::Offline, Some(later), Some(DisconnectReason::ConnectionLost))
    );
    assert_eq!((state(&fleet, true), fleet.states([&d], &calm)), (DeviceState::Flapping, vec![DeviceState::Offline]));

    let held = DeviceIdentity {
        hold: Some(Hold { by: "service".into(), since: later }),
        status_updated_time: Some(UnixMillis(NOW.0 + 9)),
        ..identity("d")
    };
    fleet.put(&d, Registered::of(&held), Seen { connected: false, since: Some(later), reason: None, last: Some(later) }, 3);
    let shut_out = fleet.device(&d, true).unwrap();
    assert_eq!((shut_out.state, shut_out.held, shut_out.queue), (DeviceState::Disabled, true, 3));
    assert_eq!((shut_out.state_since.unwrap().0 - NOW.0, shut_out.seen.reason), (9, Some(DisconnectReason::ConnectionLost)));
    assert_eq!(fleet.counts(), FleetCounts { total: 1, enabled: 0, held: 1, ..FleetCounts::default() });
    fleet.forget(&d);
    fleet.transition(&d, later, None, true);
    assert_eq!((fleet.counts(), fleet.device(&d, false)), (FleetCounts::default(), None));
}

#[test]
fn a_list_shows_those_who_fit() {
    let mut fleet = Fleet::default();
    let managed_by = Some(ManagedBy::Kubernetes { namespace: "plant".into(), name: "b".into(), uid: "u".into() });
    for identity in [
        identity("pump-1"),
        DeviceIdentity { managed_by, tags: Some(r#"{"site":"north"}"#.into()), ..identity("pump-2") },
        DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("pump-3") },
        DeviceIdentity { authentication: Authentication::CertificateAuthority, ..identity("valve") },
    ] {
        put(&mut fleet, &identity);
    }
    fleet.transition(&id("pump-1"), NOW, None, true);
    fleet.transition(&id("valve"), UnixMillis(NOW.0 - 50), Some(DisconnectReason::KeepAliveTimeout), false);
    fleet.queue(&id("pump-2"), 7);
    fleet.active(&id("pump-1"), UnixMillis(NOW.0 + 50));
    let by = |set: fn(&mut FleetFilter)| {
        let mut filter = FleetFilter::default();
        set(&mut filter);
        all(&fleet, filter)
    };
    assert_eq!(by(|filter| filter.prefix = "pump-".into()), ["pump-1", "pump-2", "pump-3"]);
    assert_eq!(by(|filter| filter.states = vec![DeviceState::Connected, DeviceState::Offline]), ["pump-1", "valve"]);
    assert_eq!(by(|filter| filter.credentials = vec![Credentials::CertificateAuthority]), ["valve"]);
    assert_eq!(by(|filter| filter.enabled = Some(false)), ["pump-3"]);
    assert_eq!(by(|filter| filter.managed = Some(true)), ["pump-2"]);
    assert_eq!(by(|filter| filter.seen_before = Some(NOW)), ["pump-2", "pump-3", "valve"]);
    assert_eq!(by(|filter| filter.seen_after = Some(UnixMillis(NOW.0 + 50))), ["pump-1"]);
    assert_eq!(by(|filter| filter.queue_min = 7), ["pump-2"]);
    assert_eq!(by(|filter| filter.reasons = vec![DisconnectReason::KeepAliveTimeout]), ["valve"]);
    assert_eq!(by(|filter| filter.tags = vec![Tag::wanted("site:north"), Tag::wanted("site")]), ["pump-2"]);
    assert_eq!(by(|filter| filter.held = Some(true)), [""; 0]);
    let flapping = HashSet::from([id("valve")]);
    let query = FleetQuery { filter: FleetFilter { flapping: Some(true), ..FleetFilter::default() }, limit: 9, ..FleetQuery::default() };
    assert_eq!(shown(&fleet.page(&query, &flapping)), ["valve"]);
    let source = fleet.device(&id("pump-2"), false).unwrap().source;
    assert_eq!(source, Some(Source::Kubernetes("plant/b".into())));
}

#[test]
fn who_is_not_found_again_is_gone_and_the_list_says_when_it_is_whole() {
    let mut fleet = Fleet::default();
    fleet.begin_round();
    put(&mut fleet, &identity("a"));
    put(&mut fleet, &identity("b"));
    assert!(!fleet.page(&FleetQuery::default(), &HashSet::new()).whole);
    fleet.end_round();
    fleet.transition(&id("b"), NOW, Some(DisconnectReason::TooSlow), false);
    fleet.begin_round();
    assert!(!fleet.is_whole());
    put(&mut fleet, &identity("b"));
    fleet.end_round();
    assert_eq!((all(&fleet, FleetFilter::default()), fleet.counts().total, fleet.is_whole()), (vec!["b".to_owned()], 1, true));
    assert_eq!(fleet.device(&id("b"), false).unwrap().seen.reason, Some(DisconnectReason::TooSlow), "what the registry does not know");
}

#[test]
fn a_place_is_read_back_and_nothing_else_is_one() {
    let place = FleetPlace { key: -42, id: id("a b".replace(' ', "$").as_str()) };
    assert_eq!(place.to_string().parse(), Ok(place));
    for text in ["", "x", "####", "MSBh/", "MQ", "eCBh"] {
        assert!(text.parse::<FleetPlace>().is_err(), "{text}");
    }
}

#[test]
fn a_row_takes_what_we_say() {
    assert!(size_of::<Row>() <= ROW_BYTES, "{}", size_of::<Row>());
}

#[derive(Clone, Debug)]
enum Happening {
    Put { device: u8, enabled: bool, connected: bool },
    Forget { device: u8 },
    Came { device: u8, at: i64 },
    Went { device: u8, at: i64, reason: usize },
    Queue { device: u8, queue: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let device = 0..40_u8;
    prop_oneof![
        4 => (device.clone(), any::<bool>(), any::<bool>()).prop_map(|(device, enabled, connected)| Happening::Put { device, enabled, connected }),
        1 => device.clone().prop_map(|device| Happening::Forget { device }),
        2 => (device.clone(), 0..9_i64).prop_map(|(device, at)| Happening::Came { device, at }),
        2 => (device.clone(), 0..9_i64, 0..14_usize).prop_map(|(device, at, reason)| Happening::Went { device, at, reason }),
        2 => (device, 0..4_usize).prop_map(|(device, queue)| Happening::Queue { device, queue }),
    ]
}

fn happen(fleet: &mut Fleet, happening: &Happening) {
    let name = |device: &u8| id(&format!("{}-{device:02}", if device.is_multiple_of(3) { "pump" } else { "valve" }));
    match happening {
        Happening::Put { device, enabled, connected } => {
            let status = if *enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled };
            let registered = Registered::of(&DeviceIdentity { wanted_status: status, ..identity("x") });
            let seen = Seen { connected: *connected, since: connected.then_some(NOW), ..Seen::default() };
            fleet.put(&name(device), registered, seen, 0);
        }
        Happening::Forget { device } => fleet.forget(&name(device)),
        Happening::Came { device, at } => fleet.transition(&name(device), UnixMillis(*at), None, true),
        Happening::Went { device, at, reason } => {
            fleet.transition(&name(device), UnixMillis(*at), Some(DisconnectReason::ALL[*reason]), false);
        }
        Happening::Queue { device, queue } => fleet.queue(&name(device), *queue),
    }
}

proptest! {
    /// Page by page, in every order, either way, however small the pages: each row that fits comes once, in order, and none is left out.
    #[test]
    fn pages_are_the_whole_list(happenings in proptest::collection::vec(happening(), 0..80), limit in 1..7_usize, prefixed in any::<bool>()) {
        let mut fleet = Fleet::default();
        happenings.iter().for_each(|one| happen(&mut fleet, one));
        let flapping: HashSet<DeviceId> = fleet.rows.keys().step_by(5).cloned().collect();
        let filter = FleetFilter { prefix: if prefixed { "pump".into() } else { String::new() }, ..FleetFilter::default() };
        for (sort, descending) in Sort::ALL.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
            let mut expected: Vec<_> = fleet.rows.iter().filter(|(id, _)| id.as_str().starts_with(&filter.prefix))
                .map(|(id, row)| (sort.key(row, row.state(flapping.contains(id))), id.clone())).collect();
            expected.sort();
            if descending {
                expected.reverse();
            }
            let mut query = FleetQuery { filter: filter.clone(), sort, descending, after: None, skip: 0, limit };
            let mut found = Vec::new();
            loop {
                let page = fleet.page(&query, &flapping);
                prop_assert_eq!(page.total, expected.len());
                prop_assert!(page.devices.len() <= limit);
                found.extend(page.devices.into_iter().map(|device| device.id));
                match page.next {
                    // As it comes back from a client.
                    Some(next) => query.after = Some(next.to_string().parse().unwrap()),
                    None => break,
                }
            }
            let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
            prop_assert_eq!(&found, &expected);
            // The same from anywhere at once.
            for skip in 0..expected.len() + 2 {
                let page = fleet.page(&FleetQuery { after: None, skip, ..query.clone() }, &flapping);
                let wanted: Vec<_> = expected.iter().skip(skip).take(limit).collect();
                prop_assert_eq!(page.devices.iter().map(|device| &device.id).collect::<Vec<_>>(), wanted);
                prop_assert_eq!((page.total, page.next.is_some()), (expected.len(), skip + limit < expected.len()));
            }
        }
    }

    #[test]
    fn the_counts_are_those_of_the_rows(happenings in proptest::collection::vec(happening(), 0..80)) {
        let mut fleet = Fleet::default();
        for one in &happenings {
            happen(&mut fleet, one);
            let of = |state: DeviceState| fleet.rows.values().filter(|row| row.state(false) == state).count();
            let enabled = fleet.rows.values().filter(|row| row.registered.enabled).count();
            let (connected, offline, never) = (of(DeviceState::Connected), of(DeviceState::Offline), of(DeviceState::Never));
            prop_assert_eq!(fleet.counts(), FleetCounts { total: fleet.rows.len(), enabled, held: 0, connected, offline, never });
        }
    }
}
