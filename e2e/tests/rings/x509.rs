//! Devices that prove themselves by certificates, made with openssl as people make them; and back ends that register such devices.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::events::Events;
use e2e::hub::{Hub, Options};
use e2e::mqtt::events_topic;
use e2e::namespace::{HUB, isolated};
use e2e::program::Program;
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{fleet, serve, until_ready, write_configuration};

const DEVICE: &str = "press-1";

/// A folder in which certificates are made.
pub struct Office(TempDir);

/// A certificate, with whatever leads to its root behind it, and its key.
pub struct Made {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub thumbprint: String,
}

impl Office {
    pub fn new() -> Result<Self> {
        Ok(Self(TempDir::with_prefix("mooring-e2e-x509-")?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A self-signed certificate: a device's, or an authority's. (OpenSSL's own configuration lets it sign others.)
    pub async fn self_signed(&self, name: &str, common_name: &str) -> Result<Made> {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let subject = format!("/CN={common_name}");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        let made = Program::named("openssl").args(["req", "-x509", "-subj", &subject]).args(curve);
        made.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().await?;
        Ok(Made { thumbprint: thumbprint(&certificate, "-sha256").await?, certificate, key })
    }

    /// A certificate that `issuer` signs, with the issuer's own behind it.
    pub async fn issued(&self, name: &str, common_name: &str, issuer: &Made, extensions: &str) -> Result<Made> {
        let [certificate, key, request, extension_file] = ["pem", "key", "csr", "ext"].map(|kind| self.path(&format!("{name}.{kind}")));
        std::fs::write(&extension_file, extensions)?;
        let subject = format!("/CN={common_name}");
        let made = Program::named("openssl").args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", &subject]);
        made.arg("-keyout").arg(&key).arg("-out").arg(&request).output().await?;
        let signed = Program::named("openssl").args(["x509", "-req", "-days", "2", "-CAcreateserial"]).arg("-in").arg(&request);
        let signed = signed.arg("-CA").arg(&issuer.certificate).arg("-CAkey").arg(&issuer.key).arg("-extfile").arg(&extension_file);
        signed.arg("-out").arg(&certificate).output().await?;
        let thumbprint = thumbprint(&certificate, "-sha256").await?;
        let chain = [std::fs::read(&certificate)?, std::fs::read(&issuer.certificate)?].concat();
        std::fs::write(&certificate, chain)?;
        Ok(Made { thumbprint, certificate, key })
    }
}

async fn thumbprint(certificate: &Path, digest: &str) -> Result<String> {
    let printed = Program::named("openssl").args(["x509", "-noout", "-fingerprint", digest]).arg("-in").arg(certificate).output().await?;
    let text = String::from_utf8(printed)?;
    Ok(text.trim().split_once('=').context("no fingerprint")?.1.to_owned())
}

pub async fn register(hub: &Hub, id: &str, authentication: &Value) -> Result<()> {
    register_at(&Rest::owner(hub)?, id, authentication).await
}

async fn register_at(registry: &Rest, id: &str, authentication: &Value) -> Result<()> {
    let body = json_body(&json!({"deviceId": id, "authentication": authentication}));
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    registry.call(Method::PUT, &format!("/devices/{id}"), &headers, body).await?.expect(200).map(drop)
}

pub fn self_signed(primary: Option<&str>, secondary: Option<&str>) -> Value {
    json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary}})
}

fn device(script: Program, id: &str, made: &Made) -> Program {
    script.env("HOST_NAME", HUB).env("DEVICE_ID", id).env("CERTIFICATE", &made.certificate).env("KEY", &made.key)
}

/// Every way to send with a certificate, by its name.
fn sdks(hub: &Hub, id: &str, made: &Made) -> Result<Vec<(&'static str, Program)>> {
    let python = || Program::python("x509_live.py", hub).map(|script| device(script, id, made));
    let node = |transport| Program::node("x509_live.js", hub).map(|script| device(script, id, made).env("TRANSPORT", transport));
    Ok(vec![
        ("python mqtt", python()?),
        ("python mqtt-ws", python()?.env("WEBSOCKETS", "1")),
        ("node mqtt", node("mqtt")?),
        ("node mqtt-ws", node("mqtt-ws")?),
        ("node amqp", node("amqp")?),
        ("node amqp-ws", node("amqp-ws")?),
        ("node http", node("http")?),
    ])
}

fn mosquitto_pub(hub: &Hub, id: &str, made: &Made, payload: &str) -> Program {
    let user_name = format!("{HUB}/{id}/?api-version=2021-04-12");
    let program = Program::named("mosquitto_pub").args(["-h", HUB, "-p", "8883", "-V", "mqttv311", "-i", id, "-u", &user_name]);
    let program = program.args(["-q", "1", "-t", &events_topic(id), "-m", payload]).arg("--cafile").arg(hub.ca_file());
    program.arg("--cert").arg(&made.certificate).arg("--key").arg(&made.key)
}

/// curl's telemetry; answers the status.
async fn curl(hub: &Hub, id: &str, made: &Made, payload: &str) -> Result<String> {
    let url = format!("https://{HUB}/devices/{id}/messages/events?api-version=2021-04-12");
    let program = Program::named("curl").args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", payload, &url]).arg("--cacert");
    let program = program.arg(hub.ca_file()).arg("--cert").arg(&made.certificate).arg("--key").arg(&made.key);
    Ok(String::from_utf8(program.output().await?)?)
}

async fn everybody_sends(hub: &Hub, id: &str, made: &Made, auth_type: &str) -> Result<()> {
    let mut expected = Vec::new();
    for (name, program) in sdks(hub, id, made)? {
        let mut actor = program.start()?;
        actor.until("connected").await.context(name)?;
        actor.tell(name).await?;
        actor.until("sent").await.context(name)?;
        actor.end().await?;
        expected.push(name);
    }
    mosquitto_pub(hub, id, made, "mosquitto").output().await?;
    ensure!(curl(hub, id, made, "curl").await? == "204", "curl was refused");
    expected.extend(["mosquitto", "curl"]);
    let kept = Events::all(hub).await?;
    let kept: Vec<_> = kept.iter().filter(|event| event.device_id == id).collect();
    let payloads = kept.iter().map(|event| Ok(String::from_utf8(event.bytes()?)?)).collect::<Result<Vec<_>>>()?;
    ensure!(payloads == expected, "{payloads:?}");
    let wanted = format!("\"type\":\"{auth_type}\",\"issuer\":\"external\"");
    ensure!(kept.iter().all(|event| event.system("iothub-connection-auth-method").contains(&wanted)), "{kept:?}");
    Ok(())
}

#[test]
fn self_signed_devices_send() -> Result<()> {
    isolated(async || {
        let office = Office::new()?;
        let [first, second] = [office.self_signed("first", DEVICE).await?, office.self_signed("second", "whatever").await?];
        let hub = Hub::start(&[]).await?;
        let old_form = thumbprint(&second.certificate, "-sha1").await?.to_lowercase();
        register(&hub, DEVICE, &self_signed(Some(&first.thumbprint), Some(&old_form))).await?;
        everybody_sends(&hub, DEVICE, &first, "x509Certificate").await?;
        ensure!(curl(&hub, DEVICE, &second, "by the second slot").await? == "204", "the second slot does not count");
        Ok(())
    })
}

#[test]
fn issued_devices_send() -> Result<()> {
    isolated(async || {
        let office = Office::new()?;
        let root = office.self_signed("root", "Plant root").await?;
        let factory = office.issued("factory", "Factory 7", &root, "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n").await?;
        let own = "keyUsage=digitalSignature\n";
        let device = office.issued("device", DEVICE, &factory, own).await?;
        let hub = Options::default().argument("--device-ca").argument(root.certificate.to_str().context("UTF-8")?).start().await?;
        for id in [DEVICE, "press-2"] {
            register(&hub, id, &json!({"type": "certificateAuthority"})).await?;
        }
        everybody_sends(&hub, DEVICE, &device, "x509CertificateAuthority").await?;

        let stranger = office.self_signed("stranger", "Nobody knows").await?;
        let foreign = office.issued("foreign", DEVICE, &stranger, own).await?;
        for (id, made, reason) in [("press-2", &device, "OtherCommonName"), (DEVICE, &foreign, "UnknownAuthority")] {
            ensure!(curl(&hub, id, made, "in vain").await? == "401", "{id}: let in");
            let refused = mosquitto_pub(&hub, id, made, "in vain").outcome().await?;
            ensure!(refused.stderr.contains("not authorised"), "{}", refused.stderr);
            ensure!(hub.log().contains(reason), "the owner was not told: {reason}");
        }
        Ok(())
    })
}

/// The thumbprint changes under a device that is connected: it is sent away, and does not come back.
#[test]
fn a_changed_thumbprint_closes_the_connection() -> Result<()> {
    isolated(async || {
        let office = Office::new()?;
        let [first, second] = [office.self_signed("first", DEVICE).await?, office.self_signed("second", DEVICE).await?];
        let hub = Hub::start(&[]).await?;
        register(&hub, DEVICE, &self_signed(Some(&first.thumbprint), None)).await?;
        let owner = Rest::owner(&hub)?;
        for (name, program) in sdks(&hub, DEVICE, &first)? {
            let connected = !name.ends_with("http");
            let mut actor = program.start()?;
            actor.until("connected").await.context(name)?;
            actor.tell("before").await?;
            actor.until("sent").await.context(name)?;
            owner.change(DEVICE, |identity| identity["authentication"] = self_signed(Some(&second.thumbprint), None)).await?;
            if connected {
                actor.until("disconnected").await.context(name)?;
            }
            actor.tell("after").await?;
            actor.until("failed").await.context(name)?;
            actor.end().await?;
            ensure!(curl(&hub, DEVICE, &first, "after").await? == "401", "{name}: the old certificate still counts");
            owner.change(DEVICE, |identity| identity["authentication"] = self_signed(Some(&first.thumbprint), None)).await?;
        }
        let kept = Events::all(&hub).await?.iter().map(|event| event.bytes()).collect::<Result<Vec<_>>>()?;
        ensure!(kept.iter().all(|payload| payload == b"before"), "something was kept afterwards");
        Ok(())
    })
}

/// Two authorities in the configuration file, each with a prefix: the file of one changes while the hub runs, and the other's device is
/// not disturbed.
#[test]
fn a_changed_authority_closes_what_came_in_by_it_alone() -> Result<()> {
    isolated(async || {
        let office = Office::new()?;
        let [presses, pumps] = [office.self_signed("presses", "Presses").await?, office.self_signed("pumps", "Pumps").await?];
        let next = office.self_signed("next", "Next presses").await?;
        let own = "keyUsage=digitalSignature\n";
        let [press, pump] = [office.issued("press", DEVICE, &presses, own).await?, office.issued("pump", "pump-1", &pumps, own).await?];
        let stray = office.issued("stray", "pump-2", &presses, own).await?;
        let mut hub = Hub::start(&[]).await?;
        hub.stop().await?;
        let section = |name: &str, made: &Made, prefix: &str| {
            format!("[device_authorities.{name}]\nfile = \"{}\"\nid_prefix = \"{prefix}\"\n", made.certificate.display())
        };
        let more = [section("presses", &presses, "press-"), section("pumps", &pumps, "pump-")].concat();
        let folder = tempfile::tempdir()?;
        let mut server = serve(&write_configuration(&hub, folder.path(), &more)?)?.start()?;
        until_ready(&hub, &mut server).await?;
        let registry = Rest::new(&hub, fleet()?)?;
        for id in [DEVICE, "pump-1", "pump-2"] {
            register_at(&registry, id, &json!({"type": "certificateAuthority"})).await?;
        }

        let mut actors = Vec::new();
        for (id, made) in [(DEVICE, &press), ("pump-1", &pump)] {
            let mut actor = device(Program::python("x509_live.py", &hub)?, id, made).start()?;
            actor.until("connected").await.context(id)?;
            actor.tell("before").await?;
            actor.until("sent").await.context(id)?;
            actors.push(actor);
        }
        ensure!(curl(&hub, "pump-2", &stray, "in vain").await? == "401", "an authority has spoken for another's device");
        ensure!(server.standard_error().contains("AuthorityNotAllowed"), "{}", server.standard_error());

        std::fs::copy(&next.certificate, &presses.certificate)?;
        server.hang_up()?;
        actors[0].until("disconnected").await.with_context(|| server.standard_error())?;
        ensure!(curl(&hub, DEVICE, &press, "after").await? == "401", "the authority that is gone is still believed");
        actors[1].tell("after").await?;
        let told = actors[1].next().await?;
        ensure!(told["event"] == "sent", "the other was disturbed: {told}");
        for actor in &mut actors {
            actor.end().await?;
        }
        Ok(())
    })
}

#[test]
fn python_registry_registers_certificates() -> Result<()> {
    registry(|hub| Program::python("x509_registry.py", hub), "py")
}

#[test]
fn node_registry_registers_certificates() -> Result<()> {
    registry(|hub| Program::node("x509_registry.js", hub), "js")
}

fn registry(script: impl Fn(&Hub) -> Result<Program> + Clone + Send + 'static, prefix: &'static str) -> Result<()> {
    isolated(async move || {
        let hub = Hub::start(&[]).await?;
        let (primary, secondary) = ("A1".repeat(20), "B2".repeat(32));
        let script = script(&hub)?.env("PRIMARY", &primary).env("SECONDARY", &secondary);
        let told = script.env("IOTHUB_CONNECTION_STRING", hub.policy("iothubowner")?.text).story().await?;
        ensure!(told.len() >= 4, "{told:?}");
        for step in told {
            let expected = match step["step"].as_str() {
                Some("create issued" | "to an authority") => json!(["certificateAuthority", null, null, null]),
                _ => json!(["selfSigned", primary, secondary, null]),
            };
            ensure!(json!([step["type"], step["primary"], step["secondary"], step["key"]]) == expected, "{step}");
        }
        let owner = Rest::owner(&hub)?;
        ensure!(owner.device(&format!("{prefix}-issued")).await?["authentication"]["type"] == "certificateAuthority");
        Ok(())
    })
}
