//! One device's story as a list, the newest first; the line between two facts is solid while it was connected and dotted while it was away.

use leptos::prelude::*;

use crate::model::state::Look;
use crate::model::time::Moment;
use crate::model::timeline::{Entry, WayStep};
use crate::parts::each::each;
use crate::parts::sign::{Glyph, Icon};
use crate::parts::when::{At, use_now};

/// A fact, and whether the device was connected when it came to be.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// The fact.
    pub entry: Entry,
    /// Whether it was connected.
    pub connected: bool,
    /// It is the first of its day.
    pub day: bool,
}

/// The list.
#[component]
pub fn Timeline(
    /// The newest first.
    #[prop(into)]
    rows: Signal<Vec<Row>>,
) -> impl IntoView {
    view! {
        <ol aria-label="Merged timeline, newest first">
            {each(move || rows.get(), |row| format!("{}\n{}\n{}{}{}", row.entry.key, row.entry.text, row.entry.steps.len(), row.connected, row.day), |row| view! { <Fact row /> })}
        </ol>
    }
    .into_any()
}

#[component]
fn Fact(row: Row) -> impl IntoView {
    let Row { entry, connected, day } = row;
    let Entry { time, look, text, meta, side, steps, .. } = entry;
    let folded = RwSignal::new(true);
    let way = (!steps.is_empty()).then(|| {
        let summary = summary(&steps);
        view! {
            <button class="timeline__way" type="button" aria-expanded=move || (!folded.get()).to_string() on:click=move |_| folded.update(|folded| *folded = !*folded)>
                <Icon name=Signal::derive(move || if folded.get() { "right" } else { "down" }) />{summary}
            </button>
            {move || (!folded.get()).then(|| steps.clone().into_iter().map(step).collect_view())}
        }
    });
    view! {
        {day.then(|| view! { <li class="timeline__day"><Day time /></li> })}
        <li class="timeline__item" data-link=if connected { "on" } else { "off" }>
            <span class="timeline__time"><At time fine=true below_day=true /></span>
            <span class="timeline__node"><Glyph look /></span>
            <div class="timeline__body"><p class="timeline__text">{text}</p><p class="timeline__meta">{meta}</p>{way}</div>
            <span class="timeline__side">{side}</span>
        </li>
    }
    .into_any()
}

#[component]
fn Day(time: Moment) -> impl IntoView {
    let now = use_now();
    let today = Memo::new(move |_| now.get().is_day_of(time));
    view! { {move || if today.get() { format!("Today, {}", time.day()) } else { time.day() }} }.into_any()
}

/// A command's way in one line: a glyph and a duration for each of its steps.
fn summary(steps: &[WayStep]) -> impl IntoView + use<> {
    let part = |step: &WayStep| {
        let (look, after): (Look, String) = (step.look, step.after.clone());
        view! { <span class="timeline__step"><Glyph look /><span class="sr">{step.text.clone()}</span>{after}</span> }
    };
    steps.iter().map(part).collect_view()
}

fn step(step: WayStep) -> impl IntoView {
    view! {
        <p class="timeline__meta timeline__detail">
            <span class="mono"><At time=step.time fine=true below_day=true /></span>
            <Glyph look=step.look />
            <span>{step.text}{(!step.meta.is_empty()).then(|| format!(" · {}", step.meta))}</span>
            <span class="mono">{step.after}</span>
        </p>
    }
}
