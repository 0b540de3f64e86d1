//! Who gets in, who does not, and what is left of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::kubernetes::{Cluster, ClusterUser, TokenReviewed, end_old_sessions, review_cluster_sessions};
use super::openid::{Begun, ClaimRules, Claims, Issuer, IssuerError, Kept, begin_openid};
use super::password::{PasswordHashText, PersonAccount, replace_people};
use super::*;
use crate::core::access::Right;
use crate::core::audit::AuditEntry;
use crate::core::hub_place::HubPlace;
use crate::ops::audit::read_audit;
use crate::ops::world::{NOW, World};
use crate::store::audit::AuditQuery;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// The hash of `correct`, cheap to check.
fn hash() -> PasswordHashText {
    PasswordHashText::of(&"correct".into())
}

fn people(accounts: &[(&str, &PasswordHashText, Rights)]) -> BTreeMap<String, PersonAccount> {
    let account = |(name, hash, rights): &(&str, &PasswordHashText, Rights)| {
        ((*name).to_owned(), PersonAccount { hash: (*hash).clone(), rights: *rights })
    };
    accounts.iter().map(account).collect()
}

fn password(name: &str, password: &str) -> Credentials {
    Credentials::Password { name: name.to_owned(), password: password.into() }
}

async fn audit(world: &World) -> Vec<AuditEntry> {
    read_audit(&world.hub, &AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap()
}

#[tokio::test]
async fn a_link_lets_in_once() {
    let world = World::new();
    let code = world.hub.sign_in.links.make(NOW);
    assert_eq!(world.hub.sign_in.methods(NOW), [SignInMethod::Link]);
    let sign = async || sign_in(&world.hub, Credentials::Link(code.clone().into()), HERE, None).await;
    let (session, cookie) = sign().await.unwrap();
    assert_eq!((session.name(), session.rights()), ("dev", Rights::all()));
    assert!(world.hub.sign_in.sessions.find(&cookie, NOW).is_some());
    assert_eq!(sign().await.unwrap_err(), SignInRefused::Link);
    let actions: Vec<_> = audit(&world).await.into_iter().map(|entry| (entry.action, entry.refused.is_some())).collect();
    assert_eq!(actions, [(AuditAction::SignIn, true), (AuditAction::SignIn, false)]);
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_are_the_same() {
    let world = World::new();
    replace_people(&world.hub, people(&[("ada", &hash(), Rights::all())]));
    let sign = async |name: &str, word: &str| sign_in(&world.hub, password(name, word), HERE, None).await.map(|(session, _)| session);
    assert_eq!(sign("ada", "wrong").await.unwrap_err(), SignInRefused::Password);
    assert_eq!(sign("bob", "correct").await.unwrap_err(), SignInRefused::Password, "not with another's password either");
    assert_eq!(sign("ada", &"x".repeat(5000)).await.unwrap_err(), SignInRefused::Password);
    assert_eq!(sign("ada", "correct").await.unwrap().principal(), Principal::Person("ada".into(), SignInMethod::Password));
    let said = format!("{:?}", audit(&world).await);
    assert!(!said.contains("correct") && !said.contains("wrong") && said.contains("bob"), "{said}");
}

#[tokio::test]
async fn who_guesses_is_stopped_and_says_so_no_more() {
    let world = World::new();
    let code = world.hub.sign_in.links.make(NOW);
    for _ in 0..10 {
        let refused = sign_in(&world.hub, Credentials::Link("guess".into()), HERE, None).await;
        assert_eq!(refused.unwrap_err(), SignInRefused::Link);
    }
    let refused = sign_in(&world.hub, Credentials::Link(code.clone().into()), HERE, None).await;
    assert!(matches!(refused, Err(SignInRefused::TooOften(_))), "even with the right one");
    assert_eq!(audit(&world).await.len(), 10, "what was not looked at leaves nothing");
    let elsewhere = sign_in(&world.hub, Credentials::Link(code.into()), [192, 0, 2, 2].into(), None).await;
    assert!(elsewhere.is_ok());
}

#[tokio::test]
async fn another_password_ends_the_session_and_other_rights_change_it() {
    let world = World::new();
    let hashes = [hash(), hash()];
    replace_people(&world.hub, people(&[("ada", &hashes[0], Rights::all()), ("bob", &hashes[0], Rights::all())]));
    let (ada, _) = sign_in(&world.hub, password("ada", "correct"), HERE, None).await.unwrap();
    let (bob, _) = sign_in(&world.hub, password("bob", "correct"), HERE, None).await.unwrap();
    let viewer: Rights = [Right::Read].into_iter().collect();
    replace_people(&world.hub, people(&[("ada", &hashes[0], viewer), ("bob", &hashes[1], Rights::all())]));
    assert_eq!(ada.rights(), viewer);
    assert_eq!(bob.lost(Rights::NONE).await, Some(SessionEnd::Revoked));
    replace_people(&world.hub, BTreeMap::new());
    assert_eq!(ada.lost(Rights::NONE).await, Some(SessionEnd::Revoked));
}

/// A cluster that says what a test wants.
#[derive(Default)]
struct Pretended {
    tokens: Mutex<BTreeMap<String, TokenReviewed>>,
    rights: Mutex<Option<Vec<Right>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Cluster for Pretended {
    async fn review_token(&self, token: &SecretString, audience: &str) -> Result<TokenReviewed, ClusterError> {
        assert_eq!(audience, "mooring:plant/hub");
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.tokens.lock().unwrap().get(token.expose_secret()).cloned().unwrap_or_default())
    }

    async fn may(&self, user: &ClusterUser, hub: &HubPlace, right: Right) -> Result<bool, ClusterError> {
        assert_eq!((user.groups.as_slice(), hub.audience().as_str()), (&["g".to_owned()][..], "mooring:plant/hub"));
        let rights = self.rights.lock().unwrap();
        rights.as_ref().map(|rights| rights.contains(&right)).ok_or_else(|| ClusterError("it is down".to_owned()))
    }
}

fn reviewed(audiences: &[&str]) -> TokenReviewed {
    let name = "system:serviceaccount:plant:viewer".to_owned();
    let user = ClusterUser { name, groups: vec!["g".to_owned()], ..ClusterUser::default() };
    TokenReviewed { authenticated: true, user, audiences: audiences.iter().map(|&audience| audience.to_owned()).collect() }
}

/// With an end an hour from now.
fn token(signature: &str) -> String {
    let claims = serde_json::json!({ "sub": "system:serviceaccount:plant:viewer", "exp": NOW.0 / 1000 + 3600 });
    format!("e30.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Whichever authenticator the cluster has: its names stand in the audit as everybody's do.
#[tokio::test]
async fn a_name_that_the_cluster_says_is_on_one_line_and_not_too_long() {
    let (world, cluster) = clustered();
    *cluster.rights.lock().unwrap() = Some(Right::ALL.to_vec());
    let sign = async |name: String| {
        let mut reviewed = reviewed(&["mooring:plant/hub"]);
        reviewed.user.name = name;
        cluster.tokens.lock().unwrap().insert(token("t"), reviewed);
        sign_in(&world.hub, Credentials::Kubernetes(token("t").into()), HERE, None).await
    };
    let (session, _) = sign("ada\0\n".to_owned()).await.unwrap();
    assert_eq!(session.name(), "ada\u{fffd}\u{fffd}");
    assert_eq!(audit(&world).await[0].by.principal.name(), session.name());
    assert!(sign("a".repeat(NAME_MAX_BYTES)).await.is_ok());
    let refused = sign("a".repeat(NAME_MAX_BYTES + 1)).await.unwrap_err();
    assert!(matches!(&refused, SignInRefused::Explained(text) if text.contains("256 bytes")), "{refused}");
}

fn clustered() -> (World, Arc<Pretended>) {
    let (world, cluster) = (World::new(), Arc::new(Pretended::default()));
    let place = HubPlace { namespace: "plant".into(), name: "hub".into() };
    world.hub.sign_in.cluster.set(ClusterDoor::new(place, Arc::clone(&cluster) as _)).unwrap();
    (world, cluster)
}

#[tokio::test]
async fn a_token_has_to_be_for_this_hub() {
    let (world, cluster) = clustered();
    *cluster.rights.lock().unwrap() = Some(Right::ALL.to_vec());
    let set = |signature: &str, reviewed: TokenReviewed| drop(cluster.tokens.lock().unwrap().insert(token(signature), reviewed));
    set("ours", reviewed(&["mooring:plant/hub"]));
    set("server", reviewed(&["https://kubernetes.default.svc"]));
    set("old", reviewed(&[]));
    set("stale", TokenReviewed { authenticated: false, ..reviewed(&["mooring:plant/hub"]) });
    let sign = async |signature: &str| sign_in(&world.hub, Credentials::Kubernetes(token(signature).into()), HERE, None).await;
    for bad in ["server", "old", "stale", "unknown"] {
        let refused = sign(bad).await.unwrap_err().to_string();
        let command = "kubectl create token viewer --namespace=plant --audience=mooring:plant/hub";
        assert!(refused.contains(command) && !refused.contains(bad), "{refused}");
    }
    let (session, _) = sign("ours").await.unwrap();
    assert_eq!((session.name(), session.rights()), ("system:serviceaccount:plant:viewer", Rights::all()));
    assert_eq!(session.ends(), NOW.plus(Duration::from_secs(3600)), "not longer than the token");
}

#[tokio::test]
async fn a_token_is_for_this_hub_alone_by_its_own_word() {
    let (world, cluster) = clustered();
    *cluster.rights.lock().unwrap() = Some(Right::ALL.to_vec());
    let sign = async |claims: serde_json::Value| {
        let token = format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
        cluster.tokens.lock().unwrap().insert(token.clone(), reviewed(&["mooring:plant/hub"]));
        sign_in(&world.hub, Credentials::Kubernetes(token.into()), HERE, None).await.map(|(session, _)| session.ends())
    };
    let (ours, server) = ("mooring:plant/hub", "https://kubernetes.default.svc");
    for aud in [serde_json::json!([ours, server]), serde_json::json!(server), serde_json::json!(7), serde_json::json!([ours, null])] {
        let refused = sign(serde_json::json!({ "aud": aud })).await.unwrap_err().to_string();
        assert!(refused.contains("the audience mooring:plant/hub and no other"), "{refused}");
    }
    assert!(sign(serde_json::json!({ "aud": ours })).await.is_ok());
    let ends = sign(serde_json::json!({ "aud": [ours], "sub": 7, "exp": NOW.0 as f64 / 1000.0 + 60.5 })).await.unwrap();
    assert_eq!(ends, NOW.plus(Duration::from_secs(60)));
}

/// What a stranger writes into a token is not made into a command that others may run, nor into lines of a log.
#[tokio::test]
async fn the_command_names_only_what_can_be_an_account() {
    let (world, _) = clustered();
    for subject in [
        "plant:a;reboot",
        "plant:$(reboot)",
        "pl ant:a",
        "plant:a
b",
        "plant:-h",
        "plant:",
    ] {
        let claims = serde_json::json!({ "sub": format!("system:serviceaccount:{subject}") });
        let token = format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let refused = sign_in(&world.hub, Credentials::Kubernetes(token.into()), HERE, None).await.unwrap_err().to_string();
        assert!(refused.contains("kubectl create token <service account> --namespace=plant"), "{refused}");
    }
}

/// A cluster that hangs is not asked about everybody, one after another.
#[tokio::test]
async fn a_round_ends_when_the_cluster_does_not_answer() {
    let (world, cluster) = clustered();
    *cluster.rights.lock().unwrap() = Some(Right::ALL.to_vec());
    cluster.tokens.lock().unwrap().insert(token("ours"), reviewed(&["mooring:plant/hub"]));
    for number in 0..100_u8 {
        let person = SignedIn {
            name: format!("p-{number}"),
            method: SignInMethod::Kubernetes,
            rights: Rights::all(),
            ends: None,
            proof: Proof::Token(token("ours").into()),
        };
        world.hub.sign_in.sessions.open(person, None, NOW);
    }
    *cluster.rights.lock().unwrap() = None;
    world.clock.0.fetch_add(1000, Ordering::Relaxed);
    review_cluster_sessions(&world.hub).await;
    let asked = cluster.asked.load(Ordering::Relaxed);
    assert!((8..=16).contains(&asked), "{asked}");
    *cluster.rights.lock().unwrap() = Some(Right::ALL.to_vec());
    review_cluster_sessions(&world.hub).await;
    assert!(world.hub.sign_in.sessions.all().iter().all(|session| session.proven() > NOW));
}

#[tokio::test]
async fn the_cluster_is_asked_again() {
    let (world, cluster) = clustered();
    let set_rights = |rights: Option<&[Right]>| *cluster.rights.lock().unwrap() = rights.map(<[Right]>::to_vec);
    cluster.tokens.lock().unwrap().insert(token("ours"), reviewed(&["mooring:plant/hub"]));
    let sign = async || sign_in(&world.hub, Credentials::Kubernetes(token("ours").into()), HERE, None).await;
    assert!(matches!(sign().await, Err(SignInRefused::Unavailable(_))));
    set_rights(Some(&[Right::Devices]));
    assert!(matches!(sign().await, Err(SignInRefused::NoRights(_))), "without Read nothing");
    set_rights(Some(&[Right::Read, Right::Devices]));
    let (session, _) = sign().await.unwrap();
    set_rights(Some(&[Right::Read]));
    review_cluster_sessions(&world.hub).await;
    assert_eq!(session.rights().to_string(), "Read");

    set_rights(None);
    replace_people(&world.hub, people(&[("ada", &hash(), Rights::all())]));
    world.clock.0.fetch_add(299_000, Ordering::Relaxed);
    review_cluster_sessions(&world.hub).await;
    end_old_sessions(&world.hub).await;
    assert_eq!(session.rights().to_string(), "Read", "the cluster is away for a while");
    replace_people(&world.hub, people(&[]));
    assert_eq!(session.proven(), NOW, "those who know passwords know nothing of it");
    world.clock.0.fetch_add(1000, Ordering::Relaxed);
    end_old_sessions(&world.hub).await;
    assert_eq!(session.lost(Rights::NONE).await, Some(SessionEnd::Unproven), "for too long");

    set_rights(Some(&[Right::Read]));
    let (session, _) = sign().await.unwrap();
    cluster.tokens.lock().unwrap().clear();
    review_cluster_sessions(&world.hub).await;
    assert_eq!(session.lost(Rights::NONE).await, Some(SessionEnd::Revoked));
    let reviews = audit(&world).await.into_iter().filter(|entry| entry.action == AuditAction::SessionReviewed).count();
    assert_eq!(reviews, 3);
}

/// An issuer that believes whoever brings `good`.
struct Believing {
    says: serde_json::Value,
    state: Mutex<String>,
}

#[async_trait]
impl Issuer for Believing {
    fn name(&self) -> &str {
        "https://issuer.example"
    }

    async fn begin(&self, redirect: &str) -> Result<Begun, IssuerError> {
        let state = secret::fresh();
        self.state.lock().unwrap().clone_from(&state);
        Ok(Begun { url: format!("https://issuer.example/in?to={redirect}"), state, kept: Kept { nonce: "n".into(), verifier: "v".into() } })
    }

    async fn finish(&self, redirect: &str, code: SecretString, kept: &Kept) -> Result<Claims, IssuerError> {
        assert_eq!((redirect, kept.nonce.expose_secret(), kept.verifier.expose_secret()), ("https://hub/back", "n", "v"));
        if code.expose_secret() != "good" {
            return Err(IssuerError::Refused("the issuer has refused the code".to_owned()));
        }
        Ok(Claims { issued: NOW, ends: NOW.plus(Duration::from_secs(600)), all: self.says.as_object().unwrap().clone() })
    }
}

/// A world with an issuer that says this of whoever comes.
fn believing(says: serde_json::Value) -> (World, Arc<Believing>) {
    let (world, issuer) = (World::new(), Arc::new(Believing { says, state: Mutex::default() }));
    let rights = [("operators", Right::Devices), ("readers", Right::Bodies)];
    let rights = rights.into_iter().map(|(group, right)| (group.to_owned(), [right].into_iter().collect())).collect();
    let rules = ClaimRules { name_claim: "email".into(), groups_claim: "groups".into(), rights };
    world.hub.sign_in.openid.set(OpenIdDoor::new(Arc::clone(&issuer) as _, rules)).unwrap();
    (world, issuer)
}

/// Begins, and answers with what the browser that began brings back.
async fn begun(world: &World, issuer: &Believing) -> BroughtBack {
    let (url, browser) = begin_openid(&world.hub, "https://hub/back".to_owned(), HERE).await.unwrap();
    assert_eq!(url, "https://issuer.example/in?to=https://hub/back");
    BroughtBack { code: Ok("good".into()), state: issuer.state.lock().unwrap().clone(), browser: browser.into() }
}

async fn come_back(world: &World, brought: BroughtBack) -> Result<Session, SignInRefused> {
    sign_in(&world.hub, Credentials::OpenId(brought), HERE, None).await.map(|(session, _)| session)
}

#[tokio::test]
async fn an_issuers_word_makes_a_session_as_long_as_its_token() {
    let (world, issuer) =
        believing(serde_json::json!({ "email": "ada@example.com", "email_verified": true, "groups": ["operators", "readers", "others"] }));
    assert_eq!(world.hub.sign_in.methods(NOW), [SignInMethod::OpenId]);
    let session = come_back(&world, begun(&world, &issuer).await).await.unwrap();
    assert_eq!(session.principal(), Principal::Person("ada@example.com".into(), SignInMethod::OpenId));
    assert_eq!((session.rights().to_string().as_str(), session.ends()), ("Read, Bodies, Devices", NOW.plus(Duration::from_secs(600))));
}

#[tokio::test]
async fn whoever_comes_back_is_whoever_began_once_and_in_time() {
    let (world, issuer) = believing(serde_json::json!({ "email": "ada@example.com", "email_verified": true, "groups": "operators" }));
    let good = begun(&world, &issuer).await;
    let explained =
        |refused: Result<Session, SignInRefused>| matches!(refused, Err(SignInRefused::Explained(text)) if text.contains("again"));
    assert!(come_back(&world, good.clone()).await.is_ok());
    for _ in 0..100 {
        let again = begun(&world, &issuer).await;
        assert!(come_back(&world, again).await.is_ok(), "what succeeds does not count");
    }
    assert!(explained(come_back(&world, good.clone()).await), "a second time");
    let (mine, theirs) = (begun(&world, &issuer).await, begun(&world, &issuer).await);
    assert!(explained(come_back(&world, BroughtBack { browser: mine.browser, ..theirs.clone() }).await), "in another browser");
    assert!(explained(come_back(&world, theirs).await), "nor afterwards: a state is good once");
    assert!(explained(come_back(&world, BroughtBack { state: "guess".into(), ..good.clone() }).await));
    let refused = come_back(&world, BroughtBack { code: Err("invalid_scope".into()), ..begun(&world, &issuer).await }).await.unwrap_err();
    assert_eq!(refused.to_string(), "the issuer has let nobody in: invalid_scope");
    assert_eq!(audit(&world).await[0].refused.as_deref(), Some("the issuer has let nobody in: invalid_scope"));
    let refused = come_back(&world, BroughtBack { code: Ok("bad".into()), ..begun(&world, &issuer).await }).await.unwrap_err();
    assert_eq!(refused.to_string(), "the issuer has refused the code");
    let late = begun(&world, &issuer).await;
    world.clock.0.fetch_add(600_000, Ordering::Relaxed);
    assert!(explained(come_back(&world, late).await), "too late");
    let guess = || come_back(&world, BroughtBack { state: "guess".into(), ..good.clone() });
    let mut refused = Vec::new();
    for _ in 0..11 {
        refused.push(guess().await.unwrap_err());
    }
    assert!(matches!(refused.last(), Some(SignInRefused::TooOften(_))), "whoever is not expected is counted: {refused:?}");
}

#[tokio::test]
async fn a_hub_whose_clock_is_behind_makes_no_longer_session() {
    let (world, issuer) = believing(serde_json::json!({ "email": "ada@example.com", "email_verified": true, "groups": ["operators"] }));
    world.clock.0.fetch_sub(3_600_000, Ordering::Relaxed);
    let session = come_back(&world, begun(&world, &issuer).await).await.unwrap();
    assert_eq!(session.ends(), world.hub.now().plus(Duration::from_secs(600)));
}

#[tokio::test]
async fn who_has_no_name_or_no_group_of_ours_is_not_let_in() {
    for (says, refused) in [
        (serde_json::json!({ "sub": "1", "groups": ["operators"] }), "it has no claim email"),
        (serde_json::json!({ "email": 1, "groups": ["operators"] }), "it has no claim email"),
        (serde_json::json!({ "email": "bob", "email_verified": true, "groups": ["others", 1] }), "bob may not do anything here"),
        (serde_json::json!({ "email": "bob", "email_verified": "true" }), "bob may not do anything here"),
        (serde_json::json!({ "email": "bob", "email_verified": "false", "groups": ["operators"] }), "that bob is your address"),
        (serde_json::json!({ "email": "bob", "groups": ["operators"] }), "that bob is your address"),
        (serde_json::json!({ "email": "bob", "email_verified": false, "groups": ["operators"] }), "that bob is your address"),
    ] {
        let (world, issuer) = believing(says);
        let said = come_back(&world, begun(&world, &issuer).await).await.unwrap_err().to_string();
        assert!(said.contains(refused), "{said}");
    }
}
