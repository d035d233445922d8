//! Sleeping until something changes, without a system call for those who change it while nobody sleeps.
//!
//! | word | meaning | who may change it | a sleeper died here |
//! |---|---|---|---|
//! | even n | nobody sleeps | a sleeper, to n + 1 | – |
//! | odd n | somebody may sleep | who notifies, to n + 1, and wakes all | one wake-up too many |
//!
//! All are woken, because one who is woken may be dead before it acts.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Instant;

use crate::sys;

#[repr(transparent)]
pub(crate) struct Signal(AtomicU32);

/// What the word was when a thread announced that it will sleep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced(u32);

impl Signal {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Announces that this thread will sleep. Whoever changes something from here on wakes it; what changed before must be
    /// looked for after this call.
    pub(crate) fn announce(&self) -> Announced {
        let word = self.0.fetch_or(1, Ordering::SeqCst) | 1;
        fence(Ordering::SeqCst);
        Announced(word)
    }

    /// Sleeps until somebody notifies. Returns `false` when `deadline` passed.
    pub(crate) fn sleep(&self, announced: Announced, deadline: Option<Instant>) -> bool {
        sys::futex_wait(&self.0, announced.0, deadline)
    }

    /// Wakes all who announced that they will sleep before this call, after what they wait for has changed.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        let word = self.0.load(Ordering::Relaxed);
        if word % 2 == 1
            && self
                .0
                .compare_exchange(
                    word,
                    word.wrapping_add(1),
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                )
                .is_ok()
        {
            sys::futex_wake(&self.0, u32::MAX);
        }
    }
}
