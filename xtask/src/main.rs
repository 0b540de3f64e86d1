//! What the repository makes from its own sources: `cargo xtask WHAT`.

mod alerts;
#[cfg(test)]
mod examples;

use std::path::Path;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let what: Vec<String> = std::env::args().skip(1).collect();
    match what.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["alerts"] => alerts::write(&repository),
        _ => bail!("cargo xtask alerts: writes {}", alerts::FILE),
    }
}
