//! Awaiting a process.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::Process;
use super::child::Child;
use crate::error::ProcessError;

/// The future that a [`Process`] turns into: `process.await` gives what [`join`](Process::join) gives.
///
/// It works on any runtime: a thread of this library waits for the process, and wakes the task. Dropping the future
/// detaches the process, as dropping the [`Process`] does.
///
/// # Examples
///
/// ```
/// use std::pin::pin;
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Wake};
/// use std::thread::{self, Thread};
///
/// #[mp::process_fn]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// struct Unpark(Thread);
///
/// impl Wake for Unpark {
///     fn wake(self: Arc<Self>) {
///         self.0.unpark();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::spawn!(double, 21)?;
///     let mut value = pin!(async { process.await });
///     // What a runtime does.
///     let waker = Arc::new(Unpark(thread::current())).into();
///     loop {
///         match value.as_mut().poll(&mut Context::from_waker(&waker)) {
///             Poll::Ready(value) => break assert_eq!(value?, 42),
///             Poll::Pending => thread::park(),
///         }
///     }
///     Ok(())
/// }
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Joining<R> {
    process: Option<Process<R>>,
    /// Whom the waiting thread wakes, once it was started.
    waker: Option<Arc<Mutex<Waker>>>,
}

impl<R: DeserializeOwned> IntoFuture for Process<R> {
    type Output = Result<R, ProcessError>;
    type IntoFuture = Joining<R>;

    fn into_future(self) -> Joining<R> {
        Joining {
            process: Some(self),
            waker: None,
        }
    }
}

impl<R: DeserializeOwned> Future for Joining<R> {
    type Output = Result<R, ProcessError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let process = this
            .process
            .take()
            .expect("a future is not polled after it has given its value");
        let child = &process.child.0;
        let mut watched = true;
        match &this.waker {
            Some(waker) => lock(waker).clone_from(context.waker()),
            None => {
                let waker = Arc::new(Mutex::new(context.waker().clone()));
                watched = wake_at_end(Arc::clone(child), Arc::clone(&waker));
                this.waker = Some(waker);
            }
        }
        // After the waker is in its place: an end before this is seen here, a later one by the thread. Without a thread
        // nobody would wake the task, so that it waits here.
        let deadline = watched.then(Instant::now);
        if child.wait_until(deadline).unwrap_or(true) {
            return Poll::Ready(process.join());
        }
        this.process = Some(process);
        Poll::Pending
    }
}

/// Starts a thread that waits for the end of a process. Returns whether it could be started.
fn wake_at_end(child: Arc<Child>, waker: Arc<Mutex<Waker>>) -> bool {
    const STACK: usize = 64 << 10;
    let wait = move || {
        let _ = child.wait_until(None);
        lock(&waker).wake_by_ref();
    };
    std::thread::Builder::new()
        .name("mp-await".to_owned())
        .stack_size(STACK)
        .spawn(wait)
        .is_ok()
}

fn lock(waker: &Mutex<Waker>) -> std::sync::MutexGuard<'_, Waker> {
    waker
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<R> fmt::Debug for Joining<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Joining").field(&self.process).finish()
    }
}
