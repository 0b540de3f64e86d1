//! As much of AMQP 1.0 as a device needs that sends and waits for commands, and a back end that reads events. Bytes in, bytes out: no
//! sockets, no clocks. What is sent often is encoded once.

use anyhow::{Context, Result, bail};

/// Protocol headers (AMQP 2.2).
pub const HEADER_BYTES: usize = 8;
pub const SASL_HEADER: [u8; HEADER_BYTES] = *b"AMQP\x03\x01\x00\x00";
pub const HEADER: [u8; HEADER_BYTES] = *b"AMQP\x00\x01\x00\x00";
/// The message-format of Azure's batches.
pub const BATCH_FORMAT: u32 = 0x8001_3700;
/// What the generator says it takes: what Azure's clients in Python and Node say.
const MAX_FRAME_BYTES: u32 = 64 * 1024;
const SESSION_WINDOW: u32 = 0x7fff_ffff;

/// Descriptors (AMQP 2.7, 3.2, 3.4, 3.5, 5.3).
mod code {
    pub(super) const OPEN: u8 = 0x10;
    pub(super) const BEGIN: u8 = 0x11;
    pub(super) const ATTACH: u8 = 0x12;
    pub(super) const FLOW: u8 = 0x13;
    pub(super) const TRANSFER: u8 = 0x14;
    pub(super) const DISPOSITION: u8 = 0x15;
    pub(super) const DETACH: u8 = 0x16;
    pub(super) const CLOSE: u8 = 0x18;
    pub(super) const ACCEPTED: u8 = 0x24;
    pub(super) const SOURCE: u8 = 0x28;
    pub(super) const TARGET: u8 = 0x29;
    pub(super) const SASL_INIT: u8 = 0x41;
    pub(super) const SASL_OUTCOME: u8 = 0x44;
    pub(super) const HEADER: u8 = 0x70;
    pub(super) const DATA: u8 = 0x75;
}

const NULL: &[u8] = &[0x40];
const TRUE: &[u8] = &[0x41];
const FALSE: &[u8] = &[0x42];

/// How somebody introduces themselves.
pub enum Proof {
    /// To a server that asks nobody.
    Anonymous,
    /// By a name and a token.
    Plain { user: String, password: String },
}

/// What a link is.
pub enum Link<'a> {
    /// The generator sends to this address.
    To(&'a str),
    /// The generator receives from this address, from its beginning where there is one.
    From { address: &'a str, selector: Option<&'a str> },
}

pub fn sasl_init(proof: &Proof) -> Vec<u8> {
    let fields = match proof {
        Proof::Anonymous => vec![symbol("ANONYMOUS")],
        Proof::Plain { user, password } => vec![symbol("PLAIN"), binary(format!("\0{user}\0{password}").as_bytes())],
    };
    frame(1, &described(code::SASL_INIT, &fields))
}

pub fn open(container: &str, host: &str, idle_time_out_ms: u32) -> Vec<u8> {
    let fields = [string(container), string(host), uint(MAX_FRAME_BYTES), vec![0x60, 0, 255], uint(idle_time_out_ms)];
    frame(0, &described(code::OPEN, &fields))
}

pub fn begin() -> Vec<u8> {
    frame(0, &described(code::BEGIN, &[NULL.to_vec(), uint(0), uint(SESSION_WINDOW), uint(SESSION_WINDOW)]))
}

pub fn attach(handle: u32, link: &Link<'_>) -> Vec<u8> {
    let node = |code, address: &str| described(code, &[string(address)]);
    let (name, role, source, target, count) = match link {
        Link::To(address) => ("to", FALSE, node(code::SOURCE, "generator"), node(code::TARGET, address), uint(0)),
        Link::From { address, selector } => {
            let mut source = vec![string(address), uint(0), NULL.to_vec(), uint(0), FALSE.to_vec(), NULL.to_vec(), NULL.to_vec()];
            if let Some(selector) = selector {
                const NAME: &str = "apache.org:selector-filter:string";
                let filter = [&[0x00][..], &symbol(NAME), &string(selector)].concat();
                source.push(map(&[symbol(NAME), filter]));
            }
            ("from", TRUE, described(code::SOURCE, &source), node(code::TARGET, "generator"), NULL.to_vec())
        }
    };
    let name = string(&format!("{name}-{handle}"));
    let fields = [name, uint(handle), role.to_vec(), NULL.to_vec(), NULL.to_vec(), source, target, NULL.to_vec(), NULL.to_vec(), count];
    frame(0, &described(code::ATTACH, &fields))
}

/// Grants `credit` beyond the `count` deliveries that have come on the link, in a session that has seen `transfers`.
pub fn flow(handle: u32, transfers: u32, count: u32, credit: u32) -> Vec<u8> {
    let fields = [uint(transfers), uint(SESSION_WINDOW), uint(0), uint(SESSION_WINDOW), uint(handle), uint(count), uint(credit)];
    frame(0, &described(code::FLOW, &fields))
}

