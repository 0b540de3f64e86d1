//! Clients of AMQP that know nothing of Azure, Qpid Proton and rhea: what the specification promises them, they get.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::catalogue::payload;
use e2e::commands::{BackEnd, step_names};
use e2e::connection_string::{ConnectionString, now_s, sign};
use e2e::events::{Event, Events};
use e2e::hub::Hub;
use e2e::namespace::{HUB, isolated};
use e2e::program::Program;
use e2e::puppet::{LIBRARIES, Library, Puppet};
use e2e::rest::Rest;
use serde_json::{Value, json};

use crate::x509::{Made, Office, register, self_signed};

const DEVICE: &str = "mill-1";
const OTHER: &str = "mill-2";

/// snd-settle-mode and rcv-settle-mode (AMQP 2.8.2, 2.8.3).
const UNSETTLED: u8 = 0;
const SETTLED: u8 = 1;
const MIXED: u8 = 2;
const FIRST: u8 = 0;
const SECOND: u8 = 1;

/// What the hub takes of one message, less than what its properties need.
const LARGE_BYTES: usize = 256 * 1024 - 512;

/// The largest command, less than what its properties need.
const LARGE_COMMAND_BYTES: usize = 64 * 1024 - 512;

fn events(device: &str) -> String {
    format!("/devices/{device}/messages/events")
}

fn commands(device: &str) -> String {
    format!("/devices/{device}/messages/devicebound")
}

async fn bodies(hub: &Hub) -> Result<Vec<Vec<u8>>> {
    Events::all(hub).await?.iter().map(Event::bytes).collect()
}

/// A policy's token, and the user that it goes with, for every device of the hub.
fn as_policy(hub: &Hub, library: Library) -> Result<Program> {
    let token = hub.policy("device")?.token();
    Ok(library.program(hub)?.env("USER_NAME", "device@sas.root.hub").env("PASSWORD", token))
}

#[test]
fn events_are_taken_in_every_settlement_mode() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        for (library, name) in LIBRARIES.into_iter().zip(["proton", "rhea"]) {
            let mut puppet = library.device(&hub, DEVICE).await?;
            for (link, snd, rcv) in [("unsettled", UNSETTLED, FIRST), ("mixed", MIXED, FIRST), ("second", UNSETTLED, SECOND)] {
                let modes = json!({"sndSettleMode": snd, "rcvSettleMode": rcv});
                let granted = puppet.attach("sender", link, &events(DEVICE), modes).await?;
                ensure!(granted["sndSettleMode"] == snd, "the sender decides: {granted}");
                ensure!(granted["rcvSettleMode"] == FIRST, "the receiver decides: {granted}");
                let outcome = puppet.send(link, format!("{name} {link}").as_bytes(), json!({})).await?;
                ensure!(outcome["outcome"] == "accepted", "{outcome}");
            }
            if library == Library::Proton {
                puppet.send_settled("mixed", b"proton mixed, settled").await?;
            }
            puppet.attach("sender", "settled", &events(DEVICE), json!({"sndSettleMode": SETTLED})).await?;
            puppet.send_settled("settled", format!("{name} settled").as_bytes()).await?;
            // Whatever came before an answer is stored: they are in order.
            puppet.send("unsettled", format!("{name} last").as_bytes(), json!({})).await?;
            for (more, condition) in [
                (json!({"garbage": STANDARD.encode(b"no message")}), "amqp:decode-error"),
                (json!({"body": STANDARD.encode(payload(256 * 1024 + 1))}), "amqp:link:message-size-exceeded"),
                (json!({"messageId": "a b"}), "com.microsoft:argument-error"),
            ] {
                let outcome = puppet.send("unsettled", b"x", more).await?;
                ensure!(outcome["outcome"] == "rejected" && outcome["condition"] == condition, "{outcome} instead of {condition}");
            }
            puppet.end().await?;
        }
        let kept: Vec<_> = bodies(&hub).await?.into_iter().map(|body| String::from_utf8_lossy(&body).into_owned()).collect();
        let wanted = [
            "proton unsettled",
            "proton mixed",
            "proton second",
            "proton mixed, settled",
            "proton settled",
            "proton last",
            "rhea unsettled",
            "rhea mixed",
            "rhea second",
            "rhea settled",
            "rhea last",
        ];
        ensure!(kept == wanted, "{kept:?}");
        Ok(())
    })
}

