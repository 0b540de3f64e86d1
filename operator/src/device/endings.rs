//! Which namespaces are being deleted. Asked of the API server, and not anew for each Device: ten thousand go at once with theirs.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer is good.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// What is known of namespaces. Bounded by those that were asked for while an answer is good.
#[derive(Debug, Default)]
pub struct Endings(Mutex<HashMap<String, (Instant, bool)>>);

impl Endings {
    /// Whether a namespace is being deleted, or gone. One that we may not look at is neither.
    pub async fn is_ending(&self, client: &Client, namespace: &str) -> Result<bool, kube::Error> {
        // Held while it is asked: of many that want to know it, one asks.
        let mut known = self.0.lock().await;
        known.retain(|_, (since, _)| since.elapsed() < KNOWN_FOR);
        if let Some((_, is_ending)) = known.get(namespace) {
            return Ok(*is_ending);
        }
        let is_ending = ask(client, namespace).await?;
        known.insert(namespace.to_owned(), (Instant::now(), is_ending));
        Ok(is_ending)
    }

    /// The same, as it is now.
    pub async fn is_ending_now(&self, client: &Client, namespace: &str) -> Result<bool, kube::Error> {
        self.0.lock().await.remove(namespace);
        self.is_ending(client, namespace).await
    }
}

async fn ask(client: &Client, namespace: &str) -> Result<bool, kube::Error> {
    match Api::<Namespace>::all(client.clone()).get_metadata_opt(namespace).await {
        Ok(namespace) => Ok(namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some())),
        Err(kube::Error::Api(error)) if error.code == 403 => Ok(false),
        Err(error) => Err(error),
    }
}
