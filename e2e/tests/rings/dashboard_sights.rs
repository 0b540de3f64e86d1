//! The dashboard as a sight: a hundred thousand devices of it, what ill-meaning ones say to it, by the rules for those who see, hear or move less,
//! and as pictures.

use anyhow::{Context, Result, ensure};
use e2e::changes::Changes;
use e2e::commands::BackEnd;
use e2e::connection_string::{ConnectionString, percent_encode};
use e2e::dashboard::{now_ms, pictures, say, visitor};
use e2e::hub::Hub;
use e2e::mqtt::{Connect, Connection, events_topic};
use e2e::namespace::{HUB, isolated};
use e2e::program::Actor;
use e2e::rest::{Rest, json_body};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harbour::{Harbour, fleet};

#[test]
fn a_hundred_thousand_devices_are_listed_scrolled_and_searched() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let owner = Rest::owner(&hub)?;
        let kinds = ["gate", "meter", "pump", "valve"];
        let begun = now_ms();
        for (hundred, kind) in kinds.iter().cycle().take(1_000).enumerate() {
            let row = |number: usize| json!({ "id": format!("{kind}-{:06}", hundred * 100 + number), "importMode": "create" });
            let rows: Value = (0..100).map(row).collect();
            owner.call(Method::POST, "/devices", &[], json_body(&rows)).await?.expect(200)?;
        }
        say(&format!("100,000 devices registered in {} ms", now_ms() - begun));
        let person =
            visitor("many.js", &hub)?.env("TOTAL", "100 000").env("LAST", "valve-099999").env("PREFIX", "pump-0902").env("MATCHES", "100");
        told(person.start()?).await.map(drop)
    })
}

/// Says all that the script reports, up to its end, and answers it.
async fn told(mut person: Actor) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        let document = person.next().await?;
        if document["event"] == "end" {
            ensure!(person.end().await?.success(), "{}", person.standard_error());
            return Ok(all);
        }
        say(&document.to_string());
        all.push(document);
    }
}

/// What would become an element, a handler or a script, if it were taken for more than text.
const MARKUP: &str = "<img src=x onerror=\"window.ran=1\"><script>window.ran=2</script><svg onload=alert(3)>";

/// As odd as the id of a message may be.
const NAME: &str = "javascript:alert(4);'$%#?!";

/// What a device may say to those who look on.
fn bodies() -> Vec<Vec<u8>> {
    vec![
        MARKUP.into(),
        json!({ MARKUP: MARKUP, "list": [MARKUP] }).to_string().into(),
        br#"{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}"#.into(),
        (0..=255).collect(),
        // Not UTF-8: a stray continuation, bytes that never occur, half of a surrogate pair.
        vec![0xc3, 0x28, 0xff, 0xfe, 0xed, 0xa0, 0x80],
        "invoice\u{202e}gpj.exe \u{2066}x\u{2069} \u{200b}".into(),
        [vec![b'['; 5_000], vec![b']'; 5_000]].concat(),
        vec![b'x'; 255 * 1024],
        json!({ "long": "y".repeat(200_000) }).to_string().into(),
        Vec::new(),
        b"\0\x1b[31mred\x07".into(),
    ]
}