#[test]
fn commands_are_given_in_every_settlement_mode() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let send = async |message_id: &str| {
            back_end.send(DEVICE, &[("iothub-messageid", message_id), ("iothub-ack", "full")], message_id.as_bytes()).await
        };
        for library in LIBRARIES {
            let mut puppet = library.device(&hub, DEVICE).await?;
            for (link, rcv) in [("first", FIRST), ("second", SECOND)] {
                let granted = puppet.attach("receiver", link, &commands(DEVICE), json!({"rcvSettleMode": rcv})).await?;
                ensure!(granted["rcvSettleMode"] == rcv, "the receiver decides: {granted}");
                for (outcome, steps) in [
                    ("accepted", &["Delivered", "Completed"][..]),
                    ("rejected", &["Delivered", "Rejected"]),
                    ("undeliverable", &["Delivered", "Rejected"]),
                    ("released", &["Delivered", "Returned", "Delivered", "Completed"]),
                    ("failed", &["Delivered", "Returned", "Delivered", "Completed"]),
                ] {
                    let id = send(outcome).await?;
                    puppet.credit(link, 1).await?;
                    let (body, told) = puppet.receives(link).await?;
                    ensure!(body == outcome.as_bytes() && told["settled"] == false && told["tagBytes"] == 16, "{told}");
                    puppet.settle(link, outcome).await?;
                    if steps.len() > 2 {
                        puppet.credit(link, 1).await?;
                        let (_, told) = puppet.receives(link).await?;
                        ensure!(told["deliveryCount"] == 2, "{told}");
                        puppet.settle(link, "accepted").await?;
                    }
                    back_end.receipts(1).await?;
                    let history = back_end.history(&id).await?;
                    ensure!(step_names(&history) == [&["Enqueued"], steps, &["ReceiptRead"]].concat(), "{library:?} {link}: {history}");
                }
                puppet.tell(json!({"do": "detach", "link": link})).await?;
                puppet.hears("detached").await?;
            }
            // Whoever settles nothing has what has left.
            let id = send("at-most-once").await?;
            puppet.attach("receiver", "settled", &commands(DEVICE), json!({"sndSettleMode": SETTLED})).await?;
            puppet.credit("settled", 1).await?;
            let (_, told) = puppet.receives("settled").await?;
            ensure!(told["settled"] == true, "{told}");
            let receipts = back_end.receipts(1).await?;
            ensure!(receipts[0]["statusCode"] == "Success", "{receipts:?}");
            let history = back_end.history(&id).await?;
            ensure!(step_names(&history) == ["Enqueued", "Delivered", "Completed", "ReceiptRead"], "{history}");
            puppet.end().await?;
        }
        Ok(())
    })
}

/// What waits comes first, then the rest of the credit is gone (AMQP 2.6.7).
#[test]
fn a_drain_brings_what_waits_and_takes_the_rest_of_the_credit() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        for library in LIBRARIES {
            let mut puppet = library.device(&hub, DEVICE).await?;
            puppet.attach("receiver", "r", &commands(DEVICE), json!({})).await?;
            for round in ["first", "again"] {
                for number in 0..3 {
                    back_end.send(DEVICE, &[], format!("{round} {number}").as_bytes()).await?;
                }
                puppet.tell(json!({"do": "credit", "link": "r", "credit": 10, "drain": true})).await?;
                for number in 0..3 {
                    let (body, _) = puppet.receives("r").await?;
                    ensure!(body == format!("{round} {number}").as_bytes(), "{library:?}: {}", String::from_utf8_lossy(&body));
                }
                let drained = puppet.hears("drained").await?;
                ensure!(drained["credit"] == 0, "{library:?}: {drained}");
                for _ in 0..3 {
                    puppet.settle("r", "accepted").await?;
                }
            }
            puppet.tell(json!({"do": "credit", "link": "r", "credit": 2, "drain": true})).await?;
            puppet.hears("drained").await?;
            puppet.end().await?;
        }
        Ok(())
    })
}

/// Messages that need hundreds of frames, both ways.
#[test]
fn large_messages_pass_through_small_frames() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let (event, command) = (payload(LARGE_BYTES), payload(LARGE_COMMAND_BYTES));
        for library in LIBRARIES {
            for frame_bytes in ["512", "4096"] {
                let device = hub.device(DEVICE)?;
                let program = library.program(&hub)?.env("USER_NAME", DEVICE).env("PASSWORD", device.token());
                let mut puppet = Puppet::connected(program.env("MAX_FRAME_SIZE", frame_bytes)).await?;
                puppet.attach("receiver", "r", &commands(DEVICE), json!({})).await?;
                puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
                let outcome = puppet.send("s", &event, json!({})).await?;
                ensure!(outcome["outcome"] == "accepted", "{outcome}");
                back_end.send(DEVICE, &[], &command).await?;
                puppet.credit("r", 1).await?;
                let (body, _) = puppet.receives("r").await?;
                ensure!(body == command, "{library:?} in frames of {frame_bytes}: another command came");
                puppet.settle("r", "accepted").await?;
                puppet.end().await?;
            }
        }
        let kept = bodies(&hub).await?;
        ensure!(kept.len() == 4 && kept.iter().all(|body| *body == event), "other events came");
        Ok(())
    })
}

