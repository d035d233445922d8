//! A ring of slots between two processes.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{Area, Patience, Plain, RobustMutex};
use crate::Result;

/// Who may use the ends of a [`Ring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// One thread each: no lock.
    Bare,
    /// Any number: a robust mutex at each end.
    Locked,
}

/// Messages of one length in a ring. Each end remembers what it last saw of the other, and looks again when that does not
/// suffice. A waiter pauses and yields, and never sleeps.
pub struct Ring {
    area: Area,
    ends: Ends,
    /// A power of two.
    slots: u64,
    /// From slot to slot, in bytes.
    stride: usize,
}

#[repr(C)]
struct Header {
    /// How many were taken: changed by receivers only.
    head: End,
    /// How many were put: changed by senders only.
    tail: End,
}

#[repr(C)]
struct End {
    at: Line<AtomicU64>,
    own: Line<Own>,
}

/// What only this end uses.
#[repr(C)]
struct Own {
    mutex: RobustMutex,
    /// Where the other end was when this one last looked.
    seen: AtomicU64,
}

#[repr(C, align(128))]
struct Line<T>(T);

// SAFETY: atomics and mutexes; zeroes are an empty ring.
unsafe impl Plain for Header {}

impl Ring {
    /// Makes a ring of `slots` messages of `length` bytes.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    ///
    /// # Panics
    ///
    /// When `slots` is not a power of two.
    pub fn new(ends: Ends, slots: u64, length: usize) -> Result<Self> {
        assert!(slots.is_power_of_two(), "{slots} is not a power of two");
        let stride = length.next_multiple_of(64);
        let area = Area::new(size_of::<Header>() + slots as usize * stride)?;
        let ring = Self {
            area,
            ends,
            slots,
            stride,
        };
        let header = ring.header();
        for end in [&header.head, &header.tail] {
            // SAFETY: the ring is new, and nobody else knows it.
            unsafe { end.own.0.mutex.init() }?;
        }
        Ok(ring)
    }

    /// Maps a ring of another process, made with the same numbers.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn open(path: &str, ends: Ends, slots: u64, length: usize) -> Result<Self> {
        Ok(Self {
            area: Area::open(path)?,
            ends,
            slots,
            stride: length.next_multiple_of(64),
        })
    }

    /// Where another process finds it.
    pub fn path(&self) -> &str {
        self.area.path()
    }

    /// Copies a message into the ring, and waits while that is full.
    #[inline]
    pub fn send(&self, message: &[u8]) {
        debug_assert!(message.len() <= self.stride);
        let Header { head, tail } = self.header();
        // SAFETY: the slot is free, so it is the sender's, and the message fits into it.
        self.advance(tail, head, self.slots, |slot| unsafe {
            slot.copy_from_nonoverlapping(message.as_ptr(), message.len());
        });
    }

    /// Copies a message out of the ring, and waits while that is empty.
    #[inline]
    pub fn receive(&self, message: &mut [u8]) {
        debug_assert!(message.len() <= self.stride);
        let Header { head, tail } = self.header();
        // SAFETY: the slot is full, so it is the receiver's, and the message is as long as was sent.
        self.advance(head, tail, 0, |slot| unsafe {
            slot.copy_to_nonoverlapping(message.as_mut_ptr(), message.len());
        });
    }

    /// Uses one slot at an end, which may be `lead` slots before the other end but not more.
    #[inline(always)]
    fn advance(&self, end: &End, other: &End, lead: u64, mut work: impl FnMut(*mut u8)) {
        let mut patience = Patience::default();
        let mut once = || {
            let (at, seen) = (&end.at.0, &end.own.0.seen);
            let place = at.load(Relaxed);
            if place == seen.load(Relaxed) + lead {
                seen.store(other.at.0.load(Acquire), Relaxed);
                if place == seen.load(Relaxed) + lead {
                    return false;
                }
            }
            let offset = size_of::<Header>() + (place & (self.slots - 1)) as usize * self.stride;
            // SAFETY: it lies within the area, which has so many slots.
            work(unsafe { self.area.start().add(offset) });
            at.store(place + 1, Release);
            true
        };
        loop {
            let is_done = match self.ends {
                Ends::Bare => once(),
                Ends::Locked => end.own.0.mutex.with(&mut once),
            };
            if is_done {
                return;
            }
            patience.wait();
        }
    }

    fn header(&self) -> &Header {
        self.area.first()
    }
}
