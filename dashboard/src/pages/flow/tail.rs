//! The live tail: where it begins, what it is filtered by, whether it goes on, and its rows. It stands still while somebody points at it.

use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;

use crate::browser::{Later, Place, now, show};
use crate::link::ask::{Ask, Tail as Wanted};
use crate::link::client::Subscription;
use crate::model::event::{Counts, Event, Rows, Told};
use crate::model::format::{NOTHING, exact};
use crate::model::json::read;
use crate::model::state::ALERT;
use crate::model::time::Moment;
use crate::parts::control::Seg;
use crate::parts::each::each;
use crate::parts::id::Id;
use crate::parts::notice::{Empty, Notice};
use crate::parts::sign::Icon;
use crate::parts::when::use_now;
use crate::world::{Problem, World};

/// How long somebody types before the hub is asked.
const TYPED: Duration = Duration::from_millis(400);

/// A tail that is followed.
#[derive(Clone, Copy)]
pub struct Following {
    world: World,
    wanted: Memo<Wanted>,
    /// What came.
    pub rows: RwSignal<Rows>,
    /// How much of it, by when it was sent.
    pub counts: RwSignal<Counts>,
    /// Why the hub does not say.
    problem: RwSignal<Option<String>>,
    /// Whether somebody has stopped it.
    pub paused: RwSignal<bool>,
    /// What is followed now, and where it stopped.
    subscription: StoredValue<Option<Subscription>, LocalStorage>,
    stopped_at: StoredValue<Option<String>>,
    /// Which tail: what comes late of another one is thrown away.
    turn: StoredValue<u32>,
}

impl Following {
    /// Follows what is wanted, for as long as the page is there.
    pub fn begin(world: World, wanted: Memo<Wanted>) -> Self {
        let following = Self {
            world,
            wanted,
            rows: RwSignal::new(Rows::default()),
            counts: RwSignal::new(Counts::default()),
            problem: RwSignal::new(None),
            paused: RwSignal::new(false),
            subscription: StoredValue::new_local(None),
            stopped_at: StoredValue::new(None),
            turn: StoredValue::new(0),
        };
        Effect::new(move |_| {
            // A memo that nobody reads is never made.
            let wanted = wanted.get();
            following.stopped_at.set_value(None);
            following.rows.set(Rows::default());
            following.counts.set(Counts::default());
            following.paused.set(false);
            following.go_on(wanted);
        });
        following
    }

    fn go_on(self, wanted: Wanted) {
        self.problem.set(None);
        self.turn.update_value(|turn| *turn += 1);
        let turn = self.turn.get_value();
        let heard = move |kind: &str, text: &str| {
            if self.turn.try_get_value() != Some(turn) {
                return;
            }
            if kind == "problem" {
                self.problem.set(read::<Problem>(text).ok().map(|problem| problem.message));
            } else if let Ok(told) = read::<Told>(text) {
                if self.problem.with_untracked(Option::is_some) {
                    self.problem.set(None);
                }
                self.counts.update(|counts| counts.take(&told, now()));
                self.rows.update(|rows| rows.take(told, now()));
            }
        };
        let from = self.stopped_at.get_value();
        // The one before ends only now: it has told where it stands.
        self.subscription.set_value(self.world.subscribe(Ask::Events(wanted), from, heard));
    }

    fn pause(self) {
        self.turn.update_value(|turn| *turn += 1);
        let position = self.subscription.with_value(|subscription| subscription.as_ref().and_then(Subscription::position));
        self.stopped_at.set_value(position);
        self.subscription.set_value(None);
    }

    /// After the hub has ended it, from where it stood.
    fn again(self) {
        if !self.paused.get_untracked() {
            self.pause();
        }
        self.paused.set(false);
        self.go_on(self.wanted.get_untracked());
    }

    fn turn(self) {
        self.paused.update(|paused| *paused = !*paused);
        if self.paused.get_untracked() { self.pause() } else { self.go_on(self.wanted.get_untracked()) }
    }
}

/// Where a tail can begin, as it is chosen among.
const FROM: [&str; 4] = ["Latest", "Earliest", "Time", "Sequence"];
const EARLIEST: usize = 1;
const TIME: usize = 2;
const SEQUENCE: usize = 3;

