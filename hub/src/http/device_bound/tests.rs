use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::*;
use crate::core::identity::{DeviceIdentity, DeviceStatus};
use crate::http::client::Client;
use crate::ops::world::identity;
use crate::store::Expected;

const DEVICE_BOUND: &str = "/devices/D/messages/deviceBound";

#[tokio::test(start_paused = true)]
async fn a_device_gets_what_was_sent() {
    let client = Client::new().await;
    let sent = [
        ("iothub-messageid", "m-1"),
        ("iothub-correlationid", "c-1"),
        ("iothub-userid", "me"),
        ("iothub-ack", "full"),
        ("iothub-expiry", "2023-11-15T00:00:00Z"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("iothub-app-level", "21 °C"),
        ("iothub-app-empty", ""),
    ];
    let id = client.send(&sent, "{}").await;
    let command = client.get(&format!("/api/v1/commands/{id}")).await;
    let delivery = client.receive().await.expect(200);
    assert_eq!(delivery.body, "{}");
    for (name, value) in sent.into_iter().filter(|(name, _)| *name != "iothub-expiry") {
        assert_eq!(delivery.header(name), value, "{name}");
    }
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-encoding", "utf-8"),
        ("iothub-expiry", "2023-11-15T00:00:00.000Z"),
        ("iothub-sequencenumber", &id),
        ("iothub-enqueuedtime", command["enqueuedTime"].as_str().unwrap()),
        ("iothub-deliverycount", "1"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(delivery.header(name), value, "{name}");
    }
    assert!(delivery.header("iothub-to").eq_ignore_ascii_case("/devices/D/messages/deviceBound"));
    assert!(delivery.lock_token().parse::<LockToken>().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_of_itself_is_bytes() {
    let client = Client::new().await;
    client.send(&[], vec![0, 255]).await;
    let delivery = client.receive().await.expect(200);
    assert_eq!((&delivery.body[..], delivery.header("content-type")), (&[0, 255][..], "application/octet-stream"));
    for name in ["iothub-messageid", "iothub-ack", "iothub-contenttype", "iothub-contentencoding", "content-encoding", "iothub-expiry"] {
        assert!(!delivery.headers.contains_key(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_settles_in_each_way() {
    let client = Client::new().await;
    for (method, end, state) in [
        ("DELETE", "", "Completed"),
        ("DELETE", "?api-version=2021-04-12", "Completed"),
        ("DELETE", "?reject=false", "Completed"),
        ("DELETE", "?api-version=2021-04-12&reject", "Rejected"),
        ("DELETE", "?reject=true&api-version=2021-04-12", "Rejected"),
        ("POST", "/abandon?api-version=2021-04-12", "Enqueued"),
    ] {
        let id = client.send(&[], "x").await;
        let delivery = client.receive().await.expect(200);
        let target = format!("{DEVICE_BOUND}/{}{end}", delivery.lock_token());
        client.device(method, &target, &[("if-match", delivery.lock_token())]).await.expect(204);
        assert_eq!(client.get(&format!("/api/v1/commands/{id}")).await["state"], state, "{method} {end}");
        client.device(method, &target, &[]).await.refused(412, "DeviceMessageLockLost", "the lock is lost");
    }
    let delivery = client.receive().await.expect(200);
    assert_eq!(delivery.header("iothub-deliverycount"), "2");
    let shouted = format!("/DEVICES/D/Messages/DEVICEBOUND/{}", delivery.lock_token().to_uppercase());
    client.device("DELETE", &shouted, &[]).await.expect(204);
}

#[tokio::test(start_paused = true)]
async fn a_lock_lasts_as_long_as_was_asked_for() {
    let client = Client::new().await;
    client.send(&[], "x").await;
    let delivery = client.device("GET", DEVICE_BOUND, &[("iothub-messagelocktimeout", "7")]).await.expect(200);
    let complete = format!("{DEVICE_BOUND}/{}", delivery.lock_token());
    tokio::time::sleep(Duration::from_secs(8)).await;
    client.device("DELETE", &complete, &[]).await.refused(412, "DeviceMessageLockLost", "");
    let again = client.receive().await.expect(200);
    assert_eq!(again.header("iothub-deliverycount"), "2");
    for token in ["nonsense", &"0".repeat(32)] {
        client.device("DELETE", &format!("{DEVICE_BOUND}/{token}"), &[]).await.refused(412, "DeviceMessageLockLost", "");
    }
    let answer = client.device("GET", DEVICE_BOUND, &[("iothub-messagelocktimeout", "soon")]).await;
    answer.refused(400, "ArgumentInvalid", "iothub-messagelocktimeout is a number of seconds");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_after_a_moment_and_a_command_at_once() {
    let client = Client::new().await;
    let started = Instant::now();
    let answer = client.receive().await.expect(204);
    assert!(answer.body.is_empty());
    assert!((POLL_TIME..POLL_TIME * 2).contains(&started.elapsed()), "{:?}", started.elapsed());

    let started = Instant::now();
    let (delivery, _) = tokio::join!(client.receive(), async {
        tokio::time::sleep(POLL_TIME / 2).await;
        client.send(&[], "x").await
    });
    assert_eq!(delivery.expect(200).body, "x");
    assert!(started.elapsed() < POLL_TIME, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn too_many_polls_are_answered_at_once() {
    let client = Client::new().await;
    let started = Instant::now();
    let poll = || async {
        client.receive().await.expect(204);
        started.elapsed() >= POLL_TIME
    };
    let waited = tokio::join!(poll(), poll(), poll(), poll(), poll());
    assert_eq!(waited, (true, true, true, true, false));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_shut_out_while_waiting_gets_nothing() {
    let client = Client::new().await;
    let (answer, ()) = tokio::join!(client.receive(), async {
        tokio::time::sleep(POLL_TIME / 2).await;
        let disabled = DeviceIdentity { wanted_status: DeviceStatus::Disabled, ..identity("D") };
        client.world.write(Expected::Version(disabled.version), Some(disabled)).await;
        client.send(&[], "x").await;
    });
    answer.expect(401);
    // Whatever was left to be done about the first is done before the second is taken.
    client.send(&[], "y").await;
    let commands = client.get("/api/v1/devices/D/commands").await["commands"].clone();
    assert_eq!((&commands[1]["state"], &commands[1]["deliveryCount"]), (&"Enqueued".into(), &0.into()));
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_or_settles_for_another() {
    let client = Client::new().await;
    client.world.write(Expected::Absent, Some(identity("other"))).await;
    client.send(&[], "x").await;
    let delivery = client.receive().await.expect(200);
    client.device("GET", "/devices/other/messages/devicebound", &[]).await.expect(401);
    for (method, end) in [("DELETE", ""), ("POST", "/abandon")] {
        let target = format!("/devices/other/messages/devicebound/{}{end}", delivery.lock_token());
        client.device(method, &target, &[]).await.expect(401);
    }
    client.world.clock.0.fetch_add(120_000, Ordering::Relaxed);
    client.receive().await.expect(401);
}
