//! Changes as one-line facts for the stream of notable events: glyph, device, sentence.

use super::change::{Change, Presence, Receipt, Refusal};
use super::format::{count, duration, elapsed};
use super::hub::FleetRow;
use super::order::sorted;
use super::payload::harmless;
use super::state::{ALERT, DeviceState, Look, RECEIPT_LOST, REFUSED, REGISTRY, Tone, command_look, command_word};
use super::time::Moment;
use super::words::{disconnect_reason, protocol, sentence};

/// A fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Notable {
    /// When.
    pub time: Moment,
    /// How it is shown.
    pub look: Look,
    /// Whom it is about, if it is about one: nobody, for who did not say who it is.
    pub device_id: Option<String>,
    /// In words.
    pub text: String,
}

/// The fact, if the change is one: steps on a command's way are not, its end is.
#[must_use]
pub fn of(change: &Change, away_since: Option<Moment>, now: Moment) -> Option<Notable> {
    fact(change, away_since, now).map(|fact| Notable { text: harmless(&fact.text), ..fact })
}

fn fact(change: &Change, away_since: Option<Moment>, now: Moment) -> Option<Notable> {
    match change {
        Change::Presence(presence) => Some(presence_fact(presence, away_since)),
        Change::Refusal(refusal) => Some(refusal_fact(refusal)),
        Change::Command(command, Some(step)) => {
            let ended = command.ended_time? == step.time && command.state == step.step;
            let tone = command_look(&step.step);
            let took = command.enqueued_time.map(|at| at.millis_until(step.time)).unwrap_or_default();
            let took = if step.step == "Completed" { format!(" in {}", duration(took)) } else { format!(" after {}", elapsed(took)) };
            let text = format!("{} {}{took}", command.name(), command_word(&step.step));
            // A name of somebody's own is written as it is.
            let text = if command.message_id.is_some() { text } else { sentence(&text) };
            ended.then(|| Notable { time: step.time, look: tone, device_id: Some(command.device_id.clone()), text })
        }
        Change::Receipt(receipt) => receipt_fact(receipt),
        Change::Deleted(id) => Some(Notable { time: now, look: REGISTRY, device_id: Some(id.clone()), text: "Deleted".to_owned() }),
        Change::Written(device) => {
            let since = device.status_updated_time.filter(|since| since.millis_until(now) < 2_000);
            let (look, text) = match (since, device.status.as_str(), &device.hold) {
                (Some(_), "disabled", Some(hold)) => (DeviceState::Disabled.look(), format!("Disabled by {}", hold.by)),
                (Some(_), "disabled", None) => (DeviceState::Disabled.look(), "Disabled by its manifest".to_owned()),
                (Some(_), "enabled", _) => (REGISTRY, "Enabled".to_owned()),
                _ => (REGISTRY, "Identity written".to_owned()),
            };
            Some(Notable { time: since.unwrap_or(now), look, device_id: Some(device.device_id.clone()), text })
        }
        Change::Command(_, None) | Change::Audit(_) => None,
    }
}

/// What a connect or a disconnect comes to.
#[must_use]
pub fn presence_fact(presence: &Presence, away_since: Option<Moment>) -> Notable {
    let (look, text) = if presence.is_connect() {
        let away = away_since.map(|since| format!(" after {} away", elapsed(since.millis_until(presence.time)))).unwrap_or_default();
        (DeviceState::Connected.look(), format!("Connected from {}{away}", presence.address))
    } else {
        let reason = disconnect_reason(presence.reason.as_deref().unwrap_or("for no reason that is known"));
        let look =
            if presence.device_connected { Look { tone: Tone::Mute, ..DeviceState::Offline.look() } } else { DeviceState::Offline.look() };
        (look, format!("Disconnected: {reason}"))
    };
    Notable { time: presence.time, look, device_id: Some(presence.device_id.clone()), text }
}

/// What lists say of the time before anybody listened, the newest first: how each of these devices came or went last, and who was refused.
#[must_use]
pub fn past(rows: &[FleetRow], refusals: &[Refusal]) -> Vec<Notable> {
    let went = rows.iter().filter_map(|row| {
        let (look, text) = match (&row.reason, row.connected) {
            // Since when it does so is known, and not when it did last.
            _ if row.state == DeviceState::Flapping.name() => (DeviceState::Flapping.look(), "Began to flap".to_owned()),
            (_, true) => (DeviceState::Connected.look(), "Connected".to_owned()),
            (Some(reason), false) => (DeviceState::Offline.look(), format!("Disconnected: {}", disconnect_reason(reason))),
            (None, false) => return None,
        };
        Some(Notable { time: row.state_since?, look, device_id: Some(row.device_id.clone()), text })
    });
    let facts = went.chain(refusals.iter().map(refusal_fact)).map(|fact| Notable { text: harmless(&fact.text), ..fact });
    sorted(facts.collect(), |one: &Notable, other| other.time.cmp(&one.time))
}

