//! Readers of partitions: events go out as credit and output allow, each a copy of what is stored behind a head of its own.
//!
//! Nobody waits for the disk here. A page is read in a future that the connection polls beside everything else; of each reader one page is
//! being sent and one is ahead, and without credit none is read. A reader at the end holds no page. While any of them waits for events with
//! credit, the connection follows what becomes durable: one look for each reader and commit, however many readers there are.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::vec;

use fe2o3_amqp_types::definitions::Error;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Conversation;
use super::conditions;
use crate::amqp::engine::{self, DeliveryTag, LinkId, NotSent, Outgoing};
use crate::amqp::management::{LastEnqueued, long};
use crate::core::event::{Offset, PartitionId};
use crate::core::message::Value;
use crate::core::message::encoding::{Damaged, encode_head, split};
use crate::core::time::UnixMillis;
use crate::ops::consumer_groups::ReaderSeat;
use crate::ops::read_partition::{PageRead, PartitionReader};
use crate::ops::{Hub, StoredEvent, Watermark};

/// The most pages of one connection that are being read at a time: readers of links that are gone count until their disk has answered, and
/// nobody takes the threads that read for all.
const READS_MAX: usize = 64;

/// The readers of a connection.
#[derive(Default)]
pub struct Readers {
    of_links: HashMap<LinkId, Box<Reader>>,
    reads: FuturesUnordered<Pin<Box<dyn Future<Output = LinkPage> + Send>>>,
    /// How many rounds there were: each begins with another reader.
    rounds: usize,
    /// What was durable when it was looked at last.
    seen: Option<Watermark>,
    /// Whether something may be sent or read that could not before.
    is_awake: bool,
    /// Whether a reader that has credit is at the end.
    waits: bool,
}

/// A page that was read for a link.
pub type LinkPage = (LinkId, PageRead);

/// One link's reader.
pub struct Reader {
    seat: ReaderSeat,
    partition: PartitionId,
    /// Who reads the next page; `None` while that is under way.
    source: Option<PartitionReader>,
    /// The page that is being sent.
    sending: vec::IntoIter<StoredEvent>,
    /// The page after it; none is read before this one is taken.
    ahead: Vec<StoredEvent>,
    /// What was durable when the reader was found to be at the end.
    at_end: Option<Watermark>,
    /// Whether each event says how far the partition is.
    tells_last_enqueued: bool,
    /// Whether the peer wants its credit used or given back.
    is_draining: bool,
}

impl Conversation<'_> {
    /// Ends the readers that may not go on, sends what may be sent, and has read what is missing.
    pub(super) fn send_events(&mut self, durable: Watermark) {
        if self.readers.is_none() {
            return;
        }
        // Those that have arrived; who waits for more is woken by them.
        while let Some(page) = next_page(&mut self.readers).now_or_never() {
            self.take_page(page);
        }
        self.end_readers();
        let Self { hub, engine, readers: Some(readers), .. } = self else { return };
        if readers.seen.replace(durable) != Some(durable) {
            readers.is_awake = true;
        }
        if !std::mem::take(&mut readers.is_awake) {
            return;
        }
        let failed = readers.send(hub, engine);
        readers.read_on(engine, durable);
        for (link, error) in failed {
            self.end_link(link, error);
        }
    }

    /// A page has arrived, or could not be read.
    pub(super) fn take_page(&mut self, (link, page): LinkPage) {
        let Some(readers) = &mut self.readers else { return };
        readers.is_awake = true;
        // Its link may have gone meanwhile.
        let Some(reader) = readers.of_links.get_mut(&link) else { return self.forget_readers() };
        match page.events {
            Ok(events) => {
                let next = events.first().map(|first| first.sequence_number).or_else(|| page.reader.next());
                next.into_iter().for_each(|next| reader.seat.begins(next));
                reader.ahead = events;
                reader.source = Some(page.reader);
            }
            Err(error) => {
                let partition = reader.partition;
                tracing::error!(%partition, %error, "a reader of partition {partition} ends: {error}");
                self.end_link(link, conditions::not_read(&error.into()));
            }
        }
    }

    /// A reader is let in.
    pub(super) fn add_reader(&mut self, link: LinkId, reader: Reader) {
        let readers = self.readers.get_or_insert_default();
        readers.of_links.insert(link, Box::new(reader));
        readers.is_awake = true;
    }

    /// A reader's link is gone. What it had read goes with it.
    pub(super) fn remove_reader(&mut self, link: LinkId) {
        if let Some(readers) = &mut self.readers {
            readers.of_links.remove(&link);
            self.forget_readers();
        }
    }

    /// A connection without readers keeps nothing for them.
    fn forget_readers(&mut self) {
        self.readers.take_if(|readers| readers.of_links.is_empty() && readers.reads.is_empty());
    }

    /// A reader has credit, or wants it used up.
    pub(super) fn reader_credit(&mut self, link: LinkId, drain: bool) {
        if let Some(reader) = self.readers.as_mut().and_then(|readers| readers.of_links.get_mut(&link)) {
            reader.is_draining = drain;
        }
        self.wake_readers();
    }

    /// Something may be sent that could not before.
    pub(super) fn wake_readers(&mut self) {
        if let Some(readers) = &mut self.readers {
            readers.is_awake = true;
        }
    }

    /// Whether a reader waits for events.
    pub(super) fn follows_events(&self) -> bool {
        self.readers.as_ref().is_some_and(|readers| readers.waits)
    }

    /// Whether a page is being read.
    pub(super) fn awaits_page(&self) -> bool {
        self.readers.as_ref().is_some_and(|readers| !readers.reads.is_empty())
    }

    /// Ends those whose seat or right has ended: nothing more leaves for them.
    fn end_readers(&mut self) {
        let Some(readers) = &self.readers else { return };
        if !self.is_woken && !readers.is_awake {
            return;
        }
        let links: Vec<LinkId> = readers.of_links.keys().copied().collect();
        for link in links {
            let ended = self.readers.as_ref().and_then(|readers| readers.of_links.get(&link)?.seat.ended());
            if let Some(why) = ended {
                self.end_link(link, conditions::seat_ended(why));
            } else {
                // Which ends it when it is lost.
                let _ = self.right_of(link);
            }
        }
    }
}

