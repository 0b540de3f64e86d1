//! Sessions over MQTT: one per device, ended by a newer one, by the token, by silence; wills.

use anyhow::{Result, ensure};
use e2e::connection_string::now_s;
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::mqtt::{Connect, Connection, DISCONNECT, PING, Packet, RETAIN, events_topic, packet, publish, subscribe};
use e2e::namespace::isolated;
use e2e::program::Program;
use e2e::rest::Rest;

const DEVICE: &str = "pump-1";

#[test]
fn a_newer_connection_takes_over() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut older = Connection::admitted(&hub, DEVICE).await?;
        let mut newer = Connection::admitted(&hub, DEVICE).await?;
        ensure!(older.packets_until_closed().await?.is_empty(), "the older connection was told something");
        newer.publish(&events_topic(DEVICE), 1, b"mine now").await?;

        // The same between two SDKs.
        let mut node = Program::node("live.js", &hub)?
            .env("TRANSPORT", "mqtt-ws")
            .env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text)
            .start()?;
        node.until("connected").await?;
        ensure!(newer.next().await?.is_none(), "two connections of one device at once");
        let mut python = Program::python("live.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()?;
        python.until("connected").await?;
        node.until("disconnected").await?;
        python.tell("mine").await?;
        python.until("sent").await?;
        python.end().await?;
        Ok(())
    })
}

#[test]
fn a_session_ends_with_its_token() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let device = hub.device(DEVICE)?;
        let expiry_s = now_s() + 2;
        let mut connection = Connection::admitted_as(&hub, &Connect::with_password(&device, &device.token_until(expiry_s))).await?;
        connection.publish(&events_topic(DEVICE), 1, b"in time").await?;
        ensure!(connection.packets_until_closed().await?.is_empty(), "the session's end was announced, which MQTT 3.1.1 can't");
        ensure!(now_s() >= expiry_s, "the session ended before its token did");
        Ok(())
    })
}

#[test]
fn silence_ends_a_session() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let connect = Connect { keep_alive_s: 2, ..Connect::device(&hub.device(DEVICE)?) };
        let mut connection = Connection::admitted_as(&hub, &connect).await?;
        connection.send(&PING).await?;
        ensure!(connection.next().await? == Some(Packet::PingResp), "a ping was not answered");
        ensure!(connection.packets_until_closed().await?.is_empty(), "something came into the silence");
        Ok(())
    })
}

/// A will is sent when the connection breaks, and not when the device says goodbye (MQTT 3.1.2.5).
#[test]
fn wills_are_kept() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let will = Some((format!("{}reason=gone", events_topic(DEVICE)), b"last will".to_vec()));
        let connect = Connect { will, ..Connect::device(&hub.device(DEVICE)?) };
        let mut back_end = Events::open(&hub, "from=earliest").await?;

        let mut polite = Connection::admitted_as(&hub, &connect).await?;
        polite.send(&DISCONNECT).await?;
        polite.packets_until_closed().await?;
        drop(Connection::admitted_as(&hub, &connect).await?);
        let will = &back_end.take(1).await?[0];
        ensure!(will.bytes()? == b"last will" && will.property("reason") == "gone", "{will:?}");
        ensure!(will.property("iothub-MessageType") == "Will", "{will:?}");

        let mut after = Connection::admitted(&hub, DEVICE).await?;
        after.publish(&events_topic(DEVICE), 1, b"after").await?;
        let after = &back_end.take(1).await?[0];
        ensure!(after.bytes()? == b"after", "the polite device's will came too: {after:?}");
        Ok(())
    })
}

#[test]
fn acknowledgements_come_in_order() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        let burst: Vec<u8> = (1..=500).flat_map(|id| publish(&events_topic(DEVICE), Some(id), &id.to_be_bytes(), 0)).collect();
        connection.send(&burst).await?;
        for id in 1..=500 {
            let answer = connection.next().await?;
            ensure!(answer == Some(Packet::PubAck(id)), "{answer:?} instead of PUBACK {id}");
        }
        for (event, id) in Events::all(&hub).await?.iter().zip(1u16..) {
            ensure!(event.bytes()? == id.to_be_bytes(), "event {} is not message {id}", event.sequence_number);
        }
        Ok(())
    })
}

#[test]
fn retain_is_told_and_qos_2_is_refused() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.send(&publish(&events_topic(DEVICE), Some(7), b"kept?", RETAIN)).await?;
        ensure!(connection.next().await? == Some(Packet::PubAck(7)));
        ensure!(Events::all(&hub).await?[0].property("mqtt-retain") == "true", "retain was not told");

        connection.send(&publish(&events_topic(DEVICE), Some(8), b"exactly once", 0x06)).await?;
        ensure!(connection.packets_until_closed().await?.is_empty(), "QoS 2 was answered");
        Ok(())
    })
}

/// Subscriptions outlive a connection, unless the device wants a clean session.
#[test]
fn sessions_are_remembered() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let kept = Connect::device(&hub.device(DEVICE)?);
        let clean = Connect { clean_session: true, ..kept.clone() };
        for (connect, expected) in [(&kept, false), (&kept, true), (&clean, false), (&kept, false)] {
            let mut connection = Connection::open(&hub).await?;
            connection.send(&connect.encode()).await?;
            let answer = connection.next().await?;
            ensure!(answer == Some(Packet::ConnAck { session_present: expected, code: 0 }), "{answer:?} for {connect:?}");
            connection.send(&subscribe(1, &format!("devices/{DEVICE}/messages/devicebound/#"), 1)).await?;
            ensure!(connection.next().await? == Some(Packet::SubAck { id: 1, code: 1 }));
            connection.send(&DISCONNECT).await?;
            connection.packets_until_closed().await?;
        }
        Ok(())
    })
}

/// What breaks the protocol closes its own connection, and no other.
#[test]
fn garbage_closes_its_own_connection_only() -> Result<()> {
    isolated(async || {
        let mut hub = Hub::start(&[DEVICE, "pump-2"]).await?;
        let mut other = Connection::admitted(&hub, "pump-2").await?;
        let second_connect = Connect::device(&hub.device(DEVICE)?).encode();
        let garbage = [vec![0xff; 64], packet(0xf0, &[]), packet(0x32, &[0, 1]), vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff], second_connect];
        for bytes in garbage {
            let mut connection = Connection::admitted(&hub, DEVICE).await?;
            connection.send(&bytes).await?;
            ensure!(connection.packets_until_closed().await?.is_empty(), "{bytes:?} was answered");
        }
        hub.still_runs()?;
        other.publish(&events_topic("pump-2"), 1, b"undisturbed").await?;
        let state = Rest::owner(&hub)?.device("pump-2").await?["connectionState"].clone();
        ensure!(state == "Connected", "{state}");
        Ok(())
    })
}
