//! Processes as easy as Python's `multiprocessing` made them, with nothing to clean up and nothing that can hang.
//!
//! A program needs processes, not threads, when its work may crash, leak or abort, calls C code that is not
//! thread-safe, must be killed at a deadline, or needs a memory limit, an environment or an address space of its own.
//! Annotate a function, and a child process runs it:
//!
//! ```
//! #[mp::process_fn]
//! fn count_words(text: &str, min_len: usize) -> usize {
//!     text.split_whitespace().filter(|word| word.len() >= min_len).count()
//! }
//!
//! #[mp::main]
//! fn main() -> mp::Result<()> {
//!     let process = mp::spawn!(count_words, "to be or not to be", 3)?;
//!     assert_eq!(process.join()?, 1);
//!     Ok(())
//! }
//! ```
//!
//! # What there is
//!
//! | for | use |
//! |---|---|
//! | functions that children run | [`#[process_fn]`](macro@process_fn) |
//! | programs and tests that start them | [`#[mp::main]`](macro@main), [`#[mp::test]`](macro@test), [`init`] |
//! | starting and joining | [`spawn!`], [`Builder`], [`Process`], [`ProcessError`], [`StartMethod`], [`set_forkserver_preload`] |
//! | seeing what they print | [`Builder::capture_output`], [`Builder::on_output`], [`OutputLine`], [`PoolBuilder::capture_output`] |
//! | running many tasks | [`Pool`], [`Task`], [`Job`], [`TaskError`], [`as_completed`], [`wait_any`], [`cancelled`] |
//! | who is who | [`current_process`], [`parent_process`], [`active_children`], [`cpu_count`] |
//! | handing work and results around | [`Queue`], [`JoinableQueue`] |
//! | talking to one process | [`pipe`], [`channel`], [`Connection`] |
//! | sharing | [`Value`], [`Array`], [`Atomic`], [`Shared`], and [`SharedMemory`] with other programs |
//! | synchronizing | [`Lock`], [`RLock`], [`Semaphore`], [`BoundedSemaphore`], [`Condition`], [`Event`], [`Barrier`] |
//! | waiting for several at once | [`wait`](fn@wait), [`Waitable`] |
//! | passing open files and sockets | [`Fd`] |
//! | values that are awkward to send | [`Json`], [`RemoteError`] |
//! | what goes wrong | [`Error`], and one type for each kind of operation, such as [`TryPutError`] and [`LockError`] |
//! | looking inside | [`functions`], [`arena_stats`] |
//!
//! # How it works
//!
//! **Functions cross by name.** The program is its own registry: `#[process_fn]` enters a function under its name, a
//! child executes the same program, and `#[mp::main]`, before anything else of `main`, sees that there is an order and
//! runs the function of that name. No address, no closure, no code ever crosses.
//!
//! **Data crosses in place.** All processes that descend from one `main`, its *tree*, map one piece of anonymous
//! shared memory. Queues, locks and values lie in it, arguments and results pass through it. A [`Queue`], [`Lock`],
//! [`Event`], [`Value`] or [`Array`] is a *handle*: cheap to clone, and sent in any message as a few bytes, as an
//! argument, in a struct, through a queue, back as a result. There is no name in a file system and no process that
//! cleans up: the memory is gone with the last process of the tree, however it ends.
//!
//! **Death is ordinary.** Any process may die at any instruction. What it held comes back, locks tell their next owner
//! who died, queues go on, `join` says what happened and whether the function ran.
//!
//! # What `mp` does not do
//!
//! - Closures and generic functions do not cross: a name needs one function. Pass what a closure would capture as
//!   arguments.
//! - Processes of other programs are not in the tree. Handles have no meaning outside of it, and refuse to be
//!   serialized there.
//! - Nothing runs before `main` but the registration of names.
//!
//! # Platforms
//!
//! Linux. On others the crate compiles, and starting a process or making a shared object is an error.

extern crate self as mp;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod arena;
mod channel;
mod error;
mod kill_point;
mod pool;
mod process;
mod queue;
mod reactor;
mod registry;
mod shared;
mod sync;
mod sys;
mod wait;
mod wire;

/// The crate whose `Pod` makes a type [`Shareable`].
pub use bytemuck;
pub use multiproc_macros::{main, process_fn, test};

pub use arena::{ArenaStats, arena_stats};
pub use channel::{Connection, Fd, Receiver, Sender, channel, pipe};
pub use error::{
    AcquireError, BarrierError, DeadOwner, Deadlock, DecodeError, EncodeError, Error, Failure,
    LockError, OwnedByTheDead, Panic, ProcessError, Ran, RecvError, ReleaseError, Result,
    SendError, Subject, TaskError, TryGetError, TryPutError, WaitsFor,
};
pub use pool::{
    AsCompleted, CurrentTask, Imap, ImapUnordered, InitializerOutput, Job, OnError, Pool,
    PoolBuilder, PoolStats, Task, WorkerStats, as_completed, cancelled, current_task, wait_any,
};
pub use process::{
    Builder, ChildProcess, CurrentProcess, Joining, OutputLine, OutputStream, ParentProcess,
    Process, StartMethod, Stdio, active_children, cpu_count, current_process, init, parent_process,
    set_executable, set_forkserver_preload, set_start_method, start_method,
};
pub use queue::{Iter, JoinableQueue, Queue};
pub use registry::{Function, ProcessFn, functions};
pub use shared::{
    Array, ArrayGuard, Atomic, AtomicPrimitive, Shareable, Shared, SharedContent, SharedMemory,
    Value, ValueGuard,
};
pub use sync::{
    Barrier, BarrierWaitResult, BoundedSemaphore, Condition, ConditionGuard, Event, Lock,
    LockGuard, RLock, RLockGuard, Semaphore, SemaphorePermit, WaitTimeoutResult,
};
pub use wait::{Waitable, wait};
pub use wire::{Json, RemoteError};

/// The program in the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