/// What is followed.
#[component]
pub fn Toolbar(following: Following, place: Place, bodies: bool) -> impl IntoView {
    let from = Memo::new(move |_| {
        place.query.with(|query| match query.get("from").unwrap_or_default() {
            "earliest" => EARLIEST,
            text if text.starts_with("time:") => TIME,
            text if text.starts_with("sequence:") || text.starts_with("offset:") => SEQUENCE,
            _ => 0,
        })
    });
    let go = move |name: &str, value: String| place.filter(&place.query.get_untracked().with(name, value));
    let choose = Callback::new(move |chosen: usize| {
        let from = match chosen {
            EARLIEST => "earliest".to_owned(),
            TIME => format!("time:{}", now().plus(-600_000).iso()),
            SEQUENCE => "sequence:0".to_owned(),
            _ => String::new(),
        };
        go("from", from);
    });
    let typed = RwSignal::new(place.query.with_untracked(|query| query.get("filter").unwrap_or_default().to_owned()));
    let later = Later::new();
    let input = move |event| {
        typed.set(event_target_value(&event));
        later.run(TYPED, move || go("filter", typed.get_untracked()));
    };
    // The address may have been changed by another way: a link, or the way back.
    Effect::new(move |_| {
        let said = place.query.with(|query| query.get("filter").unwrap_or_default().to_owned());
        if !later.waits() && typed.get_untracked() != said {
            typed.set(said);
        }
    });
    let value = move |prefix: &'static str| {
        move || place.query.with(|query| query.get("from").and_then(|from| from.strip_prefix(prefix)).unwrap_or_default().to_owned())
    };
    let place_field = move || match from.get() {
        TIME => {
            let at = value("time:");
            // The field speaks of local time, and means UTC here: as everywhere on this page.
            let shown = move || at().trim_end_matches('Z').chars().take(19).collect::<String>();
            let change = move |event| {
                if let Some(moment) = Moment::parse(&format!(
                    "{}{}Z",
                    event_target_value(&event),
                    if event_target_value(&event).len() == 16 { ":00" } else { "" }
                )) {
                    go("from", format!("time:{}", moment.iso()));
                }
            };
            view! { <label class="row"><span class="sr">"From, in UTC"</span><input class="input input--mono input--fit" type="datetime-local" step="1" prop:value=move || shown() on:change=change /><span class="dim">"UTC"</span></label> }.into_any()
        }
        SEQUENCE => {
            let at = value("sequence:");
            let change = move |event| go("from", format!("sequence:{}", event_target_value(&event).trim()));
            view! { <label class="row"><span class="dim">"Sequence number"</span><input class="input input--mono input--fit" inputmode="numeric" prop:value=at on:change=change /></label> }.into_any()
        }
        _ => ().into_any(),
    };
    let present = use_now();
    let note = Memo::new(move |_| following.rows.with(|rows| rows.note(present.get())));
    let choices = FROM.to_vec();
    let hint = if bodies { "device:pump prop.region:eu-west text" } else { "device:pump" };
    let partition = move || place.query.with(|query| query.get("partition").map(str::to_owned));
    view! {
        <div class="filters">
            <PauseButton following />
            <Seg label="Start from" choices chosen=from choose />
            {move || place_field()}
            <span class="filters__sep"></span>
            <label class="search search--wide">
                <span class="sr">"Filter by device, property or text"</span><Icon name="filter" />
                <input class="input input--mono" type="search" autocomplete="off" spellcheck="false" placeholder=hint prop:value=move || typed.get() on:input=input />
            </label>
            {move || partition().map(|partition| view! {
                <button class="chip" type="button" aria-pressed="true" on:click=move |_| go("partition", String::new())>{format!("Partition {partition}")}<Icon name="close" /></button>
            })}
            <span class="filters__note" title=move || note.get()>{move || note.get()}</span>
        </div>
    }
    .into_any()
}

/// Stops it, without losing its place, and lets it go on.
#[component]
pub fn PauseButton(following: Following) -> impl IntoView {
    view! {
        <button class="btn btn--steady" type="button" on:click=move |_| following.turn()>
            <Icon name=Signal::derive(move || if following.paused.get() { "play" } else { "pause" }) /><span>{move || if following.paused.get() { "Go on" } else { "Pause" }}</span>
        </button>
    }
    .into_any()
}

