//! What a hub that is killed again and again must keep of commands: judged from what was accepted, what devices got and acknowledged,
//! which receipts were read, and the timelines at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::commands::step_names;

/// How many deliveries of a command in a row do not count because they never left the hub.
const NOT_SENT_MAX: u32 = 10;

/// How commands end; each has one end.
const OUTCOMES: [&str; 6] = ["Completed", "Expired", "DeliveryCountExceeded", "Rejected", "Purged", "DeviceDeleted"];

/// What was seen from outside. A command is known by its message-id, which is its payload too.
#[derive(Debug, Default)]
pub struct CommandHistory {
    /// The hub's ids of all commands whose acceptance was answered, and their message-ids.
    pub accepted: BTreeMap<String, String>,
    /// What devices got: whether each time it was called a duplicate.
    delivered: BTreeMap<String, Vec<bool>>,
    /// What devices acknowledged.
    acknowledged: BTreeSet<String>,
    /// What receipts said.
    receipts: BTreeMap<String, Value>,
    /// Receipts that were taken out of the queue, and the hub said so.
    taken: BTreeSet<String>,
}

impl CommandHistory {
    /// A device got a command.
    ///
    /// # Errors
    /// When the command was settled before, or comes again without being called a duplicate.
    pub fn delivered(&mut self, message_id: &str, duplicate: bool) -> Result<()> {
        ensure!(!self.receipts.contains_key(message_id), "{message_id} was delivered after its receipt was read");
        let before = self.delivered.entry(message_id.to_owned()).or_default();
        ensure!(duplicate || before.is_empty(), "{message_id} came again and is not called a duplicate");
        before.push(duplicate);
        Ok(())
    }

    /// A device acknowledges a command.
    pub fn acknowledges(&mut self, message_id: &str) {
        self.acknowledged.insert(message_id.to_owned());
    }

    /// Receipts were read.
    ///
    /// # Errors
    /// When one was taken before, or says now something else.
    pub fn read(&mut self, receipts: &[Value]) -> Result<()> {
        for receipt in receipts {
            let message_id = message_id(receipt)?;
            ensure!(!self.taken.contains(message_id), "the receipt of {message_id} came after it had been taken");
            let before = self.receipts.entry(message_id.to_owned()).or_insert_with(|| receipt.clone());
            ensure!(before == receipt, "two receipts of {message_id}:\n{before}\n{receipt}");
        }
        Ok(())
    }

    /// The hub has said that these receipts are taken.
    ///
    /// # Errors
    /// When one has no message-id.
    pub fn taken(&mut self, receipts: &[Value]) -> Result<()> {
        for receipt in receipts {
            self.taken.insert(message_id(receipt)?.to_owned());
        }
        Ok(())
    }

    /// Whether a receipt of every accepted command was read.
    #[must_use]
    pub fn has_all_receipts(&self) -> bool {
        self.accepted.values().all(|message_id| self.receipts.contains_key(message_id))
    }

    /// Judges an accepted command by its timeline, once its receipt has been read.
    ///
    /// # Errors
    /// Naming the first promise that was broken.
    pub fn judge(&self, message_id: &str, timeline: &Value) -> Result<()> {
        self.judge_one(message_id, timeline).with_context(|| format!("{message_id}: {timeline}"))
    }

    /// How many commands were accepted, and how many deliveries devices got of them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.accepted.len(), self.delivered.values().map(Vec::len).sum())
    }

    fn judge_one(&self, message_id: &str, timeline: &Value) -> Result<()> {
        let names = step_names(timeline);
        let ends: Vec<&&str> = names.iter().filter(|name| OUTCOMES.contains(name)).collect();
        ensure!(ends.len() == 1 && timeline["state"] == **ends[0], "not one end");
        ensure!(names.first() == Some(&"Enqueued") && names.ends_with(&[*ends[0], "ReceiptRead"]), "a timeline out of order");
        let counted = check_counts(timeline)?;
        let deliveries = timeline["deliveryCount"].as_u64().context("no delivery count")?;
        ensure!(counted.contains(&deliveries), "the timeline has {counted:?} deliveries");
        let got = self.delivered.get(message_id).map_or(0, Vec::len) as u64;
        ensure!(got <= deliveries, "the device got it {got} times");
        match *ends[0] {
            "Completed" => ensure!(self.acknowledged.contains(message_id), "completed, and its device never acknowledged it"),
            "DeliveryCountExceeded" => ensure!(deliveries == 10, "given up too early"),
            other => anyhow::bail!("nobody made it {other}"),
        }
        ensure!(self.receipts.contains_key(message_id), "its receipt was never read");
        Ok(())
    }
}

