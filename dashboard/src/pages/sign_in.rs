//! Signing in, in the ways that this hub has. A link from `mooring-hub dev` signs in by itself.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, Method, sign_in};
use crate::app::Who;
use crate::browser::take_fragment;
use crate::model::json::value::Value;
use crate::model::state::{ALERT, command_look};
use crate::model::words::{sentence, sign_in_problem};
use crate::parts::control::Copy;
use crate::parts::each::each;
use crate::parts::notice::Notice;
use crate::routes::Query;

/// What a link has in front of its code.
const LINK: &str = "link=";

/// What stands in front of the word for why somebody comes back from an issuer and is not signed in.
const PROBLEM: &str = "problem=";

/// The ropes of the drawing: each a path, where it ends, and whether it hangs.
const ROPES: [(&str, &str, &str, bool); 11] = [
    ("M92 490Q326 439 560 96", "560", "96", false),
    ("M92 490Q261 463 430 176", "430", "176", false),
    ("M92 490Q344 502 596 214", "596", "214", false),
    ("M92 490Q316 606 540 322", "540", "322", true),
    ("M92 490Q211 541 330 356", "330", "356", false),
    ("M92 490Q341 572 590 356", "590", "356", false),
    ("M92 490Q277 605 462 452", "462", "452", false),
    ("M92 490Q348 642 604 492", "604", "492", false),
    ("M92 490Q244 635 396 528", "396", "528", false),
    ("M92 490Q311 679 530 584", "530", "584", false),
    ("M92 490Q343 779 594 668", "594", "668", true),
];

/// The page.
#[component]
pub fn SignIn() -> impl IntoView {
    let who: Who = expect_context();
    let busy = RwSignal::new(false);
    let refused = RwSignal::new(None::<Failure>);
    let enter = Callback::new(move |credentials: Value| {
        busy.set(true);
        spawn_local(async move {
            match sign_in(&credentials).await {
                Ok(session) => who.is(session),
                Err(failure) => {
                    let _ = refused.try_set(Some(failure));
                }
            }
            let _ = busy.try_set(false);
        });
    });
    let fragment = take_fragment().unwrap_or_default();
    if let Some(code) = fragment.strip_prefix(LINK) {
        enter.run(Value::object(vec![("method", "link".into()), ("code", code.into())]));
    } else if let Some(problem) = fragment.strip_prefix(PROBLEM) {
        refused.set(Some(Failure { status: 403, text: sign_in_problem(problem).to_owned() }));
    }
    let methods = move || match who.answer() {
        Some(Ok(session)) => session.methods,
        _ => Vec::new(),
    };
    let again = move || view! { <button class="btn" type="button" on:click=move |_| who.ask()>"Try again"</button> };
    let lost = move || {
        who.answer().and_then(Result::err).map(|failure| {
            view! {
                <Notice look=ALERT text="This hub says nothing of signing in".to_owned() more=failure.text />
                {again()}
            }
        })
    };
    let no_way = move || {
        let none = who.answer().is_some_and(|answer| answer.is_ok_and(|session| session.methods.is_empty()));
        none.then(|| view! {
            <Notice look=ALERT text="Nobody can sign in to this hub now".to_owned() more="Its configuration has no way to sign in. mooring-hub dev prints a link that is good for ten minutes after the start.".to_owned() />
            {again()}
        })
    };
    let host = window().location().hostname().unwrap_or_default();
    let rope = |(path, x, y, slack): (&'static str, &'static str, &'static str, bool)| {
        view! {
            <path class=if slack { "signin__rope signin__rope--slack" } else { "signin__rope" } d=path></path>
            <circle class=if slack { "signin__buoy" } else { "signin__buoy signin__buoy--on" } cx=x cy=y r="4.5"></circle>
        }
    };
    view! {
        <main class="signin" id="main">
            <div class="signin__form">
                <div class="signin__brand">
                    <svg class="icon brand__mark" viewBox="0 0 24 24" aria-hidden="true"><use href="#mark"></use></svg><span class="brand__name">"Mooring"</span>
                </div>
                <div><h1 class="signin__title">"Sign in"</h1><p class="page__sub">"to "<code>{host}</code></p></div>
                <div role="alert">{move || refused.get().map(|failure| view! { <Notice look=command_look("Rejected") text=sentence(&failure.text) /> })}</div>
                {move || lost()}{move || no_way()}
                {each(methods, |method| method.method.clone(), move |method| view! { <Way method busy enter /> })}
                <p class="field__hint">"Every sign-in and every change is in the audit, under your name."</p>
            </div>
            <div class="signin__art" aria-hidden="true">
                <svg viewBox="0 0 800 800" preserveAspectRatio="xMinYMid slice">{ROPES.map(rope)}<path class="signin__post" d="M92 840V482M66 482h52"></path></svg>
                <p class="signin__promise">"Every line you hold, and the moment one parts."</p>
            </div>
        </main>
    }
    .into_any()
}

