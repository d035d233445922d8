//! Parcels: messages in the arena.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arena, Links, Offset, Outgoing, Tx};
use crate::error::Result;
use crate::sys::OwnedFd;

/// What precedes a parcel's references and bytes.
#[repr(C)]
struct Header {
    /// In the list of the process or object that owns the parcel, if it keeps one. First, for the list's sake.
    links: Links,
    /// How many references the parcel has by now.
    objects: AtomicU64,
    /// For how many there is room.
    room: AtomicU64,
    /// How many bytes the message has.
    length: AtomicU64,
    /// Which of the objects the message's descriptors wait under; 0 if it has none.
    descriptors: AtomicU64,
}

pub(super) const HEADER: u64 = size_of::<Header>() as u64;

/// A parcel that this process owns. Dropping it frees it with its references.
pub(crate) struct Parcel {
    arena: &'static Arena,
    place: Offset,
}

impl Parcel {
    /// Makes a parcel of this process with these bytes and all that the message carries besides: it keeps the objects alive,
    /// and the descriptors wait for who takes it.
    ///
    /// # Errors
    ///
    /// When the arena has no room, or the system keeps no more descriptors of messages.
    pub(crate) fn new(
        arena: &'static Arena,
        bytes: &[u8],
        outgoing: &mut Outgoing,
    ) -> Result<Self> {
        // One more for the descriptors.
        let mut parcel = Self::with_room(arena, bytes.len(), outgoing.objects.len() + 1)?;
        parcel.attach(outgoing)?;
        parcel.write_at(0, bytes);
        Ok(parcel)
    }

    /// Makes a parcel of this process for a message of `length` bytes, which are not written yet, that will name up to
    /// `objects` objects.
    pub(super) fn with_room(arena: &'static Arena, length: usize, objects: usize) -> Result<Self> {
        let mut tx = arena.begin();
        let place = tx.allocate(HEADER + 8 * objects as u64 + length as u64)?;
        let header = arena.parcel(place);
        tx.set(&header.objects, 0);
        tx.set(&header.room, objects as u64);
        tx.set(&header.length, length as u64);
        tx.set(&header.descriptors, 0);
        tx.link(&arena.me().parcels, place);
        tx.commit();
        Ok(Self { arena, place })
    }

    /// Lets the message have all that it carries besides bytes, for which there is room.
    pub(super) fn attach(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        let (arena, header) = (self.arena, self.arena.parcel(self.place));
        if !outgoing.fds.is_empty() {
            let parked = arena.park(&outgoing.fds)?;
            outgoing.fds.clear();
            let descriptors = parked.held().place();
            header.descriptors.store(descriptors.0, Ordering::Relaxed);
            outgoing.objects.push(Arc::clone(parked.held()));
        }
        for (index, object) in (0..).zip(&outgoing.objects) {
            let mut tx = arena.begin();
            let reference = self.place.plus(HEADER + 8 * index);
            tx.set(arena.word(reference), object.place().0);
            tx.refer(object.place());
            tx.set(&header.objects, index + 1);
            tx.commit();
        }
        Ok(())
    }

    /// Writes a part of the message.
    pub(super) fn write_at(&mut self, start: usize, bytes: &[u8]) {
        let part = &mut self.bytes_mut()[start..start + bytes.len()];
        let place = part.as_mut_ptr();
        // SAFETY: as many bytes of this process's parcel, which `bytes` are not, because it is borrowed.
        unsafe { self.arena.fill(place, bytes) };
    }

    /// Says how long the message is, which is not longer than there is room for.
    pub(super) fn set_length(&mut self, length: usize) {
        let header = self.arena.parcel(self.place);
        header.length.store(length as u64, Ordering::Relaxed);
    }