/// Ends a link, for which the server does the same.
pub fn detach(handle: u32) -> Vec<u8> {
    frame(0, &described(code::DETACH, &[uint(handle), TRUE.to_vec()]))
}

/// Accepts what has come, up to and including `last`.
pub fn accept(first: u32, last: u32) -> Vec<u8> {
    frame(0, &described(code::DISPOSITION, &[TRUE.to_vec(), uint(first), uint(last), TRUE.to_vec(), described(code::ACCEPTED, &[])]))
}

/// A durable message of one data section.
pub fn message(payload: &[u8]) -> Vec<u8> {
    [described(code::HEADER, &[TRUE.to_vec()]), data(payload)].concat()
}

/// `count` messages as Azure's clients send batches.
pub fn batch(message: &[u8], count: usize) -> Vec<u8> {
    data(message).repeat(count)
}

fn data(bytes: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code::DATA][..], &binary(bytes)].concat()
}

/// One transfer, encoded once; each copy differs in its delivery-id and tag alone.
pub struct Transfer {
    bytes: Vec<u8>,
    next_id: u32,
}

impl Transfer {
    /// Where delivery-id and tag stand behind the frame's header and those of the list.
    const ID_OFFSET: usize = 8 + 3 + 9 + 2 + 1;
    const TAG_OFFSET: usize = Self::ID_OFFSET + 4 + 2;

    /// To the link with handle 0.
    pub fn new(format: u32, payload: &[u8]) -> Self {
        let handle = vec![0x52, 0];
        let fields = [handle, wide_uint(0), binary(&[0; 4]), wide_uint(format), FALSE.to_vec()];
        let body = [long_described(code::TRANSFER, &fields), payload.to_vec()].concat();
        Self { bytes: frame(0, &body), next_id: 0 }
    }

    /// Another payload, with the delivery-ids that follow.
    pub fn followed_by(self, format: u32, payload: &[u8]) -> Self {
        Self { next_id: self.next_id, ..Self::new(format, payload) }
    }

    /// Appends a copy and returns its delivery-id.
    pub fn push(&mut self, out: &mut Vec<u8>) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        for offset in [Self::ID_OFFSET, Self::TAG_OFFSET] {
            self.bytes[offset..offset + 4].copy_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(&self.bytes);
        id
    }

    pub fn encoded_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// What a server tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// A protocol header.
    Protocol,
    /// SASL is over, with this code.
    Outcome(u8),
    /// A link is attached, and leads somewhere.
    Attach { handle: u32, leads: bool },
    /// The session's window: the id of the next transfer that the server awaits, and how many it takes. A `begin` says it first.
    Flow { next_incoming: Option<u32>, window: u32, link: Option<Credit> },
    /// A piece of a message.
    Transfer { delivery: Option<u32>, settled: bool, more: bool, payload: &'a [u8] },
    /// A range of deliveries has this outcome.
    Disposition { first: u32, last: u32, accepted: bool },
    /// A link, a session or the connection has ended.
    Ended(String),
    /// What needs no answer.
    Other,
}

/// How many deliveries a link may have had in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    pub handle: u32,
    pub count: u32,
    pub credit: u32,
}

/// The first frame in `bytes` and its length; `None` when it is not whole yet.
pub fn first_frame(bytes: &[u8]) -> Result<Option<(Told<'_>, usize)>> {
    let Some(&[s0, s1, s2, s3, offset, _, _, _]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if bytes.starts_with(b"AMQP") {
        return Ok(Some((Told::Protocol, HEADER_BYTES)));
    }
    let size = usize::try_from(u32::from_be_bytes([s0, s1, s2, s3]))?;
    let Some(frame) = bytes.get(..size) else { return Ok(None) };
    let body = frame.get(4 * usize::from(offset)..).context("a frame without its header")?;
    let told = if body.is_empty() { Told::Other } else { told(body)? };
    Ok(Some((told, size)))
}

fn told(body: &[u8]) -> Result<Told<'_>> {
    let (code, mut fields, payload) = list(body)?;
    Ok(match code {
        code::SASL_OUTCOME => Told::Outcome(u8::try_from(fields.uint()?.context("an outcome without a code")?)?),
        code::BEGIN => {
            fields.skip(2)?;
            Told::Flow { next_incoming: None, window: fields.uint()?.context("a begin without a window")?, link: None }
        }
        code::ATTACH => {
            fields.skip(1)?;
            let handle = fields.uint()?.context("an attach without a handle")?;
            fields.skip(3)?;
            let (source, target) = (fields.next()?, fields.next()?);
            Told::Attach { handle, leads: source.is_some() && target.is_some() }
        }
        code::FLOW => {
            let (next_incoming, window) = (fields.uint()?, fields.uint()?.context("a flow without a window")?);
            fields.skip(2)?;
            let (handle, count, credit) = (fields.uint()?, fields.uint()?, fields.uint()?);
            let link = handle.map(|handle| Credit { handle, count: count.unwrap_or(0), credit: credit.unwrap_or(0) });
            Told::Flow { next_incoming, window, link }
        }
        code::TRANSFER => {
            fields.skip(1)?;
            let delivery = fields.uint()?;
            fields.skip(2)?;
            let (settled, more) = (fields.boolean()?, fields.boolean()?);
            Told::Transfer { delivery, settled, more, payload }
        }
        code::DISPOSITION => {
            fields.skip(1)?;
            let first = fields.uint()?.context("a disposition of nothing")?;
            let last = fields.uint()?.unwrap_or(first);
            fields.skip(1)?;
            let accepted = fields.next()?.is_some_and(|state| state.starts_with(&[0x00, 0x53, code::ACCEPTED]));
            Told::Disposition { first, last, accepted }
        }
        code::DETACH..=code::CLOSE => Told::Ended(text_of(body)),
        _ => Told::Other,
    })
}

