//! Connectivity: the whole fleet at a glance, why connections end, who can't hold one, who has been away for long, who is not let in.

mod away;
mod grid;
mod refused;

use leptos::prelude::*;

use crate::browser::Place;
use crate::model::format::{count, number, ordinal};
use crate::model::hub::Flapping;
use crate::model::order::sorted;
use crate::model::rates::Sample;
use crate::model::state::DeviceState;
use crate::model::words::{disconnect_reason, disconnect_tone, sentence};
use crate::parts::chart::Strip;
use crate::parts::control::Seg;
use crate::parts::each::each;
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Skeleton};
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::parts::when::For as Since;
use crate::world::World;
use away::Away;
use grid::Fleet;
use refused::Refused;

/// Over how long reasons are shown: as the address has it, in minutes, and in words.
const RANGES: [(&str, i64, &str); 4] = [("15m", 15, "15 min"), ("1h", 60, "1 h"), ("6h", 360, "6 h"), ("24h", 1440, "24 h")];

/// The page.
#[component]
pub fn Connectivity() -> impl IntoView {
    let world: World = expect_context();
    let sub = move || {
        world.fleet.with(|fleet| {
            let fleet = fleet.as_ref()?;
            let held = if fleet.held == 0 { String::new() } else { format!(" · {} shut out by people", number(fleet.held)) };
            Some(format!("{} of {} connected{}{held}", number(fleet.connected), number(fleet.total), fleet.of_them_flapping()))
        })
    };
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Connectivity"</h1><p class="page__sub">{move || sub()}</p></div>
        </div>
        <div class="stack">
            <Fleet />
            <div class="grid">
                <div class="stack col-7"><Reasons /><Away /></div>
                <div class="stack col-5"><Restless /><Refused /></div>
            </div>
        </div>
    }
    .into_any()
}

/// Why connections ended, a strip of bars for each reason.
#[component]
fn Reasons() -> impl IntoView {
    const BARS: usize = 60;
    let world: World = expect_context();
    let place: Place = expect_context();
    let now = world.moment();
    let range =
        Memo::new(move |_| place.query.with(|query| RANGES.iter().position(|(name, ..)| query.get("range") == Some(name)).unwrap_or(1)));
    let choose = Callback::new(move |index: usize| {
        let name = RANGES.get(index).map_or("", |(name, ..)| name);
        place.filter(&place.query.get_untracked().with("range", if name == "1h" { "" } else { name }));
    });
    let choices = RANGES.iter().map(|(_, _, word)| *word).collect::<Vec<_>>();
    let since = move || now.get().plus(-RANGES.get(range.get()).map_or(60, |(_, minutes, _)| *minutes) * 60_000);
    let sums = Memo::new(move |_| world.rates.with_untracked(|rates| rates.by_reason(since(), now.get(), |sample| &sample.disconnects)));
    let reasons = Memo::new(move |_| sums.with(|sums| sums.iter().map(|(reason, _)| reason.clone()).collect::<Vec<_>>()));
    let total = move || sums.with(|sums| sums.iter().map(|(_, count)| count).sum::<u64>());
    let aside = move || view! { <span class="panel__note">{count(total(), "disconnect", "disconnects")}</span><Seg label="Range" choices=choices.clone() chosen=range choose /> };
    let row = move |reason: String| {
        let (counted, named) = (reason.clone(), reason.clone());
        let values = Signal::derive(move || {
            let of = |sample: &Sample| sample.disconnects.get(&reason).copied().unwrap_or_default();
            world.rates.with_untracked(|rates| rates.sums(since(), now.get(), BARS, of))
        });
        let sum = move || sums.with(|sums| sums.iter().find(|(found, _)| *found == counted).map_or(0, |(_, count)| *count));
        view! {
            <div class="bars__row">
                <span class="bars__label">{sentence(disconnect_reason(&named))}</span>
                <Strip values tone=disconnect_tone(&named) />
                <span class="bars__n">{move || number(sum())}</span>
            </div>
        }
    };
    view! {
        <Panel heading="Why connections ended".to_owned() aside>
            <div class="panel__body">
                {move || match (world.recalled.get(), reasons.with(Vec::is_empty)) {
                    (false, _) => view! { <Skeleton /> }.into_any(),
                    (true, true) => view! { <p class="dim">"None has, in this time."</p> }.into_any(),
                    (true, false) => ().into_any(),
                }}
                <div class="bars bars--strips">{each(move || reasons.get(), String::clone, row)}</div>
            </div>
        </Panel>
    }
    .into_any()
}

/// Who can't hold a connection.
#[component]
fn Restless() -> impl IntoView {
    let world: World = expect_context();
    let all = Memo::new(move |_| world.fleet.with(|fleet| fleet.as_ref().map_or(0, |fleet| fleet.count(DeviceState::Flapping))));
    let worst = Memo::new(move |_| {
        let mut flapping = world.fleet.with(|fleet| fleet.as_ref().map(|fleet| fleet.flapping.clone()).unwrap_or_default());
        flapping = sorted(flapping, |one, other| other.connects.cmp(&one.connects).then_with(|| one.device_id.cmp(&other.device_id)));
        flapping.truncate(10);
        flapping
    });
    let aside = move || view! { <span class="panel__note">{count(all.get(), "device", "devices")}</span> };
    let row = |Flapping { device_id, connects, since }: Flapping| {
        view! {
            <li class="event event--two">
                <Glyph look=DeviceState::Flapping.look() /><DeviceLink id=device_id />
                <span class="event__text">{format!("Connected for the {} time", ordinal(connects))}</span>
                <span class="event__time">"for "<Since since /></span>
            </li>
        }
    };
    view! {
        <Panel heading="Flapping".to_owned() ruled=true aside>
            {move || if world.fleet.with(Option::is_none) {
                view! { <Skeleton /> }.into_any()
            } else if worst.with(Vec::is_empty) {
                view! { <Empty heading="None"><p>"A device flaps when it has connected five times within five minutes."</p></Empty> }.into_any()
            } else {
                view! { <ol class="events">{worst.get().into_iter().map(row).collect_view()}</ol> }.into_any()
            }}
        </Panel>
    }
    .into_any()
}
