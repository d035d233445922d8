//! The memory of a queue: rings of records.
//!
//! ```text
//!            head                          tail
//!             │ ring (4 KiB)                │ ring (16 KiB), made when the first was full
//!   [ · · · · 5 6 6 6 7 · 8 … 20 ] ──next──▶ [ 21 22 22 23 · · · · · · · · · · ]
//! ```
//!
//! A record is a header word and a message, rounded up to units of 16 bytes; it does not wrap around: what is left at the end
//! of a ring is a *pad*. A message that is large or names objects is a parcel, whose place is in the header. Positions count
//! units, and go on from ring to ring.
//!
//! | header | meaning |
//! |---|---|
//! | `MESSAGE`, length | the message follows |
//! | `PARCEL`, place | the message is a parcel, which the queue owns |
//! | `PAD`, units | nothing; the next record is at the ring's beginning |
//!
//! Records mean something between head and tail only, and there nobody changes them. Both [cursors](Cursor) are single words, and the
//! commit points of putting and taking: a message is in the queue as soon as the tail has passed it, and until the head has.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{Arena, Offset, Tx};
use crate::error::Result;

/// Where an end of a queue is: how many messages it has passed, modulo 2³¹, and at which position it is, modulo 2³². Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor(pub(super) u64);

impl Cursor {
    pub(super) const START: Self = Self::new(0, 0);
    /// How many messages a queue holds at most: half of what the count can tell, so that sooner and later differ.
    pub(super) const MOST: u64 = 1 << 30;
    /// How many units it does.
    const MOST_UNITS: u32 = 1 << 31;
    const COUNT: u64 = (1 << 31) - 1;

    const fn new(messages: u64, position: u32) -> Self {
        Self(1 << 63 | (messages & Self::COUNT) << 32 | position as u64)
    }

    fn position(self) -> u32 {
        self.0 as u32
    }

    /// How many messages this cursor has passed, modulo 2³¹.
    pub(super) fn messages(self) -> u64 {
        self.0 >> 32 & Self::COUNT
    }

    /// How many messages lie between an earlier cursor and this one.
    pub(super) fn messages_since(self, earlier: Self) -> u64 {
        self.messages().wrapping_sub(earlier.messages()) & Self::COUNT
    }

    /// How many messages this cursor has passed beyond the first `count`; 0 if it has not passed those.
    pub(super) fn messages_beyond(self, count: u64) -> u64 {
        let beyond = self.messages().wrapping_sub(count) & Self::COUNT;
        if beyond > Self::MOST { 0 } else { beyond }
    }

    /// The cursor behind one more message, of so many units.
    #[inline]
    fn past(self, units: u32) -> Self {
        Self::new(self.messages() + 1, self.position().wrapping_add(units))
    }

    /// Whether the numbers of messages and units since `earlier` leave room for one ring more.
    pub(super) fn may_go_on_since(self, earlier: Self) -> bool {
        let units = self.position().wrapping_sub(earlier.position());
        units < Self::MOST_UNITS - LARGEST
            && self.messages_since(earlier) < Self::MOST - u64::from(LARGEST)
    }
}

const UNIT: u64 = 16;
const FIRST: u32 = 1 << 8;
const GROWTH: u32 = 4;
const LARGEST: u32 = 1 << 14;

/// The longest message that lies in a ring.
pub(super) const INLINE: usize = 8 << 10;

const _: () = assert!(
    units_of(INLINE) * 4 <= LARGEST,
    "the longest message must fit into a ring wherever its end is"
);

/// How many units a record has.
pub(super) const fn units_of(length: usize) -> u32 {
    (8 + length as u64).div_ceil(UNIT) as u32
}

/// What precedes the units of a ring. With the block's header, units begin at a multiple of 64.
#[repr(C)]
pub(super) struct Ring {
    /// How many there are: a power of two.
    units: AtomicU64,
    /// The position of the first.
    begin: AtomicU64,
    /// The position that `next` begins with, and [`CLOSED`]; 0 while this is the last ring.
    end: AtomicU64,
    next: AtomicU64,
    _spare: [AtomicU64; 2],
}

const CLOSED: u64 = 1 << 32;
const HEADER: u64 = size_of::<Ring>() as u64;
const _: () = assert!(HEADER == 48);

/// Room for a record.
pub(super) struct Room {
    pub(super) record: Offset,
    /// Where the tail is once the record is put.
    pub(super) after: Cursor,
}

/// A record between head and tail.
pub(super) struct Record {
    pub(super) content: Content,
    /// Where the head is once the record is taken.
    pub(super) after: Cursor,
}

pub(super) enum Content {
    Message { place: Offset, length: usize },
    Parcel(Offset),
}

const MESSAGE: u64 = 0;
const PARCEL: u64 = 1;
const PAD: u64 = 2;

