//! The last day in little, and the stretch of it that is shown: pressing elsewhere, or an arrow key, moves that.

use leptos::prelude::*;
use leptos::svg;
use wasm_bindgen::JsCast as _;

use crate::browser::width_of;
use crate::model::format::px;
use crate::model::scale::bar;
use crate::model::time::Moment;
use crate::model::timeline::Span;

const DAY_MS: i64 = 86_400_000;
const RIGHT: f64 = 12.0;

/// Where it begins: the same time of the day before.
fn begin(now: Moment) -> String {
    let begin = now.plus(-DAY_MS);
    format!("{} {}", begin.day().chars().take(3).collect::<String>(), begin.hour_and_minute())
}

/// The chart.
#[component]
pub fn Brush(
    /// While it was connected, the oldest first.
    #[prop(into)]
    spans: Signal<Vec<Span>>,
    /// Where the day ends.
    #[prop(into)]
    now: Signal<Moment>,
    /// From when on it is shown.
    #[prop(into)]
    from: Signal<Moment>,
    /// Until when.
    #[prop(into)]
    to: Signal<Moment>,
    /// Shows what is around this.
    go: Callback<Moment>,
) -> impl IntoView {
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let left = move || if width.get() > 520.0 { 92.0 } else { 0.0 };
    let room = move || (width.get() - left() - RIGHT).max(1.0);
    let x = move |at: Moment| left() + ((at.0 - now.get().0 + DAY_MS) as f64 / DAY_MS as f64).clamp(0.0, 1.0) * room();
    let bars = move || {
        let mut path = String::new();
        spans.with(|spans| {
            for span in spans {
                let (begin, end) = (x(span.from), x(span.until.unwrap_or_else(|| now.get())));
                if end > left() {
                    bar(&mut path, (begin, 6.0), ((end - begin).max(1.0), 8.0));
                }
            }
        });
        path
    };
    let shown = move || {
        let (begin, end) = (x(from.get()), x(to.get()));
        view! {
            <rect class="chart__window" x=px(begin) y="0" width=px((end - begin).max(2.0)) height="20"></rect>
            <line class="chart__edge" x1=px(begin) x2=px(begin) y1="0" y2="20"></line><line class="chart__edge" x1=px(end) x2=px(end) y1="0" y2="20"></line>
        }
    };
    let pressed = move |event: leptos::ev::PointerEvent| {
        if event.buttons() == 0 {
            return;
        }
        let begin = chart.get_untracked().map(|chart| chart.get_bounding_client_rect().left()).unwrap_or_default();
        let part = untrack(|| ((f64::from(event.client_x()) - begin - left()) / room()).clamp(0.0, 1.0));
        go.run(now.get_untracked().plus((part * DAY_MS as f64) as i64 - DAY_MS));
    };
    let stepped = move |event: leptos::ev::KeyboardEvent| {
        let by = match event.key().as_str() {
            "ArrowLeft" => -1,
            "ArrowRight" => 1,
            _ => return,
        };
        event.prevent_default();
        let span = to.get_untracked().0 - from.get_untracked().0;
        go.run(from.get_untracked().plus(span / 2 + by * span / 2));
    };
    let said = move || format!("from {} to {}", from.get().clock(), to.get().clock());
    let ago = move || (to.get().0 - now.get().0).min(0) / 60_000;
    view! {
        <svg class="chart chart--brush" role="slider" tabindex="0" aria-label="What is shown of the last 24 hours" aria-valuemin="-1440" aria-valuemax="0"
            aria-valuenow=move || ago() aria-valuetext=move || said() node_ref=chart on:pointerdown=pressed on:pointermove=pressed on:keydown=stepped
        >
            <text class="chart__text" x="0" y="14">{move || (left() > 0.0).then_some("Last 24 h")}</text>
            <path class="chart__bar" data-tone="ok" d=move || bars()></path>
            <line class="chart__base" x1=move || px(left()) x2=move || px(left() + room()) y1="20" y2="20"></line>
            {move || shown()}
            <text class="chart__text" x=move || px(left()) y="34">{move || begin(now.get())}</text>
            <text class="chart__text" x=move || px(left() + room()) y="34" text-anchor="end">"now"</text>
        </svg>
    }
    .into_any()
}
