//! A command's way as a bar on a logarithmic axis, and its steps beside each other.

use leptos::prelude::*;

use crate::model::change::{Command, Step};
use crate::model::format::{duration, share};
use crate::model::payload::harmless;
use crate::model::scale::waterfall;
use crate::model::state::{command_look, command_word};
use crate::model::way::{AXIS, Way};
use crate::model::words::{protocol, sentence};
use crate::parts::sign::Glyph;
use crate::parts::when::{At, use_now};

/// What is written along the axis.
#[component]
pub fn Axis() -> impl IntoView {
    let text = |(index, (millis, word)): (usize, (u64, &'static str))| {
        let anchor = match index {
            0 => "start",
            last if last + 1 == AXIS.len() => "end",
            _ => "middle",
        };
        // A phone has room for every other one.
        let class = if matches!(index, 1 | 4 | 6) { "chart__text wide-only" } else { "chart__text" };
        view! { <text class=class x=share(waterfall(millis)) y="22" text-anchor=anchor>{word}</text> }
    };
    view! {
        <svg class="waterfall__axis" role="img" aria-label="Time since it was enqueued, logarithmic, from 1 millisecond to 1 hour">
            {AXIS.into_iter().enumerate().map(text).collect_view()}
        </svg>
    }
    .into_any()
}

/// The bar. One that has not ended goes on.
#[component]
pub fn Track(
    /// Whose way.
    #[prop(into)]
    command: Signal<Command>,
) -> impl IntoView {
    let now = use_now();
    let way = Memo::new(move |_| {
        let open = command.with(|command| command.ended_time.is_none());
        // What has ended does not depend on the clock.
        let now = if open { now.get() } else { now.get_untracked() };
        command.with(|command| Way::of(command, now))
    });
    let lines = AXIS.get(1..AXIS.len() - 1).unwrap_or_default().iter().map(|(millis, _)| share(waterfall(*millis)));
    let lines = lines.map(|x| view! { <line class="chart__grid" x1=x.clone() x2=x y1="0" y2="100%"></line> }).collect_view();
    let drawn = move || {
        let way = way.get();
        let (flight, flew) = (way.flight_class(), way.flew);
        let read = way.read.map(|read| {
            view! {
                <line class="waterfall__receipt" x1=share(way.end) x2=share(read) y1="24" y2="24"></line>
                <circle class="waterfall__read" cx=share(read) cy="24" r="3.5"></circle>
            }
        });
        view! {
            <rect class=way.queued_class() x="0" y="18" height="12" width=share(way.queued.max(0.004)) rx="2"></rect>
            {flew.then(|| view! { <rect class=flight x=share(way.queued) y="18" height="12" width=share((way.end - way.queued).max(0.004)) rx="2"></rect> })}
            {read}
            <svg x=share(way.end) y="50%" overflow="visible" data-tone=way.look.tone.name()>
                <circle class="waterfall__plate" r="9"></circle>
                <svg x="-6" y="-6" width="12" height="12" overflow="visible"><use class="waterfall__end" href=format!("#g-{}", way.look.glyph)></use></svg>
            </svg>
        }
    };
    view! { <svg class="waterfall__track" role="img" aria-label=move || way.with(|way| way.label.clone())>{lines}{move || drawn()}</svg> }
        .into_any()
}

/// One step after the other, each with how long it took.
#[component]
pub fn Steps(
    /// In the order of time.
    steps: Vec<Step>,
    /// Who sent it: what the first step does not say.
    sent_by: String,
) -> impl IntoView {
    let mut before: Option<Step> = None;
    let mut shown = Vec::new();
    for step in steps {
        let took = before.as_ref().map(|before| format!("+{}", duration(before.time.millis_until(step.time))));
        let by = (step.step == "Enqueued").then(|| format!("by {sent_by}"));
        let over = step.protocol.as_deref().map(|name| protocol(name).to_owned());
        let more = [took, by, over, step.reason.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let look = command_look(&step.step);
        shown.push(view! {
            <div class="waterfall__step" data-tone=look.tone.name()>
                <strong class="waterfall__what"><Glyph look />{sentence(command_word(&step.step))}</strong>
                <span><At time=step.time fine=true /></span><span>{harmless(&more)}</span>
            </div>
        });
        before = Some(step);
    }
    shown.into_any()
}
