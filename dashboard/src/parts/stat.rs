//! A number of the overview: what it is, the number, how it went, and a note.

use leptos::prelude::*;

/// A number that leads somewhere.
#[component]
pub fn Stat(
    /// What it is.
    label: &'static str,
    /// The number.
    #[prop(into)]
    value: Signal<String>,
    /// Of what.
    #[prop(into)]
    unit: Signal<String>,
    /// Where more of it is.
    href: String,
    /// In full.
    #[prop(optional, into)]
    title: Option<Signal<String>>,
    /// How it went.
    chart: ViewFn,
    /// Below.
    note: ViewFn,
) -> impl IntoView {
    view! {
        <a class="stat" href=href>
            <span class="stat__label">{label}</span>
            <span class="stat__value" title=move || title.map(|title| title.get())>
                <span>{move || value.get()}</span><span class="stat__unit">{move || unit.get()}</span>
            </span>
            {chart.run()}
            <span class="stat__note">{move || note.run()}</span>
        </a>
    }
    .into_any()
}
