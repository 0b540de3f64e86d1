//! Commands that ended without effect are sent once more: one of them, or all that are known. None twice by a second click.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Known;
use crate::api::{Failure, get, post};
use crate::app::Who;
use crate::model::change::Command;
use crate::model::format::{count, exact};
use crate::model::state::{ALERT, command_look};
use crate::parts::dialog::Dialog;
use crate::parts::notice::Notice;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;
use crate::routes::{Route, segment};

/// What became of many.
#[derive(Clone, Default, PartialEq)]
struct Progress {
    of: usize,
    sent: usize,
    /// That had been sent again by somebody else.
    before: usize,
    failed: usize,
    /// Why the first was not taken.
    why: Option<String>,
    over: bool,
}

impl Progress {
    fn sentence(&self) -> String {
        let mut said = vec![format!("{} of {} sent again.", exact(self.sent as u64), exact(self.of as u64))];
        if self.before > 0 {
            said.push(format!("{} had been before.", exact(self.before as u64)));
        }
        if let Some(why) = &self.why {
            said.push(format!("{} not taken: {why}", exact(self.failed as u64)));
        }
        said.join(" ")
    }
}

/// Sends one once more, as a new command.
async fn send(id: &str) -> Result<Command, Failure> {
    post(&format!("/commands/{}/send-again", segment(id)), &[], &[]).await
}

impl Known {
    /// Sends one once more, unless that is under way.
    fn send_again(self, number: u64, toasts: Toasts) {
        if self.is_sending(number) {
            return;
        }
        self.sending.update(|sending| sending.push(number));
        spawn_local(async move {
            let id = number.to_string();
            match send(&id).await {
                Ok(sent) => {
                    toasts.say(command_look("Enqueued"), format!("Sent again as command {}", sent.id), "It is the newest in the list.");
                    let _ = self.book.try_update(|book| book.learn(Command { again_of: Some(id), ..sent }, None));
                }
                Err(failure) => toasts.failed("Not sent again", failure.text),
            }
            let _ = self.sending.try_update(|sending| sending.retain(|other| *other != number));
        });
    }

    /// Whether that is under way.
    fn is_sending(self, number: u64) -> bool {
        self.sending.with(|sending| sending.contains(&number))
    }
}

/// What is offered for one of them: the button, or where it went.
#[component]
pub fn Again(known: Known, number: u64, word: &'static str) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let offered = Memo::new(move |_| {
        known.book.with(|book| book.get(number).map(|command| (book.sent_again_as(command), command.can_be_sent_again)))
    });
    let busy = move || known.is_sending(number);
    let shown = move || {
        match offered.get() {
        Some((Some(again), _)) => {
            let to = Route::Command(again.clone()).path();
            view! { <a class="btn btn--quiet btn--small" href=to>{format!("Sent again as {again}")}</a> }.into_any()
        }
        Some((None, true)) => view! {
            <button class="btn btn--small" type="button" aria-busy=move || busy().to_string() disabled=move || busy() || !who.may("Commands")
                on:click=move |_| known.send_again(number, toasts)>{word}</button>
        }
        .into_any(),
        _ => ().into_any(),
    }
    };
    view! { {move || shown()} }.into_any()
}

/// The button for all of them, and its dialog.
#[component]
pub fn AllAgain(known: Known) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let open = RwSignal::new(false);
    let chosen = RwSignal::new(Vec::<String>::new());
    let progress = RwSignal::new(None::<Progress>);
    let dead = Memo::new(move |_| known.book.with(|book| book.dead(usize::MAX).len()));
    let begin = move |_| {
        let ids = known.book.with_untracked(|book| book.dead(usize::MAX).iter().map(|command| command.id.clone()).collect());
        chosen.set(ids);
        progress.set(None);
        open.set(true);
    };
    let many = move || count(chosen.with(Vec::len) as u64, "command", "commands");
    let busy = Memo::new(move |_| progress.with(|progress| progress.as_ref().is_some_and(|progress| !progress.over)));
    let act = move |_| {
        let ids = chosen.get_untracked();
        let mut sum = Progress { of: ids.len(), ..Progress::default() };
        progress.set(Some(sum.clone()));
        spawn_local(async move {
            for id in ids {
                one_of_many(known, &id, &mut sum).await;
                // Whoever leaves the page ends it.
                if progress.try_set(Some(sum.clone())).is_some() {
                    break;
                }
            }
            sum.over = true;
            let look = if sum.failed == 0 { command_look("Enqueued") } else { ALERT };
            toasts.say(look, "Sent again", sum.sentence());
            let _ = progress.try_set(Some(sum));
        });
    };
    let content = move || {
        match progress.get() {
        None => view! {
            <p>{format!("{} that ended without effect are sent once more, each as a new command to its device, with the hub's default time to live.", many())}</p>
            <Notice look=ALERT text="A device may have carried out one of them, and only its answer was lost".to_owned() />
        }
        .into_any(),
        Some(progress) => view! { <p role="status">{progress.sentence()}</p> }.into_any(),
    }
    };
    let foot = move || {
        if progress.with(Option::is_some) {
            return view! { <button class="btn" type="button" disabled=move || busy.get() on:click=move |_| open.set(false)>"Done"</button> }.into_any();
        }
        view! {
            <button class="btn" type="button" on:click=move |_| open.set(false)>"Send nothing"</button>
            <button class="btn btn--primary" type="button" on:click=act><Icon name="refresh" />{format!("Send {} again", many())}</button>
        }
        .into_any()
    };
    let button = move || {
        (dead.get() > 1).then(|| view! { <button class="btn btn--quiet btn--small" type="button" disabled=move || !who.may("Commands") on:click=begin>{move || format!("Send all {} again…", exact(dead.get() as u64))}</button> })
    };
    view! { {button}<Dialog open heading="Send them all again?" busy content=content foot=ViewFn::from(foot) /> }.into_any()
}

/// One that somebody else has sent again meanwhile is left alone: its own story says so.
async fn one_of_many(known: Known, id: &str, sum: &mut Progress) {
    let path = format!("/commands/{}", segment(id));
    let answer = match get::<Command>(&path).await {
        Ok(command) if command.sent_again_as().is_some() => {
            sum.before += 1;
            let _ = known.book.try_update(|book| book.learn(command, None));
            return;
        }
        Ok(_) => send(id).await,
        Err(failure) => Err(failure),
    };
    match answer {
        Ok(sent) => {
            sum.sent += 1;
            let _ = known.book.try_update(|book| book.learn(Command { again_of: Some(id.to_owned()), ..sent }, None));
        }
        Err(failure) => {
            sum.failed += 1;
            sum.why.get_or_insert(failure.text);
        }
    }
}