/// The number of the event that a message begins, among its annotations; they come before what the device has sent.
pub fn sequence_number(message: &[u8]) -> Option<i64> {
    const NAME: &[u8] = b"x-opt-sequence-number";
    let at = message.windows(NAME.len()).position(|window| window == NAME)?;
    match message.get(at + NAME.len()..)? {
        [0x81, number @ ..] => Some(i64::from_be_bytes(*number.first_chunk()?)),
        [0x55, number, ..] => Some(i64::from(number.cast_signed())),
        _ => None,
    }
}

/// What can be read in an error without understanding it.
fn text_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split(|c: char| !c.is_ascii_graphic() && c != ' ').filter(|word| word.len() > 3).collect::<Vec<_>>().join(" ")
}

/// The described list that `bytes` begin with: its descriptor, its fields, and what follows it.
fn list(bytes: &[u8]) -> Result<(u8, Fields<'_>, &[u8])> {
    let mut all = Fields(bytes);
    let value = all.value()?;
    let (&[0x00, 0x53, code], list) = value.split_first_chunk::<3>().context("no described list")? else { bail!("no short descriptor") };
    let contents = match list {
        [0x45] => &[][..],
        [0xc0, _, _, rest @ ..] | [0xd0, _, _, _, _, _, _, _, _, rest @ ..] => rest,
        other => bail!("{other:02x?} is no list"),
    };
    Ok((code, Fields(contents), all.0))
}

/// The values that follow each other in a list. Those that were left out at its end are null.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next value's bytes, `None` when it is null.
    fn next(&mut self) -> Result<Option<&'a [u8]>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let value = self.value()?;
        Ok((value != NULL).then_some(value))
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }

    fn value(&mut self) -> Result<&'a [u8]> {
        let bytes = self.0;
        let be =
            |at: usize| bytes.get(at..at + 4).map_or(usize::MAX, |size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize);
        let length = match *bytes.first().context("a value is missing")? {
            0x00 => {
                let mut rest = Fields(&bytes[1..]);
                rest.value()?;
                rest.value()?;
                bytes.len() - rest.0.len()
            }
            constructor => match constructor >> 4 {
                4 => 1,
                5 => 2,
                6 => 3,
                7 => 5,
                8 => 9,
                9 => 17,
                0xa | 0xc | 0xe => 2 + usize::from(*bytes.get(1).context("a value without its size")?),
                0xb | 0xd | 0xf => be(1).saturating_add(5),
                _ => bail!("there is no constructor {constructor:#x}"),
            },
        };
        let (value, rest) = bytes.split_at_checked(length).context("a value is cut off")?;
        self.0 = rest;
        Ok(value)
    }

    /// Any number of at most 32 bits.
    fn uint(&mut self) -> Result<Option<u32>> {
        Ok(match self.next()? {
            None => None,
            Some([0x43 | 0x44]) => Some(0),
            Some([0x50 | 0x52 | 0x53, small]) => Some(u32::from(*small)),
            Some([0x60, high, low]) => Some(u32::from(u16::from_be_bytes([*high, *low]))),
            Some([0x70, n0, n1, n2, n3]) => Some(u32::from_be_bytes([*n0, *n1, *n2, *n3])),
            Some(other) => bail!("{other:02x?} is no number"),
        })
    }

    fn boolean(&mut self) -> Result<bool> {
        Ok(matches!(self.next()?, Some([0x41] | [0x56, 1])))
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_BYTES + body.len()).expect("the benchmark's frames are small");
    [&size.to_be_bytes()[..], &[2, kind, 0, 0], body].concat()
}

