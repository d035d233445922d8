//! What a queue is: two ends, a lock for each, and what they show each other.
//!
//! | word | changed by | its owner died here |
//! |---|---|---|
//! | `tail` | the holder of the tail lock: with it the message is put | before: the message was not put; after: it was |
//! | `head` | the holder of the head lock: with it the message is taken | before: the message is still there; after: it was taken |
//! | an end's `next` | the holder of the end's lock, in the transaction that gives a parcel to the queue or takes it: where the cursor goes; 0 when it is there | the next holder moves the cursor there |
//! | an end's `ring` | the holder of the end's lock, in the transaction that makes or frees a ring | undone with the transaction |
//! | an end's `seen` | the holder of the end's lock: what the other end's cursor was when it was last looked at | – |
//! | `closed` | `shutdown`, once | – |
//!
//! An end looks at the other's cursor only when it has used up what it saw there last: while both ends are busy, a message costs
//! little more than the transfer of its own cache lines.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::ring::{Cursor, Ring, ring_at};
use crate::arena::{Arena, Body, Kind, Offset, Tx};
use crate::error::Result;
use crate::kill_point::kill_point;
use crate::sync::Signal;
use crate::sys::RobustMutex;

/// Each part is on cache lines of its own: what the two ends write, what each shows the other, and what seldom changes.
#[repr(C)]
pub(super) struct QueueBody {
    pub(super) tail_end: End,
    pub(super) tail: Position,
    pub(super) common: Common,
    pub(super) head: Position,
    pub(super) head_end: End,
}

/// What belongs to whoever holds the lock.
#[repr(C, align(64))]
pub(super) struct End {
    pub(super) lock: RobustMutex,
    pub(super) ring: AtomicU64,
    next: AtomicU64,
    /// The other end's cursor, as it was seen last.
    seen: AtomicU64,
}

#[repr(C, align(64))]
pub(super) struct Position(pub(super) AtomicU64);

#[repr(C, align(64))]
pub(super) struct Common {
    /// Those who wait for room.
    room: Signal,
    closed: AtomicU32,
    /// Those who wait for messages.
    messages: Signal,
    /// Those who wait for all tasks to be done.
    finished: Signal,
    /// How many messages the queue may hold.
    capacity: u64,
    /// Whether messages that are taken are tasks: see [`joinable`](super::joinable).
    counts_tasks: u64,
    pub(super) done: AtomicU64,
    pub(super) lost: AtomicU64,
}

// SAFETY: `repr(C)`; robust mutexes and atomics, and two numbers that are written before the queue is shared.
unsafe impl Body for QueueBody {
    const KIND: Kind = Kind::Queue;
}

