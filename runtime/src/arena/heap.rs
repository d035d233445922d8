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
//! | `size` | the block's size in bytes with its header; bit 0: free |
//! | `before` | the size of the block right before it, 0 for the first |
//!
//! A free block also has the links of its list and a count of *dirty* bytes: those that may have pages of memory. What
//! becomes of them is the matter of [`trim`](super::trim).

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arena, Links, Offset, Tx};
use crate::error::Error;

const UNIT: u64 = 64;
const HEADER: u64 = 16;
const FREE: u64 = 1;

/// Size classes: each row doubles the size, each column is a sixteenth of its row.
const ROWS: usize = 36;
const COLUMNS: usize = 16;

/// Dirty bytes are counted in free blocks of this size and above.
pub(super) const LARGE: u64 = 1 << 20;

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
    /// Dirty bytes in large free blocks.
    pub(super) retained: AtomicU64,
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

/// The beginning of a free block's payload.
#[repr(C)]
struct FreeBlock {
    links: Links,
    dirty: AtomicU64,
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
            Some(block) => Some((block, self.remove_free(block))),
            None => self.extend(size),
        };
        let (block, dirty) = block.ok_or_else(|| Error::OutOfMemory {
            wanted: bytes,
            used: heap.used.load(Ordering::Relaxed),
            capacity: heap.capacity(),
        })?;
        let available = self.size(block);
        if available > size {
            // The remainder is unseen until the block shrinks to its size, and all of it is undone if this process dies.
            let rest = block.plus(size);
            self.set(&self.header(rest).before, size);
            self.set(&self.header(rest).size, available - size);
            self.set(&self.header(block).size, size);
            self.set_before_next(rest, available - size);
            // Where in the block its dirty bytes are is not known: as many as can be may be here.
            self.insert_free(rest, dirty.min(available - size));
        } else {
            self.set(&self.header(block).size, size);
        }
        self.add(&heap.used, size as i64);
        Ok(block.plus(HEADER))
    }

    /// Frees the block with this payload. `clean` says that its pages were given back.
    pub(crate) fn free(&mut self, payload: Offset, clean: bool) {
        let heap = &self.arena.root().heap;
        let mut block = Offset(payload.0 - HEADER);
        let mut size = self.size(block);
        debug_assert!(!self.is_free(block), "freed twice: {payload:?}");
        self.add(&heap.used, -(size as i64));
        let mut dirty = if clean { 0 } else { size };
        let next = block.plus(size);
        if next.0 < heap.top.load(Ordering::Relaxed) && self.is_free(next) {
            size += self.size(next);
            dirty += self.remove_free(next);
        }
        let before = self.header(block).before.load(Ordering::Relaxed);
        if before != 0 && self.is_free(Offset(block.0 - before)) {
            block = Offset(block.0 - before);
            size += before;
            dirty += self.remove_free(block);
        }
        self.set(&self.header(block).size, size);
        self.set_before_next(block, size);
        self.insert_free(block, dirty);
    }

    /// Takes the large free block with the most dirty bytes into use; the payload is its user's.
    pub(super) fn allocate_dirtiest(&mut self) -> Option<Offset> {
        let heap = &self.arena.root().heap;
        let bins = heap.bins[class(LARGE / UNIT).0..].as_flattened();
        let free = bins.iter().flat_map(|bin| self.nodes(bin));
        let payload =
            free.max_by_key(|payload| self.free_block(*payload).dirty.load(Ordering::Relaxed))?;
        let block = Offset(payload.0 - HEADER);
        if self.remove_free(block) == 0 {
            return None;
        }
        let size = self.size(block);
        self.set(&self.header(block).size, size);
        self.add(&heap.used, size as i64);
        Some(payload)
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

    /// A block of exactly `size` bytes, or of a few more, from the memory that was never used and the free block before it,
    /// with its dirty bytes.
    fn extend(&mut self, size: u64) -> Option<(Offset, u64)> {
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
        let mut dirty = 0;
        if have != 0 {
            dirty = self.remove_free(block);
        } else {
            self.set(&self.header(block).before, last);
        }
        self.set(&self.header(block).size, size);
        self.set(&heap.last, size);
        self.set(&heap.top, end);
        Some((block, dirty))
    }

    fn insert_free(&mut self, block: Offset, dirty: u64) {
        let heap = &self.arena.root().heap;
        let size = self.size(block);
        self.set(&self.header(block).size, size | FREE);
        self.set(&self.free_block(block.plus(HEADER)).dirty, dirty);
        if size >= LARGE {
            self.add(&heap.retained, dirty as i64);
        }
        let (row, column) = class(size / UNIT);
        self.set(&heap.rows, heap.rows.load(Ordering::Relaxed) | 1 << row);
        let columns = &heap.columns[row];
        self.set(columns, columns.load(Ordering::Relaxed) | 1 << column);
        self.link(&heap.bins[row][column], block.plus(HEADER));
    }

    /// Takes a block out of its list, and returns its dirty bytes.
    fn remove_free(&mut self, block: Offset) -> u64 {
        let heap = &self.arena.root().heap;
        let size = self.size(block);
        let dirty = self
            .free_block(block.plus(HEADER))
            .dirty
            .load(Ordering::Relaxed);
        if size >= LARGE {
            self.add(&heap.retained, -(dirty as i64));
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
        dirty
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
        self.header(block).size.load(Ordering::Relaxed) & !FREE
    }

    fn is_free(&self, block: Offset) -> bool {
        self.header(block).size.load(Ordering::Relaxed) & FREE != 0
    }

    fn free_block<'h>(&self, payload: Offset) -> &'h FreeBlock
    where
        Self: 'h,
    {
        self.arena.free_block(payload)
    }
}

impl Arena {
    fn block_header(&self, block: Offset) -> &BlockHeader {
        // SAFETY: two words anywhere in the arena are a valid header; `at` checks the bounds (A1, A2).
        unsafe { self.at(block) }
    }

    fn free_block(&self, payload: Offset) -> &FreeBlock {
        // SAFETY: three words anywhere in the arena are a valid free block; `at` checks the bounds (A1, A2).
        unsafe { self.at(payload) }
    }

    /// How many bytes the payload of a block has that is in use.
    pub(super) fn payload_length(&self, payload: Offset) -> u64 {
        (self
            .block_header(Offset(payload.0 - HEADER))
            .size
            .load(Ordering::Relaxed)
            & !FREE)
            - HEADER
    }
}
