//! What a process owes an object: permits of a semaphore that it has, for example.
//!
//! | `debt` of a hold | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | 0 | the process owes nothing | its threads, in a transaction with what they take | – |
//! | n > 0 | it owes n; the hold stays for as long as the process has handles or, for some kinds, lives | its threads, in a transaction with what they take or give back | given back by [`Debts`], in the transaction that sets it to 0 |
//!
//! Whoever buries a process gives back what it owed, and so does who [needs](Arena::collect_debts) it before that: a dead
//! process may lie unburied for as long as its parent has other things to do.

use std::sync::atomic::{AtomicU64, Ordering};

use super::object::HEADER;
use super::record::Record;
use super::{Arena, Kind, Offset, Tx};
use crate::sys;

/// What becomes of the debts of the dead to objects of a kind.
pub(crate) struct Debts {
    pub(crate) kind: Kind,
    /// Whether a process that has no handle any more may owe. If not, what it owes is given back with its last handle.
    pub(crate) outlive_handles: bool,
    /// Gives back what a dead process owed to an object, more than 0, in the transaction that remits the debt. Those who
    /// wait for it are woken afterwards.
    pub(crate) give_back: fn(&mut Tx<'_>, body: Offset, debt: u64),
}

inventory::collect!(Debts);

impl Arena {
    /// Gives back what dead processes owe to the object whose body is at `body`; tells whether there was anything.
    pub(crate) fn collect_debts(&self, body: Offset) -> bool {
        let object = Offset(body.0 - HEADER);
        let mut found = false;
        // Each in a transaction of its own, so that the journal suffices.
        while self.collect_debt(object) {
            found = true;
        }
        found
    }

    fn collect_debt(&self, object: Offset) -> bool {
        let mut tx = self.begin();
        let debt = tx.nodes(self.records()).find_map(|place| {
            // SAFETY: in the list, and the transaction keeps it there.
            let record = unsafe { self.record(place) };
            let owes = |hold: &Offset| {
                self.object_of_hold(*hold) == object
                    && self.debt_of(*hold).load(Ordering::Relaxed) > 0
            };
            let hold = tx.nodes(&record.holds).find(owes)?;
            is_dead(record).then_some(hold)
        });
        let Some(hold) = debt else { return false };
        tx.remit(hold);
        tx.commit();
        true
    }

    /// Deals with the debt of a hold that the process gives up, and tells whether it may.
    pub(super) fn settle_debt(&'static self, hold: Offset) -> bool {
        if self.debt_of(hold).load(Ordering::Relaxed) == 0 {
            return true;
        }
        let object = self.object_of_hold(hold);
        if self
            .debts(object)
            .is_some_and(|debts| debts.outlive_handles)
        {
            return false;
        }
        self.remit(hold);
        self.knock(object);
        true
    }

    fn debts(&self, object: Offset) -> Option<&'static Debts> {
        let kind = self.kind_of(object);
        inventory::iter::<Debts>
            .into_iter()
            .find(|debts| debts.kind as u64 == kind)
    }

    /// Gives back what is owed by a hold, whose process has died or will not owe any more.
    pub(super) fn remit(&self, hold: Offset) {
        let mut tx = self.begin();
        tx.remit(hold);
        tx.commit();
    }

    /// What the process that has this hold owes to its object.
    pub(super) fn debt_of(&self, hold: Offset) -> &AtomicU64 {
        &self.hold_at(hold).debt
    }
}

impl Tx<'_> {
    fn remit(&mut self, hold: Offset) {
        let word = self.arena.debt_of(hold);
        let debt = word.load(Ordering::Relaxed);
        if debt == 0 {
            return;
        }
        let object = self.arena.object_of_hold(hold);
        if let Some(debts) = self.arena.debts(object) {
            (debts.give_back)(self, object.plus(HEADER), debt);
        }
        self.set(word, 0);
    }
}

/// Whether the process has begun, and all of it has ended.
fn is_dead(record: &Record) -> bool {
    let pid = record.pid.load(Ordering::Relaxed) as u32;
    // Only the first thread owns the record's life; the others may be about to end.
    pid != 0 && record.life.owner().is_none() && !sys::is_running(pid)
}
