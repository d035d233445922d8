//! What happens to the record of a process that has ended.
//!
//! *Burying* gives back whatever the record lists: holds and what they owe, parcels, waits, the order; and it wakes all who sleep at an object
//! that the process had, because it may have died between a change and its notification. It is done in steps, each a transaction,
//! so that an undertaker who dies is followed by another one. One undertaker works at a time in the whole tree.
//!
//! A parent buries its children. Children whose parent was buried before them are orphans: whoever comes by buries those that
//! have ended ([`sweep`](Arena::sweep)), which it knows by the lock that the first thread of each
//! owns while it lives, and then by their ids.

use std::sync::atomic::{AtomicU64, Ordering};

use super::record::{ProcessName, Record, Stage};
use super::{Arena, Offset, Root, Tx};
use crate::sys::{self, RobustMutex};

/// The last processes that were buried, for those who find their locks.
#[repr(C)]
pub(super) struct Obituaries {
    count: AtomicU64,
    entries: [Obituary; 32],
}

#[repr(C)]
struct Obituary {
    serial: AtomicU64,
    name: ProcessName,
}

/// The undertaker's lock, held.
struct AtWork<'a>(&'a RobustMutex);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        // SAFETY: made by the thread that acquired it, and not sent to another.
        unsafe { self.0.unlock() };
    }
}

impl Arena {
    /// Gives back all that a process held which has ended, but for its outcome.
    ///
    /// # Safety
    ///
    /// The record is not freed yet, and its process has ended or was never started.
    pub(crate) unsafe fn bury(&'static self, place: Offset) {
        self.with_undertaker(|| {
            // SAFETY: the caller's promise; one undertaker at a time.
            unsafe { self.bury_process(place) }
        });
    }

    /// Frees the record of a process that was buried, with its outcome.
    ///
    /// # Safety
    ///
    /// Nobody uses the record afterwards.
    pub(crate) unsafe fn free_record(&'static self, place: Offset) {
        // SAFETY: the caller's promise.
        unsafe { self.free_record_and(place, |_| {}) };
    }

