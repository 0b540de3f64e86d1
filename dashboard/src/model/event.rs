//! What devices send, as the live tail has it: its rows, its filter, and what it says of what it does not show.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::format::{exact, number};
use super::json::object;
use super::json::value::Value;
use super::payload::{from_base64, harmless, text};
use super::shelf::Shelf;
use super::time::Moment;
use crate::link::ask::Tail;

/// Rows that are kept: what nobody scrolls back to has its place in the hub.
const ROWS_MAX: usize = 200;

/// Bytes of payloads that are kept, as Base64: of the largest there are, some twenty.
const ROWS_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Over how long messages are counted to say how many come.
const SECOND_MS: u64 = 1_000;

/// Letters of a payload in its row, and of how much of it they are taken: whole groups of four of its Base64.
const PREVIEW_MAX: usize = 240;
const PREVIEW_BASE64_MAX: usize = 4 * 340;

/// A message of the live link's `events`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// How many fit the filter since the message before.
    pub matched: u64,
    /// How many of them are left out, because more fit than anybody can read.
    pub sampled_out: u64,
    /// How many did not fit.
    pub passed_over: u64,
    /// How many were not even looked at.
    pub unread: u64,
    /// Between here and the end.
    pub behind: u64,
    /// The rows.
    pub events: Vec<Event>,
}

object!(Told {
    matched: "matched",
    sampled_out: "sampledOut",
    passed_over: "passedOver",
    unread: "unread",
    behind: "behind",
    events: "events"
});

/// An event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// Where it is.
    pub partition: u64,
    /// Which of that partition.
    pub sequence_number: u64,
    /// When the hub took it.
    pub enqueued_time: Option<Moment>,
    /// Who sent it.
    pub device_id: String,
    /// What the protocol knows of.
    pub system_properties: Shelf<String, Value>,
    /// The hub's stamps.
    pub annotations: Shelf<String, Value>,
    /// The device's own; nothing for those who may not read them.
    pub properties: Shelf<String, Value>,
    /// The payload; nothing for those who may not read it.
    pub body_base64: Option<String>,
}

object!(Event {
    partition: "partition",
    sequence_number: "sequenceNumber",
    enqueued_time: "enqueuedTime",
    device_id: "deviceId",
    system_properties: "systemProperties",
    annotations: "annotations",
    properties: "properties",
    body_base64: "bodyBase64"
});

impl Event {
    /// The payload.
    #[must_use]
    pub fn body(&self) -> Option<Vec<u8>> {
        from_base64(self.body_base64.as_deref()?)
    }

    /// The payload in one line, or its first bytes.
    #[must_use]
    pub fn preview(&self) -> String {
        let all = self.body_base64.as_deref().unwrap_or_default();
        let head = all.get(..PREVIEW_BASE64_MAX).unwrap_or(all);
        let Some(mut body) = from_base64(head) else { return String::new() };
        // The last letter may be cut.
        while head.len() < all.len() && std::str::from_utf8(&body).is_err_and(|error| error.error_len().is_none()) {
            body.pop();
        }
        match text(&body) {
            Some(text) => text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(PREVIEW_MAX).collect(),
            None => body.iter().take(12).fold("binary".to_owned(), |mut line, byte| {
                let _ = write!(line, " {byte:02x}");
                line
            }),
        }
    }

    /// How large the payload is.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let text = self.body_base64.as_deref()?;
        Some((text.trim_end_matches('=').len() * 3 / 4) as u64)
    }

    /// What there is to say of it beside its payload: names and values.
    #[must_use]
    pub fn facts(&self) -> Vec<(String, String)> {
        let of = |prefix: &str, values: &Shelf<String, Value>| {
            values.iter().map(|(name, value)| (harmless(&format!("{prefix}{name}")), harmless(&plain(value)))).collect::<Vec<_>>()
        };
        [of("", &self.system_properties), of("property ", &self.properties), of("", &self.annotations)].concat()
    }
}

/// A value as the API writes them: of types that JSON does not have, `{"int":5}`.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Object(members) if members.len() == 1 => members.iter().map(|(_, value)| plain(value)).collect(),
        other => other.to_string(),
    }
}

