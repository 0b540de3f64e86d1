//! The fleet as a grid: a square for a device, or for several, a colour and a glyph for how they are, paler the longer they are away.

use leptos::prelude::*;
use leptos::svg;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;

use crate::api::get;
use crate::browser::{now, width_of};
use crate::model::fleet_grid::{Grid, lay_out, runs};
use crate::model::format::{NOTHING, number, px};
use crate::model::hub::FleetPage;
use crate::model::state::DeviceState;
use crate::model::time::Moment;
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::routes::Route;
use crate::world::World;

/// How often those that are away are counted anew: nobody announces that ten minutes have become eleven.
const COUNT_MS: u64 = 15_000;

/// The panel.
#[component]
pub fn Fleet() -> impl IntoView {
    let world: World = expect_context();
    let all = runs();
    let counts = RwSignal::new(vec![None::<u64>; all.len()]);
    let asked = StoredValue::new((Moment(0), 0_u64));
    // The link counts by state; how long ago only the index knows, and only when something has moved.
    let asking = all.clone();
    Effect::new(move |_| {
        let Some(fleet) = world.fleet.get() else { return };
        let plain = |index: usize| asking.get(index).filter(|run| run.away == (None, None)).map(|run| fleet.count(run.state));
        counts.update(|counts| counts.iter_mut().enumerate().for_each(|(index, count)| *count = plain(index).or(*count)));
        let (at, revision) = asked.get_value();
        let age = at.millis_until(now());
        if age < COUNT_MS / 3 || (age < COUNT_MS && revision == fleet.revision) {
            return;
        }
        asked.set_value((now(), fleet.revision));
        for (index, run) in asking.iter().enumerate().filter(|(_, run)| run.away != (None, None)) {
            let question = format!("/devices{}", run.question(now()).text());
            spawn_local(async move {
                if let Ok(page) = get::<FleetPage>(&question).await {
                    let _ = counts.try_update(|counts| counts.get_mut(index).map(|count| *count = Some(page.total.count().0)));
                }
            });
        }
    });
    let chart = NodeRef::<svg::Svg>::new();
    let width = width_of(move || Some(chart.get()?.unchecked_into()));
    let grid = Memo::new(move |_| {
        counts.with(|counts| lay_out(&counts.iter().map(|count| count.unwrap_or_default()).collect::<Vec<_>>(), width.get()))
    });
    let drawn = all.clone();
    let squares = move || {
        let square = |(path, run): (String, &crate::model::fleet_grid::Run)| {
            let class = format!("fleet__cells fleet__cells--{}", run.shade);
            view! { <path class=class data-tone=run.state.look().tone.name() data-state=run.state.name() d=path></path> }
        };
        grid.with(|grid| grid.paths.clone()).into_iter().zip(&drawn).map(square).collect_view()
    };
    let label = move || {
        let said = world.fleet.with(|fleet| {
            let fleet = fleet.as_ref()?;
            Some(DeviceState::ALL.map(|state| format!("{} {}", number(fleet.count(state)), state.word().to_ascii_lowercase())).join(", "))
        });
        format!("The fleet: {}", said.unwrap_or_default())
    };
    let legend = all.into_iter().enumerate().map(move |(index, run)| {
        let href = format!("{}{}", Route::Devices.path(), run.list().text());
        let counted = move || counts.with(|counts| counts.get(index).copied().flatten().map_or_else(|| NOTHING.to_owned(), number));
        // How long ago nobody was heard of need not be said.
        let gone = move || run.away.0.is_some() && counts.with(|counts| counts.get(index).copied().flatten() == Some(0));
        let (look, word, shade) = (run.state.look(), run.word(), run.shade);
        view! {
            <a class="fleet__run" href=href hidden=move || gone()>
                <svg class="fleet__key" width="9" height="9" aria-hidden="true"><path class=format!("fleet__cells fleet__cells--{shade}") data-tone=look.tone.name() data-state=run.state.name() d="M0 0h9v9h-9z"></path></svg>
                <Glyph look /><span>{word}</span><strong class="push">{move || counted()}</strong>
            </a>
        }
    });
    let aside = move || {
        let each = grid.with(|grid: &Grid| grid.each);
        view! { <span class="panel__note">{if each == 1 { "a square is a device".to_owned() } else { format!("a square is {} devices", number(each)) }}</span> }
    };
    view! {
        <Panel heading="The fleet".to_owned() aside>
            <div class="panel__body fleet">
                <svg class="chart fleet__grid" role="img" aria-label=move || label() height=move || grid.with(|grid| px(grid.height_px.max(11.0))) node_ref=chart>{move || squares()}</svg>
                <div class="fleet__legend">{legend.collect_view()}</div>
            </div>
        </Panel>
    }
    .into_any()
}
