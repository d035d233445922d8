//! Processes as easy as Python's `multiprocessing` made them, with nothing to clean up and nothing that can hang.

extern crate self as mp;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod arena;
mod channel;
mod error;
mod process;
mod queue;
mod registry;
mod shared;
mod spawn;
mod sync;
mod sys;
mod wire;

pub use bytemuck;
pub use multiproc_macros::{main, process_fn, test};

pub use arena::{ArenaStats, arena_stats};
pub use channel::{Connection, Receiver, Sender, channel, pipe};
pub use error::{
    DeadOwner, Deadlock, DecodeError, EncodeError, Error, LockError, OwnedByTheDead, Panic,
    ProcessError, Ran, RecvError, Result, SendError, Subject, TryGetError, TryPutError, WaitsFor,
};
pub use process::{
    Builder, ChildProcess, CurrentProcess, ParentProcess, Process, StartMethod, Stdio,
    active_children, cpu_count, current_process, init, parent_process, set_executable,
    set_start_method, start_method,
};
pub use queue::{Iter, Queue};
pub use registry::{Function, ProcessFn, functions};
pub use shared::{Array, ArrayGuard, Shareable, Value, ValueGuard};
pub use sync::{Event, Lock, LockGuard};
pub use wire::{Json, RemoteError};
