//! The allocator of the arena.
//!
//! Two-level segregated fit (Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic memory allocator for real-time systems",
//! 2004): a list of free blocks for each size class, bitmaps to find a class that has one, neighbours merged at once, all in
//! a bounded number of steps, which is what a journal of bounded size wants.
//!
//! A block is a header of 16 bytes and a payload; sizes are multiples of 64 bytes and blocks begin at such multiples, so
//! that an object's body (after 16 bytes of block and 48 of object header) has a cache line of its own.
//!
//! | header word | meaning |
//! |---|---|
//! | `size` | the block's size in bytes with its header; bit 0: free; bit 1: free and its pages were given back |
//! | `before` | the size of the block right before it, 0 for the first |
//!
//! Large blocks keep their pages when they are freed, because touching new ones costs more than copying into old ones; when
//! free blocks keep more than [`RETAIN`] bytes, pages go back to the system.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arena, Offset, Tx};
use crate::error::Error;
use crate::sys;

const UNIT: u64 = 64;
const HEADER: u64 = 16;
const FREE: u64 = 1;
const RELEASED: u64 = 2;
const FLAGS: u64 = FREE | RELEASED;

/// Size classes: each row doubles the size, each column is a sixteenth of its row.
const ROWS: usize = 36;
const COLUMNS: usize = 16;

/// Free blocks below this size keep their pages.
const LARGE: u64 = 1 << 20;
/// How many bytes of pages large free blocks may keep in all.
const RETAIN: u64 = 128 << 20;
/// The pages that the system gives back are at least this large.
const PAGE: u64 = 1 << 16;

#[repr(C)]
pub(super) struct HeapWords {
    start: AtomicU64,
    /// Where the memory that was never allocated begins.
    top: AtomicU64,
    /// The size of the block right before `top`.
    last: AtomicU64,
    end: AtomicU64,
    /// Bytes in blocks that are in use.
    pub(super) used: AtomicU64,
    /// Bytes in large free blocks whose pages were not given back.
    retained: AtomicU64,
    /// Bit r: some column of row r has a free block.
    rows: AtomicU64,
    /// Bit c: column c of this row has a free block.
    columns: [AtomicU64; ROWS],
    bins: [[AtomicU64; COLUMNS]; ROWS],
}

impl HeapWords {
    pub(super) fn init(&self, start: u64, end: u64) {
        self.start.store(start, Ordering::Relaxed);
        self.top.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// How many bytes the heap can hold.
    pub(super) fn capacity(&self) -> u64 {
        self.end.load(Ordering::Relaxed) - self.start.load(Ordering::Relaxed)
    }

    /// Whether `offset` may be the beginning of a payload of at least `length` bytes.
    pub(super) fn may_be_payload(&self, offset: Offset, length: u64) -> bool {
        let first = self.start.load(Ordering::Relaxed) + HEADER;
        let top = self.top.load(Ordering::Relaxed);
        offset.0 % UNIT == HEADER
            && offset.0 >= first
            && offset.0.checked_add(length).is_some_and(|end| end <= top)
    }
}

#[repr(C)]
struct BlockHeader {
    size: AtomicU64,
    before: AtomicU64,
}

/// The class of blocks of `units`: all blocks in a class above it are larger.
fn class(units: u64) -> (usize, usize) {
    if units < COLUMNS as u64 {
        return (0, units as usize);
    }
    let log = units.ilog2();
    ((log - 3) as usize, (units >> (log - 4)) as usize % COLUMNS)
}

/// The lowest class all of whose blocks have at least `units`.
fn class_fitting(units: u64) -> (usize, usize) {
    if units < COLUMNS as u64 {
        return class(units);
    }
    class(units + (1 << (units.ilog2() - 4)) - 1)
}

impl Tx<'_> {
    /// Allocates a block with a payload of `bytes`, whose content is whatever was there.
    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<Offset, Error> {
        let heap = &self.arena.root().heap;
        let size = bytes
            .saturating_add(HEADER)
            .checked_next_multiple_of(UNIT)
            .unwrap_or(u64::MAX);
        let block = match self.find(size) {
            Some(block) => {
                self.remove_free(block);
                block
            }
            None => self.extend(size).ok_or_else(|| Error::OutOfMemory {
                wanted: bytes,
                used: heap.used.load(Ordering::Relaxed),
                capacity: heap.capacity(),
            })?,
        };
        let available = self.size(block);
        if available > size {
            // The remainder is unseen until the block shrinks to its size, and all of it is undone if this process dies.
            let rest = block.plus(size);
            self.set(&self.header(rest).before, size);
            self.set(&self.header(rest).size, available - size);
            self.set(&self.header(block).size, size);
            self.set_before_next(rest, available - size);
            self.insert_free(rest, false);
        } else {
            self.set(&self.header(block).size, size);
        }
        self.add(&heap.used, size as i64);
        Ok(block.plus(HEADER))
    }

    /// Frees the block with this payload. `released` says that its pages were given back.
    pub(crate) fn free(&mut self, payload: Offset, released: bool) {
        let heap = &self.arena.root().heap;
        let mut block = Offset(payload.0 - HEADER);
        let mut size = self.size(block);
        debug_assert_eq!(
            self.header(block).size.load(Ordering::Relaxed) & FREE,
            0,
            "freed twice: {payload:?}"
        );
        self.add(&heap.used, -(size as i64));
        let mut largest = (size, released);
        let next = block.plus(size);
        if next.0 < heap.top.load(Ordering::Relaxed) && self.is_free(next) {
            largest = largest.max((self.size(next), self.is_released(next)));
            size += self.size(next);
            self.remove_free(next);
        }
        let before = self.header(block).before.load(Ordering::Relaxed);
        if before != 0 && self.is_free(Offset(block.0 - before)) {
            block = Offset(block.0 - before);
            largest = largest.max((before, self.is_released(block)));
            size += before;
            self.remove_free(block);
        }
        self.set(&self.header(block).size, size);
        self.set_before_next(block, size);
        self.insert_free(block, largest.1);
    }

