//! Devices that are deleted, and made again under the same name, while nobody could tell the hub.

use super::*;

const ALREADY: &str = "its Device was made again: 2";

impl World {
    /// With a Device that was in the hub in an earlier life, and has been made again since.
    async fn made_again(spec: &Value) -> Self {
        let world = Self::new(spec).await;
        world.operator().reconcile().await.unwrap();
        let spec = world.object(DEVICE).unwrap()["spec"].clone();
        let mut stage = world.stage.lock().unwrap();
        stage.objects.remove(SECRET);
        stage.put(DEVICE, device("pump", "2", &spec));
        (stage.effects, stage.api_writes, stage.hub_writes) = (0, Vec::new(), Vec::new());
        drop(stage);
        world
    }

    fn owner_uid(&self) -> Value {
        self.identity().unwrap()["managedBy"]["uid"].clone()
    }

    fn delete_once_more(&self) {
        self.change(DEVICE, |device| {
            device["metadata"]["finalizers"] = json!([crate::labels::DEVICE_FINALIZER]);
            device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into();
        });
    }
}

#[tokio::test]
async fn a_device_made_again_takes_over_with_its_keys_wherever_an_operator_dies() {
    for (at, after) in (0..6).flat_map(|at| [(at, false), (at, true)]) {
        let world = World::made_again(&json!({ "statusReason": "new" })).await;
        let key = primary(&world);
        world.stage.lock().unwrap().fault = Some(Fault { at, after });
        let mut operator = world.operator();
        for _ in 0..2 {
            let _ = operator.reconcile().await;
        }
        world.stage.lock().unwrap().fault = None;
        settle(&world).await;
        assert_eq!((world.owner_uid(), primary(&world)), (json!("2"), key.clone()), "{at} {after}");
        assert_eq!(world.identity().unwrap()["statusReason"], "new");
        assert!(world.connection_string().ends_with(&key));
    }
}

#[tokio::test]
async fn who_is_held_is_taken_over_and_stays_held() {
    let world = World::made_again(&json!({})).await;
    {
        let mut stage = world.stage.lock().unwrap();
        let identity = stage.identities.get_mut("pump").unwrap();
        identity["hold"] = json!({ "by": "service", "since": "2026-11-23T03:00:00Z" });
        (identity["status"], identity["statusReason"]) = ("disabled".into(), "stolen".into());
    }
    let mut operator = world.operator();
    operator.reconcile().await.unwrap();
    assert_eq!(world.identity().unwrap()["statusReason"], "stolen", "it is the holder's");
    assert!(world.owner_uid().is_null());
}

#[tokio::test]
async fn what_is_released_for_one_life_is_not_left_to_another() {
    let world = World::made_again(&json!({})).await;
    {
        let mut stage = world.stage.lock().unwrap();
        let identity = stage.identities.get_mut("pump").unwrap();
        (identity["managedBy"], identity["statusReason"]) = (Value::Null, "its Device was made again: 3".into());
    }
    world.operator().reconcile().await.unwrap();
    assert_eq!(world.condition("Ready"), "False NotAdopted");
}

#[tokio::test]
async fn a_device_made_again_and_deleted_takes_the_identity_with_it() {
    for released in [false, true] {
        let world = World::made_again(&json!({})).await;
        if released {
            let mut stage = world.stage.lock().unwrap();
            let identity = stage.identities.get_mut("pump").unwrap();
            (identity["managedBy"], identity["statusReason"]) = (Value::Null, ALREADY.into());
        }
        world.delete_once_more();
        world.operator().reconcile().await.unwrap();
        assert_eq!((world.identity(), world.object(DEVICE)), (None, None), "released: {released}");
    }
}

#[tokio::test]
async fn an_identity_with_an_heir_is_no_stray_and_the_heir_is_woken() {
    let world = World::made_again(&json!({})).await;
    let operator = world.operator();
    let earlier = ManagedBy { kind: "Kubernetes".to_owned(), namespace: "plant".to_owned(), name: "pump".to_owned(), uid: "1".to_owned() };
    let context = &operator.context;
    assert!(!vanished::look_at(context, &hub_key(), "pump", &earlier).await.unwrap());
    assert!(world.identity().unwrap()["hold"].is_null());
    let (_, woken) = context.parts().next().unwrap();
    assert_eq!(woken.take(), Some(pump()));

    world.change(DEVICE, |device| device["spec"]["deviceId"] = "fan".into());
    assert!(vanished::look_at(context, &hub_key(), "pump", &earlier).await.unwrap(), "it is for another device");
}
