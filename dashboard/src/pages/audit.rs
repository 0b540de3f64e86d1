//! Audit: who did what, through which door, the latest first; live.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::{Later, Place};
use crate::model::audit::{Entry, Page};
use crate::model::change::Change;
use crate::model::format::{NOTHING, count};
use crate::model::state::ALERT;
use crate::model::time::Moment;
use crate::parts::id::{DeviceLink, Id};
use crate::parts::notice::{Empty, Notice, Skeleton};
use crate::parts::sign::{Glyph, Icon};
use crate::parts::when::At;
use crate::routes::Query;
use crate::world::World;

/// Rows at first, and how many more each time.
const ROWS: &str = "100";

/// Rows that stay when new ones come: whoever looks all day is shown what is new, and asks for what is older.
const KEPT: usize = 200;

/// How long somebody types before the hub is asked.
const TYPED: std::time::Duration = std::time::Duration::from_millis(300);

/// What was found.
#[derive(Clone, Copy)]
struct Found {
    entries: RwSignal<Option<Vec<Entry>>>,
    next: RwSignal<Option<String>>,
    failure: RwSignal<Option<Failure>>,
}

/// The page.
#[component]
pub fn Audit() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let query = Memo::new(move |_| {
        place.query.with(|query| {
            let of = |name: &str| query.get(name).unwrap_or_default().to_owned();
            Query::default().with("who", of("who")).with("device", of("device")).with("limit", ROWS)
        })
    });
    let found = Found { entries: RwSignal::new(None), next: RwSignal::new(None), failure: RwSignal::new(None) };
    Effect::new(move |before: Option<Query>| {
        world.missed.track();
        let wanted = query.get();
        if before.is_some_and(|before| before != wanted) {
            found.entries.set(None);
        }
        found.ask(query, None);
        wanted
    });
    Effect::new(move |_| world.latest.with(|changes| found.hear(changes, &query.get_untracked())));
    let rows = move || {
        match found.entries.get() {
        None if found.failure.with(Option::is_none) => view! { <div class="panel__body panel__body--first"><Skeleton /></div> }.into_any(),
        None => ().into_any(),
        Some(entries) if entries.is_empty() && query.with(|query| ["who", "device"].iter().any(|name| query.get(name).is_some())) => {
            view! { <Empty heading="Nothing of exactly that name"><p>"Who and what device are looked for by the whole of their names."</p></Empty> }.into_any()
        }
        Some(entries) if entries.is_empty() => {
            view! { <Empty heading="Nobody has done this"><p>"Sign-ins, changes of devices, keys that were shown, commands that people sent: all of it is here, whichever way it was done."</p></Empty> }.into_any()
        }
        Some(entries) => days(entries),
    }
    };
    let foot = move || {
        let known = found.entries.with(|entries| entries.as_ref().map_or(0, Vec::len)) as u64;
        let older = move |_| found.ask(query, found.next.get_untracked());
        view! {
            <span>{count(known, "entry", "entries")}</span>
            {move || found.next.with(Option::is_some).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=older>"Older"</button> })}
            <span class="push wide-only">"Nothing changes an entry"</span>
        }
    };
    view! {
        <div class="page__head"><div class="page__title"><h1>"Audit"</h1><p class="page__sub">"Who did what, by the dashboard, REST, the command line or a manifest · times in UTC"</p></div></div>
        <section class="panel" aria-label="Audit">
            <div class="filters">
                <Typed name="who" label="Who" icon="user" /><Typed name="device" label="Device" icon="devices" />
            </div>
            {move || found.failure.get().map(|failure| view! { <div class="panel__body panel__body--first"><Notice look=ALERT text="The audit can't be shown".to_owned() more=failure.text /></div> })}
            <div class="table table--audit" role="table" aria-label="Entries">
                <div class="table__row table__row--head" role="row">
                    <span role="columnheader" data-col="time">"When"</span><span role="columnheader" data-col="what">"What"</span><span role="columnheader" data-col="device">"Device"</span>
                    <span role="columnheader" data-col="who">"Who"</span><span role="columnheader" data-col="door">"By"</span><span role="columnheader" data-col="more">"More"</span>
                </div>
                {move || rows()}
            </div>
            <div class="panel__foot">{move || foot()}</div>
        </section>
    }
    .into_any()
}

