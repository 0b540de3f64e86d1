//! Message flow: what devices send, as it comes or from any place; what comes into each partition; how far behind its readers are.

mod groups;
mod inspector;
mod tail;

use std::sync::Arc;

use leptos::prelude::*;

use crate::app::Who;
use crate::browser::Place;
use crate::link::ask::Ask;
use crate::link::ask::Tail as Wanted;
use crate::model::event::{Event, filter};
use crate::model::format::{number, rate};
use crate::model::groups::{Told, Watched};
use crate::model::state::DeviceState;
use crate::parts::notice::Notice;
use crate::parts::when::use_now;
use crate::world::World;
use groups::{Groups, Partitions};
pub use inspector::Inspector;
use tail::Toolbar;
pub use tail::{Following, PauseButton, Tail};

/// The page.
#[component]
pub fn Flow() -> impl IntoView {
    let world: World = expect_context();
    let who: Who = expect_context();
    let place: Place = expect_context();
    let watched = RwSignal::new(Watched::default());
    world.hear(Ask::Groups, move |told: Told| watched.update(|watched| watched.take(told)));
    let wanted = Memo::new(move |_| wanted(place));
    let following = Following::begin(world, wanted);
    let chosen = RwSignal::new(None::<Arc<Event>>);
    let bodies = who.may("Bodies");
    let into = Memo::new(move |_| world.rates.with(|rates| rates.latest().events.messages));
    let now = use_now();
    let counts = move || {
        let (matched, shown) = following.rows.with(|rows| (rows.matched(now.get()), rows.shown(now.get())));
        view! {
            <span class="legend__item"><strong>{number(into.get())}</strong>"/s in"</span>
            <span class="legend__item"><strong>{number(matched)}</strong>"/s match"</span>
            <span class="legend__item"><strong>{rate(shown as f64)}</strong>"/s shown"</span>
        }
    };
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Message flow"</h1><p class="page__sub">"Telemetry over all devices, as stored: position is partition and sequence number"</p></div>
            <div class="legend">{move || counts()}</div>
        </div>
        <div class="stack">
            {(!bodies).then(|| view! { <Notice look=DeviceState::Disabled.look() text="Your account may see that messages come, and not what they say".to_owned() /> })}
            <section class="panel" aria-label="Live tail">
                <Toolbar following place bodies />
                <div class="split"><Tail following chosen /><Inspector chosen /></div>
            </section>
            <div class="grid"><Partitions watched /><Groups watched /></div>
        </div>
    }
    .into_any()
}

/// What the address asks for.
fn wanted(place: Place) -> Wanted {
    place.query.with(|query| {
        let partition = query.get("partition").and_then(|partition| partition.parse().ok());
        filter(query.get("filter").unwrap_or_default(), query.get("from").unwrap_or_default(), partition)
    })
}
