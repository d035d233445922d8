//! Sleeping until something changes, without a system call for those who change it while nobody sleeps.
//!
//! The word is a count of notifications and two bits:
//!
//! | bits | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | none | nobody sleeps | a sleeper adds `SLEEPERS` | – |
//! | `SLEEPERS` | somebody may sleep | who notifies replaces it by `WAKING` and counts | a sleeper: one wake-up too many |
//! | `WAKING`, `SLEEPERS` or not | somebody is waking those who slept, or left some of them asleep | who notifies next does the same; who set it takes it back if all are awake and nothing else changed | the next to notify wakes |
//!
//! All are woken, because one who is woken may be dead before it acts; but for the words that [choose otherwise] and mend it
//! themselves. Whoever dies between a change and its notification leaves sleepers asleep until the next notification, which
//! burying the dead is one of (see [`Care`](crate::arena::Care)), or until they look by themselves, as every sleeper does once
//! in a second.
//!
//! [choose otherwise]: Signal::notify_up_to

use std::time::Instant;

use super::atomic::{AtomicU32, Ordering, fence};
use crate::sys;

#[repr(transparent)]
pub(crate) struct Signal(AtomicU32);

const SLEEPERS: u32 = 1;
const WAKING: u32 = 2;
const ONE: u32 = 4;

/// What the word was when a thread announced that it will sleep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced(u32);

impl Signal {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Announces that this thread will sleep. Whoever changes something from here on wakes it; what changed before must be
    /// looked for after this call.
    pub(crate) fn announce(&self) -> Announced {
        let word = self.0.fetch_or(SLEEPERS, Ordering::SeqCst) | SLEEPERS;
        fence(Ordering::SeqCst);
        Announced(word)
    }

    /// Sleeps until somebody notifies. Returns `false` when `deadline` passed.
    pub(crate) fn sleep(&self, announced: Announced, deadline: Option<Instant>) -> bool {
        sys::futex_wait(&self.0, announced.0, deadline)
    }

    /// [Announces](Self::announce), for those who sleep by other means: the word, and what it holds until somebody
    /// notifies.
    pub(crate) fn announced_word(&self) -> (&AtomicU32, u32) {
        (&self.0, self.announce().0)
    }

    /// Wakes all who announced that they will sleep before this call, after what they wait for has changed.
    #[inline]
    pub(crate) fn notify(&self) {
        self.notify_up_to(u32::MAX);
    }

    /// [Notifies](Self::notify), but wakes at most `count` of those who sleep: the first to fall asleep, if all have the same
    /// priority. Those who have announced that they will sleep, and do not sleep yet, look again.
    #[inline]
    pub(crate) fn notify_up_to(&self, count: u32) {
        fence(Ordering::SeqCst);
        let word = self.0.load(Ordering::Relaxed);
        if word & (SLEEPERS | WAKING) != 0 {
            self.wake(count);
        }
    }

    /// Wakes all, whatever the word says.
    pub(crate) fn knock(&self) {
        self.wake(u32::MAX);
    }

    #[cold]
    fn wake(&self, count: u32) {
        let next = |word: u32| (word & !(SLEEPERS | WAKING)).wrapping_add(ONE) | WAKING;
        let mut word = self.0.load(Ordering::Relaxed);
        while let Err(now) =
            self.0
                .compare_exchange(word, next(word), Ordering::SeqCst, Ordering::Relaxed)
        {
            word = now;
        }
        if sys::futex_wake(&self.0, count) == count {
            // Others may sleep on.
            return;
        }
        // Whoever has announced to sleep since then has changed the word, and is woken by the next notification.
        let waking = next(word);
        let _ = self.0.compare_exchange(
            waking,
            waking & !WAKING,
            Ordering::SeqCst,
            Ordering::Relaxed,
        );
    }
}
