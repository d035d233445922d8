//! One value under a lock.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shareable;
use crate::arena::{Arena, Body, Handle, Kind};
use crate::error::{DeadOwner, LockError, OwnedByTheDead, Result};
use crate::sync::{RawGuard, RawLock, Relock, deadline_after};

/// A value in shared memory, under a lock of its own.
///
/// A read-modify-write without the lock does not type-check, so that no update is lost: `*value.lock()? += 1`.
///
/// A value is a handle: clones and copies in messages are the same value.
///
/// # Examples
///
/// ```
/// let value = mp::Value::new(20_i64)?;
/// *value.lock()? += 1;
/// assert_eq!(value.update(|n| n * 2)?, 42);
/// assert_eq!(value.get()?, 42);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Value<T: Shareable>(Handle<ValueBody<T>, T>);

#[repr(C)]
struct ValueBody<T> {
    lock: RawLock,
    data: UnsafeCell<T>,
}

// SAFETY: `repr(C)`; the data is touched only under the lock.
unsafe impl<T: Shareable> Body for ValueBody<T> {
    const KIND: Kind = Kind::Value;

    fn is_pinned(&self, arena: &Arena) -> bool {
        self.lock.is_owned_here(arena)
    }
}

/// What a lock operation on a [`Value`] gives.
pub(crate) type ValueResult<'a, T, R> = Result<R, LockError<ValueGuard<'a, T>>>;

impl<T: Shareable> Value<T> {
    /// Makes a shared value. Messages name its lock by the place of this call.
    ///
    /// A type that is aligned to more than 64 bytes does not compile here.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn add(total: mp::Value<u64>, n: u64) {
    ///     *total.lock().unwrap() += n;
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let total = mp::Value::new(0)?;
    ///     let processes = [mp::spawn!(add, total.clone(), 40)?, mp::spawn!(add, total.clone(), 2)?];
    ///     for process in processes {
    ///         process.join()?;
    ///     }
    ///     assert_eq!(total.get()?, 42);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    #[track_caller]
    pub fn new(value: T) -> Result<Self> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "a type in shared memory is aligned to at most 64 bytes"
            )
        };
        let location = Location::caller();
        // SAFETY: the closure initialises both fields.
        let handle = unsafe {
            Handle::create(size_of::<ValueBody<T>>(), |place: *mut ValueBody<T>| {
                RawLock::init(&raw mut (*place).lock, location);
                (&raw mut (*place).data).write(UnsafeCell::new(value));
            })
        };
        Ok(Self(handle?))
    }

    /// Waits for the lock, and gives access to the value.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new(20_i64)?;
    /// let mut guard = value.lock()?;
    /// *guard += 1;
    /// assert!(matches!(value.lock(), Err(mp::LockError::Deadlock(_)))); // with itself
    /// drop(guard);
    /// assert_eq!(*value.lock()?, 21);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the previous owner died while it owned the lock: the value may
    ///   be half changed.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others,
    ///   or is this thread.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> ValueResult<'_, T, ValueGuard<'_, T>> {
        self.wrap(self.0.body().lock.lock(self.0.arena(), None))
    }

    /// Gives access to the value if the lock is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new(20_i64)?;
    /// let guard = value.try_lock()?;
    /// assert_eq!(*guard, 20);
    /// assert!(matches!(value.try_lock(), Err(mp::LockError::WouldBlock)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] when it is not, and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    pub fn try_lock(&self) -> ValueResult<'_, T, ValueGuard<'_, T>> {
        self.wrap(self.0.body().lock.try_lock(self.0.arena()))
    }

    /// Waits for the lock for at most `timeout`, and gives access to the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let value = mp::Value::new(20_i64)?;
    /// let _guard = value.lock()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = value.lock_timeout(Duration::from_millis(1));
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
    pub fn lock_timeout(&self, timeout: Duration) -> ValueResult<'_, T, ValueGuard<'_, T>> {
        self.wrap(
            self.0
                .body()
                .lock
                .lock(self.0.arena(), deadline_after(timeout)),
        )
    }

    /// Returns a copy of the value.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new([1, 2])?;
    /// assert_eq!(value.get()?, [1, 2]);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn get(&self) -> ValueResult<'_, T, T> {
        self.lock().map(|guard| *guard)
    }

    /// Replaces the value.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new(7)?;
    /// value.set(8)?;
    /// assert_eq!(value.get()?, 8);
    ///
    /// let _guard = value.lock()?;
    /// assert!(value.set(9).is_err()); // this thread owns the lock
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock); the value is not replaced then.
    pub fn set(&self, value: T) -> ValueResult<'_, T, ()> {
        *self.lock()? = value;
        Ok(())
    }

    /// Replaces the value by what `change` makes of it, and returns the new one. The lock is held in between.
    ///
    /// When `change` panics, the value stays, and the lock is released.
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new(20)?;
    /// assert_eq!(value.update(|n| n + 1)?, 21);
    /// assert_eq!(value.get()?, 21);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock); the value is not changed then.
    pub fn update(&self, change: impl FnOnce(T) -> T) -> ValueResult<'_, T, T> {
        let mut guard = self.lock()?;
        *guard = change(*guard);
        Ok(*guard)
    }

    fn wrap<'a>(
        &'a self,
        result: Result<RawGuard<'a>, LockError<RawGuard<'a>>>,
    ) -> ValueResult<'a, T, ValueGuard<'a, T>> {
        let wrap = |guard| ValueGuard {
            data: &self.0.body().data,
            guard,
        };
        result.map(wrap).map_err(|error| error.map(wrap))
    }
}

impl<T: Shareable> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("Value");
        match self.try_lock() {
            Ok(guard) => debug.field(&*guard).finish(),
            Err(_) => debug.field(&format_args!("<locked>")).finish(),
        }
    }
}

/// Access to a [`Value`], whose lock is released when this is dropped.
///
/// # Examples
///
/// ```
/// let value = mp::Value::new(20)?;
/// let mut guard: mp::ValueGuard<'_, i32> = value.lock()?;
/// if *guard < 21 {
///     *guard += 1;
/// }
/// drop(guard);
/// assert_eq!(value.get()?, 21);
/// # Ok::<(), mp::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ValueGuard<'a, T> {
    data: &'a UnsafeCell<T>,
    guard: RawGuard<'a>,
}

impl<T> Deref for ValueGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread owns the lock that the data lies under, and any bytes are a `T`.
        unsafe { &*self.data.get() }
    }
}

impl<T> DerefMut for ValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.data.get() }
    }
}

impl<T> Relock for ValueGuard<'_, T> {
    type Data = T;

    fn relock<R>(self, meanwhile: impl FnOnce() -> R) -> (R, Result<Self, LockError<Self>>) {
        let Self { data, guard } = self;
        let (result, relocked) = guard.relock(meanwhile);
        let wrap = |guard| Self { data, guard };
        (result, relocked.map(wrap).map_err(|error| error.map(wrap)))
    }

    fn with_data<R>(&mut self, look: impl FnOnce(&mut T) -> R) -> R {
        look(self)
    }
}

impl<T> OwnedByTheDead for ValueGuard<'_, T> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.guard.dead_owner()
    }
}

impl<T: fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
