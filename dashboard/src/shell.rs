//! What surrounds every page: the rail or the bar to go elsewhere by, the hub's name, the live link, the theme, the search, the keyboard.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::sign_out;
use crate::app::{Opened, Who};
use crate::browser::{Place, keep, kept, now};
use crate::link::state::Phase;
use crate::model::format::{duration, elapsed, number};
use crate::model::payload::harmless;
use crate::model::time::Moment;
use crate::parts::dialog::Dialog;
use crate::parts::sign::Icon;
use crate::parts::when::{At, use_now};
use crate::routes::Route;
use crate::search::SearchField;
use crate::world::World;

/// The pages about what goes on, with their icons.
const PAGES: [(Route, &str); 5] = [
    (Route::Overview, "overview"),
    (Route::Devices, "devices"),
    (Route::Connectivity, "grid"),
    (Route::Flow, "flow"),
    (Route::Commands, "commands"),
];

/// The pages about the hub.
const HUB_PAGES: [(Route, &str); 2] = [(Route::Audit, "audit"), (Route::GetStarted, "start")];

/// Signs out, and asks the hub who is signed in, whatever it said.
fn leave(who: Who) {
    spawn_local(async move {
        let _ = sign_out().await;
        who.ask();
    });
}

/// The rail at the side.
#[component]
pub fn Nav(
    /// Opens the help.
    help: RwSignal<bool>,
) -> impl IntoView {
    let world: World = expect_context();
    let who: Who = expect_context();
    let count = move |route: &Route| match route {
        Route::Devices => world.fleet.with(|fleet| fleet.as_ref().map(|fleet| number(fleet.total))),
        Route::Commands => {
            let backlog = world.rates.with(|rates| rates.latest().backlog);
            Some(backlog.enqueued + backlog.delivered).filter(|waiting| *waiting > 0).map(number)
        }
        _ => None,
    };
    let link = move |(route, icon): (Route, &'static str)| {
        let (counted, path, title) = (route.clone(), route.path(), route.title());
        view! {
            <li>
                <a class="nav__link" href=path title=title aria-current=current(route)>
                    <Icon name=icon /><span class="nav__text">{title.clone()}</span><span class="nav__count">{move || count(&counted)}</span>
                </a>
            </li>
        }
    };
    view! {
        <nav class="nav" aria-label="Main">
            <a class="nav__brand" href=Route::Overview.path()>
                <svg class="icon brand__mark" viewBox="0 0 24 24" aria-hidden="true"><use href="#mark"></use></svg>
                <span class="brand__name">"Mooring"</span>
            </a>
            <ul class="nav__list">{PAGES.map(link)}</ul>
            <div><p class="nav__label">"Hub"</p><ul class="nav__list">{HUB_PAGES.map(link)}</ul></div>
            <div class="nav__foot">
                <span class="nav__who" title=move || who.name()><Icon name="user" /><span class="nav__text table__clip">{move || who.name()}</span></span>
                <span class="nav__more">
                    {move || world.hub.with(|hub| hub.as_ref().map(|hub| format!("{} · ", hub.version)))}<a href="/openapi.json" target="_blank">"API"</a>" · "<button class="nav__out" type="button" on:click=move |_| help.set(true)>"Keys"</button>" · "
                    <button class="nav__out" type="button" on:click=move |_| leave(who)>"Sign out"</button>
                </span>
                <button class="btn btn--quiet btn--icon nav__leave" type="button" title="Sign out" aria-label="Sign out" on:click=move |_| leave(who)><Icon name="leave" /></button>
            </div>
        </nav>
    }
    .into_any()
}

/// `page` for the one that is shown.
fn current(route: Route) -> impl Fn() -> Option<&'static str> + Clone + Send + Sync + 'static {
    let place: Place = expect_context();
    move || (place.route.with(Route::section) == route).then_some("page")
}

