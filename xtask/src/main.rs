//! What the repository makes from its own sources: `cargo xtask WHAT`.

mod crds;
mod reference;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let what: Vec<String> = std::env::args().skip(1).collect();
    match what.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["crds"] => crds::write(&repository),
        ["crds", "--check"] => crds::check(&repository),
        _ => bail!("cargo xtask crds [--check]: writes, or compares, the kinds' definitions and docs/kinds.md"),
    }
}
