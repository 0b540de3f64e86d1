//! Certificates and the verbs: who gets in by one, who is put out, and what the owner is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::core::certificate::tests::made::{MadeAuthority, chain, params, self_signed};
use crate::core::certificate::{CertificateFingerprint, PresentedChain, Thumbprint};
use crate::core::identity::{Authentication, DeviceIdentity, Version};
use crate::ops::authenticate::{AuthenticateError, Proof, authenticate_device, still_good};
use crate::ops::open_session::open_session;
use crate::ops::world::{NOW, World, device_token, identity, origin, policy_token};
use crate::store::Expected;

fn by_thumbprint(version: i64, primary: Option<&[u8]>, secondary: Option<&[u8]>) -> DeviceIdentity {
    let thumbprint = |der: &[u8]| -> Thumbprint { CertificateFingerprint::of(der).thumbprint() };
    let authentication = Authentication::SelfSigned { primary: primary.map(thumbprint), secondary: secondary.map(thumbprint) };
    DeviceIdentity { authentication, version: Version(version), ..identity("D") }
}

fn ca_signed(version: i64) -> DeviceIdentity {
    DeviceIdentity { authentication: Authentication::CertificateAuthority, version: Version(version), ..identity("D") }
}

async fn world_with(identity: DeviceIdentity) -> World {
    let world = World::new();
    world.write(Expected::Absent, Some(identity)).await;
    world
}

fn own() -> Vec<u8> {
    self_signed(&params(&["D"]))
}

#[tokio::test(start_paused = true)]
async fn either_thumbprint_opens_and_the_sessions_end_with_the_one_that_opened_them() {
    let [first, second, third] = [own(), own(), own()];
    let world = world_with(by_thumbprint(1, Some(&first), Some(&second))).await;
    let right = world.present("D", &chain(&[&first])).await.unwrap();
    assert!(right.credential.auth_method().contains("\"type\":\"x509Certificate\",\"issuer\":\"external\""));
    let session = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    assert!(world.present("D", &chain(&[&second])).await.is_ok());

    world.write(Expected::Version(Version(1)), Some(by_thumbprint(2, Some(&third), Some(&first)))).await;
    assert_eq!(session.ended(), None, "its certificate only moved to the other slot");
    world.write(Expected::Version(Version(2)), Some(by_thumbprint(3, Some(&third), None))).await;
    assert_eq!(session.ended(), Some(DisconnectReason::CertificateReplaced));
    assert!(!still_good(&world.hub, &right).await.unwrap());
    assert!(world.present("D", &chain(&[&first])).await.is_err(), "refused at the next connection");
    let thumbprint = CertificateFingerprint::of(&first).thumbprint();
    assert_eq!(world.last_reason("D"), format!("its certificate has the SHA-256 thumbprint {thumbprint}, and the device has another"));
}

