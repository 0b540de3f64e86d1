//! What is to be sent: one buffer for all frames, written by whoever owns the socket.
//!
//! Acknowledgements gather here: those of consecutive deliveries become one disposition, as long as nothing else is written between them.

use fe2o3_amqp_types::messaging::{Accepted, DeliveryState};

use super::disposition::Disposition;
use super::frame::{self, FrameKind, Protocol};
use super::limits::{FRAME_MIN_MAX_BYTES, OUTPUT_MAX_BYTES};
use super::link::Role;
use super::performative::Performative;
use super::sasl::{self, SaslOutcome};

/// Frames that wait to be written.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    /// The largest frame that the peer takes.
    frame_max_bytes: usize,
    /// Deliveries of one session that are accepted and not said to be.
    accepted: Option<Accepting>,
}

#[derive(Debug)]
struct Accepting {
    channel: u16,
    first: u32,
    last: u32,
}

/// The frame would be larger than the peer takes; it was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Output {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), frame_max_bytes: FRAME_MIN_MAX_BYTES as usize, accepted: None }
    }

    pub fn frame_max_bytes(&self) -> usize {
        self.frame_max_bytes
    }

    pub fn set_frame_max_bytes(&mut self, bytes: u32) {
        self.frame_max_bytes = bytes as usize;
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.accepted.is_none()
    }

    pub fn has_room(&self) -> bool {
        self.bytes.len() < OUTPUT_MAX_BYTES
    }

    /// Everything that waits, with what follows to be in another buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.write_accepted();
        std::mem::take(&mut self.bytes)
    }

    pub fn protocol(&mut self, protocol: Protocol) {
        self.bytes.extend_from_slice(&protocol.header());
    }

    pub fn sasl_mechanisms(&mut self, mechanisms: &[&str]) {
        sasl::write_mechanisms(&mut self.bytes, mechanisms);
    }

    pub fn sasl_outcome(&mut self, outcome: SaslOutcome) {
        sasl::write_outcome(&mut self.bytes, outcome);
    }

    /// A frame without a body: a sign of life (AMQP 2.4.5).
    pub fn empty_frame(&mut self) {
        frame::write(&mut self.bytes, FrameKind::Amqp, 0, |_| {});
    }

    /// A frame that is small by what is in it.
    pub fn performative(&mut self, channel: u16, performative: &Performative) {
        self.write_accepted();
        frame::write(&mut self.bytes, FrameKind::Amqp, channel, |body| performative.write(body));
    }

    /// A frame with what a peer or a caller put into it, which may not fit into the peer's frames.
    pub fn performative_if_it_fits(&mut self, channel: u16, performative: &Performative) -> Result<(), TooLarge> {
        self.write_accepted();
        let start = self.bytes.len();
        let size = frame::write(&mut self.bytes, FrameKind::Amqp, channel, |body| performative.write(body));
        if size > self.frame_max_bytes {
            self.bytes.truncate(start);
            return Err(TooLarge);
        }
        Ok(())
    }

    /// A frame by hand.
    pub fn frame(&mut self, channel: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.write_accepted();
        frame::write(&mut self.bytes, FrameKind::Amqp, channel, body);
    }

    /// A delivery is accepted and settled: said with its neighbours.
    pub fn accept(&mut self, channel: u16, delivery: u32) {
        match &mut self.accepted {
            Some(accepting) if accepting.channel == channel && accepting.last.wrapping_add(1) == delivery => accepting.last = delivery,
            _ => {
                self.write_accepted();
                self.accepted = Some(Accepting { channel, first: delivery, last: delivery });
            }
        }
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn write_accepted(&mut self) {
        if let Some(Accepting { channel, first, last }) = self.accepted.take() {
            let state = Some(DeliveryState::Accepted(Accepted {}));
            let disposition = Disposition { role: Role::Receiver, first, last: Some(last), settled: true, state, batchable: false };
            let performative = Performative::Disposition(disposition);
            frame::write(&mut self.bytes, FrameKind::Amqp, channel, |body| performative.write(body));
        }
    }
}
