//! The dependency law of ARCHITECTURE.md, read from the sources: who may name whom inside the hub, and which crates stay where.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder or file under `src`, and the ones whose items it may name beside its own.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("observe", &["core"]),
    ("config", &["core"]),
    ("net", &["core"]),
    ("store", &["core"]),
    ("ops", &["core", "store", "observe"]),
    ("mqtt", &["core", "net", "ops"]),
    ("amqp", &["core", "net", "ops"]),
    ("http", &["core", "ops"]),
    ("serve", &["core", "store", "ops", "mqtt", "amqp", "http", "net", "observe", "config"]),
    ("cli", &["core", "config", "serve"]),
    ("main.rs", &["cli"]),
    ("lib.rs", &[]),
];

/// Crates that only the named places may use.
const STAYS_IN: [(&str, &[&str]); 15] = [
    ("sea_orm", &["store/sql"]),
    ("sea_orm_migration", &["store/sql"]),
    ("axum", &["http", "serve"]),
    ("rustls", &["net", "serve", "cli"]),
    ("clap", &["cli"]),
    ("reqwest", &["cli", "serve/cluster", "serve/openid"]),
    ("openidconnect", &["serve/openid"]),
    ("rumqttc", &["cli/simulate"]),
    ("argon2", &["ops/sign_in"]),
    ("rcgen", &["serve"]),
    ("mooring_crds", &["serve/manifests"]),
    ("serde_norway", &["serve/manifests"]),
    ("notify", &["serve/manifests"]),
    ("serde_amqp", &["amqp"]),
    ("fe2o3_amqp_types", &["amqp"]),
];

/// What the pure core must not know.
const NOT_IN_CORE: [&str; 8] = ["tokio::", "std::fs", "std::net", "std::thread", "SystemTime", "Instant", "rand::", "tracing::"];

/// What a sans-I/O engine must not know: time is a parameter, and the hub is somebody else's.
const NOT_IN_ENGINES: [&str; 7] = ["tokio", "std::fs", "std::net", "std::thread", "SystemTime", "rand::", "crate::ops"];

#[test]
fn every_module_names_only_what_the_law_allows() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        let home = path.split('/').next().unwrap_or_default();
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == home) else {
            broken.push(format!("{path}: {home} has no place in the law; give it one in hub/tests/layering.rs"));
            continue;
        };
        for named in names_after(&code, "crate::") {
            if named != home && !allowed.contains(&named.as_str()) && MAY_NAME.iter().any(|(name, _)| *name == named) {
                broken.push(format!("{path} names {named}"));
            }
        }
    }
    assert!(broken.is_empty(), "the dependency law is broken:\n{}", broken.join("\n"));
}

#[test]
fn quirky_crates_stay_in_their_place() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        for (guest, homes) in STAYS_IN {
            if uses(&code, guest) && !homes.iter().any(|home| path.starts_with(home)) {
                broken.push(format!("{path} uses {guest}, which stays in {}", homes.join(", ")));
            }
        }
        if path.starts_with("amqp/engine/") {
            broken.extend(NOT_IN_ENGINES.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} knows {word}")));
        }
        if path.starts_with("core/") {
            broken.extend(NOT_IN_CORE.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} knows {word}")));
        }
    }
    assert!(broken.is_empty(), "the dependency law is broken:\n{}", broken.join("\n"));
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    const EMPTY: [&str; 8] = ["common", "util", "utils", "helper", "helpers", "manager", "misc", "service"];
    for (path, _) in sources() {
        assert!(!path.split(['/', '.']).any(|part| EMPTY.contains(&part)), "{path}: name it for what it holds");
    }
}

/// Every source file under `src`, without its tests: (path relative to `src`, code).
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    files
        .into_iter()
        .map(|path| {
            let code = fs::read_to_string(&path).expect("a source file is UTF-8");
            let relative = path.strip_prefix(&root).expect("it is below the root").to_string_lossy().into_owned();
            (relative, without_comments(code.split("#[cfg(test)]\nmod ").next().unwrap_or_default()))
        })
        .filter(|(path, _)| !path.ends_with("tests.rs") && !path.contains("/tests/") && !path.starts_with("store/contract"))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The identifiers that follow `prefix`, also in `prefix{a, b}`.
fn names_after(code: &str, prefix: &str) -> Vec<String> {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .flat_map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default().split(',').map(|item| identifier(item.trim())).collect(),
                None => vec![identifier(rest)],
            }
        })
        .collect()
}

fn uses(code: &str, guest: &str) -> bool {
    code.match_indices(&format!("{guest}::")).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}
