//! From a manifest and an identity to what is to be written: the hub's row, and the Secret. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use mooring_crds::Device;
use mooring_crds::device::{CredentialsFormat, Monitoring};
use mooring_crds::plan::{
    Changes, Hold, IdentityAuthentication, IdentityView, Owner, RotationSeen, RotationStep, Step, WantedAuthentication,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::{DeviceName, credentials_name};
use crate::hub::batch::Row;
use crate::hub::client::managed_by;
use crate::hub::identity::{Identity, Keys, ManagedBy};
use crate::{labels, ownership};

/// What the plan looks at. `brought`: the keys that the manifest brings, if it does.
#[must_use]
pub fn view(identity: &Identity, me: &ManagedBy, brought: Option<&Keys>) -> IdentityView {
    let owner = match &identity.managed_by {
        None if identity.status_reason.as_ref() == Some(&left_to(me)) => Owner::Predecessor,
        None => Owner::Nobody,
        Some(owner) if owner == me => Owner::ThisManifest,
        // There is one Device of a name at a time: that one is gone for good.
        Some(owner) if is_earlier_life(owner, me) => Owner::Predecessor,
        Some(owner) => Owner::Another(owner.to_string()),
    };
    let authentication = match identity.authentication.kind.as_str() {
        "selfSigned" => {
            let slots = identity.authentication.x509_thumbprint.clone().unwrap_or_default();
            IdentityAuthentication::Thumbprints { primary: slots.primary_thumbprint, secondary: slots.secondary_thumbprint }
        }
        "certificateAuthority" => IdentityAuthentication::CertificateAuthority,
        _ => IdentityAuthentication::Keys {
            as_brought: brought
                .is_some_and(|brought| identity.authentication.symmetric_key.as_ref().is_some_and(|keys| same(keys, brought))),
        },
    };
    IdentityView {
        owner,
        hold: identity.hold.as_ref().map(|hold| Hold { by: hold.by.clone(), since: hold.since.clone() }),
        enabled: identity.wanted_status.as_deref().unwrap_or(&identity.status) == "enabled",
        status_reason: identity.status_reason.clone(),
        authentication,
        tags: identity.tags.clone().unwrap_or_default(),
        // What can't be read is not what is wanted, and is written over.
        monitoring: identity.monitoring.as_ref().and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default(),
    }
}

/// Whether it is a Device of the same name that lived before.
#[must_use]
pub fn is_earlier_life(owner: &ManagedBy, me: &ManagedBy) -> bool {
    owner.is_device() && (&owner.namespace, &owner.name) == (&me.namespace, &me.name) && owner.uid != me.uid
}

/// The reason that an identity has between its release in an earlier life's name and its adoption: who dies in between finds it by this.
#[must_use]
pub fn left_to(heir: &ManagedBy) -> String {
    format!("its Device was made again: {}", heir.uid)
}

/// The last rotation that the hub has written down.
#[must_use]
pub fn rotation_seen(identity: &Identity) -> Option<RotationSeen> {
    identity.rotation.map(|rotation| RotationSeen { requested_at: rotation.requested_at, begun_at: rotation.begun_at })
}

fn same(one: &Keys, other: &Keys) -> bool {
    let slots = |keys: &Keys| [&keys.primary_key, &keys.secondary_key].map(|key| key.as_ref().map(|key| key.expose_secret().to_owned()));
    slots(one) == slots(other)
}

/// What a row is made from, besides the step.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// In whose name.
    pub me: &'a ManagedBy,
    /// Which identity.
    pub device_id: &'a str,
    /// As it is; `None` when there is none.
    pub current: Option<&'a Identity>,
    /// The keys that the manifest brings.
    pub brought: Option<&'a Keys>,
    /// What time it is.
    pub now: Timestamp,
}