/// What somebody types to filter by: `device:pump`, `prop.level:high`, and anything else is looked for in the payload.
#[must_use]
pub fn filter(typed: &str, from: &str, partition: Option<u64>) -> Tail {
    let mut tail = Tail { from: from.to_owned(), partition, ..Tail::default() };
    let mut words = Vec::new();
    for word in typed.split_whitespace() {
        if let Some(device) = word.strip_prefix("device:") {
            device.clone_into(&mut tail.device);
        } else if let Some(property) = word.strip_prefix("prop.") {
            tail.property = property.replacen(':', "=", 1);
        } else {
            words.push(word);
        }
    }
    tail.text = words.join(" ");
    tail
}

/// How long the stretches are by which messages are counted.
const STRETCH_MS: i64 = 5_000;

const MINUTE_MS: i64 = 60_000;

/// Stretches that are kept: a day.
const STRETCHES_MAX: usize = 17_280;

/// How many messages fit a tail, by when they were sent.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    stretches: Shelf<i64, u64>,
    /// From when on they are counted.
    since: Option<Moment>,
    /// By the hub, from before that.
    minutes: Minutes,
}

/// `GET /api/v1/devices/{id}/rates`: messages by the minute, of the last hour.
#[derive(Clone, Debug, Default)]
pub struct Minutes {
    start: Option<Moment>,
    messages: Vec<u64>,
}

object!(Minutes { start: "start", messages: "messages" });

impl Minutes {
    /// In stretches, as if those of a minute had been sent evenly.
    fn stretches(&self) -> impl Iterator<Item = (i64, u64)> {
        const EACH: i64 = MINUTE_MS / STRETCH_MS;
        let first = self.start.unwrap_or_default().0.div_euclid(STRETCH_MS);
        let minutes = self.messages.iter().zip(0..);
        minutes.flat_map(move |(count, minute)| {
            let until = move |part: i64| count * part as u64 / EACH as u64;
            (0..EACH).map(move |part| (first + minute * EACH + part, until(part + 1) - until(part)))
        })
    }
}

impl Counts {
    /// Takes in what the hub has counted.
    pub fn recall(&mut self, minutes: Minutes) {
        self.minutes = minutes;
    }

    /// Takes a message in. What it does not show has come just now.
    pub fn take(&mut self, told: &Told, now: Moment) {
        let times = told.events.iter().filter_map(|event| event.enqueued_time);
        for at in times.clone() {
            *self.stretches.slot(at.0.div_euclid(STRETCH_MS)) += 1;
        }
        if told.sampled_out > 0 {
            *self.stretches.slot(now.0.div_euclid(STRETCH_MS)) += told.sampled_out;
        }
        self.since = self.since.into_iter().chain(times).chain([now]).min();
        self.stretches.keep_last(STRETCHES_MAX);
    }

    /// How many were sent in the minute before the stretch that goes on.
    #[must_use]
    pub fn last_minute(&self, now: Moment) -> u64 {
        let end = now.0.div_euclid(STRETCH_MS);
        let minute = end - MINUTE_MS / STRETCH_MS..end;
        self.stretches.iter().filter(|(stretch, _)| minute.contains(*stretch)).map(|(_, count)| count).sum()
    }

    /// From when on they are counted.
    #[must_use]
    pub fn since(&self) -> Option<Moment> {
        self.since.into_iter().chain(self.minutes.start).min()
    }

    /// In equal stretches of time: at most so many, and none shorter than they are counted by. Each with where it begins.
    #[must_use]
    pub fn columns(&self, from: Moment, to: Moment, most: usize) -> Vec<(Moment, u64)> {
        let span = (to.0 - from.0).max(1);
        let wide = (span / most.max(1) as i64).max(1).div_euclid(STRETCH_MS).max(1);
        let mut columns = Shelf::<i64, u64>::default();
        let (first, last) = (from.0.div_euclid(STRETCH_MS), to.0.div_euclid(STRETCH_MS));
        let own = self.since.map_or(i64::MAX, |since| since.0.div_euclid(STRETCH_MS));
        let before = self.minutes.stretches().filter(|(stretch, count)| *stretch < own && *count > 0);
        let all = before.chain(self.stretches.iter().map(|(stretch, count)| (*stretch, *count)));
        for (stretch, count) in all.filter(|(stretch, _)| (first..=last).contains(stretch)) {
            *columns.slot(stretch.div_euclid(wide)) += count;
        }
        columns.into_vec().into_iter().map(|(column, count)| (Moment(column * wide * STRETCH_MS), count)).collect()
    }
}

