//! Time: signs of life each way (AMQP 2.4.5), the end of patience with strangers, and what was sent when.

use std::time::Instant;

use fe2o3_amqp_types::definitions::AmqpError;

use super::super::error::{Ending, error};
use super::super::performative::Performative;
use super::{Connection, Phase};

impl Connection {
    /// Bytes have come, or nobody has listened: the peer counts as alive.
    pub fn heard(&mut self, now: Instant) {
        self.now = now;
        self.heard_at = now;
    }

    /// What is to be written now, all of it in one buffer; empty when there is nothing.
    pub fn take_output(&mut self, now: Instant) -> Vec<u8> {
        self.now = now;
        if self.output.is_empty() {
            return Vec::new();
        }
        self.sent_at = now;
        self.output.take()
    }

    /// Whether [`Self::take_output`] has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// When to call [`Self::time_passed`] next; it may turn out to have been too early. `None` when it is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let silent = self.heard_at + self.silence_max();
        let soonest = self.stranger.as_ref().map_or(silent, |stranger| stranger.until.min(silent));
        match self.phase {
            Phase::Over => None,
            Phase::Closing { until } => Some(until),
            Phase::Running => Some(self.heartbeat.map_or(soonest, |heartbeat| soonest.min(self.sent_at + heartbeat))),
            Phase::Header { .. } | Phase::SaslInit | Phase::SaslDecision | Phase::Open => Some(soonest),
        }
    }

    /// Does what is due: an empty frame, or the end. Events and output may follow.
    pub fn time_passed(&mut self, now: Instant) {
        self.now = now;
        match self.phase {
            Phase::Over => return,
            Phase::Closing { until } => {
                if until <= now {
                    self.finish(Ending::ByHub);
                }
                return;
            }
            Phase::Header { .. } | Phase::SaslInit | Phase::SaslDecision | Phase::Open | Phase::Running => {}
        }
        if self.stranger.as_ref().is_some_and(|stranger| stranger.until <= now) {
            self.say_last(AmqpError::UnauthorizedAccess, "nobody has proved in time who they are");
            self.finish(Ending::Late);
        } else if self.heard_at + self.silence_max() <= now {
            self.say_last(AmqpError::ResourceLimitExceeded, "local-idle-timeout expired");
            self.finish(Ending::Silent);
        } else if self.phase == Phase::Running && self.heartbeat.is_some_and(|heartbeat| self.sent_at + heartbeat <= now) {
            if self.output.is_empty() {
                self.output.empty_frame();
            }
            // If something waits already, no more can be done for now.
            self.sent_at = now;
        }
    }

    /// How long a peer may be silent: half as much again as it was told, because what it sends in time may come late.
    fn silence_max(&self) -> std::time::Duration {
        self.terms.idle_time_out * 3 / 2
    }

    /// `close`, to a peer that may not be there to hear it.
    fn say_last(&mut self, condition: AmqpError, description: &str) {
        if self.phase == Phase::Running {
            self.output.performative(0, &Performative::Close(Some(error(condition, description))));
        }
    }
}
