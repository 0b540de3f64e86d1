//! Who has been away for longer than somebody asks.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::get;
use crate::browser::{Place, now};
use crate::model::format::{NOTHING, count};
use crate::model::hub::{FleetPage, FleetRow};
use crate::model::words::{disconnect_reason, sentence};
use crate::parts::control::Seg;
use crate::parts::id::DeviceLink;
use crate::parts::notice::Empty;
use crate::parts::panel::Panel;
use crate::parts::when::For as Since;
use crate::routes::{Query, Route};
use crate::world::World;

/// For how long at least: in seconds, and in words.
const AWAY: [(u64, &str); 5] = [(60, "1 min"), (600, "10 min"), (3_600, "1 h"), (86_400, "1 d"), (604_800, "7 d")];

/// How often the hub is asked.
const AGAIN: Duration = Duration::from_secs(10);

/// Rows.
const ROWS: &str = "12";

/// The panel.
#[component]
pub fn Away() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let chosen = Memo::new(move |_| {
        let seconds = place.query.with(|query| query.get("away").and_then(|away| away.parse().ok()));
        AWAY.iter().position(|(found, _)| Some(*found) == seconds).unwrap_or(1)
    });
    let seconds = move || AWAY.get(chosen.get()).map_or(600, |(seconds, _)| *seconds);
    let choose = Callback::new(move |index: usize| {
        let seconds = AWAY.get(index).map_or(600, |(seconds, _)| *seconds);
        place.filter(&place.query.get_untracked().with("away", if seconds == 600 { String::new() } else { seconds.to_string() }));
    });
    let found = RwSignal::new(None::<FleetPage>);
    let ask = move || {
        let wanted = AWAY.get(chosen.get_untracked()).map_or(600, |(seconds, _)| *seconds);
        let before = now().plus(-(wanted as i64) * 1000).iso();
        let query = Query::default()
            .with("state", "offline")
            .with("seenBefore", before)
            .with("sort", "lastSeen")
            .with("order", "desc")
            .with("limit", ROWS);
        spawn_local(async move {
            if let Ok(page) = get::<FleetPage>(&format!("/devices{}", query.text())).await
                && chosen.try_get_untracked().and_then(|chosen| AWAY.get(chosen)).is_some_and(|(seconds, _)| *seconds == wanted)
            {
                let _ = found.try_set(Some(page));
            }
        });
    };
    Effect::new(move |_| {
        chosen.track();
        world.missed.track();
        ask();
    });
    // Somebody is away for long enough although nothing happens; and a fleet in which much happens is not asked each time.
    let again = move || {
        if !document().hidden() && world.status.with_untracked(|status| status.down_since.is_none()) {
            ask();
        }
    };
    let asking = set_interval_with_handle(again, AGAIN).ok();
    on_cleanup(move || asking.into_iter().for_each(|timer| timer.clear()));
    let choices = AWAY.iter().map(|(_, word)| *word).collect::<Vec<_>>();
    let aside = move || view! { <Seg label="Away for longer than" choices=choices.clone() chosen=chosen choose /> };
    let all = move || {
        let query =
            Query::default().with("state", "offline").with("away", seconds().to_string()).with("sort", "lastSeen").with("order", "desc");
        format!("{}{}", Route::Devices.path(), query.text())
    };
    let foot = move || {
        let total = found.with(|found| found.as_ref().map_or(0, |page| page.total.count().0));
        view! { <span>{count(total, "device", "devices")}</span>{(total > 0).then(|| view! { <a href=move || all()>"All of them"</a> })} }
    };
    let row = |FleetRow { device_id, last_seen, reason, .. }: FleetRow| {
        let why = reason.as_deref().map_or_else(|| NOTHING.to_owned(), |reason| sentence(disconnect_reason(reason)));
        view! {
            <div class="table__row" role="row">
                <span role="cell" data-col="id"><DeviceLink id=device_id /></span>
                <span role="cell" class="dim num"><Since since=last_seen ago=true /></span>
                <span role="cell" data-col="why" class="table__clip dim">{why}</span>
            </div>
        }
    };
    let rows = move || found.with(|found| found.as_ref().map(|page| page.devices.clone()));
    view! {
        <Panel heading="Offline for longer than".to_owned() aside foot=ViewFn::from(foot)>
            {move || rows().map(|rows| if rows.is_empty() {
                view! { <Empty heading="None"><p>"Every device that was ever here has been heard of since."</p></Empty> }.into_any()
            } else {
                view! {
                    <div class="table table--away" role="table" aria-label="Devices that are away">
                        <div class="table__row table__row--head" role="row"><span role="columnheader">"Device"</span><span role="columnheader" class="num">"Last seen"</span><span role="columnheader" data-col="why">"Last reason"</span></div>
                        {rows.into_iter().map(row).collect_view()}
                    </div>
                }
                .into_any()
            })}
        </Panel>
    }
    .into_any()
}
