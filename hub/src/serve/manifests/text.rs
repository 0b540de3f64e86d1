//! From a file's text to the manifests in it: all of them, or the first thing that is wrong and where.
//!
//! Strict, as `kubectl` is: a field that the kind does not have is refused, because what was meant by it would silently not hold. Knows
//! no file.

use std::fmt;
use std::sync::Arc;

use mooring_crds::plan::Wanted;
use mooring_crds::strict::unknown_field;
use mooring_crds::{API_VERSION, Device, GROUP};
use serde_json::Value;

/// The manifests of a file.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Devices, in order.
    pub devices: Vec<Manifest>,
    /// Kinds of what is somebody else's.
    pub passed_over: Vec<String>,
    /// Whether there is a manifest of ours at all; an empty list is one.
    pub speaks: bool,
}

/// A device's manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What it wants.
    pub wanted: Arc<Wanted>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// What is wrong with a file, and where. Displays as `line 3, column 5: …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    line: usize,
    column: Option<usize>,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "line {}, column {column}: {}", self.line, self.text),
            None => write!(f, "line {}: {}", self.line, self.text),
        }
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, with any number of documents.
    Yaml,
    /// JSON, with one.
    Json,
}

/// What is wrong with a file that says nothing.
const EMPTY: &str = "this file is empty; remove it, or let it say so: {\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": []}";

/// A document, and where in the file it begins.
struct Document<'t> {
    text: &'t str,
    first_line: usize,
    syntax: Syntax,
}

/// Reads all of a file.
pub fn read(bytes: &[u8], syntax: Syntax) -> Result<Contents, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Problem { line, column: None, text: "this is not UTF-8".to_owned() }
    })?;
    let mut contents = Contents::default();
    let mut is_empty = true;
    for document in documents(text, syntax) {
        is_empty &= !document.read_into(&mut contents)?;
    }
    // A file that was cut off is no word about devices.
    if is_empty { Err(Problem { line: 1, column: None, text: EMPTY.to_owned() }) } else { Ok(contents) }
}

/// A line that begins with `---` ends a YAML document wherever it stands (YAML 1.2, 9.1.2), so each can be read by itself.
fn documents(text: &str, syntax: Syntax) -> Vec<Document<'_>> {
    let (mut documents, mut start, mut first_line) = (Vec::new(), 0, 1);
    let mut at = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marks = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if syntax == Syntax::Yaml && marks {
            documents.push(Document { text: &text[start..at], first_line, syntax });
            (start, first_line) = (at, index + 1);
        }
        at += line.len();
    }
    documents.push(Document { text: &text[start..], first_line, syntax });
    documents.into_iter().filter(|document| !document.text.trim().is_empty()).collect()
}

