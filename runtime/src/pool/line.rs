//! The owner's books: which batches there are, and in which order workers come to them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use super::batch::{Shape, Terms, View};
use super::body::PoolBody;
use super::item::Phase;
use super::owned_batch::Batch;
use super::shared::Shared;
use super::words;
use crate::arena::{Draft, Outgoing};
use crate::error::{Error, Result};
use crate::wire::Small;

/// What tasks ask for besides their function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wishes {
    pub(super) terms: Terms,
    pub(super) retries: u32,
}

/// A batch that nobody knows any more.
struct Grave {
    view: View,
    place_in_line: u64,
}

/// The line of batches.
#[derive(Default)]
pub(super) struct Line {
    tail: Option<View>,
    /// The links of batches that the head may not have passed yet, by their places in line.
    waiting: VecDeque<(u64, u64)>,
    last_place: u64,
    /// The batch at the tail, if tasks that are submitted one by one may still be added to it.
    open: Option<(Arc<Batch>, Wishes)>,
    /// Batches with items that are not done.
    alive: VecDeque<Arc<Batch>>,
    /// How many tasks were submitted one by one.
    submitted: u64,
    closed: bool,
}

/// The graves are apart from the line, since batches are dropped by whoever knows them last.
#[derive(Default)]
pub(super) struct Graveyard(Mutex<Vec<Grave>>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How many items the batches have that are filled one by one: the first, and the largest.
const FIRST: u32 = 16;
const LARGEST: u32 = 512;
/// How many bytes of a result lie in the batch.
pub(super) const ROOM: u32 = 24;

impl Line {
    /// Makes the line of a new pool: one empty batch.
    pub(super) fn begin(&mut self, pool: &Arc<Shared>) -> Result<()> {
        let shape = Shape {
            capacity: 2,
            room: 0,
            area: 0,
            function: 0,
        };
        let handle = &pool.handle;
        let (arena, body) = (handle.arena(), handle.body());
        let view = View::make(arena, &body.batches, shape, Terms::default(), 0)?;
        body.line.head.store(view.link(), Ordering::Release);
        self.tail = Some(view);
        // The head is always among those that it may not have passed.
        self.last_place = 1;
        self.waiting.push_back((self.last_place, view.link()));
        Ok(())
    }

    /// Puts a batch at the end of the line.
    pub(super) fn push(&mut self, pool: &PoolBody, batch: &Arc<Batch>) -> Result<()> {
        if self.closed {
            return Err(Error::PoolClosed);
        }
        self.open = None;
        self.tend(4);
        self.link(pool, batch);
        self.alive.push_back(Arc::clone(batch));
        Ok(())
    }

    fn link(&mut self, pool: &PoolBody, batch: &Batch) {
        self.forget_passed(pool);
        self.last_place += 1;
        batch
            .place_in_line
            .store(self.last_place, Ordering::Relaxed);
        let link = batch.view.link();
        self.waiting.push_back((self.last_place, link));
        let tail = self.tail.replace(batch.view);
        let tail = tail.expect("a line has a batch from its beginning");
        tail.header().next.store(link, Ordering::Release);
    }

    /// [`submit`](Self::submit), for small arguments; `None` if there is no batch with room.
    #[inline]
    pub(super) fn submit_small(
        &mut self,
        wishes: Wishes,
        small: &Small,
        function: u64,
    ) -> Option<(Arc<Batch>, u32)> {
        let (open, its) = self.open.as_ref()?;
        if self.closed || *its != wishes || open.is_full() {
            return None;
        }
        let index = open.add_small(small, function)?;
        self.submitted += 1;
        Some((Arc::clone(open), index))
    }

    /// Adds a task that was submitted by itself; returns where it is.
    #[inline]
    pub(super) fn submit(
        &mut self,
        pool: &Arc<Shared>,
        wishes: Wishes,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
        function: u64,
    ) -> Result<(Arc<Batch>, u32)> {
        if self.closed {
            return Err(Error::PoolClosed);
        }
        if let Some((open, its)) = &self.open
            && *its == wishes
            && !open.is_full()
        {
            let index = open.add(draft, outgoing, function)?;
            self.submitted += 1;
            return Ok((Arc::clone(open), index));
        }
        self.submit_to_new(pool, wishes, draft, outgoing, function)
    }

    #[cold]
    fn submit_to_new(
        &mut self,
        pool: &Arc<Shared>,
        wishes: Wishes,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
        function: u64,
    ) -> Result<(Arc<Batch>, u32)> {
        // The next one is larger if this one was used up.
        let capacity = match self.open.take() {
            Some((full, _)) if full.view.filled() >= full.view.capacity() / 2 => {
                (full.view.capacity() * 4).min(LARGEST)
            }
            _ => FIRST,
        };
        let length = draft.bytes().len() as u32;
        let shape = Shape {
            capacity,
            room: ROOM,
            area: capacity * length.clamp(16, 256) + length.min(super::batch::LARGE as u32),
            function: 0,
        };
        self.bury(pool.handle.body(), &pool.graveyard);
        let batch = Batch::new(pool, shape, wishes, self.submitted)?;
        let index = batch.add(draft, outgoing, function)?;
        self.push(pool.handle.body(), &batch)?;
        self.open = Some((Arc::clone(&batch), wishes));
        self.submitted += 1;
        Ok((batch, index))
    }

    /// Looks after a few batches with items that were not done when they were looked at last.
    fn tend(&mut self, count: usize) {
        for _ in 0..count.min(self.alive.len()) {
            let Some(batch) = self.alive.pop_front() else {
                return;
            };
            let is_open = self
                .open
                .as_ref()
                .is_some_and(|(open, _)| Arc::ptr_eq(open, &batch));
            if is_open || !batch.is_settled() {
                self.alive.push_back(batch);
            }
        }
    }

    /// Looks after all batches; tells whether any has items that are not done.
    pub(super) fn tend_all(&mut self) -> bool {
        self.tend(self.alive.len());
        self.alive.iter().any(|batch| !batch.is_settled())
    }

    /// The batches with items that may not be done.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.alive.iter()
    }

    /// Lets workers claim again what a worker that is gone has claimed and not begun, and what is to be attempted again.
    pub(super) fn reopen(&mut self, pool: &PoolBody, batch: &Arc<Batch>) {
        let is_ready = |index: &u32| batch.view.item(*index).state().phase() == Phase::Ready;
        let Some(first) = batch.unsettled().find(is_ready) else {
            return;
        };
        if batch.view.reopen(first) {
            return;
        }
        // The line has gone on behind it, or is about to: whoever sealed it may have died before that.
        let next = batch.view.header().next.load(Ordering::Acquire);
        pool.pass(batch.view.link(), next);
        self.open = None;
        batch.view.renew(first);
        self.link(pool, batch);
    }

    /// Takes no more tasks.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.open = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn forget_passed(&mut self, pool: &PoolBody) {
        let head = pool.line.head.load(Ordering::Acquire);
        while self.waiting.front().is_some_and(|(_, link)| *link != head) {
            self.waiting.pop_front();
        }
    }

    /// Whether the head has passed the batch that got this place in the line.
    fn has_passed(&self, place_in_line: u64) -> bool {
        self.waiting
            .front()
            .is_none_or(|(first, _)| place_in_line < *first)
    }

    /// Frees the batches that nobody needs any more.
    pub(super) fn bury(&mut self, pool: &PoolBody, graveyard: &Graveyard) {
        self.forget_passed(pool);
        let graves = std::mem::take(&mut *lock(&graveyard.0));
        let kept = graves.into_iter().filter(|grave| !self.free(pool, grave));
        let kept: Vec<_> = kept.collect();
        lock(&graveyard.0).extend(kept);
    }

    /// Frees a batch, unless somebody may still use it.
    fn free(&self, pool: &PoolBody, grave: &Grave) -> bool {
        let Grave {
            view,
            place_in_line,
        } = grave;
        if !self.has_passed(*place_in_line) {
            return false;
        }
        let visiting = || pool.seats().iter().map(|seat| &seat.visiting);
        words::retire(visiting, &pool.line.retiring, view.place.0, || {
            // SAFETY: the head has passed it, and nobody visits it, or will; its items are done, or were never in the line,
            // since batches with others are alive, and are not in the graveyard (P3).
            unsafe { view.free() };
        })
    }
}

impl Graveyard {
    /// Adds a batch that nobody knows any more.
    pub(super) fn add(&self, view: View, place_in_line: u64) {
        lock(&self.0).push(Grave {
            view,
            place_in_line,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}
