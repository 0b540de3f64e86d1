use std::borrow::Cow;

use super::*;
use crate::core::device_id::DeviceId;
use crate::core::message::{Body, Message};
use crate::core::telemetry::Occasion;
use crate::ops::EventBatch;
use crate::ops::Session;
use crate::ops::open_session::open_session;
use crate::ops::send_telemetry::{append, stage, stamps};
use crate::ops::world::{World, by_service, device_token, origin};

async fn connect(world: &World, id: &str) -> Session {
    let right = world.login(id, &device_token(id, 1)).await.unwrap();
    open_session(&world.hub, right, origin()).await.unwrap()
}

/// So many events, each with its number as payload.
async fn send(world: &World, session: &Session, count: usize) {
    send_sized(world, session, count, 0).await;
}

/// The same, each at least so large.
async fn send_sized(world: &World, session: &Session, count: usize, bytes: usize) {
    let stamps = stamps(&world.hub, &session.right());
    let mut batch = EventBatch::default();
    for number in 0..count {
        let payload = Body::Data(vec![Cow::Owned(format!("event {number}{}", " ".repeat(bytes)).into_bytes())]);
        stage(Message { body: payload, ..Message::default() }, Occasion::default(), &stamps, &mut batch).unwrap();
    }
    append(&world.hub, session, &mut batch).await.unwrap();
}

fn selection(from: StartPosition, filter: TailFilter) -> TailSelection {
    TailSelection { partition: None, from, after: StreamPosition::default(), filter }
}

async fn all_shown(tail: &mut Tail, count: usize) -> (Vec<TailNews>, Tally) {
    let (mut news, mut sum) = (Vec::new(), Tally::default());
    while sum.matched + sum.passed_over + sum.unread < count as u64 {
        let next = tail.next().await.unwrap();
        sum.matched += next.tally.matched;
        sum.sampled_out += next.tally.sampled_out;
        sum.passed_over += next.tally.passed_over;
        sum.unread += next.tally.unread;
        news.push(next);
    }
    (news, sum)
}

