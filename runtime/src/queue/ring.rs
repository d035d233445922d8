//! The memory of a queue: rings of slots.
//!
//! ```text
//!            head                          tail
//!             │ ring (16 slots)             │ ring (64 slots), made when the first was full
//!   [ · · · · 5 6 7 8 … 20 ] ──next──▶ [ 21 22 23 24 · · · · · · ]
//! ```
//!
//! A slot is a cache line: a word and up to 56 bytes of message. A larger message, or one with handles, is a parcel whose
//! place is in the word. Positions count messages from 1 and go on from ring to ring; a position's slot is its remainder by
//! the ring's length. The two ends share no word but the slot's, so that each message costs one transfer of a cache line.
//!
//! **A slot's word** (kind, the low bits of the position it was written for, and the message's length or parcel):
//!
//! | kind | meaning | who may leave it | its owner died here |
//! |---|---|---|---|
//! | `FREE` | no message; what was here has been taken | who holds the tail lock | nothing was put |
//! | `IN_SLOT` | the message is in the slot | who holds the head lock, to `FREE` | tail: the next holder goes on behind it; head: the next holder takes it |
//! | `PARCEL` | the message is a parcel that the slot owns | who holds the head lock, to `MOVED` | the same |
//! | `MOVED` | the parcel is the taker's now | who holds the head lock, to `FREE` | head: the next holder goes on behind it |
//!
//! The word is written last and read first: it is what is true, and `tail` and `head` follow it. When the holder of a lock
//! died, the next one looks whether the word at `tail` or `head` is one step ahead, and catches up. At most the message that
//! was being put or had been taken is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::{Arena, Offset, Tx};
use crate::error::Result;

/// The longest message that a slot holds.
pub(super) const INLINE: usize = 56;

/// What precedes the slots of a ring. With the block's header, slots begin at a multiple of 64.
#[repr(C)]
pub(super) struct Ring {
    pub(super) slots: AtomicU64,
    pub(super) next: AtomicU64,
    /// The position that `next` begins with; 0 while this is the last ring.
    pub(super) end: AtomicU64,
    _spare: [AtomicU64; 3],
}

const RING: u64 = size_of::<Ring>() as u64;
const SLOT: u64 = 64;
const _: () = assert!(RING == 48);

/// A slot's word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) kind: u64,
    tag: u64,
    pub(super) value: u64,
}

pub(super) const FREE: u64 = 0;
pub(super) const IN_SLOT: u64 = 1;
pub(super) const PARCEL: u64 = 2;
pub(super) const MOVED: u64 = 3;
const TAG_BITS: u32 = 28;

impl Word {
    pub(super) fn new(kind: u64, position: u64, value: u64) -> Self {
        Self {
            kind,
            tag: Self::tag(position),
            value,
        }
    }

    /// Never 0, which is what a slot has that was never used.
    fn tag(position: u64) -> u64 {
        position % ((1 << TAG_BITS) - 1) + 1
    }

    pub(super) fn parcel(position: u64, place: Offset) -> Self {
        // Payloads begin at multiples of 16.
        Self::new(PARCEL, position, place.0 / 16)
    }

    pub(super) fn pack(self) -> u64 {
        self.kind | self.tag << 2 | self.value << (2 + TAG_BITS)
    }

    pub(super) fn unpack(word: u64) -> Self {
        Self {
            kind: word & 3,
            tag: word >> 2 & ((1 << TAG_BITS) - 1),
            value: word >> (2 + TAG_BITS),
        }
    }

    pub(super) fn is_of(self, position: u64) -> bool {
        self.tag == Self::tag(position)
    }
}

impl Tx<'_> {
    pub(super) fn new_ring(&mut self, slots: u64) -> Result<Offset> {
        let place = self.allocate(RING + slots * SLOT)?;
        let ring = ring_at(self.arena(), place);
        // By the journal: should this be undone, the block is free again, with its links in these words.
        self.set(&ring.slots, slots);
        self.set(&ring.next, 0);
        self.set(&ring.end, 0);
        for slot in slots_of(self.arena(), place) {
            // Free, and of no position.
            self.arena().word(slot).store(0, Ordering::Relaxed);
        }
        Ok(place)
    }
}

pub(super) fn ring_at(arena: &Arena, place: Offset) -> &Ring {
    // SAFETY: six words anywhere in the arena are a valid ring; `at` checks the bounds.
    unsafe { arena.at(place) }
}

/// Where the slot of `position` is.
pub(super) fn slot(arena: &Arena, ring: Offset, position: u64) -> Offset {
    let slots = ring_at(arena, ring).slots.load(Ordering::Relaxed);
    ring.plus(RING + (position & (slots - 1)) * SLOT)
}

/// Where the slots of a ring are.
pub(super) fn slots_of(arena: &Arena, ring: Offset) -> impl Iterator<Item = Offset> + use<> {
    let slots = ring_at(arena, ring).slots.load(Ordering::Relaxed);
    (0..slots).map(move |index| ring.plus(RING + index * SLOT))
}
