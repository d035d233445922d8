//! Processes that run a function and give its value.
//!
//! ```text
//!  Builder::spawn            start: exec, fork, server         boot (in the child, before `main`'s own statements, or copy)
//!  encode arguments ──▶ order in a record ──▶ launch ─ ─ ─ ─▶ mark, descriptors ──▶ take order ──▶ look up, decode
//!                                                                                                    │
//!  Process::join ◀── outcome from the record ◀── pidfd: it has ended ◀── exit ◀── leave outcome ◀── run, encode
//! ```
//!
//! There is no handshake to wait for: the parent goes on as soon as the system has started the child, and learns the
//! rest from the child's end, which the kernel tells whatever its kind, and from the stage in its record.

mod account;
mod awaiting;
mod boot;
mod builder;
mod child;
mod child_process;
mod copy;
mod exec;
mod exit;
mod fork;
mod isolated;
mod method;
mod outcome;
mod output;
mod server;
mod spawn_macro;
mod start;
mod stdio;
mod surroundings;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use awaiting::Joining;
pub use boot::init;
#[doc(hidden)]
pub use boot::{main, test};
pub use builder::Builder;
use child::Child;
pub use child_process::ChildProcess;
pub use exec::set_executable;
pub(crate) use exit::is_ending;
pub use method::{StartMethod, set_start_method, start_method};
pub(crate) use outcome::{describe_panic, watch_panics};
pub(crate) use output::Capture;
pub use output::{OutputLine, OutputStream};
pub(crate) use server::Server;
#[doc(hidden)]
pub use server::end as end_fork_server;
pub use server::set_forkserver_preload;
pub use stdio::Stdio;
pub use tree::{
    CurrentProcess, ParentProcess, active_children, cpu_count, current_process, parent_process,
};

use crate::error::ProcessError;
use crate::reactor::{Source, Sourced};
use crate::wait::Waitable;

/// A process that was started to run a function which returns `R`.
///
/// Made by [`spawn!`](crate::spawn!) or [`Builder::spawn`]. What does not depend on the value (waiting, signals,
/// identity) are methods of [`ChildProcess`], which this dereferences to.
///
/// Dropping it detaches the process: it runs on, and is joined when this process exits, unless it is a daemon.
///
/// # Signals
///
/// A Ctrl-C in a terminal sends SIGINT to this process and to its children. To them it does nothing, and they print nothing: this
/// process decides. If it ends, they end with it, daemons or not; if it handles the signal, they go on, and it can let them finish.
/// A function can handle SIGINT itself.
///
/// Every other signal has its usual action in a child, and so has a SIGINT that a process sends:
/// [`interrupt`](ChildProcess::interrupt), or `kill -INT`. Signals that this process handles are not handled in its children; those
/// that it ignores are ignored in them.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::spawn!(add, 40, 2)?;
///     assert_eq!(process.name(), "Process-1");
///     assert_eq!(process.join()?, 42);
///     Ok(())
/// }
/// ```
pub struct Process<R> {
    child: ChildProcess,
    _value: PhantomData<fn() -> R>,
}

impl<R> Process<R> {
    fn new(child: Arc<Child>) -> Self {
        Self {
            child: ChildProcess(child),
            _value: PhantomData,
        }
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits until the process has ended, and returns what its function returned.
    ///
    /// What the function returned is safe once it is here: what happens to the process at its exit does not take it
    /// back.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn divide(a: u32, b: u32) -> u32 {
    ///     a / b
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(divide, 84, 2)?.join()?, 42);
    ///     let error = mp::spawn!(divide, 84, 0)?.join().unwrap_err();
    ///     let mp::ProcessError::Panicked(panic) = error else { panic!("{error}") };
    ///     assert_eq!(panic.message(), "attempt to divide by zero");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// When the process ended without a value: see [`ProcessError`].
    pub fn join(self) -> Result<R, ProcessError> {
        self.child.0.join()
    }
}

impl<R> Deref for Process<R> {
    type Target = ChildProcess;

    fn deref(&self) -> &ChildProcess {
        &self.child
    }
}

impl<R> Waitable for Process<R> {}

impl<R> Sourced for Process<R> {
    fn source(&self) -> Source<'_> {
        self.child.source()
    }
}

impl<R> crate::sys::AsFd for Process<R> {
    fn as_fd(&self) -> crate::sys::BorrowedFd<'_> {
        self.child.as_fd()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        self.child.0.detach();
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt(f)
    }
}
