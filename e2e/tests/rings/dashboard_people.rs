//! The dashboard and who looks at it, on a hub that people have passwords of: whose session ends, who may only look, and what they find when the
//! hub itself was gone.

use anyhow::{Context, Result, ensure};
use e2e::commands::BackEnd;
use e2e::dashboard::{leaves, now_ms, say, seen};
use e2e::mqtt::{Connection, events_topic};
use e2e::namespace::isolated;

use crate::house::{ALL, DEVICE, House, comes_to};

/// Sends a command, and answers its id.
async fn sends(back_end: &BackEnd, called: &str) -> Result<String> {
    back_end.send(DEVICE, &[("iothub-messageid", called), ("iothub-ack", "full")], b"{}").await
}

#[test]
fn the_hub_is_killed_and_the_page_misses_nothing() -> Result<()> {
    isolated(async || {
        let mut house = House::of(&[("ada", ALL)]).await?;
        let back_end = BackEnd::new(&house.ready)?;
        let mut device = house.device("commands.js", DEVICE, "mqtt")?.start()?;
        device.until("connected").await?;
        let before = sends(&back_end, "m-before").await?;
        comes_to(&back_end, &before, "Completed").await?;

        let mut person = house.person("restart.js", "ada")?.env("MESSAGES", "m-before,m-after").start()?;
        person.until("looking").await?;
        let killed = now_ms();
        house.is_killed().await?;
        person.tell("killed").await?;
        let down = seen(&mut person, "down", killed).await?;
        say(&down["said"].to_string());
        person.until("killed").await?;

        device.kill9().await?;
        house.comes_back().await?;
        let mut device = house.device("commands.js", DEVICE, "mqtt")?.start()?;
        device.until("connected").await?;
        let after = sends(&back_end, "m-after").await?;
        comes_to(&back_end, &after, "Completed").await?;
        let back = now_ms();
        person.tell("back").await?;
        seen(&mut person, "asked", back).await?;
        say(&person.until("facts").await?["facts"].to_string());
        leaves(person).await
    })
}

#[test]
fn a_hub_that_comes_back_as_another_version_offers_its_page() -> Result<()> {
    isolated(async || {
        let mut house = House::of(&[("ada", ALL)]).await?;
        let mut person = house.person("updated.js", "ada")?.start()?;
        person.until("looking").await?;
        house.is_killed().await?;
        house.comes_back().await?;
        person.tell("restarted").await?;
        leaves(person).await
    })
}

#[test]
fn a_session_that_has_ended_leads_to_the_sign_in_page_and_back() -> Result<()> {
    isolated(async || {
        let house = House::of(&[("ada", ALL)]).await?;
        let mut person = house.person("session.js", "ada")?.env("PATH_OF_PAGE", "/devices?prefix=pump&sort=id").start()?;
        let refused = person.until("refused").await?;
        ensure!(!refused["said"].as_str().unwrap_or_default().is_empty(), "{refused}");
        person.until("signed in").await?;
        let changed = now_ms();
        house.changes_password("ada", "another").await?;
        person.tell("another").await?;
        seen(&mut person, "asked", changed).await?;
        leaves(person).await
    })
}

#[test]
fn who_may_look_can_not_act_by_the_page_nor_by_the_api_behind_it() -> Result<()> {
    isolated(async || {
        let house = House::of(&[("bob", r#"["Read"]"#)]).await?;
        let back_end = BackEnd::new(&house.ready)?;
        let mut device = house.device("settle.js", DEVICE, "amqp")?.start()?;
        device.until("open").await?;
        let id = sends(&back_end, "no-thanks").await?;
        device.tell("reject").await?;
        device.until("settled").await?;
        comes_to(&back_end, &id, "Rejected").await?;
        device.kill9().await?;
        let mut connection = Connection::admitted(&house.ready, DEVICE).await?;
        connection.publish(&events_topic(DEVICE), 1, b"a secret").await?;

        let mut person = house.person("viewer.js", "bob")?.env("COMMAND", &id).start()?;
        let mut asked = 0;
        loop {
            let told = person.next().await?;
            if told["event"] == "end" {
                break;
            }
            ensure!(told["status"] == 403 && told["said"].as_str().is_some_and(|said| said.contains("needs the right")), "{told}");
            asked += 1;
        }
        ensure!(asked == 8, "{asked} requests");
        ensure!(person.end().await?.success(), "{}", person.standard_error());
        let device = house.registry()?.device(DEVICE).await?;
        let key = device["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        ensure!(device["status"] == "enabled" && key == house.ready.device(DEVICE)?.key, "{device}");
        Ok(())
    })
}