/// The row that takes the step; `None` when there is nothing to do. Keys and the note of their rotation go in one write.
#[must_use]
pub fn row(step: &Step, writing: Writing<'_>, new_key: impl FnOnce() -> SecretString) -> Option<Row> {
    let Writing { me, device_id, current, .. } = writing;
    let nothing = Changes::default();
    let (changes, mode, ownership) = match step {
        Step::Nothing => return None,
        Step::Create(changes) => (changes, "create", None),
        Step::Update(changes) => (changes, "updateIfMatchETag", None),
        Step::Adopt(changes) => (changes, "updateIfMatchETag", Some("adopt")),
        Step::Release => (&nothing, "updateIfMatchETag", Some("release")),
        Step::Delete => (&nothing, "deleteIfMatchETag", None),
    };
    let mut row = json!({ "id": device_id, "importMode": mode, "mooring-managed-by": managed_by(me) });
    if let Some(current) = current {
        row["eTag"] = current.etag.as_str().into();
    }
    if let Some(ownership) = ownership {
        row["mooring-ownership"] = ownership.into();
    }
    settings(&mut row, changes, writing, new_key);
    Some(Row { device_id: device_id.to_owned(), document: row })
}

fn settings(row: &mut Value, changes: &Changes, writing: Writing<'_>, new_key: impl FnOnce() -> SecretString) {
    if let Some(enabled) = changes.enabled {
        row["status"] = if enabled { "enabled" } else { "disabled" }.into();
    }
    if let Some(reason) = &changes.status_reason {
        row["statusReason"] = json!(reason);
    }
    if let Some(tags) = &changes.tags {
        row["tags"] = if tags.is_empty() { Value::Null } else { Value::Object(tags.clone()) };
    }
    if let Some(monitoring) = &changes.monitoring {
        row["monitoring"] = watched(monitoring);
    }
    if let Some(authentication) = &changes.authentication {
        row["authentication"] = wish(authentication, writing.brought);
    }
    let current = writing.current.and_then(|identity| identity.authentication.symmetric_key.as_ref());
    match (changes.rotation, current) {
        (Some(RotationStep::Begin(requested_at)), Some(keys)) => {
            let before = keys.primary_key.as_ref().map(|key| key.expose_secret());
            row["authentication"] =
                json!({ "type": "sas", "symmetricKey": { "primaryKey": new_key().expose_secret(), "secondaryKey": before } });
            row["rotation"] = json!({ "requestedAt": requested_at, "begunAt": writing.now });
        }
        (Some(RotationStep::Note(requested_at) | RotationStep::Begin(requested_at)), _) => {
            row["rotation"] = json!({ "requestedAt": requested_at, "begunAt": null });
        }
        (Some(RotationStep::Finish), Some(keys)) => {
            let primary = keys.primary_key.as_ref().map(|key| key.expose_secret());
            row["authentication"] =
                json!({ "type": "sas", "symmetricKey": { "primaryKey": primary, "secondaryKey": new_key().expose_secret() } });
            let requested_at = writing.current.and_then(rotation_seen).map(|seen| seen.requested_at);
            row["rotation"] = requested_at.map_or(Value::Null, |requested_at| json!({ "requestedAt": requested_at, "begunAt": null }));
        }
        (Some(RotationStep::Finish) | None, _) => {}
    }
}

fn wish(wanted: &WantedAuthentication, brought: Option<&Keys>) -> Value {
    match wanted {
        WantedAuthentication::GeneratedKeys => json!({ "type": "sas" }),
        WantedAuthentication::KeysOf(_) => {
            let [primary, secondary] = keys_of(brought);
            json!({ "type": "sas", "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary } })
        }
        WantedAuthentication::Thumbprints { primary, secondary } => json!({
            "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": primary, "secondaryThumbprint": secondary },
        }),
        WantedAuthentication::CertificateAuthority => json!({ "type": "certificateAuthority" }),
    }
}

fn keys_of(keys: Option<&Keys>) -> [Option<&str>; 2] {
    keys.map_or([None, None], |keys| [&keys.primary_key, &keys.secondary_key].map(|key| key.as_ref().map(|key| key.expose_secret())))
}

/// `null` when nothing is watched.
fn watched(monitoring: &Monitoring) -> Value {
    if *monitoring == Monitoring::default() {
        return Value::Null;
    }
    json!({ "offlineAfter": monitoring.offline_after, "perDeviceMetrics": monitoring.per_device_metrics })
}

/// How a hub is reached, for its devices.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The IotHub's name.
    pub hub: String,
    /// What devices call it.
    pub host_name: String,
    /// The authority behind its certificate, when that is its own.
    pub authority_pem: Option<String>,
}

