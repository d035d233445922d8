//! Why a queue did not take or give an item.

use std::fmt;

use super::{DecodeError, EncodeError, Error};

/// Why an item was not put into a queue; the item comes back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// The queue is full (`try_put`), or stayed so until the deadline (`put_timeout`).
    Full(T),
    /// The queue has been shut down.
    Shutdown(T),
    /// The item cannot be encoded.
    Encode(T, EncodeError),
    /// The shared memory is full, or the system refused.
    Failed(T, String),
}

impl<T> TryPutError<T> {
    /// The item that was not put.
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full(item)
            | TryPutError::Shutdown(item)
            | TryPutError::Encode(item, _)
            | TryPutError::Failed(item, _) => item,
        }
    }

    /// Whether the queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self, TryPutError::Full(_))
    }

    /// Whether the queue has been shut down.
    pub fn is_shutdown(&self) -> bool {
        matches!(self, TryPutError::Shutdown(_))
    }

    /// The same error with another item.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> TryPutError<U> {
        match self {
            TryPutError::Full(item) => TryPutError::Full(change(item)),
            TryPutError::Shutdown(item) => TryPutError::Shutdown(change(item)),
            TryPutError::Encode(item, error) => TryPutError::Encode(change(item), error),
            TryPutError::Failed(item, error) => TryPutError::Failed(change(item), error),
        }
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
            TryPutError::Failed(_, error) => f.write_str(error),
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGetError {
    /// The queue is empty (`try_get`), or stayed so until the deadline (`get_timeout`).
    Empty,
    /// The queue has been shut down and drained.
    Shutdown,
    /// The item cannot be decoded. It has been taken from the queue.
    Decode(DecodeError),
    /// The system refused.
    Failed(String),
}

impl TryGetError {
    /// Whether the queue was empty.
    pub fn is_empty(&self) -> bool {
        matches!(self, TryGetError::Empty)
    }

    /// Whether the queue has been shut down and drained.
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
            TryGetError::Failed(error) => f.write_str(error),
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
