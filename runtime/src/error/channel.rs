//! Why a connection did not send or receive.

use std::fmt;

use super::{DecodeError, EncodeError, Error};

/// Why a value was not sent; it comes back.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The peer is gone: closed, exited or killed.
    Closed(T),
    /// The value cannot be encoded.
    Encode(T, EncodeError),
    /// The shared memory is full, or the system refused.
    Failed(T, String),
}

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Closed(value)
            | SendError::Encode(value, _)
            | SendError::Failed(value, _) => value,
        }
    }

    /// Whether the peer is gone.
    pub fn is_closed(&self) -> bool {
        matches!(self, SendError::Closed(_))
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed(_) => {
                f.write_str("the value was not sent: the other end of the connection is gone")
            }
            SendError::Encode(_, error) => error.fmt(f),
            SendError::Failed(_, error) => f.write_str(error),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            SendError::Closed(_) => "Closed",
            SendError::Encode(..) => "Encode",
            SendError::Failed(..) => "Failed",
        };
        write!(f, "{variant}({self})")
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Encode(_, error) => Error::Encode(error),
            other => Error::Connection(other.to_string()),
        }
    }
}

/// Why nothing was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The peer is gone (closed, exited or killed), and everything that it sent has been received.
    Closed,
    /// No message is there (`try_recv`).
    Empty,
    /// No message came in time (`recv_timeout`).
    TimedOut,
    /// The message does not fit into the buffer (`recv_bytes_into`). It is still there to be received.
    TooLong {
        /// The message's length in bytes.
        length: usize,
        /// The buffer's length in bytes.
        buffer: usize,
    },
    /// The message cannot be decoded. It has been received, and the next one can be.
    Decode(DecodeError),
    /// The system refused.
    Failed(String),
}

impl RecvError {
    /// Whether the peer is gone.
    pub fn is_closed(&self) -> bool {
        matches!(self, RecvError::Closed)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => {
                f.write_str("nothing more can be received: the other end of the connection is gone")
            }
            RecvError::Empty => f.write_str("no message has arrived"),
            RecvError::TimedOut => f.write_str("no message arrived in time"),
            RecvError::TooLong { length, buffer } => write!(
                f,
                "the message has {length} bytes and the buffer only {buffer}; the message can still be received with a larger \
                 buffer or recv_bytes()"
            ),
            RecvError::Decode(error) => error.fmt(f),
            RecvError::Failed(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for RecvError {}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Decode(error) => Error::Decode(error),
            other => Error::Connection(other.to_string()),
        }
    }
}