/// The rows.
#[component]
pub fn Tail(
    following: Following,
    chosen: RwSignal<Option<Arc<Event>>>,
    /// They are all of one device, beside much else of it.
    #[prop(optional)]
    own: bool,
) -> impl IntoView {
    let reads = RwSignal::new(false);
    let shown = RwSignal::new(Rows::default());
    Effect::new(move |_| {
        following.rows.track();
        // Another tail is the operator's own act; and where there is nothing yet, nobody reads.
        if !reads.get() || following.rows.with(Rows::is_empty) || shown.with_untracked(Rows::is_empty) {
            shown.set(following.rows.get_untracked());
        }
    });
    let waiting = Memo::new(move |_| following.rows.with(Rows::newest).saturating_sub(shown.with(Rows::newest)));
    let row = move |(number, event): (u64, Arc<Event>)| {
        let (one, other) = (Arc::clone(&event), Arc::clone(&event));
        let selected = move || chosen.with(|chosen| chosen.as_ref().is_some_and(|chosen| Arc::ptr_eq(chosen, &other))).to_string();
        let time = event
            .enqueued_time
            .map(|time| view! { <time datetime=time.iso() title=time.absolute()>{time.clock()}{time.fraction()}</time> });
        view! {
            <div class="table__row" role="row" id=format!("event-{number}") aria-selected=move || selected() on:click=move |_| chosen.set(Some(Arc::clone(&one)))>
                <span role="cell" data-col="time" class="dim mono">{time}</span>
                <span role="cell" data-col="p" class="dim num">{event.partition}</span>
                <span role="cell" data-col="id"><Id id=event.device_id.clone() /></span>
                <span role="cell" data-col="size" class="dim num">{event.size().map_or_else(|| NOTHING.to_owned(), exact)}</span>
                <span role="cell" data-col="text" class="mono table__clip">{event.preview()}</span>
            </div>
        }
    };
    // From row to row: what is chosen is what the side shows.
    let pressed = move |event: leptos::ev::KeyboardEvent| {
        let by: i64 = match event.key().as_str() {
            "j" | "ArrowDown" => 1,
            "k" | "ArrowUp" => -1,
            _ => return,
        };
        event.prevent_default();
        reads.set(true);
        let rows: Vec<_> = shown.with_untracked(|rows| rows.iter().cloned().collect());
        let at = chosen.get_untracked().and_then(|chosen| rows.iter().position(|(_, event)| Arc::ptr_eq(event, &chosen)));
        let next = at.map_or(0, |at| (at as i64 + by).clamp(0, rows.len().max(1) as i64 - 1) as usize);
        if let Some((number, event)) = rows.get(next) {
            chosen.set(Some(Arc::clone(event)));
            show(&format!("event-{number}"));
        }
    };
    let at = move || {
        let chosen = chosen.get()?;
        shown.with(|rows| rows.iter().find(|(_, event)| Arc::ptr_eq(event, &chosen)).map(|(number, _)| format!("event-{number}")))
    };
    let empty = move || {
        if following.problem.with(Option::is_some) {
            ().into_any()
        } else if own {
            view! { <Empty heading="It has sent nothing lately"><p>"What it sends is here as soon as the hub has it."</p></Empty> }
                .into_any()
        } else {
            view! { <Empty heading="Nothing yet"><p>"What fits is here as soon as a device sends it. Begin earlier, or take the filter away."</p></Empty> }.into_any()
        }
    };
    // Rows that came before it stay, and are not the latest any more.
    let problem = move |more: String| {
        view! {
            <div class="panel__body panel__body--first stack" role="alert">
                <Notice look=ALERT text="The hub does not show this".to_owned() more />
                <div><button class="btn btn--small" type="button" on:click=move |_| following.again()><Icon name="refresh" />"Go on"</button></div>
            </div>
        }
    };
    view! {
        <div class=if own { "table table--tail table--own" } else { "table table--tail" } role="group" aria-label="Messages" on:pointerenter=move |_| reads.set(true) on:pointerleave=move |_| reads.set(false)>
            {move || following.problem.get().map(problem)}
            <div class="table__view" tabindex="0" role="grid" aria-label="Message rows" aria-activedescendant=at on:keydown=pressed on:blur=move |_| reads.set(false)>
                <div class="table__row table__row--head" role="row">
                    <span role="columnheader" data-col="time">"Enqueued"</span><span role="columnheader" data-col="p" class="num" title="Partition">"P"</span><span role="columnheader" data-col="id">"Device"</span>
                    <span role="columnheader" data-col="size" class="num">"Bytes"</span>
                    <span role="columnheader" data-col="text" class="row">"Payload"<span class="push dim">{move || (waiting.get() > 0).then(|| format!("{} new while you look", exact(waiting.get())))}</span></span>
                </div>
                {move || shown.with(Rows::is_empty).then(empty)}
                {each(move || shown.with(|rows| rows.iter().cloned().collect()), |(number, _)| number.to_string(), row)}
            </div>
        </div>
    }
    .into_any()
}
