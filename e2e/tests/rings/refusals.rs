//! Who is not let in, and what the SDKs say to their programs then. To the one refused, all refusals look the same.

use anyhow::{Result, ensure};
use e2e::catalogue::LARGEST_BYTES;
use e2e::connection_string::{ConnectionString, now_s};
use e2e::events::Events;
use e2e::hub::{Hub, Options};
use e2e::mqtt::{Connect, Connection, Packet, events_topic, publish};
use e2e::namespace::{EDGE, HUB, isolated};
use e2e::program::Program;
use e2e::rest::Rest;
use reqwest::Method;
use serde_json::{Value, json};

pub const DEVICE: &str = "lamp-1";
const DISABLED: &str = "lamp-2";
const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// Longer ago than any clock tolerance.
pub const LONG_AGO_S: u64 = 3600;

/// A hub with a device that is enabled and one that is not.
pub async fn hub() -> Result<Hub> {
    let hub = Hub::start(&[DEVICE, DISABLED]).await?;
    Rest::owner(&hub)?.disable(DISABLED).await?;
    Ok(hub)
}

/// Connection strings that are not good, each with what is wrong with it.
pub fn bad_credentials(hub: &Hub) -> Result<Vec<(&'static str, ConnectionString)>> {
    let good = hub.device(DEVICE)?;
    let foreign = format!("{};GatewayHostName={HUB}", good.text.replace(HUB, "foreign.azure-devices.net"));
    Ok(vec![
        ("bad key", good.with_key(OTHER_KEY)),
        ("unknown device", ConnectionString::parse(&good.text.replace(DEVICE, "nobody"))?),
        ("disabled device", hub.device(DISABLED)?),
        ("another device's key", ConnectionString::parse(&good.text.replace(DEVICE, DISABLED))?),
        ("wrong host name", ConnectionString::parse(&foreign)?),
    ])
}

#[test]
fn python_device_is_refused() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        for (what, credential) in bad_credentials(&hub)? {
            let script = Program::python("refused.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", &credential.text);
            expect_refusal(what, &script.story().await?, "CredentialError")?;
        }
        let script =
            Program::python("refused.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.with_key(OTHER_KEY).text);
        expect_refusal("bad key over WebSocket", &script.env("WEBSOCKETS", "1").story().await?, "CredentialError")?;
        nothing_came(&hub).await
    })
}

#[test]
fn node_device_is_refused_over_mqtt() -> Result<()> {
    node_device_is_refused("mqtt")
}

#[test]
fn node_device_is_refused_over_websocket() -> Result<()> {
    node_device_is_refused("mqtt-ws")
}

#[test]
fn node_device_is_refused_over_https() -> Result<()> {
    node_device_is_refused("http")
}

fn node_device_is_refused(transport: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = hub().await?;
        for (what, credential) in bad_credentials(&hub)? {
            // The HTTPS transport knows no gateway: it would look for the foreign host itself.
            if transport == "http" && what == "wrong host name" {
                continue;
            }
            let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport);
            expect_refusal(what, &script.env("IOTHUB_DEVICE_CONNECTION_STRING", &credential.text).story().await?, "UnauthorizedError")?;
        }
        let expired = hub.device(DEVICE)?.token_until(now_s() - LONG_AGO_S);
        let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport);
        expect_refusal("expired token", &script.env("SAS_TOKEN", expired).story().await?, "UnauthorizedError")?;
        nothing_came(&hub).await
    })
}

/// Most SDKs check sizes themselves; whoever does not is told over HTTPS, and has its connection closed under it over MQTT.
#[test]
fn oversized_messages_are_refused() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        let device = hub.device(DEVICE)?;
        let bytes = (LARGEST_BYTES + 1).to_string();
        let script = Program::python("refused.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", &device.text);
        expect_refusal("Python", &script.env("PAYLOAD_BYTES", &bytes).story().await?, "ValueError")?;
        for (transport, error) in [("mqtt", "MessageTooLargeError"), ("http", "MessageTooLargeError")] {
            let script = Program::node("refused.js", &hub)?.env("TRANSPORT", transport).env("PAYLOAD_BYTES", &bytes);
            let told = script.env("IOTHUB_DEVICE_CONNECTION_STRING", &device.text).story().await?;
            expect_refusal(transport, &told, error)?;
        }
        let mut connection = Connection::admitted(&hub, DEVICE).await?;
        connection.send(&publish(&events_topic(DEVICE), Some(1), &vec![0; LARGEST_BYTES + 1], 0)).await?;
        ensure!(connection.packets_until_closed().await?.is_empty(), "an oversized message was answered");
        nothing_came(&hub).await
    })
}