/// The Secret with what the device connects with.
#[must_use]
pub fn credentials(device: &Device, device_id: &str, identity: &Identity, reach: &Reach) -> Secret {
    let spec = device.spec.credentials.clone().unwrap_or_default();
    let mut labels = spec.labels;
    // Ours are what others find it by: the manifest's can't hide them.
    labels.extend(labels::of_credentials(&reach.hub, device_id));
    let name = DeviceName::of(device);
    Secret {
        metadata: ObjectMeta {
            name: Some(credentials_name(device)),
            namespace: Some(name.namespace),
            labels: Some(labels),
            annotations: Some([(labels::DEVICE_ID.to_owned(), device_id.to_owned())].into()),
            owner_references: ownership::reference_to(device).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(entries(spec.format, device_id, identity, reach)),
        ..Secret::default()
    }
}

fn entries(format: CredentialsFormat, device_id: &str, identity: &Identity, reach: &Reach) -> BTreeMap<String, ByteString> {
    let host = reach.host_name.as_str();
    let keys = identity.authentication.symmetric_key.as_ref().filter(|_| identity.authentication.kind == "sas");
    let [primary, secondary] = keys_of(keys);
    let string = match primary {
        Some(key) => format!("HostName={host};DeviceId={device_id};SharedAccessKey={key}"),
        None => format!("HostName={host};DeviceId={device_id};x509=true"),
    };
    let entries = match format {
        CredentialsFormat::ConnectionString => vec![("connectionString", Some(string.as_str()))],
        CredentialsFormat::Keys => {
            vec![("hostName", Some(host)), ("deviceId", Some(device_id)), ("primaryKey", primary), ("secondaryKey", secondary)]
        }
        CredentialsFormat::Env => vec![
            ("IOTHUB_DEVICE_CONNECTION_STRING", Some(string.as_str())),
            ("IOTHUB_HOST_NAME", Some(host)),
            ("IOTHUB_DEVICE_ID", Some(device_id)),
        ],
    };
    let authority = [("ca.crt", reach.authority_pem.as_deref())];
    let given = entries.into_iter().chain(authority).filter_map(|(name, value)| Some((name, value?)));
    given.map(|(name, value)| (name.to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
}

/// Whether a Secret of ours is as it is to be. What others have put beside our labels and annotations is theirs.
#[must_use]
pub fn is_as_wanted(has: &Secret, wanted: &Secret) -> bool {
    let contains = |has: &Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        wanted.iter().flatten().all(|(key, value)| has.as_ref().and_then(|has| has.get(key)) == Some(value))
    };
    has.data.clone().unwrap_or_default() == wanted.data.clone().unwrap_or_default()
        && contains(&has.metadata.labels, &wanted.metadata.labels)
        && contains(&has.metadata.annotations, &wanted.metadata.annotations)
        && labels_given_up(has, wanted).is_empty()
}

/// The Secret as it is to be, over the one that is there.
#[must_use]
pub fn corrected(has: &Secret, wanted: &Secret) -> Secret {
    let mut secret = wanted.clone();
    let over = |has: &Option<BTreeMap<String, String>>, wanted: &Option<BTreeMap<String, String>>| {
        let mut all = has.clone().unwrap_or_default();
        all.extend(wanted.clone().unwrap_or_default());
        all
    };
    let mut labels = over(&has.metadata.labels, &wanted.metadata.labels);
    labels_given_up(has, wanted).iter().for_each(|name| drop(labels.remove(name)));
    secret.metadata.labels = Some(labels);
    secret.metadata.annotations = Some(over(&has.metadata.annotations, &wanted.metadata.annotations));
    secret.metadata.resource_version.clone_from(&has.metadata.resource_version);
    secret.metadata.uid.clone_from(&has.metadata.uid);
    secret.type_.clone_from(&has.type_);
    secret
}

/// Labels that we once gave it, as its managed fields say, and that the manifest does not name any more.
fn labels_given_up(has: &Secret, wanted: &Secret) -> Vec<String> {
    let ours = has.metadata.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(labels::MANAGER));
    let labels = ours.filter_map(|entry| entry.fields_v1.as_ref()?.0["f:metadata"]["f:labels"].as_object().cloned());
    let is_wanted = |name: &String| wanted.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(name));
    let is_there = |name: &String| has.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(name));
    let names = labels.flat_map(|labels: Map<String, Value>| labels.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    names.filter_map(|name| name.strip_prefix("f:").map(str::to_owned)).filter(|name| is_there(name) && !is_wanted(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> ManagedBy {
        ManagedBy { kind: "Kubernetes".to_owned(), namespace: "plant".to_owned(), name: "pump".to_owned(), uid: "1".to_owned() }
    }

    fn identity(more: &Value) -> Identity {
        let mut document = json!({
            "deviceId": "Pump", "generationId": "7", "etag": "e", "status": "enabled",
            "authentication": { "type": "sas", "symmetricKey": { "primaryKey": "cHJpbWFyeQ==", "secondaryKey": "c2Vjb25kYXJ5" } },
        });
        more.as_object().unwrap().iter().for_each(|(name, value)| document[name] = value.clone());
        serde_json::from_value(document).unwrap()
    }

    fn device(spec: &Value) -> Device {
        serde_json::from_value(json!({
            "apiVersion": mooring_crds::API_VERSION, "kind": "Device",
            "metadata": { "name": "pump", "namespace": "plant", "uid": "1" }, "spec": spec,
        }))
        .unwrap()
    }

    fn written(step: &Step, current: Option<&Identity>) -> Value {
        let now = Timestamp::from_second(100).unwrap();
        let me = me();
        let writing = Writing { me: &me, device_id: "Pump", current, brought: None, now };
        row(step, writing, || SecretString::from("bmV3")).unwrap().document
    }

    #[test]
    fn whose_it_is_is_told_by_the_uid_and_an_earlier_life_leaves_it_to_this_one() {
        let owned = |uid: &str, name: &str| {
            let owner = json!({ "kind": "Kubernetes", "namespace": "plant", "name": name, "uid": uid });
            view(&identity(&json!({ "managedBy": owner })), &me(), None).owner
        };
        assert_eq!(owned("1", "pump"), Owner::ThisManifest);
        assert_eq!(owned("0", "pump"), Owner::Predecessor);
        assert_eq!(owned("0", "other"), Owner::Another("the Device plant/other".to_owned()));
        let left = |heir: &str| {
            let reason = left_to(&ManagedBy { uid: heir.to_owned(), ..me() });
            view(&identity(&json!({ "statusReason": reason })), &me(), None).owner
        };
        assert_eq!((left("1"), left("2")), (Owner::Predecessor, Owner::Nobody));
        let held = identity(&json!({ "status": "disabled", "wantedStatus": "enabled", "hold": { "by": "service", "since": "s" } }));
        assert!(view(&held, &me(), None).enabled, "a hold is no wish of the manifest's");
    }

    #[test]
    fn a_rotation_goes_with_its_keys_in_one_row() {
        let requested_at = Timestamp::from_second(90).unwrap();
        let begin = Step::Update(Changes { rotation: Some(RotationStep::Begin(requested_at)), ..Changes::default() });
        let begun = written(&begin, Some(&identity(&json!({}))));
        assert_eq!(begun["authentication"]["symmetricKey"], json!({ "primaryKey": "bmV3", "secondaryKey": "cHJpbWFyeQ==" }));
        assert_eq!(begun["rotation"], json!({ "requestedAt": "1970-01-01T00:01:30Z", "begunAt": "1970-01-01T00:01:40Z" }));
        assert_eq!((&begun["eTag"], &begun["importMode"]), (&json!("e"), &json!("updateIfMatchETag")));
        let finish = Step::Update(Changes { rotation: Some(RotationStep::Finish), ..Changes::default() });
        let finished = written(&finish, Some(&identity(&json!({ "rotation": begun["rotation"] }))));
        assert_eq!(finished["authentication"]["symmetricKey"], json!({ "primaryKey": "cHJpbWFyeQ==", "secondaryKey": "bmV3" }));
        assert_eq!(finished["rotation"], json!({ "requestedAt": "1970-01-01T00:01:30Z", "begunAt": null }));
    }

    #[test]
    fn each_step_has_its_row() {
        let current = identity(&json!({}));
        let create = Changes { enabled: Some(false), tags: Some(Map::new()), ..Changes::default() };
        let created = written(&Step::Create(create), None);
        assert_eq!(
            created,
            json!({ "id": "Pump", "importMode": "create", "mooring-managed-by": "kubernetes/plant/pump/1", "status": "disabled", "tags": null })
        );
        assert_eq!(written(&Step::Adopt(Changes::default()), Some(&current))["mooring-ownership"], "adopt");
        assert_eq!(written(&Step::Release, Some(&current))["mooring-ownership"], "release");
        assert_eq!(written(&Step::Delete, Some(&current))["importMode"], "deleteIfMatchETag");
    }

    #[test]
    fn what_is_watched_is_read_and_written() {
        let wanted = Monitoring { offline_after: Some("10m".parse().unwrap()), per_device_metrics: true };
        let document = json!({ "offlineAfter": "10m", "perDeviceMetrics": true });
        assert_eq!(view(&identity(&json!({ "monitoring": document })), &me(), None).monitoring, wanted);
        let row = |monitoring| {
            let step = Step::Update(Changes { monitoring: Some(monitoring), ..Changes::default() });
            written(&step, Some(&identity(&json!({}))))["monitoring"].clone()
        };
        assert_eq!((row(wanted), row(Monitoring::default())), (document, Value::Null));
    }

    #[test]
    fn credentials_have_the_agreed_entries() {
        let reach = Reach { hub: "plant".to_owned(), host_name: "h.example".to_owned(), authority_pem: Some("PEM".to_owned()) };
        let text = |format: &str, identity: &Identity| {
            let secret = credentials(
                &device(&json!({ "credentials": { "format": format, "labels": { "a": "b", "mooring.dev/hub": "x" } } })),
                "Pump",
                identity,
                &reach,
            );
            assert_eq!(secret.metadata.labels.as_ref().unwrap()[labels::HUB], "plant");
            assert_eq!(secret.metadata.owner_references.as_ref().unwrap()[0].uid, "1");
            let data = secret.data.unwrap();
            data.into_iter().map(|(name, value)| format!("{name}={}", String::from_utf8(value.0).unwrap())).collect::<Vec<_>>().join("\n")
        };
        let with_keys = identity(&json!({}));
        assert_eq!(
            text("connectionString", &with_keys),
            "ca.crt=PEM\nconnectionString=HostName=h.example;DeviceId=Pump;SharedAccessKey=cHJpbWFyeQ=="
        );
        assert!(
            text("keys", &with_keys).ends_with("deviceId=Pump\nhostName=h.example\nprimaryKey=cHJpbWFyeQ==\nsecondaryKey=c2Vjb25kYXJ5")
        );
        assert!(
            text("env", &with_keys)
                .contains("IOTHUB_DEVICE_CONNECTION_STRING=HostName=h.example;DeviceId=Pump;SharedAccessKey=cHJpbWFyeQ==")
        );
        let with_certificate = identity(&json!({ "authentication": { "type": "selfSigned" } }));
        assert_eq!(text("connectionString", &with_certificate), "ca.crt=PEM\nconnectionString=HostName=h.example;DeviceId=Pump;x509=true");
        assert_eq!(text("keys", &with_certificate), "ca.crt=PEM\ndeviceId=Pump\nhostName=h.example");
    }

    #[test]
    fn a_secret_is_corrected_and_what_is_others_stays() {
        let reach = Reach { hub: "plant".to_owned(), host_name: "h.example".to_owned(), authority_pem: None };
        let wanted = credentials(&device(&json!({})), "Pump", &identity(&json!({})), &reach);
        let mut has = wanted.clone();
        has.metadata.annotations.as_mut().unwrap().insert("theirs".to_owned(), "1".to_owned());
        assert!(is_as_wanted(&has, &wanted));
        let labels = has.metadata.labels.as_mut().unwrap();
        labels.extend([("old".to_owned(), "1".to_owned()), ("theirs".to_owned(), "1".to_owned())]);
        has.metadata.managed_fields = Some(vec![
            serde_json::from_value(json!({ "manager": labels::MANAGER, "fieldsV1": { "f:metadata": { "f:labels": { "f:old": {} } } } }))
                .unwrap(),
        ]);
        assert!(!is_as_wanted(&has, &wanted), "a label that the manifest has given up");
        has.data.as_mut().unwrap().insert("more".to_owned(), ByteString(vec![1]));
        let corrected = corrected(&has, &wanted);
        assert!(is_as_wanted(&Secret { data: wanted.data.clone(), ..corrected.clone() }, &wanted));
        assert_eq!(corrected.data, wanted.data);
        let labels = corrected.metadata.labels.unwrap();
        assert!(labels.contains_key("theirs") && !labels.contains_key("old"));
    }
}
