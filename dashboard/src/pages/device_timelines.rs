//! What happened to one device: on an axis, with the last day below a shorter one, and as a list.

use leptos::prelude::*;

use super::device::Known;
use crate::browser::Place;
use crate::model::event::Counts;
use crate::model::format::{count, number};
use crate::model::time::Moment;
use crate::model::timeline::{Entry, Kind, Story};
use crate::parts::brush::Brush;
use crate::parts::control::{Chip, Copy, Seg};
use crate::parts::lanes::Lanes;
use crate::parts::notice::{Empty, Nothing};
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::parts::timeline::{Row, Timeline};
use crate::world::World;

const MINUTE_MS: i64 = 60_000;

/// The day has an axis of its own below a shorter one.
const DAY_MINUTES: i64 = 1440;

/// Pages of its past that are fetched because the axis shows them: more only when somebody asks.
const PAGES_MAX: u32 = 5;

/// How long the axis is: as the address has it, in minutes, and in words.
const SPANS: [(&str, i64, &str); 5] =
    [("15m", 15, "15 min"), ("1h", 60, "1 h"), ("6h", 360, "6 h"), ("24h", 1440, "24 h"), ("7d", 10_080, "7 d")];

/// Rows of the list at first, and how many more each time.
const ROWS: usize = 25;

/// The panel.
#[component]
pub fn Timelines(
    /// What is known of it.
    known: Known,
    /// Which.
    id: String,
    /// What it sends.
    counts: RwSignal<Counts>,
) -> impl IntoView {
    let place: Place = expect_context();
    let world: World = expect_context();
    let now = world.moment();
    let span =
        Memo::new(move |_| place.query.with(|query| SPANS.iter().position(|(name, ..)| query.get("span") == Some(name)).unwrap_or(1)));
    let minutes = move || SPANS.get(span.get()).map_or(60, |(_, minutes, _)| *minutes);
    let choose = Callback::new(move |index: usize| {
        let name = SPANS.get(index).map_or("", |(name, ..)| name);
        place.filter(&place.query.get_untracked().with("span", if name == "1h" { "" } else { name }));
    });
    let kind = Memo::new(move |_| place.query.with(|query| Kind::ALL.into_iter().find(|kind| query.get("kind") == Some(kind.name()))));
    let entries = Memo::new(move |_| known.story.with(Story::entries));
    let spans = Memo::new(move |_| known.story.with(Story::spans));
    // Without a place of its own the axis ends now.
    let until = Memo::new(move |_| place.query.with(|query| query.get("until").and_then(Moment::parse)));
    let to = Signal::derive(move || until.get().unwrap_or_else(|| now.get()));
    let from = Signal::derive(move || to.get().plus(-minutes() * MINUTE_MS));
    let go = Callback::new(move |middle: Moment| {
        let half = minutes() * MINUTE_MS / 2;
        let until = middle.plus(half);
        let is_now = until.0 + half / 10 >= now.get_untracked().0;
        place.filter(&place.query.get_untracked().with("until", if is_now { String::new() } else { until.iso() }));
    });
    let loaded = Memo::new(move |_| known.story.with(Story::whole_from));
    let is_full = Memo::new(move |_| known.story.with(Story::is_full));
    let before = move || known.older.get().filter(|_| !is_full.get());
    // What is shown of the axis is fetched, as far as that is a few pages.
    let named = id.clone();
    let fetched = StoredValue::new(0);
    let wants = Memo::new(move |_| loaded.get().is_some_and(|loaded| loaded > from.get()).then(before).flatten());
    Effect::new(move |_| {
        if let Some(before) = wants.get().filter(|_| fetched.get_value() < PAGES_MAX) {
            fetched.update_value(|fetched| *fetched += 1);
            known.recall(&named, Some(before));
        }
    });
    let room = RwSignal::new(ROWS);
    let rows = Memo::new(move |_| {
        let mut day = None;
        let until = until.get();
        let chosen = entries.get().into_iter().filter(|entry| kind.get().is_none_or(|kind| kind == entry.kind));
        let chosen = chosen.filter(|entry| until.is_none_or(|until| entry.time <= until));
        let of = |entry: Entry| {
            let new_day = day.is_none_or(|day: Moment| !day.is_day_of(entry.time));
            day = Some(entry.time);
            Row { connected: known.story.with(|story| story.was_connected(entry.time)), day: new_day, entry }
        };
        chosen.take(room.get()).map(of).collect::<Vec<_>>()
    });
    let label = Signal::derive(move || {
        let inside = entries.with(|entries| entries.iter().filter(|entry| entry.time >= from.get() && entry.time <= to.get()).count());
        format!("{}: {}", SPANS.get(span.get()).map_or("", |(.., word)| word), count(inside as u64, "event", "events"))
    });
    let choices = SPANS.iter().map(|(_, _, word)| *word).collect::<Vec<_>>();
    let link = Signal::derive(move || {
        place.query.track();
        window().location().href().unwrap_or_default()
    });
    let aside = move || view! { <span class="wide-only"><Copy text=link label="Copy link to this view" word="Copy link" /></span><Seg label="Span" choices=choices.clone() chosen=span choose /> };
    let chip = move |of: Option<Kind>| {
        let press = Callback::new(move |()| place.filter(&place.query.get_untracked().with("kind", of.map_or("", Kind::name))));
        view! {
            <Chip pressed=Signal::derive(move || kind.get() == of) press>
                {of.map(|kind| view! { <Glyph look=kind.look() /> })}{of.map_or("Everything", Kind::word)}
            </Chip>
        }
    };
    let older = Callback::new(move |()| {
        room.update(|room| *room += ROWS);
        if entries.with_untracked(Vec::len) < room.get_untracked()
            && let Some(before) = untrack(before)
        {
            known.recall(&id, Some(before));
        }
    });
    let foot = move || {
        let all = entries.with(Vec::len);
        view! {
            <span>{format!("{} of {}", number(rows.with(Vec::len) as u64), count(all as u64, "event", "events"))}</span>
            {(all > room.get() || before().is_some()).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=move |_| older.run(())>"Older"</button> })}
            <span class="push">{if is_full.get() { "This page has no room for what is older" } else { "Connections are kept for 7 d" }}</span>
        }
    };
    let is_failed = Signal::derive(move || known.failure.with(Option::is_some));
    let empty = move || {
        view! { <Nothing known=known.recalled failed=is_failed><Empty heading="Nothing is known"><p>"What happens to this device is here within a second."</p></Empty></Nothing> }
    };
    view! {
        <Panel heading="Timeline".to_owned() aside foot=ViewFn::from(foot)>
            <div class="panel__body"><Lanes spans entries counts known=loaded from to label />{move || (minutes() < DAY_MINUTES).then(|| view! { <Brush spans now from to go /> })}</div>
            <div class="filters"><div class="chips" role="group" aria-label="Kinds">{chip(None)}{Kind::ALL.map(|kind| chip(Some(kind)))}</div></div>
            {move || rows.with(Vec::is_empty).then(empty)}
            <Timeline rows />
        </Panel>
    }
    .into_any()
}
