//! A command's way on the waterfall's axis: how long it was in the queue, how long with the device, how it ended, and when its receipt was read.

use super::change::Command;
use super::format::{duration, elapsed};
use super::scale::waterfall;
use super::state::{Look, Tone, command_look, command_word};
use super::time::Moment;
use super::words::sentence;

/// The axis' round values: when, and as it is written. Between the first and the last there is a line at each.
pub const AXIS: [(u64, &str); 8] =
    [(1, "1 ms"), (10, "10"), (100, "100"), (1_000, "1 s"), (10_000, "10 s"), (60_000, "1 min"), (600_000, "10 min"), (3_600_000, "1 h")];

/// A way, in parts of the axis' length.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Until here it was in the queue.
    pub queued: f64,
    /// Until here it was with the device: the end of the bar.
    pub end: f64,
    /// Whether it was with the device at all.
    pub flew: bool,
    /// Whether it is known how long it was in the queue and how long with the device: lists do not say.
    pub divided: bool,
    /// Here its receipt was read.
    pub read: Option<f64>,
    /// How it ended, or where it is.
    pub look: Look,
    /// What a reader should take away.
    pub label: String,
}

impl Way {
    /// Of a command with its steps; one that has not ended goes on until now.
    #[must_use]
    pub fn of(command: &Command, now: Moment) -> Self {
        let begun = command.enqueued_time.unwrap_or(now);
        let after = |step: &str| {
            let found = command.steps.iter().rev().find(|found| found.step == step);
            found.map(|found| begun.millis_until(found.time))
        };
        // A command that went back to the queue is not with the device.
        let delivered = after("Delivered").filter(|_| command.ended_time.is_some() || command.state == "Invisible");
        // The hub's clock may be ahead of this machine's.
        let total = begun.millis_until(command.ended_time.unwrap_or(now)).max(delivered.unwrap_or_default());
        let read = after("ReceiptRead");
        let mut said = vec![format!("{}:", sentence(command_word(&command.state)))];
        said.extend(delivered.map(|delivered| format!("delivered after {},", duration(delivered))));
        said.push(match command.ended_time {
            Some(_) => format!("ended after {}", duration(total)),
            None => format!("open for {}", elapsed(total)),
        });
        said.extend(read.map(|read| format!(", receipt read after {}", duration(read))));
        Self {
            queued: waterfall(delivered.unwrap_or(total)),
            end: waterfall(total),
            flew: delivered.is_some(),
            divided: delivered.is_some() || command.delivery_count == 0 || command.state == "Enqueued",
            read: read.map(waterfall),
            look: command_look(&command.state),
            label: said.join(" ").replace(" ,", ","),
        }
    }

    /// How the stretch in the queue is drawn: what ran out there has its own colour.
    #[must_use]
    pub fn queued_class(&self) -> &'static str {
        match (self.divided, self.look.tone) {
            (false, _) => "waterfall__queued waterfall__queued--unknown",
            (true, Tone::Late) => "waterfall__queued waterfall__queued--late",
            (true, _) => "waterfall__queued",
        }
    }

    /// How the stretch with the device is drawn.
    #[must_use]
    pub fn flight_class(&self) -> &'static str {
        match self.look.tone {
            Tone::Ok => "waterfall__flight waterfall__flight--ok",
            Tone::Bad => "waterfall__flight waterfall__flight--bad",
            _ => "waterfall__flight",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::change::Step;

    const BEGUN: Moment = Moment(1_795_402_872_000);

    fn step(after: i64, step: &str) -> Step {
        Step { time: BEGUN.plus(after), step: step.to_owned(), protocol: None, delivery_count: None, reason: None, r#as: None }
    }

    fn command(state: &str, ended: Option<i64>, steps: Vec<Step>) -> Command {
        let ended_time = ended.map(|after| BEGUN.plus(after));
        Command { state: state.to_owned(), enqueued_time: Some(BEGUN), ended_time, steps, ..Command::default() }
    }

    #[test]
    fn a_command_that_arrived_has_all_of_its_parts() {
        let steps = vec![step(0, "Enqueued"), step(5, "Delivered"), step(212, "Completed"), step(1480, "ReceiptRead")];
        let way = Way::of(&command("Completed", Some(212), steps), BEGUN.plus(60_000));
        assert!(0.0 < way.queued && way.queued < way.end && way.end < way.read.unwrap() && way.read.unwrap() < 1.0);
        assert_eq!(way.label, "Completed: delivered after 5 ms, ended after 212 ms, receipt read after 1.48 s");
        assert_eq!((way.flew, way.flight_class()), (true, "waterfall__flight waterfall__flight--ok"));
    }

    #[test]
    fn one_that_waits_goes_on_until_now() {
        let waits = command("Enqueued", None, vec![step(0, "Enqueued"), step(9, "Delivered"), step(90, "Returned")]);
        let way = Way::of(&waits, BEGUN.plus(189_000));
        assert_eq!((way.flew, way.queued == way.end), (false, true));
        assert_eq!(way.label, "Enqueued: open for 3 m 9 s");
        let with_device = Way::of(&command("Invisible", None, vec![step(9, "Delivered")]), BEGUN.plus(10_000));
        assert!(with_device.flew && with_device.queued < with_device.end);
    }

    #[test]
    fn what_ran_out_in_the_queue_looks_so() {
        let way = Way::of(&command("Expired", Some(600_000), Vec::new()), BEGUN);
        assert_eq!((way.flew, way.queued_class()), (false, "waterfall__queued waterfall__queued--late"));
    }

    #[test]
    fn a_list_does_not_say_where_it_was() {
        let listed = |state: &str, ended, delivery_count| Command { delivery_count, ..command(state, ended, Vec::new()) };
        for (command, divided) in [
            (listed("Completed", Some(212), 1), false),
            (listed("Invisible", None, 1), false),
            (listed("Enqueued", None, 1), true),
            (listed("Expired", Some(212), 0), true),
        ] {
            let way = Way::of(&command, BEGUN.plus(500));
            assert_eq!((way.divided, way.queued_class().ends_with("unknown")), (divided, !divided), "{command:?}");
        }
    }
}
