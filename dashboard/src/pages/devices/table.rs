//! The rows in view, and how they are moved through, chosen and opened.

use std::ops::Range;

use leptos::prelude::*;

use super::{Fleet, narrow};
use crate::browser::Place;
use crate::model::columns::{COLUMNS, Columns};
use crate::model::device_filter::DeviceFilter;
use crate::model::format::{NOTHING, count, number};
use crate::model::hub::FleetRow;
use crate::model::payload::harmless;
use crate::model::selection::Selection;
use crate::model::state::DeviceState;
use crate::model::virtual_table::Pages;
use crate::model::words::{authentication, disconnect_reason, sentence};
use crate::parts::id::DeviceLink;
use crate::parts::notice::Empty;
use crate::parts::sign::{Badge, Icon};
use crate::parts::table::VirtualRows;
use crate::parts::when::For as Since;
use crate::routes::Route;

/// The table.
#[component]
pub fn Table(fleet: Fleet, filter: Memo<DeviceFilter>, columns: Memo<Columns>) -> impl IntoView {
    let place: Place = expect_context();
    let rows = Memo::new(move |_| fleet.pages.with(Pages::total));
    let (seen, set_seen) = signal((0, 0));
    let scrolled = RwSignal::new(place.scrolled.get_value());
    Effect::new(move |_| place.scrolled.set_value(scrolled.get()));
    let chosen = RwSignal::new(None::<usize>);
    let pointed = RwSignal::new(false);
    // Nothing moves away under a pointer, or from where the keyboard is.
    Effect::new(move |_| fleet.still.set(pointed.get() || chosen.with(Option::is_some)));
    let looked_at = Callback::new(move |range: Range<usize>| {
        fleet.wanted.set(range);
        fleet.fill(filter);
    });
    let open = Callback::new(move |index: usize| {
        if let Some(id) = fleet.pages.with_untracked(|pages| pages.row(index).map(|row| row.device_id.clone())) {
            place.go(&Route::Device(id).path());
        }
    });
    let select = Callback::new(move |index: usize| {
        if let Some(id) = fleet.pages.with_untracked(|pages| pages.row(index).map(|row| row.device_id.clone())) {
            fleet.chosen.update(|chosen| chosen.toggle(&id));
        }
    });
    let selected = Callback::new(move |index: usize| {
        let id = fleet.pages.with(|pages| pages.row(index).map(|row| row.device_id.clone()));
        id.is_some_and(|id| fleet.chosen.with(|chosen| chosen.contains(&id)))
    });
    let column = move |name: &'static str, by: &'static str, word: &'static str, numeric: bool| {
        let sorted = move || filter.with(|filter| (!by.is_empty() && filter.sort == by).then_some(filter.descending));
        let order = move || sorted().map(|descending| if descending { "descending" } else { "ascending" });
        let sign = move || sorted().map(|descending| view! { <Icon name=if descending { "down" } else { "up" } /> });
        let press = move |_| narrow(place, &filter.get_untracked().sorted(by));
        view! {
            <span role="columnheader" data-col=name class=if numeric { "num" } else { "" } aria-sort=move || order()>
                {if by.is_empty() { word.into_any() } else { view! { <button class="table__sort" type="button" on:click=press>{word}{move || sign()}</button> }.into_any() }}
            </span>
        }
    };
    let some = move || fleet.chosen.with(|chosen| chosen.count(rows.get() as u64)) > 0;
    let all = move |_| fleet.chosen.update(|chosen| *chosen = if chosen.is_all() { Selection::default() } else { Selection::all() });
    let head = move || {
        view! {
            <div class="table__row table__row--head" role="row" aria-rowindex="1">
                <span role="columnheader" data-col="sel"><input class="check" type="checkbox" aria-label="Select all that fit" prop:checked=move || fleet.chosen.with(Selection::is_all) prop:indeterminate=move || some() && !fleet.chosen.with(Selection::is_all) on:change=all /></span>
                {column("id", "id", "Device", false)}
                {COLUMNS.iter().map(|of| column(of.style, of.sort, of.word, of.numeric)).collect_view()}
            </div>
        }
    };
    let row = Callback::new(move |index: usize| {
        let found = Memo::new(move |_| fleet.pages.with(|pages| Some((pages.row(index)?.clone(), pages.is_gone(index)))));
        (move || found.get().map_or_else(waiting, |(row, gone)| cells(fleet, row, gone))).into_any()
    });
    let nobody = Memo::new(move |_| rows.get() == 0 && !fleet.asking.get() && fleet.failure.with(Option::is_none));
    let empty = move || {
        if filter.with(DeviceFilter::is_all) {
            view! {
                <Empty heading="No device is registered">
                    <p>"The first one is registered in a minute."</p><p><a class="btn btn--primary" href=Route::GetStarted.path()>"Get started"</a></p>
                </Empty>
            }
        } else {
            view! { <Empty heading="No device matches"><p>"Take a filter away, or look for another beginning of the id."</p></Empty> }
        }
    };
    let moved = Memo::new(move |_| fleet.pages.with(Pages::moved) as u64);
    let again = move || {
        let word = format!("{} moved, sort again", count(moved.get(), "row", "rows"));
        (moved.get() > 0).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=move |_| fleet.sort_again(filter)><Icon name="refresh" />{word}</button> })
    };
    let of = move || format!("{}{}", if fleet.exact.get() { "" } else { "at least " }, count(rows.get() as u64, "device", "devices"));
    view! {
        <div class="table table--devices table--fleet" role="group" aria-label="Devices" data-hide=move || columns.get().hidden() aria-busy=move || fleet.old.get().to_string()
            on:pointerenter=move |_| pointed.set(true) on:pointerleave=move |_| pointed.set(false)>
            {move || nobody.get().then(empty)}
            <VirtualRows rows scrolled label="Device rows" looked_at seen=set_seen chosen open select selected head row />
        </div>
        <div class="panel__foot">
            <span>{move || if rows.get() == 0 { NOTHING.to_owned() } else { format!("Rows {}–{} of ", number(seen.get().0 as u64), number(seen.get().1 as u64)) }}<strong>{move || of()}</strong></span>
            <span>{move || filter.with(|filter| if filter.sort.is_empty() { "Newest change first" } else { "" })}{move || fleet.still.get().then_some(" · nothing moves while you are here")}</span>
            {move || again()}
            <span class="push wide-only"><kbd class="kbd">"j"</kbd>" "<kbd class="kbd">"k"</kbd>" move · "<kbd class="kbd">"x"</kbd>" select · "<kbd class="kbd">"Enter"</kbd>" open"</span>
        </div>
    }
    .into_any()
}

