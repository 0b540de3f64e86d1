//! Hubs that are away, or not known yet: what is said of it, and who is shut out once they are back.

use super::*;
use crate::device::{run, shut_out};

/// A hub that no Device names: whoever knows this one alone has no link to the other yet.
fn other_hub() -> HubKey {
    HubKey { namespace: "plant".to_owned(), name: "other".to_owned() }
}

impl World {
    /// An operator that has not heard yet where the Device's hub is.
    fn beginner_without_link(&self) -> Operator {
        self.operator_of(&other_hub(), Scope::Cluster, 0)
    }

    fn disable(&self) {
        self.change(DEVICE, |device| {
            device["spec"]["enabled"] = false.into();
            device["metadata"]["generation"] = 2.into();
        });
    }

    fn delete_pump(&self) {
        self.change(DEVICE, |device| device["metadata"]["deletionTimestamp"] = "2026-11-23T05:00:00Z".into());
    }
}

/// Carries out what waits in the lane.
async fn lane(operator: &Operator) {
    while let Some(name) = operator.context.lane.take() {
        shut_out::shut_out(&operator.context, name).await;
    }
}

#[tokio::test]
async fn who_was_to_be_out_while_there_was_no_link_is_out_once_there_is_one() {
    for deleted in [false, true] {
        let world = World::new(&json!({})).await;
        world.operator().reconcile().await.unwrap();
        if deleted {
            world.delete_pump()
        } else {
            world.disable()
        }
        let mut operator = world.beginner_without_link();
        operator.context.lane.put(pump());
        lane(&operator).await;
        operator.reconcile().await.unwrap();
        assert_eq!(world.identity().unwrap()["status"], "enabled", "nobody knows the way");

        let operator = world.operator();
        run::hub_news(&operator.context, &hub_key());
        lane(&operator).await;
        assert!(world.identity().is_none_or(|identity| !deleted && identity["status"] == "disabled"));
        // Carried out, it is not carried out again.
        let mut operator = operator;
        operator.reconcile().await.unwrap();
        operator.context.devices.remove(&pump());
        operator.look();
        run::hub_news(&operator.context, &hub_key());
        assert!(operator.context.lane.is_empty());
    }
}

#[tokio::test]
async fn a_device_says_that_its_deletion_waits_for_the_hub_and_what_to_do() {
    let world = World::new(&json!({})).await;
    world.operator().reconcile().await.unwrap();
    world.delete_pump();
    let mut operator = world.beginner_without_link();
    operator.reconcile().await.unwrap();
    assert_eq!(world.condition("Synced"), "Unknown DeletionWaitsForHub");
    let said = world.object(DEVICE).unwrap()["status"]["conditions"].to_string();
    assert!(said.contains("bring the hub back, or take the finalizer mooring.dev/device off"), "{said}");
    world.writes();
    operator.reconcile().await.unwrap();
    assert_eq!(world.writes(), (vec![], 0), "once");
    world.operator().reconcile().await.unwrap();
    assert_eq!((world.identity(), world.object(DEVICE)), (None, None));
}