    /// A free block of at least `size` bytes.
    fn find(&self, size: u64) -> Option<Offset> {
        let heap = &self.arena.root().heap;
        let (row, column) = class_fitting(size / UNIT);
        let columns = heap.columns.get(row)?.load(Ordering::Relaxed) & (u64::MAX << column);
        let (row, columns) = if columns != 0 {
            (row, columns)
        } else {
            let rows = heap.rows.load(Ordering::Relaxed) & (u64::MAX << (row + 1));
            let row = rows.trailing_zeros() as usize;
            (row, heap.columns.get(row)?.load(Ordering::Relaxed))
        };
        let first = heap.bins[row][columns.trailing_zeros() as usize].load(Ordering::Relaxed);
        Some(Offset(first - HEADER))
    }

    /// A block of exactly `size` bytes, or of a few more, from the memory that was never used and the free block before it.
    fn extend(&mut self, size: u64) -> Option<Offset> {
        let heap = &self.arena.root().heap;
        let top = heap.top.load(Ordering::Relaxed);
        let last = heap.last.load(Ordering::Relaxed);
        let mut block = Offset(top);
        let mut have = 0;
        if last != 0 && self.is_free(Offset(top - last)) {
            block = Offset(top - last);
            have = last;
        }
        let size = size.max(have);
        let end = block
            .0
            .checked_add(size)
            .filter(|end| *end <= heap.end.load(Ordering::Relaxed))?;
        if have != 0 {
            self.remove_free(block);
        } else {
            self.set(&self.header(block).before, last);
        }
        self.set(&self.header(block).size, size);
        self.set(&heap.last, size);
        self.set(&heap.top, end);
        Some(block)
    }

    fn insert_free(&mut self, block: Offset, released: bool) {
        let heap = &self.arena.root().heap;
        let size = self.size(block);
        self.set(
            &self.header(block).size,
            size | FREE | if released { RELEASED } else { 0 },
        );
        if size >= LARGE && !released {
            self.add(&heap.retained, size as i64);
        }
        let (row, column) = class(size / UNIT);
        self.set(&heap.rows, heap.rows.load(Ordering::Relaxed) | 1 << row);
        let columns = &heap.columns[row];
        self.set(columns, columns.load(Ordering::Relaxed) | 1 << column);
        self.link(&heap.bins[row][column], block.plus(HEADER));
    }

    fn remove_free(&mut self, block: Offset) {
        let heap = &self.arena.root().heap;
        let size = self.size(block);
        if size >= LARGE && !self.is_released(block) {
            self.add(&heap.retained, -(size as i64));
        }
        let (row, column) = class(size / UNIT);
        self.unlink(block.plus(HEADER));
        if heap.bins[row][column].load(Ordering::Relaxed) == 0 {
            let columns = &heap.columns[row];
            self.set(columns, columns.load(Ordering::Relaxed) & !(1 << column));
            if columns.load(Ordering::Relaxed) == 0 {
                self.set(&heap.rows, heap.rows.load(Ordering::Relaxed) & !(1 << row));
            }
        }
    }

    /// Tells the block after `block`, or the top, how large `block` is.
    fn set_before_next(&mut self, block: Offset, size: u64) {
        let heap = &self.arena.root().heap;
        let next = block.plus(size);
        if next.0 == heap.top.load(Ordering::Relaxed) {
            self.set(&heap.last, size);
        } else {
            self.set(&self.header(next).before, size);
        }
    }

    fn header<'h>(&self, block: Offset) -> &'h BlockHeader
    where
        Self: 'h,
    {
        self.arena.block_header(block)
    }

    fn size(&self, block: Offset) -> u64 {
        self.header(block).size.load(Ordering::Relaxed) & !FLAGS
    }

    fn is_free(&self, block: Offset) -> bool {
        self.header(block).size.load(Ordering::Relaxed) & FREE != 0
    }

    fn is_released(&self, block: Offset) -> bool {
        self.header(block).size.load(Ordering::Relaxed) & RELEASED != 0
    }
}

impl Arena {
    fn block_header(&self, block: Offset) -> &BlockHeader {
        // SAFETY: two words anywhere in the arena are a valid header; `at` checks the bounds (A1, A2).
        unsafe { self.at(block) }
    }

    /// Gives the pages of a large block back if the heap retains many already. Returns whether it did.
    ///
    /// To be called before a transaction frees the block: it takes long, and under the lock everybody would wait.
    ///
    /// # Safety
    ///
    /// The block of this payload belongs to the caller, who frees it next.
    pub(super) unsafe fn release(&self, payload: Offset) -> bool {
        let block = Offset(payload.0 - HEADER);
        let size = self.block_header(block).size.load(Ordering::Relaxed) & !FLAGS;
        if size < LARGE || self.root().heap.retained.load(Ordering::Relaxed) + size <= RETAIN {
            return false;
        }
        // The first page keeps the header and the links of free blocks, in it.
        let first = payload.0.next_multiple_of(PAGE);
        let end = (block.0 + size) / PAGE * PAGE;
        // SAFETY: whole pages inside of the caller's block, behind its header (A3).
        unsafe {
            sys::release_pages(
                self.pointer(Offset(first), end - first),
                (end - first) as usize,
            )
        };
        true
    }
}
