//! The tree's shared memory: one memfd that every process of the tree maps.
//!
//! ```text
//!  0            root                    heap                                        top            size
//!  ├────────────┼───────────────────────┼───────────────────────────────────────────┼ ─ ─ ─ ─ ─ ─ ─ ─ ┤
//!  │ tree, lock │ journal, heap's bins, │ blocks: objects, parcels, records, holds  │ never touched     │
//!  └────────────┴───────────────────────┴───────────────────────────────────────────┴ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//! ```
//!
//! - A **block** is what the [heap](heap) allocates.
//! - An **[object](object)** is a block with a header (kind, serial number, reference count): a queue, a lock, a value.
//! - A **[parcel](parcel)** is a block with the bytes of a message and references to the objects that it mentions.
//! - A **[record](record)** is a process: what it runs, and lists of all that it holds.
//! - The **[depot](depot)** is no memory: it keeps the descriptors of messages.
//! - A **hold** is the reference that one process has to one object; a process has at most one to each, and clones of a
//!   handle inside of a process count in that process's own memory.
//!
//! Every block that is in use can be reached from the root, a record, an object or a parcel. That is what makes death
//! harmless: what a dead process held hangs on its record.
//!
//! All metadata changes in transactions ([`Tx`](journal::Tx)) under one robust lock with an undo log: the next owner of
//! the lock rolls back what a dead process left half done. There is no other recovery code for metadata.
//!
//! # Safety
//!
//! The invariants that `unsafe` blocks here and above cite:
//!
//! - **A1** The memory is mapped at `base` for `size` bytes from the arena's making until the process ends. Its size is sealed.
//! - **A2** Words that processes change concurrently are atomics, or lie behind a lock of the same object.
//! - **A3** A block belongs to whoever allocated it until it is freed, and no two blocks overlap.
//! - **A4** An object's body is initialised before its offset leaves the process that makes it, and lives as long as
//!   anybody has a reference to it. A handle has one.
//! - **A5** A parcel has one owner at a time, a process or an object, and only the owner reads or writes its bytes.
//! - **A6** An offset from a message is used only after its object's header agreed: bounds, seal, serial, kind, type.

#![allow(unsafe_code)]

mod burial;
mod child_record;
mod debt;
mod depot;
mod draft;
mod fill;
mod handle;
mod heap;
mod journal;
mod list;
mod object;
mod parcel;
mod record;
mod root;
mod stats;
#[cfg(test)]
mod tests;
mod transit;
mod trim;

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, Weak};

use rustc_hash::FxHashMap;

use self::depot::Depot;
pub(crate) use child_record::ChildRecord;
pub(crate) use debt::Debts;
pub(crate) use draft::Draft;
pub(crate) use fill::CHUNK;
pub(crate) use handle::{Body, Handle, Held};
pub(crate) use journal::Tx;
pub(crate) use list::Links;
pub(crate) use object::{Care, Kind, hash};
pub(crate) use parcel::Parcel;
pub(crate) use record::{MAX_DEPTH, Record, Stage};
pub(crate) use root::Root;
pub use stats::{ArenaStats, arena_stats, waiting_descriptors};
pub(crate) use transit::{Incoming, Outgoing};

use crate::error::{Error, Result};
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// The environment variable that tells a child of its order; set in a child from its start until its boot.
pub(crate) const CHILD_MARK: &str = "MULTIPROC_CHILD";

/// A place in the arena, in bytes from its start. Zero, where the root is, stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Offset(pub(crate) u64);

