//! How long commands took from being sent until they were done, as the hub has counted it in a day.

use std::time::Duration;

use leptos::prelude::*;
use leptos::svg;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;

use crate::api::get;
use crate::browser::{now, width_of};
use crate::model::change::Change;
use crate::model::format::{count, exact, limit, px};
use crate::model::latency::{Bar, Latencies, PERCENTILES, Told};
use crate::model::scale::waterfall;
use crate::parts::figures::Figures;
use crate::parts::panel::Panel;
use crate::world::World;

const HEIGHT: f64 = 224.0;
const GROUND: f64 = HEIGHT - 20.0;

/// What is left at the right for those that took longer than an hour.
const BEYOND: f64 = 0.07;

const DAY_MS: i64 = 86_400_000;

/// How often the hub is asked anew, so that what is older than a day goes. What comes is counted at once.
const ANEW: Duration = Duration::from_secs(600);

/// Where the axis is written on.
const TICKS: [(u64, &str); 7] =
    [(1, "1 ms"), (10, "10"), (100, "100"), (1_000, "1 s"), (10_000, "10 s"), (60_000, "1 min"), (3_600_000, "1 h")];

/// The panel.
#[component]
pub fn Latency() -> impl IntoView {
    let world: World = expect_context();
    let latencies = RwSignal::new(Latencies::default());
    let ask = move || {
        spawn_local(async move {
            if let Ok(told) = get::<Told>(&format!("/rates?since={}", now().plus(-DAY_MS).iso())).await {
                let _ = latencies.try_set(told.latency);
            }
        });
    };
    Effect::new(move |_| {
        world.missed.track();
        ask();
    });
    let anew = set_interval_with_handle(ask, ANEW).ok();
    on_cleanup(move || anew.into_iter().for_each(|timer| timer.clear()));
    Effect::new(move |_| {
        let took: Vec<_> = world.latest.with(|changes| changes.iter().filter_map(took).collect());
        if !took.is_empty() {
            latencies.update(|latencies| took.into_iter().for_each(|millis| latencies.add(millis)));
        }
    });
    let aside = move || {
        view! { <span class="panel__note">{move || format!("last 24 h · {}", count(latencies.with(Latencies::total), "command", "commands"))}</span> }
    };
    let label = move || {
        let one =
            |percent: u64| Some(format!("{percent} percent {}", words(latencies.with(|latencies| latencies.percentile(percent))?, true)));
        let said: Vec<_> = PERCENTILES.into_iter().filter_map(one).collect();
        format!("Latency histogram: {}", said.join(", "))
    };
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let place = move |millis: Option<u64>| width.get() * millis.map_or(1.0, |millis| waterfall(millis) * (1.0 - BEYOND));
    let bars = move || {
        let bars = latencies.with(Latencies::bars);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or_default().max(1) as f64;
        let bar = |bar: Bar| {
            let (from, to) = (place(Some(bar.over)), place(bar.most));
            let height = (bar.count as f64 / most * (GROUND - 30.0)).max(if bar.count > 0 { 1.5 } else { 0.0 });
            view! { <rect class="chart__bar" x=px(from + 1.0) y=px(GROUND - height) width=px((to - from - 2.0).max(1.0)) height=px(height)></rect> }
        };
        bars.into_iter().map(bar).collect_view()
    };
    let marks = move || {
        let mark = |(index, percent): (usize, u64)| {
            let bar = latencies.with(|latencies| latencies.percentile(percent))?;
            let at = place(bar.most);
            let y = 11.0 + index as f64 * 15.0;
            let (anchor, shift) = if at > width.get() * 0.75 { ("end", -5.0) } else { ("start", 5.0) };
            Some(view! {
                <line class="chart__note" x1=px(at) x2=px(at) y1=px(y - 8.0) y2=px(GROUND)></line>
                <text class="chart__text chart__text--strong chart__halo" x=px(at + shift) y=px(y) text-anchor=anchor>{format!("p{percent} {}", words(bar, false))}</text>
            })
        };
        PERCENTILES.into_iter().enumerate().filter_map(mark).collect_view()
    };
    let ticks = move || {
        let tick = |(index, (millis, word)): (usize, (u64, &'static str))| {
            let anchor = if index == 0 { "start" } else { "middle" };
            view! { <text class="chart__text" x=px(place(Some(millis))) y=px(HEIGHT - 4.0) text-anchor=anchor>{word}</text> }
        };
        TICKS.into_iter().enumerate().map(tick).collect_view()
    };
    let figures = Callback::new(move |()| {
        let row = |bar: Bar| vec![words(bar, false), exact(bar.count)];
        latencies.with_untracked(Latencies::bars).into_iter().filter(|bar| bar.count > 0).map(row).collect::<Vec<_>>()
    });
    view! {
        <Panel heading="Enqueued to completed".to_owned() class="col-4" aside>
            <div class="panel__body">
                <svg class="chart chart--hist" role="img" aria-label=move || label() node_ref=chart>
                    {move || bars()}<line class="chart__base" x1="0" x2="100%" y1=px(GROUND) y2=px(GROUND)></line>{move || marks()}{move || ticks()}
                </svg>
                <Figures head=vec!["Took", "Commands"] rows=figures />
            </div>
        </Panel>
    }
    .into_any()
}

/// How long one took that has just been done.
fn took(change: &Change) -> Option<u64> {
    match change {
        Change::Command(command, Some(step)) if step.step == "Completed" => {
            Some(command.enqueued_time?.millis_until(command.ended_time.unwrap_or(step.time)))
        }
        _ => None,
    }
}

fn words(bar: Bar, long: bool) -> String {
    match (bar.most, long) {
        (Some(most), true) => format!("within {}", limit(most)),
        (Some(most), false) => format!("≤ {}", limit(most)),
        (None, true) => format!("longer than {}", limit(bar.over)),
        (None, false) => format!("> {}", limit(bar.over)),
    }
}
