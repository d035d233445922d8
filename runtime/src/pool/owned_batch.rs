//! A batch, as the owner of its pool knows it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::batch::{Shape, View};
use super::item::{Item, Phase, State};
use super::line::{Wishes, lock};
use super::shared::Shared;
use crate::arena::{Draft, Outgoing};
use crate::error::{Result, TaskError};
use crate::sys;
use crate::wire::Small;

/// A batch, as the owner knows it. It is freed when nobody knows it any more.
pub(super) struct Batch {
    pub(super) pool: Arc<Shared>,
    pub(super) view: View,
    /// How often a task is attempted again whose worker has died.
    pub(super) retries: u32,
    /// When it was put into the line: later batches have larger numbers. 0: not yet.
    pub(super) place_in_line: AtomicU64,
    /// How many bytes of arguments it has.
    used: AtomicU64,
    /// All items before this one are done.
    settled: AtomicU32,
    /// What the owner has decided about items.
    fates: Mutex<Vec<(u32, TaskError)>>,
    /// Nobody wants its tasks any more.
    abandoned: AtomicBool,
}

impl Batch {
    /// Makes a batch that is in no line yet.
    pub(super) fn new(
        pool: &Arc<Shared>,
        shape: Shape,
        wishes: Wishes,
        first: u64,
    ) -> Result<Arc<Self>> {
        let handle = &pool.handle;
        let view = View::make(
            handle.arena(),
            &handle.body().batches,
            shape,
            wishes.terms,
            first,
        )?;
        Ok(Arc::new(Self {
            pool: Arc::clone(pool),
            view,
            retries: wishes.retries,
            place_in_line: AtomicU64::new(0),
            used: AtomicU64::new(0),
            settled: AtomicU32::new(0),
            fates: Mutex::default(),
            abandoned: AtomicBool::new(false),
        }))
    }

    /// Whether there is no room for another item.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.view.filled() == self.view.capacity() || self.used() >= self.view.area
    }

    /// Adds an item to a batch that is not full. One thread at a time.
    #[inline]
    pub(super) fn add(
        &self,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
        function: u64,
    ) -> Result<u32> {
        let index = self.view.filled();
        let used = self.view.add(self.used(), draft, outgoing, function)?;
        self.used.store(used, Ordering::Relaxed);
        Ok(index)
    }

    /// [`add`](Self::add), for small arguments; `None` if there is no room.
    #[inline]
    pub(super) fn add_small(&self, small: &Small, function: u64) -> Option<u32> {
        let index = self.view.filled();
        let used = self.view.add_small(self.used(), small, function)?;
        self.used.store(used, Ordering::Relaxed);
        Some(index)
    }

    /// Adds an item that is not run, since it cannot be.
    pub(super) fn refuse(&self, error: TaskError) {
        let mut fates = lock(&self.fates);
        fates.push((self.view.add_refused(), error));
        self.pool.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.view.header().failed.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether all items are done.
    pub(super) fn is_settled(&self) -> bool {
        let filled = self.view.filled();
        let mut settled = self.settled.load(Ordering::Relaxed);
        while settled < filled && self.view.item(settled).state().is_final() {
            settled += 1;
        }
        self.settled.store(settled, Ordering::Relaxed);
        settled == filled
    }

    /// The items that are not done.
    pub(super) fn unsettled(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.is_settled();
        (self.settled.load(Ordering::Relaxed)..self.view.filled())
            .filter(|index| !self.view.item(*index).state().is_final())
    }

    /// Asks to be told when the last item that is not done will be: that is likely to be the last of all. `false` if there
    /// is none.
    pub(super) fn watch_last(&self) -> bool {
        // One that is done while it is asked would tell nobody.
        let mut unsettled = self.unsettled().rev();
        unsettled.any(|index| self.view.item(index).watch())
    }

    /// Decides what becomes of an item, if `conclude` still may; wakes those who wait for it.
    pub(super) fn decide(
        &self,
        index: u32,
        fate: TaskError,
        conclude: impl FnOnce(&Item) -> Option<State>,
    ) -> bool {
        let mut fates = lock(&self.fates);
        let item = self.view.item(index);
        let Some(before) = conclude(item) else {
            return false;
        };
        let counter = match fate {
            TaskError::Cancelled => &self.pool.counters.cancelled,
            _ => &self.pool.counters.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        fates.push((index, fate));
        drop(fates);
        self.view.header().failed.fetch_add(1, Ordering::AcqRel);
        if before.is_waited() {
            sys::futex_wake(item.word(), u32::MAX);
        }
        self.pool.handle.body().calls.done.notify();
        true
    }

    /// What the owner has decided about an item.
    pub(super) fn fate(&self, index: u32) -> TaskError {
        let fates = lock(&self.fates);
        let fate = fates.iter().find(|(item, _)| *item == index);
        fate.map_or(TaskError::Cancelled, |(_, fate)| fate.clone())
    }

    /// An item that has failed.
    pub(super) fn find_failed(&self) -> Option<u32> {
        // Who is about to fail is counted, and may die before that.
        if self.view.header().failed.load(Ordering::Acquire) == 0 {
            return None;
        }
        (0..self.view.filled()).find(|index| self.view.item(*index).state().has_failed())
    }

    /// Whether an item has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.find_failed().is_some()
    }

    /// Nobody wants what is not done yet: what has not begun never will, and what runs is told.
    pub(super) fn abandon(&self) {
        if self.abandoned.swap(true, Ordering::Relaxed) {
            return;
        }
        for index in self.unsettled() {
            self.give_up_on(index);
        }
    }

    /// Gives up on an item: if it has not begun, it never will, and else it is told. Returns what it was when it was told.
    pub(super) fn give_up_on(&self, index: u32) -> Option<State> {
        loop {
            if self.decide(index, TaskError::Cancelled, |item| item.conclude_ready()) {
                return None;
            }
            let before = self.view.item(index).request_cancel();
            // If its worker has died just now, it was to be attempted again.
            if before.phase() != Phase::Ready {
                return Some(before);
            }
        }
    }

    /// Decides what becomes of all items that are not done.
    pub(super) fn decide_all(&self, fate: &TaskError) {
        for index in self.unsettled() {
            self.decide(index, fate.clone(), |item| item.conclude());
        }
    }

    /// Decides what becomes of an item whose worker is gone, or will be. Tells whether it is attempted again.
    pub(super) fn lose(
        &self,
        index: u32,
        worker: u16,
        fate: impl FnOnce(u32) -> TaskError,
    ) -> bool {
        let item = self.view.item(index);
        let state = item.state();
        if !state.is_run_by(worker) {
            return false;
        }
        // Only the dead could write it.
        self.view.clean_result(index);
        let again = state.attempt() < self.retries
            && !state.is_cancelled()
            && self.view.can_be_repeated(index);
        if again && item.retry(worker) {
            self.pool.counters.retried.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let fate = if state.is_cancelled() {
            TaskError::Cancelled
        } else {
            fate(state.attempt())
        };
        self.decide(index, fate, |item| item.conclude_running(worker));
        false
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let place_in_line = self.place_in_line.load(Ordering::Relaxed);
        self.pool.graveyard.add(self.view, place_in_line);
    }
}
