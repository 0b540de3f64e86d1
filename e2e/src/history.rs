//! What a hub that is killed again and again must keep: judged from what was acknowledged, what was read live, and what is there at the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::events::{Event, check_numbers};

/// What was seen from outside while the hub ran, and was killed, and ran again.
#[derive(Debug, Default)]
pub struct History {
    /// By device: the numbers of the messages whose PUBACK arrived. Each device counts from 0.
    pub acknowledged: BTreeMap<String, BTreeSet<u64>>,
    /// What readers got before a kill: by partition and sequence number.
    pub read_live: BTreeMap<(u16, u64), Event>,
}

impl History {
    /// Remembers an event that a reader got, and checks that no other one had its number.
    ///
    /// # Errors
    /// When the number belonged to another event before.
    pub fn saw(&mut self, event: &Event) -> Result<()> {
        let place = (event.partition, event.sequence_number);
        let before = self.read_live.entry(place).or_insert_with(|| event.clone());
        ensure!(before == event, "number {place:?} changed hands:\n{before:?}\n{event:?}");
        Ok(())
    }

    /// Judges what is there at the end.
    ///
    /// # Errors
    /// Naming the first promise that was broken.
    pub fn judge(&self, kept: &[Event]) -> Result<()> {
        check_numbers(kept)?;
        let numbers = by_device(kept)?;
        for (device, acknowledged) in &self.acknowledged {
            let kept: BTreeSet<u64> = numbers.get(device).into_iter().flatten().copied().collect();
            let lost: Vec<&u64> = acknowledged.difference(&kept).take(5).collect();
            ensure!(lost.is_empty(), "{device}: acknowledged and lost: {lost:?} …");
        }
        for (device, numbers) in &numbers {
            check_order(numbers).with_context(|| format!("{device}'s order"))?;
        }
        let kept: BTreeMap<(u16, u64), &Event> = kept.iter().map(|event| ((event.partition, event.sequence_number), event)).collect();
        for (place, event) in &self.read_live {
            ensure!(
                kept.get(place).is_some_and(|kept| *kept == event),
                "{place:?} was read as {event:?}, and is {:?} now",
                kept.get(place)
            );
        }
        Ok(())
    }
}

/// The message's number that a device put into its payload.
///
/// # Errors
/// When the payload is not a number.
pub fn number(event: &Event) -> Result<u64> {
    let text = String::from_utf8(event.bytes()?)?;
    text.split(' ').next().unwrap_or_default().parse().with_context(|| format!("payload {text:?}"))
}

fn by_device(events: &[Event]) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        numbers.entry(event.device_id.clone()).or_default().push(number(event)?);
    }
    Ok(numbers)
}

/// A device that sends again what was not acknowledged repeats itself, and never runs ahead of itself: each message that is new is the
/// one after the newest so far, and a repetition goes on message by message.
fn check_order(numbers: &[u64]) -> Result<()> {
    let mut last: Option<u64> = None;
    for &number in numbers {
        let follows = last.map_or(0, |last| last + 1);
        ensure!(number <= follows, "{number} came after {last:?}");
        last = Some(number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(device: &str, partition: u16, sequence_number: u64, number: u64) -> Event {
        serde_json::from_value(serde_json::json!({
            "partition": partition, "offset": sequence_number.to_string(), "sequenceNumber": sequence_number, "enqueuedTime": "",
            "deviceId": device, "bodyBase64": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, number.to_string()),
        }))
        .expect("an event")
    }

    fn acknowledged(numbers: &[u64]) -> History {
        History { acknowledged: BTreeMap::from([("d".to_owned(), numbers.iter().copied().collect())]), ..History::default() }
    }

    #[test]
    fn repetitions_are_fine() -> Result<()> {
        let kept: Vec<Event> = [0, 1, 2, 1, 2, 3].into_iter().zip(0..).map(|(number, place)| event("d", 0, place, number)).collect();
        acknowledged(&[0, 1, 2]).judge(&kept)
    }

    #[test]
    fn a_lost_event_is_found() {
        let kept = [event("d", 0, 0, 0)];
        assert!(acknowledged(&[0, 1]).judge(&kept).is_err());
    }

    #[test]
    fn events_out_of_order_are_found() {
        let kept = [event("d", 0, 0, 0), event("d", 0, 1, 2), event("d", 0, 2, 1)];
        assert!(acknowledged(&[]).judge(&kept).is_err());
    }

    #[test]
    fn a_number_that_changed_hands_is_found() -> Result<()> {
        let mut history = History::default();
        history.saw(&event("d", 0, 0, 0))?;
        assert!(history.saw(&event("d", 0, 0, 1)).is_err());
        assert!(history.judge(&[event("e", 0, 0, 0)]).is_err());
        Ok(())
    }
}
