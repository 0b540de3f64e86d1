//! Namespaces that are deleted: Devices go with them whatever rights the operator has left there, and whether or not it is there itself.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::device::{dereference, leave, run};

const FAR_HUB: &str = "/apis/mooring.dev/v1alpha1/namespaces/north/iothubs/hub";

/// What is gone with the operator's Role.
const ROLE: [&str; 5] = ["/status", "/iothubs/", "/secrets", "GET /api/v1/pods", "DELETE "];

fn far_hub() -> HubKey {
    HubKey { namespace: "north".to_owned(), name: "hub".to_owned() }
}

impl World {
    /// With a Device in its hub, which is in the Device's namespace or in one that stays.
    async fn with_device(far: bool) -> Self {
        let world = Self::new(&json!({})).await;
        if far {
            world.stage.lock().unwrap().put("/api/v1/namespaces/north", json!({ "metadata": { "name": "north", "uid": "north-1" } }));
            let mut hub = world.object(HUB).unwrap();
            hub["metadata"]["namespace"] = "north".into();
            hub["spec"]["devices"] = json!({ "allowedNamespaces": { "from": "All" } });
            world.stage.lock().unwrap().put(FAR_HUB, hub);
            world.change(DEVICE, |device| device["spec"]["hubRef"]["namespace"] = "north".into());
        }
        world.reconciled(far).await.unwrap();
        assert_eq!(world.condition("Ready"), "True InHub");
        world.writes();
        world
    }

    /// By an operator that has just begun.
    async fn reconciled(&self, far: bool) -> Result<Action, ReconcileError> {
        self.beginner(far).reconcile().await
    }

    fn beginner(&self, far: bool) -> Operator {
        self.operator_of(&if far { far_hub() } else { hub_key() }, Scope::Cluster, 0)
    }

