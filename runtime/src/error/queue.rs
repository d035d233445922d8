//! Why a queue did not take or give an item.

use std::fmt;

use super::{DecodeError, EncodeError, Error};

/// Why an item was not put into a queue; the item comes back.
///
/// # Examples
///
/// ```
/// use mp::TryPutError;
///
/// let queue = mp::Queue::bounded(1)?;
/// queue.put(1)?;
/// assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
/// queue.shutdown()?;
/// assert_eq!(queue.try_put(2), Err(TryPutError::Shutdown(2)));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// The queue is full (`try_put`), or stayed so until the deadline (`put_timeout`). There may be room later.
    Full(T),
    /// The queue has been shut down, and will take nothing any more.
    Shutdown(T),
    /// The item cannot be encoded. Putting others goes on working.
    Encode(T, EncodeError),
    /// The shared memory is full, or the system refused; the text says which.
    Failed(T, Failure),
}

impl<T> TryPutError<T> {
    /// Returns the item that was not put.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put("tea".to_owned())?;
    /// let item = queue.try_put("toast".to_owned()).unwrap_err().into_inner();
    /// assert_eq!(item, "toast");
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full(item)
            | TryPutError::Shutdown(item)
            | TryPutError::Encode(item, _)
            | TryPutError::Failed(item, _) => item,
        }
    }

    /// Tells whether the queue was full.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put(1)?;
    /// assert!(queue.try_put(2).is_err_and(|error| error.is_full()));
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, TryPutError::Full(_))
    }

    /// Tells whether the queue has been shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::new()?;
    /// queue.shutdown()?;
    /// assert!(queue.put(1).is_err_and(|error| error.is_shutdown()));
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_shutdown(&self) -> bool {
        matches!(self, TryPutError::Shutdown(_))
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryPutError::Full(_) => f.write_str("the queue is full"),
            TryPutError::Shutdown(_) => {
                f.write_str("the queue has been shut down, and takes no more items")
            }
            TryPutError::Encode(_, error) => error.fmt(f),
            TryPutError::Failed(_, error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            TryPutError::Full(_) => "Full",
            TryPutError::Shutdown(_) => "Shutdown",
            TryPutError::Encode(..) => "Encode",
            TryPutError::Failed(..) => "Failed",
        };
        write!(f, "{variant}({self})")
    }
}

impl<T> std::error::Error for TryPutError<T> {}

impl<T> From<TryPutError<T>> for Error {
    fn from(error: TryPutError<T>) -> Self {
        match error {
            TryPutError::Encode(_, error) => Error::Encode(error),
            other => Error::Queue(other.to_string()),
        }
    }
}

/// Why a queue gave no item.
///
/// # Examples
///
/// ```
/// use mp::TryGetError;
///
/// let queue = mp::Queue::<u32>::new()?;
/// assert_eq!(queue.try_get(), Err(TryGetError::Empty));
/// queue.shutdown()?;
/// assert_eq!(queue.try_get(), Err(TryGetError::Shutdown));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGetError {
    /// The queue is empty (`try_get`), or stayed so until the deadline (`get_timeout`). An item may come later.
    Empty,
    /// The queue has been shut down and drained: no item will come any more.
    Shutdown,
    /// The item cannot be decoded. It has been taken from the queue, and the next one can be.
    Decode(DecodeError),
    /// The system refused.
    Failed(Failure),
}

impl TryGetError {
    /// Tells whether the queue was empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::<u32>::new()?;
    /// assert!(queue.try_get().is_err_and(|error| error.is_empty()));
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, TryGetError::Empty)
    }

    /// Tells whether the queue has been shut down and drained.
    ///
    /// # Examples
    ///
    /// ```
    /// let queue = mp::Queue::<u32>::new()?;
    /// queue.shutdown()?;
    /// assert!(queue.get().is_err_and(|error| error.is_shutdown()));
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_shutdown(&self) -> bool {
        matches!(self, TryGetError::Shutdown)
    }
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryGetError::Empty => f.write_str("the queue is empty"),
            TryGetError::Shutdown => {
                f.write_str("the queue has been shut down, and all of its items have been taken")
            }
            TryGetError::Decode(error) => error.fmt(f),
            TryGetError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TryGetError {}

impl From<TryGetError> for Error {
    fn from(error: TryGetError) -> Self {
        match error {
            TryGetError::Decode(error) => Error::Decode(error),
            other => Error::Queue(other.to_string()),
        }
    }
}

/// Why a queue failed though nothing is wrong with the item or the queue: a sentence.
///
/// The shared memory is full, or the system refused something.
///
/// # Examples
///
/// ```
/// fn put(queue: &mp::Queue<Vec<u8>>, item: Vec<u8>) -> String {
///     match queue.put(item) {
///         Err(mp::TryPutError::Failed(item, failure)) => format!("{} bytes stay here: {failure}", item.len()),
///         Err(error) => error.to_string(),
///         Ok(()) => "put".to_owned(),
///     }
/// }
///
/// assert_eq!(put(&mp::Queue::new()?, vec![7]), "put");
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Box<Sentence>);

/// Behind a pointer, so that results are small enough to be returned in registers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sentence(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.0)
    }
}

impl std::error::Error for Failure {}

impl From<&Error> for Failure {
    #[cold]
    fn from(error: &Error) -> Self {
        Self(Box::new(Sentence(error.to_string())))
    }
}
