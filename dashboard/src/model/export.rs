//! Devices as files: a table for a spreadsheet, or the manifests that would make them.

use super::change::{Change, What};
use super::hub::FleetRow;
use super::json::value::quoted;
use super::manifest::manifest;
use super::shelf::Shelf;
use super::time::Moment;

/// The first line of the table.
pub const CSV_HEAD: &str = "deviceId,state,stateSince,lastSeen,reason,authentication,enabled,held,queue,managedBy\r\n";

/// A line of the table (RFC 4180).
#[must_use]
pub fn csv(row: &FleetRow) -> String {
    let time = |time: Option<Moment>| time.map(Moment::iso).unwrap_or_default();
    let owner = row.managed_by.as_ref().map(|managed| {
        [Some(managed.kind.as_str()), managed.namespace.as_deref(), managed.name.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/")
    });
    let fields = [
        row.device_id.clone(),
        row.state.clone(),
        time(row.state_since),
        time(row.last_seen),
        row.reason.clone().unwrap_or_default(),
        row.authentication.clone(),
        row.enabled.to_string(),
        row.held.to_string(),
        row.queue.to_string(),
        owner.unwrap_or_default(),
    ];
    fields.iter().map(|field| cell(field)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A field that a spreadsheet takes for text: ids may begin as formulas do.
fn cell(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{field}") } else { field.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The manifests of devices that none speaks for, in the order of their ids. Rows of the list say too little: what a manifest leaves out is taken away
/// from the device that it adopts. So they are made of identities, as the change stream tells how things stand.
#[derive(Debug)]
pub struct Manifests {
    hub: String,
    /// Of those that are wanted; empty as long as nothing was told of one.
    texts: Shelf<String, String>,
    asked: u64,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Made {
    /// A file.
    pub text: String,
    /// How many manifests it has.
    pub made: u64,
    /// How many devices are not in it.
    pub left_out: u64,
}

impl Manifests {
    /// Of these, in whichever order; in that of their ids it is quick.
    #[must_use]
    pub fn of(rows: &[FleetRow], hub: String) -> Self {
        let wanted = rows.iter().filter(|row| row.managed_by.is_none()).map(|row| (row.device_id.clone(), String::new()));
        Self { hub, texts: wanted.collect(), asked: rows.len() as u64 }
    }

    /// Takes in what was told. Nothing while there is more to come; then what came of it, or why nothing did.
    pub fn hear(&mut self, what: What) -> Option<Result<Made, String>> {
        match what {
            What::SnapshotBegin => self.texts.values_mut().for_each(String::clear),
            What::Change(Change::Written(device)) => {
                let made = if device.managed_by.is_none() { format!("---\n{}", manifest(&device, &self.hub)) } else { String::new() };
                self.texts.get_mut(&device.device_id).into_iter().for_each(|text| text.clone_from(&made));
            }
            What::Change(Change::Deleted(id)) => self.texts.get_mut(&id).into_iter().for_each(String::clear),
            What::SnapshotEnd => {
                let made = self.texts.values().filter(|text| !text.is_empty()).count() as u64;
                let text = self.texts.values().map(String::as_str).collect();
                return Some(Ok(Made { text, made, left_out: self.asked - made }));
            }
            What::Skipped(_) => return Some(Err("More changes than this page could follow. Try it again.".to_owned())),
            What::Problem(why) => return Some(Err(why)),
            _ => {}
        }
        None
    }
}

/// A text as YAML has it: in quotes, unless nobody would take it for a number or a truth.
pub(super) fn plain(text: &str) -> String {
    let is_word = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let means_something = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text);
    if is_word && !means_something { text.to_owned() } else { quoted(text) }
}

/// A name as Kubernetes has them (RFC 1123, a subdomain), which is the id where that is one. Otherwise one that looks like it, and has at its
/// end what tells it from all that look the same: by the id alone, so that it is the same in every file.
pub(super) fn object_name(id: &str) -> String {
    if is_subdomain(id) {
        return id.to_owned();
    }
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = id.chars().take(200).map(letter).collect();
    let name = name.trim_matches('-');
    format!("{}-{:08x}", if name.is_empty() { "device" } else { name }, hash(id))
}

fn is_subdomain(text: &str) -> bool {
    let letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(letter);
    text.len() <= 253 && text.split('.').all(is_label)
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{ManagedBy, parse};

    fn row(id: &str) -> FleetRow {
        FleetRow {
            device_id: id.to_owned(),
            state: "offline".to_owned(),
            authentication: "sas".to_owned(),
            enabled: true,
            ..FleetRow::default()
        }
    }

    #[test]
    fn no_id_is_a_formula() {
        assert_eq!(csv(&row("pump")), "pump,offline,,,,sas,true,false,0,\r\n");
        assert!(csv(&row("=cmd,\"x\"")).starts_with("\"'=cmd,\"\"x\"\"\","));
        assert_eq!(CSV_HEAD.matches(',').count(), csv(&row("pump")).matches(',').count());
    }

    fn written(id: &str, more: &str) -> What {
        let text = format!(
            r#"{{"kind":"registry","operation":"written","deviceId":"{id}","device":{{"deviceId":"{id}","authentication":{{"type":"sas"}}{more}}}}}"#
        );
        parse(&text).unwrap().what
    }

    #[test]
    fn a_manifest_says_all_that_the_hub_knows_of_a_device() {
        let rows = ["a", "b", "c", "d"].map(row);
        let mut manifests = Manifests::of(
            &[rows.to_vec(), vec![FleetRow { managed_by: Some(ManagedBy::default()), ..row("e") }]].concat(),
            "plant".to_owned(),
        );
        let mut tell = |what| manifests.hear(what);
        assert_eq!(tell(What::SnapshotBegin), None);
        for what in [
            written("b", r#","tags":{"site":"north"}"#),
            written("a", ""),
            written("other", ""),
            written("c", r#","managedBy":{"kind":"Kubernetes"}"#),
            written("d", ""),
            What::Change(Change::Deleted("d".to_owned())),
            written("e", ""),
        ] {
            assert_eq!(tell(what), None);
        }
        let Some(Ok(Made { text, made: 2, left_out: 3 })) = tell(What::SnapshotEnd) else { panic!("two are left") };
        let (first, second) = text.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
        assert!(first.contains("  name: a\n") && first.contains("adoption: Adopt"), "{first}");
        assert!(second.contains("  name: b\n") && second.ends_with("  tags: {\"site\":\"north\"}\n"), "{second}");
    }

    #[test]
    fn manifests_begin_anew_with_the_link_and_end_with_what_ends_it() {
        let mut manifests = Manifests::of(&[row("a"), row("b")], "plant".to_owned());
        for what in [What::SnapshotBegin, written("a", ""), What::SnapshotBegin, written("b", "")] {
            assert_eq!(manifests.hear(what), None);
        }
        assert!(matches!(manifests.hear(What::SnapshotEnd), Some(Ok(Made { made: 1, left_out: 1, .. }))));
        assert_eq!(manifests.hear(What::Problem("over".to_owned())), Some(Err("over".to_owned())));
        assert!(matches!(manifests.hear(What::Skipped(1)), Some(Err(_))));
    }

    #[test]
    fn no_two_devices_have_one_name() {
        let ids = ["pump-1", "Pump#1", "pump#1", "PUMP-1", "pump_1", "-pump-1", "pump-1-", "a..b", "a.-b", "a.b", "#", "$", "(", "Pump.1"];
        let mut names: Vec<_> = ids.iter().map(|id| object_name(id)).collect();
        assert!(names.iter().all(|name| is_subdomain(name)), "{names:?}");
        assert_eq!((names[0].as_str(), names[9].as_str()), ("pump-1", "a.b"));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        assert!(object_name(&"Ä".repeat(400)).len() <= 253 && is_subdomain(&object_name(&"A".repeat(400))));
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_name_is_text() {
        assert_eq!(["123", "true", "pump"].map(plain), ["\"123\"", "\"true\"", "pump"].map(str::to_owned));
    }
}
