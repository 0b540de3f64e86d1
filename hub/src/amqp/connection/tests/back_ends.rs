//! Back ends: who gets a link, for how long, and what ends it.

use super::proofs::sasl;
use super::*;
use crate::core::policy::{Policies, Policy};
use crate::ops::policies::replace_policies;

const NOTIFICATIONS: &str = "/messages/serviceBound/filenotifications";

fn token(policy: &str, resource: &str, seconds: u64) -> String {
    sign(resource, NOW.plus(Duration::from_secs(seconds)), &key(101), Some(policy))
}

pub(super) fn with_keys(world: &World, primary: u8, secondary: u8) -> Policies {
    let other = |policy: &Policy| Policy { primary: key(primary), secondary: key(secondary), ..policy.clone() };
    world.hub.policies.current().iter().map(other).collect()
}

/// A client whose back end has proved itself for a day, with a pair of links to `$cbs`.
pub(super) async fn back_end(world: &World) -> Client {
    let mut client = Client::with_cbs(world).await;
    assert_eq!(client.put_token(HUB, &token("service", HUB, 86_400)).await, 200);
    client
}

async fn is_refused(client: &mut Client, attach: Attach) {
    assert_eq!(client.attach(attach).await.unwrap_err().condition, AmqpError::UnauthorizedAccess.into());
}

async fn is_ended(client: &mut Client, handle: u32) {
    let (ended, error) = client.detached().await;
    assert_eq!((ended, condition(error)), (handle, AmqpError::UnauthorizedAccess.into()));
    client.say(&detach(handle)).await;
}

async fn is_closed(client: &mut Client) {
    let Performative::Close(error) = client.hear().await else { panic!("a close was due") };
    assert_eq!(condition(error), AmqpError::UnauthorizedAccess.into());
}

#[tokio::test(start_paused = true)]
async fn a_link_needs_service_connect_by_a_token_that_covers_it() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    let asked = tokio::time::Instant::now();
    is_refused(&mut client, receiver(NOTIFICATIONS, 2)).await;
    assert_eq!(asked.elapsed(), Duration::from_millis(100), "as everybody is refused");
    for (policy, resource) in [("device", HUB), ("registryReadWrite", HUB), ("service", "hub.example/messages/events")] {
        assert_eq!(client.put_token(HUB, &token(policy, resource, 60)).await, 200);
        is_refused(&mut client, receiver(NOTIFICATIONS, 2)).await;
    }
    let told: Vec<String> = world.hub.refusals.of("service").iter().map(|refusal| refusal.reason.to_string()).collect();
    assert!(told[0].contains("hub.example/messages/events"), "{told:?}");
    assert_eq!(client.put_token(HUB, &token("service", "hub.example/messages/servicebound", 60)).await, 200);
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    assert_eq!(client.attach(sender(NOTIFICATIONS, 3)).await.unwrap_err().condition, AmqpError::NotAllowed.into());
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_with_its_token_and_no_other_with_it() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.put_token(HUB, &token("service", HUB, 60)).await, 200);
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 200);
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    client.sender_of("D", 3).await;
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    is_ended(&mut client, 2).await;
    let id = client.transfer(3, &text("goes on")).await;
    client.is_accepted(id).await;
    is_refused(&mut client, receiver(NOTIFICATIONS, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_keeps_the_link_and_so_does_another_that_covers_it() {
    let world = World::new();
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.put_token(HUB, &token("service", HUB, 60)).await, 200);
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    // In the first one's place, and beside it.
    assert_eq!(client.put_token(HUB, &token("service", HUB, 120)).await, 200);
    assert_eq!(client.put_token(HUB, &token("iothubowner", "hub.example/messages", 180)).await, 200);
    for _ in 0..2 {
        world.clock.0.fetch_add(60_000, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(client.put_token(HUB, "nonsense").await, 401, "the connection is there, and the link has not gone");
    }
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    is_ended(&mut client, 2).await;
    is_closed(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_ends_with_the_key_that_signed_for_it() {
    let world = World::new();
    let mut client = back_end(&world).await;
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    replace_policies(&world.hub, with_keys(&world, 101, 102));
    assert_eq!(client.put_token(HUB, "nonsense").await, 401, "its key only moved to the other slot");
    let other = sign(HUB, NOW.plus(Duration::from_secs(60)), &key(102), Some("service"));
    assert_eq!(
        client.put_token("other", &sign("hub.example/messages", NOW.plus(Duration::from_secs(60)), &key(102), Some("service"))).await,
        200
    );
    replace_policies(&world.hub, with_keys(&world, 103, 102));
    assert_eq!(client.put_token(HUB, &other).await, 200, "what else was brought has taken its place");
    replace_policies(&world.hub, with_keys(&world, 103, 104));
    is_ended(&mut client, 2).await;
    is_closed(&mut client).await;
}

/// As Go's reader of events proves itself.
#[tokio::test(start_paused = true)]
async fn a_policys_key_itself_covers_the_hub_until_it_is_replaced() {
    let world = World::with_device("D").await;
    let mut client = Client::dial(&world);
    let response = format!("\0service\0{}", key(101).expose_base64());
    assert_eq!(sasl(&mut client, "PLAIN", Some(response.as_bytes())).await, SaslCode::Ok);
    client.begin(0).await;
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    is_refused(&mut client, sender(&events("D"), 3)).await;
    world.clock.0.fetch_add(86_400_000, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(60)).await;
    client.attach(receiver(NOTIFICATIONS, 4)).await.unwrap();
    replace_policies(&world.hub, with_keys(&world, 100, 102));
    let mut ended = [client.detached().await.0, client.detached().await.0];
    ended.sort_unstable();
    assert_eq!(ended, [2, 4]);
    is_closed(&mut client).await;
}

/// There are none: devices can't upload files.
#[tokio::test]
async fn file_notifications_have_nothing_to_say() {
    let world = World::new();
    let mut client = back_end(&world).await;
    client.attach(receiver(NOTIFICATIONS, 2)).await.unwrap();
    client.say(&Performative::Flow(credit(2, 0, 10))).await;
    let mut drain = credit(2, 0, 10);
    drain.drain = true;
    client.say(&Performative::Flow(drain)).await;
    let Performative::Flow(drained) = client.hear().await else { panic!("a flow was due") };
    assert_eq!((drained.handle, drained.delivery_count, drained.link_credit), (Some(2), Some(10), Some(0)));
}
