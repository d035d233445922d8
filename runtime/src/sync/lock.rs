//! The lock.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Relock;
use super::raw::{RawGuard, RawLock};
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Handle, Kind};
use crate::error::{DeadOwner, LockError, OwnedByTheDead, Result};

/// A lock that processes share.
///
/// Like [`std::sync::Mutex`] without the value ([`Value`](crate::Value) and [`Array`](crate::Array) are the ones
/// with): it is for what is outside of the program, a terminal, a file, a device. It is released when its guard is
/// dropped, also by a panic, and by the death of its owner, however it dies.
///
/// A lock is a handle: clones and copies in messages are the same lock.
///
/// # Fairness
///
/// None is promised: a thread that releases the lock and takes it again may be faster than one that is being woken.
///
/// # Examples
///
/// ```
/// let lock = mp::Lock::new()?;
/// let guard = lock.lock()?;
/// assert!(matches!(lock.try_lock(), Err(mp::LockError::WouldBlock)));
/// drop(guard);
/// assert!(lock.try_lock().is_ok());
/// # Ok::<(), mp::Error>(())
/// ```
#[doc(alias = "Mutex")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lock(Handle<RawLock, ()>);

// SAFETY: `repr(C)`; a robust mutex, atomics, and a place that is written before the lock is shared.
unsafe impl Body for RawLock {
    const KIND: Kind = Kind::Lock;

    fn is_pinned(&self, arena: &Arena) -> bool {
        self.is_owned_here(arena)
    }
}

/// A [`Lock`] that this thread owns, and that is released when this is dropped.
///
/// # Examples
///
/// ```
/// let lock = mp::Lock::new()?;
/// {
///     let _guard = lock.lock()?;
///     assert!(lock.try_lock().is_err());
/// }
/// assert!(lock.try_lock().is_ok());
/// # Ok::<(), mp::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct LockGuard<'a>(RawGuard<'a>);

impl Lock {
    /// Makes a lock that nobody owns. Messages name it by the place of this call.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::Lock::new()?;
    /// assert!(lock.try_lock().is_ok());
    /// assert!(format!("{lock:?}").starts_with("Lock(created at "));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    #[track_caller]
    pub fn new() -> Result<Self> {
        let location = Location::caller();
        // SAFETY: the closure makes a lock in place.
        let handle =
            unsafe { Handle::create(size_of::<RawLock>(), |place| RawLock::init(place, location)) };
        Ok(Self(handle?))
    }

    /// Waits for the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::Lock::new()?;
    /// let guard = lock.lock()?;
    /// assert!(matches!(lock.lock(), Err(mp::LockError::Deadlock(_)))); // with itself
    /// drop(guard);
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the previous owner died while it owned the lock.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others,
    ///   or is this thread.
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().lock(self.0.arena(), None))
    }

    /// Takes the lock if it is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::Lock::new()?;
    /// let guard = lock.try_lock()?;
    /// assert!(matches!(lock.try_lock(), Err(mp::LockError::WouldBlock)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] when it is not, and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().try_lock(self.0.arena()))
    }

    /// Waits for the lock for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = mp::Lock::new()?;
    /// let _guard = lock.lock()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = lock.lock_timeout(Duration::from_millis(1));
    ///         assert!(matches!(late, Err(mp::LockError::TimedOut)));
    ///     });
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock); of deadlocks only that of a thread with itself is
    /// noticed.
    #[inline]
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().lock(self.0.arena(), deadline_after(timeout)))
    }
}

#[inline]
fn wrap<'a>(
    result: Result<RawGuard<'a>, LockError<RawGuard<'a>>>,
) -> Result<LockGuard<'a>, LockError<LockGuard<'a>>> {
    result.map(LockGuard).map_err(|error| error.map(LockGuard))
}

impl Relock for LockGuard<'_> {
    type Data = ();

    fn relock<R>(self, meanwhile: impl FnOnce() -> R) -> (R, Result<Self, LockError<Self>>) {
        let (result, relocked) = self.0.relock(meanwhile);
        (result, wrap(relocked))
    }

    fn with_data<R>(&mut self, look: impl FnOnce(&mut ()) -> R) -> R {
        look(&mut ())
    }
}

impl OwnedByTheDead for LockGuard<'_> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.0.dead_owner()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock(created at {})", self.0.body().created_at())
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}
