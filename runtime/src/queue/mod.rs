//! Queues.
//!
//! [`body`] is what a queue is, [`ring`] the memory of its messages, [`ends`] what is done with them, and this is the public
//! face; [`joinable`] adds tasks, and [`async_forms`] waiting without a thread.
//!
//! # Safety
//!
//! What lies between head and tail is changed by nobody and read by the holder of the head lock; the rest of a ring belongs
//! to the holder of the tail lock. Blocks cite the arena's invariants (A1–A6).

#![allow(unsafe_code)]

mod async_forms;
mod body;
mod ends;
mod joinable;
mod ring;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::body::QueueBody;
use self::ends::{Bytes, Inbound, Outbound, Refused};
pub use self::joinable::JoinableQueue;
use self::ring::INLINE;
use crate::arena::{Draft, Handle};
use crate::error::{Error, Failure, Result, TryGetError, TryPutError};
use crate::sync::{Patience, Signal, deadline_after};
use crate::wire;

/// A first-in, first-out queue that any process of the tree can put into and get from.
///
/// The items of each producer come out in the order in which they were put. The queue lives in shared memory, not in a
/// process: `put` returns when the item is there, and the item stays there when the process that put it has exited. So
/// `put`, exit, `join`, `get`, in this order, cannot deadlock. A process that dies while it uses the queue, at any
/// instruction, leaves it working, and takes with it at most the item that it was putting or had taken.
///
/// A queue is a handle: clones and copies in messages are the same queue. Items may contain handles, but a queue that
/// contains itself is never freed.
///
/// # Examples
///
/// ```
/// let queue = mp::Queue::new()?;
/// queue.put("tea".to_owned())?;
/// queue.put("toast".to_owned())?;
/// assert_eq!(queue.get()?, "tea");
///
/// queue.shutdown()?;
/// assert!(matches!(queue.put("late".to_owned()), Err(mp::TryPutError::Shutdown(item)) if item == "late"));
/// assert_eq!(queue.into_iter().collect::<Vec<_>>(), ["toast"]);
/// # Ok::<(), mp::Error>(())
/// ```
#[doc(alias = "SimpleQueue")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Queue<T>(Handle<QueueBody, T>);

impl<T> Queue<T> {
    /// Makes a queue that is limited by nothing but memory.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// for n in 0..1000 {
    ///     queue.put(n)?; // never waits
    /// }
    /// assert_eq!(queue.len(), 1000);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new() -> Result<Self> {
        Self::make(u64::MAX, false)
    }

    /// Makes a queue that holds at most `capacity` items: [`put`](Self::put) waits while it is full.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put("tea".to_owned())?;
    /// assert!(queue.try_put("toast".to_owned()).is_err_and(|error| error.is_full()));
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
    /// When `capacity` is 0: nothing could ever be put.
    #[doc(alias = "maxsize")]
    pub fn bounded(capacity: usize) -> Result<Self> {
        Self::make(Self::checked(capacity), false)
    }

    fn checked(capacity: usize) -> u64 {
        assert!(
            capacity > 0,
            "a queue of capacity 0 could never take an item; use at least 1, or an unbounded one"
        );
        capacity as u64
    }

    fn make(capacity: u64, counts_tasks: bool) -> Result<Self> {
        // SAFETY: the closure makes the body of a queue in place.
        let handle = unsafe {
            Handle::create(size_of::<QueueBody>(), |place: *mut QueueBody| {
                QueueBody::init(place, capacity, counts_tasks)
            })
        }?;
        handle.body().add_first_ring(handle.arena())?;
        Ok(Self(handle))
    }

    /// Returns how many items are in the queue, at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// queue.put(7)?;
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.0.body().len() as usize
    }

    /// Tells whether the queue holds no item, at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// assert!(queue.is_empty());
    /// queue.put(7)?;
    /// assert!(!queue.is_empty());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether the queue holds as many items as it can, at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put(7)?;
    /// assert!(queue.is_full());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        self.0.body().len() >= self.0.body().capacity()
    }

    /// Returns how many items the queue can hold; `None` if that is not limited.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::Queue::<u8>::bounded(3)?.capacity(), Some(3));
    /// assert_eq!(mp::Queue::<u8>::new()?.capacity(), None);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        let capacity = self.0.body().capacity();
        (capacity != u64::MAX).then_some(capacity as usize)
    }

    /// Shuts the queue down: from now on putting fails, and getting fails once the queue is drained. All who wait are
    /// woken. Shutting down again does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// queue.put(7)?;
    /// queue.shutdown()?;
    /// assert_eq!(queue.put(8), Err(mp::TryPutError::Shutdown(8)));
    /// assert_eq!(queue.get(), Ok(7));
    /// assert_eq!(queue.get(), Err(mp::TryGetError::Shutdown));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn shutdown(&self) -> Result<()> {
        self.0.body().close();
        Ok(())
    }

    /// Tells whether the queue has been shut down. It may still hold items.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// queue.put(7)?;
    /// assert!(!queue.is_shutdown());
    /// queue.shutdown()?;
    /// assert!(queue.is_shutdown());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_shutdown(&self) -> bool {
        self.0.body().is_closed()
    }
}

