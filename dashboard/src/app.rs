//! The page as a whole: what surrounds every page of it, and which of them is shown.

use leptos::mount::mount_to_body;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, Session, session};
use crate::browser::Place;
use crate::model::payload::harmless;
use crate::pages;
use crate::parts::notice::Empty;
use crate::parts::toast::{ToastList, Toasts};
use crate::parts::when::Clock;
use crate::routes::Route;
use crate::search::Search;
use crate::shell::{LinkBar, Nav, Shortcuts, TabBar, TopBar};
use crate::world::World;

/// Draws the page and keeps it drawn.
pub fn run() {
    std::panic::set_hook(Box::new(|broken| {
        web_sys::console::error_1(&broken.to_string().into());
        // What is on the screen is not kept up to date any more, which is worse than nothing if nobody says so.
        if let (Some(boot), Some(text)) = (document().get_element_by_id("boot"), document().get_element_by_id("boot-text")) {
            text.set_text_content(Some("It has stopped: what you see is not kept up to date any more."));
            let _ = boot.remove_attribute("hidden");
        }
    }));
    mount_to_body(App);
}

#[component]
fn App() -> impl IntoView {
    provide_context(Clock::begin());
    provide_context(Toasts::new());
    provide_context(Place::follow());
    provide_context(Opened(StoredValue::new(None)));
    let who = RwSignal::new(None::<Result<Session, Failure>>);
    provide_context(Who(who));
    Who(who).ask();
    let signed_in = Memo::new(move |_| who.with(|who| who.as_ref().map(|who| who.as_ref().is_ok_and(|session| session.signed_in))));
    view! {
        {move || match signed_in.get() {
            None => ().into_any(),
            Some(true) => view! { <Inside /> }.into_any(),
            Some(false) => view! { <pages::SignIn /> }.into_any(),
        }}
        <ToastList />
    }
}

/// The version of the hub that this page was loaded from. It outlives sessions: they end with the hub that is replaced by another.
#[derive(Clone, Copy)]
pub struct Opened(StoredValue<Option<String>>);

impl Opened {
    /// The first that was heard of.
    pub fn version(self, now: &str) -> String {
        self.0.try_update_value(|first| first.get_or_insert_with(|| now.to_owned()).clone()).unwrap_or_default()
    }
}

/// Who is signed in, once that is known.
#[derive(Clone, Copy)]
pub struct Who(RwSignal<Option<Result<Session, Failure>>>);

impl Who {
    /// Nobody has said yet, or this is what they said.
    pub fn answer(self) -> Option<Result<Session, Failure>> {
        self.0.get()
    }

    /// It is so now.
    pub fn is(self, session: Session) {
        self.0.set(Some(Ok(session)));
    }

    /// Asks the hub. One that does not answer has signed nobody out.
    pub fn ask(self) {
        spawn_local(async move {
            let answer = session().await;
            if answer.is_ok() || self.0.with_untracked(Option::is_none) {
                self.0.set(Some(answer));
            }
        });
    }

    /// What they are called.
    pub fn name(self) -> String {
        self.with(|session| harmless(session.name.as_deref().unwrap_or_default()))
    }

    /// Whether they may.
    pub fn may(self, right: &str) -> bool {
        self.with(|session| session.may(right))
    }

    fn with<T: Default>(self, ask: impl FnOnce(&Session) -> T) -> T {
        self.0.with(|who| who.as_ref().and_then(|who| who.as_ref().ok()).map(ask).unwrap_or_default())
    }
}

#[component]
fn Inside() -> impl IntoView {
    let world = World::watch();
    provide_context(world);
    let place: Place = expect_context();
    let who: Who = expect_context();
    Effect::new(move |_| {
        if world.failure.with(|failure| failure.as_ref().is_some_and(|failure| failure.status == 401)) {
            // The session may be over.
            who.ask();
        }
    });
    let search = RwSignal::new(false);
    let help = RwSignal::new(false);
    // Old numbers look old, everywhere.
    Effect::new(move |_| {
        let Some(root) = document().document_element() else { return };
        let _ = if world.is_stale() { root.set_attribute("data-stale", "") } else { root.remove_attribute("data-stale") };
    });
    Effect::new(move |_| {
        let hub = world.hub.with(|hub| hub.as_ref().map(|hub| hub.host_name.clone()));
        let title = place.route.with(Route::title);
        document().set_title(&hub.map_or_else(|| format!("{title} · Mooring"), |hub| format!("{title} · {hub} · Mooring")));
    });
    view! {
        <a class="skip" href="#main">"Skip to content"</a>
        <div class="app">
            <Nav help />
            <div class="main">
                <TopBar search />
                <LinkBar />
                <main class="page" id="main" tabindex="-1">{move || page(place.route.get())}</main>
            </div>
        </div>
        <TabBar />
        <Search open=search />
        <Shortcuts search help />
    }
    .into_any()
}

fn page(route: Route) -> AnyView {
    match route {
        Route::Overview => view! { <pages::Overview /> }.into_any(),
        Route::Devices => view! { <pages::Devices /> }.into_any(),
        Route::Device(id) => view! { <pages::Device id /> }.into_any(),
        Route::GetStarted => view! { <pages::GetStarted /> }.into_any(),
        Route::Commands => view! { <pages::Commands /> }.into_any(),
        Route::Command(id) => view! { <pages::Command id /> }.into_any(),
        Route::Compose => view! { <pages::ComposeMany /> }.into_any(),
        Route::Flow => view! { <pages::Flow /> }.into_any(),
        Route::Connectivity => view! { <pages::Connectivity /> }.into_any(),
        Route::Audit => view! { <pages::Audit /> }.into_any(),
        Route::Unknown(path) => view! { <NotFound path /> }.into_any(),
    }
}

#[component]
fn NotFound(path: String) -> impl IntoView {
    view! {
        <div class="page__head"><div class="page__title"><h1>"Not found"</h1></div></div>
        <section class="panel">
            <Empty heading="There is no page at this address">
                <p class="id">{harmless(&path)}</p>
                <p><a class="btn" href=Route::Overview.path()>"Overview"</a></p>
            </Empty>
        </section>
    }
    .into_any()
}
