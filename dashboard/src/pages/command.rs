//! One command: where it is, how it got there, and what it says.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::message::RECEIPTS;
use crate::api::{Failure, get, get_bytes, post};
use crate::app::Who;
use crate::browser::Place;
use crate::model::change::{Change, Command as Found};
use crate::model::format::{bytes, count};
use crate::model::payload::harmless;
use crate::model::state::{ALERT, DeviceState, command_badge, command_look};
use crate::model::turn::Turns;
use crate::parts::id::DeviceLink;
use crate::parts::notice::{Empty, Notice, Skeleton};
use crate::parts::panel::{Fact, Panel};
use crate::parts::payload::PayloadView;
use crate::parts::sign::{Badge, Icon};
use crate::parts::toast::Toasts;
use crate::parts::waterfall::{Axis, Steps, Track};
use crate::parts::when::At;
use crate::routes::{Route, segment};
use crate::world::World;

/// The page.
#[component]
pub fn Command(
    /// Its number.
    id: String,
) -> impl IntoView {
    let world: World = expect_context();
    let found = RwSignal::new(None::<Found>);
    let failure = RwSignal::new(None::<Failure>);
    let turns = StoredValue::new(Turns::default());
    let path = format!("/commands/{}", segment(&id));
    let ask = move || {
        let path = path.clone();
        let Some(turn) = turns.try_update_value(Turns::ask) else { return };
        spawn_local(async move {
            let answer = get(&path).await;
            if turns.try_update_value(|turns| turns.answer(turn)) != Some(true) {
                return;
            }
            failure.set(answer.as_ref().err().cloned());
            // What is shown stays when the hub does not answer.
            if let Ok(command) = answer {
                found.set(Some(command));
            }
        });
    };
    ask();
    let number = id.clone();
    Effect::new(move |before: Option<u32>| {
        let missed = world.missed.get();
        let about = |change: &Change| match change {
            Change::Command(command, _) => command.id == number,
            Change::Receipt(receipt) => receipt.command_id == number,
            _ => false,
        };
        if world.latest.with(|changes| changes.iter().any(about)) || before.is_some_and(|before| before != missed) {
            ask();
        }
        missed
    });
    // What is drawn once is kept: a step more is no reason to ask for the payload again.
    let is_found = Memo::new(move |_| found.with(Option::is_some));
    let body = move || {
        if is_found.get() {
            let command = Memo::new(move |_| found.get().unwrap_or_default());
            let old = move || {
                failure.get().map(|failure| view! { <Notice look=ALERT text="What is shown may be old".to_owned() more=failure.text /> })
            };
            return view! { <div class="stack">{old}<Whole command /></div> }.into_any();
        }
        match failure.get() {
            Some(failure) if failure.status == 404 => view! {
                <section class="panel"><Empty heading="The hub knows no such command"><p><a class="btn" href=Route::Commands.path()>"All commands"</a></p></Empty></section>
            }
            .into_any(),
            Some(failure) => view! { <Notice look=ALERT text="The command can't be shown".to_owned() more=failure.text /> }.into_any(),
            None => view! { <Skeleton /> }.into_any(),
        }
    };
    let title = move || found.with(|found| found.as_ref().map(Found::name)).unwrap_or_else(|| format!("Command {id}"));
    let state = move || {
        let state = found.with(|found| found.as_ref().map(|command| command.state.clone()))?;
        Some(view! { <Badge look=command_look(&state) word=command_badge(&state) /> })
    };
    view! {
        <div class="page__head">
            <div class="page__title">
                <p class="page__sub"><a href=Route::Commands.path()>"Commands"</a></p>
                <h1 class="id id--title">{move || title()}</h1><p class="row page__sub">{move || state()}</p>
            </div>
        </div>
        {move || body()}
    }
    .into_any()
}