/// The line at the top.
#[component]
pub fn TopBar(
    /// Opens the search.
    search: RwSignal<bool>,
) -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    view! {
        <header class="topbar">
            <a class="topbar__mark" href=Route::Overview.path() aria-label="Mooring, overview">
                <svg class="icon brand__mark" viewBox="0 0 24 24" aria-hidden="true"><use href="#mark"></use></svg>
            </a>
            <span class="topbar__hub"><code>{move || world.hub.with(|hub| hub.as_ref().map(|hub| hub.host_name.clone()))}</code></span>
            <span class="topbar__space"></span>
            <SearchField name="search-top" autofocus=false done=Callback::new(|()| ()) />
            <button class="btn btn--quiet btn--icon phone-only" type="button" aria-label="Search" on:click=move |_| search.set(true)><Icon name="search" /></button>
            <LinkState />
            <span class="topbar__clock dim mono">
                <time datetime=move || now.get().iso() title=move || now.get().absolute()>{move || now.get().clock()}</time>" UTC"
            </span>
            <span class="wide-only"><Theme /></span>
        </header>
    }
    .into_any()
}

/// The rope: taut, slack or parted.
#[component]
fn LinkState() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let state = Memo::new(move |_| match world.status.with(|status| status.phase.clone()) {
        Phase::Live => "live",
        Phase::Opening | Phase::CatchingUp => "wait",
        Phase::Waiting { .. } | Phase::Retrying => "down",
    });
    let text = move || match (state.get(), world.status.with(|status| status.down_since)) {
        ("live", _) => "Live".to_owned(),
        ("wait", None) => "Connecting".to_owned(),
        ("wait", Some(_)) => "Catching up".to_owned(),
        (_, since) => format!("Down {}", elapsed(since.map(|since| since.millis_until(now.get())).unwrap_or_default())),
    };
    // What is read aloud says nothing that counts.
    let word = move || match state.get() {
        "live" => "Live link is up",
        "wait" => "Live link is being opened",
        _ => "Live link is down",
    };
    let latency = move || (state.get() == "live").then(|| world.latency_ms.get().map(duration)).flatten();
    view! {
        <span class="livelink" data-state=move || state.get()>
            <span class="sr" role="status">{move || word()}</span>
            <svg class="icon livelink__rope" viewBox="0 0 28 12" aria-hidden="true"><use href=move || format!("#rope-{}", state.get())></use></svg>
            <span aria-hidden="true">{move || text()}</span>
            <span class="livelink__ms num" title="How long the hub took to answer">{move || latency()}</span>
        </span>
    }
    .into_any()
}

/// Below the top while the link is down, and for a moment after it came back.
#[component]
pub fn LinkBar() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let status = world.status;
    let down = move || {
        let since = status.with(|status| status.down_since)?;
        // What a hub that restarts needs is not worth a banner that comes and goes.
        (since.millis_until(now.get()) >= 1_500).then_some(since)
    };
    let next = move || match status.with(|status| (status.phase.clone(), status.attempts)) {
        (Phase::Waiting { until }, attempts) => format!("Attempt {} in {}", attempts + 1, elapsed(now.get().millis_until(until) + 999)),
        (_, attempts) => format!("Attempt {attempts} …"),
    };
    let why = move || status.with(|status| status.problem.clone()).map(|problem| format!(" The hub said: {problem}."));
    let bar = move |since| {
        view! {
            <div class="linkbar">
                <svg class="icon linkbar__rope" viewBox="0 0 28 12" aria-hidden="true"><use href="#rope-down"></use></svg>
                <p class="linkbar__text">
                    <strong role="alert">"Live link down since "<At time=since />" UTC"</strong>
                    <span aria-hidden="true">{move || format!(" ({}). ", elapsed(since.millis_until(now.get())))}</span>
                    "These numbers are from that moment. What you miss is fetched when the link is back."{move || why()}
                </p>
                <span class="linkbar__next num" aria-hidden="true">{move || next()}</span>
                <button class="btn btn--small" type="button" on:click=move |_| world.try_now()><Icon name="refresh" />"Try now"</button>
            </div>
        }
    };
    let shown = Memo::new(move |_| down());
    let back = Memo::new(move |_| status.with(|status| status.back_after).filter(|after| *after >= 1_500));
    let back_bar = move |after| {
        view! {
            <div class="linkbar" data-state="back" role="status">
                <svg class="icon linkbar__rope" viewBox="0 0 28 12" aria-hidden="true"><use href="#rope-live"></use></svg>
                <p class="linkbar__text"><strong>"Live again"</strong>{format!(" after {}. What happened meanwhile is here.", elapsed(after))}</p>
            </div>
        }
    };
    let opened: Opened = expect_context();
    let updated = Memo::new(move |_| {
        let now = world.hub.with(|hub| hub.as_ref().map(|hub| hub.version.clone()))?;
        (opened.version(&now) != now).then_some(now)
    });
    let reload = move |_| {
        let _ = window().location().reload();
    };
    let updated_bar = move |version: String| {
        view! {
            <div class="linkbar" data-state="back" role="status">
                <p class="linkbar__text"><strong>"The hub has been updated"</strong>{format!(" to {}. This page is of the one before.", harmless(&version))}</p>
                <button class="btn btn--small" type="button" on:click=reload><Icon name="refresh" />"Reload"</button>
            </div>
        }
    };
    view! { {move || shown.get().map(bar)}{move || back.get().map(back_bar)}{move || updated.get().map(updated_bar)} }.into_any()
}