#[test]
fn what_ill_meaning_devices_say_is_shown_and_never_run() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        // As odd as an id may be.
        let id = "o'dd%41!(1)=@$*,:b";
        let path = format!("/devices/{}", percent_encode(id));
        let made = Rest::owner(&hub)?.call(Method::PUT, &path, &[], json_body(&json!({ "deviceId": id }))).await?.expect(200)?.json()?;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str().context("no key")?;
        let credential = ConnectionString::parse(&format!("HostName={HUB};DeviceId={id};SharedAccessKey={key}"))?;
        let mut connection = Connection::admitted_as(&hub, &Connect::device(&credential)).await?;
        let bodies = bodies();
        for (number, body) in (1..).zip(&bodies) {
            connection.publish(&events_topic(id), number, body).await?;
        }
        let properties =
            format!("{}={}&%24.mid={}", percent_encode("p\u{202e}q"), percent_encode(&format!("{MARKUP}\u{202e}")), percent_encode(NAME));
        connection.publish(&format!("{}{properties}", events_topic(id)), 99, b"with properties").await?;

        let back_end = BackEnd::new(&hub)?;
        let large = "z".repeat(63 * 1024);
        let contents: [&[u8]; 4] = [MARKUP.as_bytes(), &[0xff, 0, 1], "x\u{202e}y".as_bytes(), large.as_bytes()];
        let headers = [("iothub-messageid", NAME), ("iothub-app-level", "<i>x</i>")];
        let mut commands = Vec::new();
        for content in contents {
            commands.push(back_end.send(&percent_encode(id), &headers, content).await?);
        }
        for claimed in [MARKUP, "x\u{202e}y"] {
            let connect =
                Connect { client_id: claimed.to_owned(), user_name: Some(format!("{HUB}/{claimed}/")), ..Connect::device(&credential) };
            let mut stranger = Connection::open(&hub).await?;
            stranger.send(&connect.encode()).await?;
            stranger.bytes_until_closed().await?;
        }
        let person = visitor("hostile.js", &hub)?
            .env("DEVICE", id)
            .env("MESSAGES", (bodies.len() + 1).to_string())
            .env("COMMANDS", commands.join(","));
        let told = told(person.start()?).await?;
        let deceptive: Vec<&Value> = told.iter().filter(|document| document["event"] == "deceptive").collect();
        ensure!(deceptive.is_empty(), "what turns writing round, or can't be seen, is on the screen as it came: {deceptive:?}");
        Ok(())
    })
}

/// How often somebody looks how much the browser holds, and how many connections begin before each time: about a minute in all.
const MARKS: usize = 5;
const CONNECTIONS: usize = 300;

#[test]
fn a_page_that_is_left_open_while_all_flap_stays_as_large_as_it_is() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let _fleet = fleet(&hub, &["--devices", "50", "--interval", "1s", "--flap", "100%:500ms", "--commands", "4/s"])?;
        let mut watcher = Changes::open(&hub, "kinds=presence&snapshot=false").await?;
        let mut person = visitor("day.js", &hub)?.env("DEVICE", "sim-0001").env("MARKS", MARKS.to_string()).start()?;
        for _ in 0..MARKS {
            loop {
                let held = person.next().await?;
                if held["event"] == "looking" {
                    break;
                }
                say(&held.to_string());
            }
            for _ in 0..CONNECTIONS {
                while watcher.next_of("presence").await?.data["state"] != "connected" {}
            }
            person.tell("so many").await?;
        }
        told(person).await.map(drop)
    })
}

/// Commands that are completed before somebody looks; before pictures are taken, so that there is something to see.
const COMMANDS: usize = 60;
const COMMANDS_OF_PICTURES: usize = 300;

#[test]
fn every_page_is_for_those_who_see_hear_or_move_less_too() -> Result<()> {
    isolated(async || {
        let harbour = Harbour::at_work(COMMANDS).await?;
        let told = told(harbour.looked_at_by("axe.js")?.start()?).await?;
        let findings: Vec<String> = told.iter().filter(|document| document["event"] == "finding").map(Value::to_string).collect();
        ensure!(findings.is_empty(), "{}", findings.join("\n"));
        let looked = told.iter().filter(|document| document["event"] == "looked" && document["passed"].as_u64() > Some(0)).count();
        ensure!(looked == 4 * 16 + 2 + 2 * 6, "{looked} looks");
        Ok(())
    })
}

/// For people to look at: a picture of each page in each light.
#[test]
fn every_page_has_its_picture_taken() -> Result<()> {
    isolated(async || {
        let harbour = Harbour::at_work(COMMANDS_OF_PICTURES).await?;
        let folder = pictures()?;
        let taken = told(harbour.looked_at_by("screenshots.js")?.env("OUT", &folder).start()?).await?;
        for document in &taken {
            let name = format!("{}-{}.png", document["page"].as_str().unwrap_or_default(), document["screen"].as_str().unwrap_or_default());
            let size = std::fs::metadata(folder.join(&name)).with_context(|| name.clone())?.len();
            ensure!(size > 4_096, "{name} has {size} bytes: nothing is on it");
        }
        ensure!(taken.len() == 5 * 16 + 2 + 2 * 6 + 1, "{} pictures", taken.len());
        say(&format!("the pictures are in {}", folder.display()));
        Ok(())
    })
}
