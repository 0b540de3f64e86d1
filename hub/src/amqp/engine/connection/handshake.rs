//! From the first byte to `open`: which protocol, who it is, and what both sides can take.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use fe2o3_amqp_types::definitions::{AmqpError, ConnectionError};

use super::super::error::{Ending, Fault};
use super::super::frame::{Frame, FrameKind, Protocol, agreed_max};
use super::super::limits::{FRAME_BEFORE_OPEN_MAX_BYTES, FRAME_OUT_MAX_BYTES, IDLE_TIME_OUT_MIN_MS, Limits};
use super::super::performative::{Open, Performative};
use super::super::sasl::{SaslInit, SaslOutcome};
use super::{Connection, Event, Phase};

/// The highest channel that the hub takes, as Azure says it.
pub(super) const CHANNEL_MAX: u16 = 8191;

impl Connection {
    /// A protocol header, after which the hub says its own; says whether it was there.
    pub(super) fn take_header(&mut self, sasl_done: bool, input: &mut BytesMut) -> bool {
        let protocol = match Protocol::read(input) {
            Ok(None) => return false,
            Ok(Some(Protocol::Sasl)) if !sasl_done => Protocol::Sasl,
            Ok(Some(Protocol::Amqp)) => Protocol::Amqp,
            Ok(Some(Protocol::Sasl)) | Err(_) => {
                // AMQP 2.2: a header that the hub does speak, and the end.
                self.output.protocol(Protocol::Amqp);
                self.finish(Ending::ForeignProtocol);
                return true;
            }
        };
        input.advance(protocol.header().len());
        self.output.protocol(protocol);
        match protocol {
            Protocol::Amqp => self.phase = Phase::Open,
            Protocol::Sasl => {
                self.output.sasl_mechanisms(self.terms.mechanisms);
                self.phase = Phase::SaslInit;
            }
        }
        true
    }

    pub(super) fn take_sasl_init(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(frame) = Frame::read(input, FRAME_BEFORE_OPEN_MAX_BYTES)? else { return Ok(false) };
        if frame.kind != FrameKind::Sasl {
            return Err(Fault::connection(ConnectionError::FramingError, "sasl-init is due"));
        }
        let init = SaslInit::read(&input[frame.body..frame.size])?;
        input.advance(frame.size);
        self.phase = Phase::SaslDecision;
        self.events.push_back(Event::SaslInit(init));
        Ok(true)
    }

    /// The answer to [`Event::SaslInit`]. Anything but ok ends the connection.
    pub fn sasl_outcome(&mut self, outcome: SaslOutcome) {
        if self.phase != Phase::SaslDecision {
            return;
        }
        self.output.sasl_outcome(outcome);
        if outcome == SaslOutcome::Ok {
            self.phase = Phase::Header { sasl_done: true };
        } else {
            self.finish(Ending::Refused);
        }
    }

    pub(super) fn take_open(&mut self, input: &mut BytesMut) -> Result<bool, Fault> {
        let Some(frame) = Frame::read(input, FRAME_BEFORE_OPEN_MAX_BYTES)? else { return Ok(false) };
        if frame.kind != FrameKind::Amqp {
            return Err(Fault::connection(ConnectionError::FramingError, "open is due"));
        }
        let (Performative::Open(open), _) = Performative::read(&input[frame.body..frame.size])? else {
            return Err(Fault::connection(AmqpError::NotAllowed, "open is due"));
        };
        input.advance(frame.size);
        self.opened(&open)?;
        self.events.push_back(Event::Opened(open));
        Ok(true)
    }

    fn opened(&mut self, open: &Open) -> Result<(), Fault> {
        self.output.set_frame_max_bytes(agreed_max(open.max_frame_size.unwrap_or(u32::MAX), FRAME_OUT_MAX_BYTES));
        self.channel_max = open.channel_max.unwrap_or(u16::MAX);
        match open.idle_time_out {
            // No time at all is what some write for none.
            None | Some(0) => {}
            Some(milliseconds @ IDLE_TIME_OUT_MIN_MS..) => self.heartbeat = Some(Duration::from_millis(u64::from(milliseconds) / 2)),
            Some(_) => return Err(Fault::connection(AmqpError::NotAllowed, "the idle-time-out is shorter than half a second")),
        }
        self.write_open();
        self.phase = Phase::Running;
        Ok(())
    }

    pub(super) fn write_open(&mut self) {
        let open = Open {
            container_id: self.terms.container_id.to_owned(),
            // What holds once somebody is trusted: it can't be said twice.
            max_frame_size: Some(Limits::TRUSTED.frame_bytes),
            channel_max: Some(CHANNEL_MAX),
            idle_time_out: Some(u32::try_from(self.terms.idle_time_out.as_millis()).unwrap_or(u32::MAX)),
            ..Open::default()
        };
        self.output.performative(0, &Performative::Open(Box::new(open)));
    }
}
