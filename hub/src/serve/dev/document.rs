//! What a laptop's hub says about itself: to programs as JSON, to people as text, and to the other commands as DATA/hub.json.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::core::device_id::DeviceId;
use crate::core::host::HubNames;
use crate::core::identity::{Authentication, SymmetricKey};
use crate::core::policy::{BUILT_IN_POLICIES, Policies, Policy};

/// The file in the data folder.
pub const HUB_FILE: &str = "hub.json";

/// The built-in policy with ServiceConnect alone.
const READING_POLICY: &str = "service";

/// The document that `--output json` prints.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubDocument {
    /// The hub's name.
    pub host_name: String,
    /// PEM: what clients have to trust.
    pub ca_file: PathBuf,
    /// Where it listens.
    pub endpoints: Endpoints,
    /// Where a person signs in to the dashboard, once, within ten minutes; only to whoever has started the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<String>,
    /// One for each built-in policy.
    pub connection_strings: BTreeMap<String, String>,
    /// For Event Hubs' clients, which read the events.
    #[serde(default)]
    pub event_hub_connection_string: String,
    /// One for each device that was asked for.
    pub devices: BTreeMap<String, String>,
}

/// Where a hub listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// MQTT over TLS.
    pub mqtt: String,
    /// AMQP 1.0 over TLS.
    pub amqp: String,
    /// The device API, Azure's REST and WebSockets; `None` where port 443 could not be had.
    pub https: Option<String>,
    /// The hub's own API, and Azure's REST for services.
    pub api: String,
    /// Health and metrics.
    pub metrics: String,
}

/// The connection string of a policy, for each policy that every hub has.
#[must_use]
pub fn policy_connection_strings(host_name: &str, policies: &Policies) -> BTreeMap<String, String> {
    let built_in = BUILT_IN_POLICIES.iter().filter_map(|(name, _)| policies.get(name));
    let string =
        |name: &str, key: &SymmetricKey| format!("HostName={host_name};SharedAccessKeyName={name};SharedAccessKey={}", key.expose_base64());
    built_in.map(|policy| (policy.name.clone(), string(&policy.name, &policy.primary))).collect()
}

/// The connection string of Event Hubs' clients, with the policy that may read events and little else; empty when there is no such policy.
#[must_use]
pub fn event_hub_connection_string(names: &HubNames, policies: &Policies) -> String {
    let string = |policy: &Policy| {
        let (host, name, key) = (names.primary(), &policy.name, policy.primary.expose_base64());
        format!("Endpoint=sb://{host}/;SharedAccessKeyName={name};SharedAccessKey={key};EntityPath={}", names.event_hub_name())
    };
    policies.get(READING_POLICY).map(string).unwrap_or_default()
}

/// The connection string of a device; one that proves itself by a certificate has no secret in it.
#[must_use]
pub fn device_connection_string(host_name: &str, device: &DeviceId, authentication: &Authentication) -> String {
    match authentication {
        Authentication::SymmetricKey { primary, .. } => {
            format!("HostName={host_name};DeviceId={device};SharedAccessKey={}", primary.expose_base64())
        }
        Authentication::SelfSigned { .. } | Authentication::CertificateAuthority => {
            format!("HostName={host_name};DeviceId={device};x509=true")
        }
    }
}

impl HubDocument {
    /// With the link that signs somebody in.
    #[must_use]
    pub fn with_dashboard(&self, link: String) -> Self {
        Self { dashboard: Some(link), ..self.clone() }
    }

