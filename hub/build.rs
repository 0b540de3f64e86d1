//! Takes the dashboard in that `cargo xtask dashboard` has made, if `MOORING_DASHBOARD` names the folder. Without it the hub serves a page
//! that says how to make it: a hub can be built where no compiler for WebAssembly is. Whoever names a folder gets what is in it, or no hub.

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
    let text = match &folder {
        Some(folder) => embedded(folder).unwrap_or_else(|why| {
            panic!(
                "{VARIABLE} is {}, but {why}: `cargo xtask dashboard` makes the folder; without the variable there is a hub without it",
                folder.display()
            )
        }),
        None => "/// The dashboard was not made before this hub was built.\npub const BUNDLE: Option<Bundle> = None;\n".to_owned(),
    };
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it for build scripts");
    std::fs::write(Path::new(&out).join("dashboard.rs"), text).expect("cargo's folder can be written");
}

/// An error says what is not as it has to be.
fn embedded(folder: &Path) -> Result<String, String> {
    let assets = folder.join("assets");
    let unread = |error: std::io::Error| format!("{} can't be read ({error})", assets.display());
    let entries = std::fs::read_dir(&assets).map_err(unread)?.collect::<Result<Vec<_>, _>>().map_err(unread)?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    files.sort();
    if !folder.join("index.html.br").exists() || files.is_empty() {
        return Err("it holds no dashboard".to_owned());
    }
    let mut text = format!(
        "/// The dashboard, as it was when this hub was built.\npub const BUNDLE: Option<Bundle> = Some(Bundle {{\n    index: include_bytes!({:?}),\n    assets: &[\n",
        folder.join("index.html.br")
    );
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".br"));
        let name = name.ok_or_else(|| format!("{} is no file of it", file.display()))?;
        let _ = writeln!(text, "        Asset {{ name: {name:?}, packed: include_bytes!({file:?}) }},");
    }
    text.push_str("    ],\n});\n");
    Ok(text)
}
