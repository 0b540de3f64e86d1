//! One device's story: connections, refusals, commands with all of their steps, and changes of its identity, merged by time; and what was
//! the case between two facts.

use super::audit::Entry as Audited;
use super::change::{Command, Presence, Refusal, Step};
pub use super::fact::{Entry, Kind, WayStep};
use super::fact::{audit_entry, command_entry, connection_entries, refusal_entry};
use super::hub::Connection;
use super::json::object;
use super::order::sorted;
use super::shelf::Shelf;
use super::time::Moment;

/// How many facts of each part are kept: the newest.
const FACTS_MAX: usize = 1_000;

/// While a connection was there: from, until (`None`: it is), why it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// When it came.
    pub from: Moment,
    /// When it went.
    pub until: Option<Moment>,
    /// Why.
    pub reason: Option<String>,
}

/// `GET /api/v1/devices/{id}/timeline`: a page of it, the latest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The facts.
    pub entries: Vec<Told>,
    /// What to send as `before` for more.
    pub next: Option<String>,
}

object!(Page { entries: "entries", next: "next" });

/// A fact, as the API has it: in the one field that is named for its kind.
#[derive(Debug, Default)]
pub struct Told {
    connection: Option<Connection>,
    command: Option<Command>,
    refusal: Option<Refusal>,
    registry: Option<Audited>,
}

object!(Told { connection: "connection", command: "command", refusal: "refusal", registry: "registry" });

impl Told {
    /// When it began: pages are in this order.
    fn begun(&self) -> Option<Moment> {
        let connection = self.connection.as_ref().map(|connection| connection.connected_time);
        let refusal = self.refusal.as_ref().map(|refusal| refusal.time);
        let command = self.command.as_ref().and_then(|command| command.enqueued_time);
        connection.or(refusal).or(command).or_else(|| self.registry.as_ref()?.time)
    }
}

/// What is known of a device's past.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// By when it came, and its number, which is good for one life of the hub.
    connections: Shelf<(Moment, String), Connection>,
    /// By number.
    commands: Shelf<u64, Command>,
    /// By when and why.
    refusals: Shelf<(Moment, String), Refusal>,
    /// By when and what: a list has them without their numbers.
    registry: Shelf<(Moment, String), Audited>,
    /// Before that are pages that have not been told.
    untold: Option<Moment>,
    /// Before that are facts that there was no room for.
    dropped: Option<Moment>,
}

impl Story {
    /// A page of the past: the newest, or the one behind the last that was told.
    pub fn page(&mut self, page: Page) {
        let oldest = page.entries.iter().filter_map(Told::begun).min();
        self.untold = page.next.and(oldest.or(self.untold));
        page.entries.into_iter().for_each(|told| self.told(told));
    }

    /// From when on nothing is missing. Nothing: from its beginning.
    #[must_use]
    pub fn whole_from(&self) -> Option<Moment> {
        self.untold.max(self.dropped)
    }

