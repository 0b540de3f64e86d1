//! What can be done to many devices at once. Each deed names their number, and is locked until somebody has typed it.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Fleet;
use crate::api::{act, get};
use crate::app::Who;
use crate::browser::now;
use crate::model::device_filter::DeviceFilter;
use crate::model::format::{count, exact, number};
use crate::model::hub::{FleetPage, action};
use crate::model::selection::{Outcome, Selection};
use crate::model::state::{ALERT, DeviceState, Tone};
use crate::model::virtual_table::Pages;
use crate::parts::chart::Meter;
use crate::parts::dialog::Dialog;
use crate::parts::id::Id;
use crate::parts::notice::Notice;
use crate::parts::sign::{Glyph, Icon};
use crate::parts::toast::Toasts;
use crate::routes::{Query, Route};

/// As many as the hub does in one request, and gives on one page.
const AT_ONCE: usize = 1_000;

/// Ids that a dialog shows.
const SHOWN: usize = 6;

/// Failures that are listed.
const FAILED_MAX: usize = 100;

/// Ids that fit into an address.
const ADDRESSED_MAX: u64 = 100;

/// A deed: for the hub, as a verb, how it is asked, what stays if it is not done, and what follows from it.
#[derive(Clone, Copy)]
struct Deed {
    action: &'static str,
    verb: &'static str,
    stays: &'static str,
    icon: &'static str,
    follows: &'static str,
}

const DEEDS: [Deed; 4] = [
    Deed {
        action: "enable",
        verb: "Enable",
        stays: "Leave them",
        icon: "check",
        follows: "Those that were shut out can sign in again. What a manifest disables stays disabled.",
    },
    Deed {
        action: "disable",
        verb: "Disable",
        stays: "Keep them enabled",
        icon: "power",
        follows: "Their connections close within a second, and they can't sign in until somebody enables them. Queued commands stay and may expire.",
    },
    Deed {
        action: "rotate",
        verb: "Rotate keys of",
        stays: "Keep their keys",
        icon: "key",
        follows: "The secondary key of each is replaced. Connections that were opened with it close. Managed ones are refused: their manifests keep their keys.",
    },
    Deed {
        action: "delete",
        verb: "Delete",
        stays: "Keep them",
        icon: "close",
        follows: "Their identities, keys and queued commands are gone, and their connections close. Managed ones are refused: delete their manifests.",
    },
];

/// The bar, while something is chosen, and its dialogs.
#[component]
pub fn Bulk(fleet: Fleet, filter: Memo<DeviceFilter>) -> impl IntoView {
    let who: Who = expect_context();
    let total = Memo::new(move |_| fleet.pages.with(Pages::total) as u64);
    let chosen = Memo::new(move |_| fleet.chosen.with(|chosen| chosen.count(total.get())));
    let may = who.may("Devices");
    let deed = RwSignal::new(None::<Deed>);
    let open = RwSignal::new(false);
    // Here, not in the dialog: what is under way goes on whatever becomes of that.
    let outcome = RwSignal::new(None::<Outcome>);
    let busy = Memo::new(move |_| outcome.with(|outcome| outcome.as_ref().is_some_and(|outcome| !outcome.over)));
    let start = move |next: Deed| {
        if !busy.get_untracked() {
            outcome.set(None);
            deed.set(Some(next));
        }
        open.set(true);
    };
    let button = move |next: Deed| {
        let word = if next.action == "rotate" { "Rotate…".to_owned() } else { format!("{}…", next.verb) };
        view! { <button class="btn btn--small" type="button" disabled=!may on:click=move |_| start(next)><Icon name=next.icon />{word}</button> }
    };
    // Few fit into an address; for more, ids are pasted there.
    let command = move || {
        let ids = fleet.chosen.with(Selection::ids).filter(|ids| ids.len() as u64 <= ADDRESSED_MAX)?;
        let to = format!("{}{}", Route::Compose.path(), ids.into_iter().fold(Query::default(), |query, id| query.and("device", id)).text());
        Some(view! { <a class="btn btn--small" href=to><Icon name="commands" />"Send…"</a> })
    };
    let bar = move || {
        view! {
            <div class="bulkbar" role="region" aria-label="Selected devices">
                <strong>{move || number(chosen.get())}" selected"</strong>
                {move || (!fleet.chosen.with(Selection::is_all)).then(|| view! {
                    <button class="btn btn--quiet btn--small bulkbar__all" type="button" on:click=move |_| fleet.chosen.set(Selection::all())>{move || format!("Select all {}", number(total.get()))}</button>
                })}
                <span class="bulkbar__sep"></span>
                {DEEDS.map(button)}{move || command()}
                <button class="btn btn--quiet btn--icon btn--small bulkbar__clear" type="button" aria-label="Clear the selection" on:click=move |_| fleet.chosen.set(Selection::default())><Icon name="close" /></button>
            </div>
        }
    };
    let is_shown = Memo::new(move |_| chosen.get() > 0);
    view! {
        {move || is_shown.get().then(bar)}
        {move || deed.get().map(|deed| view! { <Ask fleet filter deed number=chosen.get_untracked() open outcome busy /> })}
    }
    .into_any()
}