    /// [`free_record`](Self::free_record), with a last change in the transaction that frees it.
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn free_record_and(&'static self, place: Offset, forget: impl FnOnce(&mut Tx<'_>)) {
        // SAFETY: the caller's promise.
        let record = unsafe { self.record(place) };
        // SAFETY: the record owns the parcel, and the word is cleared with it.
        unsafe { self.free_parcel_in(&record.outcome) };
        let mut tx = self.begin();
        tx.unlink(place);
        forget(&mut tx);
        tx.free(place, false);
        tx.commit();
        self.settle();
    }

    /// Buries and frees the records of processes that have ended after their parents.
    pub(crate) fn sweep(&'static self) {
        let orphans = &self.root().orphans;
        if orphans.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.with_undertaker(|| {
            while let Some(place) = self.withdraw_orphan() {
                // SAFETY: the process has ended, or will find its order withdrawn; only undertakers free orphans.
                unsafe {
                    self.bury_process(place);
                    self.free_record_and(place, |tx| tx.add(orphans, -1));
                }
            }
        });
    }

    /// An orphan whose process has ended. One that has not begun yet is kept from beginning.
    fn withdraw_orphan(&self) -> Option<Offset> {
        let mut tx = self.begin();
        let place = tx.nodes(&self.root().records).find(|place| {
            // SAFETY: in the list, and the transaction keeps it there.
            let record = unsafe { self.record(*place) };
            let first = record.depth.load(Ordering::Relaxed) == 0;
            record.parent.load(Ordering::Relaxed) == 0
                && !first
                && *place != self.my_offset()
                && record.life.owner().is_none()
                // Its first thread is dead; others may be about to be.
                && !sys::is_running(record.pid.load(Ordering::Relaxed) as u32)
        })?;
        // SAFETY: as above.
        tx.set(
            unsafe { &self.record(place).stage },
            Stage::Withdrawn as u64,
        );
        tx.commit();
        Some(place)
    }

    fn with_undertaker(&'static self, work: impl FnOnce()) {
        let undertaker = &self.root().undertaker;
        if undertaker.lock().is_ok() {
            let _at_work = AtWork(undertaker);
            work();
        }
        self.settle();
    }

    /// # Safety
    ///
    /// As for [`bury`](Self::bury), by the undertaker.
    unsafe fn bury_process(&'static self, place: Offset) {
        // SAFETY: the caller's promise.
        let record = unsafe { self.record(place) };
        // What the process left half done is undone by the next transaction. From then on its lists are the undertaker's.
        drop(self.begin());
        // Each step is a transaction of its own, so that the journal suffices; a step taken is not taken again.
        loop {
            let hold = Offset(record.holds.load(Ordering::Acquire));
            if hold.is_none() {
                break;
            }
            self.remit(hold);
            self.knock(self.object_of_hold(hold));
            let mut tx = self.begin();
            tx.drop_hold(hold);
            tx.commit();
        }
        loop {
            let parcel = Offset(record.parcels.load(Ordering::Acquire));
            if parcel.is_none() {
                break;
            }
            // SAFETY: its owner is dead.
            unsafe { self.free_parcel(parcel, true) };
        }
        loop {
            let wait = Offset(record.waits.load(Ordering::Acquire));
            if wait.is_none() {
                break;
            }
            let mut tx = self.begin();
            tx.unlink(wait);
            tx.free(wait, false);
            tx.commit();
        }
        // SAFETY: the record owns the parcel, and the word is cleared with it.
        unsafe { self.free_parcel_in(&record.order) };
        if record.children.load(Ordering::Relaxed) > 0 {
            self.orphan_children(place);
        }
        self.remember(record);
    }

    /// Frees the parcel that a word of a record or object names, if it does, and clears the word.
    ///
    /// # Safety
    ///
    /// The word owns the parcel, and the caller the word.
    pub(crate) unsafe fn free_parcel_in(&self, word: &AtomicU64) {
        let parcel = Offset(word.load(Ordering::Acquire));
        if !parcel.is_none() {
            // SAFETY: the caller's promise.
            unsafe { self.free_parcel_and(parcel, false, |tx| tx.set(word, 0)) };
        }
    }

    fn orphan_children(&self, parent: Offset) {
        loop {
            let mut tx = self.begin();
            let root = self.root();
            let child = tx.nodes(&root.records).find(|place| {
                // SAFETY: in the list, and the transaction keeps it there.
                unsafe { self.record(*place) }
                    .parent
                    .load(Ordering::Relaxed)
                    == parent.0
            });
            let Some(child) = child else { return };
            // SAFETY: as above.
            tx.set(unsafe { &self.record(child).parent }, 0);
            tx.add(&root.orphans, 1);
            tx.commit();
        }
    }

    /// Keeps the name of a process for those who will find a lock that it owned.
    fn remember(&self, record: &Record) {
        let obituaries = &self.root().obituaries;
        let serial = record.serial.load(Ordering::Relaxed);
        let tx = self.begin();
        let count = obituaries.count.fetch_add(1, Ordering::Relaxed);
        let entry = &obituaries.entries[count as usize % obituaries.entries.len()];
        entry.serial.store(serial, Ordering::Relaxed);
        entry.name.store(&record.name());
        tx.commit();
    }

    /// The name of the process with this serial number, living or not long dead.
    pub(crate) fn name_of_process(&self, serial: u64) -> Option<String> {
        let tx = self.begin();
        let Root {
            records,
            obituaries,
            ..
        } = self.root();
        let living = tx.nodes(records).find_map(|place| {
            // SAFETY: in the list, and the transaction keeps it there.
            let record = unsafe { self.record(place) };
            (record.serial.load(Ordering::Relaxed) == serial).then(|| record.name())
        });
        living.or_else(|| {
            let entry = obituaries
                .entries
                .iter()
                .find(|entry| entry.serial.load(Ordering::Relaxed) == serial);
            entry.map(|entry| entry.name.load())
        })
    }
}
