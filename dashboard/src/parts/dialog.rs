//! A dialog of the browser's own: it keeps the focus, and Escape closes it.

use leptos::html;
use leptos::prelude::*;

/// Open while `open` is. Closing it in any way says so there.
#[component]
pub fn Dialog(
    /// Whether it is open.
    open: RwSignal<bool>,
    /// What it asks, or shows.
    heading: &'static str,
    /// All below the heading, made anew each time it opens.
    #[prop(into)]
    content: ViewFn,
    /// What can be done. Without it, it can be closed.
    #[prop(optional, into)]
    foot: Option<ViewFn>,
    /// Whether something is under way in it: then Escape does not hide it.
    #[prop(optional, into)]
    busy: Signal<bool>,
) -> impl IntoView {
    let dialog = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = dialog.get() else { return };
        match (open.get(), dialog.open()) {
            (true, false) => drop(dialog.show_modal()),
            (false, true) => dialog.close(),
            _ => {}
        }
    });
    let cancel = move |event: leptos::ev::Event| {
        if busy.get_untracked() {
            event.prevent_default();
        }
    };
    // A browser heeds a second Escape whatever the page says.
    let closed = move |_| match dialog.get_untracked().filter(|_| busy.get_untracked()) {
        Some(dialog) => drop(dialog.show_modal()),
        None => open.set(false),
    };
    let foot = foot.unwrap_or_else(|| {
        ViewFn::from(move || view! { <button class="btn" type="button" on:click=move |_| open.set(false)>"Close"</button> })
    });
    view! {
        <dialog class="dialog" aria-label=heading node_ref=dialog on:cancel=cancel on:close=closed>
            {move || open.get().then(|| view! { <div class="dialog__body"><h2>{heading}</h2>{content.run()}</div> })}
            {move || open.get().then(|| view! { <div class="dialog__foot">{foot.run()}</div> })}
        </dialog>
    }
    .into_any()
}
