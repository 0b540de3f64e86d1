//! Panels: a heading, what it is about, and a foot.

use leptos::prelude::*;

/// A panel with a heading. What stands beside the heading is `aside`.
#[component]
pub fn Panel(
    /// The heading.
    #[prop(into)]
    heading: Signal<String>,
    /// In which columns it stands, and how.
    #[prop(optional)]
    class: &'static str,
    /// A line below the heading.
    #[prop(optional)]
    ruled: bool,
    /// Beside the heading.
    #[prop(optional, into)]
    aside: ViewFn,
    /// Below everything.
    #[prop(optional, into)]
    foot: Option<ViewFn>,
    /// What it is about.
    children: Children,
) -> impl IntoView {
    view! {
        <section class=format!("panel {class}") aria-label=move || heading.get()>
            <div class=if ruled { "panel__head panel__head--ruled" } else { "panel__head" }><h2>{move || heading.get()}</h2>{move || aside.run()}</div>
            {children()}
            {foot.map(|foot| view! { <div class="panel__foot">{move || foot.run()}</div> })}
        </section>
    }
    .into_any()
}

/// A value and what it is, in a list of them.
#[component]
pub fn Fact(
    /// What it is.
    name: &'static str,
    /// The value.
    children: Children,
) -> impl IntoView {
    view! { <div class="facts__item"><dt>{name}</dt><dd>{children()}</dd></div> }.into_any()
}
