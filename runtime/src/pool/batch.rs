//! Batches: tasks in the arena.
//!
//! ```text
//!  ├ header ┼ words of items ┼ entries ┼ places of results ┼ arguments ─ ─ ─ ─ ┤
//! ```
//!
//! An item is a task: its [word](super::item), an entry that says where its arguments are and what runs it, and a place for
//! what comes of it. What is small lies in the batch, what is large or names objects in a parcel that the batch owns.
//!
//! | header word | meaning | changed by | who dies here |
//! |---|---|---|---|
//! | `filled` | how many items there are; those below it are whole | the pool's owner | the owner: the item is not there |
//! | `cursor` | how many items workers have claimed; [`SEALED`] when the line has gone on | workers, the owner | a worker: what it claimed and did not begin is still `Ready`, and the owner puts the cursor back |
//! | `next` | the batch behind this one in the line; with it, the batch is full | the owner | – |
//! | `parcels` | how many parcels the batch owns | transactions | undone with the transaction |
//! | `failed` | how many items have failed | whoever fails one, before it tells | one too few: who waits looks at the items, too |
//!
//! A claim is a hint: it keeps workers out of each other's way. Who runs an item is decided by its word.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use super::item::Item;
use crate::arena::{Arena, Draft, Links, Offset, Outgoing, Parcel, Tx};
use crate::error::Result;
use crate::kill_point::kill_point;
use crate::sys::OwnedFd;

/// What precedes the items. With the block's header, items begin at a multiple of 64.
#[repr(C)]
pub(super) struct Header {
    /// In the pool's list of batches. First, for the list's sake.
    links: Links,
    pub(super) next: AtomicU64,
    pub(super) filled: AtomicU64,
    pub(super) parcels: AtomicU64,
    pub(super) failed: AtomicU64,
    // On a cache line of its own, with what never changes.
    cursor: AtomicU64,
    capacity: AtomicU64,
    /// How many bytes of a result lie in its place.
    room: AtomicU64,
    /// How many bytes there are for arguments.
    area: AtomicU64,
    /// For how long a task may run, in nanoseconds; 0: for ever.
    timeout: AtomicU64,
    /// How many items a worker takes at once; 0: as it finds fit.
    chunk: AtomicU64,
    /// The position of the first item in its job.
    first: AtomicU64,
    _spare: AtomicU64,
}

const HEADER: u64 = size_of::<Header>() as u64;
const _: () = assert!(HEADER == 112);

/// What an item is to be run with, and by.
#[repr(C)]
pub(super) struct Entry {
    arguments: AtomicU64,
    /// The hash of the function's name.
    pub(super) function: AtomicU64,
}

/// In `cursor`: all items are claimed, and the line has gone on to the next batch.
const SEALED: u64 = 1 << 63;

/// In the words of arguments and results: what follows is a parcel's place.
const PARCEL: u64 = 1 << 63;
/// In the word of a result: what follows is the length of what lies behind the word.
const INLINE: u64 = 1 << 62;

/// Arguments of this many bytes and more are parcels.
pub(super) const LARGE: usize = 4 << 10;

/// What a batch is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) capacity: u32,
    pub(super) room: u32,
    pub(super) area: u32,
}

/// How the tasks of a batch are to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Terms {
    /// In nanoseconds; 0: for ever.
    pub(super) timeout: u64,
    /// 0: as workers find fit.
    pub(super) chunk: u64,
}

/// What came of a worker's look at a batch.
pub(super) enum Claim {
    /// These items are the worker's to begin, those that nobody else begins first.
    Items(std::ops::Range<u32>),
    /// All items are claimed, and more may follow.
    Nothing,
    /// All items are claimed, and the line goes on behind this batch.
    Sealed,
}

/// The content of arguments or results.
pub(super) enum Content<'a> {
    Bytes(&'a [u8]),
    /// The batch's own: to be read, not dropped.
    Parcel(ManuallyDrop<Parcel>),
}

impl Content<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Content::Bytes(bytes) => bytes,
            Content::Parcel(parcel) => parcel.bytes(),
        }
    }

    /// Takes the descriptors of the message. They can be taken once.
    pub(super) fn take_fds(&self) -> Result<Vec<OwnedFd>> {
        match self {
            Content::Bytes(_) => Ok(Vec::new()),
            Content::Parcel(parcel) => parcel.take_fds(),
        }
    }
}

