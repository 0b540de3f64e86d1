//! What ends a connection in time, whatever its peer does meanwhile, and what others have of it at once.

use super::back_ends::back_end;
use super::sent_commands::{command, commanding};
use super::*;
use crate::core::certificate::tests::made::{chain, params, self_signed};
use crate::core::command::Acknowledgement;
use crate::store::EventBatch;

const PARTITION: &str = "hub/ConsumerGroups/$Default/Partitions/1";

#[tokio::test(start_paused = true)]
async fn a_stranger_has_fifteen_seconds_however_much_it_asks() {
    let world = World::with_device("D").await;
    let mut client = Client::open(&world).await;
    let begun = tokio::time::Instant::now();
    let asks = [said(0, &Performative::Attach(Box::new(sender(&events("D"), 0))), &[]), said(0, &detach(0), &[])].concat();
    client.send(&asks.repeat(1000)).await;
    let heard = client.rest().await;
    assert!(begun.elapsed() < STEP_WITHIN_MAX + Duration::from_secs(1), "{:?}", begun.elapsed());
    let Some(Heard::Frame(0, Performative::Close(error), _)) = heard.last() else { panic!("it is told why") };
    assert_eq!(condition(error.clone()), AmqpError::UnauthorizedAccess.into());
}

/// One that always has something to say is heard, and so is the timer.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_never_stops_talking_is_stopped() {
    let world = World::new();
    let mut client = Client::open(&world).await;
    tokio::time::advance(STEP_WITHIN_MAX * 2).await;
    let nothing = [0, 0, 0, 8, 2, 0, 0, 0].repeat(8192);
    for _ in 0..200 {
        if client.stream.write_all(&nothing).await.is_err() {
            return;
        }
    }
    panic!("it goes on and on");
}

/// Anybody can make a certificate: what has let nobody in keeps no connection.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_has_let_nobody_in_does_not_keep_a_connection() {
    let world = World::with_device("D").await;
    let mut client = Client::dial_with(&world, Some(chain(&[&self_signed(&params(&["X"]))])));
    client.begin(0).await;
    client.attach(sender("$cbs", 0)).await.unwrap();
    assert!(matches!(client.hear().await, Performative::Flow(_)));
    client.attach(receiver("$cbs", 1)).await.unwrap();
    client.say(&Performative::Flow(credit(1, 0, 100))).await;
    let token = sign(HUB, NOW.plus(Duration::from_secs(60)), &key(101), Some("service"));
    assert_eq!(client.put_token(HUB, &token).await, 200);
    client.attach(receiver("/messages/serviceBound/filenotifications", 2)).await.unwrap();
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    let (handle, error) = client.detached().await;
    assert_eq!((handle, condition(error)), (2, AmqpError::UnauthorizedAccess.into()));
    client.is_closed_by(AmqpError::UnauthorizedAccess).await;
}

/// What one has sent by then is not taken, whatever has been done to the wall clock.
#[tokio::test(start_paused = true)]
async fn a_token_lasts_no_longer_than_its_time() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    let token = sign("hub.example/devices/D", NOW.plus(Duration::from_secs(60)), &key(1), None);
    assert_eq!(client.put_token("hub.example/devices/D", &token).await, 200);
    client.sender_of("D", 2).await;
    tokio::time::advance(Duration::from_secs(66)).await;
    client.transfer(2, &text("late")).await;
    assert_eq!(client.detached().await.0, 2);
    assert!(payloads(&world).await.is_empty());
}

fn append_much(world: &World) {
    let mut batch = EventBatch { enqueued_time: world.hub.now(), ..EventBatch::default() };
    for _ in 0..60 {
        let message = Message { body: Body::Data(vec![vec![7; 60_000].into()]), ..Message::default() };
        encoding::encode(&message, &encoding::EncodedAnnotations::default(), &mut batch.bytes);
        batch.ends.push((PartitionId(1), batch.bytes.len()));
    }
    world.log.try_append(&mut batch).unwrap();
}

/// One that has been sent more than it reads.
async fn deaf(world: &World) -> Client {
    append_much(world);
    let mut client = back_end(world).await;
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.sender_of("D", 2).await;
    client.attach(receiver(PARTITION, 3)).await.unwrap();
    client.say(&Performative::Flow(Flow { incoming_window: 100_000, ..credit(3, 0, 1000) })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_does_not_wait_for_a_peer_that_does_not_read() {
    let world = World::with_device("D").await;
    let client = deaf(&world).await;
    assert!(!world.hub.presence.is_empty());
    world.write(Expected::Version(Version(1)), Some(disabled("D"))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.hub.presence.is_empty());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_hub_does_not_wait_for_a_peer_that_does_not_read() {
    let world = World::with_device("D").await;
    let Client { served, stop, stream: _stream, .. } = deaf(&world).await;
    let begun = tokio::time::Instant::now();
    stop.cancel();
    served.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// What is due meanwhile is not looked at over and over: time would stand still.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_due_waits_with_a_peer_that_does_not_read() {
    let world = World::with_device("D").await;
    append_much(&world);
    let mut client = back_end(&world).await;
    client.attach(receiver(PARTITION, 3)).await.unwrap();
    let refused = said(0, &Performative::Attach(Box::new(sender(&events("D"), 4))), &[]);
    let flow = said(0, &Performative::Flow(Flow { incoming_window: 100_000, ..credit(3, 0, 1000) }), &[]);
    client.send(&[refused, flow].concat()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (mut events, mut is_refused) = (0, false);
    while events < 60 || !is_refused {
        match client.heard().await.unwrap() {
            Heard::Frame(0, Performative::Transfer(transfer), _) => events += u32::from(!transfer.more),
            Heard::Frame(0, Performative::Attach(attach), _) => assert_eq!(attach.handle, 4),
            Heard::Frame(0, Performative::Detach(detach), _) => is_refused = detach.error.is_some(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_seats_of_a_lost_connection_are_free_before_it_has_finished() {
    let world = World::with_device("D").await;
    let mut client = commanding(&world).await;
    let epoch = |epoch, attach| {
        let mut properties = fe2o3_amqp_types::definitions::Fields::new();
        properties.insert("com.microsoft:epoch".into(), serde_amqp::Value::Long(epoch));
        Attach { properties: Some(properties), ..attach }
    };
    client.attach(epoch(7, receiver(PARTITION, 3))).await.unwrap();
    let mut other = back_end(&world).await;
    let held = world.commands.hold_commits().await;
    client.transfer(2, &bytes_of(&command(&devicebound("D"), "m", Acknowledgement::None))).await;
    assert_eq!(client.put_token(HUB, "nonsense").await, 401);
    let Client { stream, served, .. } = client;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!served.is_finished());
    other.attach(epoch(1, receiver(PARTITION, 3))).await.unwrap();
    assert_eq!(other.put_token(HUB, "nonsense").await, 401, "and its link has not gone");
    drop(held);
    served.await.unwrap();
}
