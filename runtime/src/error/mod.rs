//! What can go wrong, as values.
//!
//! One type for each operation whose callers branch on the outcome ([`ProcessError`], [`LockError`],
//! [`TryPutError`], [`RecvError`], …), and [`Error`], into which all of them turn with `?`. Messages say what was
//! tried, on what, why it failed and what to do.

mod barrier;
mod channel;
mod lock;
mod process;
mod queue;
mod semaphore;
mod task;

use std::fmt;
use std::io;

pub use barrier::BarrierError;
pub use channel::{RecvError, SendError};
pub use lock::{DeadOwner, Deadlock, LockError, OwnedByTheDead, WaitsFor};
pub use process::{Panic, ProcessError, Ran, Subject};
pub use queue::{Failure, TryGetError, TryPutError};
pub use semaphore::{AcquireError, ReleaseError};
pub use task::TaskError;

/// The result of most operations of this library.
///
/// # Examples
///
/// ```
/// fn sum(queue: &mp::Queue<u32>) -> mp::Result<u32> {
///     Ok(queue.get()? + queue.get()?)
/// }
///
/// let queue = mp::Queue::new()?;
/// queue.put(1)?;
/// queue.put(2)?;
/// assert_eq!(sum(&queue)?, 3);
/// # Ok::<(), mp::Error>(())
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can fail in this library.
///
/// Errors of single operations ([`ProcessError`], [`LockError`], [`TryPutError`], …) turn into it with `?`; match on
/// those where the program goes on in different ways, and on this where it says what went wrong.
///
/// `Debug` prints what `Display` prints, then the causes, because that is what a program whose `main` returns
/// [`mp::Result`](Result) shows to its user.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn work() {}
///
/// // Here is no `#[mp::main]`.
/// let error = mp::spawn!(work).unwrap_err();
/// assert!(matches!(error, mp::Error::NotInitialized));
/// assert!(error.to_string().contains("annotate `main` with #[mp::main]"));
/// ```
#[non_exhaustive]
pub enum Error {
    /// A process was to be started, but neither `#[mp::main]`, `#[mp::test]` nor [`mp::init()`](crate::init) has run,
    /// so that a child would run `main` from its start instead of its function. Annotate `main`, or make `mp::init()`
    /// its first statement. In a child, making a shared object before that statement is this error, too.
    NotInitialized,
    /// The chain of children of children is longer than the library allows: most likely a function that starts itself.
    /// Bound the recursion.
    TooDeep {
        /// How many generations there are already.
        depth: u32,
    },
    /// This process is [isolated](crate::Builder::isolated): it maps no shared memory, and so has no queues, locks and other
    /// shared objects, and starts no processes. Let its parent do that.
    Isolated,
    /// The start method is not available on this platform or in this version: choose one of
    /// [`StartMethod::available`](crate::StartMethod::available).
    StartMethodUnavailable {
        /// The method asked for.
        method: &'static str,
    },
    /// The start method was set before; it can be set once in a program. For one process,
    /// [`Builder::start_method`](crate::Builder::start_method) chooses.
    StartMethodSet {
        /// The method that is set.
        current: &'static str,
    },
    /// This process was to be copied, by [`StartMethod::Fork`](crate::StartMethod::Fork), but has more than one thread: what
    /// the others are doing would stay half done in the copy, for ever. Use `Forkserver` or `Spawn`, or fork before
    /// threads are started. Those of this library count.
    ForkWithThreads {
        /// How many threads there are. Where there is no `/proc`, 2 stands for more than one.
        threads: usize,
    },
    /// The fork server has more than one thread, which the function of
    /// [`set_forkserver_preload`](crate::set_forkserver_preload) left behind, so that it cannot be copied. Let the function
    /// end its threads, or do without.
    ForkServerWithThreads {
        /// How many threads there are.
        threads: usize,
    },
    /// The function of [`set_forkserver_preload`](crate::set_forkserver_preload) panicked, or its arguments did not get
    /// across.
    Preload(Box<ProcessError>),
    /// A process could not be started: the system refused, or there is no such program or working directory. Nothing
    /// of the function ran.
    Start {
        /// The function it was to run.
        function: String,
        /// What failed.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A value could not be turned into bytes: its type refuses, or it contains what cannot travel this way. The
    /// message says which value, and what to do, often to wrap it in [`Json`](crate::Json).
    Encode(EncodeError),
    /// Bytes could not be turned into a value: sender and receiver name different types, or the type needs
    /// [`Json`](crate::Json).
    Decode(DecodeError),
    /// The tree's shared memory has no room for what was asked: free what is no longer needed, bound the queues, or
    /// send less at once. [`arena_stats`](crate::arena_stats) tells what it is used for.
    OutOfMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes that the shared memory can hold.
        capacity: u64,
    },
    /// The operating system refused; its error says why, and where it is a limit (of descriptors, of memory), which
    /// one to raise.
    Os {
        /// What was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A process ended without giving its function's value. The error says how, and whether a retry is safe.
    Process(ProcessError),
    /// A function returned an error that came from another process (see [`RemoteError`](crate::RemoteError)).
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// A lock was not acquired, or its previous owner died, and the error, with the guard in it, was passed on with
    /// `?`. Match on [`LockError`] instead to go on with the guard.
    Lock(String),
    /// A semaphore gave no permit, or took none. Match on [`AcquireError`] or [`ReleaseError`] instead to tell.
    Semaphore(String),
    /// A barrier was broken, or broke because somebody waited for too long. Match on [`BarrierError`] instead to tell.
    Barrier(String),
    /// A queue was full, empty or shut down, or the system refused. Match on [`TryPutError`] or [`TryGetError`]
    /// instead to tell, and to have the item back.
    Queue(String),
    /// A connection did not send or receive, most likely because the peer is gone. Match on [`SendError`] or
    /// [`RecvError`] instead to tell.
    Connection(String),
    /// A pool was to be made, or changed, in a way that cannot be.
    PoolOption {
        /// Which option, and what is wrong with it.
        what: String,
    },
    /// A pool was given work after it was closed or terminated: make another one.
    PoolClosed,
    /// The workers of a pool die, or their initializer fails, before they can run a task. All calls of the pool are this
    /// error from then on.
    PoolBroken {
        /// What happened to them.
        cause: String,
    },
    /// A task of a pool gave no value.
    Task(Box<TaskError>),
}

impl Error {
    /// An error of the operating system with the words that say what was tried.
    pub(crate) fn os(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::Os {
            what: what.into(),
            source: source.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotInitialized => f.write_str(
                "processes cannot be started here: neither #[mp::main], #[mp::test] nor mp::init() has run in this \
                 process; annotate `main` with #[mp::main], or make mp::init() its first statement",
            ),
            Error::TooDeep { depth } => write!(
                f,
                "this process is {depth} generations below the program's first one, which is the limit; does a process \
                 function start itself without end?"
            ),
            Error::Isolated => f.write_str(
                "this process is isolated: it maps no shared memory, so that it cannot have shared objects or start processes; \
                 let its parent do that, and talk to it over a connection",
            ),
            Error::StartMethodUnavailable { method } => write!(
                f,
                "the start method `{method}` is not available here; mp::StartMethod::available() lists those that are"
            ),
            Error::StartMethodSet { current } => write!(
                f,
                "the start method is set to `{current}` already; it can be set once in a program, before the first process \
                 is started (mp::Builder::start_method chooses for one process)"
            ),
            Error::ForkWithThreads { threads } => write!(
                f,
                "this process has {threads} threads and cannot be copied by fork: what the others are doing would stay half \
                 done in the copy; use StartMethod::Forkserver or StartMethod::Spawn, or fork before threads are started \
                 (a pool, captured output, a daemon's watch over its parent and an await have threads of this library)"
            ),
            Error::ForkServerWithThreads { threads } => write!(
                f,
                "the fork server has {threads} threads and cannot be copied: the function given to \
                 mp::set_forkserver_preload must end the threads that it starts"
            ),
            Error::Preload(error) => {
                write!(f, "the fork server cannot prepare itself as mp::set_forkserver_preload wants: {error}")
            }
            Error::Start { function, what, source } => {
                write!(f, "cannot start a process for `{function}`: {what}: {source}")
            }
            Error::Encode(error) => error.fmt(f),
            Error::Decode(error) => error.fmt(f),
            Error::OutOfMemory { wanted, used, capacity } => write!(
                f,
                "{wanted} bytes of shared memory were asked for, but {used} of the {capacity} bytes that this tree of \
                 processes can share are in use; free what is no longer needed, or send it in smaller parts"
            ),
            Error::Os { what, source } => write!(f, "{what}: {source}"),
            Error::Process(error) => error.fmt(f),
            Error::Remote(error) => error.fmt(f),
            Error::Lock(message)
            | Error::Semaphore(message)
            | Error::Barrier(message)
            | Error::Queue(message)
            | Error::Connection(message) => f.write_str(message),
            Error::PoolOption { what } => write!(f, "the pool cannot be as it was asked for: {what}"),
            Error::PoolClosed => TaskError::Closed.fmt(f),
            Error::PoolBroken { cause } => write!(f, "the pool cannot work any more: {cause}"),
            Error::Task(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = match self {
            // The message of these ends with its source.
            Error::Start { .. } | Error::Os { .. } => None,
            other => std::error::Error::source(other),
        };
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Start { source, .. } | Error::Os { source, .. } => Some(source),
            Error::Remote(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Error::os("an input or output operation failed", source)
    }
}

/// A value that could not be turned into bytes: what it was for, its type, and why.
///
/// The type's `Serialize` refused it, or it contains what cannot travel this way, such as a connection in the item of
/// a queue. The message says what to do. Nothing was sent.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let queue = mp::Queue::new()?;
/// let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
/// let Err(mp::TryPutError::Encode(item, error)) = queue.put(before_1970) else { panic!() };
/// assert_eq!(item, before_1970);
/// assert!(error.to_string().starts_with("an item for a queue of type `std::time::SystemTime` cannot be encoded: "));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError(Box<Misfit>);

/// A value and its bytes do not go together. Behind a pointer, so that results are small, which is what putting and getting
/// small items spends its time on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Misfit {
    subject: String,
    type_name: &'static str,
    cause: String,
}

impl Misfit {
    #[cold]
    fn new<T: ?Sized>(subject: String, cause: String) -> Box<Self> {
        Box::new(Self {
            subject,
            type_name: std::any::type_name::<T>(),
            cause,
        })
    }
}

impl EncodeError {
    /// The error of a `T` that is called `subject`.
    pub(crate) fn new<T: ?Sized>(subject: String, cause: String) -> Self {
        Self(Misfit::new::<T>(subject, cause))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misfit {
            subject,
            type_name,
            cause,
        } = &*self.0;
        write!(
            f,
            "{subject} of type `{type_name}` cannot be encoded: {cause}"
        )
    }
}

impl std::error::Error for EncodeError {}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Error::Encode(error)
    }
}

/// Bytes that could not be turned into a value: what they were for, the type wanted, and why.
///
/// Sender and receiver name different types, or the type asks the data for its shape, which [`Json`](crate::Json)
/// makes possible. The message has been taken, and the next one can be.
///
/// # Examples
///
/// ```
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// #[serde(untagged)]
/// enum Id {
///     Number(u64),
///     Name(String),
/// }
///
/// let queue = mp::Queue::new()?;
/// queue.put(Id::Number(7))?;
/// let Err(mp::TryGetError::Decode(error)) = queue.get() else { panic!() };
/// assert!(error.to_string().contains("wrap the value in `mp::Json<T>`"));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Misfit>);

impl DecodeError {
    /// The error of what is called `subject` and should be a `T`.
    pub(crate) fn new<T: ?Sized>(subject: String, cause: String) -> Self {
        Self(Misfit::new::<T>(subject, cause))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misfit {
            subject,
            type_name,
            cause,
        } = &*self.0;
        write!(f, "{subject} cannot be decoded as `{type_name}`: {cause}")
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Error::Decode(error)
    }
}
