//! The re-entrant lock.
//!
//! | word | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `lock` | who owns it | see [`RawLock`] | the next owner is told |
//! | `levels` | how many guards the owner has | the owner | the next owner begins with 1 |
//! | `ownership` | the number of this ownership, which guards know | the owner, after acquiring | the next owner takes the next number |
//! | `owned` | the last number that was given | the owner | – |
//!
//! The number tells a guard whether its thread still owns the lock: a thread that waited for a [`Condition`](super::Condition)
//! may not have got the lock back, for a deadlock, and its other guards are without effect then.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Relock;
use super::raw::{RawGuard, RawLock};
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Handle, Kind};
use crate::error::{DeadOwner, LockError, OwnedByTheDead, Result};

/// A [`Lock`](crate::Lock) that the thread which owns it can take again.
///
/// It is released when the last guard of its owner is dropped, in whatever order they are. Other threads of the same
/// process wait for it like those of other processes.
///
/// A lock is a handle: clones and copies in messages are the same lock.
///
/// # Examples
///
/// ```
/// let lock = mp::RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?; // a plain lock would be in a deadlock with itself
/// drop(outer);
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| matches!(lock.try_lock(), Err(mp::LockError::WouldBlock)));
///     assert!(other.join().unwrap());
/// });
/// drop(inner);
/// # Ok::<(), mp::Error>(())
/// ```
#[doc(alias = "ReentrantLock")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RLock(Handle<RLockBody, ()>);

#[repr(C)]
struct RLockBody {
    lock: RawLock,
    levels: AtomicU64,
    ownership: AtomicU64,
    owned: AtomicU64,
}

// SAFETY: `repr(C)`; a lock, and atomics.
unsafe impl Body for RLockBody {
    const KIND: Kind = Kind::RLock;

    fn is_pinned(&self, arena: &Arena) -> bool {
        self.lock.is_owned_here(arena)
    }
}

/// An [`RLock`] that this thread owns, and that is released when the last of its guards is dropped.
///
/// # Examples
///
/// ```
/// let lock = mp::RLock::new()?;
/// fn nested(lock: &mp::RLock, depth: u32) -> mp::Result<u32> {
///     let _guard: mp::RLockGuard<'_> = lock.lock()?;
///     if depth == 0 { Ok(0) } else { Ok(1 + nested(lock, depth - 1)?) }
/// }
/// assert_eq!(nested(&lock, 10)?, 10);
/// # Ok::<(), mp::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct RLockGuard<'a> {
    body: &'a RLockBody,
    arena: &'static Arena,
    ownership: u64,
    previous: Option<Box<DeadOwner>>,
    /// The mutex belongs to the thread.
    _thread: PhantomData<*const ()>,
}

type RLockResult<'a> = Result<RLockGuard<'a>, LockError<RLockGuard<'a>>>;

impl RLock {
    /// Makes a lock that nobody owns. Messages name it by the place of this call.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::RLock::new()?;
    /// assert!(lock.try_lock().is_ok());
    /// assert!(format!("{lock:?}").starts_with("RLock(created at "));
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
        // SAFETY: the closure initialises all fields.
        let handle = unsafe {
            Handle::create(size_of::<RLockBody>(), |place: *mut RLockBody| {
                RawLock::init(&raw mut (*place).lock, location);
                (&raw mut (*place).levels).write(AtomicU64::new(0));
                (&raw mut (*place).ownership).write(AtomicU64::new(0));
                (&raw mut (*place).owned).write(AtomicU64::new(0));
            })
        };
        Ok(Self(handle?))
    }

    /// Waits for the lock, unless this thread owns it already.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::RLock::new()?;
    /// let _outer = lock.lock()?;
    /// assert!(lock.lock().is_ok());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the previous owner died while it owned the lock, at whatever level.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_until(None)
    }

    /// Takes the lock if it is free or this thread's.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = mp::RLock::new()?;
    /// let _outer = lock.try_lock()?;
    /// assert!(lock.try_lock().is_ok());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] when somebody else owns it, and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.0.body().try_lock(self.0.arena())
    }

    /// Waits for the lock for at most `timeout`, unless this thread owns it already.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let lock = mp::RLock::new()?;
    /// let _guard = lock.lock()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(1)).is_ok());
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
    /// [`LockError::TimedOut`], and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.lock_until(deadline_after(timeout))
    }

    fn lock_until(&self, deadline: Option<Instant>) -> RLockResult<'_> {
        self.0.body().lock_until(self.0.arena(), deadline)
    }
}

