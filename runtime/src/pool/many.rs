//! Many items that are one task: what [`map_async`](crate::Pool::map_async) gives.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::owned_batch::Batch;
use super::shared::Shared;
use crate::error::TaskError;

/// All items of a job, in order.
pub(super) struct Many {
    pub(super) pool: Arc<Shared>,
    pub(super) batches: Vec<Arc<Batch>>,
    pub(super) function: &'static str,
    /// Whether the first error makes the others superfluous.
    pub(super) fails_fast: bool,
    /// Why there are no more items.
    pub(super) error: Option<TaskError>,
}

impl Many {
    pub(super) fn is_ready(&self) -> bool {
        self.has_failed() || self.batches.iter().all(|batch| batch.is_settled())
    }

    fn has_failed(&self) -> bool {
        self.fails_fast
            && (self.error.is_some() || self.batches.iter().any(|batch| batch.has_failed()))
    }

    /// Watches the item that is likely to be done last.
    pub(super) fn watch(&self) {
        self.batches.iter().rev().any(|batch| batch.watch_last());
    }

    /// Gives up on what is not done yet. Tells whether there was anything.
    pub(super) fn cancel(&self) -> bool {
        let is_ready = self.is_ready();
        for batch in &self.batches {
            for index in batch.unsettled() {
                batch.cancel(index);
            }
        }
        !is_ready
    }

    /// What comes after the items: an error that a failed item makes superfluous is not waited for.
    pub(super) fn conclude(&self) {
        if self.has_failed() {
            self.batches.iter().for_each(|batch| batch.abandon());
        }
    }

    /// The values, or the first error: that of an item which failed, before those of items which were cancelled because of it.
    pub(super) fn outcomes<R: DeserializeOwned>(&self) -> Result<Vec<R>, TaskError> {
        self.conclude();
        let items = || {
            let batches = self.batches.iter();
            batches.flat_map(|batch| (0..batch.view.filled()).map(move |index| (batch, index)))
        };
        if self.error.is_some() || self.batches.iter().any(|batch| batch.has_failed()) {
            let mut error = None;
            for (batch, index) in items().filter(|(batch, index)| batch.state(*index).is_final()) {
                match batch.outcome::<R>(index, self.function) {
                    Ok(_) => {}
                    Err(TaskError::Cancelled) => {
                        error.get_or_insert(TaskError::Cancelled);
                    }
                    Err(other) => return Err(other),
                }
            }
            return Err(self.error.clone().or(error).unwrap_or(TaskError::Cancelled));
        }
        items()
            .map(|(batch, index)| batch.outcome(index, self.function))
            .collect()
    }
}
