//! What can go wrong, as values.
//!
//! One type for each operation whose callers branch on the outcome ([`ProcessError`], [`LockError`],
//! [`TryPutError`], [`RecvError`], …), and [`Error`], into which all of them turn with `?`. Messages say what was tried, on what, why it
//! failed and what to do.

mod channel;
mod lock;
mod process;
mod queue;

use std::fmt;
use std::io;

pub use channel::{RecvError, SendError};
pub use lock::{DeadOwner, Deadlock, LockError, OwnedByTheDead, WaitsFor};
pub use process::{Panic, ProcessError, Ran, Subject};
pub use queue::{TryGetError, TryPutError};

/// The result of most operations of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can fail in this library.
///
/// `Debug` prints what `Display` prints, then the causes, because that is what a program whose `main` returns
/// [`mp::Result`](Result) shows to its user.
#[non_exhaustive]
pub enum Error {
    /// A process was to be started, but neither `#[mp::main]`, `#[mp::test]` nor [`mp::init()`](crate::init) has run,
    /// so that a child would run `main` from its start instead of its function.
    NotInitialized,
    /// The chain of children of children is longer than the library allows: most likely a function that starts itself.
    TooDeep {
        /// How many generations there are already.
        depth: u32,
    },
    /// The start method is not available on this platform or in this version.
    StartMethodUnavailable {
        /// The method asked for.
        method: &'static str,
    },
    /// The start method was set before; it can be set once in a program.
    StartMethodSet {
        /// The method that is set.
        current: &'static str,
    },
    /// A process could not be started.
    Start {
        /// The function it was to run.
        function: String,
        /// What failed.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A value could not be turned into bytes.
    Encode(EncodeError),
    /// Bytes could not be turned into a value.
    Decode(DecodeError),
    /// The tree's shared memory has no room for what was asked.
    OutOfMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes that the shared memory can hold.
        capacity: u64,
    },
    /// The operating system refused.
    Os {
        /// What was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// A process ended without giving its function's value.
    Process(ProcessError),
    /// A function returned an error (see [`RemoteError`](crate::RemoteError)).
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// A lock was not acquired, or its previous owner died; see [`LockError`].
    Lock(String),
    /// A queue operation did not succeed; see [`TryPutError`] and [`TryGetError`].
    Queue(String),
    /// A connection operation did not succeed; see [`SendError`] and [`RecvError`].
    Connection(String),
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
            Error::StartMethodUnavailable { method } => write!(
                f,
                "the start method `{method}` is not available here; mp::StartMethod::available() lists those that are"
            ),
            Error::StartMethodSet { current } => write!(
                f,
                "the start method is set to `{current}` already; it can be set once in a program, before the first process \
                 is started (mp::Builder::start_method chooses for one process)"
            ),
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
            Error::Lock(message) | Error::Queue(message) | Error::Connection(message) => f.write_str(message),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    pub(crate) subject: String,
    pub(crate) type_name: &'static str,
    pub(crate) cause: String,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            type_name,
            cause,
        } = self;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    pub(crate) subject: String,
    pub(crate) type_name: &'static str,
    pub(crate) cause: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            type_name,
            cause,
        } = self;
        write!(f, "{subject} cannot be decoded as `{type_name}`: {cause}")
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Error::Decode(error)
    }
}