/// System, light, dark, and round again.
#[component]
fn Theme() -> impl IntoView {
    let theme = RwSignal::new(kept("theme").filter(|theme| theme == "light" || theme == "dark"));
    let word = move || theme.get().unwrap_or_else(|| "system".to_owned());
    let turn = move |_| {
        let next = match theme.get_untracked().as_deref() {
            None => Some("light"),
            Some("light") => Some("dark"),
            _ => None,
        };
        keep("theme", next);
        if let Some(root) = document().document_element() {
            let _ = match next {
                Some(next) => root.set_attribute("data-theme", next),
                None => root.remove_attribute("data-theme"),
            };
        }
        theme.set(next.map(str::to_owned));
    };
    // The sign is of what is seen.
    let icon = Signal::derive(move || match theme.get().as_deref() {
        Some("dark") => "moon",
        None if window().match_media("(prefers-color-scheme: dark)").ok().flatten().is_some_and(|media| media.matches()) => "moon",
        _ => "sun",
    });
    view! {
        <button
            class="btn btn--quiet btn--icon" type="button" title=move || format!("Theme: {}", word())
            aria-label=move || format!("Theme: {}. Change", word()) on:click=turn
        ><Icon name=icon /></button>
    }
    .into_any()
}

/// The bar at the bottom of a phone, with a menu for what has no room.
#[component]
pub fn TabBar() -> impl IntoView {
    let place: Place = expect_context();
    let who: Who = expect_context();
    let open = RwSignal::new(false);
    Effect::new(move |_| {
        place.route.track();
        open.set(false);
    });
    let tab = |(route, icon, word): (Route, &'static str, &'static str)| {
        view! { <a class="tabbar__link" href=route.path() aria-current=current(route)><Icon name=icon />{word}</a> }
    };
    let tabs = [
        (Route::Overview, "overview", "Overview"),
        (Route::Devices, "devices", "Devices"),
        (Route::Flow, "flow", "Flow"),
        (Route::Commands, "commands", "Commands"),
    ];
    let rest = [(Route::Connectivity, "grid"), (Route::Audit, "audit"), (Route::GetStarted, "start")];
    let item = |(route, icon): (Route, &'static str)| {
        let (path, title) = (route.path(), route.title());
        view! { <a class="nav__link" href=path aria-current=current(route)><Icon name=icon />{title}</a> }
    };
    // Pressing beside it, or going on with the keyboard.
    let left = move |event: leptos::ev::FocusEvent| {
        use wasm_bindgen::JsCast as _;
        let to = event.related_target().and_then(|to| to.dyn_into::<web_sys::Element>().ok());
        if to.is_none_or(|to| to.closest(".tabbar").ok().flatten().is_none()) {
            open.set(false);
        }
    };
    let elsewhere =
        move || place.route.with(|route| matches!(route, Route::Connectivity | Route::Audit | Route::GetStarted)).then_some("page");
    view! {
        <nav class="tabbar" aria-label="Main, phone" on:focusout=left on:keydown=move |event| if event.key() == "Escape" { open.set(false) }>
            {tabs.map(tab)}
            <button class="tabbar__link" type="button" aria-expanded=move || open.get().to_string() aria-current=elsewhere
                on:click=move |_| open.update(|open| *open = !*open)
            ><Icon name="menu" />"More"</button>
            {move || open.get().then(|| view! {
                <div class="tabbar__more">
                    {rest.clone().map(item)}
                    <div class="tabbar__who"><span class="table__clip">{move || who.name()}</span><Theme /></div>
                    <button class="nav__link" type="button" on:click=move |_| leave(who)><Icon name="leave" />"Sign out"</button>
                </div>
            })}
        </nav>
    }
    .into_any()
}

