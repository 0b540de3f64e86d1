//! What turns Rust into WebAssembly on this machine: the toolchain's own compiler where it has the target (`rustup target add
//! wasm32-unknown-unknown`), and else Debian's, with a standard library that is made once from its source.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::run;

/// WebAssembly in a browser.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Unpacks Debian's compiler into the cache, and prints where.
const SCRIPT: &str = "xtask/wasm-compiler.sh";

/// Leptos makes a type, and code, of its own of every piece of a view, unless it is told to forget what they are made of.
const SMALL: &str = "--cfg=erase_components";

/// Between the flags that cargo is told, so that a path may have spaces.
const FLAGS_APART: &str = "\u{1f}";

/// A compiler with the target.
pub enum Compiler {
    /// The one that compiled this program.
    Toolchain,
    /// A distribution's: its linker is named, and a system root has the target's standard library.
    Distribution { rustc: PathBuf, linker: PathBuf, sysroot: PathBuf },
}

impl Compiler {
    /// The toolchain's, if it can; else the distribution's, which is fetched and made ready the first time.
    pub fn find(repository: &Path, cache: &Path) -> Result<Self> {
        let own = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        if Path::new(&ask(&own, &["--print=target-libdir", "--target", TARGET])?).exists() {
            return Ok(Self::Toolchain);
        }
        let folder = PathBuf::from(ask(repository.join(SCRIPT), &[])?);
        let (rustc, linker) = (folder.join("bin/rustc"), folder.join("bin/wasm-ld"));
        let version = ask(&rustc, &["--version", "--verbose"])?;
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).context("rustc does not say its commit")?;
        let sysroot = cache.join(format!("wasm-sysroot-{commit}-remapped"));
        if !sysroot.exists() {
            make_sysroot(&rustc, commit, &folder.join("usr/lib/rustlib/src/rust"), &sysroot)?;
        }
        Ok(Self::Distribution { rustc, linker, sysroot })
    }

    /// cargo, with this compiler.
    pub fn cargo(&self) -> Command {
        let mut cargo = cargo();
        let mut flags = vec![SMALL.to_owned()];
        flags.extend(crates_remapped());
        if let Self::Distribution { rustc, linker, sysroot } = self {
            flags.push(format!("--sysroot={}", sysroot.display()));
            cargo.env("RUSTC", rustc).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAGS_APART));
        cargo
    }
}

/// Compiles the standard library for the target from the compiler's own source, which is what `rustup target add` would fetch.
fn make_sysroot(rustc: &Path, commit: &str, source: &Path, sysroot: &Path) -> Result<()> {
    writeln!(std::io::stderr(), "making the standard library for {TARGET}, once, in {}", sysroot.display())?;
    let mut flags = vec!["-Cembed-bitcode=yes".to_owned(), remapped(source, &format!("/rustc/{commit}"))];
    flags.extend(crates_remapped());
    let work = sysroot.with_extension(format!("{}.work", std::process::id()));
    fs::create_dir_all(work.join("src"))?;
    fs::write(work.join("Cargo.toml"), "[package]\nname = \"sysroot\"\nedition = \"2024\"\n[workspace]\n")?;
    fs::write(work.join("src/lib.rs"), "#![no_std]\n")?;
    run(cargo()
        .current_dir(&work)
        .env("RUSTC", rustc)
        // For -Zbuild-std on a released compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Link-time optimisation of the page needs the library's bitcode, as the released libraries carry it.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAGS_APART))
        .args(["build", "--quiet", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET, "--target-dir=target"]))?;
    let made = work.join("made/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&made)?;
    for entry in fs::read_dir(work.join("target").join(TARGET).join("release/deps"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libsysroot-") {
            fs::copy(&path, made.join(&*name))?;
        }
    }
    // Whole or not at all; somebody else may have been faster.
    if fs::rename(work.join("made"), sysroot).is_err() && !sysroot.exists() {
        bail!("{} can't be written", sysroot.display());
    }
    fs::remove_dir_all(work)?;
    Ok(())
}

/// What a panic says of where it was: the same on every machine, whoever has built it and where.
fn remapped(folder: &Path, name: &str) -> String {
    format!("--remap-path-prefix={}={name}", folder.display())
}

/// The same for crates, which are where cargo keeps what it has fetched.
fn crates_remapped() -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    Some(remapped(&home.join("registry/src"), ""))
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // cargo points it at its own toolchain's libraries, which are not another compiler's.
    cargo.env_remove("LD_LIBRARY_PATH");
    cargo
}

fn ask(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .with_context(|| format!("{} does not run", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
