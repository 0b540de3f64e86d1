//! What the list is narrowed by: each filter is in the address.

use std::time::Duration;

use leptos::prelude::*;

use super::columns::{ColumnsChip, ColumnsMenu};
use super::narrow;
use crate::browser::{Later, Place};
use crate::model::columns::Columns;
use crate::model::device_filter::DeviceFilter;
use crate::model::format::{elapsed, number};
use crate::model::state::DeviceState;
use crate::model::words::{disconnect_reason, sentence};
use crate::parts::control::Chip;
use crate::parts::sign::{Glyph, Icon};
use crate::world::World;

/// How long somebody types before the hub is asked.
const TYPED: Duration = Duration::from_millis(180);

/// For how long nothing was heard of a device, as it can be chosen: in seconds.
const AWAY: [u64; 5] = [600, 3_600, 86_400, 604_800, 2_592_000];

/// Why connections end, as it can be chosen.
const REASONS: [&str; 8] = [
    "KeepAliveTimeout",
    "ConnectionLost",
    "ClientDisconnected",
    "TakenOver",
    "TokenExpired",
    "DeviceDisabled",
    "ProtocolViolation",
    "HubRestarted",
];

/// How devices prove themselves, as it can be chosen.
const AUTHENTICATION: [(&str, &str); 3] = [("sas", "SAS"), ("selfSigned", "X.509 thumbprint"), ("certificateAuthority", "X.509 CA")];

/// The bar above the list.
#[component]
pub fn Filters(filter: Memo<DeviceFilter>, columns: Memo<Columns>) -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let typed = RwSignal::new(filter.get_untracked().prefix);
    let tag = RwSignal::new(filter.get_untracked().tag);
    let later = Later::new();
    let input = move |event| {
        typed.set(event_target_value(&event));
        later.run(TYPED, move || narrow(place, &DeviceFilter { prefix: typed.get_untracked(), ..filter.get_untracked() }));
    };
    // The address may have been changed by another way: a link, or the way back.
    Effect::new(move |_| {
        let (prefix, wanted) = filter.with(|filter| (filter.prefix.clone(), filter.tag.clone()));
        if !later.waits() && typed.get_untracked() != prefix {
            typed.set(prefix);
        }
        if tag.get_untracked() != wanted {
            tag.set(wanted);
        }
    });
    let known = move |state: DeviceState| world.fleet.with(|fleet| fleet.as_ref().map(|fleet| fleet.count(state)));
    let chip = move |state: DeviceState| {
        let press = Callback::new(move |()| narrow(place, &filter.get_untracked().toggled(state)));
        view! {
            <Chip pressed=Signal::derive(move || filter.with(|filter| filter.states.contains(&state))) press>
                <Glyph look=state.look() />{state.word()}<span class="chip__n">{move || known(state).map(number)}</span>
            </Chip>
        }
    };
    let shut_out = move || world.fleet.with(|fleet| fleet.as_ref().map(|fleet| fleet.held));
    let held = Callback::new(move |()| {
        let now = filter.get_untracked();
        narrow(place, &DeviceFilter { held: !now.held, ..now });
    });
    let clear = move |_| {
        typed.set(String::new());
        tag.set(String::new());
        let now = filter.get_untracked();
        narrow(place, &DeviceFilter { sort: now.sort, descending: now.descending, ..DeviceFilter::default() });
    };
    let (more, choosing) = (RwSignal::new(false), RwSignal::new(false));
    let hidden = move || {
        filter.with(|filter| {
            let texts = [&filter.authentication, &filter.reason, &filter.tag].into_iter().filter(|text| !text.is_empty()).count();
            texts + usize::from(filter.away.is_some()) + usize::from(filter.managed.is_some()) + usize::from(filter.queue_min.is_some())
        })
    };
    view! {
        <div class="filters">
            <label class="search">
                <span class="sr">"Search by id prefix"</span><Icon name="search" />
                <input class="input input--mono" type="search" placeholder="id starts with…" autocomplete="off" spellcheck="false" prop:value=move || typed.get() on:input=input />
            </label>
            <div class="chips" role="group" aria-label="State">
                {DeviceState::ALL.map(chip)}
                <Chip pressed=Signal::derive(move || filter.with(|filter| filter.held)) press=held><Icon name="lock" />"Shut out"<span class="chip__n">{move || shut_out().map(number)}</span></Chip>
                <button class="chip" type="button" aria-expanded=move || more.get().to_string() aria-pressed=move || (hidden() > 0).to_string() on:click=move |_| more.update(|more| *more = !*more)>
                    <Icon name="filter" />"Filter"<span class="chip__n">{move || Some(hidden()).filter(|hidden| *hidden > 0).map(|hidden| number(hidden as u64))}</span>
                </button>
                <ColumnsChip columns open=choosing />
                {move || (!filter.with(DeviceFilter::is_all)).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=clear><Icon name="close" />"Clear"</button> })}
            </div>
            {move || more.get().then(|| view! { <More filter tag /> })}
            {move || choosing.get().then(|| view! { <ColumnsMenu columns open=choosing /> })}
        </div>
    }
    .into_any()
}