#[test]
fn foreign_topics_close_the_connection() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        for topic in [events_topic(DISABLED), "devices/lamp-1/messages/devicebound/".to_owned(), "weather".to_owned(), "$SYS/x".to_owned()]
        {
            let mut connection = Connection::admitted(&hub, DEVICE).await?;
            connection.send(&publish(&topic, Some(1), b"x", 0)).await?;
            ensure!(connection.packets_until_closed().await?.is_empty(), "a message to {topic} was answered");
        }
        nothing_came(&hub).await
    })
}

/// Every refusal at CONNECT is the same four bytes, and every refusal over HTTPS the same answer to the byte, but for its date.
#[test]
fn refusals_are_equal_in_bytes() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        let expired = hub.device(DEVICE)?.token_until(now_s() - LONG_AGO_S);
        let mut connects =
            vec![Connect::with_password(&hub.device(DEVICE)?, &expired), Connect::with_password(&hub.device(DEVICE)?, "nonsense")];
        connects.extend(bad_credentials(&hub)?.iter().map(|(_, credential)| Connect::device(credential)));
        connects.push(Connect { client_id: "another".to_owned(), ..Connect::device(&hub.device(DEVICE)?) });
        for connect in connects {
            let mut connection = Connection::open(&hub).await?;
            connection.send(&connect.encode()).await?;
            let answer = connection.bytes_until_closed().await?;
            ensure!(answer == [0x20, 2, 0, 5], "{connect:?}: {answer:?}");
        }

        let mut answers = Vec::new();
        for (what, credential) in bad_credentials(&hub)? {
            let mut answer = Rest::new(&hub, credential)?.send(b"x").await?.expect(401)?;
            answer.headers.remove("date");
            answers.push((what, answer.headers, answer.body));
        }
        for (what, headers, body) in &answers {
            let (_, first_headers, first_body) = &answers[0];
            ensure!((headers, body) == (first_headers, first_body), "{what}: {headers:?} {body:?}\n{first_headers:?} {first_body:?}");
        }
        Ok(())
    })
}

/// `GatewayHostName` leads to a hub that answers to the name behind it only when told so by `--alias`.
#[test]
fn gateway_host_name_needs_an_alias() -> Result<()> {
    isolated(async || {
        let options =
            Options::default().devices(&[DEVICE]).argument("--alias").argument("factory.azure-devices.net").argument("--hostname");
        let hub = options.argument(EDGE).start().await?;
        let text = hub.device(DEVICE)?.text.replace(HUB, "factory.azure-devices.net");
        let through = format!("{text};GatewayHostName={EDGE}");
        let python = Program::python("refused.py", &hub)?.env("IOTHUB_DEVICE_CONNECTION_STRING", &through).story().await?;
        let node =
            Program::node("refused.js", &hub)?.env("TRANSPORT", "mqtt").env("IOTHUB_DEVICE_CONNECTION_STRING", &through).story().await?;
        for told in [python, node] {
            ensure!(told == [json!({"event": "connected"}), json!({"event": "sent"})], "{told:?}");
        }
        ensure!(Events::open(&hub, "from=earliest").await?.take(2).await?.iter().all(|event| event.device_id == DEVICE));
        Ok(())
    })
}

