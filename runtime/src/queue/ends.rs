//! The two ends of a queue, a lock for each.
//!
//! | word | changed by | its owner died here |
//! |---|---|---|
//! | `tail`, the tail's `ring` | the holder of the tail lock | see [`recover_tail`](QueueBody::recover_tail) |
//! | `head`, the head's `ring` | the holder of the head lock | see [`recover_head`](QueueBody::recover_head) |
//! | `spare` | the holder of the tail lock | a ring that was made and not used yet: the next growth uses it |
//! | a ring's `next`, then `end` | the holder of the tail lock, once | with `end` the ring is closed; the next holder goes on in `next` |
//! | `closed` | `shutdown`, once | – |

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::ring::{FREE, IN_SLOT, INLINE, MOVED, PARCEL, Word, ring_at, slot, slots_of};
use crate::arena::{Arena, Body, Care, Kind, Offset, Parcel};
use crate::error::Result;
use crate::sync::{Patience, Signal};
use crate::sys::{Acquired, MutexError, RobustMutex};

const FIRST_RING: u64 = 16;
const GROWTH: u64 = 4;
const LARGEST_RING: u64 = 4096;

/// Each part is on cache lines of its own: the two ends write different ones, and share one that seldom changes.
#[repr(C)]
pub(super) struct QueueBody {
    tail_end: TailEnd,
    shared: Common,
    head_end: HeadEnd,
}

#[repr(C, align(64))]
struct TailEnd {
    lock: RobustMutex,
    tail: AtomicU64,
    ring: AtomicU64,
    spare: AtomicU64,
}

#[repr(C, align(64))]
struct Common {
    /// Those who wait for room.
    room: Signal,
    closed: AtomicU32,
    /// Those who wait for messages.
    messages: Signal,
    /// How many messages the queue may hold.
    capacity: u64,
}

#[repr(C, align(64))]
struct HeadEnd {
    lock: RobustMutex,
    head: AtomicU64,
    ring: AtomicU64,
}

// SAFETY: `repr(C)`; robust mutexes and atomics, and a capacity that is written before the queue is shared.
unsafe impl Body for QueueBody {
    const KIND: Kind = Kind::Queue;
}

inventory::submit! { Care { kind: Kind::Queue, knock, destroy: Some(destroy) } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a queue's body, which the caller has a reference to.
    let queue: &QueueBody = unsafe { arena.at(body) };
    queue.room().knock();
    queue.messages().knock();
}

/// A message on its way into a queue.
pub(super) enum Outbound<'a> {
    Inline(&'a [u8]),
    Parcel(Parcel),
}

/// A message taken from a queue.
pub(super) enum Inbound {
    Inline([u8; INLINE], usize),
    Parcel(Parcel),
}

/// Why nothing was put or taken.
pub(super) enum Refused {
    /// There is no room, or no message.
    NotNow,
    /// The queue has been shut down; for takers, and drained.
    Closed,
    /// The lock of this end was not free in time.
    TimedOut,
    /// The shared memory is full.
    Failed(String),
}

/// The lock of one end, held.
struct Held<'a>(&'a RobustMutex);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `lock_end` on this thread, which `RobustMutex` being borrowed does not leave.
        unsafe { self.0.unlock() };
    }
}

/// Takes the lock of one end; `recover` mends what a dead holder left.
fn lock_end<'a>(
    lock: &'a RobustMutex,
    deadline: Option<Instant>,
    recover: impl FnOnce(),
) -> Result<Held<'a>, Refused> {
    let mut patience = Patience::default();
    let acquired = loop {
        match lock.try_lock() {
            Ok(acquired) => break acquired,
            Err(_) if patience.wait() => {}
            Err(_) => {
                match deadline.map_or_else(|| lock.lock(), |deadline| lock.lock_until(deadline)) {
                    Ok(acquired) => break acquired,
                    Err(MutexError::TimedOut) => return Err(Refused::TimedOut),
                    Err(error) => unreachable!("the lock of a queue: {error:?}"),
                }
            }
        }
    };
    let held = Held(lock);
    if acquired == Acquired::OwnerDied {
        recover();
    }
    Ok(held)
}