fn waiting() -> AnyView {
    view! { <span role="cell" data-col="sel"></span><span role="cell" data-col="id"><span class="skeleton skeleton--short"></span></span> }
        .into_any()
}

fn cells(fleet: Fleet, row: FleetRow, gone: bool) -> AnyView {
    let state = DeviceState::named(&row.state).unwrap_or(DeviceState::Never);
    // How it was when it stood here is not how it is.
    let since = row.state_since.filter(|_| !gone);
    let why = row.reason.as_deref().filter(|_| !gone).map(|reason| sentence(disconnect_reason(reason)));
    let quiet = why.is_none();
    let why = why.unwrap_or_else(|| if gone { "Not here any more" } else { NOTHING }.to_owned());
    let (asked, named) = (row.device_id.clone(), row.device_id.clone());
    let label = harmless(&format!("Select {named}"));
    view! {
        <span role="cell" data-col="sel">
            <input class="check" type="checkbox" tabindex="-1" aria-label=label prop:checked=move || fleet.chosen.with(|chosen| chosen.contains(&asked)) on:change=move |_| fleet.chosen.update(|chosen| chosen.toggle(&named)) />
        </span>
        <span role="cell" data-col="id"><DeviceLink id=row.device_id /></span>
        <span role="cell" data-col="state" class="row">
            {(!gone).then(|| view! { <Badge look=state.look() word=state.word().to_owned() /> })}
            {row.held.then(|| view! { <span title="Shut out by a person or a back end"><Icon name="lock" /><span class="sr">"shut out"</span></span> })}
        </span>
        <span role="cell" data-col="since" class="dim">{if since.is_some() { view! { <Since since /> }.into_any() } else { NOTHING.into_any() }}</span>
        <span role="cell" data-col="why" class=if quiet { "table__clip dim" } else { "table__clip" }>{why}</span>
        <span role="cell" data-col="auth" class="dim">{authentication(&row.authentication).to_owned()}</span>
        <span role="cell" data-col="seen" class="dim">{if row.last_seen.is_some() { view! { <Since since=row.last_seen ago=true /> }.into_any() } else { NOTHING.into_any() }}</span>
        <span role="cell" data-col="queue" class=if row.queue == 0 { "num dim" } else { "num" }>{number(row.queue)}</span>
    }
    .into_any()
}
