//! What a command says and asks for: the fields of a form, and the request that they come to.

use leptos::prelude::*;

use crate::api::{Failure, post};
use crate::browser::now;
use crate::model::change::Command;
use crate::model::format::bytes;
use crate::model::json::value::Value;
use crate::parts::each::each;
use crate::parts::sign::Icon;
use crate::routes::segment;

/// As large as a command's content may be.
const PAYLOAD_MAX_BYTES: usize = 64 * 1024;

/// After how many minutes it expires, and in words.
const EXPIRIES: [(i64, &str); 5] = [(10, "10 min"), (60, "1 hour"), (360, "6 hours"), (1440, "1 day"), (2879, "2 days")];

/// Which receipts there are, and in words.
pub const RECEIPTS: [(&str, &str); 4] =
    [("full", "Always (full)"), ("positive", "On success"), ("negative", "On failure"), ("none", "None")];

/// What a command may look like.
const EXAMPLE: &str = "{ \"open\": true }";

/// A property's number in the form, its name and its value.
type Property = (u32, RwSignal<String>, RwSignal<String>);

/// A command that is being written.
#[derive(Clone, Copy)]
pub struct Message {
    payload: RwSignal<String>,
    name: RwSignal<String>,
    /// In minutes.
    expiry: RwSignal<i64>,
    receipt: RwSignal<String>,
    properties: RwSignal<Vec<Property>>,
}

/// One that has been written, for as many devices as get it.
pub struct Request {
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    /// Sends it to one.
    pub async fn send(&self, device: &str) -> Result<Command, Failure> {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        post(&format!("/devices/{}/commands", segment(device)), &headers, self.body.as_bytes()).await
    }
}

impl Message {
    /// Nothing yet: what somebody sends is what they have written.
    pub fn new() -> Self {
        Self {
            payload: RwSignal::new(String::new()),
            name: RwSignal::new(String::new()),
            expiry: RwSignal::new(60),
            receipt: RwSignal::new("full".to_owned()),
            properties: RwSignal::new(vec![(0, RwSignal::new(String::new()), RwSignal::new(String::new()))]),
        }
    }

    /// Whether there is something to send, and the hub gets it as it is written.
    pub fn can_be_sent(self) -> bool {
        let names = self.names();
        let is_empty = self.payload.with(String::is_empty) && names.iter().all(String::is_empty);
        !is_empty && !self.is_too_large() && (0..names.len()).all(|index| crate::model::property::can_be_named(&names, index))
    }

    /// Whether no hub would take it.
    fn is_too_large(self) -> bool {
        self.payload.with(String::len) > PAYLOAD_MAX_BYTES
    }

    /// Of its properties.
    fn names(self) -> Vec<String> {
        self.properties.with(|all| all.iter().map(|(_, name, _)| name.get()).collect())
    }

    /// Whether one of its properties can't have the name that it has.
    fn is_misnamed(self, number: u32) -> bool {
        let index = self.properties.with(|all| all.iter().position(|(found, ..)| *found == number));
        index.is_some_and(|index| !crate::model::property::can_be_named(&self.names(), index))
    }

    fn is_json(self) -> bool {
        self.payload.with(|text| Value::parse(text).is_ok())
    }

    /// As it is written now.
    pub fn request(self) -> Request {
        let mut headers = vec![
            ("iothub-ack".to_owned(), self.receipt.get_untracked()),
            ("iothub-expiry".to_owned(), now().plus(self.expiry.get_untracked() * 60_000).iso()),
            ("iothub-contentencoding".to_owned(), "utf-8".to_owned()),
        ];
        if self.is_json() {
            headers.push(("iothub-contenttype".to_owned(), "application/json".to_owned()));
        }
        let called = self.name.get_untracked();
        if !called.is_empty() {
            headers.push(("iothub-messageid".to_owned(), called));
        }
        let own = self.properties.get_untracked().into_iter().map(|(_, name, value)| (name.get_untracked(), value.get_untracked()));
        headers.extend(own.filter(|(name, _)| !name.is_empty()).map(|(name, value)| (format!("iothub-app-{name}"), value)));
        Request { headers, body: self.payload.get_untracked() }
    }

    /// The fields.
    pub fn fields(self) -> impl IntoView {
        let size = move || self.payload.with(String::len) as u64;
        let kind = Memo::new(move |_| if self.is_json() { "JSON" } else { "Text" });
        let too_large = move || self.is_too_large();
        let pair = move |(number, name, value): (u32, RwSignal<String>, RwSignal<String>)| {
            let last = move || self.properties.with(|all| all.last().is_some_and(|(last, ..)| *last == number));
            let press = move |_| {
                if last() {
                    self.properties.update(|all| all.push((number + 1, RwSignal::new(String::new()), RwSignal::new(String::new()))));
                } else {
                    self.properties.update(|all| all.retain(|(found, ..)| *found != number));
                }
            };
            view! {
                <div class="pairs">
                    <input class="input input--mono" aria-label="Property name" placeholder="name" autocomplete="off" autocapitalize="off" aria-invalid=move || self.is_misnamed(number).to_string() bind:value=name />
                    <input class="input input--mono" aria-label="Property value" placeholder="value" autocomplete="off" bind:value=value />
                    <button class="btn btn--quiet btn--icon" type="button" aria-label=move || if last() { "Add a property" } else { "Remove this property" } on:click=press>
                        <Icon name=Signal::derive(move || if last() { "plus" } else { "close" }) />
                    </button>
                </div>
            }
        };
        view! {
            <label class="field">
                <span class="field__label">"Payload"</span>
                <textarea class="input input--mono" rows="4" spellcheck="false" placeholder=EXAMPLE aria-invalid=move || too_large().to_string() bind:value=self.payload></textarea>
                <span class="field__hint">{move || format!("{}, UTF-8 · {} of {}", kind.get(), bytes(size()), bytes(PAYLOAD_MAX_BYTES as u64))}</span>
            </label>
            <label class="field">
                <span class="field__label">"Message id"</span>
                <input class="input input--mono" autocomplete="off" maxlength="128" placeholder="what receipts will call it" bind:value=self.name />
            </label>
            <div class="field" role="group" aria-label="Properties">
                <span class="field__label" aria-hidden="true">"Properties"</span>
                {each(move || self.properties.get(), |(number, ..)| number.to_string(), pair)}
                <span class="field__hint">"Each name once, in small letters, digits and - _ . alone: a browser can't send others"</span>
            </div>
            <div class="form__row">
                <label class="field">
                    <span class="field__label">"Expires after"</span>
                    <select class="input" on:change=move |event| self.expiry.set(event_target_value(&event).parse().unwrap_or(60))>
                        {EXPIRIES.map(|(minutes, word)| view! { <option value=minutes.to_string() selected={minutes == 60}>{word}</option> })}
                    </select>
                </label>
                <label class="field">
                    <span class="field__label">"Receipt"</span>
                    <select class="input" on:change=move |event| self.receipt.set(event_target_value(&event))>
                        {RECEIPTS.map(|(name, word)| view! { <option value=name>{word}</option> })}
                    </select>
                </label>
            </div>
        }
        .into_any()
    }
}
