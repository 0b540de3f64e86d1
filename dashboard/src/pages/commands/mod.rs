//! Commands and receipts: how many are where, the way of each, how long they took, and those that ended without effect.

mod again;
mod dead;
mod latency;
mod list;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::Place;
use crate::model::book::{Book, Stage};
use crate::model::change::{Change, Command};
use crate::model::format::{NOTHING, count, elapsed, number, percent};
use crate::model::hub::Commands as Page;
use crate::model::state::{ALERT, command_look};
use crate::parts::notice::Notice;
use crate::parts::sign::{Glyph, Icon};
use crate::routes::{Query, Route};
use crate::world::World;
use dead::Dead;
use latency::Latency;
use list::List;

const DAY_MS: i64 = 86_400_000;

/// What is known of commands, for the panels of this page.
#[derive(Clone, Copy)]
struct Known {
    book: RwSignal<Book>,
    failure: RwSignal<Option<Failure>>,
    /// Whether the list of the stage is here.
    told: RwSignal<bool>,
    /// Whether those that ended without effect are, or can't be had.
    dead_told: RwSignal<bool>,
    dead_failed: RwSignal<bool>,
    /// Behind what the list of a stage goes on.
    older: RwSignal<Option<String>>,
    /// Counts the lists: what comes late of another one is thrown away.
    list: StoredValue<u32>,
    /// Which are being sent again.
    sending: RwSignal<Vec<u64>>,
}

/// The page.
#[component]
pub fn Commands() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let stage = Memo::new(move |_| place.query.with(|query| query.get("state").and_then(Stage::named)));
    let known = Known {
        book: RwSignal::new(Book::default()),
        failure: RwSignal::new(None),
        told: RwSignal::new(false),
        dead_told: RwSignal::new(false),
        dead_failed: RwSignal::new(false),
        older: RwSignal::new(None),
        list: StoredValue::new(0),
        sending: RwSignal::new(Vec::new()),
    };
    Effect::new(move |before: Option<u32>| {
        let missed = world.missed.get();
        if before.is_some_and(|before| before != missed) {
            known.book.update(Book::doubt);
        }
        known.ask(stage.get(), None);
        known.ask_dead();
        missed
    });
    Effect::new(move |_| world.latest.with(|changes| known.hear(changes)));
    let sub = move || {
        let backlog = world.rates.with(|rates| rates.latest().backlog);
        format!("{} on their way", count(backlog.enqueued + backlog.delivered, "command", "commands"))
    };
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Commands and receipts"</h1><p class="page__sub">{move || sub()}</p></div>
            <a class="btn btn--primary" href=Route::Compose.path()><Icon name="commands" />"Compose"</a>
        </div>
        <div class="stack">
            {move || known.failure.get().map(|failure| view! { <Notice look=ALERT text="The commands can't be shown".to_owned() more=failure.text /> })}
            <Funnel stage />
            <List known stage />
            <div class="grid"><Latency /><Dead known /></div>
        </div>
    }
    .into_any()
}

impl Known {
    /// Asks for the newest of a stage, or for those before.
    fn ask(self, stage: Option<Stage>, before: Option<String>) {
        if before.is_none() {
            self.list.update_value(|list| *list += 1);
            self.told.set(false);
            self.book.update(|book| book.open(stage));
        }
        let list = self.list.get_value();
        let query = Query::default()
            .with("limit", if before.is_some() { "100" } else { "200" })
            .with("state", stage.map(Stage::asked).unwrap_or_default())
            .with("before", before.unwrap_or_default());
        spawn_local(async move {
            let answer = get::<Page>(&format!("/commands{}", query.text())).await;
            if self.list.try_get_value() != Some(list) {
                return;
            }
            match answer {
                Ok(page) => {
                    self.failure.set(None);
                    self.older.set(page.next);
                    self.book.update(|book| book.told(page.commands));
                    self.told.set(true);
                }
                Err(failure) => self.failure.set(Some(failure)),
            }
        });
    }

