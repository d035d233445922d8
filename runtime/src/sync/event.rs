//! The event. Its [word](super::event_word) is all there is to it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::atomic::AtomicU32;
use super::event_word::{EventWord, Moment};
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::Result;
use crate::reactor::{Word, until};

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
pub struct Event(Handle<EventWord, ()>);

// SAFETY: one atomic word.
unsafe impl Body for EventWord {
    const KIND: Kind = Kind::Event;
}

inventory::submit! { Care { kind: Kind::Event, knock, destroy: None } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: an event's body, which the caller has a reference to.
    let event: &EventWord = unsafe { arena.at(body) };
    event.knock();
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
            Handle::create(size_of::<EventWord>(), |place: *mut EventWord| {
                place.write(EventWord::new());
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
        self.0.body().clear();
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
        self.0.body().is_set()
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
        self.0.body().wait(None);
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
        Ok(self.0.body().wait(deadline_after(timeout)))
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
}

/// An event that was set and cleared again since the moment has woken all who waited in it.
impl Word for Event {
    fn moment(&self) -> u32 {
        self.0.body().moment().0
    }

    fn is_ready(&self, moment: u32) -> bool {
        self.0.body().has_happened_since(Moment(moment))
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.0.body().announce()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}
