//! The head of the arena.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::burial::Obituaries;
use super::depot::DepotWords;
use super::heap::HeapWords;
use super::journal::Journal;
use crate::sys::{self, RobustMutex};

/// "multipro", to tell the arena from any other memory.
const MAGIC: u64 = u64::from_le_bytes(*b"multipro");
/// Changes with the layout of the arena, so that a child that is another version of the program says so.
const LAYOUT: u64 = 2;

/// What lies at the arena's start. All zeroes but for what [`init`](Root::init) sets.
#[repr(C, align(64))]
pub(crate) struct Root {
    magic: AtomicU64,
    layout: AtomicU64,
    size: AtomicU64,
    /// A random number that no other tree has.
    pub(super) tree: AtomicU64,
    /// The lock of all metadata. See [`Tx`](super::Tx).
    pub(super) lock: RobustMutex,
    pub(super) journal: Journal,
    pub(super) heap: HeapWords,
    /// The last serial number given to an object or record.
    pub(super) serial: AtomicU64,
    /// The list of all process records.
    pub(super) records: AtomicU64,
    /// How many of them have lost their parent.
    pub(super) orphans: AtomicU64,
    /// How many objects there are.
    pub(super) objects: AtomicU64,
    /// The list of objects that nobody refers to any more, and that hold something to be given back first.
    pub(super) dead: AtomicU64,
    /// Held by whoever works through that list.
    pub(super) undertaker: RobustMutex,
    pub(super) depot: DepotWords,
    pub(super) obituaries: Obituaries,
}

impl Root {
    /// Makes the root of a new arena of `size` bytes.
    ///
    /// # Safety
    ///
    /// `place` is the start of zeroed memory of that size, which nobody else uses.
    pub(super) unsafe fn init(place: *mut Self, size: u64) {
        // SAFETY: the caller's promise; a mutex is made in place once.
        let root = unsafe {
            RobustMutex::init(&raw mut (*place).lock);
            RobustMutex::init(&raw mut (*place).undertaker);
            RobustMutex::init(&raw mut (*place).depot.lock);
            &*place
        };
        let random = sys::random();
        root.size.store(size, Ordering::Relaxed);
        root.layout.store(LAYOUT, Ordering::Relaxed);
        root.tree.store(random, Ordering::Relaxed);
        root.heap
            .init((size_of::<Self>() as u64).next_multiple_of(64), size);
        root.magic.store(MAGIC, Ordering::Release);
    }

    /// Whether this is the root of an arena of `size` bytes, made by a program like this one.
    pub(super) fn check(&self, size: u64) -> io::Result<()> {
        let problem = if self.magic.load(Ordering::Acquire) != MAGIC {
            "it is not the shared memory of a tree of processes"
        } else if self.layout.load(Ordering::Relaxed) != LAYOUT
            || self.size.load(Ordering::Relaxed) != size
        {
            "it was made by another version of this program"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    /// A number that no other object or record of this tree has or had.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }
}