#[test]
fn three_hundred_links_share_a_connection() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        for library in LIBRARIES {
            let mut puppet = library.device(&hub, DEVICE).await?;
            for number in 0..300 {
                let session = json!({"session": format!("session {}", number % 30)});
                puppet.attach("sender", &format!("link {number}"), &events(DEVICE), session).await?;
            }
            for number in 0..300 {
                let outcome = puppet.send(&format!("link {number}"), number.to_string().as_bytes(), json!({})).await?;
                ensure!(outcome["outcome"] == "accepted", "{outcome}");
            }
            puppet.end().await?;
        }
        let kept = bodies(&hub).await?;
        let wanted: Vec<_> = (0..300).chain(0..300).map(|number: u32| number.to_string().into_bytes()).collect();
        ensure!(kept == wanted, "{} events, or out of order", kept.len());
        Ok(())
    })
}

/// A gateway's: each device has its own session with the hub, its own right and its own end.
#[test]
fn many_devices_share_a_connection() -> Result<()> {
    isolated(async || {
        let ids: Vec<String> = (0..20).map(|number| format!("mill-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let hub = Hub::start(&ids).await?;
        let owner = Rest::owner(&hub)?;
        for library in LIBRARIES {
            for (program, brings_tokens) in [(library.program(&hub)?, true), (as_policy(&hub, library)?, false)] {
                let mut puppet = Puppet::connected(program).await?;
                for id in &ids {
                    if brings_tokens {
                        let status = puppet.token(&format!("{HUB}/devices/{id}"), &hub.device(id)?.token()).await?;
                        ensure!(status == 200, "{id}: {status}");
                    }
                    puppet.attach("sender", id, &events(id), json!({})).await?;
                }
                owner.disable(OTHER).await?;
                let condition = puppet.condition_of("detached", OTHER).await?;
                ensure!(condition == "amqp:unauthorized-access", "{condition}");
                if brings_tokens {
                    let refused = puppet.token(&format!("{HUB}/devices/{OTHER}"), &hub.device(OTHER)?.token()).await?;
                    ensure!(refused == 401, "{refused}");
                }
                for id in ids.iter().filter(|id| **id != OTHER) {
                    let outcome = puppet.send(id, id.as_bytes(), json!({})).await?;
                    ensure!(outcome["outcome"] == "accepted", "{outcome}");
                }
                let condition = puppet.is_refused("sender", "again", &events(OTHER), json!({})).await?;
                ensure!(condition == "amqp:unauthorized-access", "{condition}");
                owner.change(OTHER, |identity| identity["status"] = json!("enabled")).await?;
                puppet.end().await?;
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in Events::all(&hub).await? {
            ensure!(event.bytes()? == event.device_id.as_bytes(), "{event:?}");
            *counts.entry(event.device_id).or_default() += 1;
        }
        ensure!(counts.len() == 19 && counts.values().all(|count| *count == 4), "{counts:?}");
        Ok(())
    })
}

/// Of one device on one connection; the other connection's link is another matter.
#[test]
fn a_second_link_of_a_device_steals_nothing() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        for library in LIBRARIES {
            let mut puppet = library.device(&hub, DEVICE).await?;
            for link in ["one", "two"] {
                puppet.attach("sender", link, &events(DEVICE), json!({})).await?;
                puppet.attach("receiver", &format!("to {link}"), &commands(DEVICE), json!({})).await?;
            }
            for link in ["one", "two", "one"] {
                ensure!(puppet.send(link, b"x", json!({})).await?["outcome"] == "accepted");
            }
            for link in ["to two", "to one"] {
                back_end.send(DEVICE, &[], link.as_bytes()).await?;
                puppet.credit(link, 1).await?;
                puppet.receives(link).await?;
                puppet.settle(link, "accepted").await?;
            }
            let mut newer = library.device(&hub, DEVICE).await?;
            newer.attach("sender", "one", &events(DEVICE), json!({})).await?;
            for _ in 0..4 {
                let told = puppet.hears("detached").await?;
                ensure!(told["condition"] == "amqp:link:stolen", "{told}");
            }
            newer.end().await?;
            puppet.end().await?;
        }
        Ok(())
    })
}

/// Every type of AMQP's that a property may have comes out as it went in; a batch is its messages.
#[test]
fn types_and_batches_are_kept() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut puppet = Library::Rhea.device(&hub, DEVICE).await?;
        puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
        let uuid = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
        let properties = json!({
            "string": "text", "true": true, "null": null, "ubyte": {"ubyte": 200}, "ushort": {"ushort": 60000}, "uint": {"uint": 4_000_000_000_u32},
            "byte": {"byte": -100}, "short": {"short": -30000}, "int": {"int": -2_000_000_000}, "long": {"long": -9_000_000_000_000_i64},
            "double": {"double": 0.5}, "float": {"float": 0.25}, "timestamp": {"timestamp": 1_700_000_000_000_i64}, "uuid": {"uuid": uuid},
            "binary": {"binary": "AAEC"}, "symbol": {"symbol": "amqp:symbol"}, "char": {"char": 0x20ac},
        });
        let outcome = puppet.send("s", b"typed", json!({"applicationProperties": properties, "messageId": {"ulong": 7}})).await?;
        ensure!(outcome["outcome"] == "accepted", "{outcome}");
        let batch: Vec<_> = ["a", "b", "c"].map(|body| STANDARD.encode(body)).to_vec();
        let outcome = puppet.send("s", b"", json!({"batch": batch})).await?;
        ensure!(outcome["outcome"] == "accepted", "{outcome}");

        let kept = Events::all(&hub).await?;
        ensure!(kept[0].system_properties["message-id"] == json!({"ulong": "7"}), "{:?}", kept[0].system_properties);
        let came = Value::Object(kept[0].properties.clone());
        let mut wanted = properties;
        wanted["timestamp"] = json!({"timestamp": "2023-11-14T22:13:20.000Z"});
        wanted["char"] = json!({"char": "\u{20ac}"});
        wanted["long"] = json!({"long": "-9000000000000"});
        ensure!(came == wanted, "{came}\ninstead of\n{wanted}");
        let rest: Vec<_> = kept[1..].iter().map(Event::bytes).collect::<Result<_>>()?;
        ensure!(rest == [b"a", b"b", b"c"], "{rest:?}");
        puppet.end().await
    })
}

