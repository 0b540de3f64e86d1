//! The nine performatives (AMQP 2.7): what is in them, each with all the fields that the specification gives it, in their order.
//!
//! Reading takes what others leave out at the end as null. Writing leaves nothing out, and gives the defaults that matter as values: one
//! client indexes fields by position and applies no default, another refuses a field too many.

use fe2o3_amqp_types::definitions::{Error, Fields as Properties};
use fe2o3_amqp_types::messaging::Source;
use fe2o3_amqp_types::primitives::{Array, Symbol};

use super::codec::{Fields, Input, Malformed, Writer};
use super::disposition::Disposition;
use super::flow::Flow;
use super::link::Role;
use super::states::{read_error, write_error};
pub use super::terminus::AnyTarget;
use super::terminus::{read_source, read_target, write_source, write_target};
use super::transfer::Transfer;

/// Descriptor codes.
pub(super) mod code {
    pub const OPEN: u8 = 0x10;
    pub const BEGIN: u8 = 0x11;
    pub const ATTACH: u8 = 0x12;
    pub const FLOW: u8 = 0x13;
    pub const TRANSFER: u8 = 0x14;
    pub const DISPOSITION: u8 = 0x15;
    pub const DETACH: u8 = 0x16;
    pub const END: u8 = 0x17;
    pub const CLOSE: u8 = 0x18;
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    /// 2.7.1
    Open(Box<Open>),
    /// 2.7.2
    Begin(Box<Begin>),
    /// 2.7.3
    Attach(Box<Attach>),
    /// 2.7.4
    Flow(Flow),
    /// 2.7.5
    Transfer(Transfer),
    /// 2.7.6
    Disposition(Disposition),
    /// 2.7.7
    Detach(Detach),
    /// 2.7.8
    End(Option<Error>),
    /// 2.7.9
    Close(Option<Error>),
}

impl Performative {
    /// The performative that `body` begins with, and how many bytes it has; what follows is the payload.
    pub fn read(body: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut input = Input(body);
        let descriptor = input.descriptor()?;
        let performative = match u8::try_from(descriptor) {
            Ok(code::TRANSFER) => Self::Transfer(Transfer::read(input.list("transfer")?)?),
            Ok(code::DISPOSITION) => Self::Disposition(Disposition::read(input.list("disposition")?)?),
            Ok(code::FLOW) => Self::Flow(Flow::read(input.list("flow")?)?),
            Ok(code::OPEN) => Self::Open(Box::new(Open::read(input.list("open")?)?)),
            Ok(code::BEGIN) => Self::Begin(Box::new(Begin::read(input.list("begin")?)?)),
            Ok(code::ATTACH) => Self::Attach(Box::new(Attach::read(input.list("attach")?)?)),
            Ok(code::DETACH) => Self::Detach(Detach::read(input.list("detach")?)?),
            Ok(code::END) => Self::End(read_last_words(input.list("end")?)?),
            Ok(code::CLOSE) => Self::Close(read_last_words(input.list("close")?)?),
            _ => return Err(Malformed::Descriptor(descriptor)),
        };
        Ok((performative, body.len() - input.0.len()))
    }

    /// Appends it.
    pub fn write(&self, output: &mut Vec<u8>) {
        let writer = &mut Writer(output);
        match self {
            Self::Open(open) => open.write(writer),
            Self::Begin(begin) => begin.write(writer),
            Self::Attach(attach) => attach.write(writer),
            Self::Flow(flow) => flow.write(writer),
            Self::Transfer(transfer) => transfer.write(writer),
            Self::Disposition(disposition) => disposition.write(writer),
            Self::Detach(detach) => detach.write(writer),
            Self::End(error) => write_last_words(writer, code::END, error.as_ref()),
            Self::Close(error) => write_last_words(writer, code::CLOSE, error.as_ref()),
        }
    }
}

/// Several symbols, as AMQP writes fields that may be multiple.
pub type Symbols = Option<Array<Symbol>>;

/// What a peer says of itself and of the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    /// Its own name; Java's clients leave it empty.
    pub container_id: String,
    /// The host that is asked for.
    pub hostname: Option<String>,
    /// The largest frame that it takes, in bytes; no limit when it is not said.
    pub max_frame_size: Option<u32>,
    /// Its highest channel; 65,535 when it is not said.
    pub channel_max: Option<u16>,
    /// After how much silence it goes away, in milliseconds.
    pub idle_time_out: Option<u32>,
    /// Languages that it writes in.
    pub outgoing_locales: Symbols,
    /// Languages that it reads.
    pub incoming_locales: Symbols,
    /// Extensions that it has.
    pub offered_capabilities: Symbols,
    /// Extensions that it could use.
    pub desired_capabilities: Symbols,
    /// Product, version and the like.
    pub properties: Option<Properties>,
}

