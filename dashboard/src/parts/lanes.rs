//! One device's story on an axis: a lane for each part of it. The dotted and hatched stretches are those without a connection.

use leptos::prelude::*;
use leptos::svg;
use wasm_bindgen::JsCast as _;

use crate::browser::width_of;
use crate::model::scale::{time_label, times};
use crate::model::state::Look;
use crate::model::time::Moment;
use crate::model::timeline::{Entry, Kind, Span};

const LANE: f64 = 44.0;
const AXIS: f64 = 22.0;
const RIGHT: f64 = 12.0;

/// Marks that are drawn in one lane: more can't be told from each other.
const MARKS_MAX: usize = 200;

/// The lanes of [`Kind::ALL`].
#[component]
pub fn Lanes(
    /// While it was connected, the oldest first.
    #[prop(into)]
    spans: Signal<Vec<Span>>,
    /// What happened.
    #[prop(into)]
    entries: Signal<Vec<Entry>>,
    /// From when.
    #[prop(into)]
    from: Signal<Moment>,
    /// To when.
    #[prop(into)]
    to: Signal<Moment>,
    /// What a reader should take away.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let wide = Memo::new(move |_| width.get() > 520.0);
    let left = move || if wide.get() { 92.0 } else { 0.0 };
    let height = LANE * Kind::ALL.len() as f64 + AXIS;
    let x = move |at: Moment| {
        let (from, to) = (from.get(), to.get());
        left() + ((at.0 - from.0) as f64 / (to.0 - from.0).max(1) as f64).clamp(0.0, 1.0) * (width.get() - left() - RIGHT).max(0.0)
    };
    let middle = move |lane: usize| lane as f64 * LANE + LANE / 2.0 + if wide.get() { 0.0 } else { 5.0 };
    let grid = move || {
        let span = from.get().millis_until(to.get());
        let tick = |at: Moment| {
            view! {
                <line class="chart__grid" x1=x(at).round() x2=x(at).round() y1=0.0 y2=height - AXIS></line>
                <text class="chart__text" x=x(at) y=height - 5.0 text-anchor="middle">{time_label(at, span)}</text>
            }
        };
        times(from.get(), to.get(), ((width.get() / 90.0) as usize).clamp(1, 8)).into_iter().map(tick).collect_view()
    };
    let frame = move || {
        let lane = |(index, kind): (usize, Kind)| {
            let ground = ((index + 1) as f64 * LANE).round();
            let name_at = if wide.get() { middle(index) + 4.0 } else { index as f64 * LANE + 12.0 };
            view! {
                <line class="chart__grid" x1=0.0 x2=width.get() y1=ground y2=ground></line>
                <text class="chart__text chart__halo" x=0.0 y=name_at>{kind.word()}</text>
            }
        };
        Kind::ALL.into_iter().enumerate().map(lane).collect_view()
    };
    let connected = move || {
        let (from, to) = (from.get(), to.get());
        let seen: Vec<_> = spans.get().into_iter().filter(|span| span.from < to && span.until.is_none_or(|until| until > from)).collect();
        let away = spans.get().last().and_then(|last| last.until).filter(|until| *until < to).map(|until| until.max(from));
        let bar = |span: Span| {
            let (begin, end) = (x(span.from), x(span.until.unwrap_or(to)));
            view! { <rect class="chart__bar" data-tone="ok" x=begin width=(end - begin - 1.0).max(1.5) y=middle(0) - 7.0 height="14" rx="2"></rect> }
        };
        (
            seen.into_iter().map(bar).collect_view(),
            away.map(|since| view! { <rect class="chart__away" x=x(since) width=(x(to) - x(since)).max(3.0) y=middle(0) - 7.0 height="14" rx="2"></rect> }),
        )
    };
    let marks = move || {
        let (from, to) = (from.get(), to.get());
        let seen = entries.get().into_iter().filter(|entry| entry.kind != Kind::Connection && entry.time >= from && entry.time <= to);
        let mark = |entry: Entry| {
            let lane = Kind::ALL.iter().position(|kind| *kind == entry.kind).unwrap_or_default();
            view! { <Mark x=x(entry.time) y=middle(lane) look=entry.look title=format!("{}: {}", entry.time.clock(), entry.text) /> }
        };
        seen.take(MARKS_MAX).map(mark).collect_view()
    };
    view! {
        <svg class="chart chart--lanes" role="img" aria-label=move || label.get() node_ref=chart>{move || grid()}{move || frame()}{move || connected()}{move || marks()}</svg>
    }
    .into_any()
}

#[component]
fn Mark(x: f64, y: f64, look: Look, title: String) -> impl IntoView {
    view! {
        <svg x=x - 9.0 y=y - 9.0 width="18" height="18" overflow="visible" data-tone=look.tone.name()>
            <title>{title}</title>
            <circle class="chart__pin" cx="9" cy="9" r="9"></circle>
            <svg x="3.5" y="3.5" width="11" height="11" viewBox="0 0 12 12" overflow="visible">
                <use class="chart__glyph" href=format!("#g-{}", look.glyph)></use>
            </svg>
        </svg>
    }
    .into_any()
}
