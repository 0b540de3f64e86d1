//! All devices: found by the beginning of their ids, filtered, sorted, and as many as there are.

use std::ops::Range;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::Place;
use crate::model::device_filter::DeviceFilter;
use crate::model::format::{NOTHING, count, number};
use crate::model::hub::{FleetPage, FleetRow};
use crate::model::state::{ALERT, DeviceState};
use crate::model::virtual_table::{PAGE, Pages};
use crate::model::words::{authentication, disconnect_reason, sentence};
use crate::parts::control::Chip;
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Notice};
use crate::parts::sign::{Badge, Glyph, Icon};
use crate::parts::table::VirtualRows;
use crate::parts::when::For as Since;
use crate::routes::Route;
use crate::world::World;

/// How long somebody types before the hub is asked.
const TYPED: Duration = Duration::from_millis(180);

/// How often rows in view are asked for anew.
const FRESH: Duration = Duration::from_secs(2);

/// The columns that can be sorted by: as the style names them, by what, in words, and whether they are numbers.
const COLUMNS: [(&str, &str, &str, bool); 6] = [
    ("id", "id", "Device", false),
    ("state", "state", "State", false),
    ("since", "since", "For", false),
    ("why", "reason", "Last reason", false),
    ("auth", "", "Auth", false),
    ("queue", "queue", "Queue", true),
];

/// The rows that are here.
#[derive(Clone, Copy)]
struct Fleet {
    pages: RwSignal<Pages<FleetRow>>,
    exact: RwSignal<bool>,
    /// Which question the rows answer: what comes late to another one is thrown away.
    question: RwSignal<u32>,
    wanted: RwSignal<Range<usize>>,
    asking: RwSignal<bool>,
    failure: RwSignal<Option<Failure>>,
}

/// The page.
#[component]
pub fn Devices() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let filter = Memo::new(move |_| place.query.with(DeviceFilter::of));
    let fleet = Fleet {
        pages: RwSignal::new(Pages::default()),
        exact: RwSignal::new(true),
        question: RwSignal::new(0),
        wanted: RwSignal::new(0..1),
        asking: RwSignal::new(false),
        failure: RwSignal::new(None),
    };
    Effect::new(move |_| {
        filter.track();
        fleet.question.update(|question| *question += 1);
        fleet.pages.set(Pages::default());
        fleet.asking.set(false);
        fleet.fill(filter);
    });
    let fresh = set_interval_with_handle(move || fleet.refresh(filter), FRESH).ok();
    on_cleanup(move || fresh.into_iter().for_each(|timer| timer.clear()));
    let sub = move || {
        world
            .fleet
            .with(|fleet| fleet.as_ref().map(|fleet| format!("{} registered · {} connected", number(fleet.total), number(fleet.connected))))
    };
    view! {
        <div class="page__head"><div class="page__title"><h1>"Devices"</h1><p class="page__sub">{sub}</p></div></div>
        <section class="panel" aria-label="Devices">
            <Filters filter />
            {move || fleet.failure.get().map(|failure| view! {
                <div class="panel__body panel__body--first"><Notice look=ALERT text="The list can't be shown".to_owned() more=failure.text /></div>
            })}
            <Table fleet filter />
        </section>
    }
    .into_any()
}

impl Fleet {
    /// Asks for the next page that is missing of what is looked at.
    fn fill(self, filter: Memo<DeviceFilter>) {
        let Some(wanted) = self.pages.with_untracked(|pages| pages.wanted(&self.wanted.get_untracked())) else { return };
        if !self.asking.get_untracked() {
            self.ask(filter, wanted.page, wanted.after, true);
        }
    }

    /// Asks once more for the page in view: values change in place.
    fn refresh(self, filter: Memo<DeviceFilter>) {
        let page = self.wanted.get_untracked().start / PAGE;
        let hidden = document().hidden();
        if hidden
            || self.asking.get_untracked()
            || self.failure.with_untracked(|failure| failure.as_ref().is_some_and(|failure| failure.status == 404))
        {
            return;
        }
        let key = self.pages.with_untracked(|pages| pages.key(page));
        if let Some(after) = key {
            self.ask(filter, page, after, false);
        }
    }

