//! An index: whom a key that several may share belongs to, such as the calls on one connection. Each
//! owner says which keys it has now; what it had before and has no longer is forgotten.

use std::collections::{BTreeMap, BTreeSet};

/// Owners by key.
#[derive(Debug)]
pub struct Index<K, O> {
    owners: BTreeMap<K, BTreeSet<O>>,
    keys: BTreeMap<O, BTreeSet<K>>,
}

impl<K, O> Default for Index<K, O> {
    fn default() -> Self {
        Self { owners: BTreeMap::new(), keys: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, O: Ord + Clone> Index<K, O> {
    /// The owner's keys from now on; with none it is forgotten.
    pub fn set(&mut self, owner: &O, keys: BTreeSet<K>) {
        let before = self.keys.remove(owner).unwrap_or_default();
        for key in before.difference(&keys) {
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(owner);
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
        for key in keys.difference(&before) {
            self.owners.entry(key.clone()).or_default().insert(owner.clone());
        }
        if !keys.is_empty() {
            self.keys.insert(owner.clone(), keys);
        }
    }

    /// Everybody who has this key, in order.
    pub fn owners(&self, key: &K) -> Vec<O> {
        self.first_owners(key, usize::MAX)
    }

    /// The first of them, so many at most.
    pub fn first_owners(&self, key: &K, at_most: usize) -> Vec<O> {
        self.owners.get(key).into_iter().flatten().take(at_most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_by_the_keys_they_have_now() {
        let mut index = Index::default();
        index.set(&"one", BTreeSet::from([1, 2]));
        index.set(&"two", BTreeSet::from([2, 3]));
        assert_eq!(index.owners(&2), ["one", "two"]);
        index.set(&"one", BTreeSet::from([3]));
        assert_eq!((index.owners(&1), index.owners(&2)), (vec![], vec!["two"]));
        assert_eq!(index.owners(&3), ["one", "two"]);
        index.set(&"one", BTreeSet::new());
        index.set(&"two", BTreeSet::new());
        assert!(index.owners.is_empty() && index.keys.is_empty());
    }
}
