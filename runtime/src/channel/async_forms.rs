//! Receiving without blocking the thread.

use serde::de::DeserializeOwned;

use super::{Connection, Receiver};
use crate::error::RecvError;
use crate::reactor::until_readable;
use crate::sys::AsFd;

impl<S, R: DeserializeOwned> Connection<S, R> {
    /// Waits for a value without blocking the thread.
    ///
    /// It works on any runtime. A future that is dropped before it is done has received nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut receiving = pin!(b.recv_async());
    /// assert!(receiving.as_mut().poll(&mut context).is_pending());
    /// a.send(7)?;
    /// assert_eq!(receiving.poll(&mut context), Poll::Ready(Ok(7)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv), and [`RecvError::Failed`] when the system refuses the thread that watches the
    /// connection.
    pub async fn recv_async(&self) -> Result<R, RecvError> {
        let attempt = || match self.try_recv() {
            Err(RecvError::Empty) => None,
            other => Some(other),
        };
        until_readable(self.as_fd(), attempt)
            .await
            .unwrap_or_else(|error| Err(RecvError::Failed(error.to_string())))
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for a value without blocking the thread. See [`Connection::recv_async`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let (tx, rx) = mp::channel()?;
    /// tx.send(7)?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert_eq!(pin!(rx.recv_async()).poll(&mut context), Poll::Ready(Ok(7)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv), and [`RecvError::Failed`] when the system refuses the thread that watches the
    /// connection.
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        self.0.recv_async().await
    }
}
