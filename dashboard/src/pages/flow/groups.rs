//! Partitions and what comes into them; consumer groups and how far behind they are.

use leptos::prelude::*;

use crate::model::format::{NOTHING, count, duration, elapsed, exact, number};
use crate::model::groups::{Trend, Watched};
use crate::model::payload::harmless;
use crate::model::state::Tone;
use crate::parts::chart::Trace;
use crate::parts::each::each;
use crate::parts::notice::Empty;
use crate::parts::panel::Panel;
use crate::parts::sign::Badge;
use crate::routes::{Query, Route};
use crate::world::World;

/// The partitions.
#[component]
pub fn Partitions(watched: RwSignal<Watched>) -> impl IntoView {
    let world: World = expect_context();
    let numbers = Memo::new(move |_| watched.with(|watched| watched.partitions().iter().map(|at| at.partition).collect::<Vec<_>>()));
    let kept = move || {
        world.hub.with(|hub| {
            let storage = hub.as_ref()?.storage.as_ref()?;
            let size = storage.events_bytes.map(|size| format!(", {}", crate::model::format::bytes(size))).unwrap_or_default();
            Some(format!("kept {}{size}", elapsed(storage.retention_seconds? * 1000)))
        })
    };
    let aside = move || view! { <span class="panel__note">{move || kept()}</span> };
    let row = move |partition: u64| {
        let at = Memo::new(move |_| {
            watched.with(|watched| watched.partitions().iter().find(|at| at.partition == partition).cloned().unwrap_or_default())
        });
        let flow = Signal::derive(move || watched.with(|watched| watched.flow(partition)));
        let here = format!("{}{}", Route::Flow.path(), Query::default().with("partition", partition.to_string()).text());
        view! {
            <div class="table__row" role="row">
                <span role="cell"><a href=here title="Only this partition">{partition}</a></span>
                <span role="cell" class="num">{move || u64::try_from(at.get().last_enqueued_sequence_number).map_or_else(|_| NOTHING.to_owned(), exact)}</span>
                <span role="cell" class="num">{move || flow.with(|flow| flow.last().map_or_else(|| NOTHING.to_owned(), |last| number(*last as u64)))}</span>
                <span role="cell" class="num dim">{move || at.get().last_enqueued_time.map(|time| view! { <time title=time.absolute()>{time.clock()}</time> })}</span>
                <span role="cell" data-col="trend"><Trace values=flow tone=Tone::Flow /></span>
            </div>
        }
    };
    view! {
        <Panel heading="Partitions".to_owned() class="col-5" aside>
            <div class="table table--partitions" role="table" aria-label="Partitions">
                <div class="table__row table__row--head" role="row">
                    <span role="columnheader">"P"</span><span role="columnheader" class="num">"Last sequence"</span><span role="columnheader" class="num">"In /s"</span>
                    <span role="columnheader" class="num">"Last at"</span><span role="columnheader" data-col="trend">"While open"</span>
                </div>
                {each(move || numbers.get(), u64::to_string, row)}
            </div>
        </Panel>
    }
    .into_any()
}

/// The groups.
#[component]
pub fn Groups(watched: RwSignal<Watched>) -> impl IntoView {
    let names = Memo::new(move |_| watched.with(|watched| watched.groups().iter().map(|group| group.name.clone()).collect::<Vec<_>>()));
    let trends = move |is: fn(&Trend) -> bool| {
        Memo::new(move |_| watched.with(|watched| watched.groups().iter().filter(|group| is(&watched.trend(group))).count()))
    };
    let (behind, unused) = (trends(Trend::falls_behind), trends(|trend| *trend == Trend::Unused));
    let aside = move || {
        let all = names.with(Vec::len) as u64;
        let said = match behind.get() {
            0 if unused.get() as u64 == all => Trend::Unused.word(),
            0 => "none falls behind".to_owned(),
            behind => format!("{behind} of {} fall behind", count(all, "group", "groups")),
        };
        view! { <span class="panel__note">{said}</span> }
    };
    let row = move |name: String| {
        let (found, traced) = (name.clone(), name.clone());
        let now = Memo::new(move |_| {
            watched.with(|watched| {
                let group = watched.groups().iter().find(|group| group.name == found)?;
                Some((group.lag(), group.behind_ms(), group.readers() as u64, watched.trend(group)))
            })
        });
        let trend = Memo::new(move |_| now.get().map_or(Trend::Unused, |(.., trend)| trend));
        let lags = Signal::derive(move || watched.with(|watched| watched.lags(&traced)));
        let tone = Signal::derive(move || trend.with(|trend| if trend.falls_behind() { trend.look().tone } else { Tone::Flow }));
        let readers = move || count(now.get().map_or(0, |(_, _, readers, _)| readers), "reader", "readers");
        view! {
            <div class="table__row" role="row">
                <span role="cell" class="id table__clip" title=move || readers()>{harmless(&name)}</span>
                <span role="cell" class="num">{move || now.get().filter(|_| trend.get() != Trend::Unused).map_or_else(|| NOTHING.to_owned(), |(lag, ..)| number(lag))}</span>
                <span role="cell" data-col="behind" class="num dim">{move || now.get().and_then(|(_, behind, ..)| behind).filter(|_| trend.get() != Trend::Unused).map_or_else(|| NOTHING.to_owned(), duration)}</span>
                <span role="cell" data-col="trend">{move || view! { <Trace values=lags tone=tone.get() /> }}</span>
                <span role="cell" data-col="read"><Badge look=Signal::derive(move || trend.with(Trend::look)) word=Signal::derive(move || trend.with(Trend::word)) plain=true /></span>
            </div>
        }
    };
    view! {
        <Panel heading="Consumer groups".to_owned() class="col-7" aside>
            <div class="table table--groups" role="table" aria-label="Consumer groups">
                <div class="table__row table__row--head" role="row">
                    <span role="columnheader">"Group"</span><span role="columnheader" class="num">"Lag"</span><span role="columnheader" data-col="behind" class="num">"Behind by"</span>
                    <span role="columnheader" data-col="trend">"While open"</span><span role="columnheader" data-col="read">"Trend"</span>
                </div>
                {move || names.with(Vec::is_empty).then(|| view! { <Empty heading="No groups are known yet"><p>"They are here within a second."</p></Empty> })}
                {each(move || names.get(), String::clone, row)}
            </div>
        </Panel>
    }
    .into_any()
}