/// What the keyboard can do.
const KEYS: [(&str, &str); 13] = [
    ("/", "Search for a device or command"),
    ("g o", "Overview"),
    ("g d", "Devices"),
    ("g n", "Connectivity"),
    ("g f", "Message flow"),
    ("g c", "Commands"),
    ("g a", "Audit"),
    ("g s", "Get started"),
    ("j k", "Move in the list of devices or of messages"),
    ("Enter", "Open the device"),
    ("x", "Choose the device, or let it go"),
    ("Esc", "Close, or leave the row"),
    ("?", "This help"),
];

/// Under this name the browser keeps that single letters mean nothing: who dictates, or presses keys by accident, wants none.
const SILENT: &str = "no-keys";

/// For how long `g` waits for where to.
const GOING_MS: u64 = 2_000;

/// Listens for keys that mean something everywhere, and says which there are.
#[component]
pub fn Shortcuts(
    /// Opens the search.
    search: RwSignal<bool>,
    /// Opens the help.
    help: RwSignal<bool>,
) -> impl IntoView {
    use wasm_bindgen::JsCast as _;
    let place: Place = expect_context();
    let going = StoredValue::new(None::<Moment>);
    let silent = RwSignal::new(kept(SILENT).is_some());
    Effect::new(move |_| keep(SILENT, silent.get().then_some("yes")));
    let pressed = move |event: leptos::ev::KeyboardEvent| {
        let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
        let typing = target.is_some_and(|target| target.closest("input, textarea, select, dialog[open]").ok().flatten().is_some());
        if typing || silent.get_untracked() || event.ctrl_key() || event.meta_key() || event.alt_key() {
            return;
        }
        let was_going = going.get_value().is_some_and(|since| since.millis_until(now()) < GOING_MS);
        going.set_value((event.key() == "g").then(now));
        match (was_going, event.key().as_str()) {
            (false, "/") => {
                event.prevent_default();
                let field = document().query_selector(".topbar [data-search]").ok().flatten();
                let field =
                    field.and_then(|field| field.dyn_into::<web_sys::HtmlElement>().ok()).filter(|field| field.offset_parent().is_some());
                match field {
                    Some(field) => drop(field.focus()),
                    None => search.set(true),
                }
            }
            (false, "?") => help.set(true),
            (true, "o") => place.go(&Route::Overview.path()),
            (true, "d") => place.go(&Route::Devices.path()),
            (true, "n") => place.go(&Route::Connectivity.path()),
            (true, "f") => place.go(&Route::Flow.path()),
            (true, "c") => place.go(&Route::Commands.path()),
            (true, "a") => place.go(&Route::Audit.path()),
            (true, "s") => place.go(&Route::GetStarted.path()),
            _ => {}
        }
    };
    let listener = window_event_listener(leptos::ev::keydown, pressed);
    on_cleanup(move || listener.remove());
    let rows = || KEYS.map(|(key, what)| view! { <dt><kbd class="kbd">{key}</kbd></dt><dd>{what}</dd> });
    let content = move || {
        view! {
            <dl class="keys">{rows()}</dl>
            <label class="row"><input class="check" type="checkbox" bind:checked=silent />"No single letters: nothing of this but Enter and Esc"</label>
        }
    };
    view! { <Dialog open=help heading="Keyboard" content /> }.into_any()
}
