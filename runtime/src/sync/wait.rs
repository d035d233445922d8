//! How long to wait in which way.

use std::time::{Duration, Instant};

use crate::sys;

/// The steps before sleeping.
///
/// A wake-up of another core costs tens of microseconds, a look at a word next to nothing. So a waiter first pauses for
/// about a microsecond, which suffices when the other side runs on another core; then it lets others run, which suffices
/// when the other side shares its core; then it sleeps.
///
/// The pauses become longer, because each look takes the word's cache line from whoever is about to change it.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// How many pauses there are, each twice as long as the one before.
    const PAUSES: u32 = 4;
    const YIELDS: u32 = 100;

    /// Waits a little and returns `true`, or returns `false` when it is time to sleep.
    pub(crate) fn wait(&mut self) -> bool {
        if self.0 >= Self::PAUSES + Self::YIELDS {
            return false;
        }
        if self.0 < Self::PAUSES {
            for _ in 0..1 << self.0 {
                std::hint::spin_loop();
            }
        } else {
            sys::yield_now();
        }
        self.0 += 1;
        true
    }
}

/// The moment `timeout` from now; `None`, for ever, when that is beyond what the clock can say.
pub(crate) fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
