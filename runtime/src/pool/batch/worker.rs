//! What workers do with a batch.

use std::sync::atomic::Ordering;

use super::super::words::Claim;
use super::{Content, NEAR, PARCEL, TINY, View, tiny};
use crate::arena::{Draft, Outgoing};
use crate::error::Result;
use crate::wire::Small;

impl View {
    /// Claims items: see [`Cursor::claim`].
    #[inline]
    pub(in crate::pool) fn claim(
        &self,
        share: impl Fn(u64) -> u64,
        propose: impl Fn(std::ops::Range<u32>),
    ) -> Claim {
        let header = self.header();
        header
            .cursor
            .claim(&header.filled, &header.next, share, propose)
    }

    /// Whether there are items that nobody has claimed, or another batch follows.
    #[inline]
    pub(in crate::pool) fn has_more(&self) -> bool {
        let header = self.header();
        header.cursor.has_more(&header.filled, &header.next)
    }

    /// The arguments of an item.
    #[inline]
    pub(in crate::pool) fn arguments(&self, index: u32) -> Content<'static> {
        let word = &self.arguments[index as usize];
        let value = u64::from_le(word.load(Ordering::Acquire));
        self.content(word, value, || self.area_place.plus(value >> 32))
    }

    /// Leaves what came of an item; `false` if there is no room.
    #[inline]
    pub(in crate::pool) fn put_small(&self, index: u32, small: &Small) -> bool {
        if small.bytes().len() <= TINY {
            self.results[index as usize].store(tiny(small).to_le(), Ordering::Relaxed);
            return true;
        }
        self.put_into_room(index, small.bytes())
    }

    fn put_into_room(&self, index: u32, bytes: &[u8]) -> bool {
        if bytes.len() as u64 > self.room {
            return false;
        }
        let place = self.rooms.plus(self.room * u64::from(index));
        let place = self.arena.pointer(place, self.room);
        // SAFETY: the item's room, which belongs to who runs the item (P2), is large enough, as just seen.
        unsafe {
            place
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        let word = (bytes.len() as u64) << 8 | NEAR;
        self.results[index as usize].store(word.to_le(), Ordering::Relaxed);
        true
    }

    /// Leaves what came of an item.
    ///
    /// # Errors
    ///
    /// When the arena has no room for it, or the system keeps no more descriptors of messages.
    pub(in crate::pool) fn put_result(
        &self,
        index: u32,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        if outgoing.is_empty() && self.put_into_room(index, draft.bytes()) {
            return Ok(());
        }
        let length = draft.bytes().len() as u64;
        let parcel = draft.finish(self.arena, outgoing)?.into_place();
        self.header().largest.fetch_max(length, Ordering::Relaxed);
        let mut tx = self.arena.begin();
        tx.detach_parcel(parcel);
        tx.set(
            &self.results[index as usize],
            (parcel.0 << 8 | PARCEL).to_le(),
        );
        tx.add(&self.header().parcels, 1);
        tx.commit();
        Ok(())
    }

    /// What came of an item that is done; `None` when there was no room for it.
    #[inline]
    pub(in crate::pool) fn get_result(&self, index: u32) -> Option<Content<'static>> {
        let word = &self.results[index as usize];
        let value = u64::from_le(word.load(Ordering::Acquire));
        let room = || self.rooms.plus(self.room * u64::from(index));
        (value != 0).then(|| self.content(word, value, room))
    }
}