impl Position {
    #[inline]
    pub(super) fn get(&self) -> Cursor {
        Cursor(self.0.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn set(&self, cursor: Cursor) {
        kill_point();
        self.0.store(cursor.0, Ordering::Release);
        kill_point();
    }
}

impl End {
    /// Moves the cursor of this end together with `change`, whoever dies in between.
    pub(super) fn advance(
        &self,
        arena: &Arena,
        cursor: &Position,
        after: Cursor,
        change: impl FnOnce(&mut Tx<'_>),
    ) {
        let mut tx = arena.begin();
        change(&mut tx);
        tx.set(&self.next, after.0);
        tx.commit();
        self.arrive(cursor);
    }

    /// Does what is left of [`advance`](Self::advance) after its transaction.
    fn arrive(&self, cursor: &Position) {
        let next = self.next.load(Ordering::Relaxed);
        if next != 0 {
            cursor.set(Cursor(next));
            self.next.store(0, Ordering::Release);
        }
    }

    /// Catches up with what a dead holder of the lock did.
    pub(super) fn recover(&self, arena: &Arena, cursor: &Position) {
        // A transaction that it left half done is undone by the next one.
        drop(arena.begin());
        self.arrive(cursor);
    }

    #[inline]
    pub(super) fn ring<'a>(&self, arena: &'a Arena) -> &'a Ring {
        ring_at(arena, Offset(self.ring.load(Ordering::Relaxed)))
    }

    #[inline]
    pub(super) fn seen(&self) -> Cursor {
        Cursor(self.seen.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn look_at(&self, other: &Position) -> Cursor {
        let cursor = other.get();
        self.seen.store(cursor.0, Ordering::Relaxed);
        cursor
    }
}

impl QueueBody {
    /// Makes the body of an empty queue in place. It has no ring before [`add_first_ring`](Self::add_first_ring).
    ///
    /// # Safety
    ///
    /// `place` is valid for writes, in the arena, and nobody uses a queue there.
    pub(super) unsafe fn init(place: *mut Self, capacity: u64, counts_tasks: bool) {
        // SAFETY: the caller's promise; all that is not written here is zero words, which are atomics of value 0.
        unsafe {
            place.write_bytes(0, 1);
            RobustMutex::init(&raw mut (*place).tail_end.lock);
            RobustMutex::init(&raw mut (*place).head_end.lock);
            (&raw mut (*place).common.capacity).write(capacity);
            (&raw mut (*place).common.counts_tasks).write(counts_tasks.into());
            (&raw mut (*place).common.finished).write(Signal::new());
            (&raw mut (*place).common.room).write(Signal::new());
            (&raw mut (*place).common.messages).write(Signal::new());
            let Self {
                tail_end,
                tail,
                head,
                head_end,
                ..
            } = &*place;
            for word in [&tail.0, &head.0, &tail_end.seen, &head_end.seen] {
                word.store(Cursor::START.0, Ordering::Relaxed);
            }
        }
    }

    /// Gives a new queue its first ring.
    pub(super) fn add_first_ring(&self, arena: &Arena) -> Result<()> {
        let mut tx = arena.begin();
        let ring = tx.first_ring()?;
        tx.set(&self.tail_end.ring, ring.0);
        tx.set(&self.head_end.ring, ring.0);
        tx.commit();
        Ok(())
    }

    /// How many messages the queue holds, at some moment during the call.
    pub(super) fn len(&self) -> u64 {
        loop {
            let tail = self.tail.0.load(Ordering::SeqCst);
            let head = self.head.0.load(Ordering::SeqCst);
            if self.tail.0.load(Ordering::SeqCst) == tail {
                return Cursor(tail).messages_since(Cursor(head));
            }
        }
    }

    /// Whether there may be a message to take, or it is certain that there will be none.
    pub(super) fn is_worth_a_get(&self) -> bool {
        self.head.get() != self.tail.get() || self.is_closed()
    }

    /// Whether there may be room, or it is certain that there will be none.
    pub(super) fn is_worth_a_put(&self) -> bool {
        let (tail, head) = (self.tail.get(), self.head.get());
        tail.messages_since(head) < self.capacity() || self.is_closed()
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.common.closed.load(Ordering::Acquire) != 0
    }

    /// Takes no more messages from here on.
    pub(super) fn close(&self) {
        self.common.closed.store(1, Ordering::SeqCst);
        self.room().notify();
        self.messages().notify();
    }

    /// Those who wait for messages.
    pub(super) fn messages(&self) -> &Signal {
        &self.common.messages
    }

    /// Those who wait for room.
    pub(super) fn room(&self) -> &Signal {
        &self.common.room
    }

    /// How many messages the queue may hold.
    pub(super) fn capacity(&self) -> u64 {
        self.common.capacity
    }

    /// Those who wait for all tasks to be done.
    pub(super) fn finished(&self) -> &Signal {
        &self.common.finished
    }

    /// Whether messages that are taken are tasks.
    pub(super) fn counts_tasks(&self) -> bool {
        self.common.counts_tasks != 0
    }

    /// How many tasks are not done, at some moment during the call.
    pub(super) fn unfinished(&self) -> u64 {
        let done = self.common.done.load(Ordering::SeqCst);
        Cursor(self.tail.0.load(Ordering::SeqCst)).messages_beyond(done)
    }

    pub(super) fn lost(&self) -> u64 {
        self.common.lost.load(Ordering::Relaxed)
    }

    /// Counts a task as done, as one of this process's if it has any. `false` if there is none.
    pub(super) fn finish_task(&self, arena: &Arena, debt: &AtomicU64) -> bool {
        let mut tx = arena.begin();
        if self.unfinished() == 0 {
            return false;
        }
        tx.add(&self.common.done, 1);
        if debt.load(Ordering::Relaxed) > 0 {
            tx.add(debt, -1);
        }
        tx.commit();
        if self.unfinished() == 0 {
            self.finished().notify();
        }
        true
    }

    /// How many tasks processes have in their hands; asked in a transaction.
    pub(super) fn taken_and_not_done(&self) -> u64 {
        let done = self.common.done.load(Ordering::Relaxed);
        // Whoever died may have taken one and not moved the head.
        let head = match self.head_end.next.load(Ordering::Relaxed) {
            0 => self.head.get(),
            next => Cursor(next),
        };
        head.messages_beyond(done)
    }
}
