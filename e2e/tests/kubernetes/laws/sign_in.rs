//! People sign in to a hub with the cluster's tokens: with those that were made for this hub, with the rights that the cluster gives, for as long as
//! it gives them; and the hub's account may ask no more than the chart lets it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Namespace, on_api_server};
use e2e::hub::{Hub, Options, binary};
use e2e::namespace::HUB;
use e2e::patience::{ONE_STORY, within};
use e2e::program::{Actor, Program, here};
use e2e::rest;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Whom the story lets in, and the hub's own account.
const ACCOUNTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
  {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"ada"}},
  {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bob"}},
  {"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"hub"}}
]}"#;

/// What ada may do, who is an operator, and bob, who looks on.
const RIGHTS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
  {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"operators"},"rules":[
    {"apiGroups":["mooring.dev"],"resources":["iothubs/read","iothubs/devices"],"resourceNames":["hub"],"verbs":["get"]}]},
  {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"operators"},
   "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"operators"},
   "subjects":[{"kind":"ServiceAccount","name":"ada"}]},
  {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"viewers"},"rules":[
    {"apiGroups":["mooring.dev"],"resources":["iothubs/read"],"verbs":["get"]}]},
  {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"viewers"},
   "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"viewers"},
   "subjects":[{"kind":"ServiceAccount","name":"bob"}]}
]}"#;

/// The hub, run from a file beside the API server, with its account as a Pod has it.
async fn serve(namespace: &Namespace, hub: &Hub, folder: &Path) -> Result<Actor> {
    let tls = hub.data().join("tls");
    let configuration = format!(
        "host_name = \"{HUB}\"\ndata = \"{}\"\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n[sign_in]\nkubernetes_hub = \"{}/hub\"\n",
        folder.join("data").display(),
        tls.join("server.pem").display(),
        tls.join("server.key").display(),
        namespace.name
    );
    std::fs::write(folder.join("hub.toml"), configuration)?;
    std::fs::write(folder.join("token"), token(namespace, "hub", &[]).await?)?;
    let reached = ["config", "view", "--raw", "--flatten", "--minify", "--output", "json"];
    let reached: Value = serde_json::from_slice(&namespace.kubectl(&reached).output().await?)?;
    let cluster = &reached["clusters"][0]["cluster"];
    let authority = cluster["certificate-authority-data"].as_str().context("no authority")?;
    let decode = format!("printf %s '{authority}' | base64 -d");
    std::fs::write(folder.join("ca.crt"), Program::named("sh").args(["-c", &decode]).output().await?)?;
    let address = cluster["server"].as_str().and_then(|url| url.strip_prefix("https://")).context("no address")?;
    let (host, port) = address.rsplit_once(':').context("no port")?;
    Program::named(&binary()?.display().to_string())
        .args(["serve", "--config"])
        .arg(folder.join("hub.toml"))
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("MOORING_CLUSTER_ACCOUNT", folder)
        .start()
}

/// A token of an account, as a person makes one.
async fn token(namespace: &Namespace, account: &str, more: &[&str]) -> Result<String> {
    let made = namespace.kubectl(&["create", "token", account, "--duration=1h"]).args(more).output().await?;
    Ok(String::from_utf8(made)?.trim().to_owned())
}

/// A browser without memory.
struct Page {
    client: reqwest::Client,
}

impl Page {
    async fn sign_in(&self, token: &str) -> Result<(u16, Value, String)> {
        let body = json!({ "method": "kubernetes", "token": token });
        let answer = self.client.post(format!("https://{HUB}:8443/api/v1/session")).json(&body).send().await?;
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookie = cookie.unwrap_or_default().to_owned();
        Ok((answer.status().as_u16(), answer.json().await?, cookie))
    }

    /// Until there is an answer that is not about haste, nor about an authorizer that has not learnt the rules yet.
    async fn signs_in(&self, token: &str) -> Result<(Value, String)> {
        within("somebody to be signed in", async {
            loop {
                match self.sign_in(token).await? {
                    (201, said, cookie) => return anyhow::Ok((said, cookie)),
                    (429, ..) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
                    _ => tokio::task::yield_now().await,
                }
            }
        })
        .await?
    }

