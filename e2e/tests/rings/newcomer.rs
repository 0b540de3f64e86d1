//! The newcomer: `make run`, and every command that the README and the pages under docs/ print.
//!
//! A fenced block of kind `sh` is a promise: it is run as printed, in one shell per page, from an empty home, with `mooring-hub` on the
//! PATH beside the pinned Python SDKs. Blocks of other kinds are not run. What stays in the foreground (`mooring-hub dev` without a
//! command, `serve`, a live tail) goes to the background once it is ready, as it would to another terminal. `make` targets are only looked
//! up: each has a ring of its own, or is what runs this one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::hub::binary;
use e2e::namespace::isolated;
use e2e::patience::within;
use e2e::program::{Actor, Program, here};
use tokio::net::TcpListener;

/// Run before a page's first block: waits for what a foreground command does when it is ready.
const PROLOGUE: &str = r#"
set -euo pipefail
trap 'jobs -p | xargs --no-run-if-empty kill 2>/dev/null; wait' EXIT
until_there() { until [ -s "$1" ]; do kill -0 "$!" || { echo "it ended" >&2; exit 1; }; sleep 0.1; done; }
"#;

#[test]
fn make_run_shows_commands_and_their_receipts_and_ends_cleanly() -> Result<()> {
    isolated(async || {
        let home = tempfile::tempdir()?;
        let make = from_a_clean_shell(Program::named("make").args(["--no-print-directory", "-C"]).arg(checkout()).arg("run"));
        let mut make = make.env("XDG_DATA_HOME", home.path()).env("CARGO_NET_OFFLINE", "true").in_its_own_group().start()?;
        // It builds first, beside all other stories: for that there is the story's own time.
        until_line(&mut make, "50 simulated devices connect").await?;
        within("a receipt", until_line(&mut make, "receipt Success")).await??;
        make.interrupt()?;
        make.end().await?;
        for port in [8883, 443, 8443, 9464] {
            TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("something still listens on port {port}"))?;
        }
        Ok(())
    })
}

/// Without what cargo and make tell the programs they run: a cargo inside takes it for a reason to build everything anew.
fn from_a_clean_shell(program: Program) -> Program {
    let theirs = |name: &str| {
        let kept =
            ["CARGO_HOME", "CARGO_INCREMENTAL", "CARGO_TARGET_DIR", "CARGO_TERM_COLOR"].contains(&name) || name.ends_with("_RUSTFLAGS");
        (name.starts_with("CARGO") && !kept) || ["LD_LIBRARY_PATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OUT_DIR"].contains(&name)
    };
    std::env::vars().map(|(name, _)| name).filter(|name| theirs(name)).fold(program, |program, name| program.without_env(&name))
}

async fn until_line(actor: &mut Actor, word: &str) -> Result<()> {
    while let Some(line) = actor.line().await? {
        if line.contains(word) {
            return Ok(());
        }
    }
    anyhow::bail!("it ended without a line about {word}: {}", actor.standard_error())
}

#[test]
fn printed_commands_work() -> Result<()> {
    let pages = pages()?;
    ensure!(pages.iter().any(|page| page.ends_with("README.md")), "no README.md among {pages:?}");
    for page in pages {
        isolated(async move || work_as_printed(&page).await.with_context(|| page.display().to_string()))?;
    }
    Ok(())
}

async fn work_as_printed(page: &Path) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let home = tempfile::tempdir()?;
    let script: String = blocks(&text).map(|block| prepared(&block)).collect();
    let commands = home.path().join("bin");
    std::fs::create_dir(&commands)?;
    std::os::unix::fs::symlink(std::fs::canonicalize(binary()?)?, commands.join("mooring-hub"))?;
    let python = PathBuf::from(std::env::var_os("MOORING_PYTHON").context("MOORING_PYTHON is not set")?);
    let python = python.parent().context("an interpreter lies in a folder")?;
    let path = format!("{}:{}:{}", commands.display(), python.display(), std::env::var("PATH")?);
    let bash = Program::named("bash").args(["-c", &format!("{PROLOGUE}cd \"$HOME\"\n{script}")]);
    let bash = bash.env("PATH", path).env("HOME", home.path()).env("XDG_DATA_HOME", home.path().join(".local/share"));
    bash.env("CHECKOUT", checkout()).in_its_own_group().output().await.with_context(|| format!("the page's commands:\n{script}"))?;
    Ok(())
}

/// The page's `sh` blocks.
fn blocks(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| line.trim_end() == "```sh")?;
        Some(lines.by_ref().take_while(|line| line.trim_end() != "```").map(|line| format!("{line}\n")).collect())
    })
}

/// A block as a script can run it: as printed, but that what never ends is waited for no longer than until it is ready.
fn prepared(block: &str) -> String {
    let commands = block.replace("\\\n", " ");
    let lines = commands.lines().map(|line| {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            ["make", targets @ ..] => format!("make -C \"$CHECKOUT\" --dry-run {} >/dev/null\n", targets.join(" ")),
            ["mooring-hub", "dev" | "serve", rest @ ..] if !rest.contains(&"--") && !rest.contains(&"--check") => {
                format!("{{ exec {line}\n}} >hub.out &\nuntil_there hub.out\n")
            }
            ["mooring-hub", "events", rest @ ..] if !rest.contains(&"--no-follow") => {
                format!("{{ exec {line}\n}} >tail.out &\nuntil_there tail.out\n")
            }
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![checkout().join("README.md")];
    let mut folders = vec![checkout().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn checkout() -> PathBuf {
    here("..")
}
