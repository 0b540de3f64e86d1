use std::sync::atomic::Ordering;

use super::*;
use crate::core::command::{Acknowledgement, Settlement};
use crate::core::device_id::DeviceId;
use crate::core::message::MessageId;
use crate::core::session::DisconnectReason;
use crate::ops::open_session::{close_session, open_session};
use crate::ops::receive_commands::subscribe;
use crate::ops::receive_feedback::receive_feedback;
use crate::ops::send_command::{NewCommand, send_command};
use crate::ops::settle_command::settle_of_session;
use crate::ops::world::{NOW, World, device_token, origin, payload};

fn at(world: &World, millis: i64) {
    world.clock.0.store(NOW.0 + millis, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_counts_is_what_the_rates_are_made_of() {
    let world = World::with_device("D").await;
    let hub = &world.hub;
    look(hub);
    let mut live = hub.rates.live.listen();
    let session = open_session(hub, world.login("D", &device_token("D", 1)).await.unwrap(), origin()).await.unwrap();
    let _ = world.login("D", &device_token("D", 9)).await.unwrap_err();
    subscribe(hub, &session, 10);
    let mut message = payload("open");
    message.properties.message_id = Some(MessageId::String("m-1".into()));
    let command = NewCommand { message, ack: Acknowledgement::Full, sent_by: "service".to_owned(), again_of: None };
    send_command(hub, DeviceId::parse("D").unwrap(), command).await.unwrap();
    session.wait_woken().await;
    at(&world, 30);
    settle_of_session(hub, &session, session.take_delivery().unwrap().token, Settlement::Complete);
    receive_feedback(hub, 0).await.unwrap();
    close_session(hub, &session, DisconnectReason::KeepAliveTimeout);
    hub.metrics.http_answered(429);
    at(&world, 1_250);
    look(hub);
    let (told, _) = live.next().await.unwrap();
    let (counts, gauges) = (&told.what.look.last.counts, &told.what.look.last.gauges);
    assert_eq!((counts.one(Counted::Connects), gauges.connected, counts.one(Counted::Throttled)), (1, 0, 1));
    let reason = DisconnectReason::ALL.iter().position(|reason| *reason == DisconnectReason::KeepAliveTimeout).unwrap();
    assert_eq!(counts.of(Counted::Disconnects)[reason], 1);
    let refused = refusal_names().iter().position(|name| *name == "SignedWithNeitherKey").unwrap();
    assert_eq!(counts.of(Counted::Refusals)[refused], 1);
    assert_eq!((counts.one(Counted::CommandsEnqueued), counts.one(Counted::CommandsDelivered)), (1, 1));
    assert!(counts.one(Counted::CommandBytes) > 0);
    assert_eq!((counts.of(Counted::CommandsEnded)[0], counts.of(Counted::ReceiptsMade)[0], gauges.receipts_waiting), (1, 1, 1));
    assert_eq!(counts.of(Counted::EnqueuedToCompleted).iter().sum::<u32>(), 1);
    assert_eq!(counts.of(Counted::EnqueuedToCompleted)[2], 1, "between 20 and 50 ms");

    let span = rates_since(hub, NOW, hub.now()).unwrap();
    assert_eq!(span.steps.iter().map(|step| step.counts.one(Counted::Connects)).sum::<u32>(), 1);
}

/// All refusals have a column.
#[test]
fn there_is_a_column_for_every_refusal() {
    assert!(refusal_names().len() <= crate::core::rates::REFUSAL_REASONS_MAX);
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_four_times_a_second_whether_or_not_somebody_listens() {
    let world = World::with_device("D").await;
    let clock = Arc::clone(&world.clock);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            clock.0.fetch_add(10, Ordering::Relaxed);
        }
    });
    tokio::spawn(keep_rates(Arc::clone(&world.hub)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.hub.rates.live.texts_made(), 0);
    assert!(rates_since(&world.hub, NOW, world.hub.now()).unwrap().steps.len() >= 4);
    let mut live = world.hub.rates.live.listen();
    let mut seconds = 0;
    for _ in 0..40 {
        let (told, skipped) = live.next().await.unwrap();
        assert_eq!(skipped, 0);
        seconds += usize::from(told.what.look.finished.is_some());
    }
    assert_eq!(seconds, 10);
}

/// Who asks for as much as the seconds reach gets seconds, whatever time passes while she asks.
#[tokio::test(start_paused = true)]
async fn a_quarter_of_an_hour_is_told_by_the_second() {
    let world = World::new();
    look(&world.hub);
    let since = UnixMillis(NOW.0 - 900_000);
    at(&world, 5);
    assert_eq!(rates_since(&world.hub, since, NOW).unwrap().step, Duration::from_secs(1));
    assert_eq!(rates_since(&world.hub, since, world.hub.now()).unwrap().step, Duration::from_secs(20));
}
