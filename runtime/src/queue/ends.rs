//! What is done with the two ends of a queue: putting, taking, and looking after what the dead left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use smallvec::SmallVec;

use super::body::QueueBody;
use super::ring::{Content, Cursor, Ring, Room, ring_at, units_of, write_message, write_parcel};
use crate::arena::{Arena, Care, Debts, Kind, Offset, Parcel, Tx};
use crate::error::{EncodeError, Error, Result};
use crate::sync::Patience;
use crate::sys::{Acquired, MutexError, RobustMutex};

inventory::submit! { Care { kind: Kind::Queue, knock, destroy: Some(destroy) } }
// Nobody can say that a task is done without a handle.
inventory::submit! { Debts { kind: Kind::Queue, outlive_handles: false, give_back } }

/// Catches up with somebody who died at an end, and wakes those whom it may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a queue's body, which the caller has a reference to.
    let queue: &QueueBody = unsafe { arena.at(body) };
    // If somebody has a lock, the dead did not, or that one has caught up.
    let now = Some(Instant::now());
    drop(queue.lock_tail(arena, now));
    drop(queue.lock_head(arena, now));
    queue.room().knock();
    queue.messages().knock();
    queue.finished().knock();
}

/// Gives up the tasks that a dead process had taken.
fn give_back(tx: &mut Tx<'_>, body: Offset, tasks: u64) {
    // SAFETY: a queue's body, which the dead process's hold refers to.
    let queue: &QueueBody = unsafe { tx.arena().at(body) };
    // Others may have done them in its place.
    let lost = tasks.min(queue.taken_and_not_done());
    tx.add(&queue.common.done, lost as i64);
    tx.add(&queue.common.lost, lost as i64);
}

/// A message on its way into a queue.
pub(super) enum Outbound<'a> {
    Inline(&'a [u8]),
    Parcel(Parcel),
}

/// The bytes of a message that is not a parcel. Those of most need no memory but the stack.
pub(super) type Bytes = SmallVec<[u8; 2048]>;

/// A message taken from a queue.
pub(super) enum Inbound {
    /// It is in the buffer that the taker gave.
    Inline,
    Parcel(Parcel),
}

/// Why nothing was put or taken. Small, so that it is returned in registers.
pub(super) enum Refused {
    /// There is no room, or no message, or the lock of this end was not free in time.
    NotNow,
    /// The queue has been shut down; for takers, and drained.
    Closed,
    /// The message cannot be encoded.
    Encode(EncodeError),
    /// The shared memory is full.
    Failed(Box<Error>),
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
#[inline]
fn lock_end<'a>(
    lock: &'a RobustMutex,
    deadline: Option<Instant>,
    recover: impl FnOnce(),
) -> Result<Held<'a>, Refused> {
    let acquired = match lock.try_lock() {
        Ok(acquired) => acquired,
        Err(_) => wait_for(lock, deadline)?,
    };
    let held = Held(lock);
    if acquired == Acquired::OwnerDied {
        recover();
    }
    Ok(held)
}

/// Waits for a lock that somebody else has.
#[cold]
fn wait_for(lock: &RobustMutex, deadline: Option<Instant>) -> Result<Acquired, Refused> {
    let mut patience = Patience::default();
    while patience.wait() {
        // To look costs less than to try, for the owner too.
        if lock.is_free()
            && let Ok(acquired) = lock.try_lock()
        {
            return Ok(acquired);
        }
    }
    let acquired = match deadline {
        None => lock.lock(),
        Some(deadline) => lock.lock_until(deadline),
    };
    acquired.map_err(|error| match error {
        MutexError::TimedOut => Refused::NotNow,
        other => unreachable!("the lock of a queue: {other:?}"),
    })
}

impl QueueBody {
    /// Puts a message at the tail; one that was refused is still there.
    pub(super) fn push(
        &self,
        arena: &Arena,
        message: &mut Outbound<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), Refused> {
        let held = self.lock_tail(arena, deadline)?;
        let room = self.find_room(arena, message)?;
        match std::mem::replace(message, Outbound::Inline(&[])) {
            Outbound::Inline(bytes) => {
                let place = write_message(arena, room.record, bytes.len());
                let place = arena.pointer(place, bytes.len() as u64).as_ptr();
                // SAFETY: room behind the tail, which belongs to the holder of the tail lock, of as many bytes.
                unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
                self.tail.set(room.after);
            }
            Outbound::Parcel(parcel) => {
                let parcel = parcel.into_place();
                write_parcel(arena, room.record, parcel);
                let give = |tx: &mut Tx<'_>| tx.detach_parcel(parcel);
                self.tail_end.advance(arena, &self.tail, room.after, give);
            }
        }
        drop(held);
        self.messages().notify();
        Ok(())
    }

