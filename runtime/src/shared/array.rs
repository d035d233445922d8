//! Many values under one lock.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Shareable, size_with_items};
use crate::arena::{Arena, Body, Handle, Kind, arena};
use crate::error::{DeadOwner, LockError, OwnedByTheDead, Result};
use crate::sync::{RawGuard, RawLock, Relock, deadline_after};

/// An array in shared memory, of a length that does not change, under a lock of its own.
///
/// An array is a handle: clones and copies in messages are the same array.
///
/// # Examples
///
/// ```
/// let array = mp::Array::from_slice(&[1.0_f64, 2.0, 3.0])?;
/// array.lock()?[1] = 20.0;
/// assert_eq!(array.to_vec()?, [1.0, 20.0, 3.0]);
/// assert_eq!(array.len(), 3);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Array<T: Shareable>(Handle<ArrayBody<T>, T>);

/// What precedes the items.
#[repr(C, align(64))]
struct ArrayBody<T> {
    lock: RawLock,
    length: usize,
    _items: PhantomData<fn() -> T>,
}

// SAFETY: `repr(C)`; the length is written before the array is shared, the items are touched only under the lock.
unsafe impl<T: Shareable> Body for ArrayBody<T> {
    const KIND: Kind = Kind::Array;

    fn is_pinned(&self, arena: &Arena) -> bool {
        self.lock.is_owned_here(arena)
    }
}

type ArrayResult<'a, T, R> = Result<R, LockError<ArrayGuard<'a, T>>>;

impl<T: Shareable> Array<T> {
    /// Makes a shared array with a copy of `items`. Messages name its lock by the place of this call.
    ///
    /// A type that is aligned to more than 64 bytes does not compile here.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn double(numbers: mp::Array<u64>) {
    ///     numbers.lock().unwrap().iter_mut().for_each(|number| *number *= 2);
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let numbers = mp::Array::from_slice(&[1, 2, 3])?;
    ///     mp::spawn!(double, numbers.clone())?.join()?;
    ///     assert_eq!(numbers.to_vec()?, [2, 4, 6]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    #[track_caller]
    pub fn from_slice(items: &[T]) -> Result<Self> {
        let bytes = bytemuck::cast_slice(items);
        // SAFETY: the closure writes as many items as the array has, in its new block.
        unsafe { Self::create(items.len(), |arena, place| arena.fill(place.cast(), bytes)) }
    }

    /// Makes a shared array of `length` items, all of whose bytes are zero.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = mp::Array::<u16>::zeroed(3)?;
    /// assert_eq!(array.to_vec()?, [0, 0, 0]);
    ///
    /// let too_large = mp::Array::<u64>::zeroed(usize::MAX);
    /// assert!(matches!(too_large, Err(mp::Error::OutOfMemory { .. })));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    #[track_caller]
    pub fn zeroed(length: usize) -> Result<Self> {
        // SAFETY: the closure writes as many items as the array has, in its new block; zeroes are an item, as any bytes are.
        unsafe {
            Self::create(length, |arena, place| {
                arena.zero(place.cast(), length * size_of::<T>());
            })
        }
    }

