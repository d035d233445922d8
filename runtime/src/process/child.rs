//! A child process, seen from its parent.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury a process, which must have ended. Its descriptor tells.

use std::fmt;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::outcome::{Outcome, ran};
use crate::arena::{ChildRecord, Incoming, Parcel, Stage};
use crate::error::{Error, ProcessError, Ran, Result, Subject};
use crate::sync::deadline_after;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};
use crate::wire;

/// A child of this process, whatever its function returns.
///
/// Every [`Process`](crate::Process) dereferences to one, and [`active_children`](crate::active_children) gives them.
/// A process can be waited for from any thread, any number of times.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn wait_for(gate: mp::Event) {
///     gate.wait().unwrap();
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let gate = mp::Event::new()?;
///     let process = mp::spawn!(wait_for, gate.clone())?;
///     let child: mp::ChildProcess = process.clone();
///     std::thread::scope(|scope| {
///         scope.spawn(|| assert!(child.wait().success()));
///         scope.spawn(|| assert!(child.wait().success()));
///         gate.set();
///     });
///     process.join()?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ChildProcess(pub(super) Arc<Child>);

/// What this process knows of a child.
pub(super) struct Child {
    record: ChildRecord,
    pub(super) pid: u32,
    process: OwnedFd,
    pub(super) name: String,
    function: &'static str,
    pub(super) daemon: bool,
    pipes: Mutex<[Option<OwnedFd>; 3]>,
    /// How it ended: `None` in it when the exit status was lost.
    ended: OnceLock<Option<ExitStatus>>,
    /// Held while the exit status is taken.
    reaping: Mutex<()>,
}

/// The children that have not been reaped yet.
static CHILDREN: Mutex<Vec<Arc<Child>>> = Mutex::new(Vec::new());
/// Those of them that nobody has a [`Process`](crate::Process) of any more.
static DETACHED: Mutex<Vec<Arc<Child>>> = Mutex::new(Vec::new());

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The children that have not been reaped yet.
pub(super) fn children() -> Vec<Arc<Child>> {
    lock(&CHILDREN).clone()
}

/// Reaps the detached children that have ended, so that they do not pile up.
pub(super) fn reap_detached() {
    let detached = lock(&DETACHED).clone();
    for child in detached {
        let _ = child.wait_until(Some(Instant::now()));
    }
    // One that ended while it was being detached may have come into the list too late to be taken out.
    lock(&DETACHED).retain(|child| child.ended.get().is_none());
}

/// What is known of a child at its start.
pub(super) struct Started {
    pub(super) record: ChildRecord,
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) name: String,
    pub(super) function: &'static str,
    pub(super) daemon: bool,
    pub(super) pipes: [Option<OwnedFd>; 3],
}

impl Child {
    /// Enters a process that was just started.
    pub(super) fn enter(started: Started) -> Arc<Self> {
        let Started {
            record,
            pid,
            process,
            name,
            function,
            daemon,
            pipes,
        } = started;
        let child = Arc::new(Self {
            record,
            pid,
            process,
            name,
            function,
            daemon,
            pipes: Mutex::new(pipes),
            ended: OnceLock::new(),
            reaping: Mutex::default(),
        });
        lock(&CHILDREN).push(Arc::clone(&child));
        child
    }

