//! One message: what it says, and what there is to say of it.

use std::sync::Arc;

use leptos::prelude::*;

use crate::model::event::Event;
use crate::model::format::exact;
use crate::parts::control::Copy;
use crate::parts::id::Id;
use crate::parts::notice::Empty;
use crate::parts::payload::PayloadView;
use crate::parts::when::At;
use crate::routes::{Query, Route};

/// A value with more letters has a line of its own.
const LONG: usize = 28;

/// The side beside the rows.
#[component]
pub fn Inspector(chosen: RwSignal<Option<Arc<Event>>>) -> impl IntoView {
    let side = move || {
        match chosen.get() {
        None => {
            view! { <div class="split__scroll"><Empty heading="Choose a message"><p>"What it says and where it is stored is shown here. "<kbd class="kbd">"j"</kbd>" "<kbd class="kbd">"k"</kbd>" go from one to the next."</p></Empty></div> }.into_any()
        }
        Some(event) => whole(&event),
    }
    };
    view! { <div class="split__side">{move || side()}</div> }.into_any()
}

fn whole(event: &Event) -> AnyView {
    let body = event.body();
    let text = body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default();
    let here = Query::default().with("from", format!("sequence:{}", event.sequence_number)).with("partition", event.partition.to_string());
    let fact = |(name, value): (String, String)| {
        let class = if value.chars().count() > LONG { "facts__item facts__item--long" } else { "facts__item" };
        view! { <div class=class><dt>{name}</dt><dd class="id">{value}</dd></div> }
    };
    view! {
        <div class="panel__head panel__head--ruled"><h2><Id id=event.device_id.clone() /></h2></div>
        <div class="split__scroll panel__body" tabindex="0" aria-label="Chosen message">
            <div class="stack">
                {match body {
                    Some(content) => view! { <PayloadView content /> }.into_any(),
                    None => view! { <p class="dim">"Your account may not read what messages say."</p> }.into_any(),
                }}
                <dl class="facts facts--rows">
                    <div class="facts__item"><dt>"Position"</dt><dd class="id">{format!("{} : {}", event.partition, exact(event.sequence_number))}</dd></div>
                    {event.enqueued_time.map(|time| view! { <div class="facts__item"><dt>"Enqueued"</dt><dd><At time fine=true />" UTC"</dd></div> })}
                    {event.facts().into_iter().map(fact).collect_view()}
                </dl>
            </div>
        </div>
        <div class="panel__foot">
            <a href=Route::Device(event.device_id.clone()).path()>"Open device"</a>
            <a href=format!("{}{}", Route::Flow.path(), here.text())>"Link to this position"</a>
            <span class="push"><Copy text=Signal::stored(text) label="Copy the payload" /></span>
        </div>
    }
    .into_any()
}