/// Writes the header of a message of `length` bytes at `record`; returns where the bytes belong.
#[inline]
pub(super) fn write_message(arena: &Arena, record: Offset, length: usize) -> Offset {
    arena
        .word(record)
        .store((length as u64) << 2 | MESSAGE, Ordering::Relaxed);
    record.plus(8)
}

/// Writes the record of a parcel.
pub(super) fn write_parcel(arena: &Arena, record: Offset, parcel: Offset) {
    arena
        .word(record)
        .store(parcel.0 << 2 | PARCEL, Ordering::Relaxed);
}

impl Ring {
    /// Room for a record of `units` behind `tail`, if there is. A pad before it is written.
    #[inline]
    pub(super) fn room(
        &self,
        arena: &Arena,
        tail: Cursor,
        head: Cursor,
        units: u32,
    ) -> Option<Room> {
        let size = self.units.load(Ordering::Relaxed) as u32;
        let begin = self.begin.load(Ordering::Relaxed) as u32;
        let index = tail.position().wrapping_sub(begin) & (size - 1);
        let to_end = size - index;
        let pad = if units <= to_end { 0 } else { to_end };
        // While the head is in an earlier ring, it has left nothing of this one.
        let left = head.position().wrapping_sub(begin);
        let first = if (left as i32) < 0 {
            begin
        } else {
            head.position()
        };
        let used = tail.position().wrapping_sub(first);
        if size - used < units + pad {
            return None;
        }
        let mut record = self.unit(arena, index);
        if pad > 0 {
            arena
                .word(record)
                .store(u64::from(pad) << 2 | PAD, Ordering::Relaxed);
            record = self.unit(arena, 0);
        }
        Some(Room {
            record,
            after: tail.past(pad + units),
        })
    }

    /// The record at `head`, which the tail has passed.
    #[inline]
    pub(super) fn record(&self, arena: &Arena, head: Cursor) -> Record {
        let size = self.units.load(Ordering::Relaxed) as u32;
        let begin = self.begin.load(Ordering::Relaxed) as u32;
        let mut record = self.unit(arena, head.position().wrapping_sub(begin) & (size - 1));
        let mut header = arena.word(record).load(Ordering::Relaxed);
        let mut pad = 0;
        if header & 3 == PAD {
            pad = (header >> 2) as u32;
            record = self.unit(arena, 0);
            header = arena.word(record).load(Ordering::Relaxed);
        }
        let (content, units) = if header & 3 == MESSAGE {
            let length = (header >> 2) as usize;
            let place = record.plus(8);
            (Content::Message { place, length }, units_of(length))
        } else {
            (Content::Parcel(Offset(header >> 2)), 1)
        };
        Record {
            content,
            after: head.past(pad + units),
        }
    }

    /// Whether this ring ends where `head` is. The tail has gone on to [`next`](Self::next) then.
    #[inline]
    pub(super) fn ends_at(&self, head: Cursor) -> bool {
        self.end.load(Ordering::Acquire) == CLOSED | u64::from(head.position())
    }

    /// The ring that follows, if this one has been left by the tail.
    pub(super) fn next(&self) -> Offset {
        match self.end.load(Ordering::Acquire) {
            0 => Offset::NONE,
            _ => Offset(self.next.load(Ordering::Relaxed)),
        }
    }

    #[inline]
    fn unit(&self, arena: &Arena, index: u32) -> Offset {
        arena.offset_in(self).plus(HEADER + u64::from(index) * UNIT)
    }
}

impl Tx<'_> {
    /// Makes the first ring of a queue.
    pub(super) fn first_ring(&mut self) -> Result<Offset> {
        self.new_ring(FIRST, Cursor::START)
    }

    /// Closes the ring at `full` at `tail`, and makes the one that follows; a record of `units` fits into it.
    pub(super) fn grow_ring(&mut self, full: &Ring, tail: Cursor, units: u32) -> Result<Offset> {
        let size = full.units.load(Ordering::Relaxed) as u32;
        let wanted = (size * GROWTH).max((units * 4).next_power_of_two());
        let next = self.new_ring(wanted.min(LARGEST), tail)?;
        self.set(&full.next, next.0);
        self.set(&full.end, CLOSED | u64::from(tail.position()));
        Ok(next)
    }

    fn new_ring(&mut self, units: u32, tail: Cursor) -> Result<Offset> {
        let place = self.allocate(HEADER + u64::from(units) * UNIT)?;
        let ring = ring_at(self.arena(), place);
        // By the journal: should this be undone, the block is free again, with its links in these words.
        self.set(&ring.units, units.into());
        self.set(&ring.begin, tail.position().into());
        self.set(&ring.end, 0);
        self.set(&ring.next, 0);
        Ok(place)
    }
}

#[inline]
pub(super) fn ring_at(arena: &Arena, place: Offset) -> &Ring {
    // SAFETY: six words anywhere in the arena are a valid ring; `at` checks the bounds.
    unsafe { arena.at(place) }
}
