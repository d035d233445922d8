//! The words by which workers share batches, and by which the owner knows when to free one.
//!
//! | `Cursor` | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | n | the first n items are claimed | a worker, to more, or to `SEALED` when all are claimed and another batch follows; the pool's owner, to fewer | what the dead had claimed and not begun is still to be begun: the pool's owner sets the cursor back |
//! | `SEALED` | the line goes on behind the batch | the pool's owner, to n in another life, once the head has passed it | whoever comes next moves the head on |
//!
//! A batch that the line has left can be put into it again: it begins another life, which its cursor counts. The words that
//! name batches in the line hold a life besides the place ([`link`]): whoever has slept meanwhile changes nothing with what it
//! knows of an earlier one.
//!
//! | `visiting` of a worker | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | 0 | it uses no batch | the worker, to a place with `ARRIVING` | – |
//! | a place, `ARRIVING` | it is about to look whether it may use the batch there, which may be none any more | the worker, to the place, or to 0 | the pool's owner sets it to 0 |
//! | a place | it uses the batch there | the worker, to another place with `ARRIVING` | the pool's owner sets it to 0 |
//!
//! | `retiring` | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | 0 | the pool's owner frees nothing | the pool's owner, to a place | the pool is gone |
//! | a place | it is about to free the batch there, unless somebody visits it | the pool's owner, to 0 | the pool is gone |
//!
//! A worker says whom it visits and then looks whether the batch is retiring, and whether it is still where it was found; the
//! owner says what it retires and then looks who visits it. One of the two sees the other. A worker that comes late sees that
//! nothing retires any more, but then it does not find the batch where it was: neither does the head lead there, nor does
//! somebody use it. That is why somebody who is arriving is no proof, and why it looks there last.

use std::ops::Range;

use crate::kill_point::kill_point;
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// How many items of a batch workers have claimed.
#[repr(transparent)]
pub(super) struct Cursor(AtomicU64);

/// The line goes on behind the batch.
const SEALED: u64 = 1 << 63;
/// The life of the batch.
const LIFE: u64 = 1 << 32;
const LIVES: u64 = 0xffff;
/// How many items are claimed.
const COUNT: u64 = LIFE - 1;
/// In `visiting`; places are even.
const ARRIVING: u64 = 1;
/// Places are smaller.
const PLACES: u64 = 1 << 48;

/// A batch in the line: its place, and its life.
#[inline]
pub(super) fn link(place: u64, life: u16) -> u64 {
    debug_assert!(place < PLACES);
    place | (u64::from(life) * PLACES)
}

/// Where the batch is that a link names.
#[inline]
pub(super) fn place_of(link: u64) -> u64 {
    link % PLACES
}

/// Where the batch is that somebody uses who is visiting it, if it is said to be there already.
#[inline]
pub(super) fn visited(visiting: u64) -> Option<u64> {
    (visiting != 0 && visiting & ARRIVING == 0).then_some(visiting)
}

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
    #[cfg(test)]
    #[allow(dead_code, reason = "the models make it outside of an arena")]
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Lets all items be claimed, in a batch that was in no line yet.
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Lets the items from `first` on be claimed in another life, in a batch that the line has left.
    pub(super) fn renew(&self, first: u32) {
        let life = u64::from(self.life().wrapping_add(1));
        self.0
            .store((life * LIFE) | u64::from(first), Ordering::Release);
    }

    /// How often the batch was renewed.
    pub(super) fn life(&self) -> u16 {
        ((self.0.load(Ordering::Acquire) / LIFE) & LIVES) as u16
    }

    /// Lets the items from `first` on be claimed again; `false` when the cursor is sealed.
    pub(super) fn reopen(&self, first: u32) -> bool {
        let back = |cursor: u64| {
            (cursor & SEALED == 0).then(|| cursor & !COUNT | (cursor & COUNT).min(u64::from(first)))
        };
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
            let claimed = cursor & COUNT;
            let count = filled.load(Ordering::Acquire);
            let (after, claim) = if claimed < count {
                let more = share(count - claimed);
                let items = claimed as u32..(claimed + more) as u32;
                propose(items.clone());
                (cursor + more, Claim::Items(items))
            } else if next.load(Ordering::Acquire) == 0 {
                return Claim::Nothing;
            } else if filled.load(Ordering::Acquire) > claimed {
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
        self.0.load(Ordering::Acquire) & COUNT < filled.load(Ordering::Acquire)
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
    visiting.store(place | ARRIVING, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if retiring.load(Ordering::SeqCst) != place && still_there() {
        visiting.store(place, Ordering::SeqCst);
        return true;
    }
    visiting.store(0, Ordering::Release);
    false
}

/// The owner frees the batch at `place`, which the head has passed, unless one of those visits it who are `visiting`: those who
/// are there by then, since somebody who has just come may have found it at somebody else's.
pub(super) fn retire<'a, V: Iterator<Item = &'a AtomicU64>>(
    visiting: impl FnOnce() -> V,
    retiring: &AtomicU64,
    place: u64,
    free: impl FnOnce(),
) -> bool {
    retiring.store(place, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let visits = |visiting: &AtomicU64| visiting.load(Ordering::SeqCst) & !ARRIVING == place;
    let is_visited = visiting().any(visits);
    if !is_visited {
        free();
    }
    retiring.store(0, Ordering::SeqCst);
    !is_visited
}