/// A request that names another hub is refused as any other, whatever its token, on either port and before a WebSocket is made of it.
/// (TLS is told the right name, or none: curl names no host there when it is given an address.)
#[test]
fn a_wrong_host_is_refused_over_https() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        let telemetry = format!("/devices/{DEVICE}/messages/events");
        let websocket = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: mqtt"];
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let (device, owner) = (hub.device(DEVICE)?.token(), hub.policy("iothubowner")?.token());
        let mut bodies = std::collections::BTreeSet::new();
        for base in [HUB, "127.0.0.1"] {
            for (path, token, more) in [
                (format!("https://{base}{telemetry}"), &device, &[][..]),
                (format!("https://{base}:8443/devices"), &owner, &[]),
                (format!("https://{base}/$iothub/websocket"), &device, &[&websocket[..], &[key]].concat()),
            ] {
                for (host, wanted) in [("foreign.azure-devices.net", vec!["401"]), (HUB, vec!["204", "200", "101"])] {
                    let mut curl = Program::named("curl").args(["-sS", "--http1.1", "--max-time", "2", "-o", "-", "-w", "\n%{http_code}"]);
                    curl = curl.arg("--cacert").arg(hub.ca_file()).args([
                        "-H",
                        &format!("Host: {host}"),
                        "-H",
                        &format!("Authorization: {token}"),
                    ]);
                    curl = more.iter().fold(curl, |curl, header| curl.args(["-H", header]));
                    curl = if path.ends_with("events") { curl.args(["--data-binary", "x"]) } else { curl };
                    let told = curl.arg(format!("{path}?api-version=2021-04-12")).outcome().await?;
                    let printed = String::from_utf8(told.stdout)?;
                    let (body, status) = printed.rsplit_once('\n').unwrap_or_default();
                    ensure!(wanted.contains(&status), "{host} at {path}: {status} {body} {}", told.stderr);
                    if host != HUB {
                        bodies.insert(body.to_owned());
                    }
                }
            }
        }
        ensure!(bodies.len() == 1, "refusals differ: {bodies:?}");
        let seen =
            Rest::api(&hub, hub.policy("registryRead")?)?.call(Method::GET, "/api/v1/refusals", &[], Vec::new()).await?.expect(200)?;
        ensure!(String::from_utf8(seen.body)?.contains("foreign.azure-devices.net"), "the owner is not told");
        Ok(())
    })
}

/// The owner can see why, in the log and over the API, what the refused one was not told.
#[test]
fn the_owner_can_see_why() -> Result<()> {
    isolated(async || {
        let hub = hub().await?;
        let expired = Connect::with_password(&hub.device(DEVICE)?, &hub.device(DEVICE)?.token_until(now_s() - LONG_AGO_S));
        for connect in [expired, Connect::device(&hub.device(DEVICE)?.with_key(OTHER_KEY))] {
            let mut connection = Connection::open(&hub).await?;
            connection.send(&connect.encode()).await?;
            let answer = connection.next().await?;
            ensure!(answer == Some(Packet::ConnAck { session_present: false, code: 5 }), "{answer:?}");
        }
        let path = format!("/api/v1/devices/{DEVICE}/refusals");
        let told = Rest::api(&hub, hub.policy("registryRead")?)?.call(Method::GET, &path, &[], Vec::new()).await?.expect(200)?;
        for text in [String::from_utf8(told.body)?, hub.log()] {
            ensure!(text.contains("expired") && text.contains("by the hub's clock"), "no word of the expired token:\n{text}");
            ensure!(text.contains("signed with neither key"), "no word of the bad key:\n{text}");
            ensure!(!text.contains(&hub.device(DEVICE)?.key) && !text.contains("sig="), "a secret:\n{text}");
        }
        Ok(())
    })
}

/// What was told ends in a refusal with this error. (To connect over HTTPS is to say nothing, so it always succeeds.)
pub fn expect_refusal(what: &str, told: &[Value], error: &str) -> Result<()> {
    let refused = told.last().is_some_and(|last| last["event"] == "refused" && last["error"] == error);
    ensure!(refused, "{what}: {told:?} instead of {error}");
    Ok(())
}

pub async fn nothing_came(hub: &Hub) -> Result<()> {
    let kept = Events::all(hub).await?;
    ensure!(kept.is_empty(), "a refused message was kept: {:?}", kept.first());
    Ok(())
}