/// Asks whether it is meant, does it, and says what became of it.
#[component]
fn Ask(
    fleet: Fleet,
    filter: Memo<DeviceFilter>,
    deed: Deed,
    /// How many they are.
    number: u64,
    open: RwSignal<bool>,
    /// What became of it, once it has begun.
    outcome: RwSignal<Option<Outcome>>,
    /// Whether it is under way.
    busy: Memo<bool>,
) -> impl IntoView {
    let toasts: Toasts = expect_context();
    let (reason, typed) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let devices = count(number, "device", "devices");
    let all = fleet.chosen.with_untracked(Selection::is_all);
    // As many as fitted when the number was shown: the list behind the dialog goes on.
    let total = fleet.pages.with_untracked(Pages::total) as u64;
    // A number that is not the whole one can't be agreed to.
    let counted = !all || fleet.exact.get_untracked();
    let matches = Memo::new(move |_| {
        counted && typed.with(|typed| typed.chars().filter(char::is_ascii_digit).collect::<String>() == number.to_string())
    });
    let press = move |_| {
        if busy.get_untracked() {
            return;
        }
        outcome.set(Some(Outcome::of(number)));
        let mut work = Work { action: deed.action, reason: reason.get_untracked(), sum: Outcome::of(number), shown: outcome };
        let chosen = fleet.chosen.get_untracked();
        let filter = filter.get_untracked();
        spawn_local(async move {
            let broken = work.carry_out(&chosen, &filter, total).await.err();
            (work.sum.broken, work.sum.over) = (broken, true);
            let look = if work.sum.done == number { DeviceState::Connected.look() } else { ALERT };
            toasts.say(look, format!("{} {}", deed.verb, count(number, "device", "devices")), work.sum.summary());
            let _ = outcome.try_set(Some(work.sum));
            let _ = fleet.chosen.try_set(Selection::default());
        });
    };
    let asked = devices;
    let ask = move || {
        let shown = fleet.chosen.with_untracked(Selection::ids).unwrap_or_default();
        let rest = number.saturating_sub(shown.len().min(SHOWN) as u64);
        view! {
            <p>{deed.follows}</p>
            {(!all).then(|| view! { <ul class="dialog__list">{shown.iter().take(SHOWN).map(|id| view! { <li><Id id=id.clone() /></li> }).collect_view()}{(rest > 0).then(|| view! { <li class="dim">{format!("and {} more", exact(rest))}</li> })}</ul> })}
            {all.then(|| view! { <Notice look=ALERT text="All that fit the filter, also those that are not on the screen".to_owned() /> })}
            {(!counted).then(|| view! { <Notice look=ALERT text="The hub has not counted them all".to_owned() more="More fit than the number says. Narrow the filter, or choose them one by one.".to_owned() /> })}
            {(deed.action != "rotate").then(|| view! { <label class="field"><span class="field__label">"Reason, kept in the audit"</span><input class="input" maxlength="128" bind:value=reason /></label> })}
            <label class="field"><span class="field__label">{format!("Type {number} to confirm")}</span><input class="input input--mono" inputmode="numeric" autocomplete="off" bind:value=typed /></label>
        }
        .into_any()
    };
    let body = move || {
        let Some(outcome) = outcome.get() else { return ask() };
        let row = |(id, why): &(String, String)| view! { <li><Id id=id.clone() /><span class="dim">{why.clone()}</span></li> };
        let said = if outcome.over { outcome.sentence() } else { "Going on…".to_owned() };
        view! {
            <p role="status"><strong>{exact(outcome.done)}</strong>{format!(" of {} done. {said}", exact(outcome.of))}</p>
            <Meter parts=vec![(if outcome.failed.is_empty() { Tone::Ok } else { Tone::Warn }, outcome.part(), false)] label="How much of it is done".to_owned() />
            {outcome.broken.clone().map(|why| view! { <Notice look=ALERT text="It went no further".to_owned() more=why /> })}
            {(!outcome.failed.is_empty()).then(|| view! { <ul class="dialog__list">{outcome.failed.iter().take(FAILED_MAX).map(row).collect_view()}</ul> })}
        }
        .into_any()
    };
    let foot = move || {
        let is_over = outcome.with(|outcome| outcome.as_ref().map(|outcome| outcome.over));
        let word = format!("{} {asked}", deed.verb);
        match is_over {
            None => view! {
                <button class="btn" type="button" on:click=move |_| open.set(false)>{deed.stays}</button>
                <button class=if deed.action == "enable" { "btn btn--primary" } else { "btn btn--danger" } type="button" disabled=move || !matches.get() on:click=press><Icon name=deed.icon />{word}</button>
            }
            .into_any(),
            Some(is_over) => {
                view! { <button class="btn" type="button" disabled=!is_over on:click=move |_| open.set(false)><Glyph look=DeviceState::Connected.look() />"Done"</button> }.into_any()
            }
        }
    };
    let heading = match deed.action {
        "enable" => "Enable these devices?",
        "disable" => "Disable these devices?",
        "rotate" => "Rotate the keys of these devices?",
        _ => "Delete these devices?",
    };
    view! { <Dialog open heading busy content=body foot=ViewFn::from(foot) /> }.into_any()
}

