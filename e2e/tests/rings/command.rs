//! `mooring-hub dev -- COMMAND`: somebody's test suite, written for Azure, against a hub of its own.

use anyhow::{Result, ensure};
use e2e::hub::{Options, binary};
use e2e::namespace::{HUB, isolated};
use e2e::program::{Outcome, Program, here};
use e2e::{catalogue, events::Events};

const DEVICE: &str = "sensor-1";

/// Runs a command against a fresh hub, with no help but the hub's own.
async fn run(data: &std::path::Path, command: &[&str], extra: &[(&str, &str)]) -> Result<Outcome> {
    let program = Program::named(&binary()?.display().to_string()).args(["dev", "--hostname", HUB, "--device", DEVICE, "--data"]).arg(data);
    let program = program.arg("--").args(command);
    extra.iter().fold(program, |program, (name, value)| program.env(name, value)).outcome().await
}

/// An SDK script needs nothing but what the hub puts into its environment, the trust in its CA included.
#[test]
fn an_sdk_script_runs_as_the_command() -> Result<()> {
    isolated(async || {
        let samples = catalogue::over_http();
        let messages = tempfile::NamedTempFile::new()?;
        std::fs::write(messages.path(), serde_json::to_vec(&samples)?)?;
        let messages = messages.path().display().to_string();
        let python = std::env::var("MOORING_PYTHON")?;
        let node_path = std::env::var("MOORING_NODE_PATH")?;
        let (send_py, send_js) = (here("python/send.py").display().to_string(), here("node/send.js").display().to_string());
        let (registry_py, registry_js) = (here("python/registry.py").display().to_string(), here("node/registry.js").display().to_string());

        let folder = tempfile::tempdir()?;
        for command in [[&python, &send_py], [&python, &registry_py], [&"node".to_owned(), &send_js], [&"node".to_owned(), &registry_js]] {
            let command = command.map(String::as_str);
            let extra = [("MESSAGES", messages.as_str()), ("NODE_PATH", &node_path), ("TRANSPORT", "mqtt")];
            let outcome = run(folder.path(), &command, &extra).await?;
            ensure!(outcome.status.success(), "{command:?}: {}\n{}", outcome.status, outcome.stderr);
        }
        let hub = Options::default().devices(&[DEVICE]).data(folder.path()).start().await?;
        let kept = Events::all(&hub).await?;
        ensure!(kept.len() == 2 * samples.len(), "{} events of two scripts", kept.len());
        Ok(())
    })
}

/// The hub exits as the command did, and passes its output on untouched.
#[test]
fn the_commands_status_is_the_hubs() -> Result<()> {
    isolated(async || {
        let folder = tempfile::tempdir()?;
        let script = r#"printf %s "$IOTHUB_CONNECTION_STRING" | cut -d';' -f1-2; test -s "$SSL_CERT_FILE" && exit 7"#;
        let outcome = run(folder.path(), &["sh", "-c", script], &[]).await?;
        ensure!(outcome.status.code() == Some(7), "{}\n{}", outcome.status, outcome.stderr);
        let printed = String::from_utf8(outcome.stdout)?;
        ensure!(printed == format!("HostName={HUB};SharedAccessKeyName=iothubowner\n"), "{printed}");
        let outcome = run(folder.path(), &["/nonexistent/command"], &[]).await?;
        ensure!(!outcome.status.success() && outcome.stderr.contains("/nonexistent/command"), "{}\n{}", outcome.status, outcome.stderr);
        Ok(())
    })
}