impl Open {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let open = Self {
            container_id: fields.string()?.ok_or(Malformed::Missing("open's container-id"))?.to_owned(),
            hostname: fields.string()?.map(str::to_owned),
            max_frame_size: fields.uint()?,
            channel_max: fields.ushort()?,
            idle_time_out: fields.uint()?,
            outgoing_locales: read_symbols(&mut fields)?,
            incoming_locales: read_symbols(&mut fields)?,
            offered_capabilities: read_symbols(&mut fields)?,
            desired_capabilities: read_symbols(&mut fields)?,
            properties: fields.typed("open's properties")?,
        };
        fields.end()?;
        Ok(open)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::OPEN, 10, |fields| {
            fields.string(&self.container_id);
            fields.optional(self.hostname.as_deref(), Writer::string);
            fields.uint(self.max_frame_size.unwrap_or(u32::MAX));
            fields.ushort(self.channel_max.unwrap_or(u16::MAX));
            fields.optional(self.idle_time_out, Writer::uint);
            write_symbols(fields, self.outgoing_locales.as_ref());
            write_symbols(fields, self.incoming_locales.as_ref());
            write_symbols(fields, self.offered_capabilities.as_ref());
            write_symbols(fields, self.desired_capabilities.as_ref());
            fields.optional(self.properties.as_ref(), |fields, properties| fields.typed(properties));
        });
    }
}

/// The beginning of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    /// The channel that it answers; null when it asks.
    pub remote_channel: Option<u16>,
    /// The id of its sender's first transfer.
    pub next_outgoing_id: u32,
    /// Transfers that its sender can take.
    pub incoming_window: u32,
    /// Transfers that its sender may send.
    pub outgoing_window: u32,
    /// Its sender's highest handle; 2³² − 1 when it is not said.
    pub handle_max: Option<u32>,
    /// Extensions that it has.
    pub offered_capabilities: Symbols,
    /// Extensions that it could use.
    pub desired_capabilities: Symbols,
    /// Of which AMQP defines none.
    pub properties: Option<Properties>,
}

impl Begin {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let begin = Self {
            remote_channel: fields.ushort()?,
            next_outgoing_id: fields.uint()?.ok_or(Malformed::Missing("begin's next-outgoing-id"))?,
            incoming_window: fields.uint()?.ok_or(Malformed::Missing("begin's incoming-window"))?,
            outgoing_window: fields.uint()?.ok_or(Malformed::Missing("begin's outgoing-window"))?,
            handle_max: fields.uint()?,
            offered_capabilities: read_symbols(&mut fields)?,
            desired_capabilities: read_symbols(&mut fields)?,
            properties: fields.typed("begin's properties")?,
        };
        fields.end()?;
        Ok(begin)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::BEGIN, 8, |fields| {
            fields.optional(self.remote_channel, Writer::ushort);
            fields.uint(self.next_outgoing_id);
            fields.uint(self.incoming_window);
            fields.uint(self.outgoing_window);
            fields.uint(self.handle_max.unwrap_or(u32::MAX));
            write_symbols(fields, self.offered_capabilities.as_ref());
            write_symbols(fields, self.desired_capabilities.as_ref());
            fields.optional(self.properties.as_ref(), |fields, properties| fields.typed(properties));
        });
    }
}

/// The beginning of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Attach {
    /// The link's name, of its own for each direction.
    pub name: String,
    /// The number by which its sender means it.
    pub handle: u32,
    /// What its sender is on the link.
    pub role: Role,
    /// 0 unsettled, 1 settled, 2 mixed; mixed when it is not said.
    pub snd_settle_mode: Option<u8>,
    /// 0 first, 1 second; first when it is not said.
    pub rcv_settle_mode: Option<u8>,
    /// Where messages come from.
    pub source: Option<Box<Source>>,
    /// Where they go.
    pub target: Option<AnyTarget>,
    /// Whether it names deliveries to be resumed.
    pub resumes: bool,
    /// Whether it names only some of them.
    pub incomplete_unsettled: bool,
    /// Where the sender's count begins.
    pub initial_delivery_count: Option<u32>,
    /// The largest message that its sender takes, in bytes; 0 or null for any.
    pub max_message_size: Option<u64>,
    /// Extensions that it has.
    pub offered_capabilities: Symbols,
    /// Extensions that it could use.
    pub desired_capabilities: Symbols,
    /// Epochs, names of readers, versions.
    pub properties: Option<Properties>,
}

