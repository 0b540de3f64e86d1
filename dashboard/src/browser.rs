//! The browser, in small functions: its clock, its address bar, its memory, its clipboard.

use std::cell::Cell;
use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;

use crate::model::time::{Moment, ahead_ms};
use crate::routes::{BASE, Query, Route};

thread_local! {
    /// By how much the hub's clock is before this machine's.
    static AHEAD_MS: Cell<i64> = const { Cell::new(0) };
}

/// What time it is for the hub, of which everything here tells.
pub fn now() -> Moment {
    own_time().plus(AHEAD_MS.get())
}

/// What time it is for this machine.
pub fn own_time() -> Moment {
    Moment(js_sys::Date::now() as i64)
}

/// The hub has said what time it is (RFC 9110, 6.6.1), in an answer to what this machine asked when it was `begun`.
pub fn hear_time(begun: Moment, said: &str) {
    let said = js_sys::Date::parse(said);
    if said.is_finite() {
        AHEAD_MS.set(ahead_ms(AHEAD_MS.get(), begun, Moment(said as i64), own_time()));
    }
}

/// Between 0 and 1.
pub fn chance() -> f64 {
    js_sys::Math::random()
}

/// What this browser has kept under the name.
pub fn kept(name: &str) -> Option<String> {
    window().local_storage().ok().flatten()?.get_item(name).ok().flatten()
}

/// Keeps a text, or forgets it. A browser that keeps nothing is none the worse.
pub fn keep(name: &str, value: Option<&str>) {
    let Some(storage) = window().local_storage().ok().flatten() else { return };
    let _ = match value {
        Some(value) => storage.set_item(name, value),
        None => storage.remove_item(name),
    };
}

/// Puts a text into the clipboard, then says whether it is there.
pub async fn copy(text: String) -> bool {
    wasm_bindgen_futures::JsFuture::from(window().navigator().clipboard().write_text(&text)).await.is_ok()
}

/// Hands a file to whoever sits at the browser.
pub fn save(name: &str, kind: &str, text: &str) {
    let about = web_sys::BlobPropertyBag::new();
    about.set_type(kind);
    let parts = js_sys::Array::of1(&text.into());
    let Ok(blob) = web_sys::Blob::new_with_str_sequence_and_options(&parts, &about) else { return };
    let Ok(address) = web_sys::Url::create_object_url_with_blob(&blob) else { return };
    if let Some(link) = document().create_element("a").ok().and_then(|link| link.dyn_into::<web_sys::HtmlAnchorElement>().ok()) {
        link.set_href(&address);
        link.set_download(name);
        link.click();
    }
    let _ = web_sys::Url::revoke_object_url(&address);
}

/// What stands behind `#` in the address, which is taken away from it: nobody is to find it in the history.
pub fn take_fragment() -> Option<String> {
    let location = window().location();
    let fragment =
        location.hash().ok().and_then(|hash| Some(hash.strip_prefix('#')?.to_owned())).filter(|fragment| !fragment.is_empty())?;
    let address = format!("{}{}", location.pathname().ok()?, location.search().ok()?);
    let history = window().history().ok()?;
    history.replace_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(&address)).ok()?;
    Some(fragment)
}

/// So that it is to be seen, without moving more than that takes.
pub fn show(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        let how = web_sys::ScrollIntoViewOptions::new();
        how.set_block(web_sys::ScrollLogicalPosition::Nearest);
        element.scroll_into_view_with_scroll_into_view_options(&how);
    }
}

/// Something that is done a while after the last time that somebody wanted it, and not at all once whoever wanted it is gone.
#[derive(Clone, Copy)]
pub struct Later(StoredValue<Option<TimeoutHandle>>);

impl Later {
    /// Nothing yet.
    pub fn new() -> Self {
        let later = Self(StoredValue::new(None));
        on_cleanup(move || later.forget());
        later
    }

    /// This, and nothing that was wanted before.
    pub fn run(self, after: Duration, what: impl FnOnce() + 'static) {
        self.forget();
        let run = move || {
            let _ = self.0.try_update_value(Option::take);
            what();
        };
        self.0.set_value(set_timeout_with_handle(run, after).ok());
    }

    /// Whether it is still to be done.
    pub fn waits(self) -> bool {
        self.0.with_value(Option::is_some)
    }