impl Offset {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// The place `bytes` further on.
    pub(crate) fn plus(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// A process in one word: the serial number of its record, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) u64);

impl Identity {
    pub(crate) const NOBODY: Self = Self(0);
    /// The system's ids are below 2²².
    const ID_BITS: u32 = 22;

    fn new(serial: u64, id: u32) -> Self {
        Self(serial << Self::ID_BITS | u64::from(id))
    }

    /// The serial number of the process's record.
    pub(crate) fn serial(self) -> u64 {
        self.0 >> Self::ID_BITS
    }

    /// The system's id of the process.
    pub(crate) fn id(self) -> u32 {
        (self.0 & ((1 << Self::ID_BITS) - 1)) as u32
    }
}

/// This process's view of the tree's shared memory.
pub(crate) struct Arena {
    base: NonNull<u8>,
    size: u64,
    fd: OwnedFd,
    depot: Depot,
    /// The record of this process.
    me: AtomicU64,
    /// Who this process is, as [`identity`](Arena::identity) says.
    identity: AtomicU64,
    /// The objects that this process has holds on, by the offset of their headers.
    held: Mutex<FxHashMap<Offset, Weak<Held>>>,
}

// SAFETY: `base` points to memory that is made for sharing (A1, A2); the rest is `Sync` by itself.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

static ARENA: OnceLock<Arena> = OnceLock::new();
/// Whether this process is not to have one.
static ISOLATED: AtomicBool = AtomicBool::new(false);

/// This process is to have no shared memory.
pub(crate) fn isolate() {
    ISOLATED.store(true, Ordering::Relaxed);
}

/// Whether this process is to have no shared memory.
pub(crate) fn is_isolated() -> bool {
    ISOLATED.load(Ordering::Relaxed)
}

/// The arena of the tree that this process belongs to. The first process of a tree makes it at the first use.
///
/// # Errors
///
/// [`Error::NotInitialized`] in a child that has not been through its boot: its arena is its parent's, and a second
/// one would be another world. [`Error::Isolated`] in an isolated process.
pub(crate) fn arena() -> Result<&'static Arena> {
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(arena) = ARENA.get() {
        return Ok(arena);
    }
    let _making = MAKING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(arena) = ARENA.get() {
        return Ok(arena);
    }
    if ISOLATED.load(Ordering::Relaxed) {
        return Err(Error::Isolated);
    }
    if std::env::var_os(CHILD_MARK).is_some() {
        return Err(Error::NotInitialized);
    }
    let arena = Arena::create().map_err(|error| {
        Error::os(
            "cannot make the shared memory of a tree of processes",
            error,
        )
    })?;
    // Before anybody else can see it.
    arena.register_first_process()?;
    Ok(ARENA.get_or_init(|| arena))
}

/// Makes the arena with these descriptors, which [`Arena::fds`] gave in another process, this process's own. At most once,
/// before any other use.
pub(crate) fn adopt([memory, entrance, exit]: [OwnedFd; 3]) -> io::Result<&'static Arena> {
    let size = sys::memory_size(memory.as_fd())?;
    let arena = Arena::map(memory, size, Depot::adopt([entrance, exit])?)?;
    arena.root().check(size)?;
    ARENA.set(arena).map_err(|_| {
        io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this process has shared memory already",
        )
    })?;
    ARENA
        .get()
        .ok_or_else(|| io::Error::other("the shared memory is gone"))
}

impl Arena {
    /// Reserves as much address space as the system grants: pages cost nothing before they are touched.
    fn create() -> io::Result<Self> {
        const MOST: u64 = 1 << 38;
        const LEAST: u64 = 1 << 24;
        let mut size = MOST;
        let arena = loop {
            // Above the standard streams, in case one of them is closed.
            let memory = sys::create_memory("multiproc", size);
            match memory.and_then(|memory| Self::map(memory, size, Depot::new()?)) {
                Ok(arena) => break arena,
                Err(_) if size > LEAST => size /= 2,
                Err(error) => return Err(error),
            }
        };
        // SAFETY: the memory is zeroed, new, and nobody else's yet (A1).
        unsafe { Root::init(arena.base.as_ptr().cast(), size) };
        Ok(arena)
    }

