//! Somebody looks at the events as they come: those that fit, at most forty a second, and the truth about the others.
//!
//! What lies behind is shown in full, at that pace. Whoever has come to the end is shown a sample when more comes, and is taken to the end
//! again when even looking at all would cost too much. Reads as every reader does, and nothing ahead but a page.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::core::event::{Offset, PartitionId, StartPosition, StreamPosition};
use crate::core::principal::Principal;
use crate::core::tail::{ROWS_PER_WINDOW, SHOWN_BYTES_PER_WINDOW, Sieve, TailFilter, Tally, WINDOWS_PER_SECOND, Window, cost};
use crate::ops::Hub;
use crate::ops::read_events::{EventReader, ReadEventsError, Selection, read_events};
use crate::store::{ReadError, StoredEvent};

/// How long a window is.
const WINDOW: Duration = Duration::from_millis(1000 / WINDOWS_PER_SECOND as u64);

/// After how many windows in a row that were too short somebody who follows is taken to the end.
const SPENT_WINDOWS_MAX: usize = WINDOWS_PER_SECOND;

/// What somebody wants to be shown.
#[derive(Clone, Debug)]
pub struct TailSelection {
    /// Of this partition; of all, or of the device's, when absent.
    pub partition: Option<PartitionId>,
    /// Where to begin.
    pub from: StartPosition,
    /// Where an earlier tail left off; counts more than `from` in the partitions that it names.
    pub after: StreamPosition,
    /// What has to fit.
    pub filter: TailFilter,
}

/// What has come since the last time.
#[derive(Clone, Debug)]
pub struct TailNews {
    /// Where to go on behind all that was shown or passed over.
    pub position: StreamPosition,
    /// How many fit, and how many not.
    pub tally: Tally,
    /// How many events lie between here and the end.
    pub behind: u64,
    /// Those that are shown.
    pub events: Vec<(PartitionId, StoredEvent)>,
}

/// Looks until it is dropped.
pub struct Tail {
    reader: EventReader,
    sieve: Sieve,
    /// Read, and not looked at yet.
    pending: VecDeque<(PartitionId, StoredEvent)>,
    position: StreamPosition,
    /// Whether it has been at the end.
    follows: bool,
    /// Windows in a row that were not long enough for what came.
    spent: usize,
    /// When the window ends of which the last news were.
    until: Option<Instant>,
    tails: Tails,
}

/// How many look.
#[derive(Clone, Debug, Default)]
pub struct Tails(Arc<AtomicUsize>);

/// Opens a tail for somebody who may see what it shows.
pub async fn tail_events(hub: &Hub, reader: &Principal, selection: TailSelection) -> Result<Tail, ReadEventsError> {
    let TailSelection { partition, from, after, filter } = selection;
    // The others hold nothing of this device.
    let of_device = || filter.device.as_ref().map(|device| PartitionId::of_device(device, hub.events.partition_count()));
    let partition = partition.or_else(of_device);
    let selection = Selection { partition, device: None, from, resume: after, follow: true };
    let reader = read_events(hub, reader, selection).await?;
    hub.looks.tails.0.fetch_add(1, Ordering::Relaxed);
    Ok(Tail {
        position: reader.position(),
        follows: reader.behind() == 0,
        reader,
        sieve: filter.into(),
        pending: VecDeque::new(),
        spent: 0,
        until: None,
        tails: hub.looks.tails.clone(),
    })
}

impl Tail {
    /// What has come, when there is something to tell; at once for the first time. Loses nothing when it is dropped while it waits, but for
    /// what it has looked at in a window that is not over.
    pub async fn next(&mut self) -> Result<TailNews, ReadError> {
        let Some(last) = self.until else {
            self.until = Some(Instant::now());
            return Ok(self.news(Tally::default(), Vec::new()));
        };
        // Nothing is looked at before the window is over of which the last news were.
        tokio::time::sleep_until(last).await;
        loop {
            let until = Instant::now() + WINDOW;
            let (tally, events) = self.window(until).await?;
            if !tally.is_empty() {
                self.until = Some(until);
                return Ok(self.news(tally, events));
            }
        }
    }

    /// Looks for as long as a window lasts, or until as much is found as may be shown.
    async fn window(&mut self, until: Instant) -> Result<(Tally, Vec<(PartitionId, StoredEvent)>), ReadError> {
        let mut window = Window::for_one_of(self.tails.0.load(Ordering::Relaxed));
        let (mut tally, mut events) = (Tally::default(), Vec::new());
        loop {
            self.look(&mut window, &mut tally, &mut events);
            let shown_enough = has_shown_enough(&events) && !self.follows;
            if shown_enough || window.is_spent() {
                break;
            }
            if self.pending.is_empty() && !self.read_on(until).await? {
                break;
            }
        }
        self.follows |= self.behind() == 0;
        self.spent = if window.is_spent() { self.spent + 1 } else { 0 };
        if self.follows && self.spent > SPENT_WINDOWS_MAX {
            tally.unread += self.pending.len() as u64 + self.reader.skip_to_end();
            self.pending.clear();
            self.position = self.reader.position();
            self.spent = 0;
        }
        Ok((tally, events))
    }

    /// Reads a page; `false` when there is none in this window. Who follows reads at its end all that has come in it: with a read at each
    /// commit, a busy hub would have one for each commit and everybody who looks, and nobody would be told any sooner.
    async fn read_on(&mut self, until: Instant) -> Result<bool, ReadError> {
        if self.follows {
            tokio::time::sleep_until(until).await;
            if self.reader.behind() == 0 {
                return Ok(false);
            }
        }
        // The next page may be there already: others have their turn between two.
        tokio::task::yield_now().await;
        let read =
            if self.follows { self.reader.next().await? } else { timeout_at(until, self.reader.next()).await.unwrap_or(Ok(None))? };
        // None: the window is over. One that follows has no end.
        let Some(page) = read else { return Ok(false) };
        self.pending.extend(page.events.into_iter().map(|event| (page.partition, event)));
        Ok(true)
    }

    /// Looks at what was read, as far as may be.
    fn look(&mut self, window: &mut Window, tally: &mut Tally, events: &mut Vec<(PartitionId, StoredEvent)>) {
        while !window.is_spent() && (self.follows || !has_shown_enough(events)) {
            let Some((partition, event)) = self.pending.pop_front() else {
                self.position = self.reader.position();
                return;
            };
            window.spend(cost(event.content.len()));
            self.position.0.insert(partition, Some(Offset::from(event.sequence_number)));
            if !self.sieve.fits(&event.content) {
                tally.passed_over += 1;
                continue;
            }
            tally.matched += 1;
            if has_shown_enough(events) {
                tally.sampled_out += 1;
            } else {
                events.push((partition, event));
            }
        }
    }

    fn behind(&self) -> u64 {
        self.pending.len() as u64 + self.reader.behind()
    }

    fn news(&self, tally: Tally, events: Vec<(PartitionId, StoredEvent)>) -> TailNews {
        TailNews { position: self.position.clone(), tally, behind: self.behind(), events }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether there is nothing more to be shown in this window.
fn has_shown_enough(events: &[(PartitionId, StoredEvent)]) -> bool {
    events.len() >= ROWS_PER_WINDOW || events.iter().map(|(_, event)| event.content.len()).sum::<usize>() >= SHOWN_BYTES_PER_WINDOW
}

#[cfg(test)]
mod tests;
