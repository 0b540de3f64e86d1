//! The dependency law of the operator, read from its sources: who may name whom, and what stays where.

use std::fs;
use std::path::{Path, PathBuf};

/// Each folder or file under `src`, and the ones whose items it may name beside its own.
const MAY_NAME: [(&str, &[&str]); 17] = [
    ("clock", &[]),
    ("conditions", &[]),
    ("distinct_queue", &[]),
    ("labels", &[]),
    ("logs", &[]),
    ("observe", &[]),
    ("ownership", &["labels"]),
    ("scope", &[]),
    ("seldom", &[]),
    ("cli", &["logs"]),
    ("events", &["labels"]),
    ("leader", &["clock", "labels"]),
    ("hub", &["clock", "distinct_queue", "labels", "observe"]),
    ("status_writer", &["clock", "device", "hub", "labels", "observe", "seldom"]),
    ("iot_hub", &["clock", "conditions", "events", "hub", "labels", "observe", "ownership", "scope", "seldom"]),
    (
        "device",
        &["clock", "conditions", "distinct_queue", "events", "hub", "labels", "observe", "ownership", "scope", "seldom", "status_writer"],
    ),
    ("run", &["cli", "clock", "device", "events", "hub", "iot_hub", "labels", "leader", "observe", "scope", "status_writer"]),
];

/// The steps that know no cluster, no clock and no randomness.
const PURE: [&str; 9] = [
    "labels.rs",
    "ownership.rs",
    "conditions.rs",
    "iot_hub/validate.rs",
    "iot_hub/status.rs",
    "iot_hub/build/",
    "iot_hub/quantity.rs",
    "device/validate.rs",
    "device/build.rs",
];

/// What they must not know.
const NOT_IN_PURE: [&str; 7] = ["tokio::", "kube::Client", "Api<", "rand::", "Timestamp::now", "Instant", "async fn"];

/// What the composition root alone does.
const ONLY_IN_RUN: [&str; 3] = ["Timestamp::now", "SystemTime", "std::time::Instant"];

#[test]
fn every_module_names_only_what_the_law_allows() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        let home = path.split(['/', '.']).next().unwrap_or_default();
        if home == "lib" || home == "main" {
            continue;
        }
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == home) else {
            broken.push(format!("{path}: {home} has no place in the law; give it one in operator/tests/layering.rs"));
            continue;
        };
        for (name, _) in MAY_NAME.iter().filter(|(name, _)| *name != home && !allowed.contains(name)) {
            if names(&code, name) {
                broken.push(format!("{path} names {name}"));
            }
        }
    }
    assert!(broken.is_empty(), "the dependency law is broken:\n{}", broken.join("\n"));
}

#[test]
fn what_is_pure_stays_so() {
    let mut broken = Vec::new();
    for (path, code) in sources() {
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            broken.extend(NOT_IN_PURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} knows {word}")));
        }
        if path != "run.rs" {
            broken.extend(ONLY_IN_RUN.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} knows {word}")));
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
        .filter(|(path, _)| !path.ends_with("tests.rs") && !path.contains("/tests/"))
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

/// Whether the code says `crate::name`, also in `crate::{a, b}`.
fn names(code: &str, name: &str) -> bool {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    code.match_indices("crate::").any(|(at, prefix)| {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').any(|item| identifier(item.trim()) == name),
            None => identifier(rest) == name,
        }
    })
}