impl Found {
    /// What somebody has just done comes first, if it is looked for.
    fn hear(self, changes: &[Change], query: &Query) {
        let wanted = |entry: &Entry| {
            let (who, device) = (query.get("who"), query.get("device"));
            who.is_none_or(|who| entry.who.name == who) && device.is_none_or(|device| entry.device_id.as_deref() == Some(device))
        };
        let new = changes.iter().rev().filter_map(|change| match change {
            Change::Audit(entry) if wanted(entry) => Some(Entry::clone(entry)),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        // Before the first page is here there is nothing to put it in front of.
        if !new.is_empty() && self.entries.with_untracked(Option::is_some) {
            self.entries.update(|entries| {
                let entries = entries.get_or_insert_default();
                let fresh: Vec<_> = new.into_iter().filter(|entry| entries.iter().all(|known| known.id != entry.id)).collect();
                let room = entries.len().max(KEPT);
                entries.splice(0..0, fresh);
                if entries.len() > room {
                    entries.truncate(room);
                    self.next.set(entries.last().map(|entry| entry.id.clone()));
                }
            });
        }
    }

    fn ask(self, query: Memo<Query>, before: Option<String>) {
        let wanted = query.get_untracked();
        let path = format!("/audit{}", wanted.clone().with("before", before.clone().unwrap_or_default()).text());
        spawn_local(async move {
            let answer = get::<Page>(&path).await;
            if query.try_get_untracked() != Some(wanted) {
                return;
            }
            match answer {
                Ok(page) => {
                    self.failure.set(None);
                    self.next.set(page.next);
                    self.entries.update(|entries| match entries {
                        Some(entries) if before.is_some() => entries.extend(page.entries),
                        entries => *entries = Some(page.entries),
                    });
                }
                Err(failure) => self.failure.set(Some(failure)),
            }
        });
    }
}

/// A filter that is typed, and is in the address.
#[component]
fn Typed(name: &'static str, label: &'static str, icon: &'static str) -> impl IntoView {
    let place: Place = expect_context();
    let said = move |query: &Query| query.get(name).unwrap_or_default().to_owned();
    let typed = RwSignal::new(place.query.with_untracked(said));
    let later = Later::new();
    let input = move |event| {
        typed.set(event_target_value(&event));
        later.run(TYPED, move || place.filter(&place.query.get_untracked().with(name, typed.get_untracked().trim())));
    };
    // The address may have been changed by another way: a link, or the way back. A space that is typed is not in it.
    Effect::new(move |_| {
        let said = place.query.with(said);
        if !later.waits() && typed.with_untracked(|typed| typed.trim() != said) {
            typed.set(said);
        }
    });
    view! {
        <label class="search">
            <span class="sr">{label}</span><Icon name=icon />
            <input class="input input--mono" type="search" placeholder=label autocomplete="off" spellcheck="false" prop:value=move || typed.get() on:input=input />
        </label>
    }
    .into_any()
}

fn days(entries: Vec<Entry>) -> AnyView {
    let mut day = None::<Moment>;
    let rows = entries.into_iter().map(|entry| {
        let time = entry.time.unwrap_or_default();
        let begins = day.is_none_or(|day| !day.is_day_of(time)).then(|| view! { <p class="timeline__day">{time.day()}</p> });
        day = Some(time);
        view! { {begins}{row(entry)} }
    });
    rows.collect_view().into_any()
}

fn row(entry: Entry) -> impl IntoView {
    let (look, word, way, more, refused) =
        (entry.look(), entry.word().to_owned(), entry.way().to_owned(), entry.more(), entry.is_refused());
    let Entry { time, who, address, device_id, .. } = entry;
    let from = address.map(|address| format!("from {address}")).unwrap_or_default();
    let title = who.word();
    view! {
        <div class="table__row" role="row">
            <span role="cell" data-col="time" class="mono dim">{time.map(|time| view! { <At time below_day=true /> })}</span>
            <span role="cell" data-col="what" class="row"><Glyph look /><span class=if refused { "table__clip dim" } else { "table__clip" }>{word}</span></span>
            <span role="cell" data-col="device">{match device_id { Some(id) => view! { <DeviceLink id /> }.into_any(), None => view! { <span class="dim">{NOTHING}</span> }.into_any() }}</span>
            <span role="cell" data-col="who" title=title><Id id=who.name /></span>
            <span role="cell" data-col="door" class="dim" title=from>{way}</span>
            <span role="cell" data-col="more" class="table__clip dim" title=more>{more.clone()}</span>
        </div>
    }
}
