//! Devices as files: a table for a spreadsheet, or the manifests that would make them.

use std::fmt::Write as _;

use super::hub::FleetRow;
use super::json::value::quoted;
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

/// The manifest of a device that none speaks for; nothing for one that has a manifest, or whose certificate only its owner knows.
#[must_use]
pub fn manifest(row: &FleetRow, hub: &str) -> Option<String> {
    if row.managed_by.is_some() || row.authentication == "selfSigned" {
        return None;
    }
    let name = object_name(&row.device_id);
    let mut manifest = format!("---\napiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {}\nspec:\n", plain(&name));
    if name != row.device_id {
        let _ = writeln!(manifest, "  deviceId: {}", quoted(&row.device_id));
    }
    let _ = writeln!(manifest, "  hubRef:\n    name: {}\n  adoption: Adopt", quoted(hub));
    if row.authentication == "certificateAuthority" {
        manifest.push_str("  authentication:\n    x509CA: {}\n");
    }
    if !row.enabled && !row.held {
        manifest.push_str("  enabled: false\n");
    }
    Some(manifest)
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
    use crate::model::change::ManagedBy;

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

    #[test]
    fn a_manifest_names_what_it_takes_over() {
        let plain = manifest(&row("pump"), "plant").unwrap();
        assert_eq!(
            plain,
            "---\napiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: pump\nspec:\n  hubRef:\n    name: \"plant\"\n  adoption: Adopt\n"
        );
        let odd =
            manifest(&FleetRow { authentication: "certificateAuthority".to_owned(), enabled: false, ..row("Pump#1") }, "plant").unwrap();
        assert!(
            odd.contains("name: pump-1-a9faedeb\n")
                && odd.contains("deviceId: \"Pump#1\"\n")
                && odd.contains("x509CA: {}")
                && odd.contains("enabled: false")
        );
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
        assert!(manifest(&row("123"), "plant").unwrap().contains("  name: \"123\"\n"));
        assert!(manifest(&row("true"), "plant").unwrap().contains("  name: \"true\"\n"));
    }

    #[test]
    fn what_has_a_manifest_gets_no_second_one() {
        assert_eq!(manifest(&FleetRow { managed_by: Some(ManagedBy::default()), ..row("pump") }, "plant"), None);
        assert_eq!(manifest(&FleetRow { authentication: "selfSigned".to_owned(), ..row("pump") }, "plant"), None);
    }
}
