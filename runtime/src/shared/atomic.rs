//! One atomic.
//!
//! The word is the program's: it means to `mp` nothing, each change of it is whole, and nobody waits for it, so there is no
//! state that a death could leave behind.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16,
    AtomicU32, AtomicU64, AtomicUsize,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::arena::{Body, Handle, Kind};
use crate::error::Result;

/// An atomic number or flag in shared memory: the standard library's, and it dereferences to it.
///
/// There is no lock, no system call and nobody to wait for: a step costs what it costs between threads. It has a cache
/// line of its own, so that it slows nothing down that lies beside it. What must change together with something else
/// belongs into a [`Value`](crate::Value) instead.
///
/// An atomic is a handle: clones and copies in messages are the same atomic.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::Ordering;
///
/// #[mp::process_fn]
/// fn count(done: mp::Atomic<u64>, times: u64) {
///     for _ in 0..times {
///         done.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let done = mp::Atomic::<u64>::new(0)?;
///     let processes = [mp::spawn!(count, done.clone(), 1000)?, mp::spawn!(count, done.clone(), 500)?];
///     for process in processes {
///         process.join()?;
///     }
///     assert_eq!(done.load(Ordering::Relaxed), 1500);
///     Ok(())
/// }
/// ```
pub struct Atomic<T: AtomicPrimitive> {
    handle: Handle<AtomicBody<T>, T>,
    /// In the object's body, so that nobody has to look for it.
    word: NonNull<T::Atomic>,
}

#[repr(C, align(64))]
struct AtomicBody<T: AtomicPrimitive>(T::Atomic);

// SAFETY: one atomic.
unsafe impl<T: AtomicPrimitive> Body for AtomicBody<T> {
    const KIND: Kind = Kind::Atomic;
}

// SAFETY: it gives access to an atomic, and a handle can be sent and shared.
unsafe impl<T: AtomicPrimitive> Send for Atomic<T> {}
// SAFETY: as above.
unsafe impl<T: AtomicPrimitive> Sync for Atomic<T> {}

impl<T: AtomicPrimitive> Atomic<T> {
    /// Makes a shared atomic.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let stop = mp::Atomic::new(false)?;
    /// assert!(!stop.swap(true, Ordering::AcqRel));
    ///
    /// let highest = mp::Atomic::<i32>::new(i32::MIN)?;
    /// highest.fetch_max(7, Ordering::Relaxed);
    /// highest.fetch_max(3, Ordering::Relaxed);
    /// assert_eq!(highest.load(Ordering::Relaxed), 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new(value: T) -> Result<Self> {
        let body = AtomicBody(value.into_atomic());
        // SAFETY: the closure initialises the body.
        let handle = unsafe {
            Handle::create(size_of::<AtomicBody<T>>(), |place: *mut AtomicBody<T>| {
                place.write(body);
            })
        };
        Ok(Self::of(handle?))
    }

    fn of(handle: Handle<AtomicBody<T>, T>) -> Self {
        let word = NonNull::from(&handle.body().0);
        Self { handle, word }
    }
}

impl<T: AtomicPrimitive> Deref for Atomic<T> {
    type Target = T::Atomic;

    fn deref(&self) -> &T::Atomic {
        // SAFETY: initialised before the first handle existed, and alive while this one does (A4).
        unsafe { self.word.as_ref() }
    }
}

impl<T: AtomicPrimitive> Clone for Atomic<T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            word: self.word,
        }
    }
}

impl<T: AtomicPrimitive> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Atomic").field(&**self).finish()
    }
}

impl<T: AtomicPrimitive> Serialize for Atomic<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de, T: AtomicPrimitive> Deserialize<'de> for Atomic<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::deserialize(deserializer).map(Self::of)
    }
}

/// What an [`Atomic`] can be of: `bool` and the integers of up to 64 bits. No other type can implement it.
///
/// # Examples
///
/// ```
/// fn largest<T: mp::AtomicPrimitive>() -> usize {
///     size_of::<T::Atomic>()
/// }
///
/// assert_eq!(largest::<u64>(), 8);
/// ```
#[diagnostic::on_unimplemented(
    message = "there is no atomic of `{Self}`",
    note = "an `mp::Atomic` is a `bool` or an integer of up to 64 bits; anything else can be an `mp::Value`"
)]
pub trait AtomicPrimitive: sealed::Primitive + Copy + Send + Sync + 'static {
    /// The standard library's atomic of this type.
    type Atomic: fmt::Debug + Send + Sync + 'static;

    /// Makes an atomic with this value, in the memory of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// use mp::AtomicPrimitive;
    ///
    /// assert_eq!(7_u8.into_atomic().into_inner(), 7);
    /// ```
    fn into_atomic(self) -> Self::Atomic;
}

mod sealed {
    pub trait Primitive {}
}

macro_rules! primitives {
    ($($primitive:ty: $atomic:ty),* $(,)?) => {$(
        impl sealed::Primitive for $primitive {}

        impl AtomicPrimitive for $primitive {
            type Atomic = $atomic;

            fn into_atomic(self) -> $atomic {
                <$atomic>::new(self)
            }
        }
    )*};
}

primitives! {
    bool: AtomicBool,
    i8: AtomicI8,
    i16: AtomicI16,
    i32: AtomicI32,
    i64: AtomicI64,
    isize: AtomicIsize,
    u8: AtomicU8,
    u16: AtomicU16,
    u32: AtomicU32,
    u64: AtomicU64,
    usize: AtomicUsize,
}
