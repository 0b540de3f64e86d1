//! The way of each command, the newest first. It stands still while somebody reads it: what has come meanwhile waits behind a count.

use leptos::prelude::*;

use super::again::Again;
use super::{Known, of_known};
use crate::browser::Place;
use crate::model::book::{Book, Stage};
use crate::model::change::Command;
use crate::model::format::duration;
use crate::model::state::{command_badge, command_look};
use crate::parts::control::Chip;
use crate::parts::each::each;
use crate::parts::id::Id;
use crate::parts::notice::{Empty, Nothing};
use crate::parts::panel::Panel;
use crate::parts::sign::Badge;
use crate::parts::waterfall::{Axis, Steps, Track};
use crate::parts::when::use_now;
use crate::routes::{Query, Route};

/// Rows at first, and how many more each time.
const ROWS: usize = 15;

/// The panel.
#[component]
pub fn List(known: Known, stage: Memo<Option<Stage>>) -> impl IntoView {
    let room = RwSignal::new(ROWS);
    // A button that is pressed lets go of the focus, and the pointer is still there.
    let (pointed, focused) = (RwSignal::new(false), RwSignal::new(false));
    let open = RwSignal::new(None::<u64>);
    let place: Place = expect_context();
    let newest = Memo::new(move |_| {
        let from = known.whole_from();
        let numbers = |book: &Book| {
            book.newest(stage.get(), from, room.get()).iter().filter_map(|command| command.id.parse().ok()).collect::<Vec<u64>>()
        };
        known.book.with(numbers)
    });
    // Another filter, or more room, is the operator's own act.
    let shown = RwSignal::new(Vec::<u64>::new());
    Effect::new(move |before: Option<(Option<Stage>, usize)>| {
        let now = (stage.get(), room.get());
        let rows = newest.get();
        // Where there is nothing yet, nobody reads: the pointer may be there before the rows are.
        let reads = pointed.get() || focused.get();
        if !reads || shown.with_untracked(Vec::is_empty) || before.is_some_and(|before| before != now) {
            shown.set(rows);
        }
        now
    });
    let waiting =
        Memo::new(move |_| shown.with(|shown| newest.with(|newest| newest.iter().filter(|number| !shown.contains(number)).count())));
    Effect::new(move |_| {
        // Its own signal alone: what is learned must not ask again.
        for number in shown.get() {
            known.ask_way(number);
        }
    });
    let is_failed = Signal::derive(move || known.failure.with(Option::is_some));
    let is_dead = move || stage.get() == Some(Stage::Dead);
    let turn = Callback::new(move |()| {
        let next = if stage.get_untracked() == Some(Stage::Dead) { "" } else { Stage::Dead.name() };
        place.filter(&Query::default().with("state", next));
    });
    let aside = move || {
        view! {
            <Chip pressed=Signal::derive(is_dead) press=turn>{Stage::Dead.word()}</Chip>
            {move || (waiting.get() > 0).then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=move |_| shown.set(newest.get_untracked())>{format!("{} new", waiting.get())}</button> })}
            <div class="legend panel__note wide-only">
                <span class="legend__item"><svg width="20" height="10" aria-hidden="true"><rect class="waterfall__queued" x=".5" y=".5" width="19" height="9" rx="2"></rect></svg>"in the queue"</span>
                <span class="legend__item"><svg width="20" height="10" aria-hidden="true"><rect class="waterfall__flight" width="20" height="10" rx="2"></rect></svg>"with the device"</span>
                <span class="legend__item"><svg width="26" height="10" aria-hidden="true"><line class="waterfall__receipt" x1="0" x2="20" y1="5" y2="5"></line><circle class="waterfall__read" cx="21" cy="5" r="3.5"></circle></svg>"receipt read"</span>
            </div>
        }
    };
    let older = move |_| {
        let from = untrack(move || known.whole_from());
        let held = known.book.with_untracked(|book| book.newest(stage.get_untracked(), from, usize::MAX).len());
        room.update(|room| *room += ROWS);
        if held < room.get_untracked()
            && let Some(before) = known.older.get_untracked()
        {
            known.ask(stage.get_untracked(), Some(before));
        }
    };
    let more = move || {
        let from = known.whole_from();
        known.older.with(Option::is_some) || known.book.with(|book| book.newest(stage.get(), from, room.get() + 1).len() > room.get())
    };
    let foot = move || {
        view! {
            <span>{move || known.book.with(|book| of_known(shown.with(Vec::len), book))}</span>
            {move || more().then(|| view! { <button class="btn btn--quiet btn--small" type="button" on:click=older>"Older"</button> })}
            <span class="push wide-only">"Scale is logarithmic: time since the command was enqueued"</span>
        }
    };
    view! {
        <Panel heading="Where each command is".to_owned() aside foot=ViewFn::from(foot)>
            <div class="waterfall" on:pointerenter=move |_| pointed.set(true) on:pointerleave=move |_| pointed.set(false)
                on:focusin=move |_| focused.set(true) on:focusout=move |_| focused.set(false)>
                <div class="waterfall__row waterfall__row--head">
                    <span data-col="cmd">"Command"</span><span data-col="dev">"Device"</span><span data-col="state">"State"</span><span data-col="track"><Axis /></span><span data-col="total" class="num">"Age or total"</span>
                </div>
                {move || shown.with(Vec::is_empty).then(|| view! {
                    <Nothing known=known.told failed=is_failed><Empty heading="No commands"><p>"One is sent on a device's page, with "<code>"mooring-hub command send"</code>", or by a back end."</p></Empty></Nothing>
                })}
                {each(move || shown.get(), u64::to_string, move |number| view! { <Row known number open /> })}
            </div>
        </Panel>
    }
    .into_any()
}

