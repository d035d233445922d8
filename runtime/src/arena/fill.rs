//! Fills large new blocks.
//!
//! The first touch of a page costs the system many times what copying into it costs: a fault, and a page that is zeroed
//! first. *Holes*, which have no pages yet, are therefore not written through the mapping. They read as zero without being
//! touched, and the system copies into new pages in one call, in little more than half the time of as many faults.
//! Populating pages ahead of the copy (`fallocate`, `MADV_POPULATE_WRITE`) was measured and gained a tenth, and populating
//! them for a reader (`MADV_POPULATE_READ`) nothing, so nobody does.

use super::Arena;
use super::trim::PAGE;
use crate::sys::{self, AsFd};

/// How much is looked at and written at once: whole pages, and less than a core's cache holds.
pub(crate) const CHUNK: usize = 4 * PAGE as usize;

impl Arena {
    /// Copies `bytes` to `place`.
    ///
    /// # Safety
    ///
    /// As many bytes from `place` lie in a block of this process that nobody else uses, and `bytes` do not overlap them.
    pub(crate) unsafe fn fill(&self, place: *mut u8, bytes: &[u8]) {
        for (start, chunk) in (0..).step_by(CHUNK).zip(bytes.chunks(CHUNK)) {
            let place = place.wrapping_add(start);
            // To look for a hole is a system call, which what is smaller is not worth.
            let is_written = bytes.len() >= CHUNK
                && self.is_hole(place, chunk.len())
                && sys::write_memory(self.fd.as_fd(), self.offset_at(place), chunk).is_ok();
            if !is_written {
                // SAFETY: the caller's promise.
                unsafe { place.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len()) };
            }
        }
    }

    /// Makes `length` bytes from `place` zero.
    ///
    /// # Safety
    ///
    /// So many bytes from `place` lie in a block of this process that nobody else uses.
    pub(crate) unsafe fn zero(&self, place: *mut u8, length: usize) {
        let head = self.to_page(place).min(length);
        // SAFETY: the caller's promise.
        unsafe { place.write_bytes(0, head) };
        for start in (head..length).step_by(CHUNK) {
            let (place, length) = (place.wrapping_add(start), CHUNK.min(length - start));
            if !self.is_hole(place, length) {
                // SAFETY: the caller's promise.
                unsafe { place.write_bytes(0, length) };
            }
        }
    }

    /// Whether a range is more than a page, and nothing has a page from the first one on that begins in it.
    ///
    /// What is before that has one often: it is the end of what was written last. Behind the range's end begin other
    /// blocks, whose users may touch its last page meanwhile: our part of it is zero all the same.
    fn is_hole(&self, place: *mut u8, length: usize) -> bool {
        let (offset, head) = (self.offset_at(place), self.to_page(place));
        // Where the system does not tell, there are pages.
        length > head
            && sys::next_data(self.fd.as_fd(), offset + head as u64)
                .is_ok_and(|data| data - offset >= length as u64)
    }

    /// How far it is to where a page may begin.
    fn to_page(&self, place: *mut u8) -> usize {
        let offset = self.offset_at(place);
        (offset.next_multiple_of(PAGE) - offset) as usize
    }

    fn offset_at(&self, place: *mut u8) -> u64 {
        (place.addr() - self.base.addr().get()) as u64
    }
}
