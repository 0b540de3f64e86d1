//! Times: short on the screen, absolute in the title.

use leptos::prelude::*;

use crate::model::format::elapsed;
use crate::model::time::Moment;

/// The present, to the second, for everything that counts: one timer for all of the page.
#[derive(Clone, Copy)]
pub struct Clock(pub RwSignal<Moment>);

/// The present.
pub fn use_now() -> Signal<Moment> {
    let Clock(now) = expect_context();
    now.into()
}

/// `14:06:12`.
#[component]
pub fn At(
    /// When.
    time: Moment,
    /// With milliseconds where there is room.
    #[prop(optional)]
    fine: bool,
) -> impl IntoView {
    view! {
        <time datetime=time.iso() title=time.absolute()>
            {time.clock()}{fine.then(|| view! { <span class="wide-only">{time.fraction()}</span> })}
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