    /// Waits until the process has ended, or until `deadline`; says whether it has ended.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.ended.get().is_none() {
            if !sys::wait_ended(self.process.as_fd(), deadline)? {
                return Ok(false);
            }
            self.reap()?;
        }
        Ok(true)
    }

    /// Takes the exit status of the process, which has ended, and gives back what it held.
    fn reap(&self) -> io::Result<()> {
        let _reaping = lock(&self.reaping);
        if self.ended.get().is_some() {
            return Ok(());
        }
        let status = match sys::reap(self.process.as_fd()) {
            Ok(Some(status)) => Some(status),
            // The descriptor said that it has ended.
            Ok(None) => return Ok(()),
            Err(_) => self.status_by_outcome(),
        };
        // SAFETY: the process has ended: its descriptor is readable, and if its status was there, it is taken.
        #[allow(unsafe_code)]
        unsafe {
            self.record.bury();
        }
        let _ = self.ended.set(status);
        for list in [&CHILDREN, &DETACHED] {
            let mut list = lock(list);
            if let Some(index) = list.iter().position(|child| std::ptr::eq(&**child, self)) {
                list.swap_remove(index);
            }
        }
        Ok(())
    }

    /// The exit status of a process that somebody else has waited for, if what it left behind tells.
    fn status_by_outcome(&self) -> Option<ExitStatus> {
        let outcome = self.look_at_outcome(|outcome, _| outcome.exit_code())?;
        Some(sys::exit_status(outcome.ok()?))
    }

    /// Takes the outcome, shows it with the bytes that follow, and puts it back.
    fn look_at_outcome<T>(
        &self,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Option<Result<T, ProcessError>> {
        let parcel = self.record.take_outcome()?;
        let result = self.open(&parcel, look);
        self.record.put_outcome(parcel);
        Some(result)
    }

    fn open<T>(
        &self,
        parcel: &Parcel,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Result<T, ProcessError> {
        let mut bytes = parcel.bytes();
        match wire::take(&mut bytes, &|| {
            format!("the outcome of process `{}`", self.name)
        }) {
            Ok(outcome) => Ok(look(outcome, bytes)),
            Err(error) => Err(ProcessError::Decode {
                message: error.to_string(),
                subject: self.subject(Ran::Unknown),
            }),
        }
    }

    pub(super) fn join<R: DeserializeOwned>(&self) -> Result<R, ProcessError> {
        let failed = |message| ProcessError::Failed {
            message,
            subject: self.subject(Ran::Unknown),
        };
        self.wait_until(None)
            .map_err(|error| failed(format!("cannot wait for it: {error}")))?;
        match self.record.take_outcome() {
            Some(parcel) => self.open(&parcel, |outcome, rest| self.value(outcome, rest))?,
            None => Err(self.death()),
        }
    }

    /// The value in an outcome, or the error that it is.
    fn value<R: DeserializeOwned>(
        &self,
        outcome: Outcome,
        mut bytes: &[u8],
    ) -> Result<R, ProcessError> {
        match outcome {
            Outcome::Value => {
                let subject = || format!("the value of `{}`", self.function);
                // What the child did after its value was safe, a signal at its exit say, does not take it back.
                Incoming::provide(Vec::new(), || wire::take(&mut bytes, &subject)).map_err(
                    |error| ProcessError::Decode {
                        message: error.to_string(),
                        subject: self.subject(Ran::Yes),
                    },
                )
            }
            Outcome::Panicked(panic) => Err(ProcessError::Panicked(panic)),
            Outcome::UnknownFunction { hint } => Err(ProcessError::UnknownFunction {
                hint,
                subject: self.subject(Ran::No),
            }),
            Outcome::Decode { message } => Err(ProcessError::Decode {
                message,
                subject: self.subject(Ran::No),
            }),
            Outcome::Encode { message } => Err(ProcessError::Encode {
                message,
                subject: self.subject(Ran::Yes),
            }),
        }
    }

    /// Why a process that has ended left no outcome.
    fn death(&self) -> ProcessError {
        let stage = self.record.stage();
        let subject = self.subject(ran(stage));
        match self.ended.get().copied().flatten().map(sys::status_parts) {
            None => ProcessError::Lost { subject },
            Some((_, Some(signal), core_dumped)) => ProcessError::Signaled {
                signal,
                core_dumped,
                subject,
            },
            Some((code, ..)) => {
                let code = code.unwrap_or_default();
                match stage {
                    Stage::Ordered | Stage::Withdrawn => ProcessError::NotStarted { code, subject },
                    Stage::Returned if code == super::exit::NO_ROOM => ProcessError::Failed {
                        message: "the shared memory has no room for the function's value"
                            .to_owned(),
                        subject,
                    },
                    _ => ProcessError::Exited { code, subject },
                }
            }
        }
    }

    fn subject(&self, ran: Ran) -> Box<Subject> {
        Box::new(Subject {
            name: self.name.clone(),
            pid: self.pid,
            function: self.function.to_owned(),
            ran,
        })
    }

    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        // An id that was given to another process after the end of this one is never hit: the signal goes by descriptor.
        sys::signal_process(self.process.as_fd(), signal).map_err(|error| {
            let name = sys::signal_name(signal).unwrap_or("a signal");
            Error::os(
                format!(
                    "cannot send {name} to process `{}` (pid {})",
                    self.name, self.pid
                ),
                error,
            )
        })
    }

    /// Nobody has a [`Process`](crate::Process) of this child any more.
    pub(super) fn detach(&self) {
        if self.ended.get().is_some() {
            return;
        }
        let this = lock(&CHILDREN)
            .iter()
            .find(|child| std::ptr::eq(&***child, self))
            .cloned();
        if let Some(this) = this {
            lock(&DETACHED).push(this);
        }
    }
}

