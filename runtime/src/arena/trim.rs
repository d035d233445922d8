//! Gives memory back to the system.
//!
//! Free blocks keep their pages: to touch new ones costs more than to copy into old ones. When large free blocks keep more
//! than [`RETAIN`] dirty bytes, the dirtiest is taken, its pages are given back, and it is freed again, clean. That takes
//! long, so it happens between transactions; meanwhile the block is a parcel of this process, which somebody frees whatever
//! happens.

use std::sync::atomic::Ordering;

use super::parcel::HEADER;
use super::{Arena, Offset, Parcel};
use crate::sys;

/// How many dirty bytes large free blocks may keep in all.
const RETAIN: u64 = 128 << 20;
/// At least as large as the system's pages.
pub(super) const PAGE: u64 = 1 << 16;

impl Arena {
    /// Gives pages back to the system while free blocks keep too many.
    pub(super) fn trim(&'static self) {
        while self.root().heap.retained.load(Ordering::Relaxed) > RETAIN {
            let mut tx = self.begin();
            let Some(payload) = tx.allocate_dirtiest() else {
                return;
            };
            let parcel = Parcel::adopt(self, &mut tx, payload);
            tx.commit();
            self.release_pages(payload);
            parcel.free_clean();
        }
    }

    fn release_pages(&self, payload: Offset) {
        let first = (payload.0 + HEADER).next_multiple_of(PAGE);
        let end = (payload.0 + self.payload_length(payload)) / PAGE * PAGE;
        if first < end {
            // SAFETY: whole pages inside of a parcel of this process, behind its header; nobody looks at its bytes (A5).
            unsafe {
                sys::release_pages(
                    self.pointer(Offset(first), end - first),
                    (end - first) as usize,
                )
            };
        }
    }
}

impl Parcel {
    /// Frees an empty parcel whose pages were given back.
    fn free_clean(self) {
        let arena = self.arena();
        let place = self.into_place();
        let mut tx = arena.begin();
        tx.detach_parcel(place);
        tx.free(place, true);
        tx.commit();
    }
}
