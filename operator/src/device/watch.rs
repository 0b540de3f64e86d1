//! What a watch says, put simply: an object is there, or it is gone; and everything has been seen once.
//!
//! A watch that was cut begins anew with a list. Objects that were deleted meanwhile are not in it, and nothing else says that they went.

use std::collections::HashSet;

use kube::Resource;
use kube::runtime::watcher::Event;

use super::DeviceName;

/// One thing that a watch says.
#[derive(Debug)]
pub enum Observed<K> {
    /// It is there, and this is how.
    There(K),
    /// It is gone.
    Gone(DeviceName),
    /// All that is there has been seen.
    Synced,
}

/// Remembers which objects are there.
#[derive(Debug, Default)]
pub struct Roll {
    there: HashSet<DeviceName>,
    listed: Option<HashSet<DeviceName>>,
}

impl Roll {
    /// What an event of the watch means.
    pub fn take<K: Resource<DynamicType = ()>>(&mut self, event: Event<K>) -> Vec<Observed<K>> {
        match event {
            Event::Init => {
                self.listed = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(DeviceName::of(&object));
                }
                vec![Observed::There(object)]
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.there, listed);
                let gone = before.into_iter().filter(|name| !self.there.contains(name)).map(Observed::Gone);
                gone.chain([Observed::Synced]).collect()
            }
            Event::Apply(object) => {
                self.there.insert(DeviceName::of(&object));
                vec![Observed::There(object)]
            }
            Event::Delete(object) => {
                let name = DeviceName::of(&object);
                self.there.remove(&name);
                vec![Observed::Gone(name)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::ObjectMeta;

    use super::*;

    fn secret(name: &str) -> Secret {
        Secret { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..Secret::default() }
    }

    #[test]
    fn what_went_while_nobody_watched_is_gone() {
        let mut roll = Roll::default();
        let mut take = |event: Event<Secret>| {
            roll.take(event)
                .into_iter()
                .map(|observed| match observed {
                    Observed::There(object) => format!("+{}", object.metadata.name.unwrap()),
                    Observed::Gone(name) => format!("-{}", name.name),
                    Observed::Synced => "synced".to_owned(),
                })
                .collect::<Vec<_>>()
        };
        assert!(take(Event::Init).is_empty());
        assert_eq!(take(Event::InitApply(secret("a"))), ["+a"]);
        assert_eq!(take(Event::InitDone), ["synced"]);
        assert_eq!(take(Event::Apply(secret("b"))), ["+b"]);
        take(Event::Init);
        take(Event::InitApply(secret("b")));
        assert_eq!(take(Event::InitDone), ["-a", "synced"]);
        assert_eq!(take(Event::Delete(secret("b"))), ["-b"]);
    }
}