fn shown(news: &[TailNews]) -> usize {
    news.iter().map(|news| news.events.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_past_is_shown_in_full_and_in_order_at_a_pace_and_a_pause_loses_nothing() {
    let world = World::with_device("D").await;
    let session = connect(&world, "D").await;
    send(&world, &session, 85).await;
    let mut tail =
        tail_events(&world.hub, &by_service().principal, selection(StartPosition::Earliest, TailFilter::default())).await.unwrap();
    let first = tail.next().await.unwrap();
    assert_eq!((first.behind, first.events.len()), (85, 0), "at once, with what lies before it");
    let began = Instant::now();
    let (before, tally) = all_shown(&mut tail, 40).await;
    assert_eq!((shown(&before), tally), (40, Tally { matched: 40, ..Tally::default() }));
    assert!(before.iter().all(|news| news.events.len() <= ROWS_PER_WINDOW));
    let place = before.last().unwrap().position.clone();
    assert_eq!(before.last().unwrap().behind, 45);
    drop(tail);

    let resumed = TailSelection { after: place, ..selection(StartPosition::Latest, TailFilter::default()) };
    let mut tail = tail_events(&world.hub, &by_service().principal, resumed).await.unwrap();
    tail.next().await.unwrap();
    let (after, tally) = all_shown(&mut tail, 45).await;
    assert_eq!((shown(&after), tally.sampled_out, after.last().unwrap().behind), (45, 0, 0));
    assert!(began.elapsed() >= Duration::from_millis(1750), "forty a second: {:?}", began.elapsed());
    let numbers: Vec<u64> = before.iter().chain(&after).flat_map(|news| &news.events).map(|(_, event)| event.sequence_number.0).collect();
    assert_eq!(numbers, (0..85).collect::<Vec<_>>());
    assert_eq!(world.hub.looks.tails.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_shown_a_sample_and_told_of_what_he_is_not_shown() {
    let world = World::with_device("D").await;
    let session = connect(&world, "D").await;
    let mut tail = tail_events(&world.hub, &by_service().principal, selection(StartPosition::Latest, TailFilter::default())).await.unwrap();
    tail.next().await.unwrap();
    send(&world, &session, 500).await;
    let (news, tally) = all_shown(&mut tail, 500).await;
    assert_eq!((tally.matched, tally.passed_over, tally.unread), (500, 0, 0));
    assert_eq!(shown(&news) as u64 + tally.sampled_out, 500);
    assert!(tally.sampled_out > 0 && news.iter().all(|news| news.events.len() <= ROWS_PER_WINDOW));
    assert_eq!(news.last().unwrap().behind, 0);
}

#[tokio::test(start_paused = true)]
async fn a_filter_says_how_much_it_passed_over() {
    let world = World::with_device("D").await;
    world.write(crate::store::Expected::Absent, Some(crate::ops::world::identity("other"))).await;
    let (session, other) = (connect(&world, "D").await, connect(&world, "other").await);
    send(&world, &session, 30).await;
    send(&world, &other, 30).await;
    let text = TailFilter { text: Some("event 7".to_owned()), ..TailFilter::default() };
    let mut tail = tail_events(&world.hub, &by_service().principal, selection(StartPosition::Earliest, text)).await.unwrap();
    let (news, tally) = all_shown(&mut tail, 60).await;
    assert_eq!((tally.matched, tally.passed_over, shown(&news)), (2, 58, 2));

    let device = TailFilter { device: Some(DeviceId::parse("D").unwrap()), ..TailFilter::default() };
    let mut tail = tail_events(&world.hub, &by_service().principal, selection(StartPosition::Earliest, device)).await.unwrap();
    let (_, tally) = all_shown(&mut tail, 30).await;
    assert_eq!(tally.matched, 30, "of its partition alone");
}

#[tokio::test(start_paused = true)]
async fn who_can_not_look_at_all_is_taken_to_the_end() {
    let world = World::with_device("D").await;
    let session = connect(&world, "D").await;
    let filter = TailFilter { text: Some("nothing of the kind".to_owned()), ..TailFilter::default() };
    let mut tail = tail_events(&world.hub, &by_service().principal, selection(StartPosition::Latest, filter)).await.unwrap();
    tail.next().await.unwrap();
    // As if as many looked as leave each with almost nothing.
    world.hub.looks.tails.0.fetch_add(100_000, Ordering::Relaxed);
    send(&world, &session, 2_000).await;
    let (news, tally) = all_shown(&mut tail, 2_000).await;
    assert!(tally.unread > 1_000 && tally.passed_over > 0, "{tally:?}");
    assert_eq!((tally.unread + tally.passed_over, news.last().unwrap().behind), (2_000, 0));
    send(&world, &session, 1).await;
    assert_eq!(tail.next().await.unwrap().tally.passed_over, 1, "and goes on there");
}

#[tokio::test(start_paused = true)]
async fn all_who_look_share_what_looking_may_cost() {
    let world = World::with_device("D").await;
    let session = connect(&world, "D").await;
    for _ in 0..8 {
        send(&world, &session, 2_000).await;
    }
    let filter = TailFilter { text: Some("nothing of the kind".to_owned()), ..TailFilter::default() };
    let mut looked_at = Vec::new();
    for browsers in [1, 20] {
        let mut tails = Vec::new();
        for _ in 0..browsers {
            let mut tail =
                tail_events(&world.hub, &by_service().principal, selection(StartPosition::Earliest, filter.clone())).await.unwrap();
            tail.next().await.unwrap();
            tails.push(tail);
        }
        let mut sum = 0;
        for tail in &mut tails {
            sum += tail.next().await.unwrap().tally.passed_over;
        }
        looked_at.push(sum);
    }
    assert!((1_000..16_000).contains(&looked_at[0]), "as many as may be looked at in a window: {looked_at:?}");
    // Each may look at one event more than it has left.
    assert!(looked_at[1].abs_diff(looked_at[0]) <= 20, "{looked_at:?}");
}

#[tokio::test(start_paused = true)]
async fn of_large_events_few_are_shown_at_once() {
    let world = World::with_device("D").await;
    let session = connect(&world, "D").await;
    let mut follower =
        tail_events(&world.hub, &by_service().principal, selection(StartPosition::Latest, TailFilter::default())).await.unwrap();
    follower.next().await.unwrap();
    send_sized(&world, &session, 8, 30 * 1024).await;
    let (news, tally) = all_shown(&mut follower, 8).await;
    assert_eq!((shown(&news), tally.sampled_out), (3, 5), "{tally:?}");

    let mut tail =
        tail_events(&world.hub, &by_service().principal, selection(StartPosition::Earliest, TailFilter::default())).await.unwrap();
    tail.next().await.unwrap();
    let (news, tally) = all_shown(&mut tail, 8).await;
    let windows: Vec<usize> = news.iter().map(|news| news.events.len()).collect();
    assert_eq!((windows.as_slice(), tally.sampled_out), (&[3, 3, 2][..], 0), "the past is shown in full");
}