/// Both ways by SASL, and the way by tokens with everything sent before the hub has said a word.
#[test]
fn every_way_to_prove_something() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, OTHER]).await?;
        let device = hub.device(DEVICE)?;
        for library in LIBRARIES {
            for user in [DEVICE.to_owned(), format!("{DEVICE}@sas.hub")] {
                let program = library.program(&hub)?.env("USER_NAME", user).env("PASSWORD", device.token());
                let mut puppet = Puppet::connected(program).await?;
                puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
                let refused = puppet.is_refused("sender", "no", &events(OTHER), json!({})).await?;
                ensure!(refused == "amqp:unauthorized-access", "{refused}");
                ensure!(puppet.send("s", b"x", json!({})).await?["outcome"] == "accepted");
                puppet.end().await?;
            }
            let bad = device.with_key("AAECAwQFBgcICQoLDA0ODw==").token();
            let program = library.program(&hub)?.env("USER_NAME", DEVICE).env("PASSWORD", bad);
            ensure!(Puppet::connected(program).await.is_err(), "{library:?}: a bad key was let in");

            // rhea and Proton ask for their links before the hub has answered `open`; tokens are told at once.
            let mut puppet = Puppet::started(library.program(&hub)?)?;
            puppet.tell(json!({"do": "token", "audience": "d", "token": device.token()})).await?;
            puppet.hears("connected").await?;
            ensure!(puppet.hears("token").await?["status"] == 200);
            puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
            ensure!(puppet.send("s", b"x", json!({})).await?["outcome"] == "accepted");
            ensure!(puppet.token("d", "SharedAccessSignature nonsense").await? == 401);
            puppet.end().await?;
        }
        Ok(())
    })
}

