//! People sign in at an OpenID Connect issuer that others wrote, at its own pages: with curl for a browser, whose jar keeps the cookies, and with one
//! that people have.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::dashboard::{leaves, say, visitor};
use e2e::hub::{Hub, Options};
use e2e::namespace::{isolated, point};
use e2e::program::{Actor, Program};
use e2e::rest::Rest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::audited;
use crate::serve::{fleet, serve, until_ready, write_configuration};
use crate::x509::{Made, Office};

/// Where the issuer is, on a site of its own.
const ISSUER_HOST: &str = "login.issuer.test";
const ISSUER: &str = "https://login.issuer.test:9443";
const START: &str = "/api/v1/session/openid";
const BACK: &str = "/api/v1/session/openid/back";
/// A page of the issuer that wants to be filled in.
const INTERACTION: &str = ":9443/interaction/";
/// Where the hub sends whoever is not signed in.
const PROBLEM: &str = "/sign-in#problem=";
const SECRET: &str = "what-only-the-two-know";
/// How long its ID tokens last.
const TOKEN_S: i64 = 600;

/// What the issuer shows that it is, and what those know it by who ask it.
struct Seat {
    _office: Office,
    authority: Made,
    own: Made,
}

impl Seat {
    async fn taken() -> Result<Self> {
        point(ISSUER_HOST, "127.0.0.1")?;
        let office = Office::new()?;
        let authority = office.self_signed("authority", "an issuer's authority").await?;
        let own = office.issued("issuer", ISSUER_HOST, &authority, &format!("subjectAltName=DNS:{ISSUER_HOST}")).await?;
        Ok(Self { _office: office, authority, own })
    }
}

/// A browser, more or less.
struct Browser<'h> {
    hub: &'h Hub,
    folder: TempDir,
}

impl<'h> Browser<'h> {
    fn of(hub: &'h Hub, seat: &Seat) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authorities = [std::fs::read(hub.ca_file())?, std::fs::read(&seat.authority.certificate)?].concat();
        std::fs::write(folder.path().join("authorities"), authorities)?;
        Ok(Self { hub, folder })
    }

    fn curl(&self) -> Program {
        let jar = self.folder.path().join("jar");
        let curl = Program::named("curl").args(["-sS", "--cookie"]).arg(&jar).arg("--cookie-jar").arg(&jar);
        curl.arg("--cacert").arg(self.folder.path().join("authorities"))
    }

    fn here(&self, path: &str) -> String {
        format!("{}{path}", self.hub.ready.endpoints.api)
    }

    /// Goes there, with a form or without, and on to wherever it is sent: up to a page of the issuer, or to where the hub sends people in the
    /// end, or to an address that has `end` in it; it does not go to these.
    async fn go(&self, url: &str, form: Option<&str>, end: &str) -> Result<String> {
        let (mut url, mut form) = (url.to_owned(), form);
        for _ in 0..10 {
            let page = self.folder.path().join("page");
            let curl = form.take().into_iter().fold(self.curl(), |curl, form| curl.args(["--data", form]));
            let curl = curl.arg("--output").arg(&page).args(["--write-out", "%{http_code} %{redirect_url}", &url]);
            let printed = String::from_utf8(curl.output().await?)?;
            match printed.split_once(' ') {
                Some(("200", _)) => return Ok(url),
                Some(("302" | "303", next)) => next.clone_into(&mut url),
                _ => bail!("{url} is answered {printed}: {}", std::fs::read_to_string(page).unwrap_or_default()),
            }
            if url == self.here("/") || url.starts_with(&self.here(PROBLEM)) || url.contains(end) {
                return Ok(url);
            }
        }
        bail!("sent on and on, last to {url}")
    }

    /// Begins at the hub, and says at the issuer that it is this person; up to an address with `end` in it.
    async fn sign_in(&self, name: &str, end: &str) -> Result<String> {
        let login = self.go(&self.here(START), None, INTERACTION).await?;
        let consent = self.go(&login, Some(&format!("prompt=login&login={name}&password=any")), INTERACTION).await?;
        ensure!(login.contains(INTERACTION) && consent.contains(INTERACTION), "{login}, {consent}");
        self.go(&consent, Some("prompt=consent"), end).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let printed = self.curl().args(["--header", "Sec-Fetch-Site: same-origin", &self.here(path)]).output().await?;
        serde_json::from_slice(&printed).with_context(|| String::from_utf8_lossy(&printed).into_owned())
    }