/// A batch, as this process sees it. Whoever has one keeps the batch from being freed: the owner by what it knows of
/// it, a worker by [visiting](super::body) it.
#[derive(Clone, Copy)]
pub(super) struct View {
    arena: &'static Arena,
    pub(super) place: Offset,
    pub(super) capacity: u32,
    room: u64,
    pub(super) area: u64,
    entries: Offset,
    results: Offset,
    arguments: Offset,
}

impl View {
    /// Makes a batch that belongs to the list that begins at `list`.
    ///
    /// # Errors
    ///
    /// When the arena has no room.
    pub(super) fn make(
        arena: &'static Arena,
        list: &AtomicU64,
        shape: Shape,
        terms: Terms,
        first: u64,
    ) -> Result<Self> {
        let Shape {
            capacity,
            room,
            area,
        } = shape;
        let capacity = u64::from(capacity).next_multiple_of(2);
        let room = u64::from(room).next_multiple_of(8);
        let bytes = HEADER + capacity * (4 + ENTRY + 8 + room) + u64::from(area);
        let mut tx = arena.begin();
        let place = tx.allocate(bytes)?;
        let header = header(arena, place);
        tx.set(&header.filled, 0);
        tx.set(&header.parcels, 0);
        tx.set(&header.capacity, capacity);
        tx.set(&header.room, room);
        tx.link(list, place);
        tx.commit();
        header.next.store(0, Ordering::Relaxed);
        header.failed.store(0, Ordering::Relaxed);
        header.cursor.store(0, Ordering::Relaxed);
        header.area.store(area.into(), Ordering::Relaxed);
        header.timeout.store(terms.timeout, Ordering::Relaxed);
        header.chunk.store(terms.chunk, Ordering::Relaxed);
        header.first.store(first, Ordering::Relaxed);
        let view = Self::at(arena, place);
        for index in 0..view.capacity {
            view.item(index).clear();
        }
        Ok(view)
    }

    /// The batch at `place`.
    pub(super) fn at(arena: &'static Arena, place: Offset) -> Self {
        let header = header(arena, place);
        let capacity = header.capacity.load(Ordering::Relaxed);
        let room = header.room.load(Ordering::Relaxed);
        let entries = place.plus(HEADER + 4 * capacity);
        let results = entries.plus(ENTRY * capacity);
        Self {
            arena,
            place,
            capacity: capacity as u32,
            room,
            area: header.area.load(Ordering::Relaxed),
            entries,
            results,
            arguments: results.plus((8 + room) * capacity),
        }
    }

