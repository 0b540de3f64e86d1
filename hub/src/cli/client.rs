//! How a person's commands reach a hub: which one, with whose key, trusting whom; and the requests they make.
//!
//! Secrets come from files, standard input or the environment, never from the command line, where every process of the machine sees them.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::connection_string::ConnectionString;
use super::dev::default_data_folder;
use crate::core::sas::sign;
use crate::core::time::{Clock as _, UnixMillis};
use crate::serve::clock::SystemClock;
use crate::serve::dev::document::{HUB_FILE, HubDocument};

/// How long a request's token is good. Only a stream of events lasts that long, and it goes on with a new one.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How long a hub may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a hub may be silent while it answers; a stream of events says every 15 s that it is alive.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The port of the hub's own API.
const API_PORT: u16 = 8443;

/// The port of MQTT over TLS.
const MQTT_PORT: u16 = 8883;

/// Which hub. Without any of these: the one that `mooring-hub dev` runs on this machine.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which hub (by default the one that `mooring-hub dev` runs on this machine)")]
pub struct HubArguments {
    /// Data folder of a `mooring-hub dev`, whose hub.json says where it is and holds its keys
    #[arg(long, global = true, value_name = "DIR", env = "MOORING_DATA")]
    data: Option<PathBuf>,
    /// File with a policy's connection string, `-` for standard input [else: the variable IOTHUB_CONNECTION_STRING]
    #[arg(long, global = true, value_name = "FILE")]
    connection_string_file: Option<PathBuf>,
    /// File with the certificates (PEM) to trust [default: the one of hub.json, else what the system trusts]
    #[arg(long, global = true, value_name = "FILE", env = "MOORING_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Address of the hub's API [default: the one of hub.json, else https://HOST:8443]
    #[arg(long, global = true, value_name = "URL", env = "MOORING_API")]
    api: Option<String>,
}

/// Where keys come from.
enum Source {
    /// A hub of this machine.
    Document(Box<HubDocument>),
    /// A policy of any hub.
    Policy(ConnectionString),
}

/// Where devices reach a hub, and how.
pub struct DeviceEndpoints {
    /// The hub's name, as it is in connection strings.
    pub host_name: String,
    /// Host and port.
    pub mqtt: (String, u16),
    /// Without a slash at its end; `None` where the hub has no port for it.
    pub https: Option<String>,
    /// Trusts the hub, and remembers nothing from one connection to the next: every device is a stranger.
    pub tls: Arc<rustls::ClientConfig>,
    /// For HTTPS.
    pub http: reqwest::Client,
}

/// A hub, and the right to speak with it.
#[derive(Clone, Debug)]
pub struct HubClient {
    http: reqwest::Client,
    api: String,
    credentials: ConnectionString,
}

