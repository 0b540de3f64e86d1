//! Charts as SVG at its real size in pixels: coordinates are attributes, colours are classes.

use leptos::prelude::*;
use leptos::svg;
use wasm_bindgen::JsCast as _;

use crate::browser::width_of;
use crate::model::format::{decimal, number, px, share};
use crate::model::scale::{Steps, area, path, spark, spark_from, time_label, times};
use crate::model::state::Tone;
use crate::model::time::Moment;

/// Where the scale stands, and the end of the line.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;

/// How a number went, without a scale.
#[component]
pub fn Spark(
    /// Evenly spaced, the latest last.
    #[prop(into)]
    values: Signal<Vec<f64>>,
    /// Its colour.
    tone: Tone,
    /// Whether it begins at zero, and may so be filled.
    #[prop(optional)]
    ground: bool,
    /// What a reader should take away.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let line = Memo::new(move |_| spark(&values.get(), width.get(), 32.0, ground));
    view! {
        <svg class="chart chart--spark" data-tone=tone.name() role="img" aria-label=move || label.get() node_ref=chart>
            {ground.then(|| view! { <path class="chart__area" d=move || area(&line.get(), values.with(|values| spark_from(values, width.get())), width.get(), 32.0)></path> })}
            <path class="chart__line" d=move || line.get()></path>
        </svg>
    }
    .into_any()
}

/// The same, small, in a table's row, beside the number that says it.
#[component]
pub fn Trace(
    /// Evenly spaced, the latest last.
    #[prop(into)]
    values: Signal<Vec<f64>>,
    /// Its colour.
    tone: Tone,
) -> impl IntoView {
    // As the style has it.
    const WIDTH: f64 = 96.0;
    const HEIGHT: f64 = 24.0;
    let line = Memo::new(move |_| spark(&values.get(), WIDTH, HEIGHT, true));
    view! {
        <svg class="chart chart--lag" data-tone=tone.name() viewBox="0 0 96 24" preserveAspectRatio="none" aria-hidden="true">
            <path class="chart__base" d="M0 23.5h96"></path>
            <path class="chart__area" d=move || area(&line.get(), 0.0, WIDTH, HEIGHT)></path><path class="chart__line" d=move || line.get()></path>
        </svg>
    }
    .into_any()
}

/// Counts in equal stretches of time, as small bars on one line.
#[component]
pub fn Strip(
    /// The latest last.
    #[prop(into)]
    values: Signal<Vec<u64>>,
    /// Their colour.
    tone: Tone,
) -> impl IntoView {
    let bars = move || {
        let values = values.get();
        let most = values.iter().copied().max().unwrap_or_default().max(1) as f64;
        let step = 100.0 / values.len().max(1) as f64;
        let bar = |(index, value): (usize, u64)| {
            // What happened once is seen beside what happened a thousand times.
            let height = (value as f64 / most).sqrt() * 20.0;
            let x = index as f64 * step;
            if value == 0 {
                String::new()
            } else {
                format!("M{} {}h{wide}v{}h-{wide}z", decimal(x, 2), px(20.0 - height), px(height), wide = decimal(step * 0.75, 2))
            }
        };
        values.into_iter().enumerate().map(bar).collect::<String>()
    };
    view! {
        <svg class="chart chart--strip" data-tone=tone.name() viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
            <path class="chart__bar" d=move || bars()></path><line class="chart__base" x1="0" x2="100" y1="20" y2="20"></line>
        </svg>
    }
    .into_any()
}

/// A part of a whole, or several parts.
#[component]
pub fn Meter(
    /// Each: its colour, its part of the whole, and whether it only waits.
    #[prop(into)]
    parts: Signal<Vec<(Tone, f64, bool)>>,
    /// What a reader should take away.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    let drawn = move || {
        let mut from = 0.0;
        let rect = |(tone, part, waits): (Tone, f64, bool)| {
            let x = from;
            from += part;
            let class = if waits { "meter__queued" } else { "" };
            view! { <rect class=class data-tone=tone.name() x=share(x) width=share(part) height="100%"></rect> }
        };
        parts.get().into_iter().map(rect).collect_view()
    };
    view! { <svg class="meter meter--tall" role="img" aria-label=move || label.get()>{move || drawn()}</svg> }.into_any()
}

