//! An event's place in the log: partition, sequence number, offset. Never its content, which is a [`super::message::Message`].

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use super::device_id::DeviceId;
use super::time::UnixMillis;

/// A partition, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// The partition of a device: stable for ever for a given count, because a device's order is kept only inside one partition.
    /// FNV-1a (64 bit), folded to 32, modulo the count.
    #[must_use]
    pub fn of_device(device: &DeviceId, count: NonZeroU16) -> Self {
        let hash = device
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
        Self(u16::try_from(folded % u64::from(count.get())).expect("a remainder is below its u16 divisor"))
    }

    /// From a client's text: its digits, in the one way in which a number is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(text.parse().ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's number in its partition: from 0, contiguous, never reused or shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's offset: an opaque decimal text to clients, growing with the sequence number. Today it is that number, so it survives a
/// restore or another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl From<SequenceNumber> for Offset {
    fn from(number: SequenceNumber) -> Self {
        Self(number.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Offset {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// The oldest event still kept.
    Earliest,
    /// The next event to be stored.
    Latest,
    /// After this offset, or at it when `inclusive`.
    Offset {
        /// The offset.
        offset: Offset,
        /// Whether the event at the offset itself is wanted.
        inclusive: bool,
    },
    /// After this sequence number, or at it when `inclusive`.
    SequenceNumber {
        /// The number.
        number: SequenceNumber,
        /// Whether the event with the number itself is wanted.
        inclusive: bool,
    },
    /// The first event enqueued after this time, or at it when `inclusive`.
    EnqueuedTime {
        /// The time, in the hub's clock.
        time: UnixMillis,
        /// Whether events enqueued exactly then are wanted.
        inclusive: bool,
    },
}

/// What a partition holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Number of the oldest event kept; equals `next_sequence_number` when the partition is empty.
    pub begin_sequence_number: SequenceNumber,
    /// Number that the next durable event will have; one more than the last durable event's.
    pub next_sequence_number: SequenceNumber,
    /// When the last durable event was enqueued; `None` when there has never been one, or when none is kept and that is not known.
    pub last_enqueued_time: Option<UnixMillis>,
}

/// Where a reader of several partitions stands: in each, the last event that it has passed, `None` before the first.
/// As text `0:12,1:-1`, with `-1` for none, as Azure's clients say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition(pub BTreeMap<PartitionId, Option<Offset>>);

/// A text that is no [`StreamPosition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is <partition>:<offset>, for several partitions joined by commas, with -1 for the offset before the first event")]
pub struct InvalidStreamPosition;

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, passed)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match passed {
                Some(offset) => write!(f, "{comma}{partition}:{offset}")?,
                None => write!(f, "{comma}{partition}:-1")?,
            }
        }
        Ok(())
    }
}

impl FromStr for StreamPosition {
    type Err = InvalidStreamPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut passed = BTreeMap::new();
        for entry in text.split(',') {
            let (partition, offset) = entry.split_once(':').ok_or(InvalidStreamPosition)?;
            let partition = PartitionId(partition.parse().map_err(|_| InvalidStreamPosition)?);
            let offset = match offset {
                "-1" => None,
                number => Some(number.parse().map_err(|_| InvalidStreamPosition)?),
            };
            if passed.insert(partition, offset).is_some() {
                return Err(InvalidStreamPosition);
            }
        }
        Ok(Self(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partitions_id_is_its_digits() {
        assert_eq!(PartitionId::parse("31"), Some(PartitionId(31)));
        for text in ["", "-1", "+1", "01", "a", "65536", " 1"] {
            assert_eq!(PartitionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_stream_position_reads_as_it_is_written() {
        for text in ["0:12", "0:0,1:-1,31:18446744073709551615"] {
            assert_eq!(text.parse::<StreamPosition>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0:", "0:-2", "0:1,", "0:1,0:2", "65536:1", "a:1", "0:1;1:2"] {
            assert_eq!(text.parse::<StreamPosition>(), Err(InvalidStreamPosition), "{text}");
        }
    }
}
