//! What is known of the hub now: fed by the live link with what happens, and by the REST API with how things stand. One for all pages.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::now;
use crate::link::ask::Ask;
use crate::link::client::{Live, Subscription};
use crate::link::state::{Phase, Status};
use crate::model::change::{Change, What};
use crate::model::hub::{Fleet, FleetPage, Hub, Refusals};
use crate::model::json::{FromJson, object, read};
use crate::model::notable::{self, Notable, of};
use crate::model::rates::{Columns, Rates, Told};
use crate::model::time::Moment;
use crate::parts::toast::Toasts;
use crate::parts::when::use_now;

/// How often what has come is shown: four times a second is as fast as anybody reads.
const FRAME: Duration = Duration::from_millis(250);

/// How many notable events are kept.
const EVENTS_MAX: usize = 50;

/// Of how many devices the page remembers when they left.
const AWAY_MAX: usize = 20_000;

/// How often the hub is asked what it is: its certificate and its disk, which nobody announces.
const ASK_MS: u64 = 15_000;

/// At most how often a browser that can't keep up asks for the seconds that it was not told.
const RECALL_MS: u64 = 5_000;

/// Numbers of events below it are for those from before the page was opened.
const EVENTS_PAST: u64 = 1_000;

/// What is asked for.
pub const KINDS: &str = "registry,presence,refusal,command,receipt,audit";

/// How long after the hub has ended a subscription it is asked for once more.
const AGAIN: Duration = Duration::from_secs(10);

/// Why the hub has ended a subscription.
#[derive(Default)]
pub struct Problem {
    /// In the hub's words.
    pub message: String,
}

object!(Problem { message: "message" });

/// What is known.
#[derive(Clone, Copy)]
pub struct World {
    /// The hub itself.
    pub hub: RwSignal<Option<Hub>>,
    /// How its devices are.
    pub fleet: RwSignal<Option<Fleet>>,
    /// What has been going on, in numbers.
    pub rates: RwSignal<Rates>,
    /// What has just happened, a frame at a time.
    pub latest: RwSignal<Arc<Vec<Change>>>,
    /// Counts how often everything has to be asked for anew: something may have been missed.
    pub missed: RwSignal<u32>,
    /// What is worth a line, the newest first, each with a number of its own.
    pub events: RwSignal<VecDeque<(u64, Notable)>>,
    /// Whether the time before is known.
    pub recalled: RwSignal<bool>,
    /// How long the hub took to answer.
    pub latency_ms: RwSignal<Option<u64>>,
    /// Why it does not.
    pub failure: RwSignal<Option<Failure>>,
    /// The live link.
    pub status: RwSignal<Status>,
    live: StoredValue<Live, LocalStorage>,
}

/// What has come and is not shown yet.
#[derive(Default)]
struct Inbox {
    changes: RefCell<Vec<Change>>,
    told: RefCell<Vec<Told>>,
    missed: Cell<bool>,
    /// How many changes are lost to this page; none are when it can't be said how many.
    lost: Cell<Option<u64>>,
    /// Whether seconds are lost to it, and when it last asked for such.
    seconds_missed: Cell<bool>,
    recalled: Cell<Moment>,
    away: RefCell<HashMap<String, Moment>>,
    numbered: Cell<u64>,
    asked: Cell<Moment>,
    /// Failed attempts to open the link that were seen.
    attempts: Cell<u32>,
}

