use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use self::made::{MadeAuthority, authority_params, chain, for_servers_only, params, self_signed};
use super::authorities::{Authorities, Authority, InvalidAuthority};
use super::*;

pub(crate) mod made;

/// 2023-11-14, within the time of every certificate that is made here.
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// 2024-01-01T00:00:00Z, the last second of every certificate made here, to its end.
const LAST: UnixMillis = UnixMillis(1_704_067_200_999);

fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

fn thumbprints(certificate: &[u8]) -> [Thumbprint; 2] {
    [Thumbprint::Sha1(Sha1::digest(certificate).into()), Thumbprint::Sha256(Sha256::digest(certificate).into())]
}

#[test]
fn a_thumbprint_is_read_in_every_spelling_and_shown_in_one() {
    let text = "0123456789ABCDEF0123456789abcdef01234567";
    let colons = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":");
    for spelling in [text, &text.to_lowercase(), &colons] {
        assert_eq!(spelling.parse::<Thumbprint>().unwrap().to_string(), text.to_uppercase());
    }
    assert!(matches!("ab".repeat(32).parse(), Ok(Thumbprint::Sha256(bytes)) if bytes == [0xab; 32]));
    for wrong in ["", ":", &"a".repeat(39), &"a".repeat(41), &"a".repeat(63), &"g".repeat(40), &"ab ".repeat(20), &"é".repeat(40)] {
        assert_eq!(wrong.parse::<Thumbprint>(), Err(InvalidThumbprint), "{wrong:?}");
    }
}

#[test]
fn a_self_signed_certificate_is_told_by_either_thumbprint_in_either_slot() {
    let own = self_signed(&params(&["whatever"]));
    let other = thumbprints(&self_signed(&params(&["whatever"])))[1];
    for known in thumbprints(&own) {
        for (primary, secondary) in [(Some(&known), None), (None, Some(&known)), (Some(&other), Some(&known)), (Some(&known), Some(&other))]
        {
            let (fingerprint, good_until) = chain(&[&own]).prove_self_signed(primary, secondary, NOW).unwrap();
            assert_eq!((fingerprint, good_until), (CertificateFingerprint::of(&own), LAST));
        }
    }
    let refused = chain(&[&own]).prove_self_signed(Some(&other), None, NOW);
    assert_eq!(refused, Err(CertificateRefused::UnknownThumbprint(thumbprints(&own)[1])));
    assert!(chain(&[&own]).prove_self_signed(None, None, NOW).is_err());
    assert_eq!(chain(&[]).prove_self_signed(Some(&other), None, NOW), Err(CertificateRefused::Unreadable));
}

#[test]
fn a_self_signed_certificate_holds_in_its_time_alone() {
    let own = self_signed(&params(&["d"]));
    let [_, known] = thumbprints(&own);
    let prove = |now| chain(&[&own]).prove_self_signed(Some(&known), None, now).map(drop);
    assert_eq!(prove(LAST), Ok(()));
    assert_eq!(prove(UnixMillis(LAST.0 + 1)), Err(CertificateRefused::Expired(LAST)));
    let first = UnixMillis(1_672_531_200_000);
    assert_eq!(prove(first), Ok(()));
    assert_eq!(prove(UnixMillis(first.0 - 1)), Err(CertificateRefused::NotYetValid(first)));
}

#[test]
fn an_authority_stands_behind_what_it_issued_directly_or_through_another() {
    let root = MadeAuthority::root("root");
    let factory = root.intermediate("factory");
    let authorities: Authorities = [root.named("root", "")].into_iter().collect();
    let direct = root.issue(&params(&["d"]));
    let through = factory.issue(&params(&["d"]));
    assert_eq!(authorities.prove(&chain(&[&direct]), &device("d"), NOW).unwrap().1, LAST);
    let (issued, _) = authorities.prove(&chain(&[&through, factory.der()]), &device("d"), NOW).unwrap();
    assert!(authorities.still_stand_behind(&issued, &device("d")));
    let missing = authorities.prove(&chain(&[&through]), &device("d"), NOW);
    assert_eq!(missing, Err(CertificateRefused::UnknownAuthority { issuer: "CN=factory".to_owned() }), "without the intermediate");
    // The intermediate itself may be what is believed.
    let pinned: Authorities = [factory.named("factory", "")].into_iter().collect();
    assert!(pinned.prove(&chain(&[&through]), &device("d"), NOW).is_ok());
    assert!(pinned.prove(&chain(&[&direct]), &device("d"), NOW).is_err());
}

