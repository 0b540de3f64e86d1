//! A small sorted map in one exact allocation: most connections have one or two sessions with two links each.

use std::collections::VecDeque;

/// Values by a number that the peer chose.
#[derive(Debug)]
pub struct Table<K, V>(Vec<(K, V)>);

impl<K: Ord + Copy, V> Table<K, V> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Puts `value` in, over whatever was there.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                if self.0.len() < 8 {
                    // The first few exactly, so that a device with two links pays for two.
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (key, value));
            }
        }
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        let removed = self.find(key).ok().map(|at| self.0.remove(at).1);
        if self.0.len() < self.0.capacity() / 4 {
            // Down to half, so that one more and one less is not a copy each time.
            self.0.shrink_to(self.0.capacity() / 2);
        }
        removed
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(K, V)>()
    }

    fn find(&self, key: K) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(key, _)| *key)
    }
}

/// Gives back the room that a burst took, once three quarters of it are empty.
pub fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.capacity() / 2);
    }
}

impl<K, V> IntoIterator for Table<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
