//! One-way connections.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Connection, pipe};
use crate::error::{RecvError, Result, SendError};
use crate::sys::{AsFd, BorrowedFd};

/// What travels in the direction that is not used: nothing can be a value of it.
#[derive(Debug, Serialize, Deserialize)]
enum Nothing {}

/// Makes a one-way connection.
///
/// # Errors
///
/// When the system gives no more descriptors, or the shared memory is full or cannot be made.
///
/// # Examples
///
/// ```
/// let (tx, rx) = mp::channel()?;
/// tx.send("tea".to_owned())?;
/// drop(tx);
/// assert_eq!(rx.recv()?, "tea");
/// assert!(matches!(rx.recv(), Err(mp::RecvError::Closed)));
/// # Ok::<(), mp::Error>(())
/// ```
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let (tx, rx) = pipe()?;
    Ok((Sender(tx), Receiver(rx)))
}

/// The sending end of a one-way [`channel`]. What [`Connection`] says of passing and closing holds here too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Sender<T>(Connection<T, Nothing>);

/// The receiving end of a one-way [`channel`]. What [`Connection`] says of passing and closing holds here too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Receiver<T>(Connection<Nothing, T>);

impl<T> Sender<T> {
    /// Sends bytes as they are. See [`Connection::send_bytes`].
    ///
    /// # Errors
    ///
    /// When the receiver is gone, or the system refuses.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.0.send_bytes(bytes)
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends a value. See [`Connection::send`].
    ///
    /// # Errors
    ///
    /// With the value: when the receiver is gone, the value cannot be encoded, or the system refuses.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }
}

impl<T> Receiver<T> {
    /// Waits for a message of bytes. See [`Connection::recv_bytes`].
    ///
    /// # Errors
    ///
    /// When the sender is gone, or sent a value.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes()
    }

    /// Waits for a message of bytes, and copies it to the front of `buffer`. See [`Connection::recv_bytes_into`].
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLong`] when it does not fit: the message can still be received.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.0.recv_bytes_into(buffer)
    }

    /// Waits until a message or the end is there, for at most `timeout`; returns whether it is.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        self.0.poll(timeout)
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for a value. See [`Connection::recv`].
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the sender is gone, and [`RecvError::Decode`] when what it sent is no `T`.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// Receives a value if one is there.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when none is, and those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.0.try_recv()
    }

    /// Waits for a value for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`] when none came in time, and those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.0.recv_timeout(timeout)
    }
}

impl<T> AsFd for Sender<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
