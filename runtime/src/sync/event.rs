//! The event.
//!
//! The word is a count of how often the event was set, and two bits:
//!
//! | bits | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | none | not set, nobody sleeps | `set` adds `SET` and counts; a waiter adds `SLEEPERS` | – |
//! | `SLEEPERS` | not set, somebody may sleep | `set` adds `SET` and counts | a waiter: one wake-up too many |
//! | `SET` | set | `clear` removes it | – |
//! | `SET` and `SLEEPERS` | set, and somebody is waking all | `set` wakes all and removes `SLEEPERS`; `clear` removes `SET` | the next `set` wakes all; so does burying the dead |

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::atomic::{AtomicU32, Ordering};
use super::wait::{Patience, deadline_after};
use crate::arena::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::Result;
use crate::reactor::{Word, until};
use crate::sys;

const SLEEPERS: u32 = 1;
const SET: u32 = 2;
const ONE: u32 = 4;

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

inventory::submit! { Care { kind: Kind::Event, knock, destroy: None } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: an event's body, which the caller has a reference to.
    let event: &EventBody = unsafe { arena.at(body) };
    sys::futex_wake(&event.0, u32::MAX);
}

impl EventBody {
    fn set(&self) {
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
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!mp::Event::new()?.is_set());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new() -> Result<Self> {
        // SAFETY: the closure writes the whole body.
        let handle = unsafe {
            Handle::create(size_of::<EventBody>(), |place: *mut EventBody| {
                place.write(EventBody(AtomicU32::new(0)));
            })
        };
        Ok(Self(handle?))
    }

    /// Sets the event, and wakes all who wait for it, also if it is cleared right after.
    ///
    /// It never waits, and may be called in a signal handler.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = mp::Event::new()?;
    /// event.set();
    /// assert!(event.is_set());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn set(&self) {
        self.0.body().set();
    }

    /// Clears the event. Those who wait afterwards wait for the next [`set`](Self::set).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = mp::Event::new()?;
    /// event.set();
    /// event.clear();
    /// assert!(!event.wait_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn clear(&self) {
        self.word().fetch_and(!SET, Ordering::SeqCst);
    }

    /// Tells whether the event is set.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = mp::Event::new()?;
    /// assert!(!event.is_set());
    /// event.set();
    /// assert!(event.is_set());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_set(&self) -> bool {
        self.word().load(Ordering::Acquire) & SET != 0
    }

    /// Waits until the event is set.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn announce(ready: mp::Event) {
    ///     ready.set();
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let ready = mp::Event::new()?;
    ///     let process = mp::spawn!(announce, ready.clone())?;
    ///     ready.wait()?;
    ///     assert!(ready.is_set());
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
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
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event = mp::Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(1))?);
    /// event.set();
    /// assert!(event.wait_timeout(Duration::ZERO)?);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        Ok(self.wait_until(deadline_after(timeout)))
    }

    /// Waits until the event is set, without blocking the thread.
    ///
    /// It works on any runtime. A future that is dropped leaves nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let event = mp::Event::new()?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut waiting = pin!(event.wait_async());
    /// assert!(waiting.as_mut().poll(&mut context).is_pending());
    /// event.set();
    /// assert!(matches!(waiting.poll(&mut context), Poll::Ready(Ok(()))));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when the system refuses the thread that watches the event.
    pub async fn wait_async(&self) -> Result<()> {
        let moment = self.moment();
        until(|| self.announce(), || self.is_ready(moment).then_some(())).await
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let word = self.word();
        let mut patience = Patience::default();
        let mut seen = word.load(Ordering::Acquire);
        let count = seen / ONE;
        loop {
            if seen & SET != 0 || seen / ONE != count {
                return true;
            }
            if !patience.wait() {
                if seen & SLEEPERS == 0 {
                    let _ = word.compare_exchange(
                        seen,
                        seen | SLEEPERS,
                        Ordering::SeqCst,
                        Ordering::Relaxed,
                    );
                } else if !sys::futex_wait(word, seen, deadline) {
                    let seen = word.load(Ordering::Acquire);
                    return seen & SET != 0 || seen / ONE != count;
                }
            }
            seen = word.load(Ordering::Acquire);
        }
    }

    fn word(&self) -> &AtomicU32 {
        &self.0.body().0
    }
}

/// An event that was set and cleared again since the moment has woken all who waited in it.
impl Word for Event {
    fn moment(&self) -> u32 {
        self.word().load(Ordering::Acquire) / ONE
    }

    fn is_ready(&self, moment: u32) -> bool {
        let word = self.word().load(Ordering::Acquire);
        word & SET != 0 || word / ONE != moment
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        let word = self.word();
        let mut seen = word.load(Ordering::SeqCst);
        // If the event is set, the caller will find it so.
        while seen & (SET | SLEEPERS) == 0 {
            match word.compare_exchange(seen, seen | SLEEPERS, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => seen |= SLEEPERS,
                Err(now) => seen = now,
            }
        }
        (word, seen)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}
