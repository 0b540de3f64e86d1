//! One command to many devices: each gets its own, and what was not taken is said by device.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::message::Message;
use crate::app::Who;
use crate::browser::Place;
use crate::model::format::{count, number};
use crate::model::order::sorted;
use crate::model::state::{ALERT, command_look};
use crate::parts::dialog::Dialog;
use crate::parts::id::DeviceLink;
use crate::parts::notice::Notice;
use crate::parts::panel::Panel;
use crate::parts::sign::{Glyph, Icon};
use crate::parts::toast::Toasts;
use crate::routes::Route;

/// Devices at once: each command is a request of its own.
const DEVICES_MAX: usize = 1_000;

/// Of those that failed, so many are listed.
const LISTED_MAX: usize = 50;

/// How far it is.
#[derive(Clone, Default, PartialEq)]
struct Progress {
    of: usize,
    sent: usize,
    failed: Vec<(String, String)>,
}

/// The page.
#[component]
pub fn ComposeMany() -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let place: Place = expect_context();
    let message = Message::new();
    let given = place.query.with_untracked(|query| query.all("device").join("\n"));
    let text = RwSignal::new(given);
    let ids = Memo::new(move |_| {
        let ids: Vec<String> = text.with(|text| text.split_whitespace().map(str::to_owned).collect());
        let mut ids = sorted(ids, Ord::cmp);
        ids.dedup();
        ids
    });
    let sure = RwSignal::new(false);
    let progress = RwSignal::new(None::<Progress>);
    let many = move || count(ids.with(Vec::len) as u64, "device", "devices");
    let may = Memo::new(move |_| who.may("Commands"));
    let too_many = move || ids.with(Vec::len) > DEVICES_MAX;
    let busy = move || progress.with(|progress| progress.as_ref().is_some_and(|at| at.sent + at.failed.len() < at.of));
    let ready = move || may.get() && !busy() && !too_many() && message.can_be_sent() && !ids.with(Vec::is_empty);
    let send = move || {
        sure.set(false);
        let ids = ids.get_untracked();
        // All get the same, whatever is typed meanwhile.
        let request = message.request();
        progress.set(Some(Progress { of: ids.len(), ..Progress::default() }));
        spawn_local(async move {
            let of = ids.len();
            for (before, id) in ids.into_iter().enumerate() {
                let answer = request.send(&id).await;
                let going = progress.try_update(|progress| {
                    let at = progress.get_or_insert_default();
                    match answer {
                        Ok(_) => at.sent += 1,
                        Err(failure) => at.failed.push((id, failure.text)),
                    }
                });
                // Whoever leaves the page ends it, and is told so.
                if going.is_none() {
                    let over = format!(
                        "{} of {} devices were not asked any more: the page was left.",
                        number((of - before - 1) as u64),
                        number(of as u64)
                    );
                    return toasts.failed("Not sent to all", over);
                }
            }
        });
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if ready() {
            if ids.with_untracked(Vec::len) == 1 { send() } else { sure.set(true) }
        }
    };
    let hint = move || match (may.get(), too_many()) {
        (false, _) => "Your account may look, and may not send.".to_owned(),
        (true, true) => format!("At most {} at once.", number(DEVICES_MAX as u64)),
        (true, false) => "Devices that are away get it when they are back.".to_owned(),
    };
    let ask = move || view! { <p>{format!("The same command goes to {}. Each has a queue and a receipt of its own; none can be taken back once it is delivered.", many())}</p> };
    let ask_foot = move || {
        view! {
            <button class="btn" type="button" on:click=move |_| sure.set(false)>"Send nothing"</button>
            <button class="btn btn--primary" type="button" on:click=move |_| send()><Icon name="commands" />{format!("Send to {}", many())}</button>
        }
    };
    view! {
        <div class="page__head">
            <div class="page__title"><p class="page__sub"><a href=Route::Commands.path()>"Commands"</a></p><h1>"Send a command"</h1></div>
        </div>
        <div class="grid">
            <div class="stack col-7">
                <Panel heading="Command".to_owned()>
                    <form class="panel__body" on:submit=submit><fieldset class="form" disabled=move || busy()>
                        <label class="field">
                            <span class="field__label">"Devices"</span>
                            <textarea class="input input--mono" rows="6" spellcheck="false" placeholder="one id on each line" aria-invalid=move || too_many().to_string() bind:value=text></textarea>
                            <span class="field__hint">{move || many()}</span>
                        </label>
                        {message.fields()}
                        <div class="form__end">
                            <span class="field__hint">{move || hint()}</span>
                            <button class="btn btn--primary" type="submit" aria-busy=move || busy().to_string() disabled=move || !ready()><Icon name="commands" />{move || format!("Send to {}", many())}</button>
                        </div>
                    </fieldset></form>
                </Panel>
            </div>
            <div class="stack col-5"><Result progress /></div>
        </div>
        <Dialog open=sure heading="Send to many devices?" content=ask foot=ViewFn::from(ask_foot) />
    }
    .into_any()
}

#[component]
fn Result(progress: RwSignal<Option<Progress>>) -> impl IntoView {
    let body = move || {
        let Some(Progress { of, sent, failed }) = progress.get() else {
            return ().into_any();
        };
        let row = |(id, why): &(String, String)| view! { <li class="row"><Glyph look=command_look("Rejected") /><DeviceLink id=id.clone() /><span class="dim">{why.clone()}</span></li> };
        let body = view! {
            <p role="status"><strong>{number(sent as u64)}</strong>{format!(" of {} taken", number(of as u64))}</p>
            {(!failed.is_empty()).then(|| view! {
                <Notice look=ALERT text=format!("{} not taken", number(failed.len() as u64)) />
                <ul class="dialog__list">{failed.iter().take(LISTED_MAX).map(row).collect_view()}</ul>
            })}
            <p class="dim">"Each command's way is among "<a href=Route::Commands.path()>"all commands"</a>"."</p>
        };
        view! { <Panel heading="Result".to_owned()><div class="panel__body stack">{body}</div></Panel> }.into_any()
    };
    view! { {body} }.into_any()
}
