//! What happened in a story's namespace, for whoever reads why it failed.

use serde_json::Value;

use super::{Namespace, POD};

/// Lines of each container's log.
const TAIL: &str = "--tail=60";

/// Prints its objects, its Events, and the ends of its Pods' logs.
#[expect(clippy::print_stderr, reason = "a test's voice")]
pub async fn show(namespace: &Namespace) {
    eprintln!("--- namespace {} ---", namespace.name);
    let questions: [&[&str]; 3] = [
        &["get", "all,persistentvolumeclaims,configmaps,secrets", "--output", "wide"],
        &["get", "iothubs.mooring.dev,devices.mooring.dev", "--output", "wide"],
        &["get", "events", "--sort-by", ".lastTimestamp"],
    ];
    for question in questions {
        eprintln!("{}", answer(namespace, question).await);
    }
    for pod in namespace.list(POD, "").await.unwrap_or_default() {
        let Some(name) = pod["metadata"]["name"].as_str() else { continue };
        eprintln!("--- {name}: {} ---", pod["status"]["containerStatuses"]);
        let restarted = pod["status"]["containerStatuses"].as_array().is_some_and(|containers| containers.iter().any(has_restarted));
        if restarted {
            eprintln!("{}", answer(namespace, &["logs", name, "--all-containers", "--previous", TAIL]).await);
        }
        eprintln!("{}", answer(namespace, &["logs", name, "--all-containers", TAIL]).await);
    }
    eprintln!("--- end ---");
}

fn has_restarted(container: &Value) -> bool {
    container["restartCount"].as_u64().is_some_and(|count| count > 0)
}

async fn answer(namespace: &Namespace, question: &[&str]) -> String {
    match namespace.kubectl(question).outcome().await {
        Ok(outcome) => String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.stderr,
        Err(err) => format!("kubectl {question:?}: {err:#}"),
    }
}
