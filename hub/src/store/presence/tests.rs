use super::*;
use crate::core::identity::{GenerationId, SymmetricKey};
use crate::core::session::{Credential, KeyFingerprint};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn credential() -> Credential {
    let key = SymmetricKey::from_bytes(vec![1; 32]).unwrap();
    Credential::Policy { name: "device".into(), key: KeyFingerprint::of(&key) }
}

fn open(presence: &Presence, generation: &str) -> Session {
    let right = DeviceRight {
        device_id: DeviceId::parse("D").unwrap(),
        generation_id: GenerationId(generation.into()),
        credential: credential(),
        good_until: NOW,
    };
    presence.open(right, Protocol::Mqtt, SocketAddr::from(([192, 0, 2, 1], 4711)), NOW, |_| {})
}

fn delete(presence: &Presence, id: &DeviceId) {
    presence.review(id, |_| Err(DisconnectReason::DeviceDeleted));
    presence.forget(id);
}

fn subscription(filter: &str) -> Vec<MqttSubscription> {
    vec![MqttSubscription { filter: filter.into(), qos: 1 }]
}

#[test]
fn a_session_that_was_taken_over_changes_nothing_of_its_successors() {
    let presence = Presence::default();
    let older = open(&presence, "1");
    assert_eq!(presence.begin_mqtt_session(&older, false), None);
    presence.keep_subscriptions(&older, &subscription("a"));
    let newer = open(&presence, "1");
    assert_eq!(presence.begin_mqtt_session(&newer, false), Some(subscription("a")));
    presence.keep_subscriptions(&newer, &subscription("b"));
    presence.keep_subscriptions(&older, &subscription("late"));
    presence.begin_mqtt_session(&older, true);
    assert_eq!(presence.kept_subscriptions(newer.device_id()), Some(subscription("b")));
}

#[test]
fn a_device_inherits_nothing_from_a_deleted_one_of_its_name() {
    let presence = Presence::default();
    let ended = open(&presence, "1");
    let id = ended.device_id();
    presence.begin_mqtt_session(&ended, false);
    delete(&presence, id);
    // What the connection still does before it notices.
    presence.begin_mqtt_session(&ended, false);
    presence.keep_subscriptions(&ended, &subscription("a"));
    presence.close(&ended, NOW, |connected| assert!(!connected));
    assert_eq!(presence.kept_subscriptions(id), None);
    assert_eq!(presence.view(id), PresenceView::default());
    assert!(presence.take_unflushed(BootId(1)).is_empty());
}

#[test]
fn a_device_deleted_after_it_was_disabled_leaves_nothing_either() {
    let presence = Presence::default();
    let ended = open(&presence, "1");
    ended.end(DisconnectReason::DeviceDisabled);
    delete(&presence, ended.device_id());
    presence.close(&ended, NOW, |_| {});
    assert!(presence.take_unflushed(BootId(1)).is_empty());
}

#[test]
fn a_device_that_came_back_is_not_written_down_as_gone() {
    let presence = Presence::default();
    let boot = BootId(3);
    let first = open(&presence, "1");
    presence.close(&first, NOW, |_| {});
    let second = open(&presence, "1");
    let flushed = presence.take_unflushed(boot);
    assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [Some(boot)]);
    presence.close(&second, NOW, |_| {});
    let flushed = presence.take_unflushed(boot);
    assert_eq!(flushed.iter().map(|seen| seen.connected_boot).collect::<Vec<_>>(), [None]);
}

#[test]
fn what_is_being_written_is_seen_until_it_is_in_the_registry_for_everybody() {
    let presence = Presence::default();
    let session = open(&presence, "1");
    presence.close(&session, NOW, |_| {});
    let id = session.device_id();
    presence.begin_flush();
    assert_eq!(presence.take_unflushed(BootId(1)).len(), 1);
    assert_eq!(presence.view(id).last_activity_time, Some(NOW));
    presence.begin_flush();
    assert_eq!(presence.view(id), PresenceView::default());
}