/// A deed that is under way.
struct Work {
    action: &'static str,
    reason: String,
    sum: Outcome,
    /// Where it is shown, as long as the page is there.
    shown: RwSignal<Option<Outcome>>,
}

impl Work {
    /// Goes through the chosen ones, a request for each thousand. Those of a filter are read page by page: a device that ceases to fit by what is
    /// done to it is on none of the later ones. It is done to no more than were agreed to, and to nobody if others fit by now.
    async fn carry_out(&mut self, chosen: &Selection, filter: &DeviceFilter, total: u64) -> Result<(), String> {
        if let Some(ids) = chosen.ids() {
            for some in ids.chunks(AT_ONCE) {
                self.act(some).await?;
            }
            return Ok(());
        }
        // By id, so that nobody is passed over because its place has changed.
        let by_id = DeviceFilter { sort: "id".to_owned(), descending: false, ..filter.clone() };
        let question = by_id.question(now()).with("limit", AT_ONCE.to_string());
        let mut after = None::<String>;
        loop {
            let path = format!("/devices{}", question.clone().with("after", after.clone().unwrap_or_default()).text());
            let page: FleetPage = get(&path).await.map_err(|failure| failure.text)?;
            if after.is_none() && page.total.count() != (total, true) {
                let (found, _) = page.total.count();
                return Err(format!("{} fit by now, not {}. Nothing was done: choose them anew.", exact(found), exact(total)));
            }
            let mut ids: Vec<_> = page.devices.into_iter().map(|row| row.device_id).filter(|id| chosen.contains(id)).collect();
            ids.truncate(self.sum.not_tried() as usize);
            if !ids.is_empty() {
                self.act(&ids).await?;
            }
            after = page.next;
            if after.is_none() || self.sum.not_tried() == 0 {
                return Ok(());
            }
        }
    }

    async fn act(&mut self, ids: &[String]) -> Result<(), String> {
        let results = act(&action(self.action, "secondary", &self.reason, ids)).await.map_err(|failure| failure.text)?;
        self.sum.add(results);
        let left = self.shown.try_set(Some(self.sum.clone())).is_some();
        // Whoever leaves the page ends it.
        if left && self.sum.not_tried() > 0 { Err("The page was left.".to_owned()) } else { Ok(()) }
    }
}
