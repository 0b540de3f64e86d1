//! Many devices on one connection: what each has of its own, and how long.

use super::*;
use crate::core::policy::{Policies, Policy};
use crate::ops::policies::replace_policies;

async fn two_devices() -> World {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(identity("E"))).await;
    world
}

fn sessions(world: &World) -> Vec<String> {
    world.hub.presence.sessions(None, 10).iter().map(|session| session.device_id().to_string()).collect()
}

async fn ended(client: &mut Client, handle: u32) -> ErrorCondition {
    let (ended, error) = client.detached().await;
    assert_eq!(ended, handle);
    client.say(&detach(handle)).await;
    condition(error)
}

#[tokio::test]
async fn a_session_lasts_from_a_devices_first_link_to_its_last() {
    let world = two_devices().await;
    let mut client = Client::sending(&world).await;
    assert_eq!(client.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    assert_eq!(sessions(&world), ["D"]);
    client.sender_of("E", 3).await;
    // A second link of one device takes nothing from the first.
    client.sender_of("D", 4).await;
    assert_eq!(sessions(&world), ["D", "E"]);
    for (handle, left) in [(2, &["D", "E"][..]), (4, &["E"]), (3, &[])] {
        client.transfer(handle, &text("last")).await;
        client.say(&detach(handle)).await;
        loop {
            if let Performative::Detach(detach) = client.hear().await {
                assert_eq!(detach.handle, handle);
                break;
            }
        }
        assert_eq!(sessions(&world), left);
    }
    assert_eq!(payloads(&world).await.len(), 3, "what came before a detach is stored");
}

#[tokio::test]
async fn who_is_disabled_loses_its_links_and_no_other_does() {
    let world = two_devices().await;
    let mut client = Client::sending(&world).await;
    assert_eq!(client.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    client.sender_of("E", 3).await;
    world.write(Expected::Version(Version(1)), Some(disabled("D"))).await;
    let late = client.transfer(2, &text("after")).await;
    assert_eq!(ended(&mut client, 2).await, AmqpError::UnauthorizedAccess.into());
    let id = client.transfer(3, &text("E goes on")).await;
    assert_eq!(id, late + 1);
    client.is_accepted(id).await;
    assert_eq!(payloads(&world).await, [b"E goes on"]);
    assert_eq!(sessions(&world), ["E"]);
    assert_eq!(client.attach(sender(&events("D"), 5)).await.unwrap_err().condition, AmqpError::UnauthorizedAccess.into());
}

#[tokio::test(start_paused = true)]
async fn links_end_with_their_token_unless_it_is_renewed() {
    let world = two_devices().await;
    let mut client = Client::with_cbs(&world).await;
    let short = |device: &str, seconds| sign(&format!("{HUB}/devices/{device}"), NOW.plus(Duration::from_secs(seconds)), &key(1), None);
    for (device, handle) in [("D", 2), ("E", 3)] {
        assert_eq!(client.put_token(&format!("{HUB}/devices/{device}"), &short(device, 60)).await, 200);
        client.sender_of(device, handle).await;
    }
    assert_eq!(client.put_token("hub.example/devices/E", &short("E", 200)).await, 200);
    let connected = world.hub.presence.sessions(None, 10)[1].connection();
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    assert_eq!(ended(&mut client, 2).await, AmqpError::UnauthorizedAccess.into());
    let id = client.transfer(3, &text("renewed")).await;
    client.is_accepted(id).await;
    assert_eq!(world.hub.presence.sessions(None, 10)[0].connection(), connected, "it is the same session");
    world.clock.0.fetch_add(200_000, Ordering::Relaxed);
    // Nothing is left that anybody proved.
    assert_eq!(ended(&mut client, 3).await, AmqpError::UnauthorizedAccess.into());
    client.is_closed_by(AmqpError::UnauthorizedAccess).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_speaks_for_devices_as_long_as_it_has_the_key() {
    let world = two_devices().await;
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.put_token(HUB, &policy_token(HUB, "device")).await, 200);
    client.sender_of("D", 2).await;
    client.sender_of("E", 3).await;
    let renewed = |byte| sign(HUB, NOW.plus(Duration::from_secs(600)), &key(byte), Some("device"));
    // Its first key now, and that is what its devices have from here on.
    assert_eq!(client.put_token(HUB, &renewed(100)).await, 200);
    let with_keys = |primary, secondary| -> Policies {
        let other = |policy: &Policy| Policy { primary: key(primary), secondary: key(secondary), ..policy.clone() };
        world.hub.policies.current().iter().map(other).collect()
    };
    replace_policies(&world.hub, with_keys(100, 102));
    let id = client.transfer(2, &text("goes on")).await;
    client.is_accepted(id).await;
    replace_policies(&world.hub, with_keys(103, 102));
    for handle in [2, 3] {
        assert_eq!(ended(&mut client, handle).await, AmqpError::UnauthorizedAccess.into());
    }
    // Nothing is left that anybody proved.
    let Performative::Close(error) = client.hear().await else { panic!("a close was due") };
    assert_eq!(condition(error), AmqpError::UnauthorizedAccess.into());
}

#[tokio::test]
async fn the_newer_connection_of_a_device_wins() {
    let world = two_devices().await;
    let mut older = Client::sending(&world).await;
    assert_eq!(older.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    older.sender_of("E", 3).await;
    let mut newer = Client::sending(&world).await;
    assert_eq!(ended(&mut older, 2).await, LinkError::Stolen.into());
    for (client, handle) in [(&mut older, 3), (&mut newer, 2)] {
        let id = client.transfer(handle, &text("goes on")).await;
        client.is_accepted(id).await;
    }
}

#[tokio::test]
async fn one_read_brings_messages_of_many_devices_in_order() {
    let world = two_devices().await;
    let mut client = Client::sending(&world).await;
    assert_eq!(client.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    client.sender_of("E", 3).await;
    let mut bytes = Vec::new();
    let first = client.next_delivery;
    for (place, handle) in [2, 2, 3, 2, 3, 3].into_iter().enumerate() {
        let id = first + u32::try_from(place).unwrap();
        bytes.extend(said(0, &Performative::Transfer(delivery(handle, id)), &text("m")));
    }
    client.send(&bytes).await;
    assert_eq!(client.outcome().await, (first, first + 5, accepted()));
    assert_eq!(payloads(&world).await.len(), 6);
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_nobody_connected() {
    let world = two_devices().await;
    let client = Client::sending(&world).await;
    assert_eq!(sessions(&world), ["D"]);
    let Client { stream, served, .. } = client;
    drop(stream);
    served.await.unwrap();
    assert!(world.hub.presence.is_empty());
}

/// An idle connection is told, too.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_hears_of_its_end() {
    let world = two_devices().await;
    let mut client = Client::sending(&world).await;
    world.write(Expected::Version(Version(1)), None).await;
    assert_eq!(ended(&mut client, 2).await, AmqpError::UnauthorizedAccess.into());
    assert!(sessions(&world).is_empty());
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 401);
    client.is_closed_by(AmqpError::UnauthorizedAccess).await;
}

/// Whose token is good still, and who brings a new one, may go on with the connection.
#[tokio::test(start_paused = true)]
async fn a_connection_lasts_as_long_as_somebody_may_use_it() {
    let world = two_devices().await;
    let mut client = Client::sending(&world).await;
    assert_eq!(client.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    world.write(Expected::Version(Version(1)), Some(disabled("D"))).await;
    assert_eq!(ended(&mut client, 2).await, AmqpError::UnauthorizedAccess.into());
    assert_eq!(client.put_token("hub.example/devices/D", &long_token("D")).await, 401);
    client.sender_of("E", 3).await;
    world.write(Expected::Version(Version(1)), Some(disabled("E"))).await;
    assert_eq!(ended(&mut client, 3).await, AmqpError::UnauthorizedAccess.into());
    world.write(Expected::Version(Version(2)), Some(DeviceIdentity { version: Version(3), ..identity("E") })).await;
    assert_eq!(client.put_token("hub.example/devices/E", &long_token("E")).await, 200);
    tokio::time::sleep(ending::CLOSED_BY_PEER_WITHIN * 2).await;
    client.sender_of("E", 4).await;
    world.write(Expected::Version(Version(3)), Some(DeviceIdentity { version: Version(4), ..disabled("E") })).await;
    assert_eq!(ended(&mut client, 4).await, AmqpError::UnauthorizedAccess.into());
    client.is_closed_by(AmqpError::UnauthorizedAccess).await;
}

/// Whoever is refused waits, and nobody else on the connection does.
#[tokio::test(start_paused = true)]
async fn refusals_keep_nobody_else_waiting() {
    let world = World::with_device("D").await;
    let mut client = Client::sending(&world).await;
    let asked = tokio::time::Instant::now();
    for handle in 3..6 {
        client.say(&Performative::Attach(Box::new(sender(&events("nobody"), handle)))).await;
    }
    let token = client.transfer(0, &put_token(Some(MessageId::Ulong(7)), HUB, "nonsense")).await;
    let id = client.transfer(2, &text("a")).await;
    client.is_accepted(id).await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    for handle in 3..6 {
        assert!(matches!(client.hear().await, Performative::Attach(attach) if attach.handle == handle && attach.target.is_none()));
        let (refused, error) = client.detached().await;
        assert_eq!((refused, condition(error)), (handle, AmqpError::UnauthorizedAccess.into()));
    }
    client.is_accepted(token).await;
    assert_eq!(asked.elapsed(), Duration::from_millis(100));
}

/// However many there are at once, all are told, and no more in any time than somebody who guesses may be.
#[tokio::test(start_paused = true)]
async fn many_refusals_are_told_a_few_at_a_time() {
    let world = World::with_device("D").await;
    let mut client = Client::sending(&world).await;
    let asked = tokio::time::Instant::now();
    let attaches = (3..43).map(|handle| said(0, &Performative::Attach(Box::new(sender(&events("nobody"), handle))), &[]));
    client.send(&attaches.collect::<Vec<_>>().concat()).await;
    for handle in 3..43 {
        assert!(matches!(client.hear().await, Performative::Attach(attach) if attach.handle == handle));
        assert_eq!(client.detached().await.0, handle);
    }
    assert_eq!(asked.elapsed(), Duration::from_millis(500));
}
