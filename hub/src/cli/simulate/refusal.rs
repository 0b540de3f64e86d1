//! Devices that refuse their commands. MQTT 3.1.1 knows no refusal, so they do what a real device would have to: fetch commands over HTTPS,
//! and reject each with its lock token.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::header::ETAG;
use reqwest::{Method, RequestBuilder, StatusCode};
use tokio::time::sleep;

use super::device::Identity;
use super::device_token;
use super::world::World;

/// How often they look when there was nothing. Azure's advice is 25 minutes; somebody who plays with a fleet wants to see something.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Refuses whatever comes, until the simulation is over.
pub(super) async fn look(identity: &Identity, world: &World) {
    loop {
        match refuse_one(identity, world).await {
            Ok(true) => {
                world.tally.commands_received.more();
                world.tally.commands_refused.more();
                continue;
            }
            Ok(false) => {}
            Err(error) => world.tally.failed(format!("{}: {error:#}", identity.id)),
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = world.stop.cancelled() => return,
        }
    }
}

/// Whether there was one.
async fn refuse_one(identity: &Identity, world: &World) -> Result<bool> {
    let answer = request(identity, world, Method::GET, "", "").send().await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NO_CONTENT => return Ok(false),
        status => bail!("the hub answered {status} when it asked for commands over HTTPS"),
    }
    let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).context("the hub gave a command without a lock token")?;
    let token = etag.trim_matches('"').to_owned();
    // Only a body that has been read leaves its connection to the next request.
    answer.bytes().await?;
    let answer = request(identity, world, Method::DELETE, &format!("/{token}"), "&reject").send().await?;
    if !answer.status().is_success() {
        bail!("the hub answered {} when it rejected a command", answer.status());
    }
    Ok(true)
}

fn request(identity: &Identity, world: &World, method: Method, rest: &str, flag: &str) -> RequestBuilder {
    let hub = &world.hub;
    let id = percent_encoding::utf8_percent_encode(identity.id.as_str(), percent_encoding::NON_ALPHANUMERIC);
    let https = hub.https.as_deref().unwrap_or_default();
    let url = format!("{https}/devices/{id}/messages/deviceBound{rest}?api-version=2021-04-12{flag}");
    hub.http.request(method, url).header("authorization", device_token(identity, hub))
}
