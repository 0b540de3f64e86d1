//! AMQP's encoding (part 1.6), as far as performatives need it: fields by hand, values inside them by `serde_amqp`.
//!
//! Nothing is handed to `serde_amqp` before its structure was walked through, so that neither depth nor a count that lies can hurt.
//! What is written has every field in its place, null or not, because there are clients that index performatives by position.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits::NESTING_MAX;

/// The bytes are not what AMQP writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A value reaches beyond the end of what holds it.
    #[error("a value ends in its middle")]
    Truncated,
    /// A constructor that AMQP does not know, or one that can't stand here.
    #[error("{0:#04x} is no constructor of a value that belongs here")]
    Constructor(u8),
    /// A compound value whose size and count contradict its contents.
    #[error("the size or count of a list, map or array is wrong")]
    Count,
    /// Nested deeper than anything useful.
    #[error("values are nested too deep")]
    TooDeep,
    /// Not UTF-8 where text is due.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// More fields than the specification gives the performative.
    #[error("{0} has more fields than it should")]
    SurplusFields(&'static str),
    /// A field that must be set is null.
    #[error("{0} must not be null")]
    Missing(&'static str),
    /// A number beyond what its field may hold.
    #[error("{0} has a value that does not exist")]
    OutOfRange(&'static str),
    /// No performative, or none that is due here.
    #[error("descriptor {0:#x} is not due here")]
    Descriptor(u64),
    /// A field whose value `serde_amqp` can't understand.
    #[error("{0} is not of its type")]
    Type(&'static str),
}

/// Whether bytes are values, one after the other, that hold what they say to hold and are not nested too deep.
pub fn check_values(bytes: &[u8]) -> Result<(), Malformed> {
    let mut input = Input(bytes);
    while !input.0.is_empty() {
        input.value()?;
    }
    Ok(())
}

/// What is left of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A length or count of the width that a constructor's upper half prescribes: one byte or four.
    fn length(&mut self, wide: bool) -> Result<usize, Malformed> {
        if wide { usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Malformed::Count) } else { Ok(self.byte()?.into()) }
    }

    /// A descriptor, which must be a number (all of AMQP's own have one).
    pub fn descriptor(&mut self) -> Result<u64, Malformed> {
        match self.byte()? {
            0x00 => {}
            other => return Err(Malformed::Constructor(other)),
        }
        match self.byte()? {
            0x53 => Ok(self.byte()?.into()),
            0x80 => Ok(u64::from_be_bytes(self.array()?)),
            0x44 => Ok(0),
            other => Err(Malformed::Constructor(other)),
        }
    }

    /// A list's fields; `name` is whose they are.
    pub fn list(&mut self, name: &'static str) -> Result<Fields<'a>, Malformed> {
        let wide = match self.byte()? {
            0x45 => return Ok(Fields { rest: Input(&[]), count: 0, name }),
            0xc0 => false,
            0xd0 => true,
            other => return Err(Malformed::Constructor(other)),
        };
        let size = self.length(wide)?;
        let mut rest = Input(self.take(size)?);
        let count = rest.length(wide)?;
        // A field has a byte at least.
        if count > rest.0.len() { Err(Malformed::Count) } else { Ok(Fields { rest, count, name }) }
    }

    /// One value of any type, as its bytes, after its structure was walked through.
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.0;
        self.walk(NESTING_MAX)?;
        Ok(&before[..before.len() - self.0.len()])
    }

    fn walk(&mut self, depth: usize) -> Result<(), Malformed> {
        let constructor = self.constructor(depth)?;
        self.walk_contents(constructor, depth)
    }

    /// The constructor of a value, its descriptors passed over.
    fn constructor(&mut self, depth: usize) -> Result<u8, Malformed> {
        let mut described = 0;
        loop {
            match self.byte()? {
                0x00 if described == depth => return Err(Malformed::TooDeep),
                0x00 => {
                    described += 1;
                    self.walk(depth - described)?;
                }
                constructor => return Ok(constructor),
            }
        }
    }

    fn walk_contents(&mut self, constructor: u8, depth: usize) -> Result<(), Malformed> {
        let fixed = match constructor >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa => self.length(false)?,
            0xb => self.length(true)?,
            0xc..=0xf => return self.walk_compound(constructor, depth.checked_sub(1).ok_or(Malformed::TooDeep)?),
            _ => return Err(Malformed::Constructor(constructor)),
        };
        self.take(fixed).map(drop)
    }

    fn walk_compound(&mut self, constructor: u8, depth: usize) -> Result<(), Malformed> {
        let wide = constructor & 0x10 != 0;
        let size = self.length(wide)?;
        let mut contents = Input(self.take(size)?);
        let count = contents.length(wide)?;
        // What takes no bytes can't be counted by them: nobody writes arrays of nulls longer than their frame.
        if count > size {
            return Err(Malformed::Count);
        }
        if constructor >> 5 == 0x7 {
            let element = contents.constructor(depth)?;
            for _ in 0..count {
                contents.walk_contents(element, depth)?;
            }
        } else {
            for _ in 0..count {
                contents.walk(depth)?;
            }
        }
        if contents.0.is_empty() { Ok(()) } else { Err(Malformed::Count) }
    }
}

/// The fields of a list, one after the other. Those that the writer left out at the end are null.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: Input<'a>,
    count: usize,
    name: &'static str,
}

impl<'a> Fields<'a> {
    /// The constructor of the next field, or `None` when it is null or was left out.
    fn next(&mut self) -> Result<Option<u8>, Malformed> {
        let Some(count) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = count;
        match self.rest.byte()? {
            0x40 => Ok(None),
            constructor => Ok(Some(constructor)),
        }
    }