fn described(code: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let contents = fields.concat();
    match (u8::try_from(contents.len() + 1), u8::try_from(fields.len())) {
        (Ok(_), Ok(0)) => vec![0x00, 0x53, code, 0x45],
        (Ok(size), Ok(count)) => [&[0x00, 0x53, code, 0xc0, size, count][..], &contents].concat(),
        _ => long_described(code, fields),
    }
}

fn long_described(code: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    let contents = fields.concat();
    [&[0x00, 0x53, code, 0xd0][..], &length(contents.len() + 4), &length(fields.len()), &contents].concat()
}

fn map(entries: &[Vec<u8>]) -> Vec<u8> {
    let contents = entries.concat();
    [&[0xd1][..], &length(contents.len() + 4), &length(entries.len()), &contents].concat()
}

fn uint(value: u32) -> Vec<u8> {
    if value == 0 { vec![0x43] } else { wide_uint(value) }
}

fn wide_uint(value: u32) -> Vec<u8> {
    [&[0x70][..], &value.to_be_bytes()].concat()
}

fn string(text: &str) -> Vec<u8> {
    variable(0xa1, text.as_bytes())
}

fn symbol(text: &str) -> Vec<u8> {
    variable(0xa3, text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    variable(0xa0, bytes)
}

fn variable(short: u8, bytes: &[u8]) -> Vec<u8> {
    match u8::try_from(bytes.len()) {
        Ok(size) => [&[short, size][..], bytes].concat(),
        Err(_) => [&[short | 0x10][..], &length(bytes.len()), bytes].concat(),
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("the benchmark writes nothing near 4 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_laid_out_as_the_specification_says() {
        let mut transfer = Transfer::new(0, b"xyz");
        let mut out = Vec::new();
        assert_eq!((transfer.push(&mut out), transfer.push(&mut out)), (0, 1));
        let (first, second) = out.split_at(transfer.encoded_bytes());
        assert_eq!(first.len(), second.len());
        let expected = Told::Transfer { delivery: Some(1), settled: false, more: false, payload: b"xyz" };
        assert_eq!(first_frame(second).ok().flatten(), Some((expected, second.len())));
        assert_eq!(second[Transfer::TAG_OFFSET - 2..Transfer::TAG_OFFSET + 4], [0xa0, 4, 0, 0, 0, 1]);
    }

    #[test]
    fn frames_are_whole_or_not_yet() {
        let attached = attach(3, &Link::From { address: "a", selector: Some("x") });
        for cut in 0..attached.len() {
            assert!(first_frame(&attached[..cut]).is_ok_and(|told| told.is_none()), "cut at {cut}");
        }
        assert_eq!(first_frame(&attached).ok().flatten(), Some((Told::Attach { handle: 3, leads: true }, attached.len())));
        assert_eq!(first_frame(&HEADER).ok().flatten(), Some((Told::Protocol, 8)));
        assert_eq!(first_frame(&[0, 0, 0, 8, 2, 0, 0, 0]).ok().flatten(), Some((Told::Other, 8)));
    }

    #[test]
    fn an_event_tells_its_number() {
        let annotations = |number: &[u8]| [&b"\x00\x53\x72\xc1\x20\x02\xa3\x15x-opt-sequence-number"[..], number].concat();
        assert_eq!(sequence_number(&annotations(&[0x81, 0, 0, 0, 0, 0, 1, 0, 2, 9])), Some(65538));
        assert_eq!(sequence_number(&annotations(&[0x55, 7])), Some(7));
        for wrong in [&[][..], &[0x81, 0, 0], &[0x40]] {
            assert_eq!(sequence_number(&annotations(wrong)), None);
        }
        assert_eq!(sequence_number(b"nothing of that kind"), None);
    }

    #[test]
    fn what_a_server_says_of_credit_and_outcomes_is_understood() {
        let granted = flow(1, 7, 5, 300);
        let credit = Credit { handle: 1, count: 5, credit: 300 };
        let told = Told::Flow { next_incoming: Some(7), window: SESSION_WINDOW, link: Some(credit) };
        assert_eq!(first_frame(&granted).ok().flatten(), Some((told, granted.len())));
        let accepted = accept(2, 300);
        let told = Told::Disposition { first: 2, last: 300, accepted: true };
        assert_eq!(first_frame(&accepted).ok().flatten(), Some((told, accepted.len())));
    }

    #[test]
    fn an_end_says_why() {
        let error = described(0x1d, &[symbol("amqp:not-found"), string("nothing here")]);
        let detach = frame(0, &described(code::DETACH, &[uint(0), TRUE.to_vec(), error]));
        let Some((Told::Ended(why), _)) = first_frame(&detach).ok().flatten() else { panic!("it is an end") };
        assert!(why.contains("amqp:not-found") && why.contains("nothing here"), "{why}");
    }
}
