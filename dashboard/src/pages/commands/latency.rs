//! How long commands took from being sent until they were done.

use leptos::prelude::*;
use leptos::svg;
use wasm_bindgen::JsCast as _;

use super::Known;
use crate::browser::width_of;
use crate::model::format::{count, duration};
use crate::model::latency::{BARS, Latencies, PERCENTILES};
use crate::model::scale::waterfall;
use crate::model::time::Moment;
use crate::parts::panel::Panel;

const HEIGHT: f64 = 152.0;
const GROUND: f64 = HEIGHT - 20.0;

/// Where the axis is written on.
const TICKS: [(u64, &str); 5] = [(1, "1 ms"), (100, "100"), (1_000, "1 s"), (60_000, "1 min"), (3_600_000, "1 h")];

/// The panel.
#[component]
pub fn Latency(known: Known) -> impl IntoView {
    let latencies = Memo::new(move |_| known.book.with(|book| book.latencies(Moment(0))));
    let aside =
        move || view! { <span class="panel__note">{move || count(latencies.with(Latencies::len) as u64, "newest", "newest")}</span> };
    let label = move || {
        let said: Vec<_> = PERCENTILES
            .into_iter()
            .filter_map(|percent| {
                Some(format!("{percent} percent within {}", duration(latencies.with(|latencies| latencies.percentile(percent))?)))
            })
            .collect();
        format!("Latency histogram: {}", said.join(", "))
    };
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let bars = move || {
        let bars = latencies.with(Latencies::bars);
        let most = bars.iter().copied().max().unwrap_or_default().max(1) as f64;
        let step = width.get() / BARS as f64;
        let bar = |(index, value): (usize, u64)| {
            let height = (value as f64 / most * (GROUND - 30.0)).max(if value > 0 { 1.5 } else { 0.0 });
            view! { <rect class="chart__bar" x=index as f64 * step + 1.0 y=GROUND - height width=(step - 2.0).max(1.0) height=height></rect> }
        };
        bars.into_iter().enumerate().map(bar).collect_view()
    };
    let marks = move || {
        let mark = |(index, percent): (usize, u8)| {
            let millis = latencies.with(|latencies| latencies.percentile(percent))?;
            let at = waterfall(millis) * width.get();
            let y = 11.0 + index as f64 * 15.0;
            let (anchor, shift) = if at > width.get() * 0.6 { ("end", -5.0) } else { ("start", 5.0) };
            Some(view! {
                <line class="chart__note" x1=at x2=at y1=y - 8.0 y2=GROUND></line>
                <text class="chart__text chart__text--strong chart__halo" x=at + shift y=y text-anchor=anchor>{format!("p{percent} {}", duration(millis))}</text>
            })
        };
        PERCENTILES.into_iter().enumerate().filter_map(mark).collect_view()
    };
    let ticks = move || {
        let tick = |(index, (millis, word)): (usize, (u64, &'static str))| {
            let anchor = match index {
                0 => "start",
                4 => "end",
                _ => "middle",
            };
            view! { <text class="chart__text" x=waterfall(millis) * width.get() y=HEIGHT - 4.0 text-anchor=anchor>{word}</text> }
        };
        TICKS.into_iter().enumerate().map(tick).collect_view()
    };
    view! {
        <Panel heading="Enqueued to completed".to_owned() class="col-4" aside>
            <div class="panel__body">
                <svg class="chart chart--hist" role="img" aria-label=move || label() node_ref=chart>
                    {move || bars()}<line class="chart__base" x1="0" x2="100%" y1=GROUND y2=GROUND></line>{move || marks()}{move || ticks()}
                </svg>
            </div>
        </Panel>
    }
    .into_any()
}
