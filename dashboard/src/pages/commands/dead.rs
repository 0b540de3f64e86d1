//! Commands that ended without effect, why, and the way to send them once more.

use leptos::prelude::*;

use super::Known;
use super::again::{Again, AllAgain};
use crate::model::change::Command;
use crate::model::format::count;
use crate::model::state::{ALERT, command_badge, command_look, command_word};
use crate::model::words::sentence;
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Nothing, Notice};
use crate::parts::panel::Panel;
use crate::parts::sign::Badge;
use crate::parts::when::For as Since;
use crate::routes::Route;

/// Rows.
const ROWS: usize = 6;

/// The panel.
#[component]
pub fn Dead(known: Known) -> impl IntoView {
    let rows = Memo::new(move |_| known.book.with(|book| book.dead(ROWS).into_iter().cloned().collect::<Vec<_>>()));
    // One that was sent again by somebody else says so in its steps.
    Effect::new(move |_| {
        rows.with(|rows| rows.iter().filter_map(|command| command.id.parse().ok()).for_each(|number| known.ask_way(number)));
    });
    // Nothing moves under somebody who is about to press. A button that is pressed lets go of the focus, and the pointer is still there.
    let (pointed, focused) = (RwSignal::new(false), RwSignal::new(false));
    let shown = RwSignal::new(Vec::new());
    Effect::new(move |_| {
        let rows = rows.get();
        if !pointed.get() && !focused.get() {
            shown.set(rows);
        }
    });
    let failed = move || {
        known
            .dead_failed
            .get()
            .then(|| view! { <div class="panel__body"><Notice look=ALERT text="They can't be shown".to_owned() /></div> })
    };
    let aside = move || view! { <AllAgain known /><span class="panel__note wide-only">"latest first"</span> };
    view! {
        <Panel heading="Ended without effect".to_owned() class="col-8" aside>
            {failed}
            {move || if shown.with(Vec::is_empty) {
                view! { <Nothing known=known.dead_told failed=known.dead_failed><Empty heading="None"><p>"Commands that expire, are rejected or are given up are here, to be sent once more."</p></Empty></Nothing> }.into_any()
            } else {
                view! {
                    <div class="table table--dead" role="table" aria-label="Commands that ended without effect" on:pointerenter=move |_| pointed.set(true) on:pointerleave=move |_| pointed.set(false)
                        on:focusin=move |_| focused.set(true) on:focusout=move |_| focused.set(false)>
                        <div class="table__row table__row--head" role="row">
                            <span role="columnheader">"Command"</span><span role="columnheader">"Device"</span><span role="columnheader">"Why"</span>
                            <span role="columnheader">"When"</span><span role="columnheader">"What happened"</span><span role="columnheader"><span class="sr">"Action"</span></span>
                        </div>
                        {shown.get().into_iter().map(|command| row(known, command)).collect_view()}
                    </div>
                }
                .into_any()
            }}
        </Panel>
    }
    .into_any()
}

fn row(known: Known, command: Command) -> impl IntoView {
    let (name, happened, look) = (command.name(), happened(&command), command_look(&command.state));
    let Command { id, device_id, state, ended_time, .. } = command;
    let number = id.parse().unwrap_or_default();
    let path = Route::Command(id).path();
    view! {
        <div class="table__row" role="row">
            <span role="cell" data-col="cmd" class="table__clip"><a href=path title=name>{name.clone()}</a></span>
            <span role="cell" data-col="dev"><DeviceLink id=device_id /></span>
            <span role="cell" data-col="why"><Badge look word=command_badge(&state) /></span>
            <span role="cell" data-col="when" class="dim"><Since since=ended_time ago=true /></span>
            <span role="cell" data-col="note" class="table__clip dim" title=happened>{happened.clone()}</span>
            <span role="cell" data-col="act"><Again known number word="Again" /></span>
        </div>
    }
}

fn happened(command: &Command) -> String {
    let deliveries = count(command.delivery_count, "delivery", "deliveries");
    match (command.state.as_str(), command.delivery_count) {
        ("Expired", 0) => "The device was not there to take it".to_owned(),
        ("Expired", _) => format!("{deliveries}, none acknowledged in time"),
        ("Rejected", _) => "The device refused it".to_owned(),
        ("DeliveryCountExceeded", _) => format!("{deliveries}, none acknowledged"),
        ("Purged", _) => "Its queue was emptied".to_owned(),
        (state, _) => sentence(command_word(state)),
    }
}
