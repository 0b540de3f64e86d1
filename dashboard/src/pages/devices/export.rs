//! The devices that fit, as a file: a table, or manifests.

use std::cell::RefCell;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::{now, save};
use crate::link::ask::Ask;
use crate::link::client::Subscription;
use crate::model::change::parse;
use crate::model::device_filter::DeviceFilter;
use crate::model::export::{CSV_HEAD, Made, Manifests, csv};
use crate::model::format::{count, exact};
use crate::model::hub::{FleetPage, FleetRow};
use crate::model::state::{Look, Tone};
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;
use crate::world::World;

/// Rows on a page of the hub's.
const PAGE: &str = "1000";

const SAVED: Look = Look { glyph: "completed", tone: Tone::Ok };

/// The buttons.
#[component]
pub fn Export(filter: Memo<DeviceFilter>) -> impl IntoView {
    let world: World = expect_context();
    let toasts: Toasts = expect_context();
    let got = RwSignal::new(None::<u64>);
    let table = move |_| {
        fetch(&filter.get_untracked(), got, toasts, move |rows| {
            let text = rows.iter().fold(CSV_HEAD.to_owned(), |text, row| text + &csv(row));
            save("devices.csv", "text/csv", &text);
            toasts.say(
                SAVED,
                format!("{} in devices.csv", count(rows.len() as u64, "device", "devices")),
                "What fits the filter now, in the list's order.",
            );
            got.set(None);
        });
    };
    let identities = StoredValue::new_local(None::<Subscription>);
    let manifests = move |_| {
        // By id, as they are kept.
        let by_id = DeviceFilter { sort: "id".to_owned(), descending: false, ..filter.get_untracked() };
        fetch(&by_id, got, toasts, move |rows| {
            let hub = world.hub.with_untracked(|hub| hub.as_ref().map(|hub| hub.host_name.clone()).unwrap_or_default());
            let hub = hub.split('.').next().unwrap_or_default().to_owned();
            let manifests = RefCell::new(Manifests::of(&rows, hub));
            let told = move |_: &str, text: &str| {
                let Some(step) = parse(text).and_then(|message| manifests.borrow_mut().hear(message.what)) else { return };
                match step {
                    Ok(Made { text, made, left_out }) => {
                        save("devices.yaml", "application/yaml", &text);
                        let more = if left_out == 0 {
                            "Each adopts the identity that is there.".to_owned()
                        } else {
                            format!("{} left out: they have manifests already.", exact(left_out))
                        };
                        toasts.say(SAVED, format!("{} in devices.yaml", count(made, "manifest", "manifests")), more);
                    }
                    Err(why) => toasts.failed("The manifests can't be made", why),
                }
                let _ = got.try_set(None);
                let _ = identities.try_update_value(Option::take);
            };
            let ask = Ask::Changes { kinds: "registry", device: None, snapshot: true };
            identities.set_value(world.subscribe(ask, None, told));
        });
    };
    let busy = move || got.with(Option::is_some);
    let word = move |word: &'static str| {
        move || got.get().filter(|got| *got > 0).map_or_else(|| word.to_owned(), |got| format!("{} rows…", exact(got)))
    };
    view! {
        <button class="btn" type="button" disabled=move || busy() on:click=table><Icon name="download" />{word("Export CSV")}</button>
        <button class="btn" type="button" disabled=move || busy() on:click=manifests><Icon name="download" />"Export manifests"</button>
    }
    .into_any()
}

/// All that fit, page by page. Whoever takes them says when that is over.
fn fetch(filter: &DeviceFilter, got: RwSignal<Option<u64>>, toasts: Toasts, then: impl FnOnce(Vec<FleetRow>) + 'static) {
    got.set(Some(0));
    let question = filter.question(now()).with("limit", PAGE);
    spawn_local(async move {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let answer: Result<FleetPage, Failure> = get(&format!("/devices{}", question.clone().with("after", after).text())).await;
            let page = match answer {
                Ok(page) => page,
                Err(failure) => {
                    toasts.failed("The devices can't be fetched", failure.text);
                    let _ = got.try_set(None);
                    return;
                }
            };
            rows.extend(page.devices);
            // Whoever leaves the page ends it.
            if got.try_set(Some(rows.len() as u64)).is_some() {
                return;
            }
            let Some(next) = page.next else { return then(rows) };
            after = next;
        }
    });
}