impl HubArguments {
    /// A client with the rights of `policy` where there is a choice; otherwise with those of the connection string that was given.
    pub async fn connect(&self, policy: &str) -> Result<HubClient> {
        let source = self.source()?;
        let credentials = match &source {
            Source::Policy(credentials) => credentials.clone(),
            Source::Document(document) => policy_of(document, policy)?,
        };
        let api = match (&self.api, &source) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Source::Document(document)) => document.endpoints.api.clone(),
            (None, Source::Policy(credentials)) => format!("https://{}:{API_PORT}", credentials.host_name),
        };
        let here = host_on_this_machine(Some(&source)).await;
        Ok(HubClient { http: self.http_client(Some(&source), here)?, api, credentials })
    }

    /// Where devices of the hub `host_name` connect, or of the hub that was named; the API's address says nothing about that.
    pub async fn device_endpoints(&self, host_name: Option<&str>) -> Result<DeviceEndpoints> {
        let source = match (self.source(), host_name) {
            (Ok(Source::Document(document)), Some(name)) if document.host_name != name => None,
            (Ok(source), _) => Some(source),
            (Err(_), Some(_)) => None,
            (Err(error), None) => return Err(error),
        };
        let here = host_on_this_machine(source.as_ref()).await;
        let (host_name, mqtt, https) = match (&source, host_name) {
            (Some(Source::Document(document)), _) => {
                let mqtt = host_and_port(&document.endpoints.mqtt).context("hub.json does not say where MQTT is")?;
                // A laptop's hub has a certificate for localhost as well.
                let mqtt = if here.is_some() { ("localhost".to_owned(), mqtt.1) } else { mqtt };
                (document.host_name.clone(), mqtt, document.endpoints.https.clone())
            }
            (_, Some(name)) => (name.to_owned(), (name.to_owned(), MQTT_PORT), Some(format!("https://{name}"))),
            (Some(Source::Policy(policy)), None) => {
                let name = &policy.host_name;
                (name.clone(), (name.clone(), MQTT_PORT), Some(format!("https://{name}")))
            }
            (None, None) => bail!("no hub was named"),
        };
        let mut tls = tls_config(self.ca_file(source.as_ref()))?;
        tls.resumption = rustls::client::Resumption::disabled();
        tls.alpn_protocols.clear();
        Ok(DeviceEndpoints { host_name, mqtt, https, tls: Arc::new(tls), http: self.http_client(source.as_ref(), here)? })
    }

    fn ca_file<'a>(&'a self, source: Option<&'a Source>) -> Option<&'a Path> {
        match (&self.ca_file, source) {
            (Some(file), _) => Some(file),
            (None, Some(Source::Document(document))) => Some(&document.ca_file),
            (None, Some(Source::Policy(_)) | None) => None,
        }
    }

    fn http_client(&self, source: Option<&Source>, here: Option<&str>) -> Result<reqwest::Client> {
        let mut tls = tls_config(self.ca_file(source))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut builder = reqwest::Client::builder()
            .use_preconfigured_tls(tls)
            .user_agent(concat!("mooring-hub/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .no_proxy();
        if let Some(host_name) = here {
            builder = builder.resolve(host_name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        builder.build().context("the HTTPS client can't be made")
    }

    /// The connection string of `policy` from hub.json, or the one that was given, whose policy it then has to be.
    pub fn policy(&self, policy: &str) -> Result<ConnectionString> {
        match self.source()? {
            Source::Document(document) => policy_of(&document, policy),
            Source::Policy(credentials) if credentials.policy.as_deref() == Some(policy) => Ok(credentials),
            Source::Policy(_) => bail!("the connection string is of another policy than {policy}"),
        }
    }

    fn source(&self) -> Result<Source> {
        if let Some(file) = &self.connection_string_file {
            let text = read_secret(file)?;
            return Ok(Source::Policy(policy_string(&text).with_context(|| format!("in {}", file.display()))?));
        }
        if let Some(data) = &self.data {
            return read_document(data).map(|document| Source::Document(Box::new(document)));
        }
        if let Ok(text) = std::env::var("IOTHUB_CONNECTION_STRING") {
            return Ok(Source::Policy(policy_string(&text).context("in the variable IOTHUB_CONNECTION_STRING")?));
        }
        let data = default_data_folder().context("neither HOME nor XDG_DATA_HOME is set: say where the data is with --data")?;
        read_document(&data).map(|document| Source::Document(Box::new(document)))
    }
}

impl HubClient {
    /// The hub's name, as it is in connection strings.
    #[must_use]
    pub fn host_name(&self) -> &str {
        &self.credentials.host_name
    }

    /// A request with a new token; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let expiry = now().plus(TOKEN_LIFETIME);
        let token = sign(&self.credentials.host_name, expiry, &self.credentials.key, self.credentials.policy.as_deref());
        self.http.request(method, format!("{}{path}", self.api)).header("authorization", token)
    }

    /// Sends a request; what does not succeed is an error that a person can do something about.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        self.send_unless(StatusCode::OK, request).await
    }

    /// The same for a request that may be answered with `also`, which is no success, and then has something to say.
    pub async fn send_unless(&self, also: StatusCode, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() || response.status() == also {
            return Ok(response);
        }
        let status = response.status();
        let code = response.headers().get("iothub-errorcode").and_then(|code| code.to_str().ok()).unwrap_or_default().to_owned();
        let body: Value = response.json().await.unwrap_or_default();
        // `ErrorCode:<code>;<text>`.
        let text =
            body["Message"].as_str().and_then(|message| message.split_once(';')).map(|(_, text)| text.to_owned()).unwrap_or_default();
        Err(Refused { status, code, text, policy: self.credentials.policy.clone().unwrap_or_default() }.into())
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let api = &self.api;
        let advice = if is_certificate_error(&error) {
            format!("the certificate of {api} is not trusted: name the hub's CA with --ca-file")
        } else if error.is_connect() {
            format!("no hub answers at {api}: is it running? `mooring-hub dev` starts one; --api names another address")
        } else {
            format!("the hub at {api} did not answer")
        };
        anyhow!(error.without_url()).context(advice)
    }
}

/// The name of a laptop's hub that only its devices' machines know. It is on this one.
async fn host_on_this_machine(source: Option<&Source>) -> Option<&str> {
    let Some(Source::Document(document)) = source else { return None };
    let unknown = tokio::net::lookup_host((document.host_name.as_str(), API_PORT)).await.is_err();
    unknown.then_some(&document.host_name)
}

/// Of `scheme://host:port`, where an IPv6 address has brackets.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (host, port) = url.split_once("://")?.1.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

/// The hub said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP's word for it.
    pub status: StatusCode,
    /// Azure's.
    pub code: String,
    text: String,
    policy: String,
}

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.status == StatusCode::UNAUTHORIZED {
            return write!(
                f,
                "the hub refused the key of the policy {:?}: it has another one, the policy may not do this, or the clocks differ \
                 (the hub's log says which)",
                self.policy
            );
        }
        match (self.text.as_str(), self.code.as_str()) {
            ("", _) => write!(f, "the hub answered {}", self.status),
            (text, "") => f.write_str(text),
            (text, code) => write!(f, "{text} ({code})"),
        }
    }
}