#[test]
fn only_the_present_life_of_a_device_is_written() {
    let presence = Presence::default();
    let older = open(&presence, "1");
    presence.close(&older, NOW, |_| {});
    let late = presence.take_unflushed(BootId(1));
    presence.note_activity(&open(&presence, "2").right(), NOW);
    presence.put_back(late);
    let flushed = presence.take_unflushed(BootId(1));
    assert_eq!(flushed.iter().map(|seen| seen.generation_id.0.as_str()).collect::<Vec<_>>(), ["2"]);
}

#[test]
fn sessions_come_in_pages_and_are_counted() {
    let presence = Presence::default();
    let right = |id: &str| DeviceRight {
        device_id: DeviceId::parse(id).unwrap(),
        generation_id: GenerationId("1".into()),
        credential: credential(),
        good_until: NOW,
    };
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let sessions: Vec<Session> = ["c", "a", "b"].iter().map(|id| presence.open(right(id), Protocol::MqttWs, peer, NOW, |_| {})).collect();
    let again = presence.open(right("a"), Protocol::Mqtt, peer, NOW, |_| {});
    assert_eq!(sessions[1].ended(), Some(DisconnectReason::TakenOver));
    presence.close(&sessions[1], NOW, |connected| assert!(connected, "by the newer one"));

    let page = presence.sessions(None, 2);
    assert_eq!(page.iter().map(|session| session.device_id().as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let rest = presence.sessions(Some(&page[1].key()), 2);
    assert_eq!(rest.iter().map(Session::connection).collect::<Vec<_>>(), [sessions[0].connection()]);

    let counts = presence.counts();
    assert_eq!((counts.connected, counts.connects, counts.take_overs), (3, 4, 1));
    assert_eq!((counts.by_protocol[&Protocol::Mqtt], counts.by_protocol[&Protocol::MqttWs]), (1, 2));
    presence.end_all(DisconnectReason::HubShutdown);
    assert!(!presence.view(again.device_id()).connected, "as soon as it has ended");
    let counts = presence.counts();
    assert_eq!((presence.connected(), counts.connected, counts.by_protocol[&Protocol::Mqtt]), (0, 0, 0), "like the view");
    assert!(!presence.is_empty(), "their connections are still there");
    for session in sessions.iter().chain([&again]) {
        presence.close(session, NOW, |connected| assert!(!connected));
    }
    assert!(presence.is_empty());
    assert!(!presence.close(&again, NOW, |_| unreachable!("it has been told")));
}

#[test]
fn all_are_reviewed_and_others_may_come_and_go_meanwhile() {
    let presence = Presence::default();
    let right_of = |number: usize| DeviceRight {
        device_id: DeviceId::parse(&format!("d-{number:05}")).unwrap(),
        generation_id: GenerationId("1".into()),
        credential: credential(),
        good_until: NOW,
    };
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    let sessions: Vec<Session> =
        (0..2 * PAGE + 1).map(|number| presence.open(right_of(number), Protocol::Mqtt, peer, NOW, |_| {})).collect();
    let late = std::cell::OnceCell::new();
    presence.review_all(|right| {
        // Nobody who reviews holds the lock, and the later pages are taken later.
        late.get_or_init(|| presence.open(right_of(8 * PAGE + 7), Protocol::Mqtt, peer, NOW, |_| {}));
        if right.device_id.as_str().ends_with('7') { Err(DisconnectReason::CertificateReplaced) } else { Ok(()) }
    });
    for session in sessions.iter().chain(late.get()) {
        assert_eq!(session.ended().is_some(), session.device_id().as_str().ends_with('7'));
    }
}

#[test]
fn a_device_made_anew_keeps_its_session_when_the_deletion_comes_late() {
    let presence = Presence::default();
    let older = open(&presence, "1");
    let newer = open(&presence, "2");
    older.end(DisconnectReason::DeviceDeleted);
    presence.forget(newer.device_id());
    assert!(presence.view(newer.device_id()).connected, "whoever disables it must find it");
}
