//! Commands, the newest first, live: where each is, and how long its way was.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::Place;
use crate::model::change::Command;
use crate::model::format::{NOTHING, count, duration, elapsed};
use crate::model::hub::Commands as Page;
use crate::model::state::{ALERT, command_look, command_word};
use crate::model::words::sentence;
use crate::parts::control::Chip;
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Notice};
use crate::parts::sign::{Badge, Glyph};
use crate::parts::when::{At, use_now};
use crate::routes::{Query, Route};
use crate::world::World;

/// Rows.
const LIMIT: &str = "100";

/// What can be filtered by: as the API has it.
const STATES: [&str; 5] = ["Pending", "Completed", "Expired", "Rejected", "DeliveryCountExceeded"];

/// The page.
#[component]
pub fn Commands() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let state = Memo::new(move |_| place.query.with(|query| query.get("state").unwrap_or_default().to_owned()));
    let found = RwSignal::new(None::<Result<Page, Failure>>);
    let ask = move || {
        let wanted = state.get_untracked();
        let query = Query::default().with("limit", LIMIT).with("state", wanted.as_str());
        spawn_local(async move {
            let answer = get(&format!("/commands{}", query.text())).await;
            if state.try_get_untracked() == Some(wanted) {
                found.set(Some(answer));
            }
        });
    };
    // The backlog is asked for after whatever happens to a command, at most once a second.
    Effect::new(move |_| {
        state.track();
        world.backlog.track();
        ask();
    });
    let chip = move |of: Option<&'static str>| {
        let pressed = Signal::derive(move || state.with(|state| state == of.unwrap_or_default()));
        let press = Callback::new(move |()| place.filter(&Query::default().with("state", of.unwrap_or_default())));
        let word = match of {
            None => "Everything".to_owned(),
            Some("Pending") => "Waiting".to_owned(),
            Some(state) => sentence(command_word(state)),
        };
        view! { <Chip pressed press>{of.map(|state| view! { <Glyph look=command_look(if state == "Pending" { "Enqueued" } else { state }) /> })}{word}</Chip> }
    };
    let rows = move || {
        match found.get() {
        None => ().into_any(),
        Some(Err(failure)) => view! { <div class="panel__body panel__body--first"><Notice look=ALERT text="The commands can't be shown".to_owned() more=failure.text /></div> }.into_any(),
        Some(Ok(page)) if page.commands.is_empty() => view! {
            <Empty heading="No commands"><p>"One is sent on a device's page, with "<code>"mooring-hub command send"</code>", or by a back end."</p></Empty>
        }
        .into_any(),
        Some(Ok(page)) => page.commands.into_iter().map(row).collect_view().into_any(),
    }
    };
    let sub = move || {
        world.backlog.get().map(|backlog| format!("{} waiting", count(backlog.enqueued + backlog.delivered, "command is", "commands are")))
    };
    view! {
        <div class="page__head"><div class="page__title"><h1>"Commands"</h1><p class="page__sub">{sub}</p></div></div>
        <section class="panel" aria-label="Commands">
            <div class="filters"><div class="chips" role="group" aria-label="State">{chip(None)}{STATES.map(|state| chip(Some(state)))}</div></div>
            <div class="table table--commands" role="table" aria-label="Commands">
                <div class="table__row table__row--head" role="row">
                    <span role="columnheader" data-col="time">"Sent"</span><span role="columnheader" data-col="id">"Command"</span>
                    <span role="columnheader" data-col="device">"Device"</span><span role="columnheader" data-col="state">"State"</span>
                    <span role="columnheader" data-col="took" class="num">"Took"</span>
                </div>
                {rows}
            </div>
        </section>
    }
    .into_any()
}

fn row(command: Command) -> impl IntoView {
    let now = use_now();
    let name = command.name();
    let Command { id, device_id, state, enqueued_time, ended_time, .. } = command;
    let took = move || match (enqueued_time, ended_time) {
        (Some(begun), Some(ended)) => duration(begun.millis_until(ended)),
        (Some(begun), None) => elapsed(begun.millis_until(now.get())),
        _ => NOTHING.to_owned(),
    };
    view! {
        <div class="table__row" role="row">
            <span role="cell" data-col="time" class="mono dim">{enqueued_time.map(|time| view! { <At time /> })}</span>
            <span role="cell" data-col="id" class="table__clip"><a href=Route::Command(id).path()>{name}</a></span>
            <span role="cell" data-col="device"><DeviceLink id=device_id /></span>
            <span role="cell" data-col="state"><Badge look=command_look(&state) word=sentence(command_word(&state)) /></span>
            <span role="cell" data-col="took" class="num dim">{took}</span>
        </div>
    }
}
