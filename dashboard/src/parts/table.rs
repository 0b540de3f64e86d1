//! A table of any length, of which only the rows in view are drawn.

use std::ops::Range;

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;

use crate::browser::size_of;
use crate::model::format::px;
use crate::model::virtual_table::Window;
use crate::parts::each::each;

/// A row's height before any is drawn: `--row` of the style, 48 under a coarse pointer.
const ROW_PX: f64 = 38.0;
const COARSE_ROW_PX: f64 = 48.0;
/// A phone's rows have two lines.
const PHONE_ROW_PX: f64 = 68.0;

/// The rows of a table, under a head that stays.
#[component]
pub fn VirtualRows(
    /// How many there are.
    #[prop(into)]
    rows: Signal<usize>,
    /// What it is a table of.
    label: &'static str,
    /// Which are drawn, whenever that changes.
    looked_at: Callback<Range<usize>>,
    /// Which are to be seen, for people: from 1.
    seen: WriteSignal<(usize, usize)>,
    /// How much is scrolled away, in pixels; as it was when somebody was here before.
    scrolled: RwSignal<f64>,
    /// The row that the keyboard is on.
    chosen: RwSignal<Option<usize>>,
    /// Somebody wants to see more of this row.
    open: Callback<usize>,
    /// Somebody chooses this row, or lets it go.
    select: Callback<usize>,
    /// Whether it is chosen.
    selected: Callback<usize, bool>,
    /// The head.
    #[prop(into)]
    head: ViewFn,
    /// A row.
    row: Callback<usize, AnyView>,
) -> impl IntoView {
    let view = NodeRef::<html::Div>::new();
    let size = size_of(move || Some(view.get()?.unchecked_into()));
    let before = scrolled.get_untracked();
    // Once there is something to scroll.
    Effect::new(move |was_there: Option<bool>| {
        let is_there = rows.get() > 0;
        if is_there && was_there == Some(false) && before > 0.0 {
            request_animation_frame(move || {
                view.try_get_untracked().flatten().into_iter().for_each(|view| view.set_scroll_top(before as i32))
            });
        }
        is_there || was_there == Some(true)
    });
    let matches = |query: &str| window().match_media(query).ok().flatten().is_some_and(|media| media.matches());
    let row_px = Memo::new(move |_| {
        size.track();
        if matches("(max-width: 47.99rem)") {
            PHONE_ROW_PX
        } else if matches("(pointer: coarse)") {
            COARSE_ROW_PX
        } else {
            ROW_PX
        }
    });
    let frame = Memo::new(move |_| {
        size.track();
        // The head stays above the rows that scroll below it.
        let head_of =
            |view: &web_sys::Element| view.query_selector(".table__row--head").ok().flatten().map_or(0, |head| head.client_height());
        let view_px = view.get().map_or(600.0, |view| f64::from(view.client_height() - head_of(&view)).max(200.0));
        Window { rows: rows.get(), row_px: row_px.get(), view_px }
    });
    let drawn = Memo::new(move |_| frame.get().rows_at(scrolled.get()));
    Effect::new(move |_| {
        looked_at.run(drawn.get().0);
        seen.set(frame.get().shown_at(scrolled.get()));
    });
    let above = move || px(drawn.get().1) + "px";
    let below = move || {
        let (range, top) = drawn.get();
        let left = frame.get().height_px() - top - range.len() as f64 * row_px.get();
        px(left.max(0.0)) + "px"
    };
    let choose = move |index: usize| {
        chosen.set(Some(index));
        if let (Some(to), Some(view)) = (frame.get_untracked().scroll_to(index, scrolled.get_untracked()), view.get_untracked()) {
            view.set_scroll_top(to as i32);
        }
    };
    let pressed = move |event: leptos::ev::KeyboardEvent| {
        // A link or a button in a row has a meaning of its own for these.
        if matches!(event.key().as_str(), "Enter" | "x") && event.target() != event.current_target() {
            return;
        }
        let last = rows.get_untracked().saturating_sub(1);
        let at = chosen.get_untracked();
        match event.key().as_str() {
            "j" | "ArrowDown" => choose(at.map_or(0, |at| (at + 1).min(last))),
            "k" | "ArrowUp" => choose(at.map_or(0, |at| at.saturating_sub(1))),
            "Home" => choose(0),
            "End" => choose(last),
            "Enter" => at.into_iter().for_each(|at| open.run(at)),
            "x" => at.into_iter().for_each(|at| select.run(at)),
            "Escape" => chosen.set(None),
            _ => return,
        }
        event.prevent_default();
    };
    let row_id = |index: usize| format!("row-{index}");
    let line = move |index: usize| {
        let height = move || px(row_px.get()) + "px";
        view! {
            <div class="table__row" role="row" id=row_id(index) aria-rowindex=index + 2 aria-selected=move || selected.run(index).to_string() aria-current=move || (chosen.get() == Some(index)).then_some("true") style:height=move || height()>
                {row.run(index)}
            </div>
        }
    };
    view! {
        <div class="table__view" tabindex="0" role="grid" aria-label=label aria-multiselectable="true" aria-rowcount=move || rows.get() + 1
            aria-activedescendant=move || chosen.get().map(row_id) node_ref=view on:keydown=pressed on:blur=move |_| chosen.set(None)
            on:scroll=move |_| if let Some(view) = view.get_untracked() { scrolled.set(f64::from(view.scroll_top())) }
        >
            {head.run()}
            <div role="none" style:height=move || above()></div>
            {each(move || drawn.get().0.collect(), usize::to_string, line)}
            <div role="none" style:height=move || below()></div>
        </div>
    }
    .into_any()
}