    #[inline]
    pub(super) fn header(&self) -> &'static Header {
        header(self.arena, self.place)
    }

    #[inline]
    pub(super) fn item(&self, index: u32) -> &'static Item {
        debug_assert!(index < self.capacity);
        // SAFETY: an item is one atomic word, and so are the first words behind the header.
        unsafe {
            self.arena
                .at(self.place.plus(HEADER + 4 * u64::from(index)))
        }
    }

    #[inline]
    pub(super) fn entry(&self, index: u32) -> &'static Entry {
        debug_assert!(index < self.capacity);
        // SAFETY: two atomic words, in the part for entries.
        unsafe { self.arena.at(self.entries.plus(ENTRY * u64::from(index))) }
    }

    #[inline]
    fn result(&self, index: u32) -> &'static AtomicU64 {
        let place = self.results.plus((8 + self.room) * u64::from(index));
        // SAFETY: an atomic word, in the part for results.
        unsafe { self.arena.at(place) }
    }

    /// How many items there are.
    #[inline]
    pub(super) fn filled(&self) -> u32 {
        self.header().filled.load(Ordering::Acquire) as u32
    }

    pub(super) fn timeout(&self) -> u64 {
        self.header().timeout.load(Ordering::Relaxed)
    }

    pub(super) fn chunk(&self) -> u64 {
        self.header().chunk.load(Ordering::Relaxed)
    }

    /// The position of the first item in its job.
    pub(super) fn first(&self) -> u64 {
        self.header().first.load(Ordering::Relaxed)
    }

    // What the owner does.

    /// Adds an item, for which there must be a place. `used` is how many bytes of arguments there are before it; returns how
    /// many there are then.
    ///
    /// # Errors
    ///
    /// When the arena has no room for a parcel, or the system keeps no more descriptors of messages.
    #[inline]
    pub(super) fn add(
        &self,
        used: u64,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
        function: u64,
    ) -> Result<u64> {
        let header = self.header();
        let index = header.filled.load(Ordering::Relaxed);
        debug_assert!(index < u64::from(self.capacity));
        let entry = self.entry(index as u32);
        let length = draft.bytes().len();
        let has_room = length < LARGE && used + length as u64 <= self.area;
        entry.function.store(function, Ordering::Relaxed);
        self.result(index as u32).store(0, Ordering::Relaxed);
        if !has_room || !outgoing.is_empty() {
            let parcel = draft.finish(self.arena, outgoing)?.into_place();
            self.item(index as u32).offer();
            let mut tx = self.arena.begin();
            tx.detach_parcel(parcel);
            tx.set(&entry.arguments, PARCEL | parcel.0);
            tx.add(&header.parcels, 1);
            tx.set(&header.filled, index + 1);
            tx.commit();
            return Ok(used);
        }
        let bytes = draft.bytes();
        let place = self.arena.pointer(self.arguments.plus(used), length as u64);
        // SAFETY: behind the arguments that there are, where the owner alone writes, and inside of the area, as just seen.
        unsafe {
            place
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), length);
        }
        entry
            .arguments
            .store(used << 32 | length as u64, Ordering::Relaxed);
        self.item(index as u32).offer();
        header.filled.store(index + 1, Ordering::Release);
        Ok(used + length as u64)
    }

    /// Adds an item that is not to be run.
    pub(super) fn add_refused(&self) -> u32 {
        let header = self.header();
        let index = header.filled.load(Ordering::Relaxed);
        debug_assert!(index < u64::from(self.capacity));
        self.entry(index as u32)
            .arguments
            .store(0, Ordering::Relaxed);
        self.result(index as u32).store(0, Ordering::Relaxed);
        self.item(index as u32).refuse();
        header.filled.store(index + 1, Ordering::Release);
        index as u32
    }

    /// How many bytes an item's result has that did not fit into its place.
    pub(super) fn overflow(&self, index: u32) -> Option<usize> {
        if self.header().parcels.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.get_result(index) {
            Some(Content::Parcel(parcel)) => Some(parcel.bytes().len()),
            _ => None,
        }
    }

    /// Lets workers claim the items from `first` on again. `false` when the line has gone on.
    pub(super) fn reopen(&self, first: u32) -> bool {
        let back = |cursor: u64| (cursor & SEALED == 0).then(|| cursor.min(first.into()));
        self.header()
            .cursor
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, back)
            .is_ok()
    }

    /// Makes a batch that the line has left as one that was never in it, with the items from `first` on to be claimed.
    pub(super) fn renew(&self, first: u32) {
        let header = self.header();
        header.next.store(0, Ordering::Relaxed);
        header.cursor.store(first.into(), Ordering::Release);
    }

    /// Gives back what a task that is done has besides its place in the batch.
    pub(super) fn clean(&self, index: u32) {
        if self.header().parcels.load(Ordering::Relaxed) > 0 {
            self.free_parcel(&self.entry(index).arguments);
            self.free_parcel(self.result(index));
        }
    }

    /// Gives back what a worker that died had left as the result of an item.
    pub(super) fn clean_result(&self, index: u32) {
        self.free_parcel(self.result(index));
    }

    /// Whether the item's arguments have gone with the first attempt: descriptors are taken once.
    pub(super) fn can_be_repeated(&self, index: u32) -> bool {
        match self.arguments(index) {
            Content::Bytes(_) => true,
            Content::Parcel(parcel) => !parcel.has_descriptors(),
        }
    }

    fn free_parcel(&self, word: &AtomicU64) {
        let value = word.load(Ordering::Acquire);
        if value & PARCEL == 0 {
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
                .free_parcel_and(Offset(value & !PARCEL), false, forget);
        }
        self.arena.settle();
    }

    /// Frees the batch.
    ///
    /// # Safety
    ///
    /// Nobody visits it, and nobody uses it afterwards.
    pub(super) unsafe fn free(self) {
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

    // What workers do.

    /// Claims items: of `available` ones as many as `share` says. The claim is told to `propose` before it holds.
    #[inline]
    pub(super) fn claim(
        &self,
        share: impl Fn(u64) -> u64,
        propose: impl Fn(std::ops::Range<u32>),
    ) -> Claim {
        let header = self.header();
        loop {
            let cursor = header.cursor.load(Ordering::Acquire);
            if cursor & SEALED != 0 {
                return Claim::Sealed;
            }
            let filled = header.filled.load(Ordering::Acquire);
            let (after, claim) = if cursor < filled {
                let end = cursor + share(filled - cursor);
                let items = cursor as u32..end as u32;
                propose(items.clone());
                (end, Claim::Items(items))
            } else if header.next.load(Ordering::Acquire) == 0 {
                return Claim::Nothing;
            } else if header.filled.load(Ordering::Acquire) > cursor {
                // It was filled between the two looks.
                continue;
            } else {
                (cursor | SEALED, Claim::Sealed)
            };
            kill_point();
            let changed =
                header
                    .cursor
                    .compare_exchange(cursor, after, Ordering::AcqRel, Ordering::Relaxed);
            kill_point();
            if changed.is_ok() {
                return claim;
            }
        }
    }

    /// Whether there are items that nobody has claimed.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        let header = self.header();
        let cursor = header.cursor.load(Ordering::Acquire);
        // Sealed is more than any number of items.
        cursor < header.filled.load(Ordering::Acquire) || header.next.load(Ordering::Acquire) != 0
    }

    /// The arguments of an item.
    #[inline]
    pub(super) fn arguments(&self, index: u32) -> Content<'static> {
        let word = self.entry(index).arguments.load(Ordering::Acquire);
        if word & PARCEL != 0 {
            return self.parcel(word);
        }
        self.bytes(self.arguments.plus(word >> 32), word & u64::from(u32::MAX))
    }

    /// Leaves what came of an item.
    ///
    /// # Errors
    ///
    /// When the arena has no room for it, or the system keeps no more descriptors of messages.
    #[inline]
    pub(super) fn put_result(
        &self,
        index: u32,
        draft: &mut Draft,
        outgoing: &mut Outgoing,
    ) -> Result<()> {
        let word = self.result(index);
        let length = draft.bytes().len();
        if outgoing.is_empty() && length as u64 <= self.room {
            let place = self
                .arena
                .pointer(self.arena.offset_in(word).plus(8), self.room);
            // SAFETY: the item's place, which belongs to who runs the item, is large enough, as just seen.
            unsafe {
                place
                    .as_ptr()
                    .copy_from_nonoverlapping(draft.bytes().as_ptr(), length);
            }
            word.store(INLINE | length as u64, Ordering::Relaxed);
            return Ok(());
        }
        let parcel = draft.finish(self.arena, outgoing)?.into_place();
        let mut tx = self.arena.begin();
        tx.detach_parcel(parcel);
        tx.set(word, PARCEL | parcel.0);
        tx.add(&self.header().parcels, 1);
        tx.commit();
        Ok(())
    }

    /// What came of an item that is done; `None` when there was no room for it.
    #[inline]
    pub(super) fn get_result(&self, index: u32) -> Option<Content<'static>> {
        let word = self.result(index);
        match word.load(Ordering::Acquire) {
            0 => None,
            value if value & PARCEL != 0 => Some(self.parcel(value)),
            value => Some(self.bytes(self.arena.offset_in(word).plus(8), value & !INLINE)),
        }
    }

    fn parcel(&self, word: u64) -> Content<'static> {
        // SAFETY: the batch owns it, nobody writes it any more, and it is not dropped.
        let parcel = unsafe { Parcel::from_place(self.arena, Offset(word & !PARCEL)) };
        Content::Parcel(ManuallyDrop::new(parcel))
    }

    #[inline]
    fn bytes(&self, place: Offset, length: u64) -> Content<'static> {
        let pointer = self.arena.pointer(place, length);
        // SAFETY: bytes of this batch that were written before the word was that told of them, and that nobody writes any
        // more; they are there while the batch is.
        Content::Bytes(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length as usize) })
    }
}

const ENTRY: u64 = size_of::<Entry>() as u64;

#[inline]
fn header(arena: &'static Arena, place: Offset) -> &'static Header {
    // SAFETY: words anywhere in the arena are a valid header; `at` checks the bounds.
    unsafe { arena.at(place) }
}
