//! What a device proves itself by. Keys and connection string are shown and copied on demand: whoever asks for them is in the audit, and they do
//! not stay on the screen.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::post;
use crate::app::Who;
use crate::browser::{Later, copy};
use crate::model::change::Device;
use crate::model::format::NOTHING;
use crate::model::hub::Secrets;
use crate::model::state::{ALERT, Look, Tone};
use crate::model::words::authentication;
use crate::parts::notice::Notice;
use crate::parts::panel::{Fact, Panel};
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;
use crate::routes::segment;
use crate::world::World;

/// How long keys are to be seen.
const SHOWN: Duration = Duration::from_secs(60);

const STRING: &str = "connection string";

const MASK: &str = "••••••••••••";

/// One of the texts.
type Which = fn(&Secrets) -> &Option<String>;

const COPIED: Look = Look { glyph: "completed", tone: Tone::Ok };

/// The panel.
#[component]
pub fn Credentials(
    /// Whose.
    id: String,
    /// What is known of it.
    #[prop(into)]
    identity: Signal<Option<Device>>,
) -> impl IntoView {
    let who: Who = expect_context();
    let world: World = expect_context();
    let toasts: Toasts = expect_context();
    let may = Memo::new(move |_| who.may("Secrets"));
    let kind = Memo::new(move |_| {
        identity.with(|identity| identity.as_ref().map(|identity| identity.authentication.r#type.clone()).unwrap_or_default())
    });
    let shown = RwSignal::new(None::<Secrets>);
    let hide = Later::new();
    // What is shown may be no key any more.
    Effect::new(move |before: Option<String>| {
        let etag = identity.with(|identity| identity.as_ref().map(|identity| identity.etag.clone()).unwrap_or_default());
        if before.is_some_and(|before| before != etag) {
            shown.set(None);
        }
        etag
    });
    let path = StoredValue::new(format!("/devices/{}/secrets", segment(&id)));
    let id = StoredValue::new(id);
    let ask = move |then: Callback<Secrets>| {
        spawn_local(async move {
            match post::<Secrets>(&path.get_value(), &[], &[]).await {
                Ok(secrets) if secrets.connection_string.is_some() => drop(then.try_run(secrets)),
                Ok(_) => toasts.failed("There is no key to show", "The device proves itself with a certificate."),
                Err(failure) => toasts.failed("The key can't be shown", failure.text),
            }
        });
    };
    let show = Callback::new(move |secrets| {
        shown.set(Some(secrets));
        hide.run(SHOWN, move || shown.set(None));
    });
    let reveal = move |_| {
        if shown.with_untracked(Option::is_some) { shown.set(None) } else { ask(show) }
    };
    let line = move |label: &'static str, what: &'static str, which: Which| {
        let masked = move || {
            if what != STRING {
                return MASK.to_owned();
            }
            let host = world.hub.with(|hub| hub.as_ref().map(|hub| hub.host_name.clone()).unwrap_or_default());
            format!("HostName={host};DeviceId={};SharedAccessKey={MASK}", id.get_value())
        };
        let text = move || shown.with(|shown| shown.as_ref().and_then(|shown| which(shown).clone())).unwrap_or_else(masked);
        let take = Callback::new(move |secrets: Secrets| {
            let text = which(&secrets).clone().unwrap_or_default();
            spawn_local(async move {
                if copy(text).await {
                    toasts.say(COPIED, format!("{label} copied"), "It has the device's key in it. The audit says that you have it.");
                } else {
                    toasts.failed("Not copied", "The browser does not let this page use the clipboard.");
                }
            });
        });
        let eye = move || {
            (what == STRING).then(|| view! {
                <button class="btn btn--quiet btn--icon btn--small" type="button" aria-label="Reveal the key" aria-pressed=move || shown.with(Option::is_some).to_string()
                    disabled=move || !may.get() on:click=reveal><Icon name="eye" /></button>
            })
        };
        view! {
            <div class="field">
                <span class="field__label">{label}</span>
                <div class="secret">
                    <span class="secret__text">{move || text()}</span>{move || eye()}
                    <button class="btn btn--quiet btn--icon btn--small" type="button" aria-label=format!("Copy the {what}") disabled=move || !may.get() on:click=move |_| ask(take)><Icon name="copy" /></button>
                </div>
            </div>
        }
    };
    let of_keys = move || {
        let hint = move || {
            if may.get() {
                "Revealing or copying is written to the audit under your name. They are hidden again after a minute."
            } else {
                "Your account may not see keys."
            }
        };
        view! {
            {line("Connection string", STRING, |secrets| &secrets.connection_string)}
            {line("Primary key", "primary key", |secrets| &secrets.primary_key)}
            {line("Secondary key", "secondary key", |secrets| &secrets.secondary_key)}
            <span class="field__hint">{move || hint()}</span>
        }
        .into_any()
    };
    let of_certificates = move || {
        let slots = identity
            .with(|identity| identity.as_ref().and_then(|identity| identity.authentication.thumbprints.clone()).unwrap_or_default());
        let slot = |slot: Option<String>| view! { <span class="id">{slot.unwrap_or_else(|| NOTHING.to_owned())}</span> };
        view! {
            <Notice look=ALERT text="It proves itself with a certificate".to_owned() more="The hub keeps no secret of it.".to_owned() />
            {(kind.get() == "selfSigned").then(|| view! { <dl class="facts facts--rows"><Fact name="Primary thumbprint">{slot(slots.primary)}</Fact><Fact name="Secondary thumbprint">{slot(slots.secondary)}</Fact></dl> })}
        }
        .into_any()
    };
    let aside = move || view! { <span class="panel__note">{authentication(&kind.get()).to_owned()}</span> };
    let body = move || if matches!(kind.get().as_str(), "" | "sas") { of_keys() } else { of_certificates() };
    view! { <Panel heading="Credentials".to_owned() aside><div class="panel__body stack">{move || body()}</div></Panel> }.into_any()
}
