//! Makes a command trust the laptop's authority beside everything that it trusts already, in whatever language it is written.
//!
//! Owns the files for that and the environment variables that name them. Never changes anything outside its folder.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::java_trust_store;
use crate::core::time::UnixMillis;

/// Variables that name a file of trusted certificates. What such a file holds by the caller's own choice stays trusted.
const BUNDLE_VARIABLES: [&str; 4] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// Which file our own `sitecustomize` hands to certifi's users.
const CERTIFI_VARIABLE: &str = "MOORING_CA_BUNDLE";

/// Runs at the start of every Python that has its folder on the path.
const SITECUSTOMIZE: &str = include_str!("sitecustomize.py");

/// A file for clients could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The authority's certificate can't be read back.
    #[error("the authority's certificate {path} can't be read")]
    Authority {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file that can't be written.
    #[error("{path} can't be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the files into `folder`, and answers with the variables that make clients use them. `inherited` looks up the caller's own.
pub fn trust_authority(
    folder: &Path,
    authority: &Path,
    inherited: impl Fn(&str) -> Option<OsString>,
    now: UnixMillis,
) -> Result<Vec<(&'static str, OsString)>, TrustError> {
    let certificates = trusted_certificates(authority, &inherited)?;
    let bundle = folder.join("ca-bundle.pem");
    let trust_store = folder.join("trust.jks");
    let python = folder.join("python");
    fs::create_dir_all(&python).map_err(|source| TrustError::Write { path: python.clone(), source })?;
    write(&bundle, certificates.iter().map(|certificate| pem(certificate)).collect::<String>().as_bytes())?;
    write(&trust_store, &java_trust_store::encode(certificates.iter().map(AsRef::as_ref), now))?;
    write(&python.join("sitecustomize.py"), SITECUSTOMIZE.as_bytes())?;

    let mut variables: Vec<_> = BUNDLE_VARIABLES.into_iter().map(|name| (name, bundle.clone().into_os_string())).collect();
    variables.push((CERTIFI_VARIABLE, bundle.into_os_string()));
    variables.push(("PYTHONPATH", python_path(&python, inherited("PYTHONPATH"))));
    variables.push(("JAVA_TOOL_OPTIONS", java_options(&trust_store, inherited("JAVA_TOOL_OPTIONS"))));
    Ok(variables)
}

/// Ours, the system's, and those of the files that the caller had named; each once.
fn trusted_certificates(
    authority: &Path,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Result<HashSet<CertificateDer<'static>>, TrustError> {
    let own = CertificateDer::from_pem_file(authority).map_err(|source| TrustError::Authority { path: authority.to_path_buf(), source })?;
    // Damaged roots are left out, as every client leaves them out.
    let system = rustls_native_certs::load_native_certs().certs;
    let named = BUNDLE_VARIABLES.into_iter().filter_map(inherited).filter_map(|path| CertificateDer::pem_file_iter(path).ok());
    Ok([own].into_iter().chain(system).chain(named.flatten().filter_map(Result::ok)).collect())
}

/// The folder comes first, so that its `sitecustomize` is the one that Python finds; it runs the others.
fn python_path(folder: &Path, inherited: Option<OsString>) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(inherited) = inherited.filter(|inherited| !inherited.is_empty()) {
        path.push(OsStr::new(":"));
        path.push(inherited);
    }
    path
}

/// The caller's own options come last, so that they win.
fn java_options(trust_store: &Path, inherited: Option<OsString>) -> OsString {
    let mut options = OsString::from("\"-Djavax.net.ssl.trustStore=");
    options.push(trust_store);
    options.push("\" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword=");
    options.push(java_trust_store::PASSWORD);
    if let Some(own) = inherited.filter(|own| !own.is_empty()) {
        options.push(OsStr::new(" "));
        options.push(own);
    }
    options
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("Base64 is ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), TrustError> {
    fs::write(path, contents).map_err(|source| TrustError::Write { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    struct Made {
        folder: tempfile::TempDir,
        variables: BTreeMap<&'static str, OsString>,
        authority: rcgen::CertifiedKey<rcgen::KeyPair>,
    }

    fn make(inherited: &[(&str, OsString)]) -> Made {
        let folder = tempfile::tempdir().unwrap();
        let authority = rcgen::generate_simple_self_signed(["authority.example".to_owned()]).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.cert.pem()).unwrap();
        let look_up = |name: &str| inherited.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let variables = trust_authority(folder.path(), &folder.path().join("ca.pem"), look_up, UnixMillis(0)).unwrap();
        Made { variables: variables.into_iter().collect(), folder, authority }
    }

    fn bundle(made: &Made) -> HashSet<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&made.variables["SSL_CERT_FILE"]).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_bundle_has_our_authority_the_systems_roots_and_the_callers_own() {
        let corporate = rcgen::generate_simple_self_signed(["corporate.example".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corporate.pem");
        fs::write(&path, corporate.cert.pem()).unwrap();
        let made = make(&[("NODE_EXTRA_CA_CERTS", path.into_os_string())]);
        let bundle = bundle(&made);
        assert!(bundle.contains(made.authority.cert.der()) && bundle.contains(corporate.cert.der()));
        assert!(rustls_native_certs::load_native_certs().certs.iter().all(|root| bundle.contains(root)));
        for name in BUNDLE_VARIABLES {
            assert_eq!(made.variables[name], made.folder.path().join("ca-bundle.pem"));
        }
    }

    #[test]
    fn what_the_caller_had_set_is_kept() {
        let made = make(&[("PYTHONPATH", "/a:/b".into()), ("JAVA_TOOL_OPTIONS", "-Xmx1g".into())]);
        let python = made.variables["PYTHONPATH"].to_str().unwrap();
        assert!(python.ends_with("/python:/a:/b"), "{python}");
        let java = made.variables["JAVA_TOOL_OPTIONS"].to_str().unwrap();
        assert!(java.ends_with("trustStorePassword=changeit -Xmx1g"), "{java}");
        assert!(make(&[]).variables["PYTHONPATH"].to_str().unwrap().ends_with("/python"));
    }

    /// Where Python is installed, it is the judge: certifi, even a fake one, answers with our bundle, and the next sitecustomize runs.
    #[test]
    fn python_finds_our_bundle_in_certifi() {
        let modules = tempfile::tempdir().unwrap();
        fs::write(modules.path().join("certifi.py"), "def where(): return 'its own'\ndef contents(): return 'its own'\n").unwrap();
        fs::write(modules.path().join("sitecustomize.py"), "import sys\nsys.next_ran = True\n").unwrap();
        let made = make(&[("PYTHONPATH", modules.path().into())]);
        let script = "import sys, certifi; print(certifi.where(), sys.next_ran, certifi.contents().startswith('-----BEGIN'))";
        let Ok(output) = Command::new("python3").args(["-c", script]).envs(&made.variables).output() else { return };
        let wanted = format!("{} True True\n", made.variables["SSL_CERT_FILE"].to_str().unwrap());
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
