//! What can be pressed and chosen.

use leptos::prelude::*;

use crate::browser::copy;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;

/// One of several, all to be seen.
#[component]
pub fn Seg(
    /// What is chosen among.
    label: &'static str,
    /// The word of each.
    choices: Vec<&'static str>,
    /// Which it is.
    #[prop(into)]
    chosen: Signal<usize>,
    /// Another one.
    choose: Callback<usize>,
) -> impl IntoView {
    let items = choices.into_iter().enumerate().map(|(choice, word)| {
        view! {
            <button class="seg__item" type="button" aria-pressed=move || (chosen.get() == choice).to_string() on:click=move |_| choose.run(choice)>
                {word}
            </button>
        }
    });
    view! { <div class="seg" role="group" aria-label=label>{items.collect_view()}</div> }.into_any()
}

/// A filter that is on or off.
#[component]
pub fn Chip(
    /// Whether it is on.
    #[prop(into)]
    pressed: Signal<bool>,
    /// Turns it.
    press: Callback<()>,
    /// What it is.
    children: Children,
) -> impl IntoView {
    view! {
        <button class="chip" type="button" aria-pressed=move || pressed.get().to_string() on:click=move |_| press.run(())>{children()}</button>
    }
    .into_any()
}

/// Puts a text into the clipboard.
#[component]
pub fn Copy(
    /// The text.
    #[prop(into)]
    text: Signal<String>,
    /// What is copied, for those who do not see the sign.
    #[prop(into)]
    label: String,
    /// Beside the sign, where there is room for words.
    #[prop(optional)]
    word: &'static str,
) -> impl IntoView {
    let toasts: Toasts = expect_context();
    let done = RwSignal::new(false);
    let press = move |_| {
        leptos::task::spawn_local(async move {
            if copy(text.get_untracked()).await {
                done.set(true);
                set_timeout(move || _ = done.try_set(false), std::time::Duration::from_secs(2));
            } else {
                toasts.failed("Not copied", "The browser does not let this page use the clipboard.");
            }
        });
    };
    let icon = Signal::derive(move || if done.get() { "check" } else { "copy" });
    view! {
        <button class="btn btn--quiet btn--small" class:btn--icon=word.is_empty() type="button" aria-label=label on:click=press><Icon name=icon />{word}</button>
        <span class="sr" role="status">{move || done.get().then_some("Copied")}</span>
    }
    .into_any()
}