/// How long an operation may wait.
#[derive(Clone, Copy)]
enum Wait {
    No,
    Until(Option<Instant>),
}

impl<T: Serialize> Queue<T> {
    /// Puts an item at the end, and waits while the queue is full.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn produce(queue: mp::Queue<String>) {
    ///     queue.put("tea".to_owned()).unwrap();
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let queue = mp::Queue::new()?;
    ///     mp::spawn!(produce, queue.clone())?.join()?;
    ///     assert_eq!(queue.get()?, "tea"); // the producer is gone, its item is not
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// With the item: [`TryPutError::Shutdown`] when the queue is shut down, also while this waits,
    /// [`TryPutError::Encode`] when the item cannot be encoded, and [`TryPutError::Failed`] when the shared memory is
    /// full.
    pub fn put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.put_owned(item, Wait::Until(None))
    }

    /// Puts an item at the end if there is room.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.try_put(7)?;
    /// assert_eq!(queue.try_put(8), Err(mp::TryPutError::Full(8)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryPutError::Full`] when there is no room, and those of [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.put_owned(item, Wait::No)
    }

    /// Puts an item at the end, and waits for room for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put_timeout(7, Duration::from_millis(1))?;
    /// assert_eq!(queue.put_timeout(8, Duration::from_millis(1)), Err(mp::TryPutError::Full(8)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryPutError::Full`] when there was no room in time, and those of [`put`](Self::put).
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), TryPutError<T>> {
        self.put_owned(item, Wait::Until(deadline_after(timeout)))
    }

    /// Puts an item at the end that the caller keeps, and waits while the queue is full.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// let item = vec![1, 2, 3];
    /// queue.put_ref(&item)?;
    /// assert_eq!(queue.get()?, item);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put), without the item.
    pub fn put_ref(&self, item: &T) -> Result<(), TryPutError<()>> {
        self.put_encoded(item, Wait::Until(None))
            .map_err(|refused| refused.of_put(()))
    }

    fn put_owned(&self, item: T, wait: Wait) -> Result<(), TryPutError<T>> {
        self.put_encoded(&item, wait)
            .map_err(|refused| refused.of_put(item))
    }

    fn put_encoded(&self, item: &T, wait: Wait) -> Result<(), Refused> {
        let (arena, queue) = (self.0.arena(), self.0.body());
        if queue.is_closed() {
            return Err(Refused::Closed);
        }
        if matches!(wait, Wait::No) && self.is_full() {
            return Err(Refused::NotNow);
        }
        let encode =
            |draft: &mut Draft| wire::append(item, draft, &|| "an item for a queue".to_owned());
        let put = wire::with_draft(encode, |draft, outgoing| {
            let mut message = if draft.bytes().len() <= INLINE && outgoing.is_empty() {
                Outbound::Inline(draft.bytes())
            } else {
                let parcel = draft.finish(arena, outgoing);
                Outbound::Parcel(parcel.map_err(Refused::failed)?)
            };
            let attempt = |deadline| queue.push(arena, &mut message, deadline);
            wait.until_done(queue.room(), || queue.is_worth_a_put(), attempt)
        });
        put.unwrap_or_else(|error| Err(Refused::Encode(error)))
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the item at the front, and waits while the queue is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn add(numbers: mp::Queue<u32>) -> u32 {
    ///     let mut sum = 0;
    ///     while let Ok(number) = numbers.get() {
    ///         sum += number;
    ///     }
    ///     sum
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let numbers = mp::Queue::new()?;
    ///     let process = mp::spawn!(add, numbers.clone())?;
    ///     numbers.put(40)?;
    ///     numbers.put(2)?;
    ///     numbers.shutdown()?;
    ///     assert_eq!(process.join()?, 42);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryGetError::Shutdown`] when the queue has been shut down and drained, also while this waits, and
    /// [`TryGetError::Decode`] when the item cannot be decoded; it has been taken then.
    pub fn get(&self) -> Result<T, TryGetError> {
        self.get_message(Wait::Until(None))
    }

    /// Takes the item at the front if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// queue.put(7)?;
    /// assert_eq!(queue.try_get(), Ok(7));
    /// assert_eq!(queue.try_get(), Err(mp::TryGetError::Empty));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryGetError::Empty`] when there is none, and those of [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.get_message(Wait::No)
    }

    /// Takes the item at the front, and waits for one for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let queue = mp::Queue::new()?;
    /// queue.put(7)?;
    /// assert_eq!(queue.get_timeout(Duration::MAX), Ok(7));
    /// assert_eq!(queue.get_timeout(Duration::from_millis(1)), Err(mp::TryGetError::Empty));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryGetError::Empty`] when none came in time, and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, TryGetError> {
        self.get_message(Wait::Until(deadline_after(timeout)))
    }

    fn get_message(&self, wait: Wait) -> Result<T, TryGetError> {
        let (arena, queue) = (self.0.arena(), self.0.body());
        let debt = queue.counts_tasks().then(|| self.0.debt());
        let mut buffer = Bytes::new();
        let attempt = |deadline| queue.pop(arena, debt, &mut buffer, deadline);
        let taken = wait.until_done(queue.messages(), || queue.is_worth_a_get(), attempt);
        let message = taken.map_err(Refused::of_get)?;
        let (bytes, fds) = match &message {
            Inbound::Inline => (&*buffer, Vec::new()),
            Inbound::Parcel(parcel) => {
                let fds = parcel.take_fds();
                let fds = fds.map_err(|error| TryGetError::Failed(Failure::from(&error)))?;
                (parcel.bytes(), fds)
            }
        };
        wire::decode(bytes, fds, &|| "an item of a queue".to_owned()).map_err(TryGetError::Decode)
    }
}

