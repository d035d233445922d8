//! Waiting for a queue with others, and without blocking the thread.

use std::sync::atomic::AtomicU32;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JoinableQueue, Queue};
use crate::error::{Failure, TryGetError, TryPutError};
use crate::reactor::{Word, until};

impl<T: Serialize> Queue<T> {
    /// Puts an item at the end, and waits while the queue is full without blocking the thread.
    ///
    /// It works on any runtime. A future that is dropped before it is done has put nothing; the item is dropped with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let queue = mp::Queue::bounded(1)?;
    /// queue.put(7)?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut putting = pin!(queue.put_async(8));
    /// assert!(putting.as_mut().poll(&mut context).is_pending());
    /// assert_eq!(queue.get(), Ok(7));
    /// assert_eq!(putting.poll(&mut context), Poll::Ready(Ok(())));
    /// assert_eq!(queue.get(), Ok(8));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put), and [`TryPutError::Failed`] when the system refuses the thread that watches the queue.
    pub async fn put_async(&self, item: T) -> Result<(), TryPutError<T>> {
        let mut unput = Some(item);
        let attempt = || match self.try_put(unput.take()?) {
            Err(TryPutError::Full(item)) => {
                unput = Some(item);
                None
            }
            other => Some(other),
        };
        match until(|| self.0.body().room().announced_word(), attempt).await {
            Ok(put) => put,
            Err(error) => {
                let item = unput.expect("an item that was not put is here");
                Err(TryPutError::Failed(item, Failure::from(&error)))
            }
        }
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the item at the front, and waits while the queue is empty without blocking the thread.
    ///
    /// It works on any runtime, and in several tasks at once. A future that is dropped before it is done has taken
    /// nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Waker};
    /// let queue = mp::Queue::new()?;
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut getting = pin!(queue.get_async());
    /// assert!(getting.as_mut().poll(&mut context).is_pending());
    /// queue.put(7)?;
    /// assert_eq!(getting.poll(&mut context), Poll::Ready(Ok(7)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and [`TryGetError::Failed`] when the system refuses the thread that watches the queue.
    pub async fn get_async(&self) -> Result<T, TryGetError> {
        let attempt = || match self.try_get() {
            Err(TryGetError::Empty) => None,
            other => Some(other),
        };
        until(|| self.0.body().messages().announced_word(), attempt)
            .await
            .unwrap_or_else(|error| Err(TryGetError::Failed(Failure::from(&error))))
    }
}

/// An item is there, or the queue is shut down.
impl<T> Word for Queue<T> {
    fn is_ready(&self, _moment: u32) -> bool {
        !self.is_empty() || self.is_shutdown()
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        self.0.body().messages().announced_word()
    }
}

impl<T> Word for JoinableQueue<T> {
    fn is_ready(&self, moment: u32) -> bool {
        (**self).is_ready(moment)
    }

    fn announce(&self) -> (&AtomicU32, u32) {
        (**self).announce()
    }
}
