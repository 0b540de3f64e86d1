//! Takes the dashboard in that `cargo xtask dashboard` has made, if `MOORING_DASHBOARD` names the folder. Without it the hub serves a page
//! that says how to make it: a hub can be built where no compiler for WebAssembly is.

#![expect(clippy::print_stdout, reason = "a build script speaks to cargo so")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "MOORING_DASHBOARD";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    // It names all the other files by what they say, so that whatever changes in the page changes this.
    let index = folder.as_ref().map(|folder| folder.join("index.html.br"));
    if let Some(index) = &index {
        println!("cargo::rerun-if-changed={}", index.display());
    }
    let text = index.filter(|index| index.exists()).and_then(|index| embedded(index.parent()?)).unwrap_or_else(|| {
        "/// The dashboard was not made before this hub was built.\npub const BUNDLE: Option<Bundle> = None;\n".to_owned()
    });
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it for build scripts");
    std::fs::write(Path::new(&out).join("dashboard.rs"), text).expect("cargo's folder can be written");
}

fn embedded(folder: &Path) -> Option<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("assets")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut text = format!(
        "/// The dashboard, as it was when this hub was built.\npub const BUNDLE: Option<Bundle> = Some(Bundle {{\n    index: include_bytes!({:?}),\n    assets: &[\n",
        folder.join("index.html.br")
    );
    for file in files {
        let name = file.file_name()?.to_str()?.strip_suffix(".br")?.to_owned();
        let _ = writeln!(text, "        Asset {{ name: {name:?}, packed: include_bytes!({file:?}) }},");
    }
    text.push_str("    ],\n});\n");
    Some(text)
}