    /// Room for a message, in a new ring if there is none in the last one.
    #[inline]
    fn find_room(&self, arena: &Arena, message: &Outbound<'_>) -> Result<Room, Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let units = match message {
            Outbound::Inline(bytes) => units_of(bytes.len()),
            Outbound::Parcel(_) => 1,
        };
        let tail = self.tail.get();
        let mut head = self.tail_end.seen();
        let capacity = self.capacity().min(Cursor::MOST);
        if tail.messages_since(head) >= capacity {
            head = self.tail_end.look_at(&self.head);
            if tail.messages_since(head) >= capacity {
                return Err(Refused::NotNow);
            }
        }
        loop {
            let ring = self.tail_end.ring(arena);
            if let Some(room) = ring.room(arena, tail, head, units) {
                return Ok(room);
            }
            let now = self.tail_end.look_at(&self.head);
            if now == head {
                self.grow(arena, tail, head, units)
                    .map_err(|error| Refused::Failed(Box::new(error)))?;
            }
            head = now;
        }
    }

    /// Goes on in a new ring.
    fn grow(&self, arena: &Arena, tail: Cursor, head: Cursor, units: u32) -> Result<()> {
        if !tail.may_go_on_since(head) {
            return Err(Error::Queue(format!(
                "cannot put: the queue holds {} messages, which is as much as a queue can; take some first, or bound it",
                tail.messages_since(head)
            )));
        }
        let mut tx = arena.begin();
        let ring = tx.grow_ring(self.tail_end.ring(arena), tail, units)?;
        tx.set(&self.tail_end.ring, ring.0);
        tx.commit();
        Ok(())
    }

    /// Takes the message at the head. One that is not a parcel is put into `buffer`. If it is a task, it is added to `debt`,
    /// which there is for queues that count tasks.
    pub(super) fn pop(
        &self,
        arena: &'static Arena,
        debt: Option<&AtomicU64>,
        buffer: &mut Bytes,
        deadline: Option<Instant>,
    ) -> Result<Inbound, Refused> {
        let held = self.lock_head(arena, deadline)?;
        let mut taken = self.pop_locked(arena, debt, buffer);
        if taken.is_none() && self.is_closed() {
            // Whoever is putting has the tail lock, and whoever gets it later finds the queue closed.
            let tail = self.lock_tail(arena, deadline)?;
            taken = self.pop_locked(arena, debt, buffer);
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
    #[inline]
    fn pop_locked(
        &self,
        arena: &'static Arena,
        debt: Option<&AtomicU64>,
        buffer: &mut Bytes,
    ) -> Option<Inbound> {
        let head = self.head.get();
        if self.head_end.seen() == head && self.head_end.look_at(&self.tail) == head {
            return None;
        }
        let record = self.ring_of_head(arena, head).record(arena, head);
        match record.content {
            Content::Message { place, length } => {
                buffer.clear();
                buffer.reserve(length);
                // SAFETY: the bytes of a message between head and tail, which nobody changes; there is room for them.
                unsafe {
                    let place = arena.pointer(place, length as u64).as_ptr();
                    buffer.as_mut_ptr().copy_from_nonoverlapping(place, length);
                    buffer.set_len(length);
                }
                match debt {
                    None => self.head.set(record.after),
                    Some(debt) => {
                        let take = |tx: &mut Tx<'_>| tx.add(debt, 1);
                        self.head_end.advance(arena, &self.head, record.after, take);
                    }
                }
                Some(Inbound::Inline)
            }
            Content::Parcel(parcel) => {
                let take = |tx: &mut Tx<'_>| {
                    tx.attach_parcel(arena.my_parcels(), parcel);
                    if let Some(debt) = debt {
                        tx.add(debt, 1);
                    }
                };
                self.head_end.advance(arena, &self.head, record.after, take);
                // SAFETY: it is in this process's list as of now.
                Some(Inbound::Parcel(unsafe {
                    Parcel::from_place(arena, parcel)
                }))
            }
        }
    }

    /// The ring that the message at `head` is in. A ring that has been left by both ends is freed.
    #[inline]
    fn ring_of_head<'a>(&self, arena: &'a Arena, head: Cursor) -> &'a Ring {
        let mut ring = self.head_end.ring(arena);
        while ring.ends_at(head) {
            let mut tx = arena.begin();
            tx.set(&self.head_end.ring, ring.next().0);
            tx.free(arena.offset_in(ring), false);
            tx.commit();
            ring = self.head_end.ring(arena);
        }
        ring
    }

    #[inline]
    fn lock_tail(&self, arena: &Arena, deadline: Option<Instant>) -> Result<Held<'_>, Refused> {
        lock_end(&self.tail_end.lock, deadline, || {
            self.tail_end.recover(arena, &self.tail);
            self.messages().notify();
        })
    }

    #[inline]
    fn lock_head(&self, arena: &Arena, deadline: Option<Instant>) -> Result<Held<'_>, Refused> {
        lock_end(&self.head_end.lock, deadline, || {
            self.head_end.recover(arena, &self.head);
            self.room().notify();
        })
    }
}

/// Frees the messages and rings of a queue that nobody refers to, in steps each of which is seen by who comes after the
/// undertaker's death.
fn destroy(arena: &'static Arena, body: Offset) {
    // SAFETY: a queue's body, which the undertaker has to itself.
    let queue: &QueueBody = unsafe { arena.at(body) };
    queue.tail_end.recover(arena, &queue.tail);
    queue.head_end.recover(arena, &queue.head);
    if queue.head_end.ring.load(Ordering::Relaxed) == 0 {
        return;
    }
    let tail = queue.tail.get();
    while queue.head.get() != tail {
        let head = queue.head.get();
        let record = queue.ring_of_head(arena, head).record(arena, head);
        match record.content {
            Content::Message { .. } => queue.head.set(record.after),
            // SAFETY: the queue owns the parcel until the head has passed it.
            Content::Parcel(parcel) => unsafe {
                arena.free_parcel_and(parcel, false, |tx| tx.set(&queue.head.0, record.after.0));
            },
        }
    }
    loop {
        let place = Offset(queue.head_end.ring.load(Ordering::Relaxed));
        if place.is_none() {
            break;
        }
        let next = ring_at(arena, place).next();
        let mut tx = arena.begin();
        tx.set(&queue.head_end.ring, next.0);
        tx.free(place, false);
        tx.commit();
    }
}
