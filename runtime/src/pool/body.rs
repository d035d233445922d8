//! What a pool is in the arena: a line of batches, and a seat for each worker.
//!
//! ```text
//!            head                                                                      tail
//!             │                                                                         │
//!  batch ──▶ batch ──next──▶ batch ──next──▶ … ──▶ batch, which may still be filled ◀───┘ (known to the owner alone)
//!  passed
//! ```
//!
//! Workers claim items of the batch at the head, and move the head on when all of them are claimed and there is another batch.
//!
//! | word | meaning | changed by | who dies here |
//! |---|---|---|---|
//! | `head` | the batch that workers claim items of, a [`link`](words::link) | whoever finds it sealed, to its `next` | the next one does it |
//! | `retiring`, a seat's `visiting` | see [`words`] | | |
//! | `closing` | whether workers leave when there is nothing to do ([`CLOSED`]), or at once ([`TERMINATED`]) | the owner, upwards | – |
//! | a seat's `claim` | the items that its worker has claimed: those that others may find left; 0: it is idle | the worker | as above |
//! | a seat's `stage` | how far its worker has come ([`Stage`]) | the worker, and the owner, who says when it may leave | – |
//!
//! A batch is freed when the head has passed it, all its items are done, and nobody visits it: see [`words`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::batch::View;
use super::words;
use crate::arena::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::Result;
use crate::sync::Signal;

/// How many workers a pool has at most.
pub(super) const MOST_WORKERS: usize = 1024;

#[repr(C)]
pub(super) struct PoolBody {
    pub(super) line: LineWords,
    pub(super) calls: CallWords,
    /// The list of all batches.
    pub(super) batches: AtomicU64,
    pub(super) max_tasks: AtomicU64,
    pub(super) max_memory: AtomicU64,
    /// In nanoseconds; 0: workers without work stay.
    pub(super) idle_timeout: AtomicU64,
    pub(super) initializer: Hook,
    pub(super) exit_hook: Hook,
    seats: [Seat; MOST_WORKERS],
}

/// What tells workers of work.
#[repr(C, align(64))]
pub(super) struct LineWords {
    pub(super) head: AtomicU64,
    pub(super) retiring: AtomicU64,
    pub(super) closing: AtomicU32,
    /// How many seats were ever taken.
    pub(super) seats: AtomicU32,
    /// Those who wait for work.
    pub(super) work: Signal,
}

/// What workers tell the owner.
#[repr(C, align(64))]
pub(super) struct CallWords {
    /// Those who wait for one of several tasks.
    pub(super) done: Signal,
}

/// A function that every worker runs once: the hash of its name, and a parcel with its arguments, which the pool owns.
#[repr(C)]
pub(super) struct Hook {
    pub(super) function: AtomicU64,
    pub(super) arguments: AtomicU64,
}

/// What a worker shows, on cache lines of its own.
#[repr(C, align(64))]
pub(super) struct Seat {
    pub(super) visiting: AtomicU64,
    pub(super) claim: AtomicU64,
    /// When the item began, in nanoseconds of the system's clock; for items that have a time limit.
    pub(super) began: AtomicU64,
    /// Which item that is, plus 1.
    pub(super) item: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    stage: AtomicU32,
    /// Whoever changes `stage` of somebody else notifies.
    pub(super) verdict: Signal,
    /// A parcel: what came of the initializer.
    pub(super) initialized: AtomicU64,
    /// Whether that is why the initializer failed to run, and not its value.
    failed_to_initialize: AtomicU32,
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Stage {
    /// It was started.
    Starting,
    /// It runs its initializer.
    Initializing,
    /// It waits for the owner to look at what came of that.
    Presenting,
    /// It works.
    Working,
    /// It is to leave after the task that it runs.
    Leaving,
    /// It has left of its own accord, and is about to end.
    Left,
}

/// In `closing`: workers leave when there is nothing more to do.
pub(super) const CLOSED: u32 = 1;
/// In `closing`: workers leave at once.
pub(super) const TERMINATED: u32 = 2;

/// A pool's place in the arena.
pub(super) type PoolHandle = Handle<PoolBody, ()>;

// SAFETY: `repr(C)`, and made of atomics.
unsafe impl Body for PoolBody {
    const KIND: Kind = Kind::Pool;
}

inventory::submit! { Care { kind: Kind::Pool, knock, destroy: Some(destroy) } }

/// Wakes all who sleep at the pool.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a pool's body, which the caller has a reference to.
    let pool: &PoolBody = unsafe { arena.at(body) };
    pool.line.work.knock();
    pool.calls.done.knock();
}

