//! What is known of the hub now: fed by the live link with what happens, and by the REST API with how things stand. One for all pages.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{Failure, get};
use crate::browser::now;
use crate::link::client::{Interest, Live};
use crate::link::state::{Phase, Status};
use crate::model::activity::{Activity, History};
use crate::model::change::{Change, What};
use crate::model::hub::{Backlog, Commands, Hub, PresenceSummary, Refusals};
use crate::model::notable::{Notable, of};
use crate::model::time::Moment;

/// How often what has come is shown: four times a second is as fast as anybody reads.
const FRAME: Duration = Duration::from_millis(250);

/// How many notable events are kept.
const EVENTS_MAX: usize = 50;

/// Of how many devices the page remembers when they left.
const AWAY_MAX: usize = 20_000;

/// How often the hub is asked how things stand: while something happens, and while nothing does.
const ASK_BUSY_MS: u64 = 1_000;
const ASK_QUIET_MS: u64 = 15_000;

/// What is known.
#[derive(Clone, Copy)]
pub struct World {
    /// The hub itself.
    pub hub: RwSignal<Option<Hub>>,
    /// Who can't hold a connection.
    pub presence: RwSignal<PresenceSummary>,
    /// What waits for devices.
    pub backlog: RwSignal<Option<Backlog>>,
    /// What has been going on.
    pub activity: RwSignal<Activity>,
    /// How many were connected.
    pub connected: RwSignal<History>,
    /// What is worth a line, the newest first, each with a number of its own.
    pub events: RwSignal<VecDeque<(u64, Notable)>>,
    /// Since when this page has been watching.
    pub since: Moment,
    /// How long the hub took to answer.
    pub latency_ms: RwSignal<Option<u64>>,
    /// Why it does not.
    pub failure: RwSignal<Option<Failure>>,
    /// The live link.
    pub status: RwSignal<Status>,
    live: StoredValue<Live, LocalStorage>,
}

/// What has come and is not shown yet, and what is to be asked.
#[derive(Default)]
struct Inbox {
    changes: RefCell<Vec<Change>>,
    away: RefCell<HashMap<String, Moment>>,
    numbered: Cell<u64>,
    fleet_asked: Cell<Moment>,
    fleet_changed: Cell<bool>,
    commands_asked: Cell<Moment>,
    commands_changed: Cell<bool>,
}

impl World {
    /// Begins to watch.
    pub fn watch() -> Self {
        let inbox = Rc::new(Inbox::default());
        let taken = Rc::clone(&inbox);
        let live =
            Live::open(Interest { kinds: "registry,presence,refusal,command,receipt", device: None, snapshot: false }, move |what| {
                match what {
                    What::Change(change) => taken.changes.borrow_mut().push(change),
                    // How things stand is asked for anew: something is not known.
                    _ => {
                        taken.fleet_asked.set(Moment(0));
                        taken.commands_asked.set(Moment(0));
                    }
                }
            });
        let world = Self {
            hub: RwSignal::new(None),
            presence: RwSignal::new(PresenceSummary::default()),
            backlog: RwSignal::new(None),
            activity: RwSignal::new(Activity::default()),
            connected: RwSignal::new(History::default()),
            events: RwSignal::new(VecDeque::new()),
            since: now(),
            latency_ms: RwSignal::new(None),
            failure: RwSignal::new(None),
            status: live.status(),
            live: StoredValue::new_local(live),
        };
        world.remember_refusals();
        let frames = set_interval_with_handle(move || world.frame(&inbox), FRAME).ok();
        on_cleanup(move || frames.into_iter().for_each(|timer| timer.clear()));
        world
    }

    /// For somebody who does not want to wait for the link.
    pub fn try_now(self) {
        self.live.with_value(Live::try_now);
    }

    /// Whether what is shown is from before the link went down.
    pub fn is_stale(self) -> bool {
        self.status.with(|status| status.down_since.is_some())
    }

    fn frame(self, inbox: &Rc<Inbox>) {
        let now = now();
        let changes = std::mem::take(&mut *inbox.changes.borrow_mut());
        if !changes.is_empty() {
            self.take(&changes, inbox, now);
        }
        if self.status.with_untracked(|status| matches!(status.phase, Phase::Waiting { .. } | Phase::Retrying)) {
            return;
        }
        let due = |asked: &Cell<Moment>, changed: &Cell<bool>| {
            let after = if changed.get() { ASK_BUSY_MS } else { ASK_QUIET_MS };
            let due = asked.get().millis_until(now) >= after;
            if due {
                asked.set(now);
                changed.set(false);
            }
            due
        };
        if due(&inbox.fleet_asked, &inbox.fleet_changed) {
            spawn_local(self.ask_fleet());
        }
        if due(&inbox.commands_asked, &inbox.commands_changed) {
            spawn_local(self.ask_commands());
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
            match change {
                Change::Command(..) | Change::Receipt(_) => inbox.commands_changed.set(true),
                _ => inbox.fleet_changed.set(true),
            }
            if let Some(fact) = of(change, left, now) {
                inbox.numbered.set(inbox.numbered.get() + 1);
                facts.push((inbox.numbered.get(), fact));
            }
        }
        self.activity.update(|activity| changes.iter().for_each(|change| activity.apply(change, now)));
        if !facts.is_empty() {
            self.events.update(|events| {
                facts.into_iter().for_each(|fact| events.push_front(fact));
                events.truncate(EVENTS_MAX);
            });
        }
    }

    async fn ask_fleet(self) {
        let begun = now();
        match get::<Hub>("/hub").await {
            Ok(hub) => {
                let at = now();
                self.latency_ms.set(Some(begun.millis_until(at)));
                self.connected.update(|history| history.record(at, hub.devices.connected as f64));
                self.hub.set(Some(hub));
                self.failure.set(None);
            }
            Err(failure) => self.failure.set(Some(failure)),
        }
        if let Ok(presence) = get("/presence").await {
            self.presence.set(presence);
        }
    }

    async fn ask_commands(self) {
        if let Ok(pending) = get::<Commands>("/commands?state=Pending&limit=1000").await {
            self.backlog.set(Some(Backlog::of(&pending)));
        }
    }

    /// Those of the last hour that the hub still knows: one of each name.
    fn remember_refusals(self) {
        spawn_local(async move {
            let Ok(refusals) = get::<Refusals>("/refusals").await else { return };
            let now = now();
            let recent = refusals.into_iter().filter(|refusal| refusal.time.millis_until(now) < 3_600_000);
            self.activity.update(|activity| recent.for_each(|refusal| activity.refusals.add(refusal.time, &refusal.reason)));
        });
    }
}