/// The next page to arrive; waits for ever when none is being read. Loses nothing when it is dropped while it waits.
pub(super) async fn next_page(readers: &mut Option<Box<Readers>>) -> LinkPage {
    if let Some(readers) = readers
        && let Some(page) = readers.reads.next().await
    {
        return page;
    }
    std::future::pending().await
}

impl Readers {
    /// Sends what was read, a page each in turn, as far as output and credit reach. Answers with the links that can't go on.
    fn send(&mut self, hub: &Hub, engine: &mut engine::Connection) -> Vec<(LinkId, Error)> {
        let mut links: Vec<LinkId> = self.of_links.keys().copied().collect();
        let first = self.rounds % links.len().max(1);
        links.rotate_left(first);
        self.rounds = self.rounds.wrapping_add(1);
        let mut failed = Vec::new();
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for link in &links {
                if !engine.has_room() {
                    // The rest follows what is being written.
                    self.is_awake = true;
                    return failed;
                }
                let Some(reader) = self.of_links.get_mut(link) else { continue };
                match reader.send_page(hub, engine, *link) {
                    Ok(sent) => goes_on |= sent,
                    Err(error) => {
                        self.of_links.remove(link);
                        failed.push((*link, error));
                    }
                }
            }
        }
        failed
    }

    /// Has the next pages read for those that have room for one, and tells those that are drained.
    fn read_on(&mut self, engine: &mut engine::Connection, durable: Watermark) {
        let Self { of_links, reads, waits, .. } = self;
        *waits = false;
        for (link, reader) in of_links {
            let credit = engine.sendable(*link);
            // No page is read that the credit does not reach to. But a place that has to be searched for is, at once: there it begins.
            let reaches = usize::try_from(credit).unwrap_or(usize::MAX) > reader.sending.as_slice().len();
            let has_room = reader.ahead.is_empty() && (reaches || reader.is_searching());
            if has_room
                && reader.is_behind(durable)
                && reads.len() < READS_MAX
                && let Some(source) = reader.source.take()
            {
                let link = *link;
                reads.push(Box::pin(async move { (link, source.read().await) }));
            }
            let is_at_end = reader.is_at_end();
            *waits |= is_at_end && credit > 0;
            if reader.is_draining && (is_at_end || engine.credit(*link) == 0) {
                reader.is_draining = false;
                engine.drained(*link);
            }
        }
    }
}

impl Reader {
    pub fn new(seat: ReaderSeat, source: PartitionReader, tells_last_enqueued: bool) -> Self {
        source.next().into_iter().for_each(|next| seat.begins(next));
        Self {
            seat,
            partition: source.partition(),
            source: Some(source),
            sending: Vec::new().into_iter(),
            ahead: Vec::new(),
            at_end: None,
            tells_last_enqueued,
            is_draining: false,
        }
    }