    async fn is_signed_in(&self) -> Result<bool> {
        Ok(self.get("/api/v1/session").await?["signedIn"] == true)
    }
}

/// A hub that takes the issuer's word, which is not there yet.
async fn believing(hub: &Hub, folder: &Path, seat: &Seat) -> Result<Actor> {
    let (configuration, secret) = (write_configuration(hub, folder, "")?, folder.join("openid.secret"));
    std::fs::write(&secret, SECRET)?;
    let openid = format!(
        "[openid]\nissuer = \"{ISSUER}\"\nclient_id = \"mooring\"\nclient_secret_file = \"{}\"\nscopes = [\"email\", \"groups\"]\n\
         authority_file = \"{}\"\ngroups = {{ operators = [\"Read\", \"Devices\"], viewers = [\"Read\"] }}\n",
        secret.display(),
        seat.authority.certificate.display(),
    );
    std::fs::write(&configuration, std::fs::read_to_string(&configuration)? + &openid)?;
    let mut server = serve(&configuration)?.start()?;
    until_ready(hub, &mut server).await?;
    Ok(server)
}

async fn issuer(hub: &Hub, seat: &Seat) -> Result<Actor> {
    let members = json!({ "ada": ["operators", "painters"], "bob": ["painters"] });
    let program = Program::node("issuer.js", hub)?.env("ISSUER", ISSUER).env("MEMBERS", members.to_string());
    let program = program.env("CLIENT", format!("mooring {SECRET} {}{BACK}", hub.ready.endpoints.api));
    let mut issuer = program.env("TLS_CERTIFICATE", &seat.own.certificate).env("TLS_KEY", &seat.own.key).start()?;
    issuer.until("listening").await?;
    Ok(issuer)
}

#[test]
fn an_issuer_signs_people_in() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let (folder, seat) = (tempfile::tempdir()?, Seat::taken().await?);
        let server = believing(&hub, folder.path(), &seat).await?;
        let mut issuer = issuer(&hub, &seat).await?;

        let ada = Browser::of(&hub, &seat)?;
        let end = ada.sign_in("ada", PROBLEM).await?;
        ensure!(end == ada.here("/"), "{end}");
        let session = ada.get("/api/v1/session").await?;
        ensure!(session["name"] == "ada@example.com" && session["method"] == "openid", "{session}");
        ensure!(session["rights"] == json!(["Read", "Devices"]), "{session}");
        let time = |field: &str| anyhow::Ok(session[field].as_str().context("no time")?.parse::<jiff::Timestamp>()?.as_second());
        let lasts = time("expiryTime")? - time("beganTime")?;
        ensure!((TOKEN_S - 60..=TOKEN_S).contains(&lasts), "the session lasts {lasts} s");

        // A second time the issuer knows her, and asks nothing.
        let end = ada.go(&ada.here(START), None, INTERACTION).await?;
        ensure!(end == ada.here("/") && ada.is_signed_in().await?, "{end}");
        let entry = ada.get("/api/v1/audit?limit=1").await?["entries"][0].clone();
        ensure!(entry["action"] == "SignIn" && entry["outcome"] == "Done" && entry["door"] == "dashboard", "{entry}");
        ensure!(entry["who"] == json!({ "kind": "person", "name": "ada@example.com", "method": "openid" }), "{entry}");
        // Who is in stays in.
        issuer.kill9().await?;
        ensure!(ada.is_signed_in().await?, "signed out with the issuer");
        ensure!(!server.standard_error().contains(SECRET), "the log has the client's secret");
        Ok(())
    })
}