    /// # Safety
    ///
    /// `fill` initialises `length` items at the place that it is given.
    #[track_caller]
    unsafe fn create(length: usize, fill: impl FnOnce(&Arena, *mut T)) -> Result<Self> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "a type in shared memory is aligned to at most 64 bytes"
            )
        };
        let location = Location::caller();
        let bytes = size_with_items::<ArrayBody<T>, T>(length)?;
        let arena = arena()?;
        // SAFETY: the closure initialises both fields; the items follow the body, which is as large as its alignment wants.
        let handle = unsafe {
            Handle::create(bytes, |place: *mut ArrayBody<T>| {
                RawLock::init(&raw mut (*place).lock, location);
                (&raw mut (*place).length).write(length);
                fill(arena, place.add(1).cast());
            })
        };
        Ok(Self(handle?))
    }

    /// Returns how many items the array has.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::Array::from_slice(&[1, 2, 3])?.len(), 3);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.body().length
    }

    /// Tells whether the array has no items.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(mp::Array::<u8>::zeroed(0)?.is_empty());
    /// assert!(!mp::Array::<u8>::zeroed(1)?.is_empty());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the lock, and gives access to the items.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = mp::Array::from_slice(&[1, 2, 3])?;
    /// array.lock()?.sort_by_key(|item| std::cmp::Reverse(*item));
    /// let guard = array.lock()?;
    /// assert_eq!(*guard, [3, 2, 1]);
    /// assert!(matches!(array.lock(), Err(mp::LockError::Deadlock(_)))); // with itself
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the previous owner died while it owned the lock: the items may
    ///   be half changed.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others,
    ///   or is this thread.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> ArrayResult<'_, T, ArrayGuard<'_, T>> {
        self.wrap(self.0.body().lock.lock(self.0.arena(), None))
    }

    /// Gives access to the items if the lock is free.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = mp::Array::from_slice(&[1, 2, 3])?;
    /// let guard = array.try_lock()?;
    /// assert_eq!(guard[1], 2);
    /// assert!(matches!(array.try_lock(), Err(mp::LockError::WouldBlock)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] when it is not, and [`LockError::OwnerDied`] as in [`lock`](Self::lock).
    pub fn try_lock(&self) -> ArrayResult<'_, T, ArrayGuard<'_, T>> {
        self.wrap(self.0.body().lock.try_lock(self.0.arena()))
    }

    /// Waits for the lock for at most `timeout`, and gives access to the items.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let array = mp::Array::from_slice(&[1, 2, 3])?;
    /// let _guard = array.lock()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         let late = array.lock_timeout(Duration::from_millis(1));
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
    pub fn lock_timeout(&self, timeout: Duration) -> ArrayResult<'_, T, ArrayGuard<'_, T>> {
        self.wrap(
            self.0
                .body()
                .lock
                .lock(self.0.arena(), deadline_after(timeout)),
        )
    }

    /// Returns a copy of the items.
    ///
    /// # Examples
    ///
    /// ```
    /// let array = mp::Array::from_slice(&[1, 2, 3])?;
    /// array.lock()?[0] = 10;
    /// assert_eq!(array.to_vec()?, [10, 2, 3]);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn to_vec(&self) -> ArrayResult<'_, T, Vec<T>> {
        self.lock().map(|guard| guard.to_vec())
    }

    fn wrap<'a>(
        &'a self,
        result: Result<RawGuard<'a>, LockError<RawGuard<'a>>>,
    ) -> ArrayResult<'a, T, ArrayGuard<'a, T>> {
        let length = self.len();
        // The items are reached from the arena, not through the body, which ends before them.
        let place = self.0.body_offset().plus(size_of::<ArrayBody<T>>() as u64);
        let bytes = (length * size_of::<T>()) as u64;
        let items = self.0.arena().pointer(place, bytes).as_ptr().cast();
        let wrap = |guard| ArrayGuard {
            items,
            length,
            guard,
        };
        result.map(wrap).map_err(|error| error.map(wrap))
    }
}

impl<T: Shareable> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_tuple("Array");
        match self.try_lock() {
            Ok(guard) => debug.field(&&*guard).finish(),
            Err(_) => debug.field(&format_args!("<locked>")).finish(),
        }
    }
}

/// Access to an [`Array`], whose lock is released when this is dropped.
///
/// # Examples
///
/// ```
/// let array = mp::Array::from_slice(&[1, 2, 3])?;
/// let mut guard: mp::ArrayGuard<'_, i32> = array.lock()?;
/// guard.swap(0, 2);
/// assert_eq!(guard[..], [3, 2, 1]);
/// # Ok::<(), mp::Error>(())
/// ```
#[must_use = "the lock is released at once if the guard is not kept"]
pub struct ArrayGuard<'a, T> {
    items: *mut T,
    length: usize,
    guard: RawGuard<'a>,
}

impl<T> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length` items lie there, and this thread owns the lock that they lie under.
        unsafe { std::slice::from_raw_parts(self.items, self.length) }
    }
}

impl<T> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.items, self.length) }
    }
}

impl<T> Relock for ArrayGuard<'_, T> {
    type Data = [T];

    fn relock<R>(self, meanwhile: impl FnOnce() -> R) -> (R, Result<Self, LockError<Self>>) {
        let Self {
            items,
            length,
            guard,
        } = self;
        let (result, relocked) = guard.relock(meanwhile);
        let wrap = |guard| Self {
            items,
            length,
            guard,
        };
        (result, relocked.map(wrap).map_err(|error| error.map(wrap)))
    }

    fn with_data<R>(&mut self, look: impl FnOnce(&mut [T]) -> R) -> R {
        look(self)
    }
}

impl<T> OwnedByTheDead for ArrayGuard<'_, T> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.guard.dead_owner()
    }
}

impl<T: fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
