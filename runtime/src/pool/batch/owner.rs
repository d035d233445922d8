//! What the owner of a pool does with a batch.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::words;
use super::{Content, LARGE, NEAR, PARCEL, TINY, View, tiny};
use crate::arena::{Draft, Offset, Outgoing, Tx};
use crate::error::Result;
use crate::wire::Small;

impl View {
    /// Adds an item, for which there must be a place. `used` is how many bytes of the area are used; returns how many are
    /// then.
    ///
    /// # Errors
    ///
    /// When the arena has no room for a parcel, or the system keeps no more descriptors of messages.
    #[inline]
    pub(in crate::pool) fn add(
        &self,
        used: u64,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
        function: u64,
    ) -> Result<u64> {
        let header = self.header();
        let filled = header.filled.load(Ordering::Relaxed);
        let index = filled as usize;
        if let Some(place) = self.functions.get(index) {
            place.store(function, Ordering::Relaxed);
        }
        self.results[index].store(0, Ordering::Relaxed);
        let bytes = draft.bytes();
        let end = used + bytes.len() as u64;
        if !outgoing.is_empty() || bytes.len() >= LARGE || end > self.area {
            return self.add_parcel(used, draft, outgoing);
        }
        let word = self.put_arguments(used, bytes);
        self.arguments[index].store(word.to_le(), Ordering::Relaxed);
        self.items[index].offer();
        header.filled.store(filled + 1, Ordering::Release);
        Ok(end)
    }

    /// [`add`](Self::add), for small arguments; `None` if there is no room.
    #[inline]
    pub(in crate::pool) fn add_small(
        &self,
        used: u64,
        small: &Small,
        function: u64,
    ) -> Option<u64> {
        let header = self.header();
        let filled = header.filled.load(Ordering::Relaxed);
        let index = filled as usize;
        let bytes = small.bytes();
        let (word, used) = if bytes.len() <= TINY {
            (tiny(small), used)
        } else if used + bytes.len() as u64 <= self.area {
            (self.put_arguments(used, bytes), used + bytes.len() as u64)
        } else {
            return None;
        };
        if let Some(place) = self.functions.get(index) {
            place.store(function, Ordering::Relaxed);
        }
        self.results[index].store(0, Ordering::Relaxed);
        self.arguments[index].store(word.to_le(), Ordering::Relaxed);
        self.items[index].offer();
        header.filled.store(filled + 1, Ordering::Release);
        Some(used)
    }

    /// Puts arguments into the area, which must have room for them; returns the word that says so.
    #[inline]
    fn put_arguments(&self, used: u64, bytes: &[u8]) -> u64 {
        let length = bytes.len() as u64;
        let place = self.arena.pointer(self.area_place.plus(used), length);
        debug_assert!(used + length <= self.area);
        // SAFETY: behind the arguments that there are, where the owner alone writes, and inside of the area, as the caller has
        // seen.
        unsafe {
            place
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        used << 32 | length << 8 | NEAR
    }

    #[cold]
    fn add_parcel(&self, used: u64, draft: &mut Draft, outgoing: &mut Outgoing) -> Result<u64> {
        let header = self.header();
        let filled = header.filled.load(Ordering::Relaxed);
        let parcel = draft.finish(self.arena, outgoing)?.into_place();
        let mut tx = self.arena.begin();
        tx.detach_parcel(parcel);
        tx.set(
            &self.arguments[filled as usize],
            (parcel.0 << 8 | PARCEL).to_le(),
        );
        tx.add(&header.parcels, 1);
        tx.set(&header.filled, filled + 1);
        tx.commit();
        // Not before: who dies inside of the transaction takes back what others see of it already. Whoever has claimed the item
        // since has found nothing to begin.
        self.items[filled as usize].offer();
        header.cursor.reopen(filled as u32);
        Ok(used)
    }

    /// Adds an item that is not to be run.
    pub(in crate::pool) fn add_refused(&self) -> u32 {
        let header = self.header();
        let filled = header.filled.load(Ordering::Relaxed);
        self.arguments[filled as usize].store(0, Ordering::Relaxed);
        self.results[filled as usize].store(0, Ordering::Relaxed);
        self.items[filled as usize].refuse();
        header.filled.store(filled + 1, Ordering::Release);
        filled as u32
    }

    /// How many bytes the largest result has that did not fit into its place.
    pub(in crate::pool) fn largest(&self) -> u64 {
        self.header().largest.load(Ordering::Relaxed)
    }

    /// How many bytes an item's result has that did not fit into its place.
    pub(in crate::pool) fn overflow(&self, index: u32) -> Option<usize> {
        if self.header().parcels.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.get_result(index) {
            Some(Content::Parcel(parcel)) => Some(parcel.bytes().len()),
            _ => None,
        }
    }

    /// Lets workers claim the items from `first` on again. `false` when the line has gone on.
    pub(in crate::pool) fn reopen(&self, first: u32) -> bool {
        self.header().cursor.reopen(first)
    }

    /// Makes a batch that the line has left as one that was never in it, with the items from `first` on to be claimed.
    pub(in crate::pool) fn renew(&self, first: u32) {
        let header = self.header();
        header.next.store(0, Ordering::Relaxed);
        header.cursor.renew(first);
    }

    /// What names the batch in the line.
    pub(in crate::pool) fn link(&self) -> u64 {
        words::link(self.place.0, self.header().cursor.life())
    }

    /// Gives back what a task that is done has besides its place in the batch.
    pub(in crate::pool) fn clean(&self, index: u32) {
        if self.header().parcels.load(Ordering::Relaxed) > 0 {
            self.free_parcel(&self.arguments[index as usize]);
            self.free_parcel(&self.results[index as usize]);
        }
    }

    /// Takes away what was left as the result of an item that is not done.
    pub(in crate::pool) fn clean_result(&self, index: u32) {
        let result = &self.results[index as usize];
        self.free_parcel(result);
        result.store(0, Ordering::Relaxed);
    }

    /// Whether the item's arguments have gone with the first attempt: descriptors are taken once.
    pub(in crate::pool) fn can_be_repeated(&self, index: u32) -> bool {
        match self.arguments(index) {
            Content::Bytes(_) => true,
            Content::Parcel(parcel) => !parcel.has_descriptors(),
        }
    }

    fn free_parcel(&self, word: &AtomicU64) {
        let value = u64::from_le(word.load(Ordering::Acquire));
        if value & 0xff != PARCEL {
            return;
        }
        let forget = |tx: &mut Tx<'_>| {
            tx.set(word, 0);
            tx.add(&self.header().parcels, -1);
        };
        // SAFETY: the batch owns the parcel by the word, which is cleared with it, and only the owner frees those of
        // items that nobody runs.
        unsafe {
            self.arena
                .free_parcel_and(Offset(value >> 8), false, forget);
        }
        self.arena.settle();
    }

    /// Frees the batch.
    ///
    /// # Safety
    ///
    /// Nobody visits it, and nobody uses it afterwards.
    pub(in crate::pool) unsafe fn free(self) {
        for index in 0..self.filled() {
            if self.header().parcels.load(Ordering::Relaxed) == 0 {
                break;
            }
            self.clean(index);
        }
        let mut tx = self.arena.begin();
        tx.unlink(self.place);
        tx.free(self.place, false);
        tx.commit();
        self.arena.settle();
    }
}
