//! What can be done to one device: shut it out, let it in again, give it a new key. Each says beforehand what follows, and afterwards what was measured.

use leptos::prelude::*;
use leptos::task::spawn_local;
use serde_json::json;

use crate::api::post;
use crate::app::Who;
use crate::browser::now;
use crate::model::hub::ActionResults;
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

/// The buttons, and the dialogs behind them.
#[component]
pub fn Actions(
    /// To whom.
    id: String,
    /// Whether it is shut out.
    disabled: bool,
    /// Whether a manifest speaks for it.
    #[prop(into)]
    managed: Signal<bool>,
    /// Whether it is there.
    #[prop(into)]
    connected: Signal<bool>,
) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let may = Memo::new(move |_| who.may("Devices"));
    let (disabling, rotating) = (RwSignal::new(false), RwSignal::new(false));
    let reason = RwSignal::new(String::new());
    let slot = RwSignal::new(1_usize);
    let named = StoredValue::new(id);
    let act = Callback::new(move |deed: Deed| {
        disabling.set(false);
        rotating.set(false);
        let mut body = json!({ "action": deed.action, "ids": [named.get_value()] });
        if deed.action == ROTATE.action {
            body["slot"] = if slot.get_untracked() == 0 { "primary" } else { "secondary" }.into();
        } else if !reason.get_untracked().is_empty() {
            body["reason"] = reason.get_untracked().into();
        }
        spawn_local(async move {
            let json = [("content-type", "application/json".to_owned())];
            match post::<ActionResults>("/devices/actions", &json, body.to_string().as_bytes()).await {
                Ok(results) if results.all_done() => toasts.say(deed.look, deed.done, results.sentence()),
                Ok(results) => toasts.failed("Not done", results.sentence()),
                Err(failure) => toasts.failed("Not done", failure.text),
            }
        });
    });
    let why_not = move || (!may.get()).then_some("Your account may look, and may not change devices.");
    let toggle = if disabled {
        view! { <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=move |_| act.run(ENABLE)><Icon name="power" />"Enable"</button> }.into_any()
    } else {
        view! { <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=move |_| disabling.set(true)><Icon name="power" />"Disable…"</button> }.into_any()
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
            <button class="btn btn--danger" type="button" on:click=move |_| act.run(DISABLE)><Icon name="power" />"Disable device"</button>
        }
    };
    let rotate = move || {
        if managed.get() {
            return view! {
                <p>"This device comes from a manifest, which keeps its keys. Ask for new ones there:"</p>
                <pre class="code" tabindex="0">{format!("spec:\n  rotation:\n    requestedAt: \"{}\"", now().iso())}</pre>
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
            {move || (!managed.get()).then(|| view! { <button class="btn btn--danger" type="button" on:click=move |_| act.run(ROTATE)><Icon name="key" />"Replace the key"</button> })}
        }
    };
    view! {
        <button class="btn" type="button" disabled=move || !may.get() title=move || why_not() on:click=move |_| rotating.set(true)><Icon name="key" />"Rotate keys…"</button>
        {toggle}
        <Dialog open=disabling heading="Disable this device?" content=disable foot=ViewFn::from(disable_foot) />
        <Dialog open=rotating heading="Replace a key of this device?" content=rotate foot=ViewFn::from(rotate_foot) />
    }
    .into_any()
}