/// A line over time with a scale, what happened on it, and a crosshair whose reading the owner shows.
#[component]
pub fn Lines(
    /// The oldest first.
    #[prop(into)]
    samples: Signal<Vec<(Moment, f64)>>,
    /// From when.
    #[prop(into)]
    from: Signal<Moment>,
    /// To when.
    #[prop(into)]
    to: Signal<Moment>,
    /// What is to be pointed at: when, and in a few words.
    #[prop(into)]
    note: Signal<Option<(Moment, String)>>,
    /// Where somebody points.
    reading: WriteSignal<Option<(Moment, f64)>>,
    /// What a reader should take away.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    const HEIGHT: f64 = 152.0;
    const BOTTOM: f64 = 20.0;
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let steps = Memo::new(move |_| samples.with(|samples| Steps::around(samples.iter().map(|(_, value)| *value))));
    let x = move |at: Moment| {
        let (from, to) = (from.get(), to.get());
        LEFT + ((at.0 - from.0) as f64 / ((to.0 - from.0).max(1)) as f64).clamp(0.0, 1.0) * (width.get() - LEFT - RIGHT).max(0.0)
    };
    let y = move |value: f64| 6.0 + (1.0 - steps.get().part(value)) * (HEIGHT - BOTTOM - 6.0);
    let line = Memo::new(move |_| samples.with(|samples| path(samples.iter().map(|(at, value)| (x(*at), y(*value))))));
    let grid = move || {
        let line = |value: f64| {
            view! {
                <line class="chart__grid" x1=px(LEFT) x2=px(width.get() - RIGHT) y1=px(y(value).round()) y2=px(y(value).round())></line>
                <text class="chart__text" x=px(LEFT - 8.0) y=px(y(value) + 4.0) text-anchor="end">{number(value.max(0.0) as u64)}</text>
            }
        };
        steps.get().lines().into_iter().map(line).collect_view()
    };
    let axis = move || {
        let (from, to) = (from.get(), to.get());
        let span = from.millis_until(to);
        let fit = ((width.get() / 110.0) as usize).clamp(1, 6);
        let tick = |at: Moment| {
            let anchor = if x(at) > width.get() - 40.0 {
                "end"
            } else if x(at) < LEFT + 20.0 {
                "start"
            } else {
                "middle"
            };
            view! { <text class="chart__text" x=px(x(at)) y=px(HEIGHT - 3.0) text-anchor=anchor>{time_label(at, span)}</text> }
        };
        times(from, to, fit).into_iter().map(tick).collect_view()
    };
    let noted = move || {
        let (at, text) = note.get()?;
        (at >= from.get()).then(|| {
            let late = x(at) > width.get() / 2.0;
            let (anchor, shift) = if late { ("end", -8.0) } else { ("start", 8.0) };
            view! {
                <line class="chart__note" x1=px(x(at)) x2=px(x(at)) y1="6" y2=px(HEIGHT - BOTTOM)></line>
                <text class="chart__text chart__text--strong chart__halo" x=px(x(at) + shift) y=px(HEIGHT - BOTTOM - 10.0) text-anchor=anchor>{text}</text>
            }
        })
    };
    let dot = move || {
        samples
            .with(|samples| samples.last().copied())
            .map(|(at, value)| view! { <circle class="chart__dot" cx=px(x(at)) cy=px(y(value)) r="3.5"></circle> })
    };
    let pointed = RwSignal::new(None::<(Moment, f64)>);
    let point = move |part: f64| {
        let wanted =
            from.get_untracked().plus((part.clamp(0.0, 1.0) * from.get_untracked().millis_until(to.get_untracked()) as f64) as i64);
        let nearest = samples.with_untracked(|samples| samples.iter().min_by_key(|(at, _)| (at.0 - wanted.0).abs()).copied());
        pointed.set(nearest);
        reading.set(nearest);
    };
    let moved = move |event: leptos::ev::PointerEvent| {
        let left = chart.get_untracked().map(|chart| chart.get_bounding_client_rect().left()).unwrap_or_default();
        point((f64::from(event.client_x()) - left - LEFT) / (width.get_untracked() - LEFT - RIGHT).max(1.0));
    };
    let stepped = move |event: leptos::ev::KeyboardEvent| {
        let by: i64 = match event.key().as_str() {
            "ArrowLeft" => -1,
            "ArrowRight" => 1,
            _ => return,
        };
        event.prevent_default();
        let next = samples.with_untracked(|samples| {
            let index =
                pointed.get_untracked().and_then(|(at, _)| samples.iter().position(|(found, _)| *found == at)).unwrap_or(samples.len());
            samples.get((index as i64 + by).clamp(0, samples.len().max(1) as i64 - 1) as usize).copied()
        });
        pointed.set(next);
        reading.set(next);
    };
    let left = move || {
        pointed.set(None);
        reading.set(None);
    };
    let cross = move || {
        pointed.get().map(
            |(at, _)| view! { <line class="chart__cross chart__cross--on" x1=px(x(at)) x2=px(x(at)) y1="0" y2=px(HEIGHT - BOTTOM)></line> },
        )
    };
    view! {
        <svg
            class="chart chart--main" role="img" tabindex="0" aria-label=move || label.get() node_ref=chart
            on:pointermove=moved on:pointerleave=move |_| left() on:keydown=stepped on:blur=move |_| left()
        >
            {move || grid()}{move || axis()}
            <path class="chart__line chart__line--strong" d=move || line.get()></path>
            {move || noted()}{move || dot()}{move || cross()}
        </svg>
    }
    .into_any()
}

