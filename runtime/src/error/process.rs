//! Why a process has no value to give.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;

/// Whether the function of a process ran, which tells whether a retry is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ran {
    /// The function was not called.
    No,
    /// The function was called, and the process ended before it returned.
    Partly,
    /// The function returned; what failed came after it.
    Yes,
    /// Nobody knows.
    Unknown,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ran::No => "the function did not run",
            Ran::Partly => "the function was running",
            Ran::Yes => "the function had run to its end",
            Ran::Unknown => "the function may have run",
        })
    }
}

/// The process that an error is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The process's name.
    pub name: String,
    /// The process's id.
    pub pid: u32,
    /// The name of the function that it was started for.
    pub function: String,
    /// Whether that function ran.
    pub ran: Ran,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process `{}` (pid {}, function `{}`)",
            self.name, self.pid, self.function
        )
    }
}

/// A panic in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) subject: Box<Subject>,
}

impl Panic {
    /// The panic's message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`, unless the function installed a panic hook of its own.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The backtrace, if one was captured (`RUST_BACKTRACE=1`).
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }

    /// The name of the thread that panicked, if it has one.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// The process that panicked.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked", self.subject)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(backtrace) = &self.backtrace {
            write!(f, "\n{backtrace}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Panic {}

/// Why [`Process::join`](crate::Process::join) has no value to give.
///
/// Each variant knows which process and which function it is about, and whether the function ran: see
/// [`subject`](Self::subject).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    Panicked(Panic),
    /// A signal ended the process.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the system wrote a core file.
        core_dumped: bool,
        /// The process.
        subject: Box<Subject>,
    },
    /// The process exited before its function returned: it called [`std::process::exit`].
    Exited {
        /// The exit code.
        code: i32,
        /// The process.
        subject: Box<Subject>,
    },
    /// The process ended before it took its order, so that nothing of the function ran.
    NotStarted {
        /// The exit code.
        code: i32,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child's program has no function of that name.
    UnknownFunction {
        /// Which functions it has that look like it, and what to do.
        hint: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child could not decode an argument, or the parent could not decode the value.
    Decode {
        /// What could not be decoded, and why.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child could not encode the function's value.
    Encode {
        /// What could not be encoded, and why.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The exit status of the process was lost, because something else in this program waited for it, and it left no value.
    Lost {
        /// The process.
        subject: Box<Subject>,
    },
    /// The operating system or the shared memory failed the child on its way.
    Failed {
        /// What failed.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
}

impl ProcessError {
    /// The process that this error is about, its function, and whether the function ran.
    pub fn subject(&self) -> &Subject {
        match self {
            ProcessError::Panicked(panic) => &panic.subject,
            ProcessError::Signaled { subject, .. }
            | ProcessError::Exited { subject, .. }
            | ProcessError::NotStarted { subject, .. }
            | ProcessError::UnknownFunction { subject, .. }
            | ProcessError::Decode { subject, .. }
            | ProcessError::Encode { subject, .. }
            | ProcessError::Lost { subject }
            | ProcessError::Failed { subject, .. } => subject,
        }
    }

    /// Whether the function ran: [`Ran::No`] means that a retry is safe.
    pub fn ran(&self) -> Ran {
        self.subject().ran
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessError::Panicked(panic) => panic.fmt(f),
            ProcessError::Signaled {
                signal,
                core_dumped,
                subject,
            } => {
                let name = crate::sys::signal_name(*signal).unwrap_or("unknown signal");
                let core = if *core_dumped { ", core dumped" } else { "" };
                write!(
                    f,
                    "{subject} was killed by signal {signal} ({name}{core}); {}",
                    subject.ran
                )
            }
            ProcessError::Exited { code, subject } => {
                write!(
                    f,
                    "{subject} exited with code {code} and left no value; {}",
                    subject.ran
                )
            }
            ProcessError::NotStarted { code, subject } => {
                write!(
                    f,
                    "{subject} ended with exit code {code} before it took its order; does the program's `main` have \
                     #[mp::main], or mp::init() as its first statement? The function did not run",
                )
            }
            ProcessError::UnknownFunction { hint, subject } => {
                write!(
                    f,
                    "{subject} found no process function of that name in its program; {hint}"
                )
            }
            ProcessError::Decode { message, subject }
            | ProcessError::Encode { message, subject } => {
                write!(f, "{subject}: {message}; {}", subject.ran)
            }
            ProcessError::Lost { subject } => write!(
                f,
                "{subject} ended, but its exit status is lost: something else in this program waited for it (a waitpid(-1), \
                 or SIGCHLD set to be ignored); {}",
                subject.ran
            ),
            ProcessError::Failed { message, subject } => {
                write!(f, "{subject} failed: {message}; {}", subject.ran)
            }
        }
    }
}

impl std::error::Error for ProcessError {}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        Error::Process(error)
    }
}
