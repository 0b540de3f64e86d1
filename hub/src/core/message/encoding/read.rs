//! Reads AMQP values (AMQP 1.6) in every form in which they may be written, borrowing. Bounds and counts are checked; nothing panics.

use std::borrow::Cow;

use crate::core::message::{MessageId, Value};
use crate::core::time::UnixMillis;

/// How many descriptors may stand before one value. A descriptor may itself be described (AMQP 1.2); nobody does it twice.
const DESCRIPTOR_DEPTH_MAX: u8 = 8;

/// Why bytes are no stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Something is longer than what is there.
    #[error("the stored message ends too early")]
    Truncated,
    /// Something is shorter than what is there.
    #[error("the stored message has bytes that belong to nothing")]
    Surplus,
    /// A constructor that AMQP 1.0 does not know.
    #[error("the stored message has an unknown constructor {0:#04x}")]
    Constructor(u8),
    /// A value of a type that has no place there.
    #[error("the stored message has something else where {0} belongs")]
    Type(&'static str),
    /// A section that does not belong there.
    #[error("the stored message has an unexpected section {0:#04x}")]
    Section(u8),
    /// A string or symbol that is not UTF-8, a char that is none, or a boolean that is neither.
    #[error("the stored message has a {0} that is none")]
    Content(&'static str),
    /// Descriptors of descriptors of descriptors.
    #[error("the stored message has more than {DESCRIPTOR_DEPTH_MAX} descriptors before one value")]
    TooDeep,
}

/// What has not been read yet.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    /// That there is nothing left.
    pub(super) fn end(&self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged::Surplus) }
    }

    /// The descriptor of the next section; `None` at the end.
    pub(super) fn section(&mut self) -> Result<Option<u8>, Damaged> {
        if self.0.is_empty() {
            return Ok(None);
        }
        match self.array()? {
            [0x00, 0x53] => self.u8().map(Some),
            // The long way round, which peers may take.
            [0x00, 0x80] => match self.array()? {
                [0, 0, 0, 0, 0, 0, 0, code] => Ok(Some(code)),
                _ => Err(Damaged::Type("a section")),
            },
            _ => Err(Damaged::Type("a section")),
        }
    }

    /// One section of the given code, whose descriptor has been read, and all that follow.
    pub(super) fn sections_of<T>(&mut self, code: u8, read: fn(&mut Self) -> Result<T, Damaged>) -> Result<Vec<T>, Damaged> {
        let mut sections = vec![read(self)?];
        while let Some(next) = self.section()? {
            if next != code {
                return Err(Damaged::Section(next));
            }
            sections.push(read(self)?);
        }
        Ok(sections)
    }

    /// A map's key and value.
    pub(super) fn pair<K>(&mut self, key: fn(&mut Self) -> Result<K, Damaged>) -> Result<(K, Value<'a>), Damaged> {
        Ok((key(self)?, self.value()?))
    }

    /// A list's elements, and how many they are.
    pub(super) fn list(&mut self) -> Result<(Self, usize), Damaged> {
        match self.u8()? {
            0x45 => Ok((Self(&[]), 0)),
            0xc0 => self.compound8(),
            0xd0 => self.compound32(),
            _ => Err(Damaged::Type("a list")),
        }
    }

    /// A map's keys and values, and how many pairs they are.
    pub(super) fn map(&mut self) -> Result<(Self, usize), Damaged> {
        let (elements, count) = match self.u8()? {
            0xc1 => self.compound8()?,
            0xd1 => self.compound32()?,
            _ => return Err(Damaged::Type("a map")),
        };
        if count % 2 == 0 { Ok((elements, count / 2)) } else { Err(Damaged::Type("a map of pairs")) }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Damaged> {
        match self.value()? {
            Value::String(text) => Ok(text),
            _ => Err(Damaged::Type("a string")),
        }
    }

    /// A symbol.
    pub(super) fn symbol(&mut self) -> Result<Cow<'a, str>, Damaged> {
        match self.value()? {
            Value::Symbol(text) => Ok(text),
            _ => Err(Damaged::Type("a symbol")),
        }
    }

    /// A binary.
    pub(super) fn binary(&mut self) -> Result<Cow<'a, [u8]>, Damaged> {
        match self.value()? {
            Value::Binary(bytes) => Ok(bytes),
            _ => Err(Damaged::Type("a binary")),
        }
    }

    /// A timestamp.
    pub(super) fn timestamp(&mut self) -> Result<UnixMillis, Damaged> {
        match self.value()? {
            Value::Timestamp(time) => Ok(time),
            _ => Err(Damaged::Type("a timestamp")),
        }
    }

    /// A uint.
    pub(super) fn uint(&mut self) -> Result<u32, Damaged> {
        match self.value()? {
            Value::Uint(number) => Ok(number),
            _ => Err(Damaged::Type("a uint")),
        }
    }

    /// A message id, of any of its four types.
    pub(super) fn message_id(&mut self) -> Result<MessageId<'a>, Damaged> {
        match self.value()? {
            Value::Ulong(number) => Ok(MessageId::Ulong(number)),
            Value::Uuid(bytes) => Ok(MessageId::Uuid(bytes)),
            Value::Binary(bytes) => Ok(MessageId::Binary(bytes)),
            Value::String(text) => Ok(MessageId::String(text)),
            _ => Err(Damaged::Type("a message id")),
        }
    }

    /// A list, as its encoding.
    pub(super) fn encoded_list(&mut self) -> Result<Cow<'a, [u8]>, Damaged> {
        let encoded = self.encoded_value()?;
        match encoded.first() {
            Some(0x45 | 0xc0 | 0xd0) => Ok(encoded.into()),
            _ => Err(Damaged::Type("a list")),
        }
    }

    /// A value of any kind, as its encoding.
    pub(super) fn encoded_value(&mut self) -> Result<&'a [u8], Damaged> {
        let start = self.0;
        self.skip_value(DESCRIPTOR_DEPTH_MAX)?;
        Ok(&start[..start.len() - self.0.len()])
    }

    /// A value of any kind. What is described or compound stays encoded.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Damaged> {
        let constructor = *self.0.first().ok_or(Damaged::Truncated)?;
        if matches!(constructor, 0x00 | 0x45 | 0xc0..=0xff) {
            return self.encoded_value().map(|encoded| Value::Encoded(encoded.into()));
        }
        self.u8()?;
        Ok(match constructor {
            0x40 => Value::Null,
            0x41 => Value::Boolean(true),
            0x42 => Value::Boolean(false),
            0x56 => match self.u8()? {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                _ => return Err(Damaged::Content("boolean")),
            },
            0x50 => Value::Ubyte(self.u8()?),
            0x60 => Value::Ushort(u16::from_be_bytes(self.array()?)),
            0x43 => Value::Uint(0),
            0x52 => Value::Uint(self.u8()?.into()),
            0x70 => Value::Uint(self.u32()?),
            0x44 => Value::Ulong(0),
            0x53 => Value::Ulong(self.u8()?.into()),
            0x80 => Value::Ulong(u64::from_be_bytes(self.array()?)),
            0x51 => Value::Byte(i8::from_be_bytes(self.array()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.array()?)),
            0x54 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            0x71 => Value::Int(i32::from_be_bytes(self.array()?)),
            0x55 => Value::Long(i8::from_be_bytes(self.array()?).into()),
            0x81 => Value::Long(i64::from_be_bytes(self.array()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.array()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.array()?)),
            0x74 => Value::Decimal32(self.array()?),
            0x84 => Value::Decimal64(self.array()?),
            0x94 => Value::Decimal128(self.array()?),
            0x73 => Value::Char(char::from_u32(self.u32()?).ok_or(Damaged::Content("char"))?),
            0x83 => Value::Timestamp(UnixMillis(i64::from_be_bytes(self.array()?))),
            0x98 => Value::Uuid(self.array()?),
            0xa0 => Value::Binary(self.bytes8()?.into()),
            0xb0 => Value::Binary(self.bytes32()?.into()),
            0xa1 => Value::String(text(self.bytes8()?)?.into()),
            0xb1 => Value::String(text(self.bytes32()?)?.into()),
            0xa3 => Value::Symbol(text(self.bytes8()?)?.into()),
            0xb3 => Value::Symbol(text(self.bytes32()?)?.into()),
            other => return Err(Damaged::Constructor(other)),
        })
    }

    /// Steps over a value by the width that its constructor tells (AMQP 1.6), without looking into compound ones: whoever let it in has.
    fn skip_value(&mut self, descriptors_left: u8) -> Result<(), Damaged> {
        match self.u8()? {
            0x00 => {
                let left = descriptors_left.checked_sub(1).ok_or(Damaged::TooDeep)?;
                self.skip_value(left)?;
                self.skip_value(left)
            }
            0x40..=0x45 => Ok(()),
            0x50..=0x56 => self.take(1).map(drop),
            0x60 | 0x61 => self.take(2).map(drop),
            0x70..=0x74 => self.take(4).map(drop),
            0x80..=0x84 => self.take(8).map(drop),
            0x94 | 0x98 => self.take(16).map(drop),
            0xa0 | 0xa1 | 0xa3 => self.bytes8().map(drop),
            0xb0 | 0xb1 | 0xb3 => self.bytes32().map(drop),
            0xc0 | 0xc1 | 0xe0 => self.compound8().map(drop),
            0xd0 | 0xd1 | 0xf0 => self.compound32().map(drop),
            other => Err(Damaged::Constructor(other)),
        }
    }

    fn compound8(&mut self) -> Result<(Self, usize), Damaged> {
        let mut elements = Self(self.bytes8()?);
        let count = elements.u8()?.into();
        Ok((elements, count))
    }

    fn compound32(&mut self) -> Result<(Self, usize), Damaged> {
        let mut elements = Self(self.bytes32()?);
        let count = usize::try_from(elements.u32()?).map_err(|_| Damaged::Truncated)?;
        Ok((elements, count))
    }

    fn bytes8(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn bytes32(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.u32()?).map_err(|_| Damaged::Truncated)?;
        self.take(length)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged::Content("text"))
}

/// A composite's fields: those missing at the end are null (AMQP 1.4).
pub(super) struct Fields<'a> {
    input: Input<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of((input, left): (Input<'a>, usize)) -> Self {
        Self { input, left }
    }

    /// The next field; `None` when it is null or missing.
    pub(super) fn next<T>(&mut self, read: fn(&mut Input<'a>) -> Result<T, Damaged>) -> Result<Option<T>, Damaged> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        if self.input.0.first() == Some(&0x40) {
            self.input.u8()?;
            return Ok(None);
        }
        read(&mut self.input).map(Some)
    }

    /// That there are no more.
    pub(super) fn end(&self) -> Result<(), Damaged> {
        if self.left == 0 { self.input.end() } else { Err(Damaged::Surplus) }
    }
}
