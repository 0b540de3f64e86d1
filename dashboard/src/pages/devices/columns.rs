//! Which columns the list has: a chip, and below the filters a box to tick for each.

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;

use crate::browser::Place;
use crate::model::columns::{COLUMNS, Columns};
use crate::parts::sign::Icon;

const CHIP: &str = "columns-chip";
const MENU: &str = "columns-menu";

/// Opens the menu, and closes it.
#[component]
pub fn ColumnsChip(columns: Memo<Columns>, open: RwSignal<bool>) -> impl IntoView {
    let is_unusual = move || (columns.get() != Columns::default()).to_string();
    view! {
        <button class="chip wide-only" type="button" id=CHIP aria-controls=MENU aria-expanded=move || open.get().to_string() aria-pressed=is_unusual
            on:click=move |_| open.update(|open| *open = !*open) on:keydown=move |event| closed(&event, open)>
            <Icon name="columns" />"Columns"
        </button>
    }
    .into_any()
}

/// What can be ticked.
#[component]
pub fn ColumnsMenu(columns: Memo<Columns>, open: RwSignal<bool>) -> impl IntoView {
    let place: Place = expect_context();
    let turn = move |index: usize| {
        let text = columns.get_untracked().toggled(index).text();
        place.filter(&place.query.get_untracked().with("columns", text));
    };
    let choice = move |index: usize, word: &'static str| {
        view! {
            <label class="row">
                <input class="check" type="checkbox" prop:checked=move || columns.get().shows(index) on:change=move |_| turn(index) />{word}
            </label>
        }
    };
    let choices = COLUMNS.iter().enumerate().map(|(index, column)| choice(index, column.word)).collect_view();
    view! { <div class="menu menu--form wide-only" id=MENU role="group" aria-label="Columns" on:keydown=move |event| closed(&event, open)>{choices}</div> }.into_any()
}

/// By Escape, back to where it was opened.
fn closed(event: &leptos::ev::KeyboardEvent, open: RwSignal<bool>) {
    if event.key() == "Escape" && open.get_untracked() {
        event.prevent_default();
        open.set(false);
        if let Some(chip) = document().get_element_by_id(CHIP).and_then(|chip| chip.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = chip.focus();
        }
    }
}
