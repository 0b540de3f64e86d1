//! One device's story on an axis: a lane for each part of it. The hatched stretches are those without a connection.

use leptos::prelude::*;
use leptos::svg;
use wasm_bindgen::JsCast as _;

use crate::browser::width_of;
use crate::model::event::Counts;
use crate::model::format::px;
use crate::model::marks::{Mark, marks};
use crate::model::scale::{bar, time_label, times};
use crate::model::time::Moment;
use crate::model::timeline::{Entry, Kind, Span};

const LANE: f64 = 44.0;
const AXIS: f64 = 22.0;
const RIGHT: f64 = 12.0;

/// A connection that is drawn narrower than this is not told from its neighbours.
const BRIEF: f64 = 3.0;

/// As wide as a mark and what is around it.
const MARK: f64 = 24.0;

/// How many facts a mark says that it stands for: its title has the whole number.
const COUNTED_MAX: u64 = 99;

/// Bars of the lane of messages.
const BARS_MAX: usize = 120;

/// The lanes: messages stand below the connection that they came over, and above the other parts of the story.
const LANES: [&str; 5] = ["Connection", "Messages", "Commands", "Sign-in", "Registry"];
const MESSAGES: usize = 1;

fn lane_of(kind: Kind) -> usize {
    match kind {
        Kind::Connection => 0,
        Kind::Command => 2,
        Kind::SignIn => 3,
        Kind::Registry => 4,
    }
}