    /// Sends the rest of a page, as far as output and credit reach; says whether anything was sent.
    fn send_page(&mut self, hub: &Hub, engine: &mut engine::Connection, link: LinkId) -> Result<bool, Error> {
        if self.sending.as_slice().is_empty() {
            self.sending = std::mem::take(&mut self.ahead).into_iter();
        }
        if self.sending.as_slice().is_empty() || engine.sendable(link) == 0 {
            return Ok(false);
        }
        let last_enqueued = if self.tells_last_enqueued { hub.events.partition(self.partition) } else { None };
        let last_enqueued = last_enqueued.map(|info| (LastEnqueued::of(&info), hub.now()));
        let (mut head, mut given) = (Vec::new(), None);
        while let Some(event) = self.sending.as_slice().first() {
            let said = last_enqueued.as_ref().map(|(last, now)| told(last, *now));
            match send(engine, link, event, said.as_ref().map_or(&[], |said| said), &mut head) {
                Ok(()) => given = Some((event.sequence_number, event.enqueued_time)),
                Err(Unsent::NotNow) => break,
                Err(Unsent::Never(error)) => return Err(error),
                Err(Unsent::Damaged(damaged)) => {
                    let (partition, number) = (self.partition, event.sequence_number);
                    tracing::error!(%partition, %number, %damaged, "event {number} of partition {partition} is passed over: {damaged}");
                }
            }
            self.sending.next();
        }
        if self.sending.as_slice().is_empty() {
            // Its room goes with it.
            self.sending = Vec::new().into_iter();
        }
        given.into_iter().for_each(|(number, enqueued)| self.seat.delivered(number, enqueued));
        Ok(given.is_some())
    }

    /// Whether there may be something to read, which is asked once for each commit.
    fn is_behind(&mut self, durable: Watermark) -> bool {
        if self.at_end == Some(durable) {
            return false;
        }
        let behind = self.source.as_ref().is_some_and(PartitionReader::is_behind);
        self.at_end = if behind || self.source.is_none() { None } else { Some(durable) };
        behind
    }

    /// Whether everything up to the end was sent.
    fn is_at_end(&self) -> bool {
        self.at_end.is_some() && self.ahead.is_empty() && self.sending.as_slice().is_empty()
    }

    fn is_searching(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.next().is_none())
    }
}

/// Why an event was not sent.
enum Unsent {
    NotNow,
    Never(Error),
    Damaged(Damaged),
}

fn send(
    engine: &mut engine::Connection,
    link: LinkId,
    event: &StoredEvent,
    delivery: &[(&str, Value<'_>)],
    head: &mut Vec<u8>,
) -> Result<(), Unsent> {
    let parts = split(&event.content).map_err(Unsent::Damaged)?;
    let offset = Offset::from(event.sequence_number).to_string();
    let stamps = [
        ("x-opt-sequence-number", Value::Long(long(event.sequence_number))),
        ("x-opt-offset", Value::String(offset.as_str().into())),
        ("x-opt-enqueued-time", Value::Timestamp(event.enqueued_time)),
        ("iothub-enqueuedtime", Value::Timestamp(event.enqueued_time)),
    ];
    head.clear();
    encode_head(delivery, &stamps, &parts, head);
    let tag = DeliveryTag::new(&event.sequence_number.0.to_be_bytes()).expect("eight bytes fit");
    let payload = [&**head, parts.annotation_entries, parts.sections];
    match engine.send(link, &Outgoing { tag, message_format: 0, settled: true, payload: &payload }) {
        Ok(_) => Ok(()),
        Err(NotSent::TooLarge) => Err(Unsent::Never(conditions::too_large_to_send())),
        Err(NotSent::NoLink | NotSent::NoCredit | NotSent::NoWindow | NotSent::Unsettled | NotSent::OutputFull) => Err(Unsent::NotNow),
    }
}

/// How far the partition is, in Azure's words.
fn told(last: &LastEnqueued, now: UnixMillis) -> [(&'static str, Value<'_>); 4] {
    [
        ("last_enqueued_sequence_number", Value::Long(last.sequence_number)),
        ("last_enqueued_offset", Value::String(last.offset.as_str().into())),
        ("last_enqueued_time_utc", Value::Timestamp(last.time)),
        ("runtime_info_retrieval_time_utc", Value::Timestamp(now)),
    ]
}