    fn map(fd: OwnedFd, size: u64, depot: Depot) -> io::Result<Self> {
        let length = usize::try_from(size).map_err(io::Error::other)?;
        if length < size_of::<Root>() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the shared memory is too small to be one",
            ));
        }
        Ok(Self {
            base: sys::map_memory(fd.as_fd(), length)?,
            size,
            fd,
            depot,
            me: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            held: Mutex::default(),
        })
    }

    #[inline]
    pub(crate) fn root(&self) -> &Root {
        // SAFETY: the mapping is larger than a root (checked in `map`), page-aligned, and initialised by `create` here or
        // in another process; a root is made of atomics and mutexes (A1, A2).
        unsafe { self.base.cast().as_ref() }
    }

    /// The descriptors by which another process [adopts](adopt) the arena.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 3] {
        let [entrance, exit] = self.depot.fds();
        [self.fd.as_fd(), entrance, exit]
    }

    /// Where `offset` is mapped in this process.
    ///
    /// # Panics
    ///
    /// When `length` bytes from there are not inside of the arena.
    #[inline]
    pub(crate) fn pointer(&self, offset: Offset, length: u64) -> NonNull<u8> {
        assert!(
            offset
                .0
                .checked_add(length)
                .is_some_and(|end| end <= self.size),
            "{length} bytes at {offset:?} are outside of the arena"
        );
        // SAFETY: inside of the mapping, as just checked (A1).
        unsafe { self.base.add(offset.0 as usize) }
    }

    /// The word at `offset`. Any aligned word of the arena may be read so: what it means is up to the caller.
    #[inline]
    pub(crate) fn word(&self, offset: Offset) -> &AtomicU64 {
        assert!(
            offset.0.is_multiple_of(8),
            "{offset:?} is not where a word is"
        );
        // SAFETY: inside of the mapping and aligned, as just checked; an atomic word has no invalid value (A1, A2).
        unsafe { self.pointer(offset, 8).cast().as_ref() }
    }

    /// The same word of the arena, for as long as the process lives, which its mapping does too. When the object that it
    /// is of is gone, it means nothing, and is a word nonetheless.
    ///
    /// # Panics
    ///
    /// When the word is not in the arena.
    pub(crate) fn lasting(&'static self, word: &AtomicU32) -> &'static AtomicU32 {
        let address = std::ptr::from_ref(word).addr();
        let offset = address.wrapping_sub(self.base.addr().get()) as u64;
        // SAFETY: inside of the mapping, which `pointer` checks, and aligned, since a reference is; an atomic word has no
        // invalid value (A1, A2).
        unsafe { self.pointer(Offset(offset), 4).cast().as_ref() }
    }

    /// What is at `offset`.
    ///
    /// # Safety
    ///
    /// A `T` made of atomics and locks lies there, initialised, for as long as the reference lives.
    #[inline]
    pub(crate) unsafe fn at<T>(&self, offset: Offset) -> &T {
        debug_assert!(offset.0.is_multiple_of(align_of::<T>() as u64));
        // SAFETY: inside of the mapping; the rest is the caller's promise.
        unsafe { self.pointer(offset, size_of::<T>() as u64).cast().as_ref() }
    }

    /// The place of something that lies in the arena.
    #[inline]
    pub(crate) fn offset_in<T>(&self, thing: &T) -> Offset {
        let address = std::ptr::from_ref(thing).addr() as u64;
        let base = self.base.addr().get() as u64;
        debug_assert!((base..base + self.size).contains(&address));
        Offset(address - base)
    }

    /// The head of the list of all records.
    pub(crate) fn records(&self) -> &AtomicU64 {
        &self.root().records
    }

    /// The record of this process.
    #[inline]
    pub(crate) fn me(&self) -> &Record {
        // SAFETY: the record of a process outlives the process: its parent frees it after its end (A3).
        unsafe { self.at(self.my_offset()) }
    }

    /// The head of the list of this process's parcels.
    pub(crate) fn my_parcels(&self) -> &AtomicU64 {
        &self.me().parcels
    }

    /// This process's record is at `place`.
    fn become_process(&self, place: Offset) {
        self.me.store(place.0, Ordering::Release);
        let identity = Identity::new(self.me().serial.load(Ordering::Relaxed), std::process::id());
        self.identity.store(identity.0, Ordering::Release);
    }

    /// Who this process is.
    #[inline]
    pub(crate) fn identity(&self) -> Identity {
        Identity(self.identity.load(Ordering::Relaxed))
    }

    /// Where the record of this process is.
    #[inline]
    pub(crate) fn my_offset(&self) -> Offset {
        Offset(self.me.load(Ordering::Acquire))
    }
}
