//! Why a task of a pool has no value to give.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use super::{Error, Panic};

/// Why a task of a [`Pool`](crate::Pool) has no value to give.
///
/// What a task's function returns, an `Err` of its own included, is its value; this is what happens besides.
///
/// # Examples
///
/// ```
/// use mp::TaskError;
///
/// #[mp::process_fn]
/// fn divide(a: u32, b: u32) -> u32 {
///     a / b
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::new(1)?;
///     match pool.apply::<divide>((1, 0)) {
///         Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "attempt to divide by zero"),
///         other => panic!("{other:?}"),
///     }
///     assert_eq!(pool.apply::<divide>((6, 3))?, 2); // by the same worker
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker lives on. A retry with the same arguments most likely panics, too.
    Panicked(Panic),
    /// The worker died while it ran the task: it crashed, called [`std::process::exit`], was killed, or the system was
    /// out of memory. Another one has taken its place. The function ran in part; give the task
    /// [`retries`](crate::Job::retries) if that does no harm.
    #[non_exhaustive]
    WorkerDied {
        /// The worker's process id.
        pid: u32,
        /// The worker's name.
        worker: String,
        /// How it ended.
        status: ExitStatus,
        /// The function that it ran.
        function: String,
        /// The task's position among those of its job; for those submitted one by one, among all such tasks of the pool.
        index: u64,
        /// How many attempts there were before this one.
        attempt: u32,
        /// The last lines that the worker wrote to its standard error, at most 4 KiB.
        stderr: String,
    },
    /// The task was not done in time, and its worker was killed. Another one has taken its place.
    #[non_exhaustive]
    TimedOut {
        /// How long the task was allowed to run.
        after: Duration,
        /// The worker's process id.
        pid: u32,
        /// The worker's name.
        worker: String,
        /// The function that it ran.
        function: String,
        /// The task's position among those of its job; for those submitted one by one, among all such tasks of the pool.
        index: u64,
        /// How many attempts there were before this one.
        attempt: u32,
    },
    /// The task was cancelled: by [`Task::cancel`](crate::Task::cancel), by an earlier error of its `map`, or because its
    /// iterator or pool is gone.
    Cancelled,
    /// The arguments, or the value that the function returned, cannot be encoded. The message says which, and what to do.
    #[non_exhaustive]
    Encode {
        /// What cannot be encoded, and why.
        message: String,
    },
    /// The arguments, or the value that the function returned, cannot be decoded.
    #[non_exhaustive]
    Decode {
        /// What cannot be decoded, and why.
        message: String,
    },
    /// The worker's program does not have the function.
    #[non_exhaustive]
    UnknownFunction {
        /// The function's name.
        function: String,
        /// What it may be called instead, or why it is missing.
        hint: String,
    },
    /// The pool takes no more tasks: it was closed or terminated.
    Closed,
    /// The pool cannot work any more: its workers die, or their initializer fails, before they can run a task.
    #[non_exhaustive]
    Broken {
        /// What happened to them.
        cause: String,
    },
    /// The task was not done when the time was over ([`Task::get_timeout`](crate::Task::get_timeout)). It goes on.
    NotReady,
    /// The shared memory is full, or the system refused something.
    #[non_exhaustive]
    Failed {
        /// What failed, and why.
        message: String,
    },
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Panicked(panic) => panic.fmt(f),
            TaskError::WorkerDied {
                pid,
                worker,
                status,
                function,
                index,
                attempt,
                stderr,
            } => {
                write!(
                    f,
                    "worker `{worker}` (pid {pid}) died of {status} while it ran task {index} (function `{function}`, attempt \
                     {}); it has been replaced, and the other tasks are not affected. If running the task again does no \
                     harm, let the pool do it with `retries`",
                    attempt + 1
                )?;
                if !stderr.is_empty() {
                    write!(
                        f,
                        ". The last that it wrote to its standard error:\n{}",
                        stderr.trim_end()
                    )?;
                }
                Ok(())
            }
            TaskError::TimedOut {
                after,
                pid,
                worker,
                function,
                index,
                ..
            } => write!(
                f,
                "task {index} (function `{function}`) was not done after {after:?}, so its worker `{worker}` (pid {pid}) was \
                 stopped; allow it more with `timeout` or `task_timeout`"
            ),
            TaskError::Cancelled => f.write_str("the task was cancelled before it was done"),
            TaskError::Encode { message }
            | TaskError::Decode { message }
            | TaskError::Failed { message } => f.write_str(message),
            TaskError::UnknownFunction { function, hint } => {
                write!(
                    f,
                    "the workers' program has no process function `{function}`: {hint}"
                )
            }
            TaskError::Closed => f.write_str(
                "the pool takes no more tasks: it was closed or terminated; make another one",
            ),
            TaskError::Broken { cause } => write!(f, "the pool cannot work any more: {cause}"),
            TaskError::NotReady => {
                f.write_str("the task is not done yet; it goes on, and can be asked again")
            }
        }
    }
}

impl std::error::Error for TaskError {}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Closed => Error::PoolClosed,
            TaskError::Broken { cause } => Error::PoolBroken { cause },
            other => Error::Task(Box::new(other)),
        }
    }
}

/// For the calls that give tasks to a pool before anything of them has run.
impl From<Error> for TaskError {
    fn from(error: Error) -> Self {
        match error {
            Error::PoolClosed => TaskError::Closed,
            Error::PoolBroken { cause } => TaskError::Broken { cause },
            Error::Task(error) => *error,
            Error::Encode(error) => TaskError::Encode {
                message: error.to_string(),
            },
            other => TaskError::Failed {
                message: other.to_string(),
            },
        }
    }
}
