//! How long to wait in which way.

use std::time::{Duration, Instant};

use crate::sys;

/// The steps before sleeping.
///
/// A wake-up of another core costs tens of microseconds, a look at a word next to nothing. So a waiter first pauses for
/// about a microsecond, which suffices when the other side runs on another core; then it lets others run, which suffices
/// when the other side shares its core; then it sleeps.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    const PAUSES: u32 = 40;
    const YIELDS: u32 = 100;

    /// Waits a little and returns `true`, or returns `false` when it is time to sleep.
    pub(crate) fn wait(&mut self) -> bool {
        if self.0 >= Self::PAUSES + Self::YIELDS {
            return false;
        }
        self.0 += 1;
        if self.0 <= Self::PAUSES {
            std::hint::spin_loop();
        } else {
            sys::yield_now();
        }
        true
    }
}

/// The moment `timeout` from now; `None`, for ever, when that is beyond what the clock can say.
pub(crate) fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
