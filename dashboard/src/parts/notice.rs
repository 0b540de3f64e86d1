//! What there is to say instead of data: that there is none yet, that it can't be had, that it comes.

use leptos::prelude::*;

use crate::model::payload::harmless;
use crate::model::state::Look;
use crate::parts::sign::Glyph;

/// Something to know, in the place that it is about.
#[component]
pub fn Notice(
    /// What kind of thing.
    look: Look,
    /// In a sentence.
    #[prop(into)]
    text: Signal<String>,
    /// More of it.
    #[prop(optional, into)]
    more: Option<Signal<String>>,
) -> impl IntoView {
    view! {
        <div class="notice" data-tone=look.tone.name()>
            <Glyph look />
            <div><p>{move || harmless(&text.get())}</p>{more.map(|more| view! { <p class="notice__more">{move || harmless(&more.get())}</p> })}</div>
        </div>
    }
    .into_any()
}

/// There is nothing, and what to do about it.
#[component]
pub fn Empty(
    /// What there is nothing of.
    #[prop(into)]
    heading: String,
    /// What to do.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="empty">
            <svg class="empty__art icon" viewBox="0 0 28 12" aria-hidden="true"><use href="#rope-wait"></use></svg>
            <p class="empty__title">{heading}</p>
            {children()}
        </div>
    }
    .into_any()
}

/// In the place of rows that are not there: that there are none, once that is known.
#[component]
pub fn Nothing(
    /// Whether it is.
    #[prop(into)]
    known: Signal<bool>,
    /// Whether it can't be: why is said elsewhere.
    #[prop(into)]
    failed: Signal<bool>,
    /// What there is to say then.
    children: ChildrenFn,
) -> impl IntoView {
    let shown = move || match (known.get(), failed.get()) {
        (true, _) => children().into_any(),
        (false, true) => ().into_any(),
        (false, false) => view! { <div class="panel__body panel__body--first"><Skeleton /></div> }.into_any(),
    };
    view! { {shown} }.into_any()
}

/// Something comes within a moment.
#[component]
pub fn Skeleton() -> impl IntoView {
    view! { <span class="skeleton" aria-hidden="true"></span><span class="skeleton skeleton--short" aria-hidden="true"></span><span class="sr">"Loading"</span> }
}