impl QueueBody {
    /// Makes the body of an empty queue in place. It has no ring before [`add_first_ring`](Self::add_first_ring).
    ///
    /// # Safety
    ///
    /// `place` is valid for writes, in the arena, and nobody uses a queue there.
    pub(super) unsafe fn init(place: *mut Self, capacity: u64) {
        // SAFETY: the caller's promise; all that is not written here is zero words, which are atomics of value 0.
        unsafe {
            place.write_bytes(0, 1);
            RobustMutex::init(&raw mut (*place).tail_end.lock);
            RobustMutex::init(&raw mut (*place).head_end.lock);
            (&raw mut (*place).shared.capacity).write(capacity);
            (*place).tail_end.tail.store(1, Ordering::Relaxed);
            (*place).head_end.head.store(1, Ordering::Relaxed);
            (&raw mut (*place).shared.room).write(Signal::new());
            (&raw mut (*place).shared.messages).write(Signal::new());
        }
    }

    /// Gives a new queue its first ring.
    pub(super) fn add_first_ring(&self, arena: &Arena) -> Result<()> {
        let mut tx = arena.begin();
        let ring = tx.new_ring(FIRST_RING)?;
        tx.set(&self.tail_end.ring, ring.0);
        tx.set(&self.head_end.ring, ring.0);
        tx.commit();
        Ok(())
    }

    /// How many messages the queue holds, at some moment during the call.
    pub(super) fn len(&self) -> u64 {
        loop {
            let tail = self.tail_end.tail.load(Ordering::SeqCst);
            let head = self.head_end.head.load(Ordering::SeqCst);
            if self.tail_end.tail.load(Ordering::SeqCst) == tail {
                // A message may be taken before who put it has moved the tail.
                return tail.saturating_sub(head);
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) != 0
    }

    /// Takes no more messages from here on.
    pub(super) fn close(&self) {
        self.shared.closed.store(1, Ordering::SeqCst);
        self.room().notify();
        self.messages().notify();
    }

    /// Those who wait for messages.
    pub(super) fn messages(&self) -> &Signal {
        &self.shared.messages
    }

    /// Those who wait for room.
    pub(super) fn room(&self) -> &Signal {
        &self.shared.room
    }

    /// How many messages the queue may hold.
    pub(super) fn capacity(&self) -> u64 {
        self.shared.capacity
    }

    /// Whether the queue has no room for a message at `position`. Without a limit the head need not be looked at, which
    /// the other end is writing.
    fn is_full_at(&self, position: u64) -> bool {
        let capacity = self.capacity();
        capacity != u64::MAX && position - self.head_end.head.load(Ordering::Acquire) >= capacity
    }

    /// Puts a message at the tail. A message that was not put comes back.
    pub(super) fn push<'m>(
        &self,
        arena: &Arena,
        message: Outbound<'m>,
        deadline: Option<Instant>,
    ) -> Result<(), (Refused, Outbound<'m>)> {
        let held = match lock_end(&self.tail_end.lock, deadline, || self.recover_tail(arena)) {
            Ok(held) => held,
            Err(refused) => return Err((refused, message)),
        };
        if self.is_closed() {
            return Err((Refused::Closed, message));
        }
        let position = self.tail_end.tail.load(Ordering::Relaxed);
        if self.is_full_at(position) {
            return Err((Refused::NotNow, message));
        }
        let slot = match self.free_slot(arena, position) {
            Ok(slot) => slot,
            Err(error) => return Err((Refused::Failed(error.to_string()), message)),
        };
        match message {
            Outbound::Inline(bytes) => {
                let place = arena.pointer(slot.plus(8), INLINE as u64).as_ptr();
                // SAFETY: the slot is free, so that its bytes belong to the holder of the tail lock, and there are 56 of them.
                unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                let word = Word::new(IN_SLOT, position, bytes.len() as u64);
                arena.word(slot).store(word.pack(), Ordering::Release);
            }
            Outbound::Parcel(parcel) => {
                let place = parcel.into_place();
                let mut tx = arena.begin();
                tx.detach_parcel(place);
                tx.set(arena.word(slot), Word::parcel(position, place).pack());
                tx.commit();
            }
        }
        self.tail_end.tail.store(position + 1, Ordering::Release);
        drop(held);
        self.messages().notify();
        Ok(())
    }