/// Two counts by minute, one above the line and one below, on a square-root scale.
#[component]
pub fn Mirror(
    /// Above, the latest last.
    #[prop(into)]
    above: Signal<Vec<u64>>,
    /// Below.
    #[prop(into)]
    below: Signal<Vec<u64>>,
    /// What a reader should take away.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    const HEIGHT: f64 = 64.0;
    const MIDDLE: f64 = HEIGHT / 2.0;
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let most = Memo::new(move |_| above.get().into_iter().chain(below.get()).max().unwrap_or_default().max(1));
    let bars = move |values: Vec<u64>, up: bool| {
        let step = (width.get() - LEFT - RIGHT).max(0.0) / values.len().max(1) as f64;
        let bar = |(index, value): (usize, u64)| {
            let height = (value as f64 / most.get() as f64).sqrt() * (MIDDLE - 2.0);
            let (x, y) = (LEFT + index as f64 * step + 1.0, if up { MIDDLE - 1.0 - height } else { MIDDLE + 1.0 });
            let wide = (step - 2.0).max(1.5);
            if value == 0 { String::new() } else { format!("M{} {}h{wide}v{}h-{wide}z", px(x), px(y), px(height), wide = px(wide)) }
        };
        values.into_iter().enumerate().map(bar).collect::<String>()
    };
    view! {
        <svg class="chart chart--mirror" role="img" aria-label=move || label.get() node_ref=chart>
            <path class="chart__bar" data-tone="ok" d=move || bars(above.get(), true)></path>
            <path class="chart__bar" data-tone="bad" d=move || bars(below.get(), false)></path>
            <line class="chart__base" x1=px(LEFT) x2=move || px(width.get() - RIGHT) y1=px(MIDDLE) y2=px(MIDDLE)></line>
            <text class="chart__text" x=px(LEFT - 8.0) y="10" text-anchor="end">{move || number(most.get())}</text>
            <text class="chart__text" x=px(LEFT - 8.0) y=px(MIDDLE + 4.0) text-anchor="end">"0"</text>
            <text class="chart__text" x=px(LEFT - 8.0) y=px(HEIGHT - 1.0) text-anchor="end">{move || number(most.get())}</text>
        </svg>
    }
    .into_any()
}

/// Counts by reason, the most frequent first.
#[component]
pub fn Bars(
    /// Each: what it is, its colour, how often.
    #[prop(into)]
    rows: Signal<Vec<(String, Tone, u64)>>,
) -> impl IntoView {
    let row = move |(name, tone, count): (String, Tone, u64), most: u64| {
        let part = count as f64 / most.max(1) as f64;
        view! {
            <div class="bars__row">
                <span class="bars__label">{name.clone()}</span>
                <Meter parts=vec![(tone, part, false)] label=name />
                <span class="bars__n">{number(count)}</span>
            </div>
        }
    };
    view! {
        <div class="bars">
            {move || {
                let rows = rows.get();
                let most = rows.iter().map(|(_, _, count)| *count).max().unwrap_or_default();
                rows.into_iter().map(|found| row(found, most)).collect_view()
            }}
        </div>
    }
    .into_any()
}