/// That something is not here: how many changes, or 0 if nobody knows.
#[must_use]
pub fn hole(changes: u64, now: Moment) -> Notable {
    let missing = if changes == 0 { "What happened before this".to_owned() } else { count(changes, "change", "changes") };
    let text = format!("{missing} did not reach this page: lists and numbers are whole, these lines are not");
    Notable { time: now, look: ALERT, device_id: None, text }
}

fn refusal_fact(refusal: &Refusal) -> Notable {
    let text = format!("Refused: {} · {} from {}", refusal.text, protocol(&refusal.protocol), refusal.address);
    Notable { time: refusal.time, look: REFUSED, device_id: Some(refusal.claimed.clone()), text }
}

fn receipt_fact(receipt: &Receipt) -> Option<Notable> {
    let lost = receipt.step.as_deref() == Some("ReceiptLost");
    lost.then(|| Notable {
        time: receipt.time.unwrap_or(receipt.enqueued_time_utc),
        look: RECEIPT_LOST,
        device_id: Some(receipt.device_id.clone()),
        text: format!("Receipt of command {} lost: {}", receipt.command_id, receipt.reason.as_deref().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::{What, parse};

    const NOW: Moment = Moment(1_795_402_872_000);

    fn told(text: &str) -> Option<Notable> {
        let What::Change(change) = parse(text).unwrap().what else { panic!("a change") };
        of(&change, Some(NOW.plus(-218_000)), NOW)
    }

    #[test]
    fn what_happens_becomes_a_sentence() {
        let text = format!(
            r#"{{"kind":"presence","deviceId":"pump","connection":"17","protocol":"mqtt","address":"192.0.2.1","time":"{}","state":"connected","deviceConnected":true}}"#,
            NOW.iso()
        );
        let connect = told(&text).unwrap();
        assert_eq!((connect.text.as_str(), connect.look.glyph), ("Connected from 192.0.2.1 after 3 m 38 s away", "connected"));
        let text = text.replace(r#""connected","#, r#""disconnected","reason":"KeepAliveTimeout","#);
        assert_eq!(told(&text).unwrap().text, "Disconnected: keep-alive timeout");
    }

    #[test]
    fn who_is_let_in_again_is_said() {
        let text = r#"{"kind":"registry","operation":"written","deviceId":"d","device":{"deviceId":"d","status":"enabled","statusUpdatedTime":TIME}}"#;
        let at = |time: &str| told(&text.replace("TIME", time)).unwrap().text;
        assert_eq!(at(&format!("\"{}\"", NOW.plus(-100).iso())), "Enabled");
        assert_eq!(at(&format!("\"{}\"", NOW.plus(-60_000).iso())), "Identity written");
        assert_eq!(at("null"), "Identity written");
    }

    #[test]
    fn what_was_before_is_told_by_lists() {
        let row = |id: &str, at: i64, connected: bool, reason: Option<&str>| FleetRow {
            device_id: id.to_owned(),
            state_since: Some(NOW.plus(at)),
            connected,
            reason: reason.map(str::to_owned),
            ..FleetRow::default()
        };
        let flapping = FleetRow { state: "flapping".to_owned(), ..row("f", -40, true, Some("ConnectionLost")) };
        let rows = [row("a", -1, true, None), row("b", -30, false, Some("ConnectionLost")), row("never", 0, false, None), flapping];
        let refusal = Refusal { claimed: "c".to_owned(), time: NOW.plus(-20), text: "its key is wrong".to_owned(), ..Refusal::default() };
        let past = past(&rows, &[refusal]);
        let told: Vec<_> = past.iter().map(|fact| (fact.device_id.as_deref().unwrap(), fact.text.split(" · ").next().unwrap())).collect();
        assert_eq!(
            told,
            [("a", "Connected"), ("c", "Refused: its key is wrong"), ("b", "Disconnected: connection reset"), ("f", "Began to flap")]
        );
    }

    #[test]
    fn a_command_is_worth_a_line_when_it_has_ended() {
        let text = r#"{"kind":"command","command":{"id":"12","deviceId":"valve","messageId":"open","state":"STATE","enqueuedTime":"2026-11-23T03:00:00.000Z",
            "endedTime":ENDED},"step":{"time":"2026-11-23T03:00:00.212Z","step":"STATE"}}"#;
        let ended = text.replace("STATE", "Completed").replace("ENDED", r#""2026-11-23T03:00:00.212Z""#);
        assert_eq!(told(&ended).unwrap().text, "open completed in 212 ms");
        assert_eq!(told(&text.replace("STATE", "Delivered").replace("ENDED", "null")), None);
    }

    #[test]
    fn receipts_are_worth_a_line_when_they_are_lost() {
        let waits =
            r#"{"kind":"receipt","commandId":"12","deviceId":"d","statusCode":"Success","enqueuedTimeUtc":"2026-11-23T03:00:07.2500000Z"}"#;
        assert_eq!(told(waits), None);
        let lost = waits.replace('}', r#","time":"2026-11-23T03:00:08.000Z","step":"ReceiptLost","reason":"QueueFull"}"#);
        assert_eq!(told(&lost).unwrap().text, "Receipt of command 12 lost: QueueFull");
    }
}