    fn ask(self, filter: Memo<DeviceFilter>, page: usize, after: Option<String>, more: bool) {
        self.asking.set(true);
        let question = self.question.get_untracked();
        let query =
            filter.get_untracked().question(crate::browser::now()).with("limit", PAGE.to_string()).with("after", after.unwrap_or_default());
        spawn_local(async move {
            let answer = get::<FleetPage>(&format!("/devices{}", query.text())).await;
            if self.question.try_get_untracked() != Some(question) {
                return;
            }
            self.asking.set(false);
            match answer {
                Ok(found) => {
                    let (total, exact) = found.total.count();
                    self.exact.set(exact);
                    self.failure.set(None);
                    self.pages.update(|pages| pages.put(page, found.devices, found.next, total as usize));
                    if more {
                        self.fill(filter);
                    }
                }
                Err(failure) => self.failure.set(Some(failure)),
            }
        });
    }
}

#[component]
fn Filters(filter: Memo<DeviceFilter>) -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let typed = RwSignal::new(filter.get_untracked().prefix);
    let timer = StoredValue::new(None::<TimeoutHandle>);
    let input = move |event| {
        typed.set(event_target_value(&event));
        if let Some(timer) = timer.get_value() {
            timer.clear();
        }
        let later = move || place.filter(&DeviceFilter { prefix: typed.get_untracked(), ..filter.get_untracked() }.query());
        timer.set_value(set_timeout_with_handle(later, TYPED).ok());
    };
    let known = move |state: DeviceState| world.fleet.with(|fleet| fleet.as_ref().map(|fleet| fleet.count(state)));
    let chip = move |state: DeviceState| {
        let press = Callback::new(move |()| place.filter(&filter.get_untracked().toggled(state).query()));
        view! {
            <Chip pressed=Signal::derive(move || filter.with(|filter| filter.states.contains(&state))) press>
                <Glyph look=state.look() />{state.word()}<span class="chip__n">{move || known(state).map(number)}</span>
            </Chip>
        }
    };
    let held = Callback::new(move |()| {
        let now = filter.get_untracked();
        place.filter(&DeviceFilter { held: !now.held, ..now }.query());
    });
    let clear = move |_| {
        typed.set(String::new());
        let now = filter.get_untracked();
        place.filter(&DeviceFilter { sort: now.sort, descending: now.descending, ..DeviceFilter::default() }.query());
    };
    view! {
        <div class="filters">
            <label class="search">
                <span class="sr">"Search by id prefix"</span><Icon name="search" />
                <input class="input input--mono" type="search" placeholder="id starts with…" autocomplete="off" spellcheck="false" prop:value=move || typed.get() on:input=input />
            </label>
            <div class="chips" role="group" aria-label="State">
                {DeviceState::ALL.map(chip)}
                <Chip pressed=Signal::derive(move || filter.with(|filter| filter.held)) press=held><Icon name="lock" />"Shut out"</Chip>
                {move || (!filter.with(DeviceFilter::is_all)).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=clear><Icon name="close" />"Clear"</button> })}
            </div>
        </div>
    }
    .into_any()
}

