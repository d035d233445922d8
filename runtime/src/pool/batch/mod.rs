//! Batches: tasks in the arena.
//!
//! ```text
//!  ├ header ┼ items ┼ words of arguments ┼ words of results ┼ functions ┼ rooms for results ┼ area for arguments ┤
//! ```
//!
//! A task is an [item](super::item), and what stands in the other parts at the same index. Arguments and results of up to 7
//! bytes lie in their words, so that a small task is 20 bytes; larger ones lie in the area and in the rooms; large ones, and
//! those that name objects, are parcels that the batch owns. The functions are left out where all items have the same.
//!
//! | first byte of a word | the other bytes |
//! |---|---|
//! | 0 | nothing: there is no result |
//! | 1 + n | the n bytes of the message |
//! | [`NEAR`] | the length, 24 bits, and for arguments the place in the area, 32 bits |
//! | [`PARCEL`] | the place of a parcel |
//!
//! | header word | meaning | changed by | who dies here |
//! |---|---|---|---|
//! | `filled` | how many items there are; those below it are whole | the pool's owner | the owner: the item is not there |
//! | `cursor` | see [`Cursor`] | | |
//! | `next` | the batch behind this one in the line, a [`link`](super::words::link); with it, the batch is full | the owner | – |
//! | `parcels` | how many parcels the batch owns | transactions | undone with the transaction |
//! | `largest` | how many bytes the largest result has that is a parcel | whoever leaves one, upwards | – |
//! | `failed` | how many items have failed, or are about to | whoever fails one, before it tells | one too many: who waits looks at the items, too |
//!
//! A claim is a hint: it keeps workers out of each other's way. Who runs an item is decided by the item.

mod owner;
mod worker;

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use super::item::Item;
use super::words::Cursor;
use crate::arena::{Arena, Links, Offset, Parcel};
use crate::error::Result;
use crate::sys::OwnedFd;
use crate::wire::Small;

/// What precedes the items. With the block's header, items begin at a multiple of 64.
#[repr(C)]
pub(super) struct Header {
    /// In the pool's list of batches. First, for the list's sake.
    links: Links,
    pub(super) next: AtomicU64,
    pub(super) filled: AtomicU64,
    pub(super) parcels: AtomicU64,
    pub(super) failed: AtomicU64,
    /// How many bytes the largest result has that is a parcel.
    pub(super) largest: AtomicU64,
    // On a cache line of its own, with what never changes.
    cursor: Cursor,
    /// For how many items there are places, and how many bytes of a result lie in its room.
    size: AtomicU64,
    /// How many bytes there are for arguments.
    area: AtomicU64,
    /// For how long a task may run, in nanoseconds; 0: for ever.
    timeout: AtomicU64,
    /// How many items a worker takes at once; 0: as it finds fit.
    chunk: AtomicU64,
    /// The position of the first item in its job.
    first: AtomicU64,
    /// The hash of the name of the function that all items are for; 0: each has its own.
    function: AtomicU64,
}

const HEADER: u64 = size_of::<Header>() as u64;
const _: () = assert!(HEADER == 112);

/// In a word: what it names is in the area, or in the room.
const NEAR: u64 = 9;
/// In a word: what it names is a parcel.
const PARCEL: u64 = 10;
/// How many bytes lie in a word.
const TINY: usize = 7;
const _: () = assert!(TINY as u64 + 1 < NEAR);

/// Arguments of this many bytes and more are parcels.
pub(super) const LARGE: usize = 4 << 10;

/// What a batch is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) capacity: u32,
    pub(super) room: u32,
    pub(super) area: u32,
    /// The hash of the name of the function that all items are for; 0: each has its own.
    pub(super) function: u64,
}