    /// Whether there is no room for what is older.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.dropped.is_some()
    }

    /// A fact of the past.
    pub fn told(&mut self, told: Told) {
        let Told { connection, command, refusal, registry } = told;
        connection.into_iter().for_each(|connection| self.connection(connection));
        command.into_iter().for_each(|command| self.command(command, None));
        refusal.into_iter().for_each(|refusal| self.refusal(refusal));
        registry.into_iter().for_each(|entry| self.recorded(entry));
    }

    /// A connection, as a list or a change has it; what is newer of it counts.
    pub fn connection(&mut self, connection: Connection) {
        let key = (connection.connected_time, connection.connection.clone());
        if self.connections.get(&key).is_none_or(|known| known.disconnected_time.is_none()) {
            self.connections.insert(key, connection);
        }
        trim(&mut self.connections, &mut self.dropped, |connection| connection.connected_time);
    }

    /// A connect or a disconnect, as it is told while it happens.
    pub fn presence(&mut self, presence: &Presence) {
        if presence.is_connect() {
            return self.connection(Connection {
                connection: presence.connection.clone(),
                protocol: presence.protocol.clone(),
                address: presence.address.clone(),
                connected_time: presence.time,
                disconnected_time: None,
                reason: None,
            });
        }
        // Of one that began before all that is known here the record is in the list.
        let is_it = |known: &&mut Connection| known.connection == presence.connection && known.disconnected_time.is_none();
        if let Some(known) = self.connections.values_mut().rev().find(is_it) {
            known.disconnected_time = Some(presence.time);
            known.reason.clone_from(&presence.reason);
        }
    }

    /// A command, with as many of its steps as whoever tells of it knows.
    pub fn command(&mut self, command: Command, step: Option<Step>) {
        let Ok(number) = command.id.parse() else { return };
        self.commands.slot(number).learn(command, step);
        trim(&mut self.commands, &mut self.dropped, |command| command.enqueued_time.unwrap_or_default());
    }

    /// A step of a command's receipt.
    pub fn receipt(&mut self, command: &str, step: Step) {
        let known = command.parse().ok().and_then(|number: u64| self.commands.get_mut(&number));
        if let Some(known) = known.filter(|known| !known.steps.contains(&step)) {
            known.steps.push(step);
        }
    }

    /// A refusal. A list has the port besides.
    pub fn refusal(&mut self, refusal: Refusal) {
        let key = (refusal.time, refusal.reason.clone());
        if self.refusals.get(&key).is_none() {
            self.refusals.insert(key, refusal);
        }
        trim(&mut self.refusals, &mut self.dropped, |refusal| refusal.time);
    }

    /// What somebody did to it.
    pub fn recorded(&mut self, entry: Audited) {
        // Commands have entries of their own, and whoever looks at this page reads messages.
        if !entry.action.starts_with("Command") && entry.action != "BodiesRead" {
            self.registry.insert((entry.time.unwrap_or_default(), entry.action.clone()), entry);
        }
        trim(&mut self.registry, &mut self.dropped, |entry| entry.time.unwrap_or_default());
    }

    /// While it was connected, the oldest first.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let of = |connection: &Connection| Span {
            from: connection.connected_time,
            until: connection.disconnected_time,
            reason: connection.reason.clone(),
        };
        self.connections.values().map(of).collect()
    }

    /// Whether it was connected at that time.
    #[must_use]
    pub fn was_connected(&self, at: Moment) -> bool {
        self.connections
            .values()
            .any(|connection| connection.connected_time <= at && connection.disconnected_time.is_none_or(|until| until > at))
    }

    /// How many commands wait for it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.commands.values().filter(|command| command.ended_time.is_none()).count()
    }

    /// Everything that pages without a gap have told, the newest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        // Until when it was last connected, of all the connections before.
        let mut before = None::<Moment>;
        for connection in self.connections.values() {
            entries.extend(connection_entries(connection, before));
            before = before.max(connection.disconnected_time);
        }
        entries.extend(self.commands.values().filter_map(command_entry));
        entries.extend(self.refusals.values().map(refusal_entry));
        entries.extend(self.registry.values().map(audit_entry));
        entries.retain(|entry| self.untold.is_none_or(|untold| entry.time >= untold));
        entries.iter_mut().for_each(Entry::say_what_is_there);
        sorted(entries, |one, other| other.time.cmp(&one.time).then_with(|| other.key.cmp(&one.key)))
    }
}