impl Document<'_> {
    /// Answers whether it says anything.
    fn read_into(&self, contents: &mut Contents) -> Result<bool, Problem> {
        let value: Value = self.parse()?;
        match kind_of(&value) {
            // Nothing but comments.
            None if value.is_null() => return Ok(false),
            None => return Err(self.problem_at(&[], "this is no manifest: apiVersion and kind are missing")),
            Some((API_VERSION, "Device")) => {
                let device: Device = self.parse()?;
                contents.speaks = true;
                contents.devices.push(self.manifest(&value, &device)?);
            }
            Some((API_VERSION, "DeviceList") | ("v1", "List")) => self.read_items_into(&value, contents)?,
            Some((version, "Device" | "DeviceList")) if version.split('/').next() == Some(GROUP) => {
                return Err(self.problem_at(&["apiVersion"], &format!("this hub knows {API_VERSION}, not {version}")));
            }
            Some((version, kind)) => contents.passed_over.push(format!("{version} {kind}")),
        }
        Ok(true)
    }

    fn read_items_into(&self, list: &Value, contents: &mut Contents) -> Result<(), Problem> {
        let items = match &list["items"] {
            Value::Array(items) => items.as_slice(),
            // Also what a list looks like that was cut off before its items: to take that for an empty one would take devices away.
            _ => return Err(self.problem_at(&["items"], "items has to be a list; `items: []` is the empty one")),
        };
        contents.speaks = true;
        for (index, item) in items.iter().enumerate() {
            match kind_of(item) {
                Some((API_VERSION, "Device")) => {
                    // Once more through text, because only then an error names the field.
                    let text = serde_norway::to_string(item).unwrap_or_default();
                    let device = serde_norway::from_str(&text)
                        .map_err(|error| self.problem_at(&["items"], &format!("items[{index}]: {}", without_place(&error.to_string()))))?;
                    contents.devices.push(self.manifest(item, &device)?);
                }
                Some((version, kind)) => contents.passed_over.push(format!("{version} {kind}")),
                None => return Err(self.problem_at(&["items"], &format!("items[{index}] has no apiVersion and kind"))),
            }
        }
        Ok(())
    }

    fn manifest(&self, value: &Value, device: &Device) -> Result<Manifest, Problem> {
        if let Some(path) = unknown_field(value) {
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            return Err(self.problem_at(&steps, &format!("{}: there is no such field", path.join("."))));
        }
        let wanted = Wanted::of(device).and_then(Wanted::without_kubernetes).map_err(|invalid| {
            let text = invalid.to_string();
            let field: Vec<&str> = text.split([':', ' ']).next().unwrap_or_default().split('.').collect();
            self.problem_at(&field, &text)
        })?;
        Ok(Manifest { wanted: Arc::new(wanted), line: self.line_of(&[]) })
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Problem> {
        match self.syntax {
            Syntax::Json => serde_json::from_str(self.text).map_err(|error| Problem {
                line: error.line().max(1),
                column: Some(error.column()),
                text: without_place(&error.to_string()).to_owned(),
            }),
            Syntax::Yaml => serde_norway::from_str(self.text).map_err(|error| Problem {
                line: self.first_line + error.location().map_or(1, |location| location.line()) - 1,
                column: error.location().map(|location| location.column()),
                text: without_place(&error.to_string()).to_owned(),
            }),
        }
    }

    fn problem_at(&self, path: &[&str], text: &str) -> Problem {
        Problem { line: self.line_of(path), column: None, text: text.to_owned() }
    }

    /// The line of the field that the path leads to, looked for step by step; that of the last step that is found.
    fn line_of(&self, path: &[&str]) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_content = |line: &&str| !line.trim().is_empty() && !line.starts_with("---") && !line.trim_start().starts_with('#');
        let mut found = lines.iter().position(is_content).unwrap_or(0);
        for step in path {
            let names = |line: &&str| {
                let text = line.trim_start().trim_start_matches("- ").trim_start_matches(['{', ' ', '"', '\'']);
                text.strip_prefix(step).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'))
            };
            found += lines[found..].iter().position(names).unwrap_or(0);
        }
        self.first_line + found
    }
}

fn kind_of(value: &Value) -> Option<(&str, &str)> {
    Some((value["apiVersion"].as_str()?, value["kind"].as_str()?))
}