/// Filters that are rarely wanted, one below the other.
#[component]
fn More(filter: Memo<DeviceFilter>, tag: RwSignal<String>) -> impl IntoView {
    let place: Place = expect_context();
    let go = move |change: &dyn Fn(&mut DeviceFilter)| {
        let mut filter = filter.get_untracked();
        change(&mut filter);
        narrow(place, &filter);
    };
    let choice = move |label: &'static str, choices: Vec<(String, String)>, chosen: Signal<String>, choose: Callback<String>| {
        let option = move |(value, word): (String, String)| {
            let is = value.clone();
            view! { <option value=value selected=move || chosen.get() == is>{word}</option> }
        };
        view! {
            <label class="field">
                <span class="field__label">{label}</span>
                <select class="input" on:change=move |event| choose.run(event_target_value(&event))><option value="">"Any"</option>{choices.into_iter().map(option).collect_view()}</select>
            </label>
        }
    };
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(value, word)| ((*value).to_owned(), (*word).to_owned())).collect::<Vec<_>>();
    let reasons = REASONS.iter().map(|reason| ((*reason).to_owned(), sentence(disconnect_reason(reason)))).collect();
    let ages = AWAY.iter().map(|seconds| (seconds.to_string(), format!("Longer than {}", elapsed(seconds * 1000)))).collect();
    let text = move |say: fn(&DeviceFilter) -> String| Signal::derive(move || filter.with(say));
    view! {
        <div class="menu menu--form" role="group" aria-label="More filters">
            {choice("Sign-in", pairs(&AUTHENTICATION), text(|filter| filter.authentication.clone()), Callback::new(move |value: String| go(&|filter| filter.authentication.clone_from(&value))))}
            {choice("Last seen", ages, text(|filter| filter.away.map(|seconds| seconds.to_string()).unwrap_or_default()), Callback::new(move |value: String| go(&|filter| filter.away = value.parse().ok())))}
            {choice("Last reason", reasons, text(|filter| filter.reason.clone()), Callback::new(move |value: String| go(&|filter| filter.reason.clone_from(&value))))}
            {choice("Managed", pairs(&[("true", "By a manifest"), ("false", "By nobody")]), text(|filter| filter.managed.map(|managed| managed.to_string()).unwrap_or_default()), Callback::new(move |value: String| go(&|filter| filter.managed = value.parse().ok())))}
            <label class="field">
                <span class="field__label">"Commands that wait, at least"</span>
                <input class="input" inputmode="numeric" prop:value=move || filter.with(|filter| filter.queue_min.map(|least| least.to_string()).unwrap_or_default())
                    on:change=move |event| { let value = event_target_value(&event); go(&|filter| filter.queue_min = value.trim().parse().ok()) } />
            </label>
            <label class="field">
                <span class="field__label">"Tag"</span>
                <input class="input input--mono" placeholder="site:north" autocomplete="off" spellcheck="false" prop:value=move || tag.get()
                    on:change=move |event| { let value = event_target_value(&event); tag.set(value.clone()); go(&|filter| value.trim().clone_into(&mut filter.tag)) } />
            </label>
        </div>
    }
    .into_any()
}
