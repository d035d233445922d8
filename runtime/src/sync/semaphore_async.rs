//! Waiting for a permit with others, and without blocking the thread.

use std::sync::atomic::AtomicU32;

use super::semaphore::{BoundedSemaphore, Permits, Semaphore, SemaphorePermit};
use crate::error::Result;
use crate::reactor::{Word, until};

macro_rules! async_forms {
    ($($semaphore:ident)*) => {$(
        impl $semaphore {
            /// Waits for a permit without blocking the thread.
            ///
            /// It works on any runtime, and in several tasks at once. A future that is dropped before it is done has taken
            /// nothing.
            ///
            /// # Examples
            ///
            /// ```
            /// # use std::pin::pin;
            /// # use std::task::{Context, Poll, Waker};
            #[doc = concat!("let semaphore = mp::", stringify!($semaphore), "::new(1)?;")]
            /// let permit = semaphore.acquire()?;
            /// let mut context = Context::from_waker(Waker::noop());
            /// let mut acquiring = pin!(semaphore.acquire_async());
            /// assert!(acquiring.as_mut().poll(&mut context).is_pending());
            /// drop(permit);
            /// assert!(acquiring.poll(&mut context).is_ready());
            /// # Ok::<(), mp::Error>(())
            /// ```
            ///
            /// # Errors
            ///
            /// [`Error::Os`](crate::Error::Os) when the system refuses the thread that watches the semaphore.
            pub async fn acquire_async(&self) -> Result<SemaphorePermit<'_>> {
                let mut has_looked = false;
                let attempt = || {
                    let permit = self.try_take(None);
                    if permit.is_some() || !std::mem::replace(&mut has_looked, true) {
                        return permit;
                    }
                    // Woken, or waiting for long: somebody may have died with a permit.
                    self.collect(None);
                    self.try_take(None)
                };
                until(|| self.announced_word(), attempt).await
            }
        }

        /// There is a permit to take.
        impl Word for $semaphore {
            fn is_ready(&self, _moment: u32) -> bool {
                self.value() > 0
            }

            fn announce(&self) -> (&AtomicU32, u32) {
                self.announced_word()
            }
        }
    )*};
}

async_forms! { Semaphore BoundedSemaphore }
