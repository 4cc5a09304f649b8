//! A ledger in memory: committed rows in a sorted map, and the batch at hand on top.
//!
//! Invariant: reads see the batch over the committed rows; an abort leaves no trace of it.

use std::collections::BTreeMap;

use lethe_engine::{Corrupt, Ledger, Rows};

/// The rows of one partition.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    committed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Changes of the batch at hand; none: the row is deleted.
    batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// How many rows scans have walked over, those that the batch has deleted too.
    pub walked: usize,
}

impl Memory {
    /// Keeps the batch.
    pub fn commit(&mut self) {
        for (key, value) in std::mem::take(&mut self.batch) {
            match value {
                Some(value) => self.committed.insert(key, value),
                None => self.committed.remove(&key),
            };
        }
    }

    /// Drops the batch.
    pub fn abort(&mut self) {
        self.batch.clear();
    }

    /// How many rows are committed.
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// Drops committed rows as a compaction filter would: without the engine being told.
    pub fn filter(&mut self, mut forget: impl FnMut(&[u8], &[u8]) -> bool) {
        self.committed.retain(|key, value| !forget(key, value));
    }

    /// The committed rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.committed.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    fn row(&self, key: &[u8]) -> Option<&Vec<u8>> {
        match self.batch.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.committed.get(key),
        }
    }
}

impl Ledger for Memory {
    type Error = Corrupt;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Corrupt> {
        value.clear();
        let found = self.row(key);
        if let Some(bytes) = found {
            value.extend_from_slice(bytes);
        }
        Ok(found.is_some())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.insert(key.to_vec(), Some(value.to_vec()));
    }

    fn delete(&mut self, key: &[u8]) {
        self.batch.insert(key.to_vec(), None);
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        rows: &mut Rows,
    ) -> Result<(), Corrupt> {
        rows.clear();
        if from >= to {
            return Ok(());
        }
        let range = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
        let mut old = self.committed.range::<[u8], _>(range).peekable();
        let mut new = self.batch.range::<[u8], _>(range).peekable();
        while rows.len() < rows_max {
            let next = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some((key, _)), Some((changed, _))) if key < changed => {
                    old.next().map(|(k, v)| (k, Some(v)))
                }
                (Some((key, _)), Some((changed, _))) if key == changed => {
                    old.next();
                    new.next().map(|(k, v)| (k, v.as_ref()))
                }
                (Some(_), None) => old.next().map(|(k, v)| (k, Some(v))),
                (_, Some(_)) => new.next().map(|(k, v)| (k, v.as_ref())),
            };
            self.walked += 1;
            if let Some((key, Some(value))) = next {
                rows.push(key, value);
            }
        }
        Ok(())
    }
}