/// All of it.
#[component]
pub fn Lanes(
    /// While it was connected, the oldest first.
    #[prop(into)]
    spans: Signal<Vec<Span>>,
    /// What happened.
    #[prop(into)]
    entries: Signal<Vec<Entry>>,
    /// What it sent.
    counts: RwSignal<Counts>,
    /// From when on its story is here.
    #[prop(into)]
    known: Signal<Option<Moment>>,
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
    let height = LANE * LANES.len() as f64 + AXIS;
    let x = move |at: Moment| {
        let (from, to) = (from.get(), to.get());
        left() + ((at.0 - from.0) as f64 / (to.0 - from.0).max(1) as f64).clamp(0.0, 1.0) * (width.get() - left() - RIGHT).max(0.0)
    };
    let middle = move |lane: usize| lane as f64 * LANE + LANE / 2.0 + if wide.get() { 0.0 } else { 5.0 };
    let grid = move || {
        let span = from.get().millis_until(to.get());
        let tick = |at: Moment| {
            view! {
                <line class="chart__grid" x1=px(x(at).round()) x2=px(x(at).round()) y1="0" y2=px(height - AXIS)></line>
                <text class="chart__text" x=px(x(at)) y=px(height - 5.0) text-anchor="middle">{time_label(at, span)}</text>
            }
        };
        times(from.get(), to.get(), ((width.get() / 90.0) as usize).clamp(1, 8)).into_iter().map(tick).collect_view()
    };
    let frame = move || {
        let lane = |(index, name): (usize, &'static str)| {
            let ground = ((index + 1) as f64 * LANE).round();
            let name_at = if wide.get() { middle(index) + 4.0 } else { index as f64 * LANE + 12.0 };
            view! {
                <line class="chart__grid" x1="0" x2=px(width.get()) y1=px(ground) y2=px(ground)></line>
                <text class="chart__text chart__halo" x="0" y=px(name_at)>{name}</text>
            }
        };
        LANES.into_iter().enumerate().map(lane).collect_view()
    };
    // Before that there may be facts that are not here.
    let blank = move || {
        let until = known.get().filter(|known| *known > from.get())?;
        let end = x(until);
        Some(view! {
            <rect class="chart__blank" x=px(left()) y="0" width=px((end - left()).max(0.0)) height=px(height - AXIS)></rect>
            <text class="chart__text chart__halo" x=px(end - 6.0) y=px(middle(0) + 4.0) text-anchor="end">{(end - left() > 70.0).then_some("not loaded")}</text>
        })
    };
    let connected = move || {
        let (from, to) = (from.get(), to.get());
        let (mut there, mut brief, mut away) = (String::new(), String::new(), String::new());
        let seen = |begin: Moment, end: Option<Moment>| begin < to && end.is_none_or(|end| end > from);
        let stretch = |path: &mut String, begin: Moment, end: Moment, least: f64| {
            let (begin, end) = (x(begin), x(end));
            bar(path, (begin, middle(0) - 7.0), ((end - begin - 1.0).max(least), 14.0));
        };
        spans.with(|spans| {
            for (index, span) in spans.iter().enumerate() {
                if seen(span.from, span.until) {
                    let until = span.until.unwrap_or(to);
                    // One that is too short to be seen as itself would hide the gaps beside it: it is seen as one that comes and goes.
                    let there = if span.until.is_some() && x(until) - x(span.from) < BRIEF { &mut brief } else { &mut there };
                    stretch(there, span.from, until, 1.5);
                }
                let next = spans.get(index + 1).map(|next| next.from);
                if let Some(since) = span.until.filter(|since| seen(*since, next) && next.is_none_or(|next| next > *since)) {
                    // A gap that is as wide as a line is seen as one.
                    stretch(&mut away, since, next.unwrap_or(to), 0.0);
                }
            }
        });
        view! { <path class="chart__bar" data-tone="ok" d=there></path><path class="chart__bar" data-tone="warn" d=brief></path><path class="chart__away" data-tone="bad" d=away></path> }
    };
    let sent = move || {
        let (from, to) = (from.get(), to.get());
        let columns = counts.with(|counts| counts.columns(from, to, BARS_MAX));
        let most = columns.iter().map(|(_, count)| *count).max()? as f64;
        let each = ((width.get() - left() - RIGHT) / BARS_MAX as f64 - 1.0).clamp(1.5, 6.0);
        let ground = (MESSAGES + 1) as f64 * LANE - 1.0;
        let mut path = String::new();
        for (at, count) in columns {
            let tall = count as f64 / most * (LANE - 20.0);
            bar(&mut path, (x(at), ground - tall), (each, tall));
        }
        let since = counts.with(Counts::since).filter(|since| *since > from).map(|since| {
            view! { <text class="chart__text chart__halo" x=px(x(since) - 6.0) y=px(middle(MESSAGES) + 4.0) text-anchor="end">{(x(since) - left() > 130.0).then_some("not counted before")}</text> }
        });
        Some(view! { <path class="chart__bar" data-tone="flow" d=path></path>{since} })
    };
    // Nearer than that, two of them would lie on each other. It doesn't change while time goes on.
    let apart = Memo::new(move |_| {
        let room = (width.get() - left() - RIGHT).max(MARK);
        (MARK / room * from.get().millis_until(to.get()) as f64) as i64
    });
    let all = Memo::new(move |_| {
        let mut all = entries.with(|entries| marks(entries, apart.get()));
        all.retain(|mark| mark.kind != Kind::Connection);
        all
    });
    let pins = move || {
        let (from, to) = (from.get(), to.get());
        let pin = |mark: Mark| view! { <Pin x=x(mark.from) y=middle(lane_of(mark.kind)) mark /> };
        all.get().into_iter().filter(|mark| mark.until >= from && mark.from <= to).map(pin).collect_view()
    };
    view! {
        <svg class="chart chart--lanes" role="img" aria-label=move || label.get() node_ref=chart>
            {move || blank()}{move || grid()}{move || frame()}{move || connected()}{move || sent()}{move || pins()}
        </svg>
    }
    .into_any()
}

#[component]
fn Pin(x: f64, y: f64, mark: Mark) -> impl IntoView {
    let many = (mark.count > 1).then(|| if mark.count > COUNTED_MAX { format!("{COUNTED_MAX}+") } else { mark.count.to_string() });
    view! {
        <svg x=px(x - 9.0) y=px(y - 9.0) width="18" height="18" overflow="visible" data-tone=mark.look.tone.name()>
            <title>{mark.title()}</title>
            <circle class="chart__pin" cx="9" cy="9" r="9"></circle>
            <svg x="3.5" y="3.5" width="11" height="11" viewBox="0 0 12 12" overflow="visible">
                <use class="chart__glyph" href=format!("#g-{}", mark.look.glyph)></use>
            </svg>
            {many.map(|many| view! { <text class="chart__text chart__halo" x="9" y="-3" text-anchor="middle">{many}</text> })}
        </svg>
    }
    .into_any()
}