impl World {
    /// Begins to watch.
    pub fn watch() -> Self {
        let inbox = Rc::new(Inbox::default());
        let taken = Rc::clone(&inbox);
        let live = Live::open(Ask::Changes { kinds: KINDS, device: None, snapshot: false }, move |what| match what {
            What::Change(change) => taken.changes.borrow_mut().push(change),
            // Something is not known, and never will be by this way.
            what => {
                taken.missed.set(true);
                match what {
                    What::Skipped(count) => taken.lost.set(Some(taken.lost.get().unwrap_or_default() + count)),
                    What::Reset(_) => taken.lost.set(Some(taken.lost.get().unwrap_or_default())),
                    _ => {}
                }
            }
        });
        let world = Self {
            hub: RwSignal::new(None),
            fleet: RwSignal::new(None),
            rates: RwSignal::new(Rates::default()),
            latest: RwSignal::new(Arc::default()),
            missed: RwSignal::new(0),
            events: RwSignal::new(VecDeque::new()),
            recalled: RwSignal::new(false),
            latency_ms: RwSignal::new(None),
            failure: RwSignal::new(None),
            status: live.status(),
            live: StoredValue::new_local(live),
        };
        let heard = Rc::clone(&inbox);
        world.hear(Ask::Rates, move |told: Told| {
            // There were seconds in them.
            heard.seconds_missed.set(heard.seconds_missed.get() || told.skipped > 0);
            heard.told.borrow_mut().push(told);
        });
        world.hear(Ask::Fleet, move |fleet: Fleet| world.fleet.set(Some(fleet)));
        // What is not known of the time before: when the page opens, and whenever the link was down.
        let is_up = Memo::new(move |_| world.status.with(|status| status.phase == Phase::Live));
        Effect::new(move |_| {
            if is_up.get() {
                // The last day in steps of 20 s, then the last quarter of an hour by the second.
                let day_ago = now().plus(-86_400_000).iso();
                spawn_local(world.recall(vec![format!("/rates?since={day_ago}"), "/rates".to_owned()]));
                // What was asked for while there was no link may have failed, or be from before the first change that came over it.
                world.missed.update(|missed| *missed += 1);
            }
        });
        spawn_local(world.past());
        let frames = set_interval_with_handle(move || world.frame(&inbox), FRAME).ok();
        on_cleanup(move || frames.into_iter().for_each(|timer| timer.clear()));
        world
    }

    /// Asks the live link for something more, as long as whoever asks is there.
    pub fn hear<T: FromJson>(self, ask: Ask, told: impl Fn(T) + 'static) {
        let told = move |text: &str| {
            if let Ok(message) = read(text) {
                told(message);
            }
        };
        self.listen(ask, Rc::new(told), StoredValue::new_local(None), expect_context(), Rc::default());
    }

    /// Until whoever asked is gone. What the hub ends is asked for once more, and said: what is shown of it stands still meanwhile. What it refuses
    /// again and again is `said` once.
    fn listen(
        self,
        ask: Ask,
        told: Rc<dyn Fn(&str)>,
        kept: StoredValue<Option<Subscription>, LocalStorage>,
        toasts: Toasts,
        said: Rc<Cell<bool>>,
    ) {
        let (asked, tell) = (ask.clone(), Rc::clone(&told));
        let heard = move |kind: &str, text: &str| {
            if kind != "problem" {
                said.set(false);
                return tell(text);
            }
            if !said.replace(true) {
                toasts.failed("A part of this page is not kept up to date", read::<Problem>(text).unwrap_or_default().message);
            }
            let (ask, told, said) = (asked.clone(), Rc::clone(&told), Rc::clone(&said));
            let again = move || {
                if kept.try_with_value(|_| ()).is_some() {
                    self.listen(ask, told, kept, toasts, said);
                }
            };
            set_timeout(again, AGAIN);
        };
        kept.set_value(self.subscribe(ask, None, heard));
    }

    /// The same for those who end it themselves, and want to know the kind of each message.
    pub fn subscribe(self, ask: Ask, from: Option<String>, told: impl Fn(&str, &str) + 'static) -> Option<Subscription> {
        self.live.try_with_value(|live| live.subscribe(ask, from, told))
    }

    /// For somebody who does not want to wait for the link.
    pub fn try_now(self) {
        self.live.with_value(Live::try_now);
    }

    /// Until when what is known is known: now, while the link is there.
    pub fn moment(self) -> Signal<Moment> {
        let now = use_now();
        Signal::derive(move || {
            // What was before has just become known: whoever counts, counts again.
            self.recalled.track();
            self.status.with(|status| status.down_since).unwrap_or_else(|| now.get())
        })
    }

