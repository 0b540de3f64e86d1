//! What can be done to one device: shut it out, let it in again, give it a new key, delete it. Each says beforehand what follows, and afterwards what was measured.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::act;
use crate::app::Who;
use crate::browser::now;
use crate::model::change::Device;
use crate::model::hub::action;
use crate::model::manifest::{removal, rotation};
use crate::model::state::{ALERT, DeviceState, Look, Tone};
use crate::parts::control::Seg;
use crate::parts::dialog::Dialog;
use crate::parts::id::Id;
use crate::parts::notice::Notice;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;

/// What is done, and how that is called when it is.
#[derive(Clone, Copy)]
struct Deed {
    action: &'static str,
    done: &'static str,
    look: Look,
}

const DISABLE: Deed = Deed { action: "disable", done: "Disabled", look: Look { glyph: "disabled", tone: Tone::Mute } };
const ENABLE: Deed = Deed { action: "enable", done: "Enabled", look: Look { glyph: "completed", tone: Tone::Ok } };
const ROTATE: Deed = Deed { action: "rotate", done: "New key made", look: Look { glyph: "completed", tone: Tone::Ok } };
const DELETE: Deed = Deed { action: "delete", done: "Deleted", look: Look { glyph: "registry", tone: Tone::Mute } };

/// The buttons, and the dialogs behind them.
#[component]
pub fn Actions(
    /// To whom.
    id: String,
    /// Whether it is shut out.
    disabled: bool,
    /// What is known of it.
    #[prop(into)]
    identity: Signal<Option<Device>>,
    /// Whether it is there.
    #[prop(into)]
    connected: Signal<bool>,
) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let may = Memo::new(move |_| who.may("Devices"));
    let managed = Signal::derive(move || identity.with(|identity| identity.as_ref().is_some_and(|identity| identity.managed_by.is_some())));
    let has_keys = move || identity.with(|identity| identity.as_ref().is_some_and(|identity| identity.authentication.r#type == "sas"));
    let (disabling, rotating, deleting) = (RwSignal::new(false), RwSignal::new(false), RwSignal::new(false));
    let (reason, typed) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let slot = RwSignal::new(1_usize);
    let named = StoredValue::new(id);
    let press = Callback::new(move |deed: Deed| {
        disabling.set(false);
        rotating.set(false);
        deleting.set(false);
        let slot = if slot.get_untracked() == 0 { "primary" } else { "secondary" };
        // The field is shown for the others only.
        let reason = if deed.action == ENABLE.action { String::new() } else { reason.get_untracked() };
        let body = action(deed.action, slot, &reason, &[named.get_value()]);
        spawn_local(async move {
            match act(&body).await {
                Ok(results) if results.all_done() => toasts.say(deed.look, deed.done, results.sentence()),
                Ok(results) => toasts.failed("Not done", results.sentence()),
                Err(failure) => toasts.failed("Not done", failure.text),
            }
        });
    });
    let why_not = move || (!may.get()).then_some("Your account may look, and may not change devices.");
    let ask_to_disable = move |_| {
        reason.set(String::new());
        disabling.set(true);
    };
    let toggle = if disabled {
        view! { <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=move |_| press.run(ENABLE)><Icon name="power" />"Enable"</button> }.into_any()
    } else {
        view! { <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=ask_to_disable><Icon name="power" />"Disable…"</button> }.into_any()
    };
    let consequence = move || {
        let now =
            if connected.get() { "It is connected. Its connection closes within a second, and it" } else { "It is not connected, and it" };
        format!("{now} can't sign in until somebody enables it. Its queued commands stay and may expire.")
    };
    let disable = move || {
        view! {
            <Id id=named.get_value() />
            <p>{move || consequence()}</p>
            {move || managed.get().then(|| view! { <Notice look=DeviceState::Disabled.look() text="Its manifest stays as it is".to_owned() more="This is a hold: it counts more than the manifest, until somebody enables the device here.".to_owned() /> })}
            <label class="field"><span class="field__label">"Reason, kept in the audit"</span><input class="input" autofocus maxlength="128" bind:value=reason /></label>
        }
    };
    let disable_foot = move || {
        view! {
            <button class="btn" type="button" on:click=move |_| disabling.set(false)>"Keep enabled"</button>
            <button class="btn btn--danger" type="button" on:click=move |_| press.run(DISABLE)><Icon name="power" />"Disable device"</button>
        }
    };
    let rotate = move || {
        if managed.get() {
            return view! {
                <p>"This device comes from a manifest, which keeps its keys. Ask for new ones there:"</p>
                <pre class="code" tabindex="0">{rotation(now())}</pre>
            }
            .into_any();
        }
        view! {
            <Id id=named.get_value() />
            <p>"The key in this slot is replaced. A connection that was opened with it closes at once; one that was opened with the other key stays."</p>
            <Seg label="Slot" choices=vec!["Primary key", "Secondary key"] chosen=slot choose=Callback::new(move |chosen| slot.set(chosen)) />
            <Notice look=ALERT text="The device needs the new key before it can use this slot again".to_owned() />
        }
        .into_any()
    };
    let rotate_foot = move || {
        view! {
            <button class="btn" type="button" on:click=move |_| rotating.set(false)>"Keep its keys"</button>
            {move || (!managed.get()).then(|| view! { <button class="btn btn--danger" type="button" on:click=move |_| press.run(ROTATE)><Icon name="key" />"Replace the key"</button> })}
        }
    };
    let ask_to_delete = move |_| {
        reason.set(String::new());
        typed.set(String::new());
        deleting.set(true);
    };
    let delete = move || {
        if managed.get() {
            let command = identity.with(|identity| identity.as_ref().and_then(removal)).unwrap_or_default();
            return view! {
                <p>"This device comes from a manifest, which would make it again. Take the manifest out of where you keep it, and:"</p>
                <pre class="code" tabindex="0">{command}</pre>
            }
            .into_any();
        }
        view! {
            <Id id=named.get_value() />
            <p>{move || if connected.get() { "It is connected: its connection closes within a second." } else { "It is not connected." }}" Its identity, its keys and its queued commands are gone for good. What it has sent, and its story, stay as long as they are kept."</p>
            <label class="field"><span class="field__label">"Reason, kept in the audit"</span><input class="input" autofocus maxlength="128" bind:value=reason /></label>
            <label class="field"><span class="field__label">"Type its id to confirm"</span><input class="input input--mono" autocomplete="off" spellcheck="false" bind:value=typed /></label>
        }
        .into_any()
    };
    let delete_foot = move || {
        view! {
            <button class="btn" type="button" on:click=move |_| deleting.set(false)>"Keep it"</button>
            {move || (!managed.get()).then(|| view! { <button class="btn btn--danger" type="button" disabled=move || typed.get() != named.get_value() on:click=move |_| press.run(DELETE)><Icon name="close" />"Delete device"</button> })}
        }
    };
    view! {
        {move || has_keys().then(|| view! { <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=move |_| rotating.set(true)><Icon name="key" />"Rotate keys…"</button> })}
        {toggle}
        <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=ask_to_delete><Icon name="close" />"Delete…"</button>
        <Dialog open=disabling heading="Disable this device?" content=disable foot=ViewFn::from(disable_foot) />
        <Dialog open=rotating heading="Replace a key of this device?" content=rotate foot=ViewFn::from(rotate_foot) />
        <Dialog open=deleting heading="Delete this device?" content=delete foot=ViewFn::from(delete_foot) />
    }
    .into_any()
}