impl Attach {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let attach = Self {
            name: fields.string()?.ok_or(Malformed::Missing("attach's name"))?.to_owned(),
            handle: fields.uint()?.ok_or(Malformed::Missing("attach's handle"))?,
            role: Role::read(&mut fields)?,
            snd_settle_mode: at_most(fields.ubyte()?, 2, "snd-settle-mode")?,
            rcv_settle_mode: at_most(fields.ubyte()?, 1, "rcv-settle-mode")?,
            source: read_source(&mut fields)?,
            target: read_target(&mut fields)?,
            resumes: names_deliveries(fields.encoded()?)?,
            incomplete_unsettled: fields.boolean()?.unwrap_or(false),
            initial_delivery_count: fields.uint()?,
            max_message_size: fields.ulong()?,
            offered_capabilities: read_symbols(&mut fields)?,
            desired_capabilities: read_symbols(&mut fields)?,
            properties: fields.typed("attach's properties")?,
        };
        fields.end()?;
        Ok(attach)
    }

    /// All fourteen fields. The hub resumes nothing, so `unsettled` is always null; what a null says otherwise is said.
    fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::ATTACH, 14, |fields| {
            fields.string(&self.name);
            fields.uint(self.handle);
            fields.boolean(self.role == Role::Receiver);
            fields.ubyte(self.snd_settle_mode.unwrap_or(2));
            fields.ubyte(self.rcv_settle_mode.unwrap_or(0));
            fields.optional(self.source.as_deref(), write_source);
            match &self.target {
                Some(AnyTarget::Target(target)) => write_target(fields, target),
                Some(AnyTarget::Coordinator) | None => fields.null(),
            }
            fields.null();
            fields.boolean(self.incomplete_unsettled);
            fields.optional(self.initial_delivery_count, Writer::uint);
            fields.ulong(self.max_message_size.unwrap_or(0));
            write_symbols(fields, self.offered_capabilities.as_ref());
            write_symbols(fields, self.desired_capabilities.as_ref());
            fields.optional(self.properties.as_ref(), |fields, properties| fields.typed(properties));
        });
    }
}

/// The end of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct Detach {
    /// The number by which its sender means the link.
    pub handle: u32,
    /// Whether for good.
    pub closed: bool,
    /// Why.
    pub error: Option<Error>,
}

impl Detach {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let detach = Self {
            handle: fields.uint()?.ok_or(Malformed::Missing("detach's handle"))?,
            closed: fields.boolean()?.unwrap_or(false),
            error: read_error(&mut fields)?,
        };
        fields.end()?;
        Ok(detach)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.list(code::DETACH, 3, |fields| {
            fields.uint(self.handle);
            fields.boolean(self.closed);
            fields.optional(self.error.as_ref(), write_error);
        });
    }
}

/// `end` and `close` have an error and nothing else.
fn read_last_words(mut fields: Fields<'_>) -> Result<Option<Error>, Malformed> {
    let error = read_error(&mut fields)?;
    fields.end()?;
    Ok(error)
}

fn write_last_words(writer: &mut Writer<'_>, descriptor: u8, error: Option<&Error>) {
    writer.list(descriptor, 1, |fields| fields.optional(error, write_error));
}

/// A field that may be multiple: null, one symbol or an array of them (AMQP 1.4).
fn read_symbols(fields: &mut Fields<'_>) -> Result<Symbols, Malformed> {
    let Some(bytes) = fields.encoded()? else { return Ok(None) };
    let one = matches!(bytes.first(), Some(0xa3 | 0xb3));
    let symbols = if one { serde_amqp::from_slice(bytes).map(|symbol| Array(vec![symbol])) } else { serde_amqp::from_slice(bytes) };
    symbols.map(Some).map_err(|_| Malformed::Type("an array of symbols"))
}

fn write_symbols(fields: &mut Writer<'_>, symbols: Option<&Array<Symbol>>) {
    fields.optional(symbols.filter(|symbols| !symbols.0.is_empty()), |fields, symbols| fields.typed(symbols));
}

fn at_most(value: Option<u8>, max: u8, name: &'static str) -> Result<Option<u8>, Malformed> {
    if value.is_some_and(|value| value > max) { Err(Malformed::OutOfRange(name)) } else { Ok(value) }
}

/// Whether an unsettled map has entries.
fn names_deliveries(map: Option<&[u8]>) -> Result<bool, Malformed> {
    match map {
        None => Ok(false),
        Some([0xc1, _, count, ..]) => Ok(*count > 0),
        Some([0xd1, _, _, _, _, count @ ..]) => Ok(count.iter().take(4).any(|byte| *byte > 0)),
        Some(_) => Err(Malformed::Type("attach's unsettled map")),
    }
}