    fn ask_dead(self) {
        spawn_local(async move {
            let answer = get::<Page>("/commands?state=DeadLettered&limit=200").await;
            let _ = self.dead_failed.try_set(answer.is_err());
            if let Ok(page) = answer {
                let _ = self.book.try_update(|book| page.commands.into_iter().for_each(|command| book.learn(command, None)));
                let _ = self.dead_told.try_set(true);
            }
        });
    }

    /// Asks once for a command's steps, which lists do not have.
    fn ask_way(self, number: u64) {
        if self.book.try_update_untracked(|book| book.wants_way(number)) != Some(true) {
            return;
        }
        spawn_local(async move {
            if let Ok(command) = get::<Command>(&format!("/commands/{number}")).await {
                let _ = self.book.try_update(|book| book.learn(command, None));
            }
        });
    }

    /// The number from which on the list of a stage is whole: what is known of older ones is only some.
    fn whole_from(self) -> u64 {
        self.older.with(|older| older.as_ref().and_then(|older| older.parse().ok()).unwrap_or_default())
    }

    fn hear(self, changes: &[Change]) {
        if changes.iter().any(|change| matches!(change, Change::Command(..) | Change::Receipt(_))) {
            self.book.update(|book| book.hear(changes));
        }
    }
}

/// How many are where; each is a filter.
#[component]
fn Funnel(stage: Memo<Option<Stage>>) -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let now = world.moment();
    let backlog = Memo::new(move |_| world.rates.with(|rates| rates.latest().backlog));
    let ended = Memo::new(move |_| {
        let day_ago = now.get().plus(-DAY_MS);
        world.rates.with_untracked(|rates| rates.by_reason(day_ago, now.get(), |sample| &sample.commands.ended))
    });
    let total = move || ended.with(|ended| ended.iter().map(|(_, count)| count).sum::<u64>());
    let counted = move |of: Stage| match of {
        Stage::Enqueued => backlog.get().enqueued,
        Stage::Delivered => backlog.get().delivered,
        ended_so => ended.with(|ended| ended.iter().filter(|(outcome, _)| Stage::of(outcome) == ended_so).map(|(_, count)| count).sum()),
    };
    // What waits comes with the first word of the live link, what has ended with the past.
    let is_known = move |of: Stage| matches!(of, Stage::Enqueued | Stage::Delivered) || world.recalled.get();
    let note = move |of: Stage| match of {
        Stage::Enqueued => match backlog.get().oldest {
            Some(oldest) => format!("oldest {}", elapsed(oldest.millis_until(now.get()))),
            None => "none waits".to_owned(),
        },
        Stage::Delivered => "with their devices".to_owned(),
        Stage::Completed if total() > 0 => format!("{} of ended, in 24 h", percent(counted(of), total())),
        _ => "in 24 h".to_owned(),
    };
    let step = |of: Stage| {
        let look = command_look(of.name());
        let press = move |_| {
            let next = if stage.get_untracked() == Some(of) { "" } else { of.name() };
            place.filter(&Query::default().with("state", next));
        };
        view! {
            <button class="funnel__step" type="button" data-tone=look.tone.name() aria-pressed=move || (stage.get() == Some(of)).to_string() on:click=press>
                <span class="funnel__name"><Glyph look />{of.word()}</span>
                <span class="funnel__n">{move || if is_known(of) { number(counted(of)) } else { NOTHING.to_owned() }}</span>
                <span class="funnel__note">{move || note(of)}</span>
            </button>
        }
    };
    view! { <div class="funnel" role="group" aria-label="Filter by state">{Stage::ALL.map(step)}</div> }.into_any()
}

/// How many there are of so many, for a foot.
fn of_known(shown: usize, book: &Book) -> String {
    match book.len() {
        0 => NOTHING.to_owned(),
        known => format!("{} newest of {} loaded", number(shown as u64), number(known as u64)),
    }
}
