//! A child's record, as its parent owns it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::record::{Stage, TOLD};
use super::{Arena, Identity, Offset, Parcel};
use crate::error::Result;
use crate::sys;

/// The record of a child of this process. Dropping it frees it, if the child was buried.
pub(crate) struct ChildRecord {
    arena: &'static Arena,
    place: Offset,
    /// Who made it: a copy of that process has no right to free it.
    owner: Identity,
    buried: std::sync::atomic::AtomicBool,
}

impl ChildRecord {
    /// Makes the record of a child that will take `order`.
    pub(crate) fn new(arena: &'static Arena, name: &str, order: Parcel) -> Result<Self> {
        let me = arena.me();
        let mut tx = arena.begin();
        let place = tx.new_record(name)?;
        // SAFETY: just made.
        let record = unsafe { arena.record(place) };
        tx.set(&record.parent, arena.my_offset().0);
        tx.set(&record.parent_pid, u64::from(std::process::id()));
        tx.set(&record.depth, me.depth.load(Ordering::Relaxed) + 1);
        let order = order.into_place();
        tx.detach_parcel(order);
        tx.set(&record.order, order.0);
        tx.commit();
        Ok(Self {
            arena,
            place,
            owner: arena.identity(),
            buried: false.into(),
        })
    }

    /// Whether the child has begun, and its first thread has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.record().life.owner().is_some()
    }

    pub(crate) fn place(&self) -> Offset {
        self.place
    }

    pub(crate) fn serial(&self) -> u64 {
        self.record().serial.load(Ordering::Relaxed)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.record().stage()
    }

    fn record(&self) -> &super::Record {
        // SAFETY: made by `new`, and freed by `drop`.
        unsafe { self.arena.record(self.place) }
    }

    /// Gives back what the child held, but for its outcome.
    ///
    /// # Safety
    ///
    /// The child has ended, or was never started.
    pub(crate) unsafe fn bury(&self) {
        // SAFETY: the caller's promise; the record is not freed yet.
        unsafe { self.arena.bury(self.place) };
        self.buried.store(true, Ordering::Release);
    }

    /// Keeps the child from taking its order; returns the id of its process if it has taken it.
    pub(crate) fn withdraw(&self) -> Option<u32> {
        let record = self.record();
        let mut tx = self.arena.begin();
        match record.stage() {
            Stage::Ordered => {
                tx.set(&record.stage, Stage::Withdrawn as u64);
                tx.commit();
                None
            }
            _ => Some(record.pid.load(Ordering::Relaxed) as u32),
        }
    }

    /// How the child ended, in the C library's words, if the fork server has told.
    pub(crate) fn told_exit(&self) -> Option<u32> {
        match self.record().exit.load(Ordering::Acquire) {
            0 => None,
            told => Some(told & !TOLD),
        }
    }

    /// Waits until the fork server tells how the child ended, or until `deadline`.
    pub(crate) fn wait_for_exit(&self, deadline: Instant) {
        sys::futex_wait(&self.record().exit, 0, Some(deadline));
    }

    /// Takes the outcome, if the child left one.
    pub(crate) fn take_outcome(&self) -> Option<Parcel> {
        let mut tx = self.arena.begin();
        let outcome = Offset(self.record().outcome.load(Ordering::Acquire));
        if outcome.is_none() {
            return None;
        }
        tx.set(&self.record().outcome, 0);
        tx.attach_parcel(self.arena.my_parcels(), outcome);
        tx.commit();
        // SAFETY: it is in this process's list as of now (A5).
        Some(unsafe { Parcel::from_place(self.arena, outcome) })
    }

    /// Puts an outcome back.
    pub(crate) fn put_outcome(&self, outcome: Parcel) {
        let outcome = outcome.into_place();
        let mut tx = self.arena.begin();
        tx.detach_parcel(outcome);
        tx.set(&self.record().outcome, outcome.0);
        tx.commit();
    }
}

impl Drop for ChildRecord {
    fn drop(&mut self) {
        // A child that was not buried may still use its record.
        if self.buried.load(Ordering::Acquire) && self.arena.identity() == self.owner {
            // SAFETY: buried, and nobody knows the record but its owner.
            unsafe { self.arena.free_record(self.place) };
        }
    }
}