    pub(super) fn arena(&self) -> &'static Arena {
        self.arena
    }

    /// The message.
    pub(crate) fn bytes(&self) -> &[u8] {
        let (place, length) = self.arena.parcel_bytes(self.place);
        // SAFETY: the parcel's bytes, which are initialised memory of the arena, and which nobody but the owner touches (A3, A5).
        unsafe {
            std::slice::from_raw_parts(self.arena.pointer(place, length).as_ptr(), length as usize)
        }
    }

    /// Takes the descriptors of the message, in the order in which they were sent. They can be taken once.
    ///
    /// # Errors
    ///
    /// When this process can open no more descriptors. They are closed with the parcel then.
    pub(crate) fn take_fds(&self) -> Result<Vec<OwnedFd>> {
        let descriptors = self.descriptors();
        if descriptors.is_none() {
            return Ok(Vec::new());
        }
        // SAFETY: `new` made it for this message, which refers to it and is this process's own.
        unsafe { self.arena.take_parked(descriptors) }
    }

    /// Whether the message has descriptors, taken or not.
    pub(crate) fn has_descriptors(&self) -> bool {
        !self.descriptors().is_none()
    }

    /// The object that the message's descriptors wait under.
    pub(super) fn descriptors(&self) -> Offset {
        let header = self.arena.parcel(self.place);
        Offset(header.descriptors.load(Ordering::Relaxed))
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let (place, length) = self.arena.parcel_bytes(self.place);
        // SAFETY: as in `bytes`; any bytes are valid bytes.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.arena.pointer(place, length).as_ptr(),
                length as usize,
            )
        }
    }

    /// Makes an empty parcel of this process of a block that the transaction took into use. It is one when the transaction
    /// is committed.
    pub(super) fn adopt(arena: &'static Arena, tx: &mut Tx<'_>, place: Offset) -> Self {
        let header = arena.parcel(place);
        tx.set(&header.objects, 0);
        tx.set(&header.room, 0);
        tx.set(&header.length, 0);
        tx.set(&header.descriptors, 0);
        tx.link(&arena.me().parcels, place);
        Self { arena, place }
    }

    /// Gives the parcel away. It stays in this process's list until a transaction moves it.
    pub(crate) fn into_place(self) -> Offset {
        let place = self.place;
        std::mem::forget(self);
        place
    }

    /// The parcel at `place`.
    ///
    /// # Safety
    ///
    /// It is in this process's list, and nobody else will free it (A5).
    pub(crate) unsafe fn from_place(arena: &'static Arena, place: Offset) -> Self {
        Self { arena, place }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // SAFETY: this process owns the parcel, which is not used afterwards.
        unsafe { self.arena.free_parcel(self.place, true) };
        self.arena.settle();
    }
}

impl Arena {
    fn parcel(&self, place: Offset) -> &Header {
        // SAFETY: six words anywhere in the arena are a valid header; `at` checks the bounds (A1, A2).
        unsafe { self.at(place) }
    }

    fn parcel_bytes(&self, place: Offset) -> (Offset, u64) {
        let header = self.parcel(place);
        let room = header.room.load(Ordering::Relaxed);
        (
            place.plus(HEADER + 8 * room),
            header.length.load(Ordering::Relaxed),
        )
    }

    /// Frees a parcel and its references, in steps: a process that dies in between leaves the rest of it where it was.
    /// `listed` says whether it is in a list.
    ///
    /// # Safety
    ///
    /// The caller owns the parcel, and nobody uses it afterwards. If it is not in a list, nobody who comes after the
    /// caller's death will free it again, so the caller holds it by something that is changed by `forget` below.
    pub(crate) unsafe fn free_parcel(&self, place: Offset, listed: bool) {
        // SAFETY: the caller's promise.
        unsafe { self.free_parcel_and(place, listed, |_| {}) };
    }

    /// [`free_parcel`](Self::free_parcel), with a last change in the transaction that frees the block.
    ///
    /// # Safety
    ///
    /// As there.
    pub(crate) unsafe fn free_parcel_and(
        &self,
        place: Offset,
        listed: bool,
        forget: impl FnOnce(&mut Tx<'_>),
    ) {
        let header = self.parcel(place);
        loop {
            let count = header.objects.load(Ordering::Relaxed);
            let Some(last) = count.checked_sub(1) else {
                break;
            };
            let mut tx = self.begin();
            tx.set(&header.objects, last);
            tx.release(Offset(
                self.word(place.plus(HEADER + 8 * last))
                    .load(Ordering::Relaxed),
            ));
            tx.commit();
        }
        let mut tx = self.begin();
        if listed {
            tx.unlink(place);
        }
        forget(&mut tx);
        tx.free(place, false);
        tx.commit();
    }
}

impl Tx<'_> {
    /// Takes a parcel out of the list that it is in.
    pub(crate) fn detach_parcel(&mut self, place: Offset) {
        self.unlink(place);
    }

    /// How many bytes the message in a parcel has.
    pub(crate) fn parcel_length(&self, place: Offset) -> u64 {
        self.arena.parcel(place).length.load(Ordering::Relaxed)
    }

    /// Puts a parcel into the list that begins at `head`.
    pub(crate) fn attach_parcel(&mut self, head: &AtomicU64, place: Offset) {
        self.link(head, place);
    }
}
