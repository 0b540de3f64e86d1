//! curl: the device API and the registry as anybody with a shell sees them.

use anyhow::{Context, Result, ensure};
use e2e::catalogue::{LARGEST_BYTES, payload};
use e2e::commands::BackEnd;
use e2e::connection_string::ConnectionString;
use e2e::events::Events;
use e2e::hub::Hub;
use e2e::namespace::{HUB, isolated};
use e2e::program::Program;
use serde_json::{Value, json};

const DEVICE: &str = "gauge-1";

/// An answer as `curl -i` prints it.
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|field| field.eq_ignore_ascii_case(name));
        self.headers.lines().find(named)?.split_once(':').map(|(_, value)| value.trim())
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}

/// Sends a request; a body of `@file` is that file's bytes.
async fn curl(hub: &Hub, who: &ConnectionString, method: &str, path: &str, headers: &[&str], body: Option<&str>) -> Result<Answer> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let url = format!("https://{HUB}{path}{separator}api-version=2021-04-12");
    let mut program =
        Program::named("curl").args(["-sS", "-i", "--http1.1", "-H", "Expect:", "-X", method, &url]).arg("--cacert").arg(hub.ca_file());
    program = program.args(["-H", &format!("Authorization: {}", who.token())]);
    program = headers.iter().fold(program, |program, header| program.args(["-H", header]));
    if let Some(body) = body {
        program = program.args(["--data-binary", body]);
    }
    let printed = String::from_utf8(program.output().await?)?;
    let (headers, body) = printed.split_once("\r\n\r\n").context("no headers")?;
    let status = headers.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, headers: headers.to_owned(), body: body.to_owned() })
}

#[test]
fn curl_receives_a_command() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let device = hub.device(DEVICE)?;
        let headers = [("iothub-messageid", "m-1"), ("iothub-contenttype", "text/plain"), ("iothub-app-unit", "21 °C")];
        BackEnd::new(&hub)?.send(DEVICE, &headers, b"open").await?;
        let path = format!("/devices/{DEVICE}/messages/deviceBound");
        let received = curl(&hub, &device, "GET", &path, &[], None).await?;
        ensure!(received.status == 200 && received.body == "open", "{} {}", received.headers, received.body);
        for (name, value) in [
            ("content-type", "text/plain"),
            ("iothub-messageid", "m-1"),
            ("iothub-app-unit", "21 °C"),
            ("iothub-deliverycount", "1"),
            ("iothub-contenttype", "text/plain"),
        ] {
            ensure!(received.header(name) == Some(value), "{name} in {}", received.headers);
        }
        let token = received.header("etag").context("no lock token")?.trim_matches('"').to_owned();
        let settled = curl(&hub, &device, "DELETE", &format!("{path}/{token}?reject"), &[], None).await?;
        ensure!(settled.status == 204, "{} {}", settled.headers, settled.body);

        // Of a sender over HTTP/1.1, who can spell a property's name.
        let own_api = format!("/api/v1/devices/{DEVICE}/commands");
        let port = hub.ready.endpoints.api.rsplit(':').next().context("no port")?;
        let sent = Program::named("curl").args(["-sS", "--fail", "--http1.1", "-H", "iothub-app-LeVel: high", "--data-binary", "x"]);
        let sent = sent.args(["-H", &format!("Authorization: {}", hub.policy("service")?.token())]);
        sent.arg("--cacert").arg(hub.ca_file()).arg(format!("https://{HUB}:{port}{own_api}")).output().await?;
        let received = curl(&hub, &device, "GET", &path, &[], None).await?;
        ensure!(received.headers.contains("iothub-app-LeVel: high"), "{}", received.headers);
        Ok(())
    })
}

#[test]
fn curl_sends_telemetry() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let device = hub.device(DEVICE)?;
        let path = format!("/devices/{DEVICE}/messages/events");
        let headers = [
            "iothub-messageid: m-1",
            "iothub-correlationid: c-1",
            "iothub-contenttype: application/json",
            "iothub-contentencoding: utf-8",
            "iothub-app-level: high",
            "Content-Type: application/octet-stream",
        ];
        let sent = curl(&hub, &device, "POST", &path, &headers, Some(r#"{"bar":2.5}"#)).await?;
        ensure!(sent.status == 204 && sent.body.is_empty(), "{} {}", sent.headers, sent.body);

        let batch = json!([
            {"body": "aGVsbG8=", "base64Encoded": true, "properties": {"iothub-app-n": "1"}},
            {"body": "text", "base64Encoded": false},
            {"body": "d29ybGQ="},
        ]);
        let kind = ["Content-Type: application/vnd.microsoft.iothub.json"];
        let sent = curl(&hub, &device, "POST", &path, &kind, Some(&batch.to_string())).await?;
        ensure!(sent.status == 204, "{} {}", sent.headers, sent.body);

        let mut back_end = Events::open(&hub, "from=earliest").await?;
        let [one, hello, text, world] = back_end.take(4).await?.try_into().expect("four events");
        ensure!(one.bytes()? == br#"{"bar":2.5}"# && one.body == Some(json!({"bar": 2.5})), "{one:?}");
        ensure!(one.system("message-id") == "m-1" && one.system("correlation-id") == "c-1" && one.property("level") == "high", "{one:?}");
        ensure!(hello.bytes()? == b"hello" && hello.property("n") == "1", "{hello:?}");
        ensure!(text.bytes()? == b"text" && world.bytes()? == b"world", "{text:?} {world:?}");
        Ok(())
    })
}

