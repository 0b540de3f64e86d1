//! One command: where it is, how it got there, and what it says.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get, get_bytes, post};
use crate::app::Who;
use crate::browser::Place;
use crate::model::change::{Change, Command as Found};
use crate::model::format::{bytes, count};
use crate::model::state::{ALERT, DeviceState, command_look, command_word};
use crate::model::words::sentence;
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
    let found = RwSignal::new(None::<Result<Found, Failure>>);
    let path = format!("/commands/{}", segment(&id));
    let ask = move || {
        let path = path.clone();
        spawn_local(async move {
            let answer = get(&path).await;
            if found.try_get_untracked().is_some_and(|shown| shown.as_ref() != Some(&answer)) {
                found.set(Some(answer));
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
    let body = move || {
        match found.get() {
        None => view! { <Skeleton /> }.into_any(),
        Some(Err(failure)) if failure.status == 404 => view! {
            <section class="panel"><Empty heading="The hub knows no such command"><p><a class="btn" href=Route::Commands.path()>"All commands"</a></p></Empty></section>
        }
        .into_any(),
        Some(Err(failure)) => view! { <Notice look=ALERT text="The command can't be shown".to_owned() more=failure.text /> }.into_any(),
        Some(Ok(command)) => view! { <Whole command /> }.into_any(),
    }
    };
    let title = move || {
        found.with(|found| found.as_ref().and_then(|found| found.as_ref().ok()).map(Found::name)).unwrap_or_else(|| format!("Command {id}"))
    };
    let state = move || {
        let state = found.with(|found| found.as_ref().and_then(|found| found.as_ref().ok()).map(|command| command.state.clone()))?;
        Some(view! { <Badge look=command_look(&state) word=sentence(command_word(&state)) /> })
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
fn Whole(command: Found) -> impl IntoView {
    let Found { device_id, id, sent_by, ack, size_bytes, delivery_count, expiry_time, steps, .. } = command.clone();
    let aside = || view! { <span class="panel__note">"logarithmic: time since it was enqueued"</span> };
    let (again, path) = (command.can_be_sent_again, format!("/commands/{}", segment(&command.id)));
    let by = sent_by.clone();
    view! {
        <div class="grid">
            <div class="stack col-8">
                <Panel heading="Its way".to_owned() aside>
                    <div class="panel__body"><Axis /><Track command=Signal::stored(command) /></div>
                    <div class="waterfall__steps"><Steps steps sent_by=by /></div>
                </Panel>
                <Content again path />
            </div>
            <div class="stack col-4">
                <Panel heading="Command".to_owned()>
                    <div class="panel__body">
                        <dl class="facts facts--rows">
                            <Fact name="Device"><DeviceLink id=device_id /></Fact>
                            <Fact name="Number"><span class="id">{id}</span></Fact>
                            <Fact name="Sent by">{sent_by}</Fact>
                            <Fact name="Receipt">{ack}</Fact>
                            <Fact name="Size">{bytes(size_bytes)}</Fact>
                            <Fact name="Delivered">{count(delivery_count, "time", "times")}</Fact>
                            <Fact name="Expires">{expiry_time.map(|time| view! { <At time /> })}</Fact>
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
fn Content(path: String, again: bool) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let place: Place = expect_context();
    let content = RwSignal::new(None::<Result<Vec<u8>, Failure>>);
    let (of_content, of_again) = (format!("{path}/content"), path + "/send-again");
    let may = who.may("Bodies");
    if may {
        spawn_local(async move { drop(content.try_set(Some(get_bytes(&of_content).await))) });
    }
    let send = move |_| {
        let path = of_again.clone();
        spawn_local(async move {
            match post::<Found>(&path, &[], &[]).await {
                Ok(sent) => {
                    toasts.say(command_look("Enqueued"), format!("Sent again as command {}", sent.id), "This is its page.");
                    place.go(&Route::Command(sent.id).path());
                }
                Err(failure) => toasts.failed("Not sent again", failure.text),
            }
        });
    };
    let can = again && who.may("Commands");
    let aside = move || {
        let send = send.clone();
        can.then(|| view! { <button class="btn btn--small" type="button" on:click=send><Icon name="refresh" />"Send again"</button> })
    };
    let shown = move || match content.get() {
        _ if !may => {
            view! { <Notice look=DeviceState::Disabled.look() text="Your account may not read what messages say".to_owned() /> }.into_any()
        }
        None => view! { <Skeleton /> }.into_any(),
        Some(Ok(content)) => view! { <PayloadView content /> }.into_any(),
        Some(Err(failure)) if failure.status == 404 => {
            view! { <p class="dim">"It is not kept once the command is completed."</p> }.into_any()
        }
        Some(Err(failure)) => view! { <Notice look=ALERT text="Its content can't be shown".to_owned() more=failure.text /> }.into_any(),
    };
    view! { <Panel heading="Payload".to_owned() aside><div class="panel__body stack">{move || shown()}</div></Panel> }.into_any()
}
