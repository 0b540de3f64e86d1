//! A device's connection string, shown and copied on demand: whoever asks for it is in the audit.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::post;
use crate::app::Who;
use crate::browser::copy;
use crate::model::hub::Secrets;
use crate::model::state::{ALERT, Look, Tone};
use crate::model::words::authentication;
use crate::parts::notice::Notice;
use crate::parts::panel::Panel;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;
use crate::routes::segment;
use crate::world::World;

const COPIED: Look = Look { glyph: "completed", tone: Tone::Ok };

/// The panel.
#[component]
pub fn Credentials(
    /// Whose.
    id: String,
    /// How it proves itself.
    #[prop(into)]
    kind: Signal<String>,
) -> impl IntoView {
    let who: Who = expect_context();
    let world: World = expect_context();
    let toasts: Toasts = expect_context();
    let may = Memo::new(move |_| who.may("Secrets"));
    let shown = RwSignal::new(None::<String>);
    let path = StoredValue::new(format!("/devices/{}/secrets", segment(&id)));
    let id = StoredValue::new(id);
    let masked = move || {
        let host = world.hub.with(|hub| hub.as_ref().map(|hub| hub.host_name.clone()).unwrap_or_default());
        format!("HostName={host};DeviceId={};SharedAccessKey=••••••••••••", id.get_value())
    };
    let ask = move |wanted: fn(String, RwSignal<Option<String>>, Toasts)| {
        spawn_local(async move {
            match post::<Secrets>(&path.get_value(), &[], &[]).await {
                Ok(Secrets { connection_string: Some(text) }) => wanted(text, shown, toasts),
                Ok(_) => toasts.failed("There is no key to show", "The device proves itself with a certificate."),
                Err(failure) => toasts.failed("The key can't be shown", failure.text),
            }
        });
    };
    let reveal = move |_| {
        if shown.with_untracked(Option::is_some) {
            shown.set(None);
        } else {
            ask(|text, shown, _| shown.set(Some(text)));
        }
    };
    let take = move |_| {
        ask(|text, _, toasts| {
            spawn_local(async move {
                if copy(text).await {
                    toasts.say(COPIED, "Connection string copied", "It has the device's key in it. The audit says that you have it.");
                } else {
                    toasts.failed("Not copied", "The browser does not let this page use the clipboard.");
                }
            });
        });
    };
    let of_keys = move || {
        view! {
            <div class="field">
                <span class="field__label">"Connection string"</span>
                <div class="secret">
                    <span class="secret__text">{move || shown.get().unwrap_or_else(masked)}</span>
                    <button class="btn btn--quiet btn--icon btn--small" type="button" aria-label="Reveal the key" aria-pressed=move || shown.with(Option::is_some).to_string()
                        disabled=move || !may.get() on:click=reveal><Icon name="eye" /></button>
                    <button class="btn btn--quiet btn--icon btn--small" type="button" aria-label="Copy the connection string" disabled=move || !may.get() on:click=take><Icon name="copy" /></button>
                </div>
                <span class="field__hint">{move || if may.get() { "Revealing or copying is written to the audit under your name." } else { "Your account may not see keys." }}</span>
            </div>
        }
        .into_any()
    };
    let aside = move || view! { <span class="panel__note">{authentication(&kind.get()).to_owned()}</span> };
    let body = move || {
        match kind.get().as_str() {
        "" | "sas" => of_keys(),
        _ => view! { <Notice look=ALERT text="It proves itself with a certificate".to_owned() more="The hub keeps no secret of it.".to_owned() /> }.into_any(),
    }
    };
    view! { <Panel heading="Credentials".to_owned() aside><div class="panel__body stack">{move || body()}</div></Panel> }.into_any()
}
