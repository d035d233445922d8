//! Data that is written once.
//!
//! Its maker writes it while the object is unfinished, which nobody else can have a handle of; from then on it is only read.
//! There is no word that two processes change. Who dies while making one leaves an unfinished object, which is freed with
//! whatever it held.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Shareable, size_with_items};
use crate::arena::{Arena, Body, CHUNK, Handle, Kind, arena};
use crate::error::Result;

/// Data in shared memory that is written once, where it lies, and read everywhere without a copy: a table, an image, a
/// matrix.
///
/// A `Shared<T>` is one value, a `Shared<[T]>` many; they dereference to it. Nobody can change it any more, so that
/// reading needs no lock, and a reference lives as long as the handle. What changes belongs into a
/// [`Value`](crate::Value), [`Array`](crate::Array) or [`Atomic`](crate::Atomic).
///
/// A shared is a handle: a few bytes in a message, whatever it holds, and clones and copies are the same memory, which is
/// freed with the last of them. Items begin at a multiple of 64 bytes.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn sum(numbers: mp::Shared<[f64]>, from: usize, to: usize) -> f64 {
///     numbers[from..to].iter().sum()
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let numbers = mp::Shared::<[f64]>::from_fn(1000, |i| i as f64)?;
///     let halves = [mp::spawn!(sum, numbers.clone(), 0, 500)?, mp::spawn!(sum, numbers.clone(), 500, 1000)?];
///     let [low, high] = halves.map(|half| half.join());
///     assert_eq!(low? + high?, 499_500.0);
///     Ok(())
/// }
/// ```
///
/// ```compile_fail,E0596
/// let numbers = mp::Shared::from_slice(&[1, 2, 3])?;
/// numbers[0] = 10; // only read
/// # Ok::<(), mp::Error>(())
/// ```
pub struct Shared<T: SharedContent + ?Sized> {
    handle: Handle<SharedBody, Shared<T>>,
    /// In the object, so that nobody has to look for it.
    content: NonNull<T>,
}

/// What precedes the items.
#[repr(C, align(64))]
struct SharedBody {
    length: usize,
}

// SAFETY: `repr(C)`; written before it is shared, and never again.
unsafe impl Body for SharedBody {
    const KIND: Kind = Kind::Shared;
}

// SAFETY: it gives access to plain data that nobody changes, and a handle can be sent and shared.
unsafe impl<T: SharedContent + ?Sized> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: SharedContent + ?Sized> Sync for Shared<T> {}

impl<T: Shareable> Shared<T> {
    /// Shares a value.
    ///
    /// A type that is aligned to more than 64 bytes does not compile here.
    ///
    /// # Examples
    ///
    /// ```
    /// let weights = mp::Shared::new([0.25, 0.5, 0.25])?;
    /// assert_eq!(weights.iter().sum::<f64>(), 1.0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// ```compile_fail,E0080
    /// use mp::bytemuck::{Pod, Zeroable};
    ///
    /// #[derive(Clone, Copy, Pod, Zeroable)]
    /// #[bytemuck(crate = "mp::bytemuck")]
    /// #[repr(C, align(128))]
    /// struct Wide([u8; 128]);
    ///
    /// mp::Shared::new(Wide([0; 128]));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new(value: T) -> Result<Self> {
        // SAFETY: the closure writes the one item, in its new block.
        unsafe {
            Self::create(1, |arena, place: *mut T| {
                arena.fill(place.cast(), bytemuck::bytes_of(&value));
            })
        }
    }
}

impl<T: Shareable> Shared<[T]> {
    /// Shares a copy of `items`.
    ///
    /// A type that is aligned to more than 64 bytes does not compile here.
    ///
    /// # Examples
    ///
    /// ```
    /// let primes = mp::Shared::from_slice(&[2, 3, 5, 7])?;
    /// assert_eq!(primes[1..], [3, 5, 7]);
    /// assert!(primes.contains(&7));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn from_slice(items: &[T]) -> Result<Self> {
        let bytes = bytemuck::cast_slice(items);
        // SAFETY: the closure writes as many items as there are, in their new block.
        unsafe {
            Self::create(items.len(), |arena, place: *mut T| {
                arena.fill(place.cast(), bytes);
            })
        }
    }

    /// Shares `length` items, which `item` makes from their indices.
    ///
    /// When `item` panics, the memory is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let squares = mp::Shared::<[u64]>::from_fn(1000, |i| (i * i) as u64)?;
    /// assert_eq!(squares[30], 900);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn from_fn(length: usize, mut item: impl FnMut(usize) -> T) -> Result<Self> {
        // By way of a buffer, because the arena fills large parts faster than single items.
        let at_once = (CHUNK / size_of::<T>().max(1)).max(1);
        // SAFETY: the closure writes as many items as there are, in their new block.
        unsafe {
            Self::create(length, |arena, place: *mut T| {
                let mut buffer = Vec::with_capacity(at_once.min(length));
                for start in (0..length).step_by(at_once) {
                    buffer.clear();
                    buffer.extend((start..length).take(at_once).map(&mut item));
                    arena.fill(place.add(start).cast(), bytemuck::cast_slice(&buffer));
                }
            })
        }
    }

    /// Shares the items of an iterator that knows how many there are.
    ///
    /// When the iterator panics, the memory is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// let words = ["to", "be", "or", "not"];
    /// let lengths = mp::Shared::from_iter(words.iter().map(|word| word.len()))?;
    /// assert_eq!(*lengths, [2, 2, 2, 3]);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    ///
    /// # Panics
    ///
    /// When the iterator has fewer items than it said. It is not asked for more.
    #[expect(
        clippy::should_implement_trait,
        reason = "the trait's cannot fail, and takes any iterator"
    )]
    pub fn from_iter<I>(items: I) -> Result<Self>
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: ExactSizeIterator,
    {
        let mut items = items.into_iter();
        let length = items.len();
        Self::from_fn(length, |index| {
            items.next().unwrap_or_else(|| {
                panic!("an iterator said that it has {length} items, and ended after {index}")
            })
        })
    }

    /// Shares `length` items, which `write` writes in place; before, all their bytes are zero.
    ///
    /// When `write` panics, the memory is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let mut file: &[u8] = b"as large as it may be"; // or a `File`
    /// let mut read = Ok(());
    /// let content = mp::Shared::zeroed_with(file.len(), |bytes| read = file.read_exact(bytes))?;
    /// read?;
    /// assert!(content.starts_with(b"as large"));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn zeroed_with(length: usize, write: impl FnOnce(&mut [T])) -> Result<Self> {
        // SAFETY: the closure writes as many items as there are, in their new block: zeroes are an item, as any bytes are.
        // Nobody else has the block before the closure ends, and the slice does not leave the closure.
        unsafe {
            Self::create(length, |arena, place: *mut T| {
                arena.zero(place.cast(), length * size_of::<T>());
                write(std::slice::from_raw_parts_mut(place, length));
            })
        }
    }
}

