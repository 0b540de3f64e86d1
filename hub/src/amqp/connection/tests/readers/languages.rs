//! Readers in other languages, put together from what they were seen to ask for; and addresses of old.

use super::super::proofs::sasl;
use super::*;
use crate::ops::world::event_hubs_token;

/// Azure's client for Java was seen to name itself, to want to settle second, and to renew its credit one by one. No bytes of it are kept.
#[tokio::test(start_paused = true)]
async fn java_reads_by_what_it_was_seen_to_ask_for() {
    let world = World::new();
    append_some(&world, 2);
    let mut client = Client::with_cbs(&world).await;
    let audience = "amqp://hub.example/hub/ConsumerGroups/$Default/Partitions/1";
    assert_eq!(client.put_token(audience, &event_hubs_token(audience, "service")).await, 200);
    let attach = with_selector(&format!("{OFFSET} > '-1'"), reader(PARTITION, 2));
    let attach = with_property("com.microsoft:receiver-name", Foreign::String("MF_1".into()), attach);
    client.attach(Attach { rcv_settle_mode: Some(1), ..attach }).await.unwrap();
    for number in 0..2 {
        client.grant(2, number, 1).await;
        assert_eq!(client.event(2).await, i64::from(number));
        client.hears_nothing().await;
    }
    let place = world.hub.consumer_groups.status(&*world.hub.events).remove(0).partitions.remove(1);
    let name = place.readers[0].client.as_ref().map(|client| client.name.to_string());
    assert_eq!((name.as_deref(), place.lag()), (Some("MF_1"), Some(0)));
}

/// amenzhinsky's client for Go was seen to bring the policy's key itself, and to begin with a time in the old spelling. No bytes of it are kept.
#[tokio::test(start_paused = true)]
async fn go_reads_by_what_it_was_seen_to_ask_for() {
    let world = World::new();
    append_some(&world, 1);
    world.clock.0.fetch_add(1, Ordering::Relaxed);
    append_some(&world, 1);
    let mut client = Client::dial(&world);
    let response = format!("\0service\0{}", key(101).expose_base64());
    assert_eq!(sasl(&mut client, "PLAIN", Some(response.as_bytes())).await, SaslCode::Ok);
    client.begin(0).await;
    let attach = reader("/hub/ConsumerGroups/$Default/Partitions/1", 0);
    client.attach(with_selector(&format!("amqp.annotation.x-opt-enqueuedtimeutc > '{}'", NOW.0), attach)).await.unwrap();
    client.grant(0, 0, 10).await;
    assert_eq!(client.event(0).await, 1);
}

/// Old readers ask at the hub's own address, and are told where to go; partitions are served there as well.
#[tokio::test(start_paused = true)]
async fn the_hubs_own_address_leads_to_the_events() {
    let world = World::new();
    append_some(&world, 1);
    let mut stranger = Client::open(&world).await;
    let refused = stranger.attach(receiver("messages/events/", 0)).await.unwrap_err();
    assert_eq!(refused.condition, AmqpError::UnauthorizedAccess.into());

    let mut client = back_end(&world).await;
    for (address, rest) in
        [("messages/events/", "/"), ("/messages/events", ""), ("amqps://hub.example/messages/events/$management", "/$management")]
    {
        let redirect = client.attach(receiver(address, 2)).await.unwrap_err();
        assert_eq!(redirect.condition, LinkError::Redirect.into());
        let info = redirect.info.unwrap();
        let of = |name: &str| info.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value.clone());
        assert_eq!(of("address"), Some(Foreign::String(format!("amqps://hub.example:5671/hub{rest}"))));
        assert_eq!((of("hostname"), of("network-host")), (Some(Foreign::String(HUB.into())), Some(Foreign::String(HUB.into()))));
        assert_eq!(of("port"), Some(Foreign::Int(5671)));
    }
    client.attach(reader("messages/events/ConsumerGroups/$Default/Partitions/1", 2)).await.unwrap();
    client.grant(2, 0, 1).await;
    assert_eq!(client.event(2).await, 0);
}
