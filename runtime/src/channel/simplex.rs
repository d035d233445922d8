//! One-way connections.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Connection, pipe};
use crate::error::{RecvError, Result, SendError};
use crate::sys::{AsFd, BorrowedFd};

/// What travels in the direction that is not used: nothing can be a value of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Nothing {}

/// Makes a one-way connection.
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
///
/// # Errors
///
/// [`Error::Os`](crate::Error::Os) when the system gives no more descriptors or the shared memory cannot be made, and
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when that is full.
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let (tx, rx) = pipe()?;
    Ok((Sender(tx), Receiver(rx)))
}

/// The sending end of a one-way [`channel`]. What [`Connection`] says of passing and closing holds here too.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn produce(tx: mp::Sender<u32>) {
///     for n in 1..=3 {
///         tx.send(n).unwrap();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (tx, rx) = mp::channel()?;
///     let process = mp::spawn!(produce, tx)?;
///     assert_eq!((rx.recv()?, rx.recv()?, rx.recv()?), (1, 2, 3));
///     assert_eq!(rx.recv(), Err(mp::RecvError::Closed)); // the only sender was the child's
///     process.join()?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Sender<T>(Connection<T, Nothing>);

/// The receiving end of a one-way [`channel`]. What [`Connection`] says of passing and closing holds here too.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn add(rx: mp::Receiver<u32>) -> u32 {
///     let mut sum = 0;
///     while let Ok(n) = rx.recv() {
///         sum += n;
///     }
///     sum
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (tx, rx) = mp::channel()?;
///     let process = mp::spawn!(add, rx)?;
///     tx.send(40)?;
///     tx.send(2)?;
///     drop(tx); // which ends the loop
///     assert_eq!(process.join()?, 42);
///     Ok(())
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Receiver<T>(pub(super) Connection<Nothing, T>);

impl<T> Sender<T> {
    /// Sends bytes as they are. See [`Connection::send_bytes`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel::<()>()?;
    /// tx.send_bytes(b"tea")?;
    /// assert_eq!(rx.recv_bytes()?, b"tea");
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the receiver is gone, and [`SendError::Failed`] when the shared memory is full or
    /// the system refuses.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        self.0.send_bytes(bytes)
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends a value. See [`Connection::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel()?;
    /// tx.send(7)?;
    /// assert_eq!(rx.recv(), Ok(7));
    /// drop(rx);
    /// assert_eq!(tx.send(8), Err(mp::SendError::Closed(8)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With the value: [`SendError::Closed`] when the receiver is gone, [`SendError::Encode`] when the value cannot be
    /// encoded, and [`SendError::Failed`] when the shared memory is full or the system refuses.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }
}

impl<T> Receiver<T> {
    /// Waits for a message of bytes. See [`Connection::recv_bytes`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel::<()>()?;
    /// tx.send_bytes(b"tea")?;
    /// drop(tx);
    /// assert_eq!(rx.recv_bytes()?, b"tea");
    /// assert_eq!(rx.recv_bytes(), Err(mp::RecvError::Closed));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the sender is gone, and [`RecvError::Failed`] when it sent a value, which is still there,
    /// or the system refuses.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes()
    }

    /// Waits for a message of bytes, copies it to the front of `buffer`, and returns its length. See
    /// [`Connection::recv_bytes_into`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel::<()>()?;
    /// let mut buffer = [0; 4];
    /// tx.send_bytes(b"tea")?;
    /// let length = rx.recv_bytes_into(&mut buffer)?;
    /// assert_eq!(&buffer[..length], b"tea");
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLong`] when it does not fit: the message can still be received. And those of
    /// [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.0.recv_bytes_into(buffer)
    }

    /// Waits until a message or the end is there, for at most `timeout`; returns whether it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = mp::channel::<u32>()?;
    /// assert!(!rx.poll(Duration::ZERO)?);
    /// drop(tx);
    /// assert!(rx.poll(Duration::MAX)?);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        self.0.poll(timeout)
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for a value. See [`Connection::recv`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel()?;
    /// tx.send(7)?;
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(7));
    /// assert_eq!(rx.recv(), Err(mp::RecvError::Closed));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the sender is gone, [`RecvError::Decode`] when what it sent is no `T`, and
    /// [`RecvError::Failed`] when the system refuses.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// Receives a value if one is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = mp::channel()?;
    /// assert_eq!(rx.try_recv(), Err(mp::RecvError::Empty));
    /// tx.send(7)?;
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when none is, and those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.0.try_recv()
    }

    /// Waits for a value for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = mp::channel()?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(mp::RecvError::TimedOut));
    /// tx.send(7)?;
    /// assert_eq!(rx.recv_timeout(Duration::MAX), Ok(7));
    /// # Ok::<(), mp::Error>(())
    /// ```
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
