//! The words by which workers share batches, and by which the owner knows when to free one.
//!
//! | `Cursor` | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | n | the first n items are claimed | a worker, to more, or to `SEALED` when all are claimed and another batch follows; the pool's owner, to fewer | what the dead had claimed and not begun is still to be begun: the pool's owner sets the cursor back |
//! | `SEALED` | the line goes on behind the batch | the pool's owner, to n, once the head has passed it | whoever comes next moves the head on |
//!
//! | `visiting` of a worker | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | 0 | it uses no batch | the worker, to a place | – |
//! | a place | it uses the batch there, or is about to look whether it may | the worker | the pool's owner sets it to 0 |
//!
//! | `retiring` | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | 0 | the pool's owner frees nothing | the pool's owner, to a place | the pool is gone |
//! | a place | it is about to free the batch there, unless somebody visits it | the pool's owner, to 0 | the pool is gone |
//!
//! A worker says whom it visits and then looks whether the batch is still where it was found, and is not retiring; the owner says
//! what it retires and then looks who visits it. One of the two sees the other.

use std::ops::Range;

use crate::kill_point::kill_point;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// How many items of a batch workers have claimed.
#[repr(transparent)]
pub(super) struct Cursor(AtomicU64);

/// More than any number of items.
const SEALED: u64 = 1 << 63;

/// What came of a worker's look at a batch.
pub(super) enum Claim {
    /// These items are the worker's to begin, those that nobody else begins first.
    Items(Range<u32>),
    /// All items are claimed, and more may follow.
    Nothing,
    /// All items are claimed, and the line goes on behind this batch.
    Sealed,
}

impl Cursor {
    /// Lets the items from `first` on be claimed, in a batch that is in no line.
    pub(super) fn set(&self, first: u32) {
        self.0.store(first.into(), Ordering::Release);
    }

    /// Lets the items from `first` on be claimed again; `false` when the cursor is sealed.
    pub(super) fn reopen(&self, first: u32) -> bool {
        let back = |cursor: u64| (cursor & SEALED == 0).then(|| cursor.min(first.into()));
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, back)
            .is_ok()
    }

    /// Claims items of a batch with `filled` items and a successor in `next`: of those that are available as many as `share`
    /// says. The claim is told to `propose` before it holds.
    #[inline]
    pub(super) fn claim(
        &self,
        filled: &AtomicU64,
        next: &AtomicU64,
        share: impl Fn(u64) -> u64,
        propose: impl Fn(Range<u32>),
    ) -> Claim {
        loop {
            let cursor = self.0.load(Ordering::Acquire);
            if cursor & SEALED != 0 {
                return Claim::Sealed;
            }
            let count = filled.load(Ordering::Acquire);
            let (after, claim) = if cursor < count {
                let end = cursor + share(count - cursor);
                let items = cursor as u32..end as u32;
                propose(items.clone());
                (end, Claim::Items(items))
            } else if next.load(Ordering::Acquire) == 0 {
                return Claim::Nothing;
            } else if filled.load(Ordering::Acquire) > cursor {
                // It was filled between the two looks.
                continue;
            } else {
                (cursor | SEALED, Claim::Sealed)
            };
            kill_point();
            let changed =
                self.0
                    .compare_exchange(cursor, after, Ordering::AcqRel, Ordering::Relaxed);
            kill_point();
            if changed.is_ok() {
                return claim;
            }
        }
    }

    /// Whether [`claim`](Self::claim) would give something else than [`Claim::Nothing`].
    #[inline]
    pub(super) fn has_more(&self, filled: &AtomicU64, next: &AtomicU64) -> bool {
        self.0.load(Ordering::Acquire) < filled.load(Ordering::Acquire)
            || next.load(Ordering::Acquire) != 0
    }
}

/// A worker begins to visit the batch at `place`, if `still_there` says that it is still where it was found.
#[inline]
pub(super) fn visit(
    visiting: &AtomicU64,
    retiring: &AtomicU64,
    place: u64,
    still_there: impl FnOnce() -> bool,
) -> bool {
    if visiting.load(Ordering::Relaxed) == place {
        return true;
    }
    visiting.store(place, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if still_there() && retiring.load(Ordering::SeqCst) != place {
        return true;
    }
    visiting.store(0, Ordering::Release);
    false
}

/// The owner frees the batch at `place`, which the head has passed, unless one of those visits it who are `visiting`.
pub(super) fn retire<'a>(
    visiting: impl Iterator<Item = &'a AtomicU64>,
    retiring: &AtomicU64,
    place: u64,
    free: impl FnOnce(),
) -> bool {
    retiring.store(place, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let mut visiting = visiting;
    let is_visited = visiting.any(|visiting| visiting.load(Ordering::SeqCst) == place);
    if !is_visited {
        free();
    }
    retiring.store(0, Ordering::SeqCst);
    !is_visited
}
