//! A hub at work, for those who look at the dashboard: fifty devices with the habits of real ones, commands that arrive and such that don't, devices
//! that have never come, some that are shut out, and strangers.

use anyhow::{Context, Result};
use e2e::changes::Changes;
use e2e::commands::BackEnd;
use e2e::connection_string::ConnectionString;
use e2e::dashboard::visitor;
use e2e::hub::{Hub, binary};
use e2e::mqtt::{Connect, Connection};
use e2e::program::{Actor, Program};
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::json;

use crate::commands_http::in_seconds;

/// A device of [`Harbour`] with much to tell: it comes and goes.
const DEVICE: &str = "chiller-lyon-0001";

/// One that is shut out, one that has never come, though a command waits for it, and one with much of a name.
const SHUT_OUT: &str = "gw-porto-07";
const NEVER_SEEN: &str = "charger-oslo-0001";
const LONG: &str = "cabinet-eu-west-store-004417-aisle-12-unit-0001";

/// What meters and chillers say, and what is said to them.
const METER: &str = r#"{"wh":{{walk 52000 98000 120}},"v":{{sine 227.5 233.5 3m}},"pf":{{uniform 0.93 0.99}}}"#;
const CHILLER: &str = r#"{"ts":"{{time}}","temp":{"celsius":{{sine -19.5 -16.5 2m}},"setpoint":-18.5},"defrost":false,"door":"{{choice closed closed closed open}}"}"#;

/// The hub, and all who are at it.
pub struct Harbour {
    hub: Hub,
    /// Commands that a device completed, and that one rejected.
    completed: String,
    rejected: String,
    _fleets: Vec<Actor>,
}

/// Simulated devices with these habits.
pub fn fleet(hub: &Hub, habits: &[&str]) -> Result<Actor> {
    let words = [&["simulate"], habits].concat();
    Program::named(&binary()?.display().to_string()).args(words).env("MOORING_DATA", hub.data()).in_its_own_group().start()
}

impl Harbour {
    /// A hub that all have come to, and at which commands have ended in every way, so many of them by being completed: some four a second.
    pub async fn at_work(many: usize) -> Result<Self> {
        let hub = Hub::start(&[]).await?;
        let mut ended = Changes::open(&hub, "kinds=command&snapshot=false").await?;
        let meters =
            ["--devices", "28", "--prefix", "meter-ams-", "--interval", "2s", "--template", METER, "--refuse", "8%", "--commands", "3/s"];
        let chillers = [
            "--devices",
            "16",
            "--prefix",
            "chiller-lyon-",
            "--interval",
            "3s",
            "--template",
            CHILLER,
            "--sleep",
            "40%:14s/20s",
            "--flap",
            "19%:4s",
            "--commands",
            "1/s",
        ];
        let cabinets = ["--devices", "6", "--prefix", "cabinet-eu-west-store-004417-aisle-12-unit-", "--interval", "4s"];
        let fleets = vec![fleet(&hub, &meters)?, fleet(&hub, &chillers)?, fleet(&hub, &cabinets)?];
        idle(&hub).await?;
        let (mut completed, mut rejected, mut expired) = (Vec::new(), None, false);
        while completed.len() < many || rejected.is_none() || !expired {
            let command = ended.next_of("command").await?.data["command"].take();
            let id = command["id"].as_str().context("a command without an id")?.to_owned();
            match command["state"].as_str() {
                Some("Completed") => completed.push(id),
                Some("Rejected") => rejected = Some(id),
                Some("Expired") => expired = true,
                _ => {}
            }
        }
        let completed = completed.pop().context("none is completed")?;
        Ok(Self { hub, completed, rejected: rejected.context("none is rejected")?, _fleets: fleets })
    }

    /// A script that goes through all pages, told whose and which commands' pages it is to look at.
    pub fn looked_at_by(&self, script: &str) -> Result<Program> {
        let named = [
            ("DEVICE", DEVICE),
            ("SHUT_OUT", SHUT_OUT),
            ("NEVER_SEEN", NEVER_SEEN),
            ("LONG", LONG),
            ("COMPLETED", &self.completed),
            ("REJECTED", &self.rejected),
        ];
        Ok(named.into_iter().fold(visitor(script, &self.hub)?, |program, (name, value)| program.env(name, value)))
    }
}

/// Devices that nobody has plugged in, of which some are shut out, with commands that wait for them; and strangers.
async fn idle(hub: &Hub) -> Result<()> {
    let owner = Rest::owner(hub)?;
    let mut credential = None;
    for id in [NEVER_SEEN, "charger-oslo-0002", "charger-oslo-0003", SHUT_OUT] {
        let body = json_body(&json!({ "deviceId": id }));
        let made = owner.call(Method::PUT, &format!("/devices/{id}"), &[], body).await?.expect(200)?.json()?;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        credential = Some(ConnectionString::parse(&format!("HostName={};DeviceId={id};SharedAccessKey={key}", hub.host_name))?);
    }
    let shut = json!({ "action": "disable", "ids": ["charger-oslo-0003", SHUT_OUT], "reason": "stolen from the depot" });
    let json = [("Content-Type", "application/json")];
    Rest::api(hub, hub.policy("iothubowner")?)?
        .call(Method::POST, "/api/v1/devices/actions", &json, json_body(&shut))
        .await?
        .expect(200)?;
    let back_end = BackEnd::new(hub)?;
    let body = br#"{"method":"set-limit","amperes":16}"#;
    for called in ["set-limit", "unlock"] {
        back_end.send(NEVER_SEEN, &[("iothub-messageid", called), ("iothub-ack", "full")], body).await?;
    }
    let soon = in_seconds(2).await?;
    let late = [("iothub-messageid", "set-tariff"), ("iothub-ack", "full"), ("iothub-expiry", soon.as_str())];
    back_end.send("charger-oslo-0002", &late, body).await?;
    let known = credential.context("no device was made")?;
    for connect in [Connect::device(&known), Connect::device(&known.with_key("AAECAwQFBgcICQoLDA0ODw=="))] {
        let mut stranger = Connection::open(hub).await?;
        stranger.send(&connect.encode()).await?;
        stranger.bytes_until_closed().await?;
    }
    Ok(())
}