/// One way to sign in.
#[component]
fn Way(
    /// Which.
    method: Method,
    /// Whether an attempt is under way.
    busy: RwSignal<bool>,
    /// Makes one.
    enter: Callback<Value>,
) -> impl IntoView {
    let (name, secret) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let button = move || view! { <button class="btn btn--primary" type="submit" aria-busy=move || busy.get().to_string() disabled=move || busy.get()>"Sign in"</button> };
    match (method.method.as_str(), method.command) {
        ("password", _) => {
            let send = move |event: leptos::ev::SubmitEvent| {
                event.prevent_default();
                let (name, password) = (name.get_untracked().into(), secret.get_untracked().into());
                enter.run(Value::object(vec![("method", "password".into()), ("name", name), ("password", password)]));
            };
            view! {
                <form class="form" on:submit=send>
                    <label class="field"><span class="field__label">"Name"</span><input class="input" autocomplete="username" required bind:value=name /></label>
                    <label class="field"><span class="field__label">"Password"</span><input class="input" type="password" autocomplete="current-password" required bind:value=secret /></label>
                    {button()}
                </form>
            }
            .into_any()
        }
        ("kubernetes", command) => {
            let send = move |event: leptos::ev::SubmitEvent| {
                event.prevent_default();
                enter.run(Value::object(vec![("method", "kubernetes".into()), ("token", secret.get_untracked().trim().into())]));
            };
            let command = command.map(|command| {
                view! { <div class="secret"><span class="secret__text" title=command.clone()>{command.clone()}</span><Copy text=command label="Copy the command" /></div> }
            });
            view! {
                <form class="form" on:submit=send>
                    <label class="field">
                        <span class="field__label">"Kubernetes token"</span>
                        <input class="input input--mono" type="password" autocomplete="off" placeholder="eyJhbGciOiJSUzI1NiIs…" required bind:value=secret />
                    </label>
                    <p class="field__hint">"Make one with a role that is bound to this hub. It is not kept."</p>
                    {command}{button()}
                </form>
            }
            .into_any()
        }
        ("openid", _) => {
            let issuer = method.issuer.unwrap_or_default();
            let host = issuer.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or(&issuer).to_owned();
            // Back to here: a link that somebody was given leads where it should.
            let location = window().location();
            let here = [location.pathname(), location.search()].into_iter().flatten().collect::<String>();
            let to = Query::default().with("to", if here.starts_with("/sign-in") { String::new() } else { here });
            view! { <a class="btn btn--primary" href=format!("{}{}", method.start.unwrap_or_default(), to.text()) title=issuer>"Sign in at "{host}</a> }.into_any()
        }
        ("link", _) => {
            view! { <p class="field__hint">"Or open the link that "<code>"mooring-hub dev"</code>" has printed: it is good once."</p> }
                .into_any()
        }
        _ => ().into_any(),
    }
}
