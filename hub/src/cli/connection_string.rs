//! Connection strings as Azure's clients have them: `HostName=H;SharedAccessKeyName=P;SharedAccessKey=K` or `HostName=H;DeviceId=D;SharedAccessKey=K`.

use crate::core::identity::{InvalidKey, SymmetricKey};

/// A connection string, taken apart. What it does not need is `None`.
#[derive(Clone, Debug)]
pub struct ConnectionString {
    /// `HostName`.
    pub host_name: String,
    /// `SharedAccessKeyName`, the policy.
    pub policy: Option<String>,
    /// `DeviceId`.
    pub device_id: Option<String>,
    /// `SharedAccessKey`.
    pub key: SymmetricKey,
}

/// A text that is no connection string. Says nothing of what is in it, since that is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnectionString {
    /// A part without `=`.
    #[error("a connection string is name=value, joined by semicolons")]
    Part,
    /// A name that is not there.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// A key that is none.
    #[error("the connection string's SharedAccessKey is none")]
    Key(#[from] InvalidKey),
}

impl ConnectionString {
    /// Names are compared without case; unknown ones are passed over.
    pub fn parse(text: &str) -> Result<Self, InvalidConnectionString> {
        let (mut host_name, mut policy, mut device_id, mut key) = (None, None, None, None);
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            // Keys end in `=` themselves.
            let (name, value) = part.split_once('=').ok_or(InvalidConnectionString::Part)?;
            match name.trim().to_ascii_lowercase().as_str() {
                "hostname" => host_name = Some(value.to_owned()),
                "sharedaccesskeyname" => policy = Some(value.to_owned()),
                "deviceid" => device_id = Some(value.to_owned()),
                "sharedaccesskey" => key = Some(SymmetricKey::from_base64(value)?),
                _ => {}
            }
        }
        Ok(Self {
            host_name: host_name.ok_or(InvalidConnectionString::Missing("HostName"))?,
            policy,
            device_id,
            key: key.ok_or(InvalidConnectionString::Missing("SharedAccessKey"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read_and_damage_is_named_without_the_secret() {
        let key = "AAECAwQFBgcICQoLDA0ODw==";
        let policy = ConnectionString::parse(&format!("HostName=h;SharedAccessKeyName=service;SharedAccessKey={key}\n")).unwrap();
        assert_eq!((policy.host_name.as_str(), policy.policy.as_deref(), policy.device_id), ("h", Some("service"), None));
        assert_eq!(policy.key.expose_base64(), key);
        let device = ConnectionString::parse(&format!("HostName=h;DeviceId=d=1;SharedAccessKey={key};x509=false")).unwrap();
        assert_eq!((device.policy, device.device_id.as_deref()), (None, Some("d=1")));
        for (text, error) in [
            ("HostName", InvalidConnectionString::Part),
            ("DeviceId=d", InvalidConnectionString::Missing("HostName")),
            ("HostName=h", InvalidConnectionString::Missing("SharedAccessKey")),
            ("HostName=h;SharedAccessKey=x", InvalidConnectionString::Key(InvalidKey::NotBase64)),
        ] {
            assert_eq!(ConnectionString::parse(text).unwrap_err(), error);
        }
    }
}
