//! One device as the manifest that it comes from, or that would take it over; and the changes of a manifest that stand for deeds which the hub
//! leaves to it.

use std::fmt::Write as _;

use super::change::Device;
use super::export::{object_name, plain};
use super::json::value::{Value, quoted};
use super::time::Moment;

/// As the hub has carried it out. What only the manifest's owner knows is not in it: where credentials go, and what becomes of the device when the
/// manifest is gone.
#[must_use]
pub fn manifest(device: &Device, hub: &str) -> String {
    let managed = device.managed_by.as_ref();
    let name = managed.and_then(|managed| managed.name.clone()).unwrap_or_else(|| object_name(&device.device_id));
    let mut manifest = format!("apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {}\n", plain(&name));
    if let Some(namespace) = managed.and_then(|managed| managed.namespace.as_deref()) {
        let _ = writeln!(manifest, "  namespace: {}", plain(namespace));
    }
    manifest.push_str("spec:\n");
    if name != device.device_id {
        let _ = writeln!(manifest, "  deviceId: {}", quoted(&device.device_id));
    }
    let _ = writeln!(manifest, "  hubRef:\n    name: {}", quoted(hub));
    if managed.is_none() {
        manifest.push_str("  adoption: Adopt\n");
    }
    match device.authentication.r#type.as_str() {
        "certificateAuthority" => manifest.push_str("  authentication:\n    x509CA: {}\n"),
        "selfSigned" => {
            manifest.push_str("  authentication:\n    x509Thumbprint:\n");
            let prints = device
                .authentication
                .thumbprints
                .iter()
                .flat_map(|prints| [("primary", &prints.primary), ("secondary", &prints.secondary)]);
            for (slot, print) in prints.filter_map(|(slot, print)| Some((slot, print.as_deref()?))) {
                let _ = writeln!(manifest, "      {slot}: {}", quoted(print));
            }
        }
        _ => {}
    }
    if device.wanted_status == "disabled" {
        manifest.push_str("  enabled: false\n");
        if let Some(reason) = device.status_reason.as_deref().filter(|_| device.hold.is_none()) {
            let _ = writeln!(manifest, "  statusReason: {}", quoted(reason));
        }
    }
    // JSON is YAML.
    for (field, value) in [("monitoring", &device.monitoring), ("tags", &device.tags)] {
        if let Some(value) = value.as_ref().filter(|value| **value != Value::Null) {
            let _ = writeln!(manifest, "  {field}: {value}");
        }
    }
    manifest
}

/// What to change for new keys.
#[must_use]
pub fn rotation(now: Moment) -> String {
    format!("spec:\n  rotation:\n    requestedAt: \"{}\"", now.iso())
}

/// What to do so that the device is no more; nothing for one that no manifest speaks for.
#[must_use]
pub fn removal(device: &Device) -> Option<String> {
    let managed = device.managed_by.as_ref()?;
    let name = managed.name.as_deref().unwrap_or(&device.device_id);
    Some(match managed.namespace.as_deref() {
        Some(namespace) => format!("kubectl delete devices.mooring.dev {name} --namespace {namespace}"),
        None => format!("# take {name} out of the folder that the hub reads manifests from"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::ManagedBy;

    fn device(text: &str) -> Device {
        crate::model::json::read(text).unwrap()
    }

    #[test]
    fn a_managed_device_has_the_manifest_that_it_comes_from() {
        let device = device(
            r#"{"deviceId":"Pump#1","status":"disabled","wantedStatus":"enabled","statusReason":"stolen","hold":{"by":"ada"},
            "authentication":{"type":"sas"},"tags":{"site":"north"},"monitoring":{"offlineAfter":"10m","perDeviceMetrics":false},
            "managedBy":{"kind":"Kubernetes","namespace":"plant","name":"pump-1"}}"#,
        );
        assert_eq!(
            manifest(&device, "harbour"),
            "apiVersion: mooring.dev/v1alpha1\nkind: Device\nmetadata:\n  name: pump-1\n  namespace: plant\nspec:\n  deviceId: \"Pump#1\"\n  hubRef:\n    name: \"harbour\"\n  \
             monitoring: {\"offlineAfter\":\"10m\",\"perDeviceMetrics\":false}\n  tags: {\"site\":\"north\"}\n",
            "a hold is not the manifest's"
        );
        let odd = Device { managed_by: Some(ManagedBy { namespace: Some("123".to_owned()), ..ManagedBy::default() }), ..device.clone() };
        assert!(manifest(&odd, "harbour").contains("  namespace: \"123\"\n"), "a name is text");
        assert_eq!(removal(&device).unwrap(), "kubectl delete devices.mooring.dev pump-1 --namespace plant");
    }

    #[test]
    fn what_nobody_manages_would_be_taken_over_as_it_is() {
        let device = device(
            r#"{"deviceId":"pump","status":"disabled","wantedStatus":"disabled","statusReason":"spare",
            "authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"AB","secondaryThumbprint":null}}}"#,
        );
        let manifest = manifest(&device, "harbour");
        assert!(
            manifest.contains("  adoption: Adopt\n  authentication:\n    x509Thumbprint:\n      primary: \"AB\"\n  enabled: false\n"),
            "{manifest}"
        );
        assert!(manifest.ends_with("  statusReason: \"spare\"\n") && !manifest.contains("deviceId"), "{manifest}");
        assert_eq!(removal(&device), None);
        assert_eq!(rotation(Moment(0)), "spec:\n  rotation:\n    requestedAt: \"1970-01-01T00:00:00.000Z\"");
    }
}
