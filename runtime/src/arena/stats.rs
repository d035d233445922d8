//! What the tree's shared memory is used for.

use std::sync::atomic::Ordering;

use super::arena;
use crate::error::Result;

/// How much of the tree's shared memory is in use, as [`arena_stats`] tells it.
///
/// # Examples
///
/// ```
/// let before = mp::arena_stats()?;
/// assert!(before.used < before.capacity);
/// assert_eq!(before.processes, 1);
///
/// let queue = mp::Queue::new()?;
/// queue.put(vec![0_u8; 100_000])?;
/// let with_queue = mp::arena_stats()?;
/// assert_eq!(with_queue.objects, before.objects + 1);
/// assert!(with_queue.used >= before.used + 100_000);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Bytes in use: objects, messages that wait to be received, and what is known of the processes.
    pub used: u64,
    /// Bytes that can be used in all. None costs memory before it is used.
    pub capacity: u64,
    /// Queues, locks, values and other objects that some process or message refers to.
    pub objects: u64,
    /// Processes of the tree that are known: those that run, and those that have ended and were not joined yet.
    pub processes: u64,
}

/// Tells how much of the tree's shared memory is in use.
///
/// What processes held that have died is given back first, so that it does not count.
///
/// # Examples
///
/// ```
/// let before = mp::arena_stats()?;
/// let lock = mp::Lock::new()?;
/// assert_eq!(mp::arena_stats()?.objects, before.objects + 1);
/// drop(lock);
/// assert_eq!(mp::arena_stats()?, before);
/// # Ok::<(), mp::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Os`](crate::Error::Os) when the shared memory cannot be made.
pub fn arena_stats() -> Result<ArenaStats> {
    let arena = arena()?;
    arena.sweep();
    let mut processes = 0;
    arena.for_each_record(|_, _| processes += 1);
    let root = arena.root();
    Ok(ArenaStats {
        used: root.heap.used.load(Ordering::Relaxed),
        capacity: root.heap.capacity(),
        objects: root.objects.load(Ordering::Relaxed),
        processes,
    })
}

/// Tells how many descriptors wait in messages of this tree, those in arguments and on connections aside. For tests.
///
/// # Errors
///
/// When they cannot be looked through.
#[doc(hidden)]
pub fn waiting_descriptors() -> Result<u64> {
    let arena = arena()?;
    arena.sweep();
    arena.count_parked()
}