/// Parsers say the place at the end, counted from the document's beginning.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PUMP: &str = "apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: pump\n";

    fn yaml(text: &str) -> Result<Contents, Problem> {
        read(text.as_bytes(), Syntax::Yaml)
    }

    fn ids(contents: &Contents) -> Vec<(&str, usize)> {
        contents.devices.iter().map(|manifest| (manifest.wanted.device_id.as_str(), manifest.line)).collect()
    }

    #[test]
    fn a_file_may_have_many_documents_lists_and_strangers() {
        let list = format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}  spec: {{deviceId: Listed}}\n",
            PUMP.replace('\n', "\n  ").trim_end_matches(' ')
        );
        let text = format!("# mine\n---\n{PUMP}spec: {{}}\n---\n# nothing\n---\napiVersion: v1\nkind: Secret\n---\n{list}");
        let contents = yaml(&text).unwrap();
        assert_eq!(ids(&contents), [("pump", 3), ("Listed", 14)]);
        assert_eq!(contents.passed_over, ["v1 Secret"]);
        let json = r#"{"apiVersion": "mooring.dev/v1alpha1", "kind": "Device", "metadata": {"name": "d"}, "spec": {}}"#;
        assert_eq!(ids(&read(json.as_bytes(), Syntax::Json).unwrap()), [("d", 1)]);
        assert!(!yaml("apiVersion: v1\nkind: Secret\n").unwrap().speaks && yaml("apiVersion: v1\nkind: List\nitems: []\n").unwrap().speaks);
    }

    #[test]
    fn a_file_that_says_nothing_is_a_mistake() {
        for (text, syntax) in [
            ("", Syntax::Yaml),
            (" \n\t\n", Syntax::Yaml),
            ("# mine\n---\n# nothing\n---\n", Syntax::Yaml),
            ("", Syntax::Json),
            ("\n", Syntax::Json),
            ("null", Syntax::Json),
        ] {
            let problem = read(text.as_bytes(), syntax).expect_err(text).to_string();
            assert!(problem.starts_with("line 1: this file is empty; remove it"), "{problem}");
        }
        let advice = EMPTY.split_once("say so: ").unwrap().1.as_bytes();
        assert!(read(advice, Syntax::Yaml).unwrap().speaks && read(advice, Syntax::Json).unwrap().speaks, "and the advice is good");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            (format!("{PUMP}spec:\n  enabled: \"no\"\n"), "line 6, column 12: spec.enabled: invalid type"),
            (format!("{PUMP}spec:\n  colour: red\n"), "line 6: spec.colour: there is no such field"),
            (
                format!("{PUMP}spec:\n  tags:\n    colour: x\n  authentication:\n    symmetricKey:\n      colour: x\n"),
                "line 10: spec.authentication.symmetricKey.colour",
            ),
            (format!("{PUMP}spec: {{}}\nspecs: {{}}\n"), "line 6: specs"),
            (format!("---\n{PUMP}spec: {{}}\n---\n{PUMP}spec:\n  deviceId: a b\n"), "line 13: spec.deviceId"),
            (format!("{PUMP}spec:\n  authentication: {{symmetricKey: {{}}, x509CA: {{}}}}\n"), "line 6: spec.authentication: only one"),
            ("apiVersion: v1\nkind: List\nitems:\n".to_owned(), "items has to be a list"),
            ("apiVersion: v1\nkind: List\n".to_owned(), "items has to be a list"),
            ("kind: Device\n".to_owned(), "line 1: this is no manifest"),
            ("\napiVersion: mooring.dev/v1\nkind: Device\n".to_owned(), "line 2: this hub knows mooring.dev/v1alpha1"),
            (format!("{PUMP}spec:\n  tags: [\n"), "line 7, column 1"),
            (format!("{PUMP}spec:\n  enabled: true\n  enabled: false\n"), "line 6, column 3: spec: duplicate field `enabled`"),
            (PUMP.to_owned(), "missing field `spec`"),
        ] {
            let problem = yaml(&text).unwrap_err().to_string();
            assert!(problem.contains(said), "{problem:?} does not say {said:?} of:\n{text}");
        }
        let problem = read(b"{\n \"kind\":", Syntax::Json).unwrap_err().to_string();
        assert!(problem.starts_with("line 2, column"), "{problem}");
        assert_eq!(read(b"a\n\xff", Syntax::Yaml).unwrap_err().to_string(), "line 2: this is not UTF-8");
    }

    proptest! {
        #[test]
        fn half_a_file_is_understood_or_refused_without_a_panic(end in 0usize..400) {
            let text = format!("{PUMP}spec:\n  tags: {{a: {{b: [1, 2]}}}}\n  statusReason: \"é\"\n---\n{PUMP}spec: {{enabled: false}}\n");
            let _ = read(&text.as_bytes()[..end.min(text.len())], Syntax::Yaml);
            let _ = read(&text.as_bytes()[..end.min(text.len())], Syntax::Json);
        }
    }
}