/// The time of this machine.
#[must_use]
pub fn now() -> UnixMillis {
    SystemClock.now()
}

/// A secret from a file, or from standard input for `-`.
pub fn read_secret(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
        return Ok(text.trim().to_owned());
    }
    Ok(fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?.trim().to_owned())
}

fn read_document(data: &Path) -> Result<HubDocument> {
    let file = data.join(HUB_FILE);
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no {}: start a hub with `mooring-hub dev`, name its data folder with --data, or another hub with \
             --connection-string-file",
            file.display()
        ),
        read => read.with_context(|| format!("{} can't be read", file.display()))?,
    };
    serde_json::from_str(&text).with_context(|| format!("{} is damaged: `mooring-hub dev` writes it anew", file.display()))
}

fn policy_of(document: &HubDocument, policy: &str) -> Result<ConnectionString> {
    let text = document.connection_strings.get(policy).with_context(|| {
        let known: Vec<_> = document.connection_strings.keys().map(String::as_str).collect();
        format!("the hub has no policy {policy:?}; it has {}", known.join(", "))
    })?;
    policy_string(text).context("in hub.json")
}

fn policy_string(text: &str) -> Result<ConnectionString> {
    let string = ConnectionString::parse(text)?;
    ensure!(string.policy.is_some(), "this is a device's connection string; what is needed is a policy's, with SharedAccessKeyName");
    Ok(string)
}

/// Trusts the certificates of the file alone, or without one what the system trusts.
fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = ca_file {
        let certificates = CertificateDer::pem_file_iter(file).with_context(|| format!("{} can't be read", file.display()))?;
        for certificate in certificates {
            roots.add(certificate?).with_context(|| format!("{} holds a certificate that can't be trusted", file.display()))?;
        }
        ensure!(!roots.is_empty(), "{} holds no certificate", file.display());
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = HubArguments { data: Some(folder.path().to_owned()), ..HubArguments::default() };
        let error = format!("{:#}", arguments.policy("service").unwrap_err());
        assert!(error.contains("mooring-hub dev") && error.contains("--data"), "{error}");

        fs::write(folder.path().join("cs"), "HostName=h;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==").unwrap();
        let arguments = HubArguments { connection_string_file: Some(folder.path().join("cs")), ..HubArguments::default() };
        let error = format!("{:#}", arguments.policy("service").unwrap_err());
        assert!(error.contains("a policy's, with SharedAccessKeyName"), "{error}");
    }

    #[test]
    fn a_refusal_says_what_the_hub_said() {
        let refused = |status: u16, code: &str, text: &str| Refused {
            status: StatusCode::from_u16(status).unwrap(),
            code: code.into(),
            text: text.into(),
            policy: "service".into(),
        };
        assert_eq!(refused(404, "DeviceNotFound", "Device d not registered").to_string(), "Device d not registered (DeviceNotFound)");
        assert_eq!(refused(502, "", "").to_string(), "the hub answered 502 Bad Gateway");
        assert!(refused(401, "IotHubUnauthorizedAccess", "Unauthorized").to_string().contains("the policy \"service\""));
    }
}