/// Frees what a pool has that nobody refers to.
fn destroy(arena: &'static Arena, body: Offset) {
    // SAFETY: a pool's body, which the undertaker has to itself.
    let pool: &PoolBody = unsafe { arena.at(body) };
    loop {
        let batch = Offset(pool.batches.load(Ordering::Acquire));
        if batch.is_none() {
            break;
        }
        // SAFETY: nobody has the pool any more, so nobody visits its batches.
        unsafe { View::at(arena, batch).free() };
    }
    let seats = pool.seats.iter().take(pool.seat_count());
    let words = seats.map(|seat| &seat.initialized);
    for word in words.chain([&pool.initializer.arguments, &pool.exit_hook.arguments]) {
        // SAFETY: the pool owns the parcel by the word, and the undertaker the pool.
        unsafe { arena.free_parcel_in(word) };
    }
}

impl PoolBody {
    /// Makes a pool without batches and workers.
    pub(super) fn create() -> Result<PoolHandle> {
        let init = |place: *mut PoolBody| {
            // SAFETY: as many bytes as a body has are this process's own; all of it is atomics, and zero a value of theirs.
            unsafe { place.write_bytes(0, 1) };
        };
        // SAFETY: `init` makes a pool.
        unsafe { Handle::create(size_of::<PoolBody>(), init) }
    }

    /// How many seats were ever taken.
    pub(super) fn seat_count(&self) -> usize {
        self.line.seats.load(Ordering::Acquire) as usize
    }

    pub(super) fn seat(&self, number: u16) -> &Seat {
        &self.seats[usize::from(number)]
    }

    /// The seats that were ever taken.
    pub(super) fn seats(&self) -> &[Seat] {
        &self.seats[..self.seat_count().min(MOST_WORKERS)]
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.line.closing.load(Ordering::Acquire) == TERMINATED
    }

    /// Moves the head on from a batch that is sealed.
    pub(super) fn pass(&self, from: u64, next: u64) {
        let _ = self
            .line
            .head
            .compare_exchange(from, next, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl Seat {
    /// Says that the worker uses the batch at `place`, if `still_there` says that it is still where it was found.
    #[inline]
    pub(super) fn visit(
        &self,
        pool: &PoolBody,
        place: Offset,
        still_there: impl FnOnce() -> bool,
    ) -> bool {
        words::visit(&self.visiting, &pool.line.retiring, place.0, still_there)
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Initializing,
            2 => Stage::Presenting,
            3 => Stage::Working,
            4 => Stage::Leaving,
            _ => Stage::Left,
        }
    }

    /// The worker goes on to a stage, unless the owner has told it to leave.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u32, Ordering::AcqRel);
    }

    /// The seat is empty, and a new worker may take it.
    pub(super) fn reset(&self) {
        for word in [&self.visiting, &self.claim, &self.began, &self.item] {
            word.store(0, Ordering::Relaxed);
        }
        self.failed_to_initialize.store(0, Ordering::Relaxed);
        self.stage.store(Stage::Starting as u32, Ordering::Release);
    }

    pub(super) fn set_failed_to_initialize(&self) {
        self.failed_to_initialize.store(1, Ordering::Relaxed);
    }

    pub(super) fn has_failed_to_initialize(&self) -> bool {
        self.failed_to_initialize.load(Ordering::Relaxed) != 0
    }

    /// The worker waits until the owner has looked at what came of the initializer; tells whether it may go on.
    pub(super) fn wait_for_verdict(&self) -> bool {
        loop {
            let announced = self.verdict.announce();
            match self.stage() {
                Stage::Presenting => self.verdict.sleep(announced, None),
                stage => return stage == Stage::Working,
            };
        }
    }

    /// The owner lets the worker go on to a stage.
    pub(super) fn let_enter(&self, stage: Stage) {
        self.enter(stage);
        self.verdict.notify();
    }

    /// How many tasks were done at this seat.
    pub(super) fn tasks(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }

    /// The items that the worker has claimed.
    pub(super) fn claimed(&self) -> std::ops::Range<u32> {
        let claim = self.claim.load(Ordering::Acquire);
        (claim >> 32) as u32..claim as u32
    }

    pub(super) fn set_claim(&self, items: std::ops::Range<u32>) {
        let claim = u64::from(items.start) << 32 | u64::from(items.end);
        self.claim.store(claim, Ordering::Release);
    }

    /// The worker has nothing to do.
    pub(super) fn idle(&self) {
        self.claim.store(0, Ordering::Release);
    }
}