    /// The JSON text. It holds secrets.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and lists are JSON")
    }

    /// The same for people, with what to do next. It holds secrets.
    #[must_use]
    pub fn to_text(&self, data: &std::path::Path) -> String {
        let mut text = String::new();
        let _ = self.write_text(&mut text, data);
        text
    }

    fn write_text(&self, text: &mut String, data: &std::path::Path) -> fmt::Result {
        let Endpoints { mqtt, amqp, https, api, metrics } = &self.endpoints;
        writeln!(text, "The hub {} is running.\n", self.host_name)?;
        writeln!(text, "  MQTT             {mqtt}")?;
        writeln!(text, "  AMQP             {amqp}")?;
        writeln!(text, "  HTTPS, WebSocket {}", https.as_deref().unwrap_or("left out, see the log"))?;
        writeln!(text, "  API              {api}")?;
        writeln!(text, "  Health, metrics  {metrics}")?;
        writeln!(text, "  Data             {}", data.display())?;
        writeln!(text, "  Trust            {}\n", self.ca_file.display())?;
        if let Some(link) = &self.dashboard {
            writeln!(text, "The dashboard, good once and for ten minutes:\n\n  {link}\n")?;
        }
        writeln!(text, "Connection strings for back ends:\n")?;
        for (policy, string) in &self.connection_strings {
            writeln!(text, "  {policy:<17} {string}")?;
        }
        writeln!(text, "\nConnection string for Event Hubs' clients, which read the events:\n")?;
        writeln!(text, "  {READING_POLICY:<17} {}", self.event_hub_connection_string)?;
        if !self.devices.is_empty() {
            writeln!(text, "\nConnection strings for devices:\n")?;
        }
        for (device, string) in &self.devices {
            writeln!(text, "  {device:<17} {string}")?;
        }
        writeln!(text, "\nNext, in another terminal:\n")?;
        writeln!(text, "  export SSL_CERT_FILE={}", self.ca_file.display())?;
        if self.devices.is_empty() {
            writeln!(text, "  mooring-hub device create my-device")?;
        }
        writeln!(text, "  mooring-hub events")?;
        writeln!(text, "\nCtrl-C stops it.")
    }
}

impl fmt::Debug for HubDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubDocument({})", self.host_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> HubDocument {
        let endpoints = Endpoints {
            mqtt: "mqtts://localhost:8883".into(),
            amqp: "amqps://localhost:5671".into(),
            https: None,
            api: "https://localhost:8443".into(),
            metrics: "https://localhost:9464".into(),
        };
        HubDocument {
            host_name: "localhost".into(),
            ca_file: "/data/tls/ca.pem".into(),
            endpoints,
            dashboard: None,
            connection_strings: [("service".to_owned(), "HostName=localhost;…".to_owned())].into(),
            event_hub_connection_string: "Endpoint=sb://localhost/;…".to_owned(),
            devices: BTreeMap::new(),
        }
    }

    #[test]
    fn the_json_has_the_promised_names() {
        let json: serde_json::Value = serde_json::from_str(&document().to_json()).unwrap();
        let wanted = serde_json::json!({
            "hostName": "localhost",
            "caFile": "/data/tls/ca.pem",
            "endpoints": {
                "mqtt": "mqtts://localhost:8883",
                "amqp": "amqps://localhost:5671",
                "https": null,
                "api": "https://localhost:8443",
                "metrics": "https://localhost:9464",
            },
            "connectionStrings": { "service": "HostName=localhost;…" },
            "eventHubConnectionString": "Endpoint=sb://localhost/;…",
            "devices": {},
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn event_hubs_clients_find_the_events_by_the_hubs_first_label() {
        let primary = SymmetricKey::from_bytes(vec![1; 16]).unwrap();
        let service = Policy { name: "service".into(), secondary: primary.clone(), primary, permissions: Vec::new() };
        let names = HubNames::new("plant.example", &[]);
        assert_eq!(
            event_hub_connection_string(&names, &[service].into_iter().collect()),
            "Endpoint=sb://plant.example/;SharedAccessKeyName=service;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==;EntityPath=plant"
        );
        assert_eq!(event_hub_connection_string(&names, &Policies::default()), "");
    }

    #[test]
    fn a_person_is_told_what_to_do_next() {
        let text = document().to_text("/data".as_ref());
        assert!(
            text.contains("left out")
                && text.contains("mooring-hub device create my-device")
                && text.contains("SSL_CERT_FILE=/data/tls/ca.pem")
        );
    }
}
