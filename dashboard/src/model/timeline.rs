//! One device's story: connections, refusals, commands with all of their steps, and changes of its identity, merged by time; and what was
//! the case between two facts.

use super::audit::Entry as Audited;
use super::change::{Command, Presence, Refusal, Step};
use super::format::{bytes, count, duration, elapsed};
use super::hub::Connection;
use super::json::object;
use super::order::sorted;
use super::payload::harmless;
use super::shelf::Shelf;
use super::state::{DeviceState, Look, REFUSED, REGISTRY, Tone, command_look, command_word};
use super::time::Moment;
use super::words::{disconnect_reason, disconnect_tone, protocol, sentence};

/// How many facts of each part are kept: the newest.
const FACTS_MAX: usize = 1_000;

/// Which part of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Connects and disconnects.
    Connection,
    /// A command's way.
    Command,
    /// Refusals.
    SignIn,
    /// Changes of the identity.
    Registry,
}

impl Kind {
    /// Every one, in the order of the lanes.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Command, Self::SignIn, Self::Registry];

    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Command => "Commands",
            Self::SignIn => "Sign-in",
            Self::Registry => "Registry",
        }
    }

    /// In addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Command => "commands",
            Self::SignIn => "sign-in",
            Self::Registry => "registry",
        }
    }

    /// Its sign among the filters.
    #[must_use]
    pub fn look(self) -> Look {
        match self {
            Self::Connection => DeviceState::Connected.look(),
            Self::Command => command_look("Enqueued"),
            Self::SignIn => REFUSED,
            Self::Registry => REGISTRY,
        }
    }
}

/// A fact of the story.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of its row, for as long as the story is shown: a row that changes stays where it is.
    pub key: String,
    /// When.
    pub time: Moment,
    /// Which part.
    pub kind: Kind,
    /// How it is shown.
    pub look: Look,
    /// What.
    pub text: String,
    /// More of it, smaller.
    pub meta: String,
    /// At the side.
    pub side: String,
    /// A command's way, for who wants to see it.
    pub steps: Vec<WayStep>,
}

impl Entry {
    /// People and devices have a say in these.
    fn say_what_is_there(&mut self) {
        (self.text, self.meta) = (harmless(&self.text), harmless(&self.meta));
        self.steps.iter_mut().for_each(|step| step.meta = harmless(&step.meta));
    }
}

/// A step of a command's way, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct WayStep {
    /// When.
    pub time: Moment,
    /// How it is shown.
    pub look: Look,
    /// What.
    pub text: String,
    /// How long after the one before.
    pub after: String,
    /// More of it.
    pub meta: String,
}

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
}

impl Story {
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
        self.connections.keep_last(FACTS_MAX);
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
        self.commands.keep_last(FACTS_MAX);
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
        self.refusals.keep_last(FACTS_MAX);
    }

    /// What somebody did to it.
    pub fn recorded(&mut self, entry: Audited) {
        // Commands have entries of their own, and whoever looks at this page reads messages.
        if !entry.action.starts_with("Command") && entry.action != "BodiesRead" {
            self.registry.insert((entry.time.unwrap_or_default(), entry.action.clone()), entry);
        }
        self.registry.keep_last(FACTS_MAX);
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

    /// Everything, the newest first.
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
        entries.iter_mut().for_each(Entry::say_what_is_there);
        sorted(entries, |one, other| other.time.cmp(&one.time).then_with(|| other.key.cmp(&one.key)))
    }
}

fn connection_entries(connection: &Connection, before: Option<Moment>) -> Vec<Entry> {
    let key = format!("connection {} {}", connection.connected_time.0, connection.connection);
    let away = before.filter(|until| *until <= connection.connected_time);
    let mut entries = vec![Entry {
        key: format!("{key} begins"),
        time: connection.connected_time,
        kind: Kind::Connection,
        look: DeviceState::Connected.look(),
        text: "Connected".to_owned(),
        meta: format!("{} from {} · connection {}", protocol(&connection.protocol), connection.address, connection.connection),
        side: away.map(|until| format!("after {} away", elapsed(until.millis_until(connection.connected_time)))).unwrap_or_default(),
        steps: Vec::new(),
    }];
    if let Some(until) = connection.disconnected_time {
        let reason = connection.reason.as_deref().unwrap_or("unknown");
        entries.push(Entry {
            key: format!("{key} ends"),
            time: until,
            kind: Kind::Connection,
            look: Look { tone: if reason == "TakenOver" { Tone::Mute } else { disconnect_tone(reason) }, ..DeviceState::Offline.look() },
            text: format!("Disconnected: {}", disconnect_reason(reason)),
            meta: format!("{} from {} · connection {}", protocol(&connection.protocol), connection.address, connection.connection),
            side: format!("was on for {}", elapsed(connection.connected_time.millis_until(until))),
            steps: Vec::new(),
        });
    }
    entries
}

