//! A command to one device.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::post;
use crate::app::Who;
use crate::browser::now;
use crate::model::change::Command;
use crate::model::format::bytes;
use crate::model::state::command_look;
use crate::parts::panel::Panel;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;
use crate::routes::segment;

/// As large as a command's content may be.
const PAYLOAD_MAX_BYTES: usize = 64 * 1024;

/// After how many minutes it expires, and in words.
const EXPIRIES: [(i64, &str); 5] = [(10, "10 min"), (60, "1 hour"), (360, "6 hours"), (1440, "1 day"), (2879, "2 days")];

/// Which receipts there are, and in words.
const RECEIPTS: [(&str, &str); 4] = [("full", "Always (full)"), ("positive", "On success"), ("negative", "On failure"), ("none", "None")];

/// The form.
#[component]
pub fn Compose(
    /// To whom.
    id: String,
    /// Whether it is there.
    #[prop(into)]
    connected: Signal<bool>,
    /// How many wait for it already.
    #[prop(into)]
    pending: Signal<usize>,
) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let payload = RwSignal::new("{\n  \"open\": true\n}".to_owned());
    let name = RwSignal::new(String::new());
    let expiry = RwSignal::new(60_i64);
    let receipt = RwSignal::new("full".to_owned());
    let busy = RwSignal::new(false);
    let properties = RwSignal::new(vec![(0_u32, RwSignal::new(String::new()), RwSignal::new(String::new()))]);
    let size = Memo::new(move |_| payload.with(String::len));
    let kind =
        Memo::new(move |_| payload.with(|text| if serde_json::from_str::<serde_json::Value>(text).is_ok() { "JSON" } else { "Text" }));
    let may = Memo::new(move |_| who.may("Commands"));
    let too_large = move || size.get() > PAYLOAD_MAX_BYTES;
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let path = format!("/devices/{}/commands", segment(&id));
        let mut headers = vec![
            ("iothub-ack", receipt.get_untracked()),
            ("iothub-expiry", now().plus(expiry.get_untracked() * 60_000).iso()),
            ("iothub-contentencoding", "utf-8".to_owned()),
        ];
        if kind.get_untracked() == "JSON" {
            headers.push(("iothub-contenttype", "application/json".to_owned()));
        }
        let called = name.get_untracked();
        if !called.is_empty() {
            headers.push(("iothub-messageid", called));
        }
        let own: Vec<_> = properties
            .get_untracked()
            .into_iter()
            .map(|(_, name, value)| (format!("iothub-app-{}", name.get_untracked()), value.get_untracked()))
            .filter(|(name, _)| name != "iothub-app-")
            .collect();
        headers.extend(own.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>());
        let headers: Vec<(String, String)> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = payload.get_untracked().into_bytes();
        spawn_local(async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            match post::<Command>(&path, &headers, &body).await {
                Ok(command) => {
                    let more = if connected.get_untracked() {
                        "It is on its way: the timeline shows each step."
                    } else {
                        "The device is away. It is delivered when the device is back."
                    };
                    toasts.say(command_look("Enqueued"), format!("{} queued", command.name()), more);
                }
                Err(failure) => toasts.failed("The command was not taken", failure.text),
            }
            busy.set(false);
        });
    };
    let pair = move |(number, name, value): (u32, RwSignal<String>, RwSignal<String>)| {
        let last = move || properties.with(|all| all.last().is_some_and(|(last, ..)| *last == number));
        let press = move |_| {
            if last() {
                properties.update(|all| all.push((number + 1, RwSignal::new(String::new()), RwSignal::new(String::new()))));
            } else {
                properties.update(|all| all.retain(|(found, ..)| *found != number));
            }
        };
        view! {
            <div class="pairs">
                <input class="input input--mono" aria-label="Property name" autocomplete="off" bind:value=name />
                <input class="input input--mono" aria-label="Property value" autocomplete="off" bind:value=value />
                <button class="btn btn--quiet btn--icon" type="button" aria-label=move || if last() { "Add a property" } else { "Remove this property" } on:click=press>
                    <Icon name=Signal::derive(move || if last() { "plus" } else { "close" }) />
                </button>
            </div>
        }
    };
    let aside = move || view! { <span class="panel__note">{move || format!("{} of 50 queued", pending.get())}</span> };
    let hint = move || match (may.get(), connected.get()) {
        (false, _) => "Your account may look, and may not send.",
        (true, true) => "The device is there.",
        (true, false) => "The device is away: it waits.",
    };
    view! {
        <Panel heading="Send a command".to_owned() aside>
            <form class="panel__body form" on:submit=send>
                <label class="field">
                    <span class="field__label">"Payload"</span>
                    <textarea class="input input--mono" rows="4" spellcheck="false" aria-invalid=move || too_large().to_string() bind:value=payload></textarea>
                    <span class="field__hint">{move || format!("{}, UTF-8 · {} of {}", kind.get(), bytes(size.get() as u64), bytes(PAYLOAD_MAX_BYTES as u64))}</span>
                </label>
                <label class="field">
                    <span class="field__label">"Message id"</span>
                    <input class="input input--mono" autocomplete="off" maxlength="128" placeholder="what receipts will call it" bind:value=name />
                </label>
                <fieldset class="field">
                    <legend class="field__label">"Properties"</legend>
                    <For each=move || properties.get() key=|(number, ..)| *number children=pair />
                </fieldset>
                <div class="form__row">
                    <label class="field">
                        <span class="field__label">"Expires after"</span>
                        <select class="input" on:change=move |event| expiry.set(event_target_value(&event).parse().unwrap_or(60))>
                            {EXPIRIES.map(|(minutes, word)| view! { <option value=minutes.to_string() selected={minutes == 60}>{word}</option> })}
                        </select>
                    </label>
                    <label class="field">
                        <span class="field__label">"Receipt"</span>
                        <select class="input" on:change=move |event| receipt.set(event_target_value(&event))>
                            {RECEIPTS.map(|(name, word)| view! { <option value=name>{word}</option> })}
                        </select>
                    </label>
                </div>
                <div class="form__end">
                    <span class="field__hint">{hint}</span>
                    <button class="btn btn--primary" type="submit" aria-busy=move || busy.get().to_string() disabled=move || !may.get() || too_large()>
                        <Icon name="commands" />{move || if connected.get() { "Send command" } else { "Queue command" }}
                    </button>
                </div>
            </form>
        </Panel>
    }
    .into_any()
}