impl<T: SharedContent + ?Sized> Shared<T> {
    /// # Safety
    ///
    /// `fill` initialises `length` items at the place that it is given.
    unsafe fn create(length: usize, fill: impl FnOnce(&Arena, *mut T::Item)) -> Result<Self> {
        const {
            assert!(
                align_of::<T::Item>() <= 64,
                "a type in shared memory is aligned to at most 64 bytes"
            )
        };
        let bytes = size_with_items::<SharedBody, T::Item>(length)?;
        let arena = arena()?;
        // SAFETY: the closure initialises the body; the items follow it, and it is as large as their alignment wants.
        let handle = unsafe {
            Handle::create(bytes, |place: *mut SharedBody| {
                place.write(SharedBody { length });
                fill(arena, place.add(1).cast());
            })
        };
        Ok(Self::of(handle?))
    }

    fn of(handle: Handle<SharedBody, Self>) -> Self {
        let length = handle.body().length;
        let place = handle.body_offset().plus(size_of::<SharedBody>() as u64);
        let bytes = length * size_of::<T::Item>();
        // From the arena, not through the body, which ends before the items.
        let items = handle.arena().pointer(place, bytes as u64).cast();
        Self {
            handle,
            content: T::at(items, length),
        }
    }
}

impl<T: SharedContent + ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised before the first handle existed, alive while this one does (A4), and never written again.
        unsafe { self.content.as_ref() }
    }
}

impl<T: SharedContent + ?Sized> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: SharedContent + ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            content: self.content,
        }
    }
}

impl<T: SharedContent + fmt::Debug + ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&&**self).finish()
    }
}

/// Compares what is shared.
impl<T: SharedContent + PartialEq + ?Sized> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: SharedContent + Eq + ?Sized> Eq for Shared<T> {}

impl<'a, T: Shareable> IntoIterator for &'a Shared<[T]> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: SharedContent + ?Sized> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de, T: SharedContent + ?Sized> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::deserialize(deserializer).map(Self::of)
    }
}

/// What a [`Shared`] can hold: a [`Shareable`] value, or a slice of such. No other type can implement it.
///
/// # Examples
///
/// ```
/// fn address<T: mp::SharedContent + ?Sized>(shared: &mp::Shared<T>) -> *const u8 {
///     let content: &T = shared;
///     std::ptr::from_ref(content).cast()
/// }
///
/// let (one, many) = (mp::Shared::new(1)?, mp::Shared::from_slice(&[1, 2])?);
/// assert_ne!(address(&one), address(&many));
/// # Ok::<(), mp::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in shared memory",
    note = "an `mp::Shared` holds plain data without pointers, one `mp::Shareable` item or a slice of them; anything else can be sent \
            through a queue instead"
)]
pub trait SharedContent: sealed::Content {}

#[diagnostic::do_not_recommend]
impl<T: Shareable> SharedContent for T {}
#[diagnostic::do_not_recommend]
impl<T: Shareable> SharedContent for [T] {}

mod sealed {
    use std::ptr::NonNull;

    use crate::shared::Shareable;

    pub trait Content: 'static {
        type Item: Shareable;

        /// The content that `length` items are, one for a value.
        fn at(first: NonNull<Self::Item>, length: usize) -> NonNull<Self>;
    }

    impl<T: Shareable> Content for T {
        type Item = T;

        fn at(first: NonNull<T>, _length: usize) -> NonNull<T> {
            first
        }
    }

    impl<T: Shareable> Content for [T] {
        type Item = T;

        fn at(first: NonNull<T>, length: usize) -> NonNull<[T]> {
            NonNull::slice_from_raw_parts(first, length)
        }
    }
}