fn refusal_entry(refusal: &Refusal) -> Entry {
    Entry {
        key: format!("refusal {} {}", refusal.time.0, refusal.reason),
        time: refusal.time,
        kind: Kind::SignIn,
        look: REFUSED,
        text: "Connection attempt refused".to_owned(),
        meta: format!("{} · {} from {}", sentence(&refusal.text), protocol(&refusal.protocol), refusal.address),
        side: String::new(),
        steps: Vec::new(),
    }
}

fn audit_entry(audited: &Audited) -> Entry {
    let by = format!("By {} · {}", audited.who.name, audited.way());
    Entry {
        key: format!("registry {} {}", audited.time.unwrap_or_default().0, audited.action),
        time: audited.time.unwrap_or_default(),
        kind: Kind::Registry,
        look: audited.look(),
        text: audited.word().to_owned(),
        meta: [by, audited.more()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · "),
        side: String::new(),
        steps: Vec::new(),
    }
}

/// One row for all of a command's way: where it is now, how it got there, and how long that took.
fn command_entry(command: &Command) -> Option<Entry> {
    let begun = command.enqueued_time?;
    let steps: Vec<_> = command
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| way_step(step, index.checked_sub(1).and_then(|before| command.steps.get(before))))
        .collect();
    let (text, side) = match command.ended_time {
        Some(ended) => (format!("{} {}", command.name(), command_word(&command.state)), duration(begun.millis_until(ended))),
        None if command.state == "Invisible" => (format!("{} is with the device", command.name()), String::new()),
        None => (format!("{} waits for the device", command.name()), String::new()),
    };
    let mut meta = format!("Command {} · {}", command.id, bytes(command.size_bytes));
    if command.delivery_count > 1 {
        meta += &format!(" · {}", count(command.delivery_count, "delivery", "deliveries"));
    }
    if let (None, Some(expiry)) = (command.ended_time, command.expiry_time) {
        meta += &format!(" · expires {}", expiry.clock());
    }
    meta += &format!(" · by {}", command.sent_by);
    Some(Entry {
        key: format!("command {}", command.id),
        time: command.ended_time.unwrap_or(begun),
        kind: Kind::Command,
        look: command_look(&command.state),
        text: sentence(&text),
        meta,
        side,
        steps,
    })
}

fn way_step(step: &Step, before: Option<&Step>) -> WayStep {
    let mut meta: Vec<String> = Vec::new();
    meta.extend(step.protocol.as_deref().map(|name| protocol(name).to_owned()));
    meta.extend(step.delivery_count.filter(|count| *count > 1).map(|count| format!("delivery {count}")));
    meta.extend(step.reason.clone());
    meta.extend(step.r#as.as_ref().map(|id| format!("as command {id}")));
    WayStep {
        time: step.time,
        look: command_look(&step.step),
        text: sentence(command_word(&step.step)),
        after: before.map(|before| format!("+{}", duration(before.time.millis_until(step.time)))).unwrap_or_default(),
        meta: meta.join(" · "),
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
                ("Set-point waits for the device", ""),
                ("Connected", "after 20 s away"),
                ("Connection attempt refused", ""),
                ("Disconnected: keep-alive timeout", "was on for 30 s"),
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
        assert_eq!(entries[1].side, "after 0 s away");
        assert!(story.refusals.values().all(|refusal| refusal.time >= NOW.plus(2 * FACTS_MAX as i64)));
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
        assert_eq!((entry.text.as_str(), entry.side.as_str(), entry.steps.len()), ("Set-point completed", "212 ms", 2));
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