/// The rows of a tail, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: VecDeque<(u64, Arc<Event>)>,
    numbered: u64,
    /// The counts of the last second, by when they came.
    counts: VecDeque<(Moment, Told)>,
    behind: u64,
}

impl Rows {
    /// Takes a message in.
    pub fn take(&mut self, mut told: Told, now: Moment) {
        for event in std::mem::take(&mut told.events) {
            self.numbered += 1;
            self.rows.push_front((self.numbered, Arc::new(event)));
        }
        let mut bytes = 0;
        let fits = |(_, event): &&(u64, Arc<Event>)| {
            bytes += event.body_base64.as_ref().map_or(0, String::len);
            bytes <= ROWS_MAX_BYTES
        };
        let room = self.rows.iter().take(ROWS_MAX).take_while(fits).count();
        self.rows.truncate(room.max(1));
        self.behind = told.behind;
        self.counts.push_back((now, told));
        while self.counts.front().is_some_and(|(at, _)| at.millis_until(now) >= SECOND_MS) {
            self.counts.pop_front();
        }
    }

    /// The rows, each with a number of its own.
    pub fn iter(&self) -> impl Iterator<Item = &(u64, Arc<Event>)> {
        self.rows.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether what came before is still being read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind > 0
    }

    /// The number of the newest.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.numbered
    }

    /// How many fit the filter in the second until now.
    #[must_use]
    pub fn matched(&self, now: Moment) -> u64 {
        self.sum(now, |told| told.matched)
    }

    /// How many of them are shown.
    #[must_use]
    pub fn shown(&self, now: Moment) -> u64 {
        self.sum(now, |told| told.matched.saturating_sub(told.sampled_out))
    }

    /// What of the stream is not on the screen, in a sentence.
    #[must_use]
    pub fn note(&self, now: Moment) -> String {
        let (matched, shown) = (self.matched(now), self.shown(now));
        let (unread, passed) = (self.sum(now, |told| told.unread), self.sum(now, |told| told.passed_over));
        let mut said = Vec::new();
        if shown > 0 && matched > shown {
            said.push(format!("Showing 1 in {}: this view takes 40 rows a second", number(matched.div_ceil(shown))));
        }
        if unread > 0 {
            said.push(format!("{} a second not looked at: the filter had no time for them", number(unread)));
        }
        if passed > 0 {
            said.push(format!("{} a second do not fit", number(passed)));
        }
        if self.behind > 0 {
            said.push(format!("{} behind the newest", exact(self.behind)));
        }
        said.join(" · ")
    }

    /// Of the second until now: nothing, when nothing comes any more. A clock that is behind what came leaves none of it out.
    fn sum(&self, now: Moment, say: impl Fn(&Told) -> u64) -> u64 {
        self.counts.iter().filter(|(at, _)| at.millis_until(now) < SECOND_MS).map(|(_, told)| say(told)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_795_402_872_000);

    #[test]
    fn what_the_link_says_is_understood() {
        let text = r#"{"id":5,"kind":"events","position":"0:18,1:4","matched":3,"sampledOut":0,"passedOver":120,"unread":0,"behind":0,"events":[
            {"partition":0,"offset":"12","sequenceNumber":12,"enqueuedTime":"2026-11-23T03:00:00.000Z","deviceId":"d","systemProperties":{"message-id":"m"},
             "annotations":{"x":{"long":"5"}},"properties":{"level":"high"},"bodyBase64":"eyJhIjoxfQ==","body":{"a":1}}]}"#;
        let told: Told = crate::model::json::read(text).unwrap();
        let event = &told.events[0];
        assert_eq!((event.preview().as_str(), event.size(), told.passed_over), (r#"{"a":1}"#, Some(7), 120));
        let facts: Vec<_> = event.facts().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(facts, ["message-id=m", "property level=high", "x=5"]);
    }

    #[test]
    fn large_payloads_are_kept_while_there_is_room_and_seen_by_their_beginning() {
        let large = |letter: &str| Event { body_base64: Some(letter.repeat(349_528)), ..Event::default() };
        let mut rows = Rows::default();
        for _ in 0..60 {
            rows.take(Told { events: vec![large("A")], ..Told::default() }, NOW);
        }
        assert_eq!(rows.iter().count(), 23);
        let one = Event { body_base64: Some("A".repeat(9 * 1024 * 1024)), ..Event::default() };
        rows.take(Told { events: vec![one], ..Told::default() }, NOW);
        assert_eq!(rows.iter().count(), 1, "the newest is always there");
        // Letters of four bytes, three of them behind another: the last that is looked at is cut.
        for text in ["w6TDtsO8".repeat(1_000), format!("YWFh{}", "8J+YgPCfmIDwn5iA".repeat(1_000)), "YcOkw7bDvGI=".to_owned()] {
            let preview = Event { body_base64: Some(text), ..Event::default() }.preview();
            assert!(!preview.is_empty() && !preview.starts_with("binary"), "{preview}");
        }
    }

    #[test]
    fn what_the_hub_counted_stands_where_the_page_has_not() {
        let mut counts = Counts::default();
        let start = Moment(NOW.0.div_euclid(MINUTE_MS) * MINUTE_MS - 3 * MINUTE_MS);
        counts.recall(Minutes { start: Some(start), messages: vec![12, 0, 30, 99] });
        assert_eq!(counts.since(), Some(start));
        let own = start.plus(2 * MINUTE_MS + 30_000);
        counts.take(&Told { events: vec![Event { enqueued_time: Some(own), ..Event::default() }], ..Told::default() }, NOW);
        let by_minute = |at: i64| {
            let from = start.plus(at * MINUTE_MS);
            counts.columns(from, from.plus(MINUTE_MS - 1), 120).into_iter().map(|(_, count)| count).sum::<u64>()
        };
        assert_eq!([0, 1, 2, 3].map(by_minute), [12, 0, 15 + 1, 0]);
    }

    #[test]
    fn messages_are_counted_by_when_they_were_sent() {
        let event = |at: i64| Event { enqueued_time: Some(NOW.plus(at)), ..Event::default() };
        let mut counts = Counts::default();
        counts.take(&Told { events: vec![event(-300_000), event(-299_000), event(-10_000)], ..Told::default() }, NOW);
        counts.take(&Told { events: vec![event(0)], sampled_out: 7, ..Told::default() }, NOW);
        assert_eq!(counts.since(), Some(NOW.plus(-300_000)));
        let sums = |from: i64, most| counts.columns(NOW.plus(from), NOW, most).into_iter().map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!((sums(-900_000, 180), sums(-60_000, 12)), (vec![2, 1, 8], vec![1, 8]));
        assert_eq!((counts.last_minute(NOW), counts.last_minute(NOW.plus(20_000)), counts.last_minute(NOW.plus(70_000))), (1, 9, 0));
        assert_eq!(sums(-86_400_000, 1).iter().sum::<u64>(), 11, "in however wide stretches");
    }

    #[test]
    fn a_payload_that_is_no_text_is_shown_as_bytes() {
        let event = |body: &str| Event { body_base64: Some(body.to_owned()), ..Event::default() };
        assert_eq!(event("AP+K").preview(), "binary 00 ff 8a");
        assert_eq!(event("YQogIGI=").preview(), "a b", "in one line");
        assert_eq!((Event::default().preview(), Event::default().size()), (String::new(), None));
    }

    #[test]
    fn what_is_typed_says_what_is_looked_for() {
        let tail = filter("device:pump prop.level:high over heat", "earliest", Some(1));
        assert_eq!((tail.device.as_str(), tail.property.as_str(), tail.text.as_str()), ("pump", "level=high", "over heat"));
        assert_eq!((tail.from.as_str(), tail.partition), ("earliest", Some(1)));
        assert_eq!(filter(" prop.level ", "", None).property, "level");
    }

    #[test]
    fn rows_are_few_and_what_is_not_shown_is_said() {
        let mut rows = Rows::default();
        for at in 0..100 {
            let events = vec![Event::default(); 10];
            rows.take(Told { matched: 1530, sampled_out: 1520, events, ..Told::default() }, NOW.plus(at * 250));
        }
        let now = NOW.plus(99 * 250);
        assert_eq!((rows.iter().count(), rows.newest(), rows.matched(now), rows.shown(now)), (ROWS_MAX, 1000, 6120, 40));
        assert_eq!(rows.note(now), "Showing 1 in 153: this view takes 40 rows a second");
        let later = now.plus(1_000);
        assert_eq!((rows.matched(later), rows.shown(later), rows.note(later).as_str()), (0, 0, ""), "paused, or cut");
        rows.take(Told { unread: 7, behind: 12, ..Told::default() }, NOW.plus(60_000));
        assert_eq!(rows.note(NOW.plus(60_000)), "7 a second not looked at: the filter had no time for them · 12 behind the newest");
    }
}