    /// Whether what is shown is from before the link went down.
    pub fn is_stale(self) -> bool {
        self.status.with(|status| status.down_since.is_some())
    }

    fn frame(self, inbox: &Rc<Inbox>) {
        let now = now();
        let told = std::mem::take(&mut *inbox.told.borrow_mut());
        if !told.is_empty() {
            self.rates.update(|rates| told.into_iter().for_each(|told| rates.hear(told)));
        }
        if inbox.missed.take() {
            self.missed.update(|missed| *missed += 1);
        }
        if inbox.seconds_missed.get() && inbox.recalled.get().millis_until(now) >= RECALL_MS {
            inbox.seconds_missed.set(false);
            inbox.recalled.set(now);
            spawn_local(self.recall(vec!["/rates".to_owned()]));
        }
        if let Some(count) = inbox.lost.take() {
            self.tell(inbox, vec![notable::hole(count, now)]);
        }
        let changes = std::mem::take(&mut *inbox.changes.borrow_mut());
        if !changes.is_empty() {
            self.take(&changes, inbox, now);
            self.latest.set(Arc::new(changes));
        }
        let (is_down, attempts) = self.status.with_untracked(|status| (status.is_down(), status.attempts));
        // A socket that is refused does not say why; an answer does: the session may be over.
        let failed = inbox.attempts.replace(attempts) < attempts;
        if failed || (!is_down && inbox.asked.get().millis_until(now) >= ASK_MS) {
            inbox.asked.set(now);
            spawn_local(self.ask());
        }
    }

    fn take(self, changes: &[Change], inbox: &Inbox, now: Moment) {
        let mut away = inbox.away.borrow_mut();
        let mut facts = Vec::new();
        for change in changes {
            let mut left = None;
            match change {
                Change::Presence(presence) if presence.is_connect() => left = away.remove(&presence.device_id),
                Change::Presence(presence) if !presence.device_connected && away.len() < AWAY_MAX => {
                    away.insert(presence.device_id.clone(), presence.time);
                }
                _ => {}
            }
            if let Some(fact) = of(change, left, now) {
                facts.push(fact);
            }
        }
        self.tell(inbox, facts);
    }

    fn tell(self, inbox: &Inbox, facts: Vec<Notable>) {
        if facts.is_empty() {
            return;
        }
        self.events.update(|events| {
            for fact in facts {
                inbox.numbered.set(inbox.numbered.get() + 1);
                events.push_front((EVENTS_PAST + inbox.numbered.get(), fact));
            }
            events.truncate(EVENTS_MAX);
        });
    }

    /// What happened before this page was there, as far as lists say it: who came and went last, and who was refused.
    async fn past(self) {
        let rows = get::<FleetPage>(&format!("/devices?limit={EVENTS_MAX}")).await;
        let refusals = get::<Refusals>("/refusals").await;
        let past = notable::past(&rows.unwrap_or_default().devices, &refusals.unwrap_or_default());
        let room = move |events: &mut VecDeque<_>| {
            let heard = events.back().map_or(Moment(i64::MAX), |(_, fact): &(u64, Notable)| fact.time);
            let before = past.into_iter().filter(|fact| fact.time < heard).take(EVENTS_MAX.saturating_sub(events.len()));
            events.extend((0..EVENTS_PAST).rev().zip(before));
        };
        let _ = self.events.try_update(room);
    }

    async fn ask(self) {
        let begun = now();
        match get::<Hub>("/hub").await {
            Ok(hub) => {
                self.latency_ms.set(Some(begun.millis_until(now())));
                self.hub.set(Some(hub));
                self.failure.set(None);
            }
            Err(failure) => self.failure.set(Some(failure)),
        }
    }

    async fn recall(self, paths: Vec<String>) {
        let mut all = true;
        for path in paths {
            match get::<Columns>(&path).await {
                Ok(columns) => self.rates.update(|rates| rates.recall(&columns)),
                Err(_) => all = false,
            }
        }
        if all {
            self.recalled.set(true);
        }
    }
}
