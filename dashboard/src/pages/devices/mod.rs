//! All devices: found by the beginning of their ids, filtered, sorted, and as many as there are.

mod bulk;
mod export;
mod filters;
mod table;

use std::ops::Range;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::{Place, now};
use crate::model::change::Change;
use crate::model::device_filter::DeviceFilter;
use crate::model::format::number;
use crate::model::hub::{FleetPage, FleetRow};
use crate::model::selection::Selection;
use crate::model::state::ALERT;
use crate::model::time::Moment;
use crate::model::virtual_table::{PAGE, Pages, Wanted};
use crate::parts::notice::Notice;
use crate::world::World;
use bulk::Bulk;
use export::Export;
use filters::Filters;
use table::Table;

/// How often the page looks whether rows in view are to be asked for anew.
const LOOK: Duration = Duration::from_millis(250);

/// How old they become when nothing is heard of them, and at least when something is.
const FRESH_MS: u64 = 2_000;
const SOON_MS: u64 = 500;

/// The rows that are here.
#[derive(Clone, Copy)]
struct Fleet {
    pages: RwSignal<Pages<FleetRow>>,
    exact: RwSignal<bool>,
    /// Which question the rows answer: what comes late to another one is thrown away.
    question: RwSignal<u32>,
    wanted: RwSignal<Range<usize>>,
    asking: RwSignal<bool>,
    /// When they were last asked for, and whether something was heard of one of them since.
    asked: StoredValue<Moment>,
    heard: StoredValue<bool>,
    failure: RwSignal<Option<Failure>>,
    /// Whether rows stay where they are: somebody points at one.
    still: RwSignal<bool>,
    /// The rows that somebody has chosen.
    chosen: RwSignal<Selection>,
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
        asked: StoredValue::new(Moment(0)),
        heard: StoredValue::new(false),
        failure: RwSignal::new(None),
        still: RwSignal::new(false),
        chosen: RwSignal::new(Selection::default()),
    };
    Effect::new(move |_| {
        filter.with(|_| ());
        fleet.question.update(|question| *question += 1);
        fleet.pages.set(Pages::default());
        fleet.chosen.set(Selection::default());
        fleet.asking.set(false);
        fleet.fill(filter);
    });
    Effect::new(move |_| {
        world.missed.track();
        fleet.heard.set_value(true);
        fleet.refresh(filter);
    });
    Effect::new(move |_| {
        if world.latest.with(|changes| fleet.is_about_rows(changes)) {
            fleet.heard.set_value(true);
            fleet.refresh(filter);
        }
    });
    let fresh = set_interval_with_handle(move || fleet.refresh(filter), LOOK).ok();
    on_cleanup(move || fresh.into_iter().for_each(|timer| timer.clear()));
    let sub = move || {
        world.fleet.with(|fleet| {
            fleet.as_ref().map(|fleet| {
                format!("{} registered · {} connected{}", number(fleet.total), number(fleet.connected), fleet.of_them_flapping())
            })
        })
    };
    view! {
        <div class="page__head"><div class="page__title"><h1>"Devices"</h1><p class="page__sub">{move || sub()}</p></div><Export filter /></div>
        <section class="panel" aria-label="Devices">
            <Filters filter />
            {move || fleet.failure.get().map(|failure| view! {
                <div class="panel__body panel__body--first"><Notice look=ALERT text="The list can't be shown".to_owned() more=failure.text /></div>
            })}
            <Table fleet filter />
        </section>
        <Bulk fleet filter />
    }
    .into_any()
}

impl Fleet {
    /// Asks for the next page that is missing of what is looked at.
    fn fill(self, filter: Memo<DeviceFilter>) {
        let Some(wanted) = self.pages.with_untracked(|pages| pages.wanted(&self.wanted.get_untracked())) else { return };
        if !self.asking.get_untracked() {
            self.ask(filter, wanted, true);
        }
    }

    /// Whether somebody in view came, went, or was changed.
    fn is_about_rows(self, changes: &[Change]) -> bool {
        let wanted = self.wanted.get_untracked();
        let is_about = |row: &FleetRow| changes.iter().any(|change| change.of_device() == Some(row.device_id.as_str()));
        self.pages.with_untracked(|pages| pages.any(&wanted, is_about))
    }

    /// Asks once more for the page in view, when it is time: values change in place.
    fn refresh(self, filter: Memo<DeviceFilter>) {
        let page = self.wanted.get_untracked().start / PAGE;
        let hidden = document().hidden();
        let age = self.asked.get_value().millis_until(now());
        if hidden
            || age < if self.heard.get_value() { SOON_MS } else { FRESH_MS }
            || self.asking.get_untracked()
            || self.failure.with_untracked(|failure| failure.as_ref().is_some_and(|failure| failure.status == 404))
        {
            return;
        }
        match self.pages.with_untracked(|pages| pages.again(page)) {
            Some(again) => self.ask(filter, again, false),
            // It could not be had, or has been let go of.
            None => self.fill(filter),
        }
    }

    fn ask(self, filter: Memo<DeviceFilter>, wanted: Wanted, more: bool) {
        let Wanted { page, after, skip } = wanted;
        self.asking.set(true);
        self.asked.set_value(now());
        self.heard.set_value(false);
        let question = self.question.get_untracked();
        let query = filter.get_untracked().question(now()).with("limit", PAGE.to_string()).with("after", after.unwrap_or_default());
        let query = if skip > 0 { query.with("skip", skip.to_string()) } else { query };
        spawn_local(async move {
            let answer = get::<FleetPage>(&format!("/devices{}", query.text())).await;
            if self.question.try_get_untracked() != Some(question) {
                return;
            }
            self.asking.set(false);
            match answer {
                Ok(found) if !more && self.still.get_untracked() => {
                    self.failure.set(None);
                    self.pages.update(|pages| pages.renew(page, found.devices, |one, other| one.device_id == other.device_id));
                }
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