#[tokio::test(start_paused = true)]
async fn another_way_to_authenticate_ends_the_session() {
    let first = own();
    for (before, after, reason) in [
        (by_thumbprint(1, Some(&first), None), identity("D"), DisconnectReason::CertificateReplaced),
        (by_thumbprint(1, Some(&first), None), ca_signed(2), DisconnectReason::CertificateReplaced),
        (identity("D"), by_thumbprint(2, Some(&first), None), DisconnectReason::KeyReplaced),
    ] {
        let by_key = matches!(before.authentication, Authentication::SymmetricKey { .. });
        let world = world_with(before).await;
        let right = if by_key { world.login("D", &device_token("D", 1)).await } else { world.present("D", &chain(&[&first])).await };
        let session = open_session(&world.hub, right.unwrap(), origin()).await.unwrap();
        world.write(Expected::Version(Version(1)), Some(DeviceIdentity { version: Version(2), ..after })).await;
        assert_eq!(session.ended(), Some(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_lasts_as_long_as_its_certificate() {
    let first = own();
    let world = world_with(by_thumbprint(1, Some(&first), None)).await;
    let right = world.present("D", &chain(&[&first])).await.unwrap();
    assert_eq!(right.good_until.to_string(), "2024-01-01T00:00:00.999Z");
    world.clock.0.store(right.good_until.plus(Duration::from_millis(1)).0, Ordering::Relaxed);
    assert!(!still_good(&world.hub, &right).await.unwrap());
    assert!(world.present("D", &chain(&[&first])).await.is_err());
    assert_eq!(world.last_reason("D"), "its certificate expired at 2024-01-01T00:00:00.999Z");
}

#[tokio::test(start_paused = true)]
async fn a_token_counts_alone_when_there_is_one() {
    let first = own();
    let presented = chain(&[&first]);
    let ask = async |world: &World, token: &str| {
        authenticate_device(&world.hub, "D", Proof { token: Some(token), certificate: Some(&presented) }, origin()).await
    };
    let by_keys = world_with(identity("D")).await;
    assert!(ask(&by_keys, &device_token("D", 1)).await.is_ok(), "a certificate beside it disturbs nobody");
    assert!(ask(&by_keys, &device_token("D", 9)).await.is_err());
    let by_certificate = world_with(by_thumbprint(1, Some(&first), None)).await;
    assert!(ask(&by_certificate, &device_token("D", 1)).await.is_err(), "the good certificate does not help a token that is none");
    assert_eq!(by_certificate.last_reason("D"), "it brought a token of its own, but the device authenticates by certificate");
    assert!(ask(&by_certificate, &policy_token("hub.example", "device")).await.is_ok(), "a token service speaks for any device");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_a_certificate_is_alike_and_its_reason_is_with_the_owner() {
    let [root, stranger] = [MadeAuthority::root("Plant \u{1b}[31m root"), MadeAuthority::root("Nobody\r\nknows")];
    let first = own();
    let issued = |names: &[&str]| chain(&[&root.issue(&params(names))]);
    let cases: [(DeviceIdentity, PresentedChain, &str); 7] = [
        (identity("D"), chain(&[&first]), "it brought a certificate and no token, but the device authenticates by symmetric keys"),
        (by_thumbprint(1, Some(&own()), None), chain(&[]), "its certificate can't be read"),
        (ca_signed(1), issued(&["E"]), "its certificate's common name is \"E\", which is not the device's id"),
        (ca_signed(1), issued(&[]), "its certificate's common name is missing or not the only one, which is not the device's id"),
        (
            ca_signed(1),
            chain(&[&stranger.issue(&params(&["D"]))]),
            "no authority of this hub stands behind its certificate, which was issued by \"CN=Nobody\u{fffd}\u{fffd}knows\"",
        ),
        (ca_signed(1), issued(&["D"]), "the authority pumps stands behind its certificate, but its id_prefix does not allow this device"),
        (ca_signed(1), chain(&[b"garbage"]), "its certificate can't be read"),
    ];
    for (identity, presented, reason) in cases {
        let world = world_with(identity).await;
        replace_device_authorities(&world.hub, [root.named("pumps", "pump-")].into_iter().collect());
        let asked = tokio::time::Instant::now();
        assert!(matches!(world.present("D", &presented).await, Err(AuthenticateError::Refused)), "{reason}");
        assert_eq!(asked.elapsed().as_millis(), 100, "{reason}");
        assert_eq!(world.last_reason("D"), reason);
    }
    let world = World::with_device("D").await;
    assert!(authenticate_device(&world.hub, "D", Proof { token: None, certificate: None }, origin()).await.is_err());
    assert_eq!(world.last_reason("D"), "it brought neither a token nor a certificate");
}

#[tokio::test(start_paused = true)]
async fn changing_an_authority_ends_the_sessions_that_came_in_by_it_and_no_other() {
    let [root, next] = [MadeAuthority::root("root"), MadeAuthority::root("next")];
    let world = world_with(ca_signed(1)).await;
    let presented = chain(&[&root.issue(&params(&["D"]))]);
    let authorities = |listed: &[&MadeAuthority]| listed.iter().map(|made| made.named("plant", "")).collect::<Authorities>();
    assert!(world.present("D", &presented).await.is_err(), "there is no authority yet");

    replace_device_authorities(&world.hub, authorities(&[&root]));
    let right = world.present("D", &presented).await.unwrap();
    assert_eq!(right.good_until.to_string(), "2024-01-01T00:00:00.999Z");
    assert!(NOW < right.good_until);
    let session = open_session(&world.hub, right.clone(), origin()).await.unwrap();
    replace_device_authorities(&world.hub, authorities(&[&root]));
    assert_eq!(session.ended(), None, "the same again");

    replace_device_authorities(&world.hub, authorities(&[&next]));
    assert_eq!(session.ended(), Some(DisconnectReason::CertificateReplaced));
    assert!(!still_good(&world.hub, &right).await.unwrap(), "nor over HTTPS");
    let late = open_session(&world.hub, right, origin()).await.unwrap();
    assert_eq!(late.ended(), Some(DisconnectReason::CertificateReplaced), "authenticated before the change, opened after it");
    assert!(world.present("D", &presented).await.is_err());
}
