//! The cluster's API server, asked about tokens and rights, with the hub's own account.
//!
//! Owns the two requests and their bounds. What an answer means is decided in `ops`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{env, fs, io};

use async_trait::async_trait;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use super::trust::{TrustError, trusting};
use crate::core::access::Right;
use crate::core::hub_place::HubPlace;
use crate::ops::sign_in::kubernetes::{Cluster, ClusterDoor, ClusterError, ClusterUser, TokenReviewed};

/// Where a Pod's account is, unless the variable `MOORING_CLUSTER_ACCOUNT` names another folder.
const ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Names another folder: of a hub that runs outside of the cluster, say.
const ACCOUNT_FOLDER_VARIABLE: &str = "MOORING_CLUSTER_ACCOUNT";

/// The file of the token there; Kubernetes renews it.
const TOKEN_FILE: &str = "token";

/// The file of the API server's authority there.
const AUTHORITY_FILE: &str = "ca.crt";

/// How long an answer may take: somebody waits for it to be signed in.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The largest answer: a user in a thousand groups.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// The cluster can't be asked from here.
#[derive(Debug, thiserror::Error)]
pub enum ClusterSetupError {
    /// The process does not run in a Pod.
    #[error("sign_in.kubernetes_hub is set, but {0} is not: the hub does not run in a cluster")]
    NotInACluster(&'static str),
    /// The account.
    #[error("{path} can't be read: does the Pod have its ServiceAccount's token?")]
    Account {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The API server's authority.
    #[error("whom to trust for the cluster's API server is not known")]
    Trust(#[from] TrustError),
    /// The client.
    #[error("the client of the cluster can't be made")]
    Client(#[from] reqwest::Error),
}

/// The API server of the cluster that the hub runs in.
struct ApiServer {
    url: String,
    token: PathBuf,
    authority: PathBuf,
    trusting: Mutex<Trusting>,
}

/// A client, and whom it trusts.
struct Trusting {
    authority: Vec<u8>,
    client: Client,
}

/// The door for those who come with tokens of the cluster that the process runs in, to the hub that it is there.
pub fn door(hub: HubPlace) -> Result<ClusterDoor, ClusterSetupError> {
    let variable = |name: &'static str| env::var(name).map_err(|_| ClusterSetupError::NotInACluster(name));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => SocketAddr::from((address, 0)).to_string().trim_end_matches(":0").to_owned(),
        _ => host,
    };
    let folder = env::var_os(ACCOUNT_FOLDER_VARIABLE).map_or_else(|| Path::new(ACCOUNT_FOLDER).to_path_buf(), PathBuf::from);
    let (authority, token) = (folder.join(AUTHORITY_FILE), folder.join(TOKEN_FILE));
    // Now rather than when somebody signs in.
    fs::read_to_string(&token).map_err(|source| ClusterSetupError::Account { path: token.clone(), source })?;
    let server = ApiServer::new(format!("https://{host}:{port}"), token, authority)?;
    Ok(ClusterDoor::new(hub, Arc::new(server)))
}

fn client_trusting(authority: &Path) -> Result<Client, ClusterSetupError> {
    let tls = trusting(Some(authority))?;
    let client = Client::builder().use_preconfigured_tls(tls).no_proxy().timeout(ANSWER_MAX).https_only(true);
    // Whoever could send us elsewhere would be sent the tokens that people bring.
    Ok(client.redirect(reqwest::redirect::Policy::none()).build()?)
}

#[derive(Deserialize)]
struct TokenReviewDocument {
    #[serde(default)]
    status: TokenReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenReviewStatus {
    authenticated: bool,
    user: UserInfo,
    audiences: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct SubjectAccessReviewDocument {
    #[serde(default)]
    status: SubjectAccessReviewStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubjectAccessReviewStatus {
    allowed: bool,
}

#[async_trait]
impl Cluster for ApiServer {
    async fn review_token(&self, token: &SecretString, audience: &str) -> Result<TokenReviewed, ClusterError> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token.expose_secret(), "audiences": [audience] },
        });
        let TokenReviewDocument { status } = self.create("authentication.k8s.io/v1/tokenreviews", &review).await?;
        let UserInfo { username, uid, groups, extra } = status.user;
        let user = ClusterUser { name: username, uid, groups, extra };
        Ok(TokenReviewed { authenticated: status.authenticated, user, audiences: status.audiences })
    }

    async fn may(&self, user: &ClusterUser, hub: &HubPlace, right: Right) -> Result<bool, ClusterError> {
        let ClusterUser { name, uid, groups, extra } = user;
        let attributes = json!({
            "namespace": hub.namespace,
            "verb": "get",
            "group": "mooring.dev",
            "resource": "iothubs",
            "subresource": right.subresource(),
            "name": hub.name,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            // It has to be the hub's.
            "metadata": { "namespace": hub.namespace },
            "spec": { "user": name, "uid": uid, "groups": groups, "extra": extra, "resourceAttributes": attributes },
        });
        // Not the kind for the whole cluster: then the hub's account needs a right in its own namespace alone.
        let resource = format!("authorization.k8s.io/v1/namespaces/{}/localsubjectaccessreviews", hub.namespace);
        let SubjectAccessReviewDocument { status } = self.create(&resource, &review).await?;
        Ok(status.allowed)
    }
}

impl ApiServer {
    fn new(url: String, token: PathBuf, authority: PathBuf) -> Result<Self, ClusterSetupError> {
        // Read before the client reads it: a change between the two is noticed then.
        let read = fs::read(&authority).map_err(|source| ClusterSetupError::Account { path: authority.clone(), source })?;
        let trusting = Mutex::new(Trusting { client: client_trusting(&authority)?, authority: read });
        Ok(Self { url, token, authority, trusting })
    }

    /// One that trusts whom the file names now; as long as that can't be read, whom it named before.
    async fn client(&self) -> Client {
        let read = tokio::fs::read(&self.authority).await.ok();
        if let Some(read) = read.filter(|read| self.trusting().authority != *read) {
            match client_trusting(&self.authority) {
                Ok(client) => *self.trusting() = Trusting { authority: read, client },
                Err(error) => {
                    warn!(%error, "the cluster's authority in {} has changed and is not taken: {error}", self.authority.display());
                    // Said once for each change.
                    self.trusting().authority = read;
                }
            }
        }
        self.trusting().client.clone()
    }

    fn trusting(&self) -> MutexGuard<'_, Trusting> {
        self.trusting.lock().expect("nothing panics while it holds this lock")
    }

    async fn create<T: for<'de> Deserialize<'de>>(&self, resource: &str, review: &Value) -> Result<T, ClusterError> {
        let account = tokio::fs::read_to_string(&self.token).await;
        let account = account.map_err(|error| ClusterError(format!("{}: {error}", self.token.display())))?;
        // Neither errors of the client nor this URL have the token in them.
        let failed = |error: reqwest::Error| ClusterError(error.without_url().to_string());
        let client = self.client().await;
        let request = client.post(format!("{}/apis/{resource}", self.url)).bearer_auth(account.trim()).json(review);
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status == reqwest::StatusCode::FORBIDDEN {
            return Err(ClusterError(format!("the hub's ServiceAccount may not create {resource}")));
        }
        if !status.is_success() {
            return Err(ClusterError(format!("it has answered {status} to {resource}")));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(ClusterError(format!("its answer to {resource} is too large")));
            }
            bytes.extend_from_slice(&piece);
        }
        serde_json::from_slice(&bytes).map_err(|error| ClusterError(format!("its answer to {resource} can't be read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[tokio::test]
    async fn the_authority_is_followed_and_a_broken_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (token, path) = (folder.path().join("token"), folder.path().join("ca.crt"));
        let (first, second) = (authority("first"), authority("second"));
        fs::write(&path, &first).unwrap();
        let server = ApiServer::new("https://192.0.2.1".into(), token, path.clone()).unwrap();
        let trusted = || server.trusting().authority.clone();
        server.client().await;
        assert_eq!(trusted(), first.as_bytes());
        fs::write(&path, "nothing").unwrap();
        server.client().await;
        assert_eq!(trusted(), b"nothing", "said once, and whom it trusts stays");
        fs::remove_file(&path).unwrap();
        server.client().await;
        fs::write(&path, &second).unwrap();
        server.client().await;
        assert_eq!(trusted(), second.as_bytes());
        assert!(ApiServer::new("https://192.0.2.1".into(), "t".into(), folder.path().join("none")).is_err());
    }
}
