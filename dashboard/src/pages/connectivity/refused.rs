//! Who was not let in, and why: the latest refusal of each name.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::get;
use crate::model::change::{Change, Refusal};
use crate::model::format::count;
use crate::model::hub::Refusals;
use crate::model::payload::harmless;
use crate::model::state::REFUSED;
use crate::model::words::{protocol, refusal_reason, sentence};
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Skeleton};
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::parts::when::For;
use crate::world::World;

/// How often the hub is asked.
const AGAIN: Duration = Duration::from_secs(10);

/// Rows.
const ROWS: usize = 10;

/// The panel.
#[component]
pub fn Refused() -> impl IntoView {
    let world: World = expect_context();
    let refusals = RwSignal::new(Vec::<Refusal>::new());
    let is_known = RwSignal::new(false);
    let ask = move || {
        spawn_local(async move {
            if let Ok(found) = get::<Refusals>("/refusals").await {
                let _ = refusals.try_set(found);
                let _ = is_known.try_set(true);
            }
        });
    };
    Effect::new(move |_| {
        world.missed.track();
        ask();
    });
    // Of a storm the live link has ten a second.
    let again = set_interval_with_handle(ask, AGAIN).ok();
    on_cleanup(move || again.into_iter().for_each(|timer| timer.clear()));
    Effect::new(move |_| {
        let changes = world.latest.get();
        for change in changes.iter() {
            if let Change::Refusal(refusal) = change {
                refusals.update(|refusals| {
                    refusals.retain(|known| known.claimed != refusal.claimed);
                    refusals.insert(0, refusal.clone());
                    refusals.truncate(1_000);
                });
            }
        }
    });
    let aside = move || view! { <span class="panel__note">{move || count(refusals.with(Vec::len) as u64, "name", "names")}</span> };
    let row = |refusal: Refusal| {
        let why = format!("{} · {} from {}", sentence(refusal_reason(&refusal.reason)), protocol(&refusal.protocol), refusal.address);
        view! {
            <li class="event event--two" title=harmless(&refusal.text)>
                <Glyph look=REFUSED /><DeviceLink id=refusal.claimed /><span class="event__text">{why}</span><span class="event__time"><For since=Some(refusal.time) ago=true /></span>
            </li>
        }
    };
    view! {
        <Panel heading="Refused".to_owned() ruled=true aside>
            {move || if !is_known.get() {
                view! { <Skeleton /> }.into_any()
            } else if refusals.with(Vec::is_empty) {
                view! { <Empty heading="Nobody was refused"><p>"Wrong keys, expired tokens, ids that nobody knows: who tries is here, with the reason that it is not told itself."</p></Empty> }.into_any()
            } else {
                view! { <ol class="events">{refusals.with(|refusals| refusals.iter().take(ROWS).cloned().map(row).collect_view())}</ol> }.into_any()
            }}
        </Panel>
    }
    .into_any()
}
