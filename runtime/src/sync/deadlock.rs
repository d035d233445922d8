//! Finds waiting that would never end.
//!
//! A thread that is about to sleep for a lock, without a deadline, enters itself into its process's record and, in the same
//! transaction, follows the chain: the lock's owner, the lock that this thread waits for, that one's owner, and so on. If the
//! chain comes back to the caller, nobody in it will ever run. The last to enter finds it; the others sleep on, and go on
//! when the last one gives up and releases what it owns.
//!
//! No false alarm: the caller owns the last lock of the chain, so the last thread of the chain, which has entered itself as
//! waiting for it, cannot have got it, sleeps, and keeps the lock before; and so on back to the first. Entries change only
//! in transactions. Owners are read from the mutex, where the kernel erases the dead.

use std::sync::atomic::{AtomicU64, Ordering};

use super::raw::RawLock;
use crate::arena::{Arena, Links, Offset, Tx};
use crate::error::{Deadlock, WaitsFor};
use crate::sys;

/// A thread that waits, in the list of its process's record.
#[repr(C)]
struct Wait {
    links: Links,
    thread: AtomicU64,
    lock: AtomicU64,
}

/// The entry of this thread, for as long as it waits.
pub(super) struct Waiting {
    arena: &'static Arena,
    entry: Option<Offset>,
}

impl Waiting {
    /// Enters this thread as waiting for `lock`.
    ///
    /// # Errors
    ///
    /// The cycle that it would close.
    pub(super) fn enter(arena: &'static Arena, lock: &RawLock) -> Result<Self, Deadlock> {
        let mut tx = arena.begin();
        // A wait that finds no room is not entered: the cycle it may close is not found, and nothing worse.
        let Ok(entry) = tx.allocate(size_of::<Wait>() as u64) else {
            return Ok(Self { arena, entry: None });
        };
        let wait = wait_at(arena, entry);
        tx.set(&wait.thread, sys::thread_id().into());
        tx.set(&wait.lock, arena.offset_in(lock).0);
        tx.link(&arena.me().waits, entry);
        if let Some(cycle) = cycle(arena, &tx, lock) {
            return Err(cycle);
        }
        tx.commit();
        Ok(Self {
            arena,
            entry: Some(entry),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            let mut tx = self.arena.begin();
            tx.unlink(entry);
            tx.free(entry, false);
            tx.commit();
        }
    }
}

/// The deadlock of a thread that waits for a lock that it owns.
pub(super) fn with_myself(arena: &'static Arena, lock: &RawLock) -> Deadlock {
    Deadlock {
        cycle: vec![myself(arena, lock)],
    }
}

fn myself(arena: &'static Arena, lock: &RawLock) -> WaitsFor {
    WaitsFor {
        process: arena.me().name(),
        pid: arena.me().pid.load(Ordering::Relaxed) as u32,
        thread: sys::thread_id(),
        lock: describe(lock),
    }
}

fn describe(lock: &RawLock) -> String {
    format!("the lock created at {}", lock.created_at())
}

/// The cycle that this thread closes by waiting for `lock`, if it closes one.
fn cycle(arena: &'static Arena, tx: &Tx<'_>, lock: &RawLock) -> Option<Deadlock> {
    let my_thread = sys::thread_id();
    let mut cycle = vec![myself(arena, lock)];
    let mut lock = lock;
    loop {
        let owner = lock.mutex.owner()?;
        if owner == my_thread {
            return Some(Deadlock { cycle });
        }
        // A cycle that the caller is not part of, and that somebody else was told of, or a thread that has its lock by now
        // and has not taken its entry out.
        if cycle.iter().any(|waiter| waiter.thread == owner) {
            return None;
        }
        let (waiter, next) = wait_of(arena, tx, owner, lock.owner().serial())?;
        cycle.push(waiter);
        lock = next;
    }
}

/// What the thread `thread` of the process with this serial number waits for, if it does.
fn wait_of<'a>(
    arena: &'a Arena,
    tx: &Tx<'_>,
    thread: u32,
    serial: u64,
) -> Option<(WaitsFor, &'a RawLock)> {
    for place in tx.nodes(arena.records()) {
        // SAFETY: in the list, and the transaction keeps it there.
        let record = unsafe { arena.record(place) };
        // Threads' ids are used again, and the entries of a dead process are there until it is buried.
        if record.serial.load(Ordering::Relaxed) != serial {
            continue;
        }
        for entry in tx.nodes(&record.waits) {
            let wait = wait_at(arena, entry);
            if wait.thread.load(Ordering::Relaxed) != u64::from(thread) {
                continue;
            }
            // SAFETY: a waiting thread has a handle of the object that its lock is in (A4); if its process died, a lock may
            // be gone, but then its mutex, which is read only, is words like any other.
            let lock: &RawLock = unsafe { arena.at(Offset(wait.lock.load(Ordering::Relaxed))) };
            let waiter = WaitsFor {
                process: record.name(),
                pid: record.pid.load(Ordering::Relaxed) as u32,
                thread,
                lock: describe(lock),
            };
            return Some((waiter, lock));
        }
    }
    None
}

fn wait_at(arena: &Arena, place: Offset) -> &Wait {
    // SAFETY: four words anywhere in the arena are a valid entry; `at` checks the bounds (A1, A2).
    unsafe { arena.at(place) }
}
