//! Why a connection did not send or receive.

use std::fmt;

use super::{DecodeError, EncodeError, Error};

/// Why a value was not sent over a connection; it comes back.
///
/// # Examples
///
/// ```
/// let (tx, rx) = mp::channel()?;
/// drop(rx);
/// let error = tx.send("tea".to_owned()).unwrap_err();
/// assert!(error.is_closed());
/// assert_eq!(error.into_inner(), "tea");
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The peer is gone: closed, exited or killed. Nothing will be received on this connection any more; make a new
    /// one.
    #[doc(alias = "BrokenPipeError")]
    Closed(T),
    /// The value cannot be encoded. The connection goes on working.
    Encode(T, EncodeError),
    /// The shared memory is full, or the system refused; the text says which. The connection goes on working.
    Failed(T, String),
}

impl<T> SendError<T> {
    /// Returns the value that was not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel()?;
    /// drop(rx);
    /// let value = tx.send(vec![1, 2, 3]).unwrap_err().into_inner();
    /// assert_eq!(value, [1, 2, 3]);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendError::Closed(value)
            | SendError::Encode(value, _)
            | SendError::Failed(value, _) => value,
        }
    }

    /// Tells whether the peer is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel()?;
    /// drop(rx);
    /// assert!(tx.send(1).is_err_and(|error| error.is_closed()));
    /// # Ok::<(), mp::Error>(())
    /// ```
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
///
/// # Examples
///
/// ```
/// use mp::RecvError;
///
/// let (tx, rx) = mp::channel::<u32>()?;
/// assert_eq!(rx.try_recv(), Err(RecvError::Empty));
/// tx.send(7)?;
/// drop(tx);
/// assert_eq!(rx.try_recv(), Ok(7));
/// assert_eq!(rx.try_recv(), Err(RecvError::Closed));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The peer is gone (closed, exited or killed), and everything that it sent has been received.
    #[doc(alias = "EOFError")]
    Closed,
    /// No message is there (`try_recv`). One may come.
    Empty,
    /// No message came in time (`recv_timeout`). One may come.
    TimedOut,
    /// The message does not fit into the buffer (`recv_bytes_into`). It is still there to be received, with a longer
    /// buffer or `recv_bytes`.
    #[doc(alias = "BufferTooShort")]
    TooLong {
        /// The message's length in bytes.
        length: usize,
        /// The buffer's length in bytes.
        buffer: usize,
    },
    /// The message cannot be decoded: the peer sends another type. It has been received, and the next one can be.
    Decode(DecodeError),
    /// The system refused, or the message was sent by `send` and received by `recv_bytes` or its kin; the text says
    /// which.
    Failed(String),
}

impl RecvError {
    /// Tells whether the peer is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel::<u32>()?;
    /// assert!(rx.try_recv().is_err_and(|error| !error.is_closed()));
    /// drop(tx);
    /// assert!(rx.try_recv().is_err_and(|error| error.is_closed()));
    /// # Ok::<(), mp::Error>(())
    /// ```
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