    /// The slot of `position`, in a new ring if the last one is full.
    fn free_slot(&self, arena: &Arena, position: u64) -> Result<Offset> {
        let ring = Offset(self.tail_end.ring.load(Ordering::Relaxed));
        let slot = slot(arena, ring, position);
        if Word::unpack(arena.word(slot).load(Ordering::Acquire)).kind == FREE {
            return Ok(slot);
        }
        self.grow(arena, ring, position)?;
        Ok(self::slot(
            arena,
            Offset(self.tail_end.ring.load(Ordering::Relaxed)),
            position,
        ))
    }

    /// Goes on in a new ring, which begins with `position`.
    fn grow(&self, arena: &Arena, full: Offset, position: u64) -> Result<()> {
        let slots = ring_at(arena, full).slots.load(Ordering::Relaxed);
        if self.tail_end.spare.load(Ordering::Relaxed) == 0 {
            let mut tx = arena.begin();
            let ring = tx.new_ring((slots * GROWTH).min(LARGEST_RING))?;
            tx.set(&self.tail_end.spare, ring.0);
            tx.commit();
        }
        let spare = self.tail_end.spare.load(Ordering::Relaxed);
        let full = ring_at(arena, full);
        full.next.store(spare, Ordering::Relaxed);
        full.end.store(position, Ordering::Release);
        self.tail_end.ring.store(spare, Ordering::Release);
        self.tail_end.spare.store(0, Ordering::Release);
        Ok(())
    }

    /// Catches up with what a dead holder of the tail lock did.
    fn recover_tail(&self, arena: &Arena) {
        // A transaction that it left half done is undone by the next one.
        drop(arena.begin());
        let ring = ring_at(arena, Offset(self.tail_end.ring.load(Ordering::Relaxed)));
        if ring.end.load(Ordering::Acquire) != 0 {
            self.tail_end
                .ring
                .store(ring.next.load(Ordering::Relaxed), Ordering::Release);
        }
        if self.tail_end.spare.load(Ordering::Relaxed) == self.tail_end.ring.load(Ordering::Relaxed)
        {
            self.tail_end.spare.store(0, Ordering::Release);
        }
        let position = self.tail_end.tail.load(Ordering::Relaxed);
        let slot = slot(
            arena,
            Offset(self.tail_end.ring.load(Ordering::Relaxed)),
            position,
        );
        let word = Word::unpack(arena.word(slot).load(Ordering::Acquire));
        // Taken already, the word is FREE and still of this position.
        if word.is_of(position) {
            self.tail_end.tail.store(position + 1, Ordering::Release);
            self.messages().notify();
        }
    }

    /// Takes the message at the head.
    pub(super) fn pop(
        &self,
        arena: &'static Arena,
        deadline: Option<Instant>,
    ) -> Result<Inbound, Refused> {
        let held = lock_end(&self.head_end.lock, deadline, || self.recover_head(arena))?;
        let mut taken = self.pop_locked(arena);
        if taken.is_none() && self.is_closed() {
            // Whoever is putting has the tail lock, and whoever gets it later finds the queue closed.
            let tail = lock_end(&self.tail_end.lock, deadline, || self.recover_tail(arena))?;
            taken = self.pop_locked(arena);
            drop(tail);
            if taken.is_none() {
                return Err(Refused::Closed);
            }
        }
        drop(held);
        let message = taken.ok_or(Refused::NotNow)?;
        self.room().notify();
        Ok(message)
    }

    /// [`pop`](Self::pop), by the holder of the head lock.
    fn pop_locked(&self, arena: &'static Arena) -> Option<Inbound> {
        let position = self.head_end.head.load(Ordering::Relaxed);
        let ring = self.ring_of_head(arena, position);
        let slot = slot(arena, ring, position);
        let packed = arena.word(slot).load(Ordering::Acquire);
        let word = Word::unpack(packed);
        if !word.is_of(position) {
            return None;
        }
        let message = match word.kind {
            IN_SLOT => {
                let mut bytes = MaybeUninit::<[u8; INLINE]>::uninit();
                // SAFETY: the slot has 56 bytes, which belong to the holder of the head lock while the word says IN_SLOT;
                // those behind the message are initialised memory of the arena like any other.
                let bytes = unsafe {
                    let place = arena.pointer(slot.plus(8), INLINE as u64).as_ptr();
                    bytes
                        .as_mut_ptr()
                        .cast::<u8>()
                        .copy_from_nonoverlapping(place, INLINE);
                    bytes.assume_init()
                };
                Inbound::Inline(bytes, (word.value as usize).min(INLINE))
            }
            PARCEL => {
                let place = Offset(word.value * 16);
                let mut tx = arena.begin();
                // Whoever put it may have died before it was done: then it is undone by now.
                if arena.word(slot).load(Ordering::Acquire) != packed {
                    return None;
                }
                tx.attach_parcel(arena.my_parcels(), place);
                tx.set(arena.word(slot), Word::new(MOVED, position, 0).pack());
                tx.commit();
                // SAFETY: it is in this process's list as of now.
                Inbound::Parcel(unsafe { Parcel::from_place(arena, place) })
            }
            // A dead taker's leavings, which `recover_head` has dealt with.
            _ => return None,
        };
        arena
            .word(slot)
            .store(Word::new(FREE, position, 0).pack(), Ordering::Release);
        self.head_end.head.store(position + 1, Ordering::Release);
        Some(message)
    }