#[test]
fn a_certificate_is_shown_by_external() -> Result<()> {
    isolated(async || {
        let office = Office::new()?;
        let [own, foreign] = [office.self_signed("own", DEVICE).await?, office.self_signed("foreign", DEVICE).await?];
        let hub = Hub::start(&[]).await?;
        register(&hub, DEVICE, &self_signed(Some(&own.thumbprint), None)).await?;
        for library in LIBRARIES {
            let shown = |made: &Made| anyhow::Ok(library.program(&hub)?.env("CERTIFICATE", &made.certificate).env("KEY", &made.key));
            let mut puppet = Puppet::connected(shown(&own)?).await?;
            puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
            ensure!(puppet.send("s", b"x", json!({})).await?["outcome"] == "accepted");
            puppet.end().await?;
            // Whose it is, is asked when a link is.
            let mut puppet = Puppet::connected(shown(&foreign)?).await?;
            let refused = puppet.is_refused("sender", "s", &events(DEVICE), json!({})).await?;
            ensure!(refused == "amqp:unauthorized-access", "{refused}");
            puppet.end().await?;
        }
        Ok(())
    })
}

/// A token of a device's runs out while others' do not.
#[test]
fn links_end_with_their_token() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, OTHER]).await?;
        for library in LIBRARIES {
            let mut puppet = Puppet::connected(library.program(&hub)?).await?;
            let expiry_s = now_s() + 2;
            for (id, until_s) in [(DEVICE, expiry_s), (OTHER, expiry_s + 3600)] {
                ensure!(puppet.token(id, &hub.device(id)?.token_until(until_s)).await? == 200);
                puppet.attach("sender", id, &events(id), json!({})).await?;
            }
            let condition = puppet.condition_of("detached", DEVICE).await?;
            ensure!(condition == "amqp:unauthorized-access" && now_s() >= expiry_s, "{condition}");
            ensure!(puppet.send(OTHER, b"x", json!({})).await?["outcome"] == "accepted");
            puppet.end().await?;
        }
        Ok(())
    })
}

#[test]
fn what_the_hub_does_not_have_is_refused_as_not_implemented() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let mut proton = Library::Proton.device(&hub, DEVICE).await?;
        let mut rhea = Library::Rhea.device(&hub, DEVICE).await?;
        let refused = proton.is_refused("sender", "transactions", "", json!({"coordinator": true})).await?;
        ensure!(refused == "amqp:not-implemented", "transactions: {refused}");
        let refused = rhea.is_refused("sender", "resumed", &events(DEVICE), json!({"resuming": true})).await?;
        ensure!(refused == "amqp:not-implemented", "resumption: {refused}");
        for puppet in [&mut proton, &mut rhea] {
            for what in ["sender", "receiver"] {
                let refused = puppet.is_refused(what, &format!("dynamic {what}"), "", json!({"dynamic": true})).await?;
                ensure!(refused == "amqp:not-implemented", "a dynamic {what}: {refused}");
            }
            for (what, address, condition) in [
                ("sender", "/devices/mill-1/twin", "amqp:not-found"),
                ("sender", "nowhere", "amqp:not-found"),
                ("receiver", &*events(DEVICE), "amqp:not-allowed"),
                ("sender", &*commands(DEVICE), "amqp:not-allowed"),
            ] {
                let refused = puppet.is_refused(what, &format!("{what} {address}"), address, json!({})).await?;
                ensure!(refused == condition, "{what} {address}: {refused}");
            }
            // It is the link that is refused, and not the connection.
            puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
            ensure!(puppet.send("s", b"x", json!({})).await?["outcome"] == "accepted");
        }
        Ok(())
    })
}

/// A client that hangs up after a second and a half without a word from the hub hears from it in time; what it is told to do next is done.
#[test]
fn the_hub_gives_signs_of_life() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE, OTHER]).await?;
        for library in LIBRARIES {
            let device = hub.device(DEVICE)?;
            let program = library.program(&hub)?.env("USER_NAME", DEVICE).env("PASSWORD", device.token());
            let mut puppet = Puppet::connected(program.env("IDLE_TIME_OUT_MS", "1500")).await?;
            puppet.attach("sender", "s", &events(DEVICE), json!({})).await?;
            // Somebody else's token ends meanwhile: five seconds after it says so.
            let mut other = library.program(&hub)?.env("USER_NAME", OTHER);
            other = other.env("PASSWORD", short_token(&hub.device(OTHER)?));
            let mut other = Puppet::connected(other).await?;
            other.attach("sender", "s", &events(OTHER), json!({})).await?;
            other.condition_of("detached", "s").await?;
            ensure!(puppet.send("s", b"x", json!({})).await?["outcome"] == "accepted");
            puppet.end().await?;
        }
        Ok(())
    })
}

fn short_token(device: &ConnectionString) -> String {
    sign(&format!("{}/devices/{}", device.host, device.device()), &device.key, None, now_s() + 2)
}
