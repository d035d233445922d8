//! Fills large new blocks.
//!
//! The first touch of a page costs the system many times what copying into it costs: a fault, and a page that is zeroed
//! first. Parts of a block that have no pages yet, its *holes*, are therefore not written through the mapping. They read as
//! zero without being touched, and the system copies into new pages in one call, in half the time of as many faults.
//! Populating them ahead (`fallocate`, `MADV_POPULATE_WRITE`) was measured and gained a tenth, so nobody does.

use std::ops::Range;

use super::Arena;
use super::heap::LARGE;
use crate::sys::{self, AsFd};

impl Arena {
    /// Copies `bytes` to `place`.
    ///
    /// # Safety
    ///
    /// As many bytes from `place` lie in a block of this process that nobody else uses, and `bytes` do not overlap them.
    pub(crate) unsafe fn fill(&self, place: *mut u8, bytes: &[u8]) {
        for part in self.parts(place, bytes.len()) {
            let from = &bytes[part.range.clone()];
            let written =
                part.is_hole && sys::write_memory(self.fd.as_fd(), part.offset, from).is_ok();
            if !written {
                // SAFETY: the caller's promise.
                unsafe {
                    place
                        .add(part.range.start)
                        .copy_from_nonoverlapping(from.as_ptr(), from.len());
                }
            }
        }
    }

    /// Makes `length` bytes from `place` zero.
    ///
    /// # Safety
    ///
    /// So many bytes from `place` lie in a block of this process that nobody else uses.
    pub(crate) unsafe fn zero(&self, place: *mut u8, length: usize) {
        for part in self.parts(place, length) {
            if !part.is_hole {
                // SAFETY: the caller's promise.
                unsafe {
                    place.add(part.range.start).write_bytes(0, part.range.len());
                }
            }
        }
    }

    /// What `length` bytes from `place` consist of.
    ///
    /// The pages at both ends may have other blocks' bytes, too, whose users may touch them meanwhile. That is no harm: what
    /// was a hole is still zero where it is ours.
    fn parts(&self, place: *mut u8, length: usize) -> impl Iterator<Item = Part> {
        let start = place.addr() as u64 - self.base.addr().get() as u64;
        let end = start + length as u64;
        let is_large = length as u64 >= LARGE;
        let mut next = start;
        std::iter::from_fn(move || {
            let offset = next;
            if offset == end {
                return None;
            }
            // Small ones, and all where the system does not tell, are written as usual.
            let (until, is_hole) = is_large
                .then(|| sys::extent_at(self.fd.as_fd(), offset).ok())
                .flatten()
                .unwrap_or((end, false));
            next = until.min(end);
            Some(Part {
                offset,
                range: (offset - start) as usize..(next - start) as usize,
                is_hole,
            })
        })
    }
}

/// A part of a block: where it is in the arena, where in the block, and whether it has no pages.
struct Part {
    offset: u64,
    range: Range<usize>,
    is_hole: bool,
}
