//! The search: at the top of every page, and in a dialog of its own where there is no room for it.

use leptos::html;
use leptos::prelude::*;

use crate::browser::Place;
use crate::model::search::{Choice, choices};
use crate::parts::dialog::Dialog;
use crate::parts::sign::Icon;

/// Where an id is typed, and what it may mean is offered.
#[component]
pub fn SearchField(
    /// Its own, for those who hear the page.
    name: &'static str,
    /// Whether it takes the keyboard at once.
    autofocus: bool,
    /// It has led somewhere.
    done: Callback<()>,
) -> impl IntoView {
    let place: Place = expect_context();
    let field = NodeRef::<html::Input>::new();
    let (text, chosen, open) = (RwSignal::new(String::new()), RwSignal::new(0_usize), RwSignal::new(false));
    Effect::new(move |_| {
        if let Some(field) = field.get().filter(|_| autofocus) {
            let _ = field.focus();
        }
    });
    let end = move || {
        text.set(String::new());
        open.set(false);
        if let Some(field) = field.get_untracked() {
            let _ = field.blur();
        }
        done.run(());
    };
    let typed = move |event: leptos::ev::KeyboardEvent| {
        let all = choices(&text.get_untracked());
        let step = |by: usize| {
            event.prevent_default();
            chosen.update(|chosen| *chosen = (*chosen + by) % all.len().max(1));
        };
        match event.key().as_str() {
            "ArrowDown" => step(1),
            "ArrowUp" => step(all.len().saturating_sub(1)),
            "Enter" => {
                if let Some(choice) = all.get(chosen.get_untracked()) {
                    place.go(&choice.address);
                    end();
                }
            }
            "Escape" => end(),
            _ => {}
        }
    };
    let input = move |event| {
        text.set(event_target_value(&event));
        chosen.set(0);
        open.set(true);
    };
    let id = move |index: usize| format!("{name}-{index}");
    let option = move |(index, choice): (usize, Choice)| {
        view! {
            <a class="search__choice" role="option" tabindex="-1" id=id(index) href=choice.address aria-selected=move || (chosen.get() == index).to_string()
                on:click=move |_| end()>{choice.words}</a>
        }
    };
    let is_shown = move || open.get() && text.with(|text| !text.trim().is_empty());
    // A press does not take the keyboard away from the field: it would close the list before the click comes.
    let list = move || {
        is_shown().then(|| view! {
            <div class="search__choices" role="listbox" id=name aria-label="What it may be" on:mousedown=move |event| event.prevent_default()>
                {text.with(|text| choices(text)).into_iter().enumerate().map(option).collect_view()}
            </div>
        })
    };
    view! {
        <div class="search">
            <Icon name="search" />
            <input class="input" type="search" role="combobox" aria-label="Go to a device or command" placeholder="Device or command id" autocomplete="off" spellcheck="false" data-search node_ref=field
                aria-autocomplete="list" aria-controls=name aria-expanded=move || is_shown().to_string()
                aria-activedescendant=move || is_shown().then(|| id(chosen.get()))
                prop:value=text on:input=input on:keydown=typed on:focus=move |_| open.set(true) on:blur=move |_| open.set(false) />
            <kbd class="kbd">"/"</kbd>
            {move || list()}
        </div>
    }
    .into_any()
}

/// The search of a phone, and of whoever presses the key there.
#[component]
pub fn Search(
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let field = move || view! { <SearchField name="search-own" autofocus=true done=Callback::new(move |()| open.set(false)) /> };
    view! { <Dialog open heading="Go to a device or command" content=field /> }.into_any()
}
