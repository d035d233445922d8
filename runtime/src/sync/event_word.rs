//! The word of an event: a count of how often it was set, and two bits.
//!
//! | bits | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | none | not set, nobody sleeps | `set` adds `SET` and counts; a waiter adds `SLEEPERS` | – |
//! | `SLEEPERS` | not set, somebody may sleep | `set` adds `SET` and counts | a waiter: one wake-up too many |
//! | `SET` | set | `clear` removes it | – |
//! | `SET` and `SLEEPERS` | set, and somebody is waking all | `set` wakes all and removes `SLEEPERS`; `clear` removes `SET` | the next `set` wakes all; so does burying the dead |

use std::time::Instant;

use super::atomic::{AtomicU32, Ordering};
use super::wait::Patience;
use crate::sys;

#[repr(transparent)]
pub(super) struct EventWord(AtomicU32);

const SLEEPERS: u32 = 1;
const SET: u32 = 2;
const ONE: u32 = 4;

/// How often an event had been set at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u32);

impl EventWord {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Sets the event, and wakes all who wait.
    pub(super) fn set(&self) {
        let mut word = self.0.load(Ordering::SeqCst);
        let set = loop {
            let set = if word & SET == 0 {
                word.wrapping_add(ONE) | SET
            } else {
                word
            };
            match self
                .0
                .compare_exchange(word, set, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => break set,
                Err(now) => word = now,
            }
        };
        if set & SLEEPERS != 0 {
            sys::futex_wake(&self.0, u32::MAX);
            // Whoever sleeps since then has found the event cleared: the word is another one.
            let _ =
                self.0
                    .compare_exchange(set, set & !SLEEPERS, Ordering::SeqCst, Ordering::Relaxed);
        }
    }

    pub(super) fn clear(&self) {
        self.0.fetch_and(!SET, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) & SET != 0
    }

    /// The present moment, for [`has_happened_since`](Self::has_happened_since).
    pub(super) fn moment(&self) -> Moment {
        Moment(self.0.load(Ordering::Acquire) / ONE)
    }

    /// Whether the event is set, or was since that moment.
    pub(super) fn has_happened_since(&self, moment: Moment) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & SET != 0 || Moment(word / ONE) != moment
    }

    /// Announces that somebody will sleep; returns the word, and what it holds until the event is set. If it is set already,
    /// the caller will find it so.
    pub(super) fn announce(&self) -> (&AtomicU32, u32) {
        let mut seen = self.0.load(Ordering::SeqCst);
        while seen & (SET | SLEEPERS) == 0 {
            match self
                .0
                .compare_exchange(seen, seen | SLEEPERS, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => seen |= SLEEPERS,
                Err(now) => seen = now,
            }
        }
        (&self.0, seen)
    }

    /// Waits until the event is set; returns `false` when `deadline` passed before.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let moment = self.moment();
        let mut patience = Patience::default();
        loop {
            if self.has_happened_since(moment) {
                return true;
            }
            if patience.wait() {
                continue;
            }
            let (word, seen) = self.announce();
            if self.has_happened_since(moment) {
                return true;
            }
            if !sys::futex_wait(word, seen, deadline) {
                return self.has_happened_since(moment);
            }
        }
    }

    /// Lets all that sleep look.
    pub(super) fn knock(&self) {
        sys::futex_wake(&self.0, u32::MAX);
    }
}
