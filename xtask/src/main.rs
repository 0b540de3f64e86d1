//! What the repository makes from its own sources: `cargo xtask WHAT`.

mod alerts;
mod crds;
mod dashboard;
#[cfg(test)]
mod examples;
mod reference;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let what: Vec<String> = std::env::args().skip(1).collect();
    match what.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["alerts"] => alerts::write(&repository),
        ["crds"] => crds::write(&repository),
        ["crds", "--check"] => crds::check(&repository),
        ["dashboard"] => dashboard::make(&repository.canonicalize()?),
        _ => bail!(
            "cargo xtask crds [--check]: writes, or compares, the kinds' definitions and docs/kinds.md\ncargo xtask alerts: writes {}\n\
             cargo xtask dashboard: makes the page that the hub serves, in the target folder",
            alerts::FILE
        ),
    }
}