    fn forget(self) {
        if let Some(timer) = self.0.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    }
}

/// Where the page is, and how it goes elsewhere.
#[derive(Clone, Copy)]
pub struct Place {
    /// Which page.
    pub route: RwSignal<Route>,
    /// With which filters.
    pub query: RwSignal<Query>,
    /// How far its list is scrolled: the way back leads to where somebody was.
    pub scrolled: StoredValue<f64>,
}

impl Place {
    /// Where the address bar says, followed from now on: back, forward, and links to pages of ours.
    pub fn follow() -> Self {
        let (route, query) = at();
        let place = Self { route: RwSignal::new(route), query: RwSignal::new(query), scrolled: StoredValue::new(0.0) };
        window_event_listener(leptos::ev::popstate, move |event| {
            place.scrolled.set_value(event.state().as_f64().unwrap_or_default());
            place.look();
        });
        window_event_listener(leptos::ev::click, move |event| {
            if event.default_prevented()
                || event.button() != 0
                || event.ctrl_key()
                || event.meta_key()
                || event.shift_key()
                || event.alt_key()
            {
                return;
            }
            let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
            let link = target.and_then(|target| target.closest("a[href]").ok().flatten());
            let Some(link) = link.and_then(|link| link.dyn_into::<web_sys::HtmlAnchorElement>().ok()) else { return };
            if link.has_attribute("download")
                || link.has_attribute("target")
                || link.origin() != window().location().origin().unwrap_or_default()
            {
                return;
            }
            if link.pathname().starts_with(BASE) && link.hash().is_empty() {
                event.prevent_default();
                place.go(&format!("{}{}", link.pathname(), link.search()));
            }
        });
        place
    }

    /// To another page, at its top.
    pub fn go(self, address: &str) {
        if let Ok(history) = window().history() {
            let _ = history.replace_state(&self.scrolled.get_value().into(), "");
            self.scrolled.set_value(0.0);
            let _ = history.push_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(address));
        }
        self.look();
        window().scroll_to_with_x_and_y(0.0, 0.0);
        if let Some(main) = document().get_element_by_id("main").and_then(|main| main.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = main.focus();
        }
    }

    /// The same page with other filters: no step of its own on the way back.
    pub fn filter(self, query: &Query) {
        let address = format!("{}{}", self.route.get_untracked().path(), query.text());
        if let Ok(history) = window().history() {
            let _ = history.replace_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(&address));
        }
        self.query.set(query.clone());
    }

    fn look(self) {
        let (route, query) = at();
        if self.query.get_untracked() != query {
            self.query.set(query);
        }
        if self.route.get_untracked() != route {
            self.route.set(route);
        }
    }
}

fn at() -> (Route, Query) {
    let location = window().location();
    (Route::parse(&location.pathname().unwrap_or_default()), Query::parse(&location.search().unwrap_or_default()))
}

/// How wide an element is, for as long as whoever asks is there. Nothing is known before it is drawn.
pub fn width_of(element: impl Fn() -> Option<web_sys::Element> + 'static) -> Memo<f64> {
    let size = size_of(element);
    Memo::new(move |_| size.get().0)
}

/// How wide and how tall.
pub fn size_of(element: impl Fn() -> Option<web_sys::Element> + 'static) -> ReadSignal<(f64, f64)> {
    let (size, set_size) = signal((0.0, 0.0));
    let observer = StoredValue::<Option<Watch>, LocalStorage>::new_local(None);
    Effect::new(move |_| {
        let Some(element) = element() else { return };
        let told = element.clone();
        let changed = Closure::<dyn Fn()>::new(move || {
            let seen = told.get_bounding_client_rect();
            let (seen, known): ((f64, f64), (f64, f64)) = ((seen.width(), seen.height()), size.get_untracked());
            if (seen.0 - known.0).abs() > 0.5 || (seen.1 - known.1).abs() > 0.5 {
                set_size.set(seen);
            }
        });
        if let Ok(watch) = web_sys::ResizeObserver::new(changed.as_ref().unchecked_ref()) {
            watch.observe(&element);
            observer.set_value(Some(Watch { watch, _changed: changed }));
        }
    });
    size
}

/// Ends with its owner.
struct Watch {
    watch: web_sys::ResizeObserver,
    _changed: Closure<dyn Fn()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watch.disconnect();
    }
}
