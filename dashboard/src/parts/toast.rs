//! What has just been done, at the edge of the screen for a while.

use std::time::Duration;

use leptos::prelude::*;

use crate::model::payload::harmless;
use crate::model::state::{ALERT, Look};
use crate::parts::each::each;
use crate::parts::sign::{Glyph, Icon};

/// How long one stays.
const STAYS: Duration = Duration::from_secs(7);

/// How many there are at once.
const AT_ONCE: usize = 4;

/// All that are shown.
#[derive(Clone, Copy)]
pub struct Toasts {
    shown: RwSignal<Vec<Toast>>,
    /// How many there have been.
    numbered: StoredValue<u32>,
}

#[derive(Clone, PartialEq)]
struct Toast {
    number: u32,
    look: Look,
    title: String,
    more: String,
}

impl Toasts {
    /// None yet.
    pub fn new() -> Self {
        Self { shown: RwSignal::new(Vec::new()), numbered: StoredValue::new(0) }
    }

    /// Says what was done.
    pub fn say(self, look: Look, title: impl Into<String>, more: impl Into<String>) {
        let (title, more) = (harmless(&title.into()), harmless(&more.into()));
        self.numbered.update_value(|numbered| *numbered += 1);
        let number = self.numbered.get_value();
        self.shown.update(|toasts| {
            toasts.push(Toast { number, look, title, more });
            if toasts.len() > AT_ONCE {
                toasts.remove(0);
            }
        });
        set_timeout(move || self.end(number), STAYS);
    }

    /// Says what could not be done.
    pub fn failed(self, title: impl Into<String>, more: impl Into<String>) {
        self.say(ALERT, title, more);
    }

    fn end(self, number: u32) {
        self.shown.update(|toasts| toasts.retain(|toast| toast.number != number));
    }
}

/// Where they are.
#[component]
pub fn ToastList() -> impl IntoView {
    let toasts: Toasts = expect_context();
    let toast = move |toast: Toast| {
        view! {
            <div class="toast" data-tone=toast.look.tone.name()>
                <Glyph look=toast.look />
                <div><p class="toast__title">{toast.title}</p><p class="toast__more">{toast.more}</p></div>
                <button class="btn btn--quiet btn--icon btn--small" type="button" aria-label="Dismiss" on:click=move |_| toasts.end(toast.number)>
                    <Icon name="close" />
                </button>
            </div>
        }
    };
    view! {
        <div class="toasts" role="status" aria-live="polite">
            {each(move || toasts.shown.get(), |toast| toast.number.to_string(), toast)}
        </div>
    }
    .into_any()
}