/// Lets the oldest go that there is no room for, and says from when on all are there.
fn trim<K: Ord, V>(facts: &mut Shelf<K, V>, dropped: &mut Option<Moment>, time: impl Fn(&V) -> Moment) {
    if facts.len() > FACTS_MAX {
        facts.keep_last(FACTS_MAX);
        *dropped = facts.values().next().map(time).max(*dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_700_000_000_000);

    fn connection(number: &str, from: i64, until: Option<(i64, &str)>) -> Connection {
        Connection {
            connection: number.to_owned(),
            protocol: "mqtt".to_owned(),
            address: "192.0.2.1".to_owned(),
            connected_time: NOW.plus(from),
            disconnected_time: until.map(|(at, _)| NOW.plus(at)),
            reason: until.map(|(_, reason)| reason.to_owned()),
        }
    }

    fn command(state: &str, ended: Option<i64>) -> Command {
        Command {
            id: "12".to_owned(),
            message_id: Some("set-point".to_owned()),
            state: state.to_owned(),
            enqueued_time: Some(NOW),
            ended_time: ended.map(|at| NOW.plus(at)),
            sent_by: "service".to_owned(),
            size_bytes: 64,
            ..Command::default()
        }
    }

    fn step(at: i64, what: &str) -> Step {
        Step { time: NOW.plus(at), step: what.to_owned(), protocol: None, delivery_count: None, reason: None, r#as: None }
    }

    #[test]
    fn sources_are_merged_by_time_the_newest_first() {
        let mut story = Story::default();
        story.connection(connection("1", -60_000, Some((-30_000, "KeepAliveTimeout"))));
        story.connection(connection("2", -10_000, None));
        story.command(command("Enqueued", None), None);
        story.refusal(Refusal {
            claimed: "d".to_owned(),
            time: NOW.plus(-20_000),
            protocol: "mqtt".to_owned(),
            address: "192.0.2.1:5".to_owned(),
            reason: "TokenExpired".to_owned(),
            text: "its token expired 4 min ago".to_owned(),
        });
        let texts: Vec<_> = story.entries().into_iter().map(|entry| (entry.text, entry.side)).collect();
        assert_eq!(
            texts,
            [
                ("set-point waits for the device", ""),
                ("Connected", "after 20.0 s away"),
                ("Connection attempt refused", ""),
                ("Disconnected: keep-alive timeout", "was on for 30.0 s"),
                ("Connected", ""),
            ]
            .map(|(text, side)| (text.to_owned(), side.to_owned()))
        );
        assert!(story.was_connected(NOW) && !story.was_connected(NOW.plus(-20_000)) && story.was_connected(NOW.plus(-40_000)));
    }

    #[test]
    fn a_disconnect_ends_the_connection_that_it_is_of() {
        let mut story = Story::default();
        let presence = |number: &str, at: i64, reason: Option<&str>| Presence {
            device_id: "d".to_owned(),
            connection: number.to_owned(),
            protocol: "mqtt".to_owned(),
            address: "192.0.2.1".to_owned(),
            time: NOW.plus(at),
            state: if reason.is_some() { "disconnected" } else { "connected" }.to_owned(),
            reason: reason.map(str::to_owned),
            device_connected: reason.is_none(),
        };
        story.presence(&presence("7", 0, Some("ConnectionLost")));
        assert_eq!(story.spans(), [], "its beginning is not known");
        story.presence(&presence("8", 0, None));
        story.connection(Connection { connection: "8".to_owned(), connected_time: NOW, ..connection("8", 0, None) });
        story.presence(&presence("8", 5_000, Some("TakenOver")));
        story.presence(&presence("8", 0, None));
        let [span] = story.spans().try_into().unwrap();
        assert_eq!((span.until, span.reason.as_deref()), (Some(NOW.plus(5_000)), Some("TakenOver")), "told by two, it is one");
        // Another life of the hub counts anew.
        story.presence(&presence("8", 60_000, None));
        story.presence(&presence("8", 61_000, Some("ConnectionLost")));
        let untils: Vec<_> = story.spans().into_iter().map(|span| span.until).collect();
        assert_eq!(untils, [Some(NOW.plus(5_000)), Some(NOW.plus(61_000))]);
    }

    #[test]
    fn a_device_that_flaps_for_days_has_its_newest_facts() {
        let mut story = Story::default();
        for at in 0..3 * FACTS_MAX as i64 {
            story.connection(connection(&at.to_string(), at * 10, Some((at * 10 + 5, "ConnectionLost"))));
            story.refusal(Refusal { time: NOW.plus(at), ..Refusal::default() });
        }
        let entries = story.entries();
        assert_eq!(entries.len(), 3 * FACTS_MAX);
        assert_eq!(entries[1].side, "after 5 ms away");
        assert!(story.refusals.values().all(|refusal| refusal.time >= NOW.plus(2 * FACTS_MAX as i64)));
    }

    #[test]
    fn a_story_says_from_when_on_it_is_whole() {
        let page = |times: &[i64], next: Option<&str>| Page {
            entries: times
                .iter()
                .map(|at| Told { refusal: Some(Refusal { time: NOW.plus(*at), ..Refusal::default() }), ..Told::default() })
                .collect(),
            next: next.map(str::to_owned),
        };
        let mut story = Story::default();
        story.page(page(&[-10, -30], Some("a")));
        // The newest connection began before all of that, and ended within.
        story.connection(connection("1", -5_000, Some((-20, "ConnectionLost"))));
        assert_eq!((story.whole_from(), story.is_full()), (Some(NOW.plus(-30)), false));
        let texts = |story: &Story| story.entries().into_iter().map(|entry| entry.text).collect::<Vec<_>>();
        let (refused, lost) = ("Connection attempt refused", "Disconnected: connection reset");
        assert_eq!(texts(&story), [refused, lost, refused], "when it connected is behind the gap");
        assert_eq!(story.spans().last().unwrap().from, NOW.plus(-5_000), "and known");
        story.page(page(&[], Some("b")));
        assert_eq!(story.whole_from(), Some(NOW.plus(-30)), "a page of what is forgotten meanwhile");
        story.page(page(&[-6_000], None));
        assert_eq!((story.whole_from(), texts(&story).len()), (None, 5));
    }

    #[test]
    fn what_there_is_no_room_for_is_not_loaded_for_good() {
        let mut story = Story::default();
        for at in 0..=FACTS_MAX as i64 {
            assert!(!story.is_full());
            story.connection(connection(&at.to_string(), at * 10, Some((at * 10 + 5, "ConnectionLost"))));
        }
        assert_eq!((story.whole_from(), story.is_full()), (Some(NOW.plus(10)), true));
        story.connection(connection("older", -10, Some((-5, "ConnectionLost"))));
        assert_eq!((story.whole_from(), story.spans().len()), (Some(NOW.plus(10)), FACTS_MAX));
    }

    #[test]
    fn what_is_told_twice_is_there_once_and_late_lists_take_nothing_back() {
        let mut story = Story::default();
        story.connection(connection("1", -60_000, Some((-30_000, "KeepAliveTimeout"))));
        story.connection(connection("1", -60_000, None));
        assert_eq!(story.entries().len(), 2);
        story.command(command("Completed", Some(212)), Some(step(212, "Completed")));
        story.command(Command { steps: vec![step(0, "Enqueued"), step(212, "Completed")], ..command("Invisible", None) }, None);
        let entry = story.entries().into_iter().find(|entry| entry.kind == Kind::Command).unwrap();
        assert_eq!((entry.text.as_str(), entry.side.as_str(), entry.steps.len()), ("set-point completed", "212 ms", 2));
        let refusal = |address: &str| Refusal {
            claimed: "d".to_owned(),
            time: NOW,
            protocol: "mqtt".to_owned(),
            address: address.to_owned(),
            reason: "NoToken".to_owned(),
            text: String::new(),
        };
        story.refusal(refusal("192.0.2.1"));
        story.refusal(refusal("192.0.2.1:5"));
        assert_eq!(story.entries().iter().filter(|entry| entry.kind == Kind::SignIn).count(), 1);
    }

    #[test]
    fn a_commands_way_is_one_row_with_its_steps() {
        let mut story = Story::default();
        let steps = vec![step(0, "Enqueued"), step(4, "Delivered"), step(212, "Completed")];
        story.command(Command { steps, ..command("Completed", Some(212)) }, None);
        story.receipt("12", step(1520, "ReceiptRead"));
        let [entry] = story.entries().try_into().unwrap();
        let steps: Vec<_> = entry.steps.iter().map(|step| (step.text.as_str(), step.after.as_str())).collect();
        assert_eq!(steps, [("Enqueued", ""), ("Delivered", "+4 ms"), ("Completed", "+208 ms"), ("Receipt read", "+1.31 s")]);
        assert_eq!(story.pending(), 0);
    }

    #[test]
    fn a_list_has_all_kinds_of_facts() {
        let text = r#"{"deviceId":"pump","entries":[
            {"command":{"id":"12","messageId":"m-1","state":"Completed","enqueuedTime":"2026-11-23T03:00:41.000Z","steps":[{"time":"2026-11-23T03:00:41.000Z","step":"Enqueued"}]}},
            {"refusal":{"claimed":"pump","time":"2026-11-23T03:00:30.000Z","protocol":"mqtt","peer":"192.0.2.1:49152","reason":"TokenExpired","description":"d"}},
            {"connection":{"boot":"3","connection":"17","protocol":"mqtt","connectedTime":"2026-11-23T03:00:00.000Z","disconnectedTime":"2026-11-23T03:00:29.000Z","reason":"TokenExpired"}},
            {"registry":{"entryId":"9","time":"2026-11-23T02:59:00.000Z","action":"DeviceEnabled","who":{"kind":"person","name":"ada"},"outcome":"Done"}}],"next":null}"#;
        let page: Page = crate::model::json::read(text).unwrap();
        let mut story = Story::default();
        page.entries.into_iter().for_each(|told| story.told(told));
        let kinds: Vec<_> = story.entries().iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Command, Kind::SignIn, Kind::Connection, Kind::Connection, Kind::Registry]);
    }

    #[test]
    fn what_somebody_did_to_it_is_a_fact_that_is_there_once() {
        let mut story = Story::default();
        let entry = |action: &str| Audited { time: Some(NOW), action: action.to_owned(), door: "cli".to_owned(), ..Audited::default() };
        story.recorded(entry("DeviceDisabled"));
        story.recorded(entry("DeviceDisabled"));
        story.recorded(entry("CommandSent"));
        let texts: Vec<_> = story.entries().into_iter().map(|entry| (entry.text, entry.meta)).collect();
        assert_eq!(texts, [("Device disabled".to_owned(), "By  · Command line".to_owned())]);
    }
}
