//! What is told to everybody who looks, over and over: made once however many look, and not at all while nobody does.
//!
//! The newest counts: whoever is slow is told how much he has missed. Nothing is kept for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::core::time::UnixMillis;
use crate::ops::Hub;
pub use crate::ops::consumer_groups::GroupStatus;
use crate::ops::consumer_groups::describe_consumer_groups;
use crate::ops::fleet_index::{FleetSummary, summarize_fleet};
use crate::ops::seats::Seats;
use crate::ops::tail_events::Tails;

/// How often the fleet and the consumer groups are looked at while somebody wants to know.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The most browsers of one person, or with the tokens of one policy.
const BROWSERS_PER_PERSON_MAX: usize = 64;

/// The most browsers in all.
const BROWSERS_MAX: usize = 256;

/// One row of things that are told, of which the newest counts.
#[derive(Debug)]
pub struct Broadcast<T> {
    newest: watch::Sender<Option<Arc<Told<T>>>>,
    told: AtomicU64,
    /// How many texts were made.
    texts: Arc<AtomicU64>,
    wanted: Notify,
}

/// One thing that is told, with its text once somebody wanted it.
#[derive(Debug)]
pub struct Told<T> {
    number: u64,
    /// What.
    pub what: T,
    text: OnceLock<Box<str>>,
    texts: Arc<AtomicU64>,
}

/// Somebody who wants to be told.
#[derive(Debug)]
pub struct Listener<T> {
    newest: watch::Receiver<Option<Arc<Told<T>>>>,
    heard: Option<u64>,
}

impl<T> Default for Broadcast<T> {
    fn default() -> Self {
        Self { newest: watch::Sender::new(None), told: AtomicU64::new(0), texts: Arc::default(), wanted: Notify::new() }
    }
}

impl<T> Broadcast<T> {
    /// Tells everybody who listens; nobody waits.
    pub(super) fn tell(&self, what: T) {
        if !self.is_wanted() {
            // Whoever listens next must not take this for new.
            self.newest.send_if_modified(|newest| newest.take().is_some());
            return;
        }
        let number = self.told.fetch_add(1, Ordering::Relaxed);
        self.newest.send_replace(Some(Arc::new(Told { number, what, text: OnceLock::new(), texts: Arc::clone(&self.texts) })));
    }

    /// Wants to be told: first of what is newest.
    #[must_use]
    pub fn listen(&self) -> Listener<T> {
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        self.wanted.notify_one();
        Listener { newest, heard: None }
    }

    /// How many texts were made so far.
    #[must_use]
    pub fn texts_made(&self) -> u64 {
        self.texts.load(Ordering::Relaxed)
    }

    fn is_wanted(&self) -> bool {
        self.newest.receiver_count() > 0
    }

    /// Waits until somebody listens.
    async fn wait_wanted(&self) {
        while !self.is_wanted() {
            self.newest.send_if_modified(|newest| newest.take().is_some());
            self.wanted.notified().await;
        }
    }
}

impl<T> Told<T> {
    /// Its text, made by the first who asks, the same for all.
    pub fn text(&self, render: impl FnOnce(&T) -> String) -> &str {
        self.text.get_or_init(|| {
            self.texts.fetch_add(1, Ordering::Relaxed);
            render(&self.what).into_boxed_str()
        })
    }
}

impl<T> Listener<T> {
    /// The newest that it has not been told yet, and how many it missed before that; `None` when there will be nothing more. Loses
    /// nothing when it is dropped while it waits.
    pub async fn next(&mut self) -> Option<(Arc<Told<T>>, u64)> {
        loop {
            self.newest.changed().await.ok()?;
            let Some(told) = self.newest.borrow_and_update().clone() else { continue };
            let skipped = self.heard.map_or(0, |heard| told.number.saturating_sub(heard).saturating_sub(1));
            self.heard = Some(told.number);
            return Some((told, skipped));
        }
    }
}

/// How the consumer groups stand.
#[derive(Debug)]
pub struct GroupsNow {
    /// When.
    pub time: UnixMillis,
    /// The groups.
    pub groups: Vec<GroupStatus>,
}

/// What is looked at for those who listen, beside rates.
#[derive(Debug)]
pub struct Looks {
    /// The fleet.
    pub fleet: Broadcast<FleetSummary>,
    /// The consumer groups.
    pub groups: Broadcast<GroupsNow>,
    /// Who looks now.
    pub browsers: Seats,
    /// How many of them look at events.
    pub(super) tails: Tails,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            fleet: Broadcast::default(),
            groups: Broadcast::default(),
            browsers: Seats::new("live links", BROWSERS_PER_PERSON_MAX, BROWSERS_MAX),
            tails: Tails::default(),
        }
    }
}

/// Looks at the fleet while somebody listens, until it is dropped.
pub async fn keep_fleet_told(hub: Arc<Hub>) {
    loop {
        hub.looks.fleet.wait_wanted().await;
        hub.looks.fleet.tell(summarize_fleet(&hub).await);
        sleep(LOOK_EVERY).await;
    }
}

/// Looks at the consumer groups while somebody listens, until it is dropped.
pub async fn keep_groups_told(hub: Arc<Hub>) {
    loop {
        hub.looks.groups.wait_wanted().await;
        let groups = describe_consumer_groups(&hub).await;
        hub.looks.groups.tell(GroupsNow { time: hub.now(), groups });
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_text_is_made_once_however_many_listen_and_not_while_nobody_does() {
        let broadcast = Broadcast::default();
        broadcast.tell(1);
        let mut listeners: Vec<Listener<i32>> = (0..20).map(|_| broadcast.listen()).collect();
        for what in 2..5 {
            broadcast.tell(what);
            for listener in &mut listeners {
                let (told, skipped) = listener.next().await.unwrap();
                assert_eq!((told.text(i32::to_string), skipped), (what.to_string().as_str(), 0));
            }
        }
        assert_eq!(broadcast.texts_made(), 3);
        drop(listeners);
        broadcast.tell(9);
        let mut late = broadcast.listen();
        broadcast.tell(10);
        assert_eq!(late.next().await.unwrap().0.what, 10, "what was told to nobody is not news");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_hears_the_newest_and_how_much_came_before() {
        let broadcast = Broadcast::default();
        let mut slow = broadcast.listen();
        broadcast.tell(0);
        assert_eq!(slow.next().await.map(|(told, skipped)| (told.what, skipped)), Some((0, 0)));
        (1..=7).for_each(|what| broadcast.tell(what));
        assert_eq!(slow.next().await.map(|(told, skipped)| (told.what, skipped)), Some((7, 6)));
        let mut second = broadcast.listen();
        assert_eq!(second.next().await.map(|(told, skipped)| (told.what, skipped)), Some((7, 0)), "the newest is there at once");
        drop(broadcast);
        assert!(slow.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_looked_at_waits_for_somebody_who_wants_it() {
        let broadcast = Arc::new(Broadcast::<i32>::default());
        let waiting = tokio::spawn({
            let broadcast = Arc::clone(&broadcast);
            async move { broadcast.wait_wanted().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _listener = broadcast.listen();
        waiting.await.unwrap();
    }
}
