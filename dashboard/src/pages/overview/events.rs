//! What happens, a line each, the newest first. It stands still while somebody reads.

use std::collections::VecDeque;

use leptos::html;
use leptos::prelude::*;

use crate::model::notable::Notable;
use crate::parts::each::each;
use crate::parts::id::DeviceLink;
use crate::parts::notice::Empty;
use crate::parts::panel::Panel;
use crate::parts::sign::{Glyph, Icon};
use crate::parts::when::At;
use crate::world::World;

/// The panel.
#[component]
pub fn Events() -> impl IntoView {
    let world: World = expect_context();
    let list = NodeRef::<html::Ol>::new();
    let paused = RwSignal::new(false);
    let read = RwSignal::new(false);
    let shown = RwSignal::new(VecDeque::<(u64, Notable)>::new());
    let newest = |events: &VecDeque<(u64, Notable)>| events.front().map_or(0, |(number, _)| *number);
    let waiting = Memo::new(move |_| {
        let seen = shown.with(newest);
        world.events.with(|events| events.iter().filter(|(number, _)| *number > seen).count())
    });
    Effect::new(move |_| {
        let events = world.events.get();
        if !paused.get() && !read.get() {
            shown.set(events);
        }
    });
    // Whoever has scrolled, or points at the list, reads it.
    let look = move |pointed: bool| {
        let scrolled = list.get_untracked().is_some_and(|list| list.scroll_top() > 0);
        read.set(pointed || scrolled);
    };
    let catch_up = move |_| {
        shown.set(world.events.get_untracked());
        if let Some(list) = list.get_untracked() {
            list.set_scroll_top(0);
        }
    };
    let aside = move || {
        view! {
            {move || (waiting.get() > 0).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=catch_up>{format!("{} new", waiting.get())}</button> })}
            <span class="panel__note">"the last 50"</span>
            <button class="btn btn--quiet btn--small" type="button" aria-pressed=move || paused.get().to_string() on:click=move |_| paused.update(|paused| *paused = !*paused)>
                <Icon name=Signal::derive(move || if paused.get() { "play" } else { "pause" }) />{move || if paused.get() { "Resume" } else { "Pause" }}
            </button>
        }
    };
    view! {
        <Panel heading="Events".to_owned() class="col-7" ruled=true aside>
            {move || shown.with(VecDeque::is_empty).then(|| view! {
                <Empty heading="Nothing has happened yet"><p>"Who connects and goes, who is refused, how commands end: it is here within a second."</p></Empty>
            })}
            <ol class="events events--tall" tabindex="0" aria-label="Notable events, newest first" node_ref=list
                on:pointerenter=move |_| look(true) on:pointerleave=move |_| look(false) on:scroll=move |_| look(read.get_untracked())
            >
                {each(move || shown.get().into(), |(number, _)| number.to_string(), |(_, fact)| view! { <Line fact /> })}
            </ol>
        </Panel>
    }
    .into_any()
}

#[component]
fn Line(fact: Notable) -> impl IntoView {
    let Notable { time, look, device_id, text } = fact;
    view! {
        <li class="event" data-fresh="">
            <span class="event__time"><At time /></span>
            <Glyph look />
            {device_id.map(|id| view! { <DeviceLink id /> })}
            <span class="event__text" title=text>{text.clone()}</span>
        </li>
    }
    .into_any()
}