#[test]
fn the_button_of_the_sign_in_page_leads_to_the_issuer_and_back() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let (folder, seat) = (tempfile::tempdir()?, Seat::taken().await?);
        let _server = believing(&hub, folder.path(), &seat).await?;
        let _issuer = issuer(&hub, &seat).await?;
        let mut ready = hub.ready.clone();
        ready.dashboard = Some(format!("{}/dashboard/", ready.endpoints.api));
        let person = visitor("openid.js", &ready)?.env("ISSUER", ISSUER).env("NAME", "ada").env("OTHER", "bob");
        let mut person = person.start()?;
        say(&person.until("signed in").await?.to_string());
        leaves(person).await?;
        let entries = audited(&Rest::api(&hub, fleet()?)?, "SignIn").await?;
        let told: Vec<_> = entries.iter().rev().map(|entry| (entry["who"]["name"].as_str(), entry["outcome"].as_str())).collect();
        let (ada, bob) = (Some("ada@example.com"), Some("bob@example.com"));
        ensure!(told == [(ada, Some("Done")), (ada, Some("Done")), (bob, Some("Refused"))], "{entries:?}");
        ensure!(entries.iter().all(|entry| entry["who"]["method"] == "openid"), "{entries:?}");
        Ok(())
    })
}

#[test]
fn an_issuer_signs_nobody_else_in() -> Result<()> {
    isolated(async || {
        let mut hub = Options::default().start().await?;
        hub.stop().await?;
        let (folder, seat) = (tempfile::tempdir()?, Seat::taken().await?);
        let mut server = believing(&hub, folder.path(), &seat).await?;
        let refused = |end: &str, problem: &str| {
            let as_it_should = end.strip_prefix(&hub.ready.endpoints.api).and_then(|path| path.strip_prefix(PROBLEM)) == Some(problem);
            if as_it_should { Ok(()) } else { Err(anyhow!("not {problem}: {end}")) }
        };
        let early = Browser::of(&hub, &seat)?;
        refused(&early.go(&early.here(START), None, INTERACTION).await?, "Unavailable").context("before there is an issuer")?;
        // It would not ask again at once.
        server.kill9().await?;
        let mut issuer = issuer(&hub, &seat).await?;
        let _server = believing(&hub, folder.path(), &seat).await?;

        let bob = Browser::of(&hub, &seat)?;
        refused(&bob.sign_in("bob", PROBLEM).await?, "NoRights")?;

        let (ada, thief) = (Browser::of(&hub, &seat)?, Browser::of(&hub, &seat)?);
        let way = ada.sign_in("ada", BACK).await?;
        ensure!(way.contains("code="), "{way}");
        thief.go(&thief.here(START), None, INTERACTION).await?;
        refused(&thief.go(&way, None, PROBLEM).await?, "Refused").context("in a browser that did not begin it")?;
        refused(&ada.go(&way, None, PROBLEM).await?, "Refused").context("after a thief had it")?;

        let nobody = Browser::of(&hub, &seat)?;
        let login = nobody.go(&nobody.here(START), None, INTERACTION).await?;
        refused(&nobody.go(&format!("{login}/abort"), None, PROBLEM).await?, "Refused")?;

        let late = Browser::of(&hub, &seat)?;
        let way = late.sign_in("ada", BACK).await?;
        issuer.kill9().await?;
        refused(&late.go(&way, None, PROBLEM).await?, "Unavailable")?;
        for browser in [bob, ada, thief, nobody, late] {
            ensure!(!browser.is_signed_in().await?, "somebody is signed in");
        }
        let entries = audited(&Rest::api(&hub, fleet()?)?, "SignIn").await?;
        let refused = entries.iter().filter(|entry| entry["outcome"] == "Refused");
        let names: Vec<&str> = refused.clone().filter_map(|entry| entry["who"]["name"].as_str()).collect();
        // The latest first; who was nobody to the issuer is nobody to the audit, and when it does not answer nobody was refused.
        ensure!(names == ["", "", "", "bob@example.com"], "{entries:?}");
        let aborted = refused.filter_map(|entry| entry["reason"].as_str()).next();
        ensure!(aborted.is_some_and(|reason| reason.contains("access_denied")), "what the issuer said is not there: {aborted:?}");
        Ok(())
    })
}
