//! What is kept by name or number, in its order: a list that is searched by halves. The standard library's tree is better from some ten thousand
//! entries on, and as much code again for each kind of thing that is kept in one.

use std::borrow::Borrow;

use super::json::FromJson;
use super::json::value::Value;

/// Values by keys, the least key first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf<K, V>(Vec<(K, V)>);

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Shelf<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(found, _)| found.borrow().cmp(key))
    }

    /// What has this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.place(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// What has this key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let at = self.place(key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// What has this key; if nothing has, something new.
    pub fn slot(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, V::default()));
            at
        });
        &mut self.0[at].1
    }

    /// Puts a value in the place of whatever had its key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Takes out what has this key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.place(key).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Lets go of the first ones, so that so many are left.
    pub fn keep_last(&mut self, most: usize) {
        let over = self.0.len().saturating_sub(most);
        self.0.drain(..over);
    }

    /// Lets go of those that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|(key, _)| keep(key));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// In their order, to be taken apart.
    #[must_use]
    pub fn into_vec(self) -> Vec<(K, V)> {
        self.0
    }
}

impl<T: FromJson> FromJson for Shelf<String, T> {
    fn from_json(value: &Value) -> Option<Self> {
        let Value::Object(members) = value else { return None };
        let mut shelf = Self::default();
        for (name, value) in members {
            if let Some(value) = T::from_json(value) {
                shelf.insert(name.clone(), value);
            }
        }
        Some(shelf)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Shelf<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut shelf = Self::default();
        pairs.into_iter().for_each(|(key, value)| shelf.insert(key, value));
        shelf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_an_order_and_is_found() {
        let mut shelf: Shelf<String, u64> =
            [("b", 2), ("a", 1), ("c", 3)].into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        *shelf.slot("b".to_owned()) += 5;
        *shelf.slot("d".to_owned()) += 4;
        shelf.insert("a".to_owned(), 9);
        assert_eq!(shelf.values().copied().collect::<Vec<_>>(), [9, 7, 3, 4]);
        assert_eq!((shelf.get("c"), shelf.get("x")), (Some(&3), None));
        assert_eq!((shelf.remove("c"), shelf.remove("c")), (Some(3), None));
        shelf.keep_last(2);
        assert_eq!(shelf.keys().collect::<Vec<_>>(), ["b", "d"]);
        shelf.retain(|name| name != "b");
        assert_eq!(shelf.into_vec(), [("d".to_owned(), 4)]);
    }

    #[test]
    fn an_object_is_read() {
        let shelf: Shelf<String, u64> = crate::model::json::read(r#"{"b":2,"a":1,"c":"x"}"#).unwrap();
        assert_eq!(shelf.iter().map(|(name, count)| format!("{name}{count}")).collect::<String>(), "a1b2");
    }
}
