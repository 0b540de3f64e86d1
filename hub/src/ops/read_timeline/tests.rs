use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::core::audit::Deed;
use crate::core::command::Acknowledgement;
use crate::core::session::DisconnectReason;
use crate::ops::audit::record;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::send_command::{NewCommand, send_command};
use crate::ops::world::{World, by_service, device_token, origin, payload};

fn device() -> DeviceId {
    DeviceId::parse("D").unwrap()
}

fn later(world: &World) {
    world.clock.0.fetch_add(1000, Ordering::Relaxed);
}

/// A second after each: a connection, a command, two refusals at once, an entry of the audit, over and over.
async fn story(rounds: usize) -> World {
    let world = World::with_device("D").await;
    for _ in 0..rounds {
        later(&world);
        let session = open_session(&world.hub, world.login("D", &device_token("D", 1)).await.unwrap(), origin()).await.unwrap();
        later(&world);
        close_session(&world.hub, &session, DisconnectReason::ConnectionLost);
        let command = NewCommand { message: payload("open"), ack: Acknowledgement::None, sent_by: "service".to_owned(), again_of: None };
        send_command(&world.hub, device(), command).await.unwrap();
        later(&world);
        for _ in 0..2 {
            world.login("D", &device_token("D", 9)).await.unwrap_err();
        }
        later(&world);
        for action in [AuditAction::CommandSent, AuditAction::CredentialsReplaced] {
            record(&world.hub, &by_service(), Deed::done(action).to("D")).await.unwrap();
        }
    }
    world
}

fn word(entry: &TimelineEntry) -> &'static str {
    match entry {
        TimelineEntry::Connection(_) => "connection",
        TimelineEntry::Refusal(_) => "refusal",
        TimelineEntry::Command(history) if history.steps.is_empty() => "a command without steps",
        TimelineEntry::Command(_) => "command",
        TimelineEntry::Registry(_) => "registry",
    }
}

async fn read(world: &World, kinds: &[TimelineKind], before: TimelinePlace, limit: usize) -> Timeline {
    read_timeline(&world.hub, &device(), kinds, before, limit).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_story_is_told_backwards_in_one_row() {
    let world = story(2).await;
    let told = read(&world, &TimelineKind::ALL, TimelinePlace::default(), 100).await;
    let round = ["registry", "refusal", "refusal", "command", "connection"];
    assert_eq!(told.entries.iter().map(word).collect::<Vec<_>>(), [round, round].concat());
    assert_eq!(told.next, None);
    let some = read(&world, &[TimelineKind::Command, TimelineKind::Connection], TimelinePlace::default(), 100).await;
    assert_eq!(some.entries.iter().map(word).collect::<Vec<_>>(), ["command", "connection", "command", "connection"]);
    let of_nobody = read_timeline(&world.hub, &DeviceId::parse("nobody").unwrap(), &TimelineKind::ALL, TimelinePlace::default(), 9).await;
    assert!(of_nobody.unwrap().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn page_by_page_nothing_is_lost_or_told_twice() {
    let world = story(4).await;
    let whole = read(&world, &TimelineKind::ALL, TimelinePlace::default(), 200).await.entries;
    assert_eq!(whole.len(), 20);
    for limit in 1..12 {
        let (mut place, mut told) = (TimelinePlace::default(), Vec::new());
        loop {
            let page = read(&world, &TimelineKind::ALL, place, limit).await;
            assert!((1..=limit + 1).contains(&page.entries.len()), "two were refused at once");
            told.extend(page.entries);
            match page.next {
                // As it comes back from a client.
                Some(next) => place = next.to_string().parse().unwrap(),
                None => break,
            }
        }
        assert_eq!(
            told.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>(),
            whole.iter().map(|entry| format!("{entry:?}")).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_shut_a_device_out_is_told_however_many_commands_came_after() {
    let world = World::with_device("D").await;
    record(&world.hub, &by_service(), Deed::done(AuditAction::DeviceDisabled).to("D")).await.unwrap();
    futures_util::future::join_all((0..300).map(|_| async {
        record(&world.hub, &by_service(), Deed::done(AuditAction::CommandSent).to("D")).await.unwrap();
    }))
    .await;
    let told = read(&world, &[TimelineKind::Registry], TimelinePlace::default(), 1).await;
    assert_eq!((told.entries.iter().map(word).collect::<Vec<_>>(), told.next), (vec!["registry"], None));
}

#[test]
fn a_place_is_read_back_and_nothing_else_is_one() {
    let place = TimelinePlace {
        connection: Some((BootId(3), ConnectionId(17))),
        refusal: Some(UnixMillis(-5)),
        command: Some(CommandId(u64::MAX)),
        registry: None,
    };
    for place in [place, TimelinePlace::default(), TimelinePlace { registry: Some(AuditId(9)), ..TimelinePlace::default() }] {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
    for text in ["", "1", "3-17..", "x-1...", "3...", "....", "3-17.a.b.c", "-.1.1.1x"] {
        assert!(text.parse::<TimelinePlace>().is_err(), "{text}");
    }
    assert!(Duration::from_secs(7 * 24 * 60 * 60) == crate::ops::record_connections::KEPT_FOR, "what the documentation says");
}