#[test]
fn an_issued_certificate_is_for_the_one_device_of_its_common_name() {
    let root = MadeAuthority::root("root");
    let authorities: Authorities = [root.named("root", "")].into_iter().collect();
    let prove = |names: &[&str]| authorities.prove(&chain(&[&root.issue(&params(names))]), &device("pump-1"), NOW).map(drop);
    assert_eq!(prove(&["pump-1"]), Ok(()));
    for wrong in ["pump-2", "PUMP-1", "pump-1 ", "pump-1\0", "pump-1.example"] {
        assert_eq!(prove(&[wrong]), Err(CertificateRefused::OtherCommonName(Some(wrong.to_owned()))));
    }
    for none_or_several in [&[][..], &["pump-1", "pump-2"], &["pump-1", "pump-1"]] {
        assert_eq!(prove(none_or_several), Err(CertificateRefused::OtherCommonName(None)));
    }
}

#[test]
fn an_authority_speaks_for_its_prefix_alone() {
    let (root, other) = (MadeAuthority::root("root"), MadeAuthority::root("other"));
    let authorities: Authorities = [root.named("pumps", "pump-"), other.named("other", "")].into_iter().collect();
    let prove = |id: &str| authorities.prove(&chain(&[&root.issue(&params(&[id]))]), &device(id), NOW).map(drop);
    assert_eq!(prove("pump-1"), Ok(()));
    assert_eq!(prove("valve-1"), Err(CertificateRefused::NameNotAllowed { authority: "pumps".to_owned() }));
    // The same certificate under two names: either will do.
    let twice: Authorities = [root.named("pumps", "pump-"), root.named("valves", "valve-")].into_iter().collect();
    assert!(twice.prove(&chain(&[&root.issue(&params(&["valve-1"]))]), &device("valve-1"), NOW).is_ok());
}

