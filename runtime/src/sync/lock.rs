//! The lock.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::raw::{RawGuard, RawLock};
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Handle, Kind};
use crate::error::{DeadOwner, LockError, OwnedByTheDead, Result};

/// A lock that processes share.
///
/// Like [`std::sync::Mutex`] without the value ([`Value`](crate::Value) and [`Array`](crate::Array) are the ones with): it
/// is for what is outside of the program, a terminal, a file, a device. It is released when its guard is dropped, also by a
/// panic, and by the death of its owner, however it dies.
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
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct LockGuard<'a>(RawGuard<'a>);

impl Lock {
    /// Makes a lock that nobody owns.
    ///
    /// # Errors
    ///
    /// When the shared memory is full or cannot be made.
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
    /// # Errors
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the previous owner died while it owned the lock.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others, or is
    ///   this thread.
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().lock(self.0.arena(), None))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] when it is not, and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().try_lock(self.0.arena()))
    }

    /// Waits for the lock for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`], and those of [`lock`](Self::lock); of deadlocks only that with itself is noticed.
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        wrap(self.0.body().lock(self.0.arena(), deadline_after(timeout)))
    }
}

fn wrap<'a>(
    result: Result<RawGuard<'a>, LockError<RawGuard<'a>>>,
) -> Result<LockGuard<'a>, LockError<LockGuard<'a>>> {
    result.map(LockGuard).map_err(|error| error.map(LockGuard))
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