/// Checks that each delivery counts one more than the one before, unless that one never left the hub; answers what the last count may be.
///
/// After [`NOT_SENT_MAX`] of these in a row they count, as long as the hub remembers how many there were: one that was killed begins anew,
/// and no timeline tells when.
fn check_counts(timeline: &Value) -> Result<RangeInclusive<u64>> {
    let (mut counted, mut not_sent) = (0..=0, 0);
    for step in timeline["steps"].as_array().context("no steps")? {
        if step["step"] == "Delivered" {
            let now = step["deliveryCount"].as_u64().context("a delivery without a count")?;
            ensure!(now > 0 && counted.contains(&(now - 1)), "delivery {now} follows {counted:?}");
            counted = now..=now;
        } else if step["step"] == "Returned" && step["reason"] == "NotSent" {
            not_sent += 1;
            let without = counted.end().checked_sub(1).context("returned before any delivery")?;
            counted = without..=if not_sent > NOT_SENT_MAX { *counted.end() } else { without };
        } else if step["step"] == "Returned" {
            not_sent = 0;
        }
    }
    Ok(counted)
}

fn message_id(receipt: &Value) -> Result<&str> {
    receipt["originalMessageId"].as_str().with_context(|| format!("a receipt of nothing: {receipt}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn timeline(steps: &[Value], state: &str, count: u64) -> Value {
        json!({ "state": state, "deliveryCount": count, "steps": steps })
    }

    fn delivered(count: u64) -> Value {
        json!({ "step": "Delivered", "deliveryCount": count })
    }

    fn step(name: &str) -> Value {
        json!({ "step": name })
    }

    fn history() -> Result<CommandHistory> {
        let mut history = CommandHistory::default();
        history.delivered("m", false)?;
        history.acknowledges("m");
        history.read(&[json!({ "originalMessageId": "m", "statusCode": "Success" })])?;
        Ok(history)
    }

    #[test]
    fn what_happened_as_promised_is_passed() -> Result<()> {
        let not_sent = json!({ "step": "Returned", "reason": "NotSent" });
        let steps = [
            step("Enqueued"),
            delivered(1),
            not_sent,
            delivered(1),
            step("Returned"),
            delivered(2),
            step("Completed"),
            step("ReceiptRead"),
        ];
        history()?.judge("m", &timeline(&steps, "Completed", 2))
    }

    /// So many deliveries that were not sent, one that was, and the end: is it all right when they counted like that?
    fn judge_unsent(unsent: &[u64], sent: u64) -> Result<()> {
        let mut steps = vec![step("Enqueued")];
        for count in unsent {
            steps.extend([delivered(*count), json!({ "step": "Returned", "reason": "NotSent" })]);
        }
        steps.extend([delivered(sent), step("Completed"), step("ReceiptRead")]);
        history()?.judge("m", &timeline(&steps, "Completed", sent))
    }

    #[test]
    fn the_eleventh_delivery_in_a_row_that_was_not_sent_may_count_and_none_before_it() -> Result<()> {
        judge_unsent(&[1; 10], 1)?;
        judge_unsent(&[1; 11], 2)?;
        judge_unsent(&[1; 11], 1).context("a hub that was killed has forgotten how many there were")?;
        assert!(judge_unsent(&[1; 10], 2).is_err() && judge_unsent(&[1; 11], 3).is_err());
        assert!(judge_unsent(&[1, 2], 2).is_err());
        Ok(())
    }

    #[test]
    fn every_broken_promise_is_found() -> Result<()> {
        let (first, last) = (step("Enqueued"), step("ReceiptRead"));
        for steps in [
            // Two ends, none, a count that stands still, a delivery after the end.
            vec![first.clone(), delivered(1), step("Completed"), step("Expired"), last.clone()],
            vec![first.clone(), delivered(1), last.clone()],
            vec![first.clone(), delivered(1), step("Returned"), delivered(1), step("Completed"), last.clone()],
            vec![first.clone(), delivered(1), step("Completed"), delivered(2), last.clone()],
        ] {
            assert!(history()?.judge("m", &timeline(&steps, "Completed", 1)).is_err(), "{steps:?}");
        }
        assert!(history()?.delivered("m", true).is_err(), "delivered after its receipt");
        assert!(history()?.read(&[json!({ "originalMessageId": "m", "statusCode": "Expired" })]).is_err(), "two receipts");
        let mut again = CommandHistory::default();
        again.delivered("m", false)?;
        assert!(again.delivered("m", false).is_err(), "again, and no duplicate");
        let never_acknowledged = timeline(&[first, delivered(1), step("Completed"), last], "Completed", 1);
        assert!(again.judge("m", &never_acknowledged).is_err());
        Ok(())
    }
}
