//! SASL's frames (AMQP 5.3.3), as far as one step of it goes: mechanisms, init, outcome. Whether someone may come in is the caller's to say.

use super::codec::{Input, Malformed, Writer};
use super::frame::{self, FrameKind};

/// Descriptor codes.
mod code {
    pub(super) const MECHANISMS: u8 = 0x40;
    pub(super) const INIT: u8 = 0x41;
    pub(super) const OUTCOME: u8 = 0x44;
}

/// How someone wants to prove who they are. Its response may be a secret, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslInit {
    /// One of those that were offered, or not.
    pub mechanism: String,
    /// For PLAIN: authorisation, name and password with a NUL before each of the last two.
    pub initial_response: Option<Vec<u8>>,
    /// The host that is asked for.
    pub hostname: Option<String>,
}

impl SaslInit {
    /// From a SASL frame's body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(body);
        match input.descriptor()? {
            descriptor if descriptor == u64::from(code::INIT) => {}
            other => return Err(Malformed::Descriptor(other)),
        }
        let mut fields = input.list("sasl-init")?;
        let init = Self {
            mechanism: fields.symbol()?.ok_or(Malformed::Missing("sasl-init's mechanism"))?.to_owned(),
            initial_response: fields.binary()?.map(<[u8]>::to_vec),
            hostname: fields.string()?.map(str::to_owned),
        };
        fields.end()?;
        Ok(init)
    }
}

impl std::fmt::Debug for SaslInit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mechanism, initial_response: _, hostname } = self;
        formatter.debug_struct("SaslInit").field("mechanism", mechanism).field("hostname", hostname).finish_non_exhaustive()
    }
}

/// What SASL came to (AMQP 5.3.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SaslOutcome {
    /// Go on with AMQP.
    Ok = 0,
    /// Not proved.
    Auth = 1,
    /// The hub can't tell, and trying again will not help.
    SystemPermanent = 3,
    /// The hub can't tell now.
    SystemTemporary = 4,
}

/// Appends the offer, as an array of symbols even when it is one (AMQP 5.3.3.1).
pub(super) fn write_mechanisms(output: &mut Vec<u8>, mechanisms: &[&str]) {
    use fe2o3_amqp_types::primitives::{Array, Symbol};
    let symbols: Array<Symbol> = mechanisms.iter().map(|name| Symbol::from(*name)).collect();
    frame::write(output, FrameKind::Sasl, 0, |body| Writer(body).list(code::MECHANISMS, 1, |fields| fields.typed(&symbols)));
}

/// Appends the outcome.
pub(super) fn write_outcome(output: &mut Vec<u8>, outcome: SaslOutcome) {
    frame::write(output, FrameKind::Sasl, 0, |body| {
        Writer(body).list(code::OUTCOME, 2, |fields| {
            fields.ubyte(outcome as u8);
            fields.null();
        });
    });
}
