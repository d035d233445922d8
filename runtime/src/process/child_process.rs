//! A child process, as its parent sees it.

use std::fmt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::Child;
use crate::error::Result;
use crate::reactor::{Source, Sourced};
use crate::sync::deadline_after;
use crate::sys::{self, AsFd, BorrowedFd};
use crate::wait::Waitable;

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
        let Child { name, pid, .. } = &*self.0;
        match self.0.wait_until(deadline) {
            Ok(false) => None,
            Ok(true) => match self.0.status() {
                Some(status) => Some(status),
                None => panic!(
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
        let (code, signal, _) = sys::status_parts(self.0.status()?);
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

    /// Interrupts the process (SIGINT), which ends it unless its function handles that. Nothing happens to one that has ended.
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
        self.0.take_pipe(0).map(Into::into)
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
        self.0.take_pipe(1).map(Into::into)
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
        self.0.take_pipe(2).map(Into::into)
    }
}

impl Waitable for ChildProcess {}

impl Sourced for ChildProcess {
    fn source(&self) -> Source<'_> {
        Source::of_fd(self.as_fd())
    }
}

/// Readable when the process has ended.
impl AsFd for ChildProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.process.as_fd()
    }
}

impl ChildProcess {
    /// The last lines of its standard error, if that is captured.
    pub(crate) fn last_lines(&self) -> String {
        self.0.last_lines()
    }

    /// Kills the process, and all of the group that it leads.
    pub(crate) fn kill_group(&self) {
        self.0.kill_group();
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
