//! Devices as files: a table for a spreadsheet, or the manifests that would make them.

use std::fmt::Write as _;

use serde_json::Value;

use super::hub::FleetRow;
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
    fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A field that a spreadsheet takes for text: ids may begin as formulas do.
fn quoted(field: &str) -> String {
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
    let text = |text: &str| Value::from(text).to_string();
    let name = object_name(&row.device_id);
    let mut manifest = format!("---\napiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\nspec:\n");
    if name != row.device_id {
        let _ = writeln!(manifest, "  deviceId: {}", text(&row.device_id));
    }
    let _ = writeln!(manifest, "  hubRef:\n    name: {}\n  adoption: Adopt", text(hub));
    if row.authentication == "certificateAuthority" {
        manifest.push_str("  authentication:\n    x509CA: {}\n");
    }
    if !row.enabled && !row.held {
        manifest.push_str("  enabled: false\n");
    }
    Some(manifest)
}

/// A name as Kubernetes has them, which is the id where that is one.
pub(super) fn object_name(id: &str) -> String {
    let letter = |letter: char| {
        let small = letter.to_ascii_lowercase();
        if small.is_ascii_alphanumeric() || small == '-' || small == '.' { small } else { '-' }
    };
    let name: String = id.chars().map(letter).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "device".to_owned() } else { name.to_owned() }
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
            odd.contains("name: pump-1\n")
                && odd.contains("deviceId: \"Pump#1\"\n")
                && odd.contains("x509CA: {}")
                && odd.contains("enabled: false")
        );
    }

    #[test]
    fn what_has_a_manifest_gets_no_second_one() {
        assert_eq!(manifest(&FleetRow { managed_by: Some(ManagedBy::default()), ..row("pump") }, "plant"), None);
        assert_eq!(manifest(&FleetRow { authentication: "selfSigned".to_owned(), ..row("pump") }, "plant"), None);
    }
}