impl Wait {
    /// Tries until it is done, or refused for good; meanwhile waits for `signal`. Who waits looks often whether it `is_worth`
    /// another attempt, and leaves the locks to others until then.
    #[inline]
    fn until_done<R>(
        self,
        signal: &Signal,
        is_worth: impl Fn() -> bool,
        mut attempt: impl FnMut(Option<Instant>) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        match (attempt(self.deadline()), self) {
            (Err(Refused::NotNow), Wait::Until(deadline)) => {
                keep_trying(signal, deadline, is_worth, attempt)
            }
            (other, _) => other,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Wait::No => None,
            Wait::Until(deadline) => deadline,
        }
    }
}

/// What [`Wait::until_done`] does after the first attempt.
#[cold]
fn keep_trying<R>(
    signal: &Signal,
    deadline: Option<Instant>,
    is_worth: impl Fn() -> bool,
    mut attempt: impl FnMut(Option<Instant>) -> Result<R, Refused>,
) -> Result<R, Refused> {
    let mut patience = Patience::default();
    loop {
        let mut may_try = false;
        while !may_try && patience.wait() {
            may_try = is_worth();
        }
        // Announce, look once more, then sleep.
        let announced = (!may_try).then(|| signal.announce());
        match attempt(deadline) {
            Err(Refused::NotNow) => {}
            other => return other,
        }
        if let Some(announced) = announced
            && !signal.sleep(announced, deadline)
        {
            return Err(Refused::NotNow);
        }
    }
}

impl Refused {
    #[cold]
    fn failed(error: Error) -> Self {
        Refused::Failed(Box::new(error))
    }

    #[cold]
    fn of_put<T>(self, item: T) -> TryPutError<T> {
        match self {
            Refused::NotNow => TryPutError::Full(item),
            Refused::Closed => TryPutError::Shutdown(item),
            Refused::Encode(error) => TryPutError::Encode(item, error),
            Refused::Failed(error) => TryPutError::Failed(item, Failure::from(&*error)),
        }
    }

    #[cold]
    fn of_get(self) -> TryGetError {
        match self {
            Refused::NotNow => TryGetError::Empty,
            Refused::Closed => TryGetError::Shutdown,
            Refused::Encode(_) => unreachable!("nothing is encoded to get an item"),
            Refused::Failed(error) => TryGetError::Failed(Failure::from(&*error)),
        }
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("is_shutdown", &self.is_shutdown())
            .finish()
    }
}

/// The items of a queue until it is shut down and drained. `for item in &queue` makes it.
///
/// # Examples
///
/// ```
/// let queue = mp::Queue::new()?;
/// queue.put(1)?;
/// queue.put(2)?;
/// queue.shutdown()?;
/// let mut items = Vec::new();
/// for item in &queue {
///     items.push(item);
/// }
/// assert_eq!(items, [1, 2]);
/// # Ok::<(), mp::Error>(())
/// ```
///
/// # Panics
///
/// `next` panics when an item cannot be decoded: to end there would look like the end of the queue. Use
/// [`get`](Queue::get) to handle that case.
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Queue<T>);

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self.0.get() {
            Ok(item) => Some(item),
            Err(TryGetError::Shutdown) => None,
            Err(error) => panic!("iterating over a queue: {error}"),
        }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        Iter(self)
    }
}