    /// The namespace is being deleted, and the operator's Role in it is gone.
    fn end_namespace(&self) {
        self.change(NAMESPACE, |namespace| namespace["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
        self.stage.lock().unwrap().forbidden = ROLE.to_vec();
    }

    fn delete_device(&self) {
        self.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
    }

    fn finalizers(&self) -> Value {
        self.object(DEVICE).unwrap()["metadata"]["finalizers"].clone()
    }
}

#[tokio::test]
async fn a_device_goes_with_its_namespace_and_hub_and_nobody_is_asked() {
    let world = World::with_device(false).await;
    world.end_namespace();
    world.delete_device();
    world.stage.lock().unwrap().hub_is_silent = true;
    world.reconciled(false).await.unwrap();
    assert!(world.object(DEVICE).is_none());
    assert_eq!(world.writes(), (vec![format!("PATCH {DEVICE}")], 0));
}

#[tokio::test]
async fn a_device_that_can_t_be_read_goes_too() {
    let world = World::with_device(false).await;
    world.change(DEVICE, |device| device["spec"]["tags"] = 7.into());
    world.end_namespace();
    world.delete_device();
    world.reconciled(false).await.unwrap();
    assert!(world.object(DEVICE).is_none());
}

#[tokio::test]
async fn a_device_leaves_a_hub_that_stays_before_it_goes_with_its_namespace() {
    let world = World::with_device(true).await;
    world.end_namespace();
    world.delete_device();
    let mut operator = world.beginner(true);
    operator.context.links.remove(&far_hub());
    operator.reconcile().await.unwrap();
    assert_eq!(world.finalizers(), json!([crate::labels::DEVICE_FINALIZER]), "the hub is away, and its identity would stay");
    world.reconciled(true).await.unwrap();
    assert_eq!((world.identity(), world.object(DEVICE)), (None, None));
}

#[tokio::test]
async fn nothing_is_begun_in_a_namespace_that_goes() {
    let world = World::new(&json!({})).await;
    world.end_namespace();
    world.reconciled(false).await.unwrap();
    assert_eq!((world.writes(), world.identity()), ((vec![], 0), None));
}

#[tokio::test]
async fn what_is_refused_in_a_namespace_that_goes_is_not_said_in_it() {
    let world = World::with_device(false).await;
    world.end_namespace();
    world.stage.lock().unwrap().objects.remove(SECRET);
    let done = world.reconciled(false).await.unwrap();
    assert_eq!((done, world.condition("Ready")), (Action::await_change(), "True InHub".to_owned()));
    assert_eq!(world.writes().0, ["POST /api/v1/namespaces/plant/secrets"], "and no status");
}

#[tokio::test]
async fn an_operator_that_ends_with_its_namespace_lets_devices_go() {
    for ending in [false, true] {
        let world = World::with_device(false).await;
        if ending {
            world.end_namespace();
        }
        let (operator, stop) = (world.beginner(false), CancellationToken::new());
        stop.cancel();
        for home in [None, Some("plant")] {
            assert_eq!(world.finalizers(), json!([crate::labels::DEVICE_FINALIZER]), "it has no home, or that stays");
            leave::after(&operator.context, home, &stop, std::future::ready(())).await;
        }
        assert_eq!(world.finalizers() == json!([]), ending);
        assert!(world.identity().is_some(), "its hub goes, too");
    }
}

#[tokio::test]
async fn an_operator_that_ends_takes_identities_out_of_a_hub_that_stays_if_it_answers() {
    let world = World::with_device(true).await;
    world.end_namespace();
    leave::leave(&world.beginner(true).context).await;
    assert_eq!((world.identity(), world.finalizers()), (None, json!([])));

    let world = World::with_device(true).await;
    world.end_namespace();
    let operator = world.beginner(true);
    operator.context.links.remove(&far_hub());
    leave::leave(&operator.context).await;
    assert!(world.identity().is_some());
    assert_eq!(world.finalizers(), json!([]), "nobody will be there to ask it later");
}

#[tokio::test]
async fn an_operator_that_ends_tries_again_and_leaves_other_namespaces_alone() {
    let world = World::with_device(false).await;
    let other = DEVICE.replace("/plant/", "/other/");
    let mut device = world.object(DEVICE).unwrap();
    device["metadata"]["namespace"] = "other".into();
    {
        let mut stage = world.stage.lock().unwrap();
        stage.put("/api/v1/namespaces/other", json!({ "metadata": { "name": "other", "uid": "other-1" } }));
        stage.put(&other, device);
        (stage.effects, stage.fault) = (0, Some(Fault { at: 0, after: false }));
    }
    world.end_namespace();
    leave::leave(&world.beginner(false).context).await;
    assert_eq!(world.finalizers(), json!([]));
    assert_eq!(world.object(&other).unwrap()["metadata"]["finalizers"], json!([crate::labels::DEVICE_FINALIZER]));
}

#[tokio::test]
async fn what_is_refused_in_a_namespace_is_not_waited_for_elsewhere() {
    let world = World::new(&json!({})).await;
    let scope = Scope::Namespaces(vec!["gone".to_owned(), "north".to_owned(), "plant".to_owned()]);
    let north = json!({ "metadata": { "name": "north", "uid": "north-1" } });
    world.stage.lock().unwrap().put("/api/v1/namespaces/north", north);
    let operator = world.operator_of(&hub_key(), scope, 1);
    let context = &operator.context;
    for part in ["gone", "north"] {
        context.refused.put(Some(part.to_owned()));
    }
    let synced = async { tokio::join!(run::let_go_of_parts(context), context.synced()) };
    assert!(timeout(Duration::from_millis(100), synced).await.is_err(), "of `plant` nothing has been seen yet");
    context.one_synced(&Some("plant".to_owned()));
    context.synced().await;
    assert_eq!(["north", "plant", "other"].map(|namespace| context.is_unseen(namespace)), [true, false, false]);
    context.one_synced(&Some("north".to_owned()));
    assert!(!context.is_unseen("north"), "somebody gave the rights back");
}

#[tokio::test]
async fn what_is_refused_in_the_whole_cluster_is_waited_for() {
    let world = World::new(&json!({})).await;
    let operator = world.operator_of(&hub_key(), Scope::Cluster, 1);
    operator.context.refused.put(None);
    let synced = async { tokio::join!(run::let_go_of_parts(&operator.context), operator.context.synced()) };
    assert!(timeout(Duration::from_millis(100), synced).await.is_err());
}

#[tokio::test]
async fn where_nothing_can_be_seen_nobody_is_a_stray_and_no_hub_is_gone() {
    let world = World::with_device(true).await;
    world.stage.lock().unwrap().objects.remove(DEVICE);
    let scope = Scope::Namespaces(vec!["north".to_owned(), "plant".to_owned()]);
    let operator = world.operator_of(&far_hub(), scope, 1);
    let context = &operator.context;
    for part in ["north", "plant"] {
        assert!(context.not_awaited(&Some(part.to_owned())));
    }
    let owner = serde_json::from_value(world.identity().unwrap()["managedBy"].clone()).unwrap();
    assert!(!vanished::look_at(context, &far_hub(), "pump", &owner).await.unwrap());
    world.stage.lock().unwrap().forbidden = vec!["/iothubs/"];
    assert!(dereference::is_there(context, &far_hub()).await.unwrap());
    for part in ["north", "plant"] {
        context.one_synced(&Some(part.to_owned()));
    }
    assert!(!dereference::is_there(context, &far_hub()).await.unwrap());
    assert!(vanished::look_at(context, &far_hub(), "pump", &owner).await.unwrap());
}

#[tokio::test]
async fn a_device_whose_namespace_is_not_allowed_any_more_can_be_disabled_and_deleted() {
    let world = World::with_device(true).await;
    world.change(FAR_HUB, |hub| hub["spec"]["devices"]["allowedNamespaces"]["from"] = "Same".into());
    world.reconciled(true).await.unwrap();
    assert_eq!(world.condition("Ready"), "False NamespaceNotAllowed");
    let said = world.object(DEVICE).unwrap()["status"]["conditions"][0]["message"].to_string();
    assert!(said.contains("still connects, until its Device is disabled or deleted"), "{said}");
    assert_eq!(world.identity().unwrap()["status"], "enabled");
    world.change(DEVICE, |device| {
        device["spec"]["enabled"] = false.into();
        device["metadata"]["generation"] = 2.into();
    });
    world.reconciled(true).await.unwrap();
    let identity = world.identity().unwrap();
    assert_eq!((&identity["status"], identity["hold"].is_null()), (&json!("disabled"), true));
    world.writes();
    world.reconciled(true).await.unwrap();
    assert_eq!(world.writes(), (vec![], 0), "once");
    world.delete_device();
    world.reconciled(true).await.unwrap();
    assert_eq!((world.identity(), world.object(DEVICE)), (None, None));
}
