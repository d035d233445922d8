//! Batches of a stream of items, from when they are passed on until all their results are given.

use std::collections::VecDeque;
use std::sync::Arc;

use super::owned_batch::Batch;

/// A batch in flight.
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) batch: Arc<Batch>,
    /// Items before this one were given, or found.
    pub(super) taken: u32,
    /// For streams that need no order: which were found of all.
    pub(super) is_found: Vec<bool>,
    /// How many are to be given.
    pub(super) left: u32,
    pub(super) bytes: u64,
}

impl Flight {
    /// Finds the items that are done and were not found yet.
    pub(super) fn find_all(&mut self, found: &mut VecDeque<(u64, u32)>) {
        let count = self.is_found.len() as u32;
        for index in self.taken..count {
            let is_found = &mut self.is_found[index as usize];
            if !*is_found && self.batch.state(index).is_final() {
                *is_found = true;
                found.push_back((self.number, index));
            }
        }
        while self.taken < count && self.is_found[self.taken as usize] {
            self.taken += 1;
        }
    }

    /// Whether an item is done.
    pub(super) fn has_result(&self) -> bool {
        let mut items = 0..self.batch.view.filled();
        items.any(|index| self.batch.state(index).is_final())
    }

    pub(super) fn watch_all(&self) {
        for index in self.batch.unsettled() {
            self.batch.view.item(index).watch();
        }
    }

    pub(super) fn watch_next(&self) {
        self.batch.view.item(self.taken).watch();
    }

    pub(super) fn watch_last(&self) {
        self.batch.watch_last();
    }
}
