//! `cargo xtask dashboard`: the dashboard as the hub serves it, from the sources of the crate `dashboard`.
//!
//! Compiles the page to WebAssembly, names every file by its hash, compresses it once for all, and refuses a page that has grown too large.
//! Writes below the target folder alone: `<target>/dashboard/index.html.br` and `<target>/dashboard/assets/*.br`. The hub takes them in when it
//! is built with `MOORING_DASHBOARD` set to that folder.

mod compiler;
mod layout;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use walrus::Module;
use wasm_bindgen_cli_support::Bindgen;

use compiler::{Compiler, TARGET};
use layout::Page;

/// What a browser loads before the page is there: on a slow line of 2 Mbit/s that is 1.6 s.
const SIZE_MAX_BYTES: usize = 400 * 1024;

/// The profile of the workspace's manifest that makes the page small.
const PROFILE: &str = "page";

/// Makes the page, and says where it is and how large.
pub fn make(repository: &Path) -> Result<()> {
    let cache = Cache::of_this_machine()?;
    let wasm = compile(repository, &cache)?;
    let bound = cache.target.join("wasm/bound");
    if !is_newer(&bound, &wasm)? {
        bind(&wasm, &bound)?;
    }
    let page = Page::gather(&repository.join("dashboard"), &bound)?;
    let folder = cache.target.join("dashboard");
    if !is_newer(&folder, &bound)? && folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let sizes = page.write(&folder)?;
    report(&folder, &sizes)
}

/// Whether what was made needs not be made anew: it is there, and newer than what it is made of and than this program.
fn is_newer(made: &Path, of: &Path) -> Result<bool> {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let Ok(made) = changed(made) else { return Ok(false) };
    Ok(made > changed(of)? && made > changed(&std::env::current_exe()?)?)
}

/// Where things are kept between runs, outside of the checkout.
struct Cache {
    /// What is fetched and made once for a machine: compilers.
    shared: PathBuf,
    /// cargo's target folder.
    target: PathBuf,
}

impl Cache {
    fn of_this_machine() -> Result<Self> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let shared = folder("MOORING_CACHE")
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("mooring")))
            .or_else(|| Some(folder("HOME")?.join(".cache/mooring")))
            .context("no place for what is kept between runs: set MOORING_CACHE")?;
        let target = folder("CARGO_TARGET_DIR").unwrap_or_else(|| shared.join("target"));
        Ok(Self { target: std::path::absolute(target)?, shared: std::path::absolute(shared)? })
    }
}

fn compile(repository: &Path, cache: &Cache) -> Result<PathBuf> {
    let target = cache.target.join("wasm");
    let mut cargo = Compiler::find(repository, &cache.shared)?.cargo();
    cargo
        .current_dir(repository)
        // Of no use to link-time optimisation, and a second copy of everything.
        .env("CARGO_INCREMENTAL", "0")
        .args(["build", "--quiet", "--locked", "--package=mooring-dashboard", "--features=page", "--bin=dashboard"])
        .args(["--profile", PROFILE, "--target", TARGET, "--target-dir"])
        .arg(&target);
    run(&mut cargo)?;
    Ok(target.join(TARGET).join(PROFILE).join("dashboard.wasm"))
}

/// What the browser needs beside the module: a script that loads it and lends it the browser's functions. A library rather than a tool: cargo
/// lets a lock file have one version of wasm-bindgen's own format alone, so it always fits.
fn bind(wasm: &Path, folder: &Path) -> Result<()> {
    let part = folder.with_extension("part");
    for old in [folder, &part] {
        if old.exists() {
            std::fs::remove_dir_all(old)?;
        }
    }
    std::fs::create_dir_all(&part)?;
    let mut bound = Bindgen::new()
        .web(true)?
        .input_path(wasm)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen can't read the module")?;
    drop_streams(bound.wasm_mut());
    bound.emit(&part)?;
    ensure!(!part.join("snippets").exists(), "a crate of the page brings scripts of its own (snippets), which are not served");
    // It has its name once it is whole.
    Ok(std::fs::rename(&part, folder)?)
}

/// Leptos brings a crate that offers the browser streams (wasm-streams), whatever is used of it: what a module offers is never left out. The page
/// makes none, so nobody asks for what is dropped here: nearly 1 KiB of what is loaded.
fn drop_streams(module: &mut Module) {
    let of_streams = |name: &str| name.trim_start_matches("__wbg_").starts_with("intounderlying");
    let offered: Vec<_> = module.exports.iter().filter(|export| of_streams(&export.name)).map(walrus::Export::id).collect();
    for export in offered {
        module.exports.delete(export);
    }
    walrus::passes::gc::run(module);
}

fn report(folder: &Path, sizes: &[layout::Size]) -> Result<()> {
    let mut lines = String::new();
    for layout::Size { name, raw, packed } in sizes {
        lines += &format!("{:>9} {:>9}  {name}\n", kibibytes(*raw), kibibytes(*packed));
    }
    let total: usize = sizes.iter().map(|size| size.packed).sum();
    lines += &format!("{:>9} {:>9}  of at most {}\n", "", kibibytes(total), kibibytes(SIZE_MAX_BYTES));
    let heading = format!("{:>9} {:>9}\n", "raw", "brotli");
    ensure!(total <= SIZE_MAX_BYTES, "the page has become too large:\n{heading}{lines}");
    write!(std::io::stderr(), "{heading}{lines}")?;
    writeln!(std::io::stdout(), "{}", folder.display())?;
    Ok(())
}

fn kibibytes(bytes: usize) -> String {
    let tenths = bytes * 10 / 1024;
    format!("{}.{} KiB", tenths / 10, tenths % 10)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not run"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