impl ChildProcess {
    /// Returns the system's id of the process.
    ///
    /// The system may give it to another process once this one has been waited for; the methods here never mistake
    /// that one for this.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn own_id() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::spawn!(own_id)?;
    ///     let id = process.id();
    ///     assert_eq!(process.join()?, id);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    /// Returns the name of the process.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// assert_eq!(mp::spawn!(work)?.name(), "Process-1");
    /// assert_eq!(mp::Builder::new().name("indexer").spawn::<work>(())?.name(), "indexer");
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the name of the function that it was started for, which is that in [`functions`](crate::functions).
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn(name = "reports::write")]
    /// fn write() {}
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(write)?.function(), "reports::write");
    ///     Ok(())
    /// }
    /// ```
    pub fn function(&self) -> &'static str {
        self.0.function
    }

    /// Tells whether the process is a daemon, see [`Builder::daemon`](crate::Builder::daemon).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// assert!(!mp::spawn!(work)?.is_daemon());
    /// assert!(mp::Builder::new().daemon(true).spawn::<work>(())?.is_daemon());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Waits until the process has ended, and returns its exit status.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for(gate: mp::Event) {
    /// #     gate.wait().unwrap();
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let gate = mp::Event::new()?;
    /// let process = mp::spawn!(wait_for, gate.clone())?;
    /// gate.set();
    /// assert!(process.wait().success());
    /// assert!(process.wait().success()); // any number of times
    /// process.join()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When the exit status is lost because something else in this program waited for the process (a `waitpid(-1)`),
    /// and the process left nothing that tells; and when the system cannot wait.
    pub fn wait(&self) -> ExitStatus {
        self.waited(None)
            .expect("a wait without a deadline ends when the process has ended")
    }

    /// Waits until the process has ended, for at most `timeout`; returns its exit status if it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[mp::process_fn]
    /// # fn wait_for(gate: mp::Event) {
    /// #     gate.wait().unwrap();
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let gate = mp::Event::new()?;
    /// let process = mp::spawn!(wait_for, gate.clone())?;
    /// assert_eq!(process.wait_timeout(Duration::from_millis(1)), None);
    /// gate.set();
    /// assert!(process.wait_timeout(Duration::MAX).is_some_and(|status| status.success()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        self.waited(deadline_after(timeout))
    }

    /// Returns the exit status of the process if it has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for(gate: mp::Event) {
    /// #     gate.wait().unwrap();
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let gate = mp::Event::new()?;
    /// let process = mp::spawn!(wait_for, gate.clone())?;
    /// assert_eq!(process.exit_status(), None);
    /// gate.set();
    /// let status = process.wait();
    /// assert_eq!(process.exit_status(), Some(status));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "try_wait")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.waited(Some(Instant::now()))
    }

    fn waited(&self, deadline: Option<Instant>) -> Option<ExitStatus> {
        let Child {
            name, pid, ended, ..
        } = &*self.0;
        match self.0.wait_until(deadline) {
            Ok(false) => None,
            Ok(true) => match ended.get() {
                Some(Some(status)) => Some(*status),
                _ => panic!(
                    "the exit status of process `{name}` (pid {pid}) is lost: something else in this program waited for it"
                ),
            },
            Err(error) => panic!("cannot wait for process `{name}` (pid {pid}): {error}"),
        }
    }

    /// Returns the exit code of the process, or minus the number of the signal that ended it; `None` while it runs, or
    /// if the exit status is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for_ever() {
    /// #     loop {
    /// #         std::thread::park();
    /// #     }
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::spawn!(wait_for_ever)?;
    /// assert_eq!(process.exit_code(), None);
    /// process.kill()?;
    /// process.wait();
    /// assert_eq!(process.exit_code(), Some(-9));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "exitcode")]
    pub fn exit_code(&self) -> Option<i32> {
        self.0
            .wait_until(Some(Instant::now()))
            .ok()
            .filter(|ended| *ended)?;
        let (code, signal, _) = sys::status_parts((*self.0.ended.get()?)?);
        code.or(signal.map(|signal| -signal))
    }

    /// Tells whether the process has not ended yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for(gate: mp::Event) {
    /// #     gate.wait().unwrap();
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let gate = mp::Event::new()?;
    /// let process = mp::spawn!(wait_for, gate.clone())?;
    /// assert!(process.is_alive());
    /// gate.set();
    /// process.wait();
    /// assert!(!process.is_alive());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_alive(&self) -> bool {
        !self.0.wait_until(Some(Instant::now())).unwrap_or(false)
    }

    /// Asks the process to end (SIGTERM). Nothing happens to one that has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for_ever() {
    /// #     loop {
    /// #         std::thread::park();
    /// #     }
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::spawn!(wait_for_ever)?;
    /// process.terminate()?;
    /// process.wait();
    /// assert_eq!(process.exit_code(), Some(-15));
    /// process.terminate()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn terminate(&self) -> Result<()> {
        self.0.signal(sys::SIGTERM)
    }

    /// Ends the process at once (SIGKILL). Nothing happens to one that has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn wait_for_ever() {
    /// #     loop {
    /// #         std::thread::park();
    /// #     }
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::spawn!(wait_for_ever)?;
    /// process.kill()?;
    /// assert!(matches!(process.join(), Err(mp::ProcessError::Signaled { signal: 9, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(&self) -> Result<()> {
        self.0.signal(sys::SIGKILL)
    }

    /// Interrupts the process, as Ctrl-C does (SIGINT). Nothing happens to one that has ended.
    ///
    /// A child ignores it where its parent does, as programs do that a shell started in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::spawn!(work)?;
    /// process.wait();
    /// process.interrupt()?;
    /// assert_eq!(process.exit_code(), Some(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn interrupt(&self) -> Result<()> {
        self.0.signal(sys::SIGINT)
    }

    /// Takes the writing end of the child's standard input, if it was [piped](crate::Stdio::piped); once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// #[mp::process_fn]
    /// fn count() -> usize {
    ///     std::io::stdin().lines().count()
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().stdin(mp::Stdio::piped()).spawn::<count>(())?;
    ///     let mut input = process.take_stdin().expect("it is piped");
    ///     input.write_all(b"tea\ntoast\n")?;
    ///     drop(input); // the end of the input
    ///     assert_eq!(process.join()?, 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        lock(&self.0.pipes)[0].take().map(Into::into)
    }

    /// Takes the reading end of the child's standard output, if it was [piped](crate::Stdio::piped); once.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn greet() {
    ///     print!("hello");
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().stdout(mp::Stdio::piped()).spawn::<greet>(())?;
    ///     let output = process.take_stdout().expect("it is piped");
    ///     assert!(process.take_stdout().is_none());
    ///     assert_eq!(std::io::read_to_string(output)?, "hello");
    ///     Ok(())
    /// }
    /// ```
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        lock(&self.0.pipes)[1].take().map(Into::into)
    }

    /// Takes the reading end of the child's standard error, if it was [piped](crate::Stdio::piped); once.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn warn() {
    ///     eprint!("careful");
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().stderr(mp::Stdio::piped()).spawn::<warn>(())?;
    ///     let errors = process.take_stderr().expect("it is piped");
    ///     assert_eq!(std::io::read_to_string(errors)?, "careful");
    ///     Ok(())
    /// }
    /// ```
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        lock(&self.0.pipes)[2].take().map(Into::into)
    }
}

/// Readable when the process has ended.
impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.process.as_fd()
    }
}

impl fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.0.name)
            .field("pid", &self.0.pid)
            .field("function", &self.0.function)
            .field("daemon", &self.0.daemon)
            .field("exit_code", &self.exit_code())
            .finish()
    }
}
