//! Events, for what a person needs to hear of: a thing that went wrong, a thing that was done once. Never for each reconcile.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::debug;

use crate::labels::MANAGER;

/// The longest note that the API server takes.
const NOTE_MAX_BYTES: usize = 1024;

/// Tells of events. Clones are the same.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// `instance`: which of several operators this is.
    #[must_use]
    pub fn new(client: Client, instance: String) -> Self {
        Self { recorder: Recorder::new(client, Reporter { controller: MANAGER.to_owned(), instance: Some(instance) }) }
    }

    /// Something was done.
    pub async fn tell(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(about, EventType::Normal, reason, note).await;
    }

    /// Something is wrong.
    pub async fn warn(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(about, EventType::Warning, reason, note).await;
    }

    /// An event that is lost stops nothing.
    async fn publish(&self, about: &ObjectReference, type_: EventType, reason: &str, note: &str) {
        let mut end = note.len().min(NOTE_MAX_BYTES);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let note = Some(note[..end].to_owned()).filter(|note| !note.is_empty());
        let event = Event { type_, reason: reason.to_owned(), note, action: "Reconcile".to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, about).await {
            debug!(%error, reason, "an event could not be told: {error}");
        }
    }
}