/// How the tasks of a batch are to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Terms {
    /// In nanoseconds; 0: for ever.
    pub(super) timeout: u64,
    /// 0: as workers find fit.
    pub(super) chunk: u64,
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
/// it, a worker by [visiting](super::body) it (P3).
#[derive(Clone, Copy)]
pub(super) struct View {
    arena: &'static Arena,
    pub(super) place: Offset,
    items: &'static [Item],
    arguments: &'static [AtomicU64],
    results: &'static [AtomicU64],
    functions: &'static [AtomicU64],
    room: u64,
    rooms: Offset,
    pub(super) area: u64,
    area_place: Offset,
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
        // So that all words are where words can be.
        let capacity = u64::from(shape.capacity).next_multiple_of(2);
        let room = u64::from(shape.room).next_multiple_of(8);
        let functions = if shape.function == 0 { 8 } else { 0 };
        let bytes = HEADER + capacity * (4 + 8 + 8 + functions + room) + u64::from(shape.area);
        let mut tx = arena.begin();
        let place = tx.allocate(bytes)?;
        let header = header(arena, place);
        // All that says where things lie, since who frees the batch reads it, also if this process dies now.
        for (word, value) in [
            (&header.next, 0),
            (&header.filled, 0),
            (&header.parcels, 0),
            (&header.failed, 0),
            (&header.largest, 0),
            (&header.size, capacity << 32 | room),
            (&header.area, shape.area.into()),
            (&header.timeout, terms.timeout),
            (&header.chunk, terms.chunk),
            (&header.first, first),
            (&header.function, shape.function),
        ] {
            tx.set(word, value);
        }
        tx.link(list, place);
        tx.commit();
        header.cursor.begin();
        let view = Self::at(arena, place);
        view.items.iter().for_each(Item::clear);
        Ok(view)
    }

    /// The batch at `place`.
    pub(super) fn at(arena: &'static Arena, place: Offset) -> Self {
        let header = header(arena, place);
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let (size, area) = (load(&header.size), load(&header.area));
        let (capacity, room) = (size >> 32, size & u64::from(u32::MAX));
        let functions = match load(&header.function) {
            0 => capacity,
            _ => 0,
        };
        let arguments = place.plus(HEADER + 4 * capacity);
        let results = arguments.plus(8 * capacity);
        let functions_place = results.plus(8 * capacity);
        let rooms = functions_place.plus(8 * functions);
        // SAFETY: the parts of a batch as `make` lays them out, made of atomic words, for as long as the view is used (P3).
        unsafe {
            Self {
                arena,
                place,
                items: slice(arena, place.plus(HEADER), capacity),
                arguments: slice(arena, arguments, capacity),
                results: slice(arena, results, capacity),
                functions: slice(arena, functions_place, functions),
                room,
                rooms,
                area,
                area_place: rooms.plus(room * capacity),
            }
        }
    }

    #[inline]
    pub(super) fn header(&self) -> &'static Header {
        header(self.arena, self.place)
    }

    #[inline]
    pub(super) fn item(&self, index: u32) -> &'static Item {
        &self.items[index as usize]
    }

    /// For how many items there are places.
    #[inline]
    pub(super) fn capacity(&self) -> u32 {
        self.items.len() as u32
    }

    /// How many items there are.
    #[inline]
    pub(super) fn filled(&self) -> u32 {
        self.header().filled.load(Ordering::Acquire) as u32
    }

    /// The hash of the name of an item's function.
    #[inline]
    pub(super) fn function(&self, index: u32) -> u64 {
        match self.functions.get(index as usize) {
            Some(function) => function.load(Ordering::Relaxed),
            None => self.header().function.load(Ordering::Relaxed),
        }
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

    #[inline]
    fn content(
        &self,
        word: &'static AtomicU64,
        value: u64,
        near: impl FnOnce() -> Offset,
    ) -> Content<'static> {
        let tag = value & 0xff;
        if tag == PARCEL {
            // SAFETY: the batch owns it, nobody writes it any more, and it is not dropped.
            let parcel = unsafe { Parcel::from_place(self.arena, Offset(value >> 8)) };
            return Content::Parcel(ManuallyDrop::new(parcel));
        }
        let (pointer, length) = if tag == NEAR {
            let length = value >> 8 & 0xff_ffff;
            (
                self.arena.pointer(near(), length).as_ptr().cast_const(),
                length,
            )
        } else {
            // The bytes follow the lowest, which is the first in memory.
            let word = word.as_ptr().cast_const().cast::<u8>();
            // SAFETY: inside of the word.
            (unsafe { word.add(1) }, (tag.max(1) - 1).min(TINY as u64))
        };
        // SAFETY: bytes of this batch that were written before the word was that tells of them, and that nobody writes any
        // more; they are there while the batch is (P1, P2, P3).
        Content::Bytes(unsafe { std::slice::from_raw_parts(pointer, length as usize) })
    }
}

/// A word with a message of a few bytes in it.
#[inline]
fn tiny(small: &Small) -> u64 {
    small.front() << 8 | (small.bytes().len() as u64 + 1)
}

/// # Safety
///
/// There are `count` of `T` at `place`, which is made of atomic words, for as long as the slice is used.
unsafe fn slice<T>(arena: &'static Arena, place: Offset, count: u64) -> &'static [T] {
    let pointer = arena.pointer(place, count * size_of::<T>() as u64);
    // SAFETY: inside of the arena; the rest is the caller's promise.
    unsafe { std::slice::from_raw_parts(pointer.as_ptr().cast(), count as usize) }
}

#[inline]
fn header(arena: &'static Arena, place: Offset) -> &'static Header {
    // SAFETY: words anywhere in the arena are a valid header; `at` checks the bounds.
    unsafe { arena.at(place) }
}
