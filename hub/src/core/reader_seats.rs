//! Who may read one partition in one consumer group at a time.
//!
//! Readers without an epoch sit beside each other, up to [`READERS_MAX`]. A reader with an epoch sits alone: it ends those that have a
//! lower epoch, the same one or none, and is refused only by a higher one. An equal epoch steals as well, because event processors that
//! share partitions all use the same: the one who comes last has decided last. Knows neither the group, nor what a reader is.

/// The most readers of a partition in a group that have no epoch, as Azure has it.
pub const READERS_MAX: usize = 5;

/// Names a reader; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// Somebody who reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seated<R> {
    /// Which reader.
    pub id: ReaderId,
    /// Its epoch, if it has one: its claim to read alone.
    pub epoch: Option<i64>,
    /// What its owner knows of it.
    pub reader: R,
}

/// Those who read.
#[derive(Clone, Debug)]
pub struct ReaderSeats<R>(Vec<Seated<R>>);

/// There is no seat for this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReaderSeat {
    /// As many as may sit.
    #[error("{READERS_MAX} readers without an epoch are there already")]
    Full,
    /// Somebody with a higher epoch reads.
    #[error("a reader with the higher epoch {epoch} is there")]
    HigherEpoch {
        /// The epoch.
        epoch: i64,
    },
    /// Somebody reads alone, and this reader has no epoch.
    #[error("a reader with an epoch is there, and this one has none")]
    EpochReaderLives,
}

impl<R> Default for ReaderSeats<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> ReaderSeats<R> {
    /// Gives `newcomer` a seat. Answers with those who had one until now and have to go.
    pub fn sit(&mut self, newcomer: Seated<R>) -> Result<Vec<Seated<R>>, NoReaderSeat> {
        let highest = self.0.iter().filter_map(|seated| seated.epoch).max();
        match (newcomer.epoch, highest) {
            (None, Some(_)) => Err(NoReaderSeat::EpochReaderLives),
            (None, None) if self.0.len() >= READERS_MAX => Err(NoReaderSeat::Full),
            (None, None) => {
                self.0.push(newcomer);
                Ok(Vec::new())
            }
            (Some(own), Some(epoch)) if epoch > own => Err(NoReaderSeat::HigherEpoch { epoch }),
            (Some(_), _) => Ok(std::mem::replace(&mut self.0, vec![newcomer])),
        }
    }

    /// Takes a reader's seat back. `None`: it has none any more.
    pub fn leave(&mut self, id: ReaderId) -> Option<Seated<R>> {
        let at = self.0.iter().position(|seated| seated.id == id)?;
        Some(self.0.remove(at))
    }

    /// Those who sit, the one that came first at the beginning.
    pub fn iter(&self) -> impl Iterator<Item = &Seated<R>> {
        self.0.iter()
    }

    /// Takes everybody's seat.
    pub fn clear(&mut self) -> Vec<Seated<R>> {
        std::mem::take(&mut self.0)
    }

    /// How many sit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody sits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