    pub fn boolean(&mut self) -> Result<Option<bool>, Malformed> {
        match self.next()? {
            None => Ok(None),
            Some(0x41) => Ok(Some(true)),
            Some(0x42) => Ok(Some(false)),
            Some(0x56) => match self.rest.byte()? {
                0 => Ok(Some(false)),
                1 => Ok(Some(true)),
                _ => Err(Malformed::OutOfRange("a boolean")),
            },
            Some(other) => Err(Malformed::Constructor(other)),
        }
    }

    pub fn ubyte(&mut self) -> Result<Option<u8>, Malformed> {
        match self.next()? {
            None => Ok(None),
            Some(0x50) => self.rest.byte().map(Some),
            Some(other) => Err(Malformed::Constructor(other)),
        }
    }

    pub fn ushort(&mut self) -> Result<Option<u16>, Malformed> {
        match self.next()? {
            None => Ok(None),
            Some(0x60) => Ok(Some(u16::from_be_bytes(self.rest.array()?))),
            Some(other) => Err(Malformed::Constructor(other)),
        }
    }

    pub fn uint(&mut self) -> Result<Option<u32>, Malformed> {
        match self.next()? {
            None => Ok(None),
            Some(0x43) => Ok(Some(0)),
            Some(0x52) => Ok(Some(self.rest.byte()?.into())),
            Some(0x70) => Ok(Some(u32::from_be_bytes(self.rest.array()?))),
            Some(other) => Err(Malformed::Constructor(other)),
        }
    }

    pub fn ulong(&mut self) -> Result<Option<u64>, Malformed> {
        match self.next()? {
            None => Ok(None),
            Some(0x44) => Ok(Some(0)),
            Some(0x53) => Ok(Some(self.rest.byte()?.into())),
            Some(0x80) => Ok(Some(u64::from_be_bytes(self.rest.array()?))),
            Some(other) => Err(Malformed::Constructor(other)),
        }
    }

    pub fn binary(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        self.variable(0xa0)
    }

    pub fn string(&mut self) -> Result<Option<&'a str>, Malformed> {
        self.variable(0xa1)?.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)).transpose()
    }

    pub fn symbol(&mut self) -> Result<Option<&'a str>, Malformed> {
        self.variable(0xa3)?.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)).transpose()
    }

    fn variable(&mut self, short: u8) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(constructor) = self.next()? else { return Ok(None) };
        if constructor & !0x10 != short {
            return Err(Malformed::Constructor(constructor));
        }
        let length = self.rest.length(constructor & 0x10 != 0)?;
        self.rest.take(length).map(Some)
    }

    /// The next field as the bytes of its value.
    pub fn encoded(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(count) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = count;
        let value = self.rest.value()?;
        Ok(if value == [0x40] { None } else { Some(value) })
    }

    /// The next field as `serde_amqp` understands it.
    pub fn typed<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<Option<T>, Malformed> {
        self.encoded()?.map(|bytes| serde_amqp::from_slice(bytes).map_err(|_| Malformed::Type(field))).transpose()
    }

    /// There must be no field more.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.count > 0 {
            return Err(Malformed::SurplusFields(self.name));
        }
        if self.rest.0.is_empty() { Ok(()) } else { Err(Malformed::Count) }
    }
}

/// The fields of a list that is being written.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    pub fn null(&mut self) {
        self.0.push(0x40);
    }

    pub fn boolean(&mut self, value: bool) {
        self.0.push(if value { 0x41 } else { 0x42 });
    }

    pub fn ubyte(&mut self, value: u8) {
        self.0.extend_from_slice(&[0x50, value]);
    }

    pub fn ushort(&mut self, value: u16) {
        self.0.push(0x60);
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.0.push(0x43),
            Ok(small) => self.0.extend_from_slice(&[0x52, small]),
            Err(_) => {
                self.0.push(0x70);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    pub fn ulong(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.0.push(0x44),
            Ok(small) => self.0.extend_from_slice(&[0x53, small]),
            Err(_) => {
                self.0.push(0x80);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    pub fn binary(&mut self, value: &[u8]) {
        self.variable(0xa0, value);
    }

    pub fn string(&mut self, value: &str) {
        self.variable(0xa1, value.as_bytes());
    }

    fn variable(&mut self, short: u8, value: &[u8]) {
        match u8::try_from(value.len()) {
            Ok(length) => self.0.extend_from_slice(&[short, length]),
            Err(_) => {
                self.0.push(short | 0x10);
                self.0.extend_from_slice(&length(value.len()).to_be_bytes());
            }
        }
        self.0.extend_from_slice(value);
    }

    /// `value` by `write`, or null.
    pub fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    /// What `serde_amqp` makes of `value`.
    pub fn typed<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.0.extend(serde_amqp::to_vec(&value).expect("what the hub answers with are values that AMQP knows"));
    }

    /// A described list of `count` fields.
    pub fn list(&mut self, descriptor: u8, count: u8, fields: impl FnOnce(&mut Self)) {
        self.0.extend_from_slice(&[0x00, 0x53, descriptor]);
        if count == 0 {
            self.0.push(0x45);
            return;
        }
        // As a long list, which is made a short one if it fits.
        let header = self.0.len();
        self.0.extend_from_slice(&[0xd0, 0, 0, 0, 0, 0, 0, 0, count]);
        let contents = self.0.len();
        fields(self);
        let size = self.0.len() - contents;
        match u8::try_from(size + 1) {
            Ok(short) => {
                self.0[header..header + 3].copy_from_slice(&[0xc0, short, count]);
                self.0.copy_within(contents.., header + 3);
                self.0.truncate(header + 3 + size);
            }
            Err(_) => self.0[header + 1..header + 5].copy_from_slice(&length(size + 4).to_be_bytes()),
        }
    }
}

/// A length as AMQP writes it.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the hub writes nothing near 4 GiB")
}
