//! Times: short on the screen, absolute in the title.

use std::time::Duration;

use leptos::prelude::*;

use crate::browser::now;
use crate::model::format::elapsed;
use crate::model::time::Moment;

/// The present, to the second, for everything that counts: one timer for all of the page.
#[derive(Clone, Copy)]
pub struct Clock {
    now: RwSignal<Moment>,
    /// When this day began: what says days by it has nothing to do each second.
    today: Memo<Moment>,
}

impl Clock {
    /// For as long as the page is there.
    pub fn begin() -> Self {
        let present = RwSignal::new(now());
        set_interval(move || present.set(now()), Duration::from_secs(1));
        Self { now: present, today: Memo::new(move |_| present.get().midnight()) }
    }
}

/// The present.
pub fn use_now() -> Signal<Moment> {
    expect_context::<Clock>().now.into()
}

/// `14:06:12`, or `22 Nov 14:06`.
#[component]
pub fn At(
    /// When.
    time: Moment,
    /// With milliseconds where there is room.
    #[prop(optional)]
    fine: bool,
    /// Its day stands above it.
    #[prop(optional)]
    below_day: bool,
) -> impl IntoView {
    let Clock { today, .. } = expect_context();
    let clock = move || if below_day { time.clock() } else { time.clock_at(today.get(), fine) };
    view! {
        <time datetime=time.iso() title=time.absolute()>
            {move || clock()}{fine.then(|| view! { <span class="wide-only">{time.fraction()}</span> })}
        </time>
    }
    .into_any()
}

/// `3 m 41 s`, counted on.
#[component]
pub fn For(
    /// Since when.
    #[prop(into)]
    since: Signal<Option<Moment>>,
    /// Behind it.
    #[prop(optional)]
    ago: bool,
) -> impl IntoView {
    let now = use_now();
    let ending = if ago { " ago" } else { "" };
    view! {
        <time datetime=move || since.get().map(Moment::iso) title=move || since.get().map(Moment::absolute)>
            {move || since.get().map(|since| format!("{}{ending}", elapsed(since.millis_until(now.get()))))}
        </time>
    }
    .into_any()
}
