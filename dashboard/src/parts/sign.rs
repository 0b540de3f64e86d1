//! Icons for actions, glyphs and badges for states.

use leptos::prelude::*;

use crate::model::state::{Look, Tone};

/// What an action looks like.
#[component]
pub fn Icon(
    /// The symbol, without `i-`.
    #[prop(into)]
    name: Signal<&'static str>,
) -> impl IntoView {
    view! { <svg class="icon" aria-hidden="true"><use href=move || format!("#i-{}", name.get())></use></svg> }.into_any()
}

/// What a state looks like.
#[component]
pub fn Glyph(
    /// Which state.
    #[prop(into)]
    look: Signal<Look>,
) -> impl IntoView {
    view! {
        <svg class="glyph" data-tone=move || look.get().tone.name() viewBox="0 0 12 12" aria-hidden="true">
            <use href=move || format!("#g-{}", look.get().glyph)></use>
        </svg>
    }
    .into_any()
}

/// A state: glyph, colour and word.
#[component]
pub fn Badge(
    /// Glyph and colour.
    #[prop(into)]
    look: Signal<Look>,
    /// The word.
    #[prop(into)]
    word: Signal<String>,
    /// Without a plate.
    #[prop(optional)]
    plain: bool,
) -> impl IntoView {
    view! {
        <span class=if plain { "badge badge--plain" } else { "badge" } data-tone=move || look.get().tone.name()>
            <Glyph look />{move || word.get()}
        </span>
    }
    .into_any()
}

/// A colour beside the word for it.
#[component]
pub fn Swatch(
    /// Which.
    tone: Tone,
) -> impl IntoView {
    view! { <span class="swatch" data-tone=tone.name()></span> }
}