#[component]
fn Table(fleet: Fleet, filter: Memo<DeviceFilter>) -> impl IntoView {
    let place: Place = expect_context();
    let rows = Memo::new(move |_| fleet.pages.with(Pages::total));
    let (seen, set_seen) = signal((0, 0));
    let chosen = RwSignal::new(None);
    let looked_at = Callback::new(move |range: Range<usize>| {
        fleet.wanted.set(range);
        fleet.fill(filter);
    });
    let open = Callback::new(move |index: usize| {
        if let Some(id) = fleet.pages.with_untracked(|pages| pages.row(index).map(|row| row.device_id.clone())) {
            place.go(&Route::Device(id).path());
        }
    });
    let column = move |(name, by, word, numeric): (&'static str, &'static str, &'static str, bool)| {
        let sorted = move || filter.with(|filter| (!by.is_empty() && filter.sort == by).then_some(filter.descending));
        let order = move || sorted().map(|descending| if descending { "descending" } else { "ascending" });
        let sign = move || sorted().map(|descending| view! { <Icon name=if descending { "down" } else { "up" } /> });
        let press = move |_| place.filter(&filter.get_untracked().sorted(by).query());
        view! {
            <span role="columnheader" data-col=name class=if numeric { "num" } else { "" } aria-sort=order>
                {if by.is_empty() { word.into_any() } else { view! { <button class="table__sort" type="button" on:click=press>{word}{sign}</button> }.into_any() }}
            </span>
        }
    };
    let head = move || view! { <div class="table__row table__row--head" role="row" aria-rowindex="1">{COLUMNS.map(column)}</div> };
    let row = Callback::new(move |index: usize| {
        let found = Memo::new(move |_| fleet.pages.with(|pages| pages.row(index).cloned()));
        (move || found.get().map_or_else(waiting, cells)).into_any()
    });
    let nobody = Memo::new(move |_| rows.get() == 0 && !fleet.asking.get() && fleet.failure.with(Option::is_none));
    let empty = move || {
        if filter.with(DeviceFilter::is_all) {
            view! {
                <Empty heading="No device is registered">
                    <p>"The first one is registered in a minute."</p><p><a class="btn btn--primary" href=Route::GetStarted.path()>"Get started"</a></p>
                </Empty>
            }
        } else {
            view! { <Empty heading="No device matches"><p>"Take a filter away, or look for another beginning of the id."</p></Empty> }
        }
    };
    let of = move || format!("{}{}", if fleet.exact.get() { "" } else { "at least " }, count(rows.get() as u64, "device", "devices"));
    view! {
        <div class="table table--devices table--fleet" role="table" aria-label="Devices" aria-rowcount=move || rows.get() + 1>
            {move || nobody.get().then(empty)}
            <VirtualRows rows label="Device rows" looked_at seen=set_seen chosen open head row />
        </div>
        <div class="panel__foot">
            <span>{move || if rows.get() == 0 { NOTHING.to_owned() } else { format!("Rows {}–{} of ", number(seen.get().0 as u64), number(seen.get().1 as u64)) }}<strong>{of}</strong></span>
            <span>{move || filter.with(|filter| if filter.sort.is_empty() { "Newest change first" } else { "" })}</span>
            <span class="push wide-only"><kbd class="kbd">"j"</kbd>" "<kbd class="kbd">"k"</kbd>" move · "<kbd class="kbd">"Enter"</kbd>" open"</span>
        </div>
    }
    .into_any()
}

fn waiting() -> AnyView {
    view! { <span role="cell" data-col="id"><span class="skeleton skeleton--short"></span></span> }.into_any()
}

fn cells(row: FleetRow) -> AnyView {
    let state = DeviceState::named(&row.state).unwrap_or(DeviceState::Never);
    let why = row.reason.as_deref().map(|reason| sentence(disconnect_reason(reason)));
    let quiet = why.is_none();
    let why = why.unwrap_or_else(|| NOTHING.to_owned());
    view! {
        <span role="cell" data-col="id"><DeviceLink id=row.device_id /></span>
        <span role="cell" data-col="state" class="row">
            <Badge look=state.look() word=state.word().to_owned() />
            {row.held.then(|| view! { <span title="Shut out by a person or a back end"><Icon name="lock" /><span class="sr">"shut out"</span></span> })}
        </span>
        <span role="cell" data-col="since" class="dim">{if row.state_since.is_some() { view! { <Since since=row.state_since /> }.into_any() } else { NOTHING.into_any() }}</span>
        <span role="cell" data-col="why" class=if quiet { "table__clip dim" } else { "table__clip" }>{why}</span>
        <span role="cell" data-col="auth" class="dim">{authentication(&row.authentication).to_owned()}</span>
        <span role="cell" data-col="queue" class=if row.queue == 0 { "num dim" } else { "num" }>{number(row.queue)}</span>
    }
    .into_any()
}
