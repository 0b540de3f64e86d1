//! One device as a manifest, to be looked at and copied; for one that a manifest speaks for, what to change there.

use leptos::prelude::*;

use crate::browser::now;
use crate::model::change::Device;
use crate::model::manifest::{manifest, removal, rotation};
use crate::model::payload::harmless;
use crate::parts::control::Copy;
use crate::parts::sign::Icon;
use crate::world::World;

/// Folded, below what is known of it.
#[component]
pub fn Manifest(
    /// Whose.
    identity: RwSignal<Option<Device>>,
) -> impl IntoView {
    let world: World = expect_context();
    let hub = move || {
        let name = world.hub.with(|hub| hub.as_ref().map(|hub| hub.host_name.clone()).unwrap_or_default());
        name.split('.').next().unwrap_or_default().to_owned()
    };
    let text = Memo::new(move |_| identity.with(|device| device.as_ref().map(|device| manifest(device, &hub()))).unwrap_or_default());
    let removal = Memo::new(move |_| identity.with(|device| device.as_ref().and_then(removal)));
    let is_managed = Memo::new(move |_| removal.with(Option::is_some));
    let note = move || {
        if is_managed.get() {
            "As the hub has carried it out. Keys and deletion are the manifest's to say:"
        } else {
            "No manifest speaks for this device. This one would take it over, with its keys."
        }
    };
    let changes = move || {
        is_managed.get().then(|| {
            let asked = rotation(now());
            view! {
                <Code heading="For new keys" text=Signal::stored(asked) />
                <Code heading="To delete it" text=Signal::derive(move || removal.get().unwrap_or_default()) />
            }
        })
    };
    let shown = move || {
        identity.with(Option::is_some).then(|| {
            view! {
                <details class="disclosure">
                    <summary><Icon name="right" />"Device manifest"</summary>
                    <div class="panel__body stack"><p class="dim">{move || note()}</p><Code heading="Manifest" text=text />{move || changes()}</div>
                </details>
            }
        })
    };
    view! { {move || shown()} }.into_any()
}

#[component]
fn Code(heading: &'static str, #[prop(into)] text: Signal<String>) -> impl IntoView {
    view! {
        <div class="field">
            <div class="row"><h3>{heading}</h3><span class="push"><Copy text label=format!("Copy: {heading}") /></span></div>
            <pre class="code" tabindex="0">{move || text.with(|text| harmless(text))}</pre>
        </div>
    }
    .into_any()
}