    /// Tries to delete a device that is not there.
    async fn act(&self, said: &Value, cookie: &str) -> Result<(u16, Value)> {
        let body = json!({ "action": "delete", "ids": ["none"] });
        let request = self.client.post(format!("https://{HUB}:8443/api/v1/devices/actions")).header("cookie", cookie).json(&body);
        let request =
            request.header("origin", format!("https://{HUB}:8443")).header("mooring-csrf", said["csrf"].as_str().unwrap_or_default());
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    async fn status(&self, path: &str, cookie: &str) -> Result<u16> {
        let request = self.client.request(Method::GET, format!("https://{HUB}:8443{path}")).header("cookie", cookie);
        Ok(request.header("origin", format!("https://{HUB}:8443")).send().await?.status().as_u16())
    }
}

async fn until_ready(page: &Page, server: &mut Actor) -> Result<()> {
    let asking = async {
        loop {
            match page.client.get(format!("https://{HUB}:9464/readyz")).send().await {
                Ok(answer) if answer.status() == 200 => return anyhow::Ok(()),
                _ => server.still_runs()?,
            }
            tokio::task::yield_now().await;
        }
    };
    within("the hub to be ready", asking).await?
}

/// What the chart lets the hubs do that its values name.
async fn bind(namespace: &Namespace) -> Result<()> {
    let chart = here("../charts/mooring").display().to_string();
    let named = [format!("rbac.dashboards[0].namespace={}", namespace.name), "rbac.dashboards[0].name=hub".to_owned()];
    let rendered = namespace.helm(&["template", "mooring", &chart, "--show-only", "templates/rbac.yaml", "--set", &named.join(",")]);
    namespace.apply(&String::from_utf8(rendered.output().await?)?).await
}

/// Whether the hub's account may ask whose a token is, and what somebody may do in its namespace.
async fn may_ask(namespace: &Namespace) -> Result<[bool; 2]> {
    let account = format!("--as=system:serviceaccount:{}:hub", namespace.name);
    let mut answers = [false; 2];
    let reviews = ["tokenreviews.authentication.k8s.io", "localsubjectaccessreviews.authorization.k8s.io"];
    for (answer, review) in answers.iter_mut().zip(reviews) {
        // It fails when the answer is no, having said so.
        let said = namespace.kubectl(&["auth", "can-i", "create", review, &account]).outcome().await?;
        *answer = said.stdout.starts_with(b"yes");
    }
    Ok(answers)
}

#[test]
fn people_sign_in_with_tokens_that_are_for_the_hub() -> Result<()> {
    on_api_server(async |namespace| {
        namespace.apply(ACCOUNTS).await?;
        let mut dev = Options::default().start().await?;
        dev.stop().await?;
        let folder = tempfile::tempdir()?;
        let page = Page { client: rest::client(&dev)? };
        let mut server = serve(namespace, &dev, folder.path()).await?;
        until_ready(&page, &mut server).await?;

        let audience = format!("--audience=mooring:{}/hub", namespace.name);
        let good = token(namespace, "ada", &[&audience]).await?;
        ensure!(may_ask(namespace).await? == [false, false], "the hub's account has rights that nobody gave it");
        ensure!(page.sign_in(&good).await?.0 == 503, "the hub's account may not ask");
        bind(namespace).await?;
        namespace.apply(RIGHTS).await?;

        let (said, cookie) = page.signs_in(&good).await?;
        ensure!(may_ask(namespace).await? == [true, true]);
        ensure!(said["rights"] == json!(["Read", "Devices"]), "{said}");
        ensure!(said["name"] == format!("system:serviceaccount:{}:ada", namespace.name), "{said}");
        ensure!(page.status("/api/v1/hub", &cookie).await? == 200 && page.status("/api/v1/events", &cookie).await? == 403);

        ensure!(page.act(&said, &cookie).await?.0 == 200, "an operator may act");
        let (viewer, viewers) = page.signs_in(&token(namespace, "bob", &[&audience]).await?).await?;
        ensure!(viewer["rights"] == json!(["Read"]), "{viewer}");
        let (status, refused) = page.act(&viewer, &viewers).await?;
        ensure!(status == 403 && refused["Message"].as_str().is_some_and(|said| said.contains("needs the right Devices")), "{refused}");

        let foreign = token(namespace, "ada", &[]).await?;
        let refused = within("an answer that is not about haste", async {
            loop {
                match page.sign_in(&foreign).await? {
                    (429, ..) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
                    other => return anyhow::Ok(other),
                }
            }
        })
        .await??;
        let command = format!("kubectl create token ada --namespace={} {audience}", namespace.name);
        ensure!(refused.0 == 403 && refused.1["Message"].as_str().is_some_and(|text| text.contains(&command)), "{}", refused.1);
        ensure!(!refused.1.to_string().contains(&foreign), "the token comes back");

        namespace.kubectl(&["delete", "rolebinding", "operators"]).output().await?;
        // The hub asks once a minute, which is longer than one event may take elsewhere.
        let ended = timeout(ONE_STORY, async {
            while page.status("/api/v1/hub", &cookie).await? == 200 {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            anyhow::Ok(())
        });
        ended.await.context("the session has outlived ada's rights")?
    })
}
