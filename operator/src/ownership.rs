//! Whose an object is that is there under a name we need: ours, or somebody else's, which is never touched.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::labels;

/// Whether the object is controlled by the one with this uid.
#[must_use]
pub fn is_controlled_by(child: &ObjectMeta, uid: &str) -> bool {
    controller_of(child).is_some_and(|owner| owner.uid == uid)
}

/// Whether the object is one that outlived its hub, or will: nobody controls it, and its labels are those that we gave it.
#[must_use]
pub fn is_retained_of(child: &ObjectMeta, hub: &str) -> bool {
    let label = |name: &str| child.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    controller_of(child).is_none() && label(labels::MANAGED_BY) == Some(labels::MANAGER) && label(labels::HUB) == Some(hub)
}

/// Who controls the object.
#[must_use]
pub fn controller_of(child: &ObjectMeta) -> Option<&OwnerReference> {
    child.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The reference that makes a child `owner`'s: it goes when its owner goes. `None` for an owner that the API server has not seen yet.
#[must_use]
pub fn reference_to<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    owner.controller_owner_ref(&())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(uid: Option<&str>, controller: bool, labels: &[(&str, &str)]) -> ObjectMeta {
        ObjectMeta {
            owner_references: uid.map(|uid| {
                vec![OwnerReference { uid: uid.to_owned(), controller: controller.then_some(true), ..OwnerReference::default() }]
            }),
            labels: Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn ours_is_what_our_object_controls_and_what_we_left_behind() {
        let ours = [(labels::MANAGED_BY, labels::MANAGER), (labels::HUB, "plant")];
        assert!(is_controlled_by(&child(Some("1"), true, &[]), "1"));
        assert!(!is_controlled_by(&child(Some("1"), false, &[]), "1"), "an owner that does not control");
        assert!(!is_controlled_by(&child(Some("2"), true, &ours), "1"), "a hub of the same name that is gone");
        assert!(is_retained_of(&child(None, false, &ours), "plant"));
        assert!(!is_retained_of(&child(None, false, &ours), "other"));
        assert!(!is_retained_of(&child(None, false, &ours[1..]), "plant"));
        assert!(!is_retained_of(&child(Some("2"), true, &ours), "plant"), "somebody else controls it");
    }
}
