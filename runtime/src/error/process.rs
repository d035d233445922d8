//! Why a process has no value to give.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;

/// Whether the function of a process ran, which tells whether a retry is safe.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn pay(amount: u8) -> u32 {
///     std::process::exit(amount.into());
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let error = mp::spawn!(pay, 7)?.join().unwrap_err();
///     assert_eq!(error.ran(), mp::Ran::Partly); // it may have paid already
///     assert!(error.to_string().ends_with("the function was running"));
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ran {
    /// The function was not called. A retry is safe.
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
///
/// # Examples
///
/// ```
/// #[mp::process_fn(name = "reports::print")]
/// fn print() {
///     std::process::exit(1);
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::Builder::new().name("printer").spawn::<print>(())?;
///     let pid = process.id();
///     let error = process.join().unwrap_err();
///     let mp::Subject { name, function, .. } = error.subject();
///     assert_eq!((&**name, &**function), ("printer", "reports::print"));
///     assert_eq!(error.subject().to_string(), format!("process `printer` (pid {pid}, function `reports::print`)"));
///     Ok(())
/// }
/// ```
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
    /// The last lines that it wrote to its standard error, at most 4 KiB, if its output was
    /// [captured](crate::Builder::capture_output).
    #[serde(skip)]
    pub stderr: String,
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
///
/// The child has printed it to its standard error as any panic; this is the same as data.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn check(age: i32) {
///     assert!(age >= 0, "{age} is no age");
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let Err(mp::ProcessError::Panicked(panic)) = mp::spawn!(check, -1)?.join() else { panic!() };
///     assert_eq!(panic.message(), "-1 is no age");
///     assert!(panic.location().is_some_and(|location| location.contains(".rs:")));
///     assert_eq!(panic.thread(), Some("main"));
///     assert_eq!(panic.subject().name, "Process-1");
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) subject: Box<Subject>,
}

impl Panic {
    /// Returns the panic's message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Tells where it panicked, as `file:line:column`, unless the function installed a panic hook of its own.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Returns the backtrace, if one was captured (`RUST_BACKTRACE=1`).
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }

    /// Returns the name of the thread that panicked, if it has one.
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// Returns the process that panicked.
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
        write!(f, ": {}; {}", self.message, self.subject.ran)?;
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
///
/// # Examples
///
/// ```
/// use mp::ProcessError;
///
/// #[mp::process_fn]
/// fn wait_for_ever() {
///     loop {
///         std::thread::park();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::spawn!(wait_for_ever)?;
///     process.kill()?;
///     match process.join() {
///         Err(ProcessError::Signaled { signal, .. }) => assert_eq!(signal, 9),
///         other => panic!("{other:?}"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked. A retry with the same arguments most likely panics, too.
    Panicked(Panic),
    /// A signal ended the process: somebody killed it, the system was out of memory (SIGKILL), or it crashed (SIGSEGV,
    /// SIGABRT).
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the system wrote a core file.
        core_dumped: bool,
        /// The process.
        subject: Box<Subject>,
    },
    /// The process exited before its function returned: it called [`std::process::exit`]. To give a value or an error,
    /// the function has to return it.
    Exited {
        /// The exit code.
        code: i32,
        /// The process.
        subject: Box<Subject>,
    },
    /// The process ended before it took its order, so that nothing of the function ran. Either its `main` has neither
    /// `#[mp::main]` nor `mp::init()` as the first statement, or what stands before that ended it.
    NotStarted {
        /// The exit code.
        code: i32,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child's program has no function of that name: it is another program than the parent's, or the linker left
    /// out the crate that the function is in. The hint says which, and what to do.
    UnknownFunction {
        /// Which functions it has that look like it, and what to do.
        hint: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child could not decode an argument, or the parent could not decode the value. The message says what to do,
    /// often to wrap it in [`Json`](crate::Json); [`ran`](Self::ran) tells which of the two it was.
    Decode {
        /// What could not be decoded, and why.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The child could not encode the function's value. The function has run.
    Encode {
        /// What could not be encoded, and why.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
    /// The exit status of the process was lost, because something else in this program waited for it, and it left no
    /// value.
    Lost {
        /// The process.
        subject: Box<Subject>,
    },
    /// The operating system or the shared memory failed the child on its way; for one, there was no room for the
    /// value.
    Failed {
        /// What failed.
        message: String,
        /// The process.
        subject: Box<Subject>,
    },
}

impl ProcessError {
    /// Returns the process that this error is about, its function, and whether the function ran.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn exit() {
    /// #     std::process::exit(1);
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::spawn!(exit)?;
    /// let pid = process.id();
    /// assert_eq!(process.join().unwrap_err().subject().pid, pid);
    /// # Ok(())
    /// # }
    /// ```
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

    /// Tells whether the function ran: [`Ran::No`] means that a retry is safe.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn answer() -> u32 {
    ///     42
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let answer = mp::spawn!(answer)?.join().or_else(|error| match error.ran() {
    ///         mp::Ran::No => mp::spawn!(answer)?.join().map_err(mp::Error::from),
    ///         _ => Err(error.into()),
    ///     })?;
    ///     assert_eq!(answer, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn ran(&self) -> Ran {
        self.subject().ran
    }

    /// Returns the last lines that the process wrote to its standard error, at most 4 KiB, if its output was captured;
    /// otherwise nothing.
    ///
    /// They follow the message, too, unless it is a panic's, which is among them.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn open(name: &str) {
    ///     eprintln!("there is no `{name}`");
    ///     std::process::exit(2);
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().capture_output().spawn::<open>("sesame")?;
    ///     let error = process.join().unwrap_err();
    ///     assert_eq!(error.stderr(), "there is no `sesame`\n");
    ///     assert!(error.to_string().contains("exited with code 2"));
    ///     assert!(error.to_string().contains("there is no `sesame`"));
    ///     Ok(())
    /// }
    /// ```
    pub fn stderr(&self) -> &str {
        &self.subject().stderr
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        let stderr = self.stderr().trim_end();
        if stderr.is_empty() || matches!(self, ProcessError::Panicked(_)) {
            return Ok(());
        }
        write!(
            f,
            ". The last that it wrote to its standard error:\n{stderr}"
        )
    }
}

impl ProcessError {
    /// Tells what happened.
    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessError::Panicked(panic) => write!(f, "{panic}"),
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
                    "{subject} found no process function of that name in its program, and the function did not run; {hint}"
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