    /// The ring that `position` is in. A ring that has been left is freed.
    fn ring_of_head(&self, arena: &Arena, position: u64) -> Offset {
        loop {
            let place = Offset(self.head_end.ring.load(Ordering::Relaxed));
            let ring = ring_at(arena, place);
            if ring.end.load(Ordering::Acquire) != position {
                return place;
            }
            let next = ring.next.load(Ordering::Relaxed);
            // While somebody grows the queue, the tail may still be about to leave the ring.
            let mut patience = Patience::default();
            while self.tail_end.ring.load(Ordering::Acquire) == place.0 {
                if !patience.wait() {
                    drop(lock_end(&self.tail_end.lock, None, || {
                        self.recover_tail(arena)
                    }));
                }
            }
            let mut tx = arena.begin();
            tx.set(&self.head_end.ring, next);
            tx.free(place, false);
            tx.commit();
        }
    }

    /// Catches up with what a dead holder of the head lock did.
    fn recover_head(&self, arena: &Arena) {
        // A transaction that it left half done is undone by the next one.
        drop(arena.begin());
        let position = self.head_end.head.load(Ordering::Relaxed);
        let ring = self.ring_of_head(arena, position);
        let slot = arena.word(slot(arena, ring, position));
        let word = Word::unpack(slot.load(Ordering::Acquire));
        if word.is_of(position) && word.kind == MOVED {
            slot.store(Word::new(FREE, position, 0).pack(), Ordering::Release);
        }
        // Once it was free, the tail may have come round to it.
        let next_lap = position + ring_at(arena, ring).slots.load(Ordering::Relaxed);
        let taken = word.is_of(position) && matches!(word.kind, MOVED | FREE);
        if taken || word.is_of(next_lap) {
            self.head_end.head.store(position + 1, Ordering::Release);
            self.room().notify();
        }
    }
}

/// Frees the messages and rings of a queue that nobody refers to.
fn destroy(arena: &'static Arena, body: Offset) {
    // SAFETY: a queue's body, which the undertaker has to itself.
    let queue: &QueueBody = unsafe { arena.at(body) };
    // Also for a queue whose user died: what was put and not counted is found by its word.
    loop {
        let place = Offset(queue.head_end.ring.load(Ordering::Relaxed));
        if place.is_none() {
            break;
        }
        let ring = ring_at(arena, place);
        for slot in slots_of(arena, place) {
            let slot = arena.word(slot);
            let word = Word::unpack(slot.load(Ordering::Acquire));
            if word.kind == PARCEL {
                // SAFETY: the slot owns the parcel, and is set free with it.
                unsafe {
                    arena.free_parcel_and(Offset(word.value * 16), false, |tx| tx.set(slot, 0))
                };
            }
        }
        let last = ring.end.load(Ordering::Relaxed) == 0;
        let next = if last {
            0
        } else {
            ring.next.load(Ordering::Relaxed)
        };
        let mut tx = arena.begin();
        tx.set(&queue.head_end.ring, next);
        // A ring in use is still called spare if whoever put it to use died then.
        if queue.tail_end.spare.load(Ordering::Relaxed) == place.0 {
            tx.set(&queue.tail_end.spare, 0);
        }
        tx.free(place, false);
        tx.commit();
    }
    let spare = Offset(queue.tail_end.spare.load(Ordering::Relaxed));
    if !spare.is_none() {
        let mut tx = arena.begin();
        tx.set(&queue.tail_end.spare, 0);
        tx.free(spare, false);
        tx.commit();
    }
}
