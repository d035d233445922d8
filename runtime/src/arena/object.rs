//! Objects: blocks with a header that says what they are, and how many refer to them.
//!
//! | `refs` | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | n > 0 | n holds and parcels refer to the object | any transaction | undone with its transaction; the dead process's holds and parcels are released by who buries it |
//! | 0 | nobody does; the object is freed by the same transaction, or is in the root's list of the dead | the undertaker | the next undertaker begins with it again |

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Arena, Links, Offset, Tx};
use crate::error::Result;
use crate::sys::MutexError;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Kind {
    /// Its maker has not finished it.
    Unfinished,
    Lock,
    Value,
    Array,
    Event,
    Queue,
    Pipe,
    RLock,
    Semaphore,
    Condition,
    Barrier,
    Atomic,
    Shared,
    Descriptors,
    Pool,
}

impl Kind {
    const ALL: [(Kind, &'static str); 15] = [
        (Kind::Unfinished, "an unfinished object"),
        (Kind::Lock, "a Lock"),
        (Kind::Value, "a Value"),
        (Kind::Array, "an Array"),
        (Kind::Event, "an Event"),
        (Kind::Queue, "a Queue"),
        (Kind::Pipe, "a connection"),
        (Kind::RLock, "an RLock"),
        (Kind::Semaphore, "a Semaphore"),
        (Kind::Condition, "a Condition"),
        (Kind::Barrier, "a Barrier"),
        (Kind::Atomic, "an Atomic"),
        (Kind::Shared, "a Shared"),
        (Kind::Descriptors, "a message's descriptors"),
        (Kind::Pool, "a Pool"),
    ];

    /// What to call an object of this kind in a message.
    pub(crate) fn describe(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What the undertaker does for objects of a kind.
pub(crate) struct Care {
    pub(crate) kind: Kind,
    /// Wakes all who sleep at an object that a process had when it died: it may have died between a change and the wake-up
    /// that belongs to it. Who is woken in vain looks again and sleeps on.
    pub(crate) knock: fn(&'static Arena, body: Offset),
    /// Gives back what an object holds besides its own block, before it is freed. It may be called again for the same
    /// object, when the process that called it first died in the middle.
    pub(crate) destroy: Option<fn(&'static Arena, body: Offset)>,
}

inventory::collect!(Care);

/// What precedes an object's body.
#[repr(C)]
pub(super) struct Header {
    /// In the list of the dead. First, for the list's sake.
    links: Links,
    /// The [`Kind`] and a hash of the Rust types that the object was made for.
    kind: AtomicU64,
    /// A number that no other object has or had.
    pub(super) serial: AtomicU64,
    refs: AtomicU64,
    /// Follows from place, serial number and tree: no other bytes of the arena look like a header by accident.
    seal: AtomicU64,
}

/// The size of a header: with that of a block, bodies begin at multiples of 64.
pub(super) const HEADER: u64 = size_of::<Header>() as u64;
const _: () = assert!(HEADER == 48);

/// A number for a name (FNV-1a), by which the processes of a tree, which run the same program, can tell names apart.
pub(crate) const fn hash(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let (bytes, mut index) = (name.as_bytes(), 0);
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    hash
}

/// The kind and type of an object as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KindWord(pub(super) u64);

impl KindWord {
    /// The type counts by its name: all processes of a tree run the same program.
    pub(super) fn new(kind: Kind, type_name: &str) -> Self {
        Self((kind as u64) << 48 | hash(type_name) >> 16)
    }

    pub(super) fn describe(self) -> &'static str {
        Kind::ALL
            .get((self.0 >> 48) as usize)
            .map_or("something unknown", |(_, name)| name)
    }
}

impl Arena {
    pub(super) fn header(&self, object: Offset) -> &Header {
        // SAFETY: six words anywhere in the arena are a valid header; `at` checks the bounds (A1, A2).
        unsafe { self.at(object) }
    }

    fn seal(&self, object: Offset, serial: u64) -> u64 {
        let mixed = (self.root().tree.load(Ordering::Relaxed) ^ object.0)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ serial).wrapping_mul(0xff51_afd7_ed55_8ccd) ^ mixed >> 32
    }

    /// The kind of the object that a message says is at `object`, if there is one (A6).
    pub(super) fn checked_kind(&self, object: Offset, serial: u64) -> Option<KindWord> {
        if serial == 0 || !self.root().heap.may_be_payload(object, HEADER) {
            return None;
        }
        let header = self.header(object);
        let genuine = header.seal.load(Ordering::Acquire) == self.seal(object, serial)
            && header.serial.load(Ordering::Acquire) == serial
            && header.refs.load(Ordering::Relaxed) > 0;
        genuine.then(|| KindWord(header.kind.load(Ordering::Acquire)))
    }

    /// Makes an object whole, once its body is initialised.
    pub(super) fn finish(&self, object: Offset, kind: KindWord) {
        self.header(object).kind.store(kind.0, Ordering::Release);
    }

    /// Settles what a transaction that frees something leaves to be done: destroys the objects that nobody refers to any
    /// more, and gives memory back to the system.
    ///
    /// One at a time in the whole tree; an object's destruction may add to the list, and does not come back here.
    pub(crate) fn settle(&'static self) {
        let root = self.root();
        while root.dead.load(Ordering::Acquire) != 0 {
            match root.undertaker.lock() {
                Err(MutexError::AlreadyOwned) => return,
                Err(error) => unreachable!("waiting for the undertaker: {error:?}"),
                Ok(_) => self.bury_first(),
            }
            // SAFETY: locked above, by this thread.
            unsafe { root.undertaker.unlock() };
        }
        self.trim();
    }

    fn bury_first(&'static self) {
        // In a transaction, because another one may be about to add to the list, or be undone.
        let Some(object) = self.begin().nodes(&self.root().dead).next() else {
            return;
        };
        if let Some(destroy) = self.care(object).and_then(|care| care.destroy) {
            destroy(self, object.plus(HEADER));
        }
        let mut tx = self.begin();
        tx.unlink(object);
        tx.free_object(object);
        tx.commit();
    }

    /// Wakes all who sleep at an object.
    pub(super) fn knock(&'static self, object: Offset) {
        if let Some(care) = self.care(object) {
            (care.knock)(self, object.plus(HEADER));
        }
    }

    /// The [`Kind`] of an object, as a number.
    pub(super) fn kind_of(&self, object: Offset) -> u64 {
        self.header(object).kind.load(Ordering::Acquire) >> 48
    }

    fn care(&self, object: Offset) -> Option<&'static Care> {
        let kind = self.kind_of(object);
        inventory::iter::<Care>
            .into_iter()
            .find(|care| care.kind as u64 == kind)
    }
}

impl Tx<'_> {
    /// Makes an object with one reference and a body of `bytes`, of kind [`Kind::Unfinished`].
    pub(super) fn new_object(&mut self, bytes: u64) -> Result<Offset> {
        let object = self.allocate(HEADER + bytes)?;
        let serial = self.arena.root().next_serial();
        let header = self.arena.header(object);
        self.set(&header.kind, (Kind::Unfinished as u64) << 48);
        self.set(&header.serial, serial);
        self.set(&header.refs, 1);
        self.set(&header.seal, self.arena.seal(object, serial));
        self.add(&self.arena.root().objects, 1);
        Ok(object)
    }

    /// Adds a reference to an object that the caller knows to be alive.
    pub(super) fn refer(&mut self, object: Offset) {
        self.add(&self.arena.header(object).refs, 1);
    }

    /// Takes a reference away. With the last one the object dies; [`Arena::settle`] is to be called after the
    /// transaction.
    pub(super) fn release(&mut self, object: Offset) {
        let header = self.arena.header(object);
        self.add(&header.refs, -1);
        if header.refs.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.set(&header.serial, 0);
        if self
            .arena
            .care(object)
            .is_some_and(|care| care.destroy.is_some())
        {
            self.link(&self.arena.root().dead, object);
        } else {
            self.free_object(object);
        }
    }

    fn free_object(&mut self, object: Offset) {
        self.set(&self.arena.header(object).seal, 0);
        self.add(&self.arena.root().objects, -1);
        self.free(object, false);
    }
}