#[test]
fn what_an_authority_may_sign_is_what_it_says_itself() {
    let saying = |says: &dyn Fn(&mut CertificateParams)| {
        let mut params = authority_params("root");
        says(&mut params);
        MadeAuthority::root_with(params)
    };
    let pathlen_0 = saying(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let pathlen_1 = saying(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    for (root, may) in [(pathlen_0, [true, false, false]), (pathlen_1, [true, true, false])] {
        let authorities: Authorities = [root.named("root", "")].into_iter().collect();
        let first = root.intermediate("first");
        let second = first.intermediate("second");
        let d = params(&["d"]);
        let chains = [
            vec![root.issue(&d)],
            vec![first.issue(&d), first.der().to_vec()],
            vec![second.issue(&d), second.der().to_vec(), first.der().to_vec()],
        ];
        for (certificates, may) in chains.iter().zip(may) {
            let presented: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
            let proved = authorities.prove(&chain(&presented), &device("d"), NOW);
            assert!(if may { proved.is_ok() } else { matches!(proved, Err(CertificateRefused::Unsound(_))) }, "{proved:?}");
        }
    }
    let good = |params: &mut CertificateParams| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    };
    let _ = saying(&good).named("root", "");
    let refusal = |root: &MadeAuthority| Authority::new("a", "", &[root.der()]).unwrap_err();
    let crls = saying(&|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(refusal(&crls), InvalidAuthority::NotForSigning(1));
    let servers = saying(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(refusal(&servers), InvalidAuthority::NotForClients(1));
}

#[test]
fn a_key_usage_counts_where_there_is_one() {
    let root = MadeAuthority::root("root");
    let authorities: Authorities = [root.named("root", "")].into_iter().collect();
    let with = |mut params: CertificateParams, usage: KeyUsagePurpose| {
        params.key_usages = vec![usage];
        params
    };
    let own = |usage| root.issue(&with(params(&["d"]), usage));
    assert!(authorities.prove(&chain(&[&own(KeyUsagePurpose::DigitalSignature)]), &device("d"), NOW).is_ok());
    let refused = authorities.prove(&chain(&[&own(KeyUsagePurpose::KeyEncipherment)]), &device("d"), NOW);
    assert_eq!(refused, Err(CertificateRefused::Unsound("its keyUsage lacks digitalSignature".to_owned())));
    for (usage, may) in [(KeyUsagePurpose::KeyCertSign, true), (KeyUsagePurpose::DigitalSignature, false)] {
        let link = root.intermediate_with(with(authority_params("link"), usage));
        let presented = link.issue(&params(&["d"]));
        let proved = authorities.prove(&chain(&[&presented, link.der()]), &device("d"), NOW);
        assert!(if may { proved.is_ok() } else { matches!(proved, Err(CertificateRefused::Unsound(_))) }, "{proved:?}");
    }
}

#[test]
fn an_intermediate_keeps_its_prefix_below_a_root_that_may_speak_for_all() {
    let root = MadeAuthority::root("root");
    let presses = root.intermediate("presses");
    let below = presses.intermediate("below");
    let factory = root.intermediate("factory");
    let authorities: Authorities = [root.named("root", ""), presses.named("presses", "press-")].into_iter().collect();
    let prove = |issuer: &MadeAuthority, id: &str, links: &[&MadeAuthority]| {
        let own = issuer.issue(&params(&[id]));
        let presented: Vec<&[u8]> = [&own[..]].into_iter().chain(links.iter().map(|link| link.der())).collect();
        authorities.prove(&chain(&presented), &device(id), NOW).map(drop)
    };
    let refused = Err(CertificateRefused::NameNotAllowed { authority: "presses".to_owned() });
    assert_eq!(prove(&presses, "press-1", &[&presses]), Ok(()));
    assert_eq!(prove(&presses, "pump-1", &[&presses]), refused);
    assert_eq!(prove(&below, "pump-1", &[&below, &presses]), refused, "nor through another");
    assert_eq!(prove(&factory, "pump-1", &[&factory, &presses]), Ok(()), "whose certificate is not on the way");
    // Another section that has it, too, may speak.
    let authorities: Authorities =
        [root.named("root", ""), presses.named("presses", "press-"), presses.named("pumps", "pump-")].into_iter().collect();
    let own = presses.issue(&params(&["pump-1"]));
    assert!(authorities.prove(&chain(&[&own, presses.der()]), &device("pump-1"), NOW).is_ok());
}

#[test]
fn an_authority_renewed_with_its_key_stands_behind_its_devices_for_the_longer_time() {
    let root = MadeAuthority::root("root");
    let mut later = authority_params("root");
    later.not_after = date_time_ymd(2030, 1, 1);
    let renewed = root.renewed(&later);
    let mut long = params(&["d"]);
    long.not_after = date_time_ymd(2029, 1, 1);
    let own = root.issue(&long);
    for both in [[root.der(), &renewed], [&renewed, root.der()]] {
        let authorities: Authorities = [Authority::new("plant", "", &both).unwrap()].into_iter().collect();
        let (issued, good_until) = authorities.prove(&chain(&[&own]), &device("d"), NOW).unwrap();
        assert!(good_until > LAST, "the old certificate ends it");
        let without_the_old: Authorities = [Authority::new("plant", "", &[&renewed]).unwrap()].into_iter().collect();
        assert!(without_the_old.still_stand_behind(&issued, &device("d")));
    }
}

/// Counts what another does.
#[derive(Debug)]
struct Counting {
    inner: &'static dyn SignatureVerificationAlgorithm,
    checks: AtomicUsize,
}

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.inner.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

#[test]
fn a_hostile_chain_costs_no_more_with_many_authorities() {
    let section = |number: usize| {
        let prefix = if number.is_multiple_of(2) { "" } else { "pump-" };
        MadeAuthority::root("root").named(&number.to_string(), prefix)
    };
    let authorities: Authorities = (0..64).map(section).collect();
    // Each could have signed each, by its name.
    let hostile: Vec<MadeAuthority> = (0..5).map(|_| MadeAuthority::root("root")).collect();
    let own = hostile[0].issue(&params(&["d"]));
    let presented: Vec<&[u8]> = [&own[..]].into_iter().chain(hostile.iter().map(MadeAuthority::der)).collect();
    let counting = Counting { inner: webpki::aws_lc_rs::ECDSA_P256_SHA256, checks: AtomicUsize::new(0) };
    assert!(authorities.prove_with(&[&counting], &chain(&presented), &device("d"), NOW).is_err());
    let checks = counting.checks.into_inner();
    assert!((100..=200).contains(&checks), "{checks} signatures were checked");
}

#[test]
fn who_is_not_an_authority_of_this_hub_is_named() {
    let (root, stranger) = (MadeAuthority::root("root"), MadeAuthority::root("stranger"));
    // The same name as ours, but another key.
    let impostor = MadeAuthority::root("root");
    let authorities: Authorities = [root.named("root", "")].into_iter().collect();
    let prove = |certificates: &[&[u8]]| authorities.prove(&chain(certificates), &device("d"), NOW).map(drop);
    let unknown = |issuer: &str| Err(CertificateRefused::UnknownAuthority { issuer: issuer.to_owned() });
    assert_eq!(prove(&[&stranger.issue(&params(&["d"]))]), unknown("CN=stranger"));
    assert_eq!(prove(&[&self_signed(&params(&["d"]))]), unknown("CN=d"));
    assert!(matches!(
        prove(&[&impostor.issue(&params(&["d"]))]),
        Err(CertificateRefused::Unsound(_) | CertificateRefused::UnknownAuthority { .. })
    ));
    assert!(
        prove(&[&stranger.issue(&params(&["d"])), stranger.der(), root.der()]).is_err(),
        "a chain that names ours without leading to it"
    );
    assert!(Authorities::default().prove(&chain(&[&root.issue(&params(&["d"]))]), &device("d"), NOW).is_err());
}

#[test]
fn purpose_and_time_count_all_along_the_chain() {
    let root = MadeAuthority::root("root");
    let authorities: Authorities = [root.named("root", "")].into_iter().collect();
    let prove = |params: &rcgen::CertificateParams, now| authorities.prove(&chain(&[&root.issue(params)]), &device("d"), now).map(drop);
    assert!(matches!(prove(&for_servers_only(params(&["d"])), NOW), Err(CertificateRefused::Unsound(_))));
    assert_eq!(prove(&params(&["d"]), UnixMillis(LAST.0 + 1)), Err(CertificateRefused::Expired(LAST)));
    // The device's own would hold longer than the one that signed it.
    let mut long = params(&["d"]);
    long.not_after = date_time_ymd(2030, 1, 1);
    let (_, good_until) = authorities.prove(&chain(&[&root.issue(&long)]), &device("d"), NOW).unwrap();
    assert_eq!(good_until, LAST, "as long as the shortest");
    assert!(prove(&long, UnixMillis(LAST.0 + 1)).is_err(), "the authority itself has run out");
}

#[test]
fn a_change_of_authorities_is_noticed_by_those_whom_it_concerns() {
    let (root, other) = (MadeAuthority::root("root"), MadeAuthority::root("other"));
    let before: Authorities = [root.named("plant", "")].into_iter().collect();
    let (issued, _) = before.prove(&chain(&[&root.issue(&params(&["d"]))]), &device("d"), NOW).unwrap();
    let stands = |authorities: &[Authority]| authorities.iter().cloned().collect::<Authorities>().still_stand_behind(&issued, &device("d"));
    assert!(stands(&[other.named("new", ""), root.named("plant", "")]));
    assert!(stands(&[Authority::new("plant", "d", &[other.der(), root.der()]).unwrap()]), "one more in the bundle");
    assert!(!stands(&[other.named("plant", "")]), "another certificate");
    assert!(!stands(&[root.named("plant", "pump-")]), "another prefix");
    assert!(!stands(&[]), "gone");
}

#[test]
fn what_can_not_be_an_authority_is_refused_with_its_place() {
    let root = MadeAuthority::root("root");
    let plain = self_signed(&params(&["d"]));
    let refusal = |certificates: &[&[u8]]| Authority::new("a", "", certificates).unwrap_err();
    assert_eq!(refusal(&[]), InvalidAuthority::Empty);
    assert_eq!(refusal(&[root.der(), &plain]), InvalidAuthority::NotAnAuthority(2));
    assert_eq!(refusal(&[b"nonsense"]), InvalidAuthority::Unreadable(1));
}

#[test]
fn a_chain_is_kept_as_far_as_the_bounds_go() {
    let many: Vec<Vec<u8>> = (0..20).map(|n| vec![n; 100]).collect();
    assert_eq!(PresentedChain::new(many.iter().map(Vec::as_slice)).0.len(), CHAIN_MAX);
    let large = vec![0; CHAIN_MAX_BYTES];
    assert_eq!(PresentedChain::new([&large[..], &[1]]).0.len(), 1);
    assert_eq!(PresentedChain::new([&[1][..], &large, &[1]]).0.len(), 1, "nothing after what does not fit");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a stranger sends, it is refused, or it is what it was.
    #[test]
    fn mutated_certificates_prove_nothing_and_hurt_nobody(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let root = MadeAuthority::root("root");
        let factory = root.intermediate("factory");
        let authorities: Authorities = [root.named("root", "")].into_iter().collect();
        let good = factory.issue(&params(&["d"]));
        let mut bad = good.clone();
        bad[at.index(good.len())] = byte;
        if cuts {
            bad.truncate(cut.index(good.len()));
        }
        let known = thumbprints(&good);
        let proved = authorities.prove(&chain(&[&bad, factory.der()]), &device("d"), NOW).is_ok();
        prop_assert_eq!(proved, bad == good);
        prop_assert_eq!(chain(&[&bad]).prove_self_signed(Some(&known[0]), Some(&known[1]), NOW).is_ok(), bad == good);
        let mut link = factory.der().to_vec();
        let place = at.index(link.len());
        link[place] = byte;
        let _ = authorities.prove(&chain(&[&good, &link]), &device("d"), NOW);
        let _ = Authority::new("a", "", &[&bad]);
    }
}
