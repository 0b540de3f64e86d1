//! A Java key store of trusted certificates, in the JKS form, which every Java from 8 on reads.
//!
//! Writing PKCS #12 as Java wants it takes a dozen crates; this form takes a page. It holds nothing secret, so what is weak about JKS
//! (its encryption of private keys) does not matter here.

use sha1::{Digest as _, Sha1};

use crate::core::time::UnixMillis;

/// The password that Java's own trust store has. It protects nothing: it keys a checksum.
pub const PASSWORD: &str = "changeit";

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;

/// The bytes of a key store that trusts these certificates (DER).
#[must_use]
pub fn encode<'a>(certificates: impl ExactSizeIterator<Item = &'a [u8]>, now: UnixMillis) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_u32(&mut bytes, MAGIC);
    put_u32(&mut bytes, VERSION);
    put_u32(&mut bytes, u32::try_from(certificates.len()).expect("a machine trusts a few hundred certificates"));
    for (number, certificate) in certificates.enumerate() {
        put_u32(&mut bytes, TRUSTED_CERTIFICATE);
        put_text(&mut bytes, &format!("root-{number}"));
        bytes.extend(now.0.to_be_bytes());
        put_text(&mut bytes, "X.509");
        put_u32(&mut bytes, u32::try_from(certificate.len()).expect("a certificate has a few kilobytes"));
        bytes.extend(certificate);
    }
    let mut checksum = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        checksum.update(unit.to_be_bytes());
    }
    checksum.update(b"Mighty Aphrodite");
    checksum.update(&bytes);
    bytes.extend(checksum.finalize());
    bytes
}

fn put_u32(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u16::try_from(text.len()).expect("aliases and types are short").to_be_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_form_is_the_documented_one() {
        let bytes = encode([&b"abc"[..]].into_iter(), UnixMillis(0x0102_0304));
        let entry = b"\0\0\0\x02\0\x06root-0\0\0\0\0\x01\x02\x03\x04\0\x05X.509\0\0\0\x03abc";
        assert_eq!(bytes[..12], *b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01");
        assert_eq!(bytes[12..bytes.len() - 20], *entry);
    }

    /// Where Java is installed, it is the judge.
    #[test]
    fn java_reads_trusted_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.jks");
        let one = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
        let two = rcgen::generate_simple_self_signed(["two.example".to_owned()]).unwrap();
        let certificates = [one.cert.der().as_ref(), two.cert.der().as_ref()];
        std::fs::write(&path, encode(certificates.into_iter(), UnixMillis(0))).unwrap();
        let listed = Command::new("keytool").args(["-list", "-storepass", PASSWORD, "-keystore"]).arg(&path).output();
        let Ok(listed) = listed else { return };
        let words = String::from_utf8_lossy(&listed.stdout);
        assert!(listed.status.success() && words.matches("trustedCertEntry").count() == 2, "{words}");
    }
}