#[component]
fn Row(known: Known, number: u64, open: RwSignal<Option<u64>>) -> impl IntoView {
    let now = use_now();
    // It is in the book for as long as its row is there, unless a thousand newer ones came.
    let command = Memo::new(move |_| known.book.with(|book| book.get(number).cloned()).unwrap_or_default());
    let first = command.get_untracked();
    let is_open = Memo::new(move |_| open.get() == Some(number));
    let state = Memo::new(move |_| command.with(|command| command.state.clone()));
    let word = move || command_badge(&state.get());
    let took = move || {
        command.with(|command| match (command.enqueued_time, command.ended_time) {
            (Some(begun), Some(ended)) => duration(begun.millis_until(ended)),
            (Some(begun), None) => duration(begun.millis_until(now.get())),
            _ => String::new(),
        })
    };
    let press = move |_| open.update(|open| *open = if *open == Some(number) { None } else { Some(number) });
    view! {
        <button class="waterfall__row" type="button" aria-expanded=move || is_open.get().to_string() on:click=press>
            <span data-col="cmd"><span class="waterfall__name" title=first.name()>{first.name()}</span><span class="id dim">{format!("no. {number}")}</span></span>
            <span data-col="dev"><Id id=first.device_id /></span>
            <span data-col="state"><Badge look=Signal::derive(move || command_look(&state.get())) word=Signal::derive(word) /></span>
            <span data-col="track"><Track command /></span>
            <span data-col="total" class="num">{move || took()}</span>
        </button>
        {move || is_open.get().then(|| view! { <More known number command /> })}
    }
    .into_any()
}

#[component]
fn More(known: Known, number: u64, command: Memo<Command>) -> impl IntoView {
    let (page, device) =
        command.with_untracked(|command| (Route::Command(command.id.clone()).path(), Route::Device(command.device_id.clone()).path()));
    let key = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Enter" {
            event.stop_propagation();
        }
    };
    view! {
        <div class="waterfall__steps" on:keydown=key>
            {move || command.with(|command| view! { <Steps steps=command.steps.clone() sent_by=command.sent_by.clone() /> })}
            <div class="row row--wrap waterfall__acts">
                <a class="btn btn--small" href=page>"Details"</a><a class="btn btn--small" href=device>"Device"</a><Again known number word="Send again" />
            </div>
        </div>
    }
    .into_any()
}
