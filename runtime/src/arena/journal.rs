//! Transactions: changes of metadata that happen as a whole or not at all, whoever dies in the middle.
//!
//! A transaction owns the arena's lock. Before it changes a word, it writes the word's place and old value to the journal;
//! the end of the transaction empties the journal. When a process dies inside of a transaction, the lock tells its next
//! owner, who writes the old values back, last first.
//!
//! | `count` | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | 0 | no change is pending | the lock's owner, to 1 | nothing to do |
//! | n | the words of entries 0..n may have changed | the lock's owner, to n + 1 or, at the end, 0 | the next owner undoes n − 1, …, 0, then sets 0; dying again in between, it is done again |
//!
//! The order that death is safe in is the program's order: entry, then count, then the word. Stores are releases so that
//! the compiler keeps it; the handing over of the lock shows all of them to the next owner.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Arena, Offset};
use crate::kill_point::kill_point;
use crate::sys::{self, Acquired, MutexError};

/// How many words one transaction may change. The longest one (allocate an object and its hold) changes about 50.
const ENTRIES: usize = 120;

#[repr(C)]
pub(super) struct Journal {
    count: AtomicU64,
    entries: [Entry; ENTRIES],
}

#[repr(C)]
struct Entry {
    place: AtomicU64,
    old: AtomicU64,
}

/// A transaction, which owns the arena's lock. Dropped without [`commit`](Tx::commit), it is undone.
pub(crate) struct Tx<'a> {
    pub(super) arena: &'a Arena,
    /// The lock belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl Arena {
    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Tx<'_> {
        match self.begin_by(None) {
            Some(tx) => tx,
            None => unreachable!("without a deadline none passes"),
        }
    }

    /// Begins a transaction, unless others have one until `deadline`: a process may have been stopped in the middle of it.
    pub(crate) fn begin_by(&self, deadline: Option<Instant>) -> Option<Tx<'_>> {
        let acquired = self.lock_metadata(deadline)?;
        let tx = Tx {
            arena: self,
            _thread: PhantomData,
        };
        if acquired == Acquired::OwnerDied {
            tx.undo();
        }
        Some(tx)
    }

    /// Transactions are shorter than a sleep and a wake-up: try for a while before sleeping.
    fn lock_metadata(&self, deadline: Option<Instant>) -> Option<Acquired> {
        let lock = &self.root().lock;
        for attempt in 0..60 {
            match lock.try_lock() {
                Ok(acquired) => return Some(acquired),
                Err(MutexError::AlreadyOwned) => break,
                Err(_) if attempt < 40 => std::hint::spin_loop(),
                Err(_) => sys::yield_now(),
            }
        }
        let locked = match deadline {
            Some(deadline) => lock.lock_until(deadline),
            None => lock.lock(),
        };
        match locked {
            Ok(acquired) => Some(acquired),
            Err(MutexError::TimedOut) => None,
            Err(error) => unreachable!("a transaction inside of a transaction: {error:?}"),
        }
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn arena(&self) -> &'a Arena {
        self.arena
    }

    /// Changes a word of the arena.
    pub(crate) fn set(&mut self, word: &AtomicU64, value: u64) {
        let journal = &self.arena.root().journal;
        let count = journal.count.load(Ordering::Relaxed);
        let entry = &journal.entries[count as usize];
        entry
            .place
            .store(self.arena.offset_in(word).0, Ordering::Relaxed);
        entry
            .old
            .store(word.load(Ordering::Relaxed), Ordering::Relaxed);
        journal.count.store(count + 1, Ordering::Release);
        kill_point();
        word.store(value, Ordering::Release);
        kill_point();
    }

    /// Adds to a word of the arena, modulo 2⁶⁴.
    pub(crate) fn add(&mut self, word: &AtomicU64, by: i64) {
        self.set(word, word.load(Ordering::Relaxed).wrapping_add_signed(by));
    }

    /// Ends the transaction: its changes stay.
    pub(crate) fn commit(self) {
        self.arena.root().journal.count.store(0, Ordering::Release);
        kill_point();
    }

    fn undo(&self) {
        let journal = &self.arena.root().journal;
        for entry in journal.entries[..journal.count.load(Ordering::Acquire) as usize]
            .iter()
            .rev()
        {
            let place = Offset(entry.place.load(Ordering::Relaxed));
            self.arena
                .word(place)
                .store(entry.old.load(Ordering::Relaxed), Ordering::Release);
        }
        journal.count.store(0, Ordering::Release);
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.undo();
        // SAFETY: `begin` acquired the lock on this thread, and a `Tx` does not leave its thread.
        unsafe { self.arena.root().lock.unlock() };
    }
}
