//! The event.
//!
//! | word | meaning | who may change it | a waiter died here |
//! |---|---|---|---|
//! | `CLEAR` | not set, nobody sleeps | `set` to `SET`; a waiter to `WAITED_FOR` | – |
//! | `WAITED_FOR` | not set, somebody may sleep | `set` to `SET`, and wakes all | one wake-up too many |
//! | `SET` | set | `clear` to `CLEAR` | – |

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::wait::{Patience, deadline_after};
use crate::arena::{Body, Handle, Kind};
use crate::error::Result;
use crate::sys;

const CLEAR: u32 = 0;
const WAITED_FOR: u32 = 1;
const SET: u32 = 2;

/// A flag that processes wait for.
///
/// An event is a handle: clones and copies in messages are the same event.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let event = mp::Event::new()?;
/// assert!(!event.wait_timeout(Duration::from_millis(1))?);
/// event.set();
/// event.wait()?;
/// assert!(event.is_set());
/// event.clear();
/// assert!(!event.is_set());
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Event(Handle<EventBody, ()>);

#[repr(C)]
struct EventBody(AtomicU32);

// SAFETY: one atomic word.
unsafe impl Body for EventBody {
    const KIND: Kind = Kind::Event;
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    ///
    /// When the shared memory is full or cannot be made.
    pub fn new() -> Result<Self> {
        // SAFETY: the closure writes the whole body.
        let handle = unsafe {
            Handle::create(size_of::<EventBody>(), |place: *mut EventBody| {
                place.write(EventBody(AtomicU32::new(CLEAR)));
            })
        };
        Ok(Self(handle?))
    }

    /// Sets the event, and wakes all who wait for it.
    ///
    /// It never waits, and may be called in a signal handler.
    pub fn set(&self) {
        let word = self.word();
        if word.swap(SET, Ordering::SeqCst) == WAITED_FOR {
            sys::futex_wake(word, u32::MAX);
        }
    }

    /// Clears the event. Those who wait afterwards wait for the next [`set`](Self::set).
    pub fn clear(&self) {
        let _ = self
            .word()
            .compare_exchange(SET, CLEAR, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// Whether the event is set.
    pub fn is_set(&self) -> bool {
        self.word().load(Ordering::Acquire) == SET
    }

    /// Waits until the event is set.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn wait(&self) -> Result<()> {
        self.wait_until(None);
        Ok(())
    }

    /// Waits until the event is set, for at most `timeout`; returns whether it was set.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        Ok(self.wait_until(deadline_after(timeout)))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let word = self.word();
        let mut patience = Patience::default();
        loop {
            match word.load(Ordering::Acquire) {
                SET => return true,
                CLEAR if patience.wait() => {}
                CLEAR => {
                    let _ = word.compare_exchange(
                        CLEAR,
                        WAITED_FOR,
                        Ordering::SeqCst,
                        Ordering::Relaxed,
                    );
                }
                _ => {
                    if !sys::futex_wait(word, WAITED_FOR, deadline) {
                        return self.is_set();
                    }
                }
            }
        }
    }

    fn word(&self) -> &AtomicU32 {
        &self.0.body().0
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}