#[component]
fn Whole(command: Memo<Found>) -> impl IntoView {
    let Found { device_id, id, sent_by, ack, size_bytes, expiry_time, .. } = command.get_untracked();
    let receipt = RECEIPTS.iter().find(|(name, _)| *name == ack).map_or(ack.as_str(), |(_, word)| word).to_owned();
    let is_open = Memo::new(move |_| command.with(|command| command.ended_time.is_none()));
    let expires = move || {
        let time = expiry_time.filter(|_| is_open.get())?;
        Some(view! { <Fact name="Expires"><At time /></Fact> })
    };
    let aside = || view! { <span class="panel__note">"logarithmic: time since it was enqueued"</span> };
    let path = format!("/commands/{}", segment(&id));
    let steps = move || command.with(|command| view! { <Steps steps=command.steps.clone() sent_by=command.sent_by.clone() /> });
    let deliveries = move || command.with(|command| count(command.delivery_count, "time", "times"));
    view! {
        <div class="grid">
            <div class="stack col-8">
                <Panel heading="Timeline".to_owned() aside>
                    <div class="panel__body"><Axis /><Track command /></div>
                    <div class="waterfall__steps">{move || steps()}</div>
                </Panel>
                <Content command path />
            </div>
            <div class="stack col-4">
                <Panel heading="Command".to_owned()>
                    <div class="panel__body">
                        <dl class="facts facts--rows">
                            <Fact name="Device"><DeviceLink id=device_id /></Fact>
                            <Fact name="Number"><span class="id">{id}</span></Fact>
                            <Fact name="Sent by">{harmless(&sent_by)}</Fact>
                            <Fact name="Receipt">{receipt}</Fact>
                            <Fact name="Size">{bytes(size_bytes)}</Fact>
                            <Fact name="Delivered">{move || deliveries()}</Fact>
                            {expires}
                        </dl>
                    </div>
                </Panel>
            </div>
        </div>
    }
    .into_any()
}

/// What it says, for those who may read it; and once more, if it did not arrive.
#[component]
fn Content(path: String, command: Memo<Found>) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let place: Place = expect_context();
    let content = RwSignal::new(None::<Result<Vec<u8>, Failure>>);
    let (of_content, of_again) = (format!("{path}/content"), path + "/send-again");
    let may = who.may("Bodies");
    let kept = Memo::new(move |_| command.with(Found::has_content));
    // Once: it does not change, and what is here stays when the hub lets go of it.
    Effect::new(move |_| {
        if kept.get() && may && content.with_untracked(Option::is_none) {
            let path = of_content.clone();
            spawn_local(async move { drop(content.try_set(Some(get_bytes(&path).await))) });
        }
    });
    let busy = RwSignal::new(false);
    let of_again = StoredValue::new(of_again);
    let send = move |_| {
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let path = of_again.get_value();
        spawn_local(async move {
            match post::<Found>(&path, &[], &[]).await {
                Ok(sent) => {
                    toasts.say(command_look("Enqueued"), format!("Sent again as command {}", sent.id), "It has a page of its own.");
                    // Whoever is elsewhere by now stays there.
                    if busy.try_get_untracked().is_some() {
                        place.go(&Route::Command(sent.id).path());
                    }
                }
                Err(failure) => toasts.failed("Not sent again", failure.text),
            }
            let _ = busy.try_set(false);
        });
    };
    let offered = Memo::new(move |_| command.with(|command| (command.sent_again_as(), command.can_be_sent_again && who.may("Commands"))));
    let aside = move || {
        match offered.get() {
        (Some(number), _) => {
            let to = Route::Command(number.clone()).path();
            view! { <a class="btn btn--quiet btn--small" href=to>{format!("Sent again as {number}")}</a> }.into_any()
        }
        (None, true) => view! { <button class="btn btn--small" type="button" aria-busy=move || busy.get().to_string() disabled=move || busy.get() on:click=send><Icon name="refresh" />"Send again"</button> }.into_any(),
        (None, false) => ().into_any(),
    }
    };
    let shown = move || match content.get() {
        _ if !may => {
            view! { <Notice look=DeviceState::Disabled.look() text="Your account may not read what messages say".to_owned() /> }.into_any()
        }
        None if kept.get() => view! { <Skeleton /> }.into_any(),
        None => not_kept(),
        Some(Ok(content)) => view! { <PayloadView content /> }.into_any(),
        Some(Err(failure)) if failure.status == 404 => not_kept(),
        Some(Err(failure)) => view! { <Notice look=ALERT text="Its content can't be shown".to_owned() more=failure.text /> }.into_any(),
    };
    view! { <Panel heading="Payload".to_owned() aside><div class="panel__body stack">{move || shown()}</div></Panel> }.into_any()
}

fn not_kept() -> AnyView {
    view! { <p class="dim">"It is not kept once the command is completed."</p> }.into_any()
}