impl RLockBody {
    fn lock_until(&self, arena: &'static Arena, deadline: Option<Instant>) -> RLockResult<'_> {
        match self.try_lock(arena) {
            Err(LockError::WouldBlock) => self.enter(arena, self.lock.lock(arena, deadline)),
            other => other,
        }
    }

    fn try_lock(&self, arena: &'static Arena) -> RLockResult<'_> {
        match self.lock.try_lock_again(arena) {
            Ok(Some(raw)) => self.enter(arena, Ok(raw)),
            Ok(None) => Ok(self.enter_again(arena)),
            Err(error) => self.enter(arena, Err(error)),
        }
    }

    /// One guard more of the thread that owns the lock.
    fn enter_again(&self, arena: &'static Arena) -> RLockGuard<'_> {
        let levels = self.levels.load(Ordering::Relaxed);
        self.levels.store(levels + 1, Ordering::Relaxed);
        self.guard(arena, None)
    }

    /// The first guard of a thread that acquired the lock, if it did.
    fn enter<'a>(
        &'a self,
        arena: &'static Arena,
        locked: Result<RawGuard<'a>, LockError<RawGuard<'a>>>,
    ) -> RLockResult<'a> {
        let begin = |raw: RawGuard<'a>| {
            let number = self.owned.load(Ordering::Relaxed) + 1;
            self.owned.store(number, Ordering::Relaxed);
            self.begin(number, 1);
            self.guard(arena, raw.keep())
        };
        locked.map(begin).map_err(|error| error.map(begin))
    }

    /// Makes the calling thread, which acquired the lock, its owner by that number.
    fn begin(&self, ownership: u64, levels: u64) {
        self.levels.store(levels, Ordering::Relaxed);
        self.ownership.store(ownership, Ordering::Relaxed);
    }

    /// Releases the lock, whatever the level.
    ///
    /// # Safety
    ///
    /// The calling thread owns it.
    unsafe fn end(&self) {
        self.ownership.store(0, Ordering::Relaxed);
        // SAFETY: the caller's promise; guards look at `ownership` before they use the lock.
        unsafe { self.lock.unlock() };
    }

    fn guard(&self, arena: &'static Arena, previous: Option<Box<DeadOwner>>) -> RLockGuard<'_> {
        RLockGuard {
            body: self,
            arena,
            ownership: self.ownership.load(Ordering::Relaxed),
            previous,
            _thread: PhantomData,
        }
    }
}

impl RLockGuard<'_> {
    /// Whether the lock is still this thread's: no other ownership has this number.
    fn is_valid(&self) -> bool {
        self.body.ownership.load(Ordering::Relaxed) == self.ownership
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        if !self.is_valid() {
            return;
        }
        let levels = self.body.levels.load(Ordering::Relaxed) - 1;
        self.body.levels.store(levels, Ordering::Relaxed);
        if levels == 0 {
            // SAFETY: a valid guard is its owner's, and this was the last.
            unsafe { self.body.end() };
        }
    }
}

impl Relock for RLockGuard<'_> {
    type Data = ();

    fn relock<R>(mut self, meanwhile: impl FnOnce() -> R) -> (R, Result<Self, LockError<Self>>) {
        let (body, arena, ownership) = (self.body, self.arena, self.ownership);
        if !self.is_valid() {
            return (meanwhile(), body.lock_until(arena, None));
        }
        let levels = body.levels.load(Ordering::Relaxed);
        self.previous = None;
        mem::forget(self);
        // SAFETY: the guard was valid.
        unsafe { body.end() };
        let result = meanwhile();
        let begin = |raw: RawGuard<'_>| {
            body.begin(ownership, levels);
            body.guard(arena, raw.keep())
        };
        let relocked = body.lock.lock(arena, None);
        (
            result,
            relocked.map(begin).map_err(|error| error.map(begin)),
        )
    }

    fn with_data<R>(&mut self, look: impl FnOnce(&mut ()) -> R) -> R {
        look(&mut ())
    }
}

impl OwnedByTheDead for RLockGuard<'_> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.previous.as_deref()
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RLock(created at {})", self.0.body().lock.created_at())
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RLockGuard")
    }
}