#[test]
fn curl_is_told_what_is_wrong() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let (owner, device, reader) = (hub.policy("iothubowner")?, hub.device(DEVICE)?, hub.policy("registryRead")?);
        let big = tempfile::NamedTempFile::new()?;
        std::fs::write(big.path(), payload(LARGEST_BYTES + 1))?;
        let big = format!("@{}", big.path().display());
        let events = format!("/devices/{DEVICE}/messages/events");
        let json = ["Content-Type: application/json"];
        let stale = ["Content-Type: application/json", "If-Match: \"bm90IG1pbmU=\""];
        let one = format!(r#"{{"deviceId":"{DEVICE}"}}"#);

        let cases = [
            (curl(&hub, &owner, "GET", "/devices/nobody", &[], None).await?, 404, "DeviceNotFound"),
            (curl(&hub, &owner, "PUT", &format!("/devices/{DEVICE}"), &json, Some(&one)).await?, 409, "DeviceAlreadyExists"),
            (curl(&hub, &owner, "PUT", &format!("/devices/{DEVICE}"), &stale, Some(&one)).await?, 412, "PreconditionFailed"),
            (curl(&hub, &owner, "PUT", "/devices/x", &json, Some("{")).await?, 400, "IotHubFormatError"),
            (curl(&hub, &reader, "PUT", "/devices/x", &json, Some(r#"{"deviceId":"x"}"#)).await?, 401, "IotHubUnauthorizedAccess"),
            (curl(&hub, &device, "GET", &format!("/devices/{DEVICE}"), &[], None).await?, 401, "IotHubUnauthorizedAccess"),
            (curl(&hub, &device, "POST", "/devices/another/messages/events", &[], Some("x")).await?, 401, "IotHubUnauthorizedAccess"),
            (curl(&hub, &device, "POST", &events, &[], Some(&big)).await?, 413, "MessageTooLarge"),
            (curl(&hub, &device, "POST", &events, &["iothub-messageid: not an id"], Some("x")).await?, 400, "ArgumentInvalid"),
        ];
        for (answer, status, code) in cases {
            let (headers, body) = (&answer.headers, &answer.body);
            ensure!(
                answer.status == status && answer.header("iothub-errorcode") == Some(code),
                "{status} {code} expected:\n{headers}\n{body}"
            );
            ensure!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{headers}");
            let message = answer.json()?["Message"].as_str().unwrap_or_default().to_owned();
            ensure!(message.starts_with(&format!("ErrorCode:{code};")), "{body}");
        }
        Ok(())
    })
}

#[test]
fn curl_keeps_the_registry() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let owner = hub.policy("iothubowner")?;
        let json = ["Content-Type: application/json"];
        let created = curl(&hub, &owner, "PUT", "/devices/sh-1", &json, Some(r#"{"deviceId":"sh-1"}"#)).await?;
        ensure!(created.status == 200, "{}", created.headers);
        let etag = created.json()?["etag"].as_str().context("no etag")?.to_owned();
        ensure!(created.header("etag") == Some(&format!("\"{etag}\"")), "{} without {etag}", created.headers);

        let change = r#"{"deviceId":"sh-1","status":"disabled","statusReason":"stolen"}"#;
        let matching = ["Content-Type: application/json", &format!("If-Match: \"{etag}\"")];
        let changed = curl(&hub, &owner, "PUT", "/devices/sh-1", &matching, Some(change)).await?.json()?;
        ensure!(changed["status"] == "disabled" && changed["statusReason"] == "stolen" && changed["etag"] != etag, "{changed}");
        ensure!(changed["statusUpdatedTime"] != "0001-01-01T00:00:00", "{changed}");

        let bulk = json!([{"id": "sh-2", "importMode": "create"}, {"id": "sh-1", "importMode": "create"}]).to_string();
        let mixed = curl(&hub, &owner, "POST", "/devices", &json, Some(&bulk)).await?;
        let told = mixed.json()?;
        ensure!(mixed.status == 400 && told["isSuccessful"] == false && told["errors"][0]["deviceId"] == "sh-1", "{told}");

        let listed = curl(&hub, &owner, "GET", "/devices?top=1", &[], None).await?.json()?;
        ensure!(listed.as_array().is_some_and(|list| list.len() == 1), "{listed}");
        let gone = curl(&hub, &owner, "DELETE", "/devices/sh-1", &["If-Match: *"], None).await?;
        ensure!(gone.status == 204 && gone.body.is_empty(), "{}", gone.headers);
        Ok(())
    })
}
