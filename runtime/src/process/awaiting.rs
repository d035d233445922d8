//! Awaiting a process.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::Process;
use super::child_process::ChildProcess;
use crate::error::ProcessError;
use crate::reactor::FdWatch;

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
    /// Wakes the task at the end of the process.
    watch: Option<FdWatch<ChildProcess>>,
}

impl<R: DeserializeOwned> IntoFuture for Process<R> {
    type Output = Result<R, ProcessError>;
    type IntoFuture = Joining<R>;

    fn into_future(self) -> Joining<R> {
        Joining {
            process: Some(self),
            watch: None,
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
        if !child.wait_until(Some(Instant::now())).unwrap_or(true) {
            // An end since then is found at once.
            match FdWatch::new(process.child.clone(), context.waker().clone()) {
                Ok(watch) => {
                    this.watch = Some(watch);
                    this.process = Some(process);
                    return Poll::Pending;
                }
                // Nobody would wake the task, so that it waits here.
                Err(_) => drop(child.wait_until(None)),
            }
        }
        this.watch = None;
        Poll::Ready(process.join())
    }
}

impl<R> fmt::Debug for Joining<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Joining").field(&self.process).finish()
    }
}
