//! What a process can be given before it starts.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::output::{Capture, OutputLine};
use super::server::Server;
use super::surroundings::Surroundings;
use super::{Process, StartMethod, Stdio, start};
use crate::error::Result;
use crate::registry::ProcessFn;

/// A process that is about to be started.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn variable(name: &str) -> Option<String> {
///     std::env::var(name).ok()
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::Builder::new()
///         .name("indexer")
///         .env("LANGUAGE", "en")
///         .current_dir("/")
///         .spawn::<variable>("LANGUAGE")?;
///     assert_eq!(process.name(), "indexer");
///     assert_eq!(process.join()?.as_deref(), Some("en"));
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing starts before `spawn`"]
pub struct Builder {
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    pub(super) method: Option<StartMethod>,
    pub(super) surroundings: Surroundings,
    pub(super) stdio: [Option<Stdio>; 3],
    /// Whether the child leads a process group of its own, which ends when it does.
    pub(super) leads_group: bool,
    /// The fork server that makes the process, if it is not that of the start method.
    pub(super) server: Option<Arc<Server>>,
    /// Whether the process is the library's own: it is not counted among the children, and its starter sees to its end.
    pub(super) hidden: bool,
    pub(super) isolated: bool,
    /// Where what the process prints goes.
    pub(super) capture: Option<Capture>,
}

impl Builder {
    /// Makes a builder of a process with the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().spawn::<work>(())?;
    /// assert_eq!(process.name(), "Process-1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the process's name, for messages, `ps` and `top`.
    ///
    /// The default is `Process-1`, `Process-2`, …, and `Process-1:1` for the first child of the first.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().name("indexer").spawn::<work>(())?;
    /// assert_eq!(process.name(), "indexer");
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets whether the process is a daemon: it is terminated when its parent exits, and dies when its parent is
    /// killed, where others are joined. The default is `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn serve() {
    ///     loop {
    ///         std::thread::park();
    ///     }
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().daemon(true).spawn::<serve>(())?;
    ///     assert!(process.is_daemon());
    ///     Ok(()) // and `serve` ends
    /// }
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets how to start the process. The default is that of the program, see [`start_method`](crate::start_method).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// use mp::StartMethod;
    ///
    /// for method in StartMethod::available() {
    ///     mp::Builder::new().start_method(*method).spawn::<work>(())?.join()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets an environment variable of the child. It has the others of its parent.
    ///
    /// A name that is empty or contains `=` is an error of [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn variable(name: &str) -> Option<String> {
    /// #     std::env::var(name).ok()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().env("LANGUAGE", "en").spawn::<variable>("LANGUAGE")?;
    /// assert_eq!(process.join()?.as_deref(), Some("en"));
    ///
    /// assert!(mp::Builder::new().env("a=b", "c").spawn::<variable>("a").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let change = (name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self.surroundings.changes.push(change);
        self
    }

    /// Sets environment variables of the child.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn variable(name: &str) -> Option<String> {
    /// #     std::env::var(name).ok()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let variables = [("LANGUAGE", "en"), ("COLOR", "never")];
    /// let process = mp::Builder::new().envs(variables).spawn::<variable>("COLOR")?;
    /// assert_eq!(process.join()?.as_deref(), Some("never"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables
            .into_iter()
            .fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Removes an environment variable that the child would have of its parent.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn variable(name: &str) -> Option<String> {
    /// #     std::env::var(name).ok()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// assert!(std::env::var("PATH").is_ok());
    /// let process = mp::Builder::new().env_remove("PATH").spawn::<variable>("PATH")?;
    /// assert_eq!(process.join()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.surroundings
            .changes
            .push((name.as_ref().to_owned(), None));
        self
    }

    /// Removes all environment variables, those set on this builder before included.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    /// # #[mp::process_fn]
    /// # fn variable(name: &str) -> Option<String> {
    /// #     std::env::var(name).ok()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().env_clear().spawn::<variable>("PATH")?;
    /// assert_eq!(process.join()?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.surroundings.clear_environment = true;
        self.surroundings.changes.clear();
        self
    }

    /// Sets the child's working directory. The default is its parent's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::PathBuf;
    ///
    /// #[mp::process_fn]
    /// fn directory() -> PathBuf {
    ///     std::env::current_dir().expect("the directory is there")
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().current_dir("/").spawn::<directory>(())?;
    ///     assert_eq!(process.join()?, PathBuf::from("/"));
    ///
    ///     let refused = mp::Builder::new().current_dir("/no/such/directory").spawn::<directory>(());
    ///     assert!(matches!(refused, Err(mp::Error::Start { .. })));
    ///     Ok(())
    /// }
    /// ```
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.surroundings.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets where the child's standard input comes from. The default is where its parent's does.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn read() -> String {
    ///     std::io::read_to_string(std::io::stdin()).expect("the input is text")
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().stdin(mp::Stdio::null()).spawn::<read>(())?;
    ///     assert_eq!(process.join()?, "");
    ///     Ok(())
    /// }
    /// ```
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdio[0] = Some(stdin.into());
        self
    }

    /// Sets where the child's standard output goes. The default is where its parent's does.
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
    ///     assert_eq!(std::io::read_to_string(output)?, "hello");
    ///     Ok(())
    /// }
    /// ```
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdio[1] = Some(stdout.into());
        self
    }

    /// Sets where the child's standard error goes. The default is where its parent's does.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn fail() {
    ///     panic!("no luck");
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().stderr(mp::Stdio::null()).spawn::<fail>(())?;
    ///     // The panic is not printed, and is told all the same.
    ///     assert!(process.join().unwrap_err().to_string().contains("no luck"));
    ///     Ok(())
    /// }
    /// ```
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stdio[2] = Some(stderr.into());
        self
    }

    /// Sets whether the process is isolated, for code that may scribble over memory: C libraries, or what a fuzzer tries.
    /// The default is `false`.
    ///
    /// An isolated process maps no shared memory, so that it can harm nobody's but its own. Arguments, value and connections go through
    /// sockets and sealed files. Other handles (queues, locks, values, …) among its arguments are an error of
    /// [`spawn`](Self::spawn); in the process, making a shared object or starting a process is
    /// [`Error::Isolated`](crate::Error::Isolated).
    ///
    /// It is started by [`Spawn`](StartMethod::Spawn), whatever the program's default is.
    ///
    /// A message of more than 8 KiB to an isolated process must be sent by a process that knows of it: that has passed the other end
    /// of the connection itself, and not received its own end from elsewhere. The isolated process cannot receive those of others.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn parse(input: Vec<u8>, progress: mp::Sender<usize>) -> Option<u8> {
    ///     progress.send(input.len()).ok()?;
    ///     assert!(matches!(mp::Event::new(), Err(mp::Error::Isolated)));
    ///     input.iter().copied().max()
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let (tx, rx) = mp::channel()?;
    ///     let isolated = || mp::Builder::new().isolated(true);
    ///     let process = isolated().spawn::<parse>((vec![3, 1, 2], tx))?;
    ///     assert_eq!(rx.recv()?, 3);
    ///     assert_eq!(process.join()?, Some(3));
    ///
    /// #   #[mp::process_fn]
    /// #   fn wait_for(event: mp::Event) {
    /// #       event.wait().unwrap();
    /// #   }
    ///     let event = mp::Event::new()?;
    ///     let refused = isolated().spawn::<wait_for>(event).unwrap_err();
    ///     assert!(refused.to_string().contains("isolated process, which maps no shared memory"));
    ///     Ok(())
    /// }
    /// ```
    pub fn isolated(mut self, isolated: bool) -> Self {
        self.isolated = isolated;
        self
    }

    /// Sets how many bytes of memory the process may have for itself (`RLIMIT_DATA`): its heap, the stacks of its threads and other
    /// private memory that can be written, used or not. What the tree shares does not count.
    ///
    /// The program finds that there is no more: an allocation of Rust's collections aborts it, and its parent is told
    /// [`ProcessError::Signaled`](crate::ProcessError::Signaled). The limit cannot be raised in the process, and holds for the programs
    /// that it starts. A limit above that of the parent ends the process before its function.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn allocate(bytes: usize) -> bool {
    ///     Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let limited = || mp::Builder::new().memory_limit(64 << 20);
    ///     assert!(limited().spawn::<allocate>(1 << 20)?.join()?);
    ///     assert!(!limited().spawn::<allocate>(1 << 30)?.join()?);
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "RLIMIT_DATA")]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.surroundings.limits.memory = Some(bytes);
        self
    }

    /// Sets how much processor time the process may use, of all its threads together (`RLIMIT_CPU`). It is rounded up to seconds.
    ///
    /// Then the process is sent `SIGXCPU`, which ends it, and a second later it is killed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// #[mp::process_fn]
    /// fn search() {
    ///     loop {}
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let process = mp::Builder::new().cpu_limit(Duration::from_secs(1)).spawn::<search>(())?;
    ///     assert!(process.join().unwrap_err().to_string().contains("SIGXCPU"));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "RLIMIT_CPU")]
    pub fn cpu_limit(mut self, time: Duration) -> Self {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        // The kernel takes 0 for a second.
        self.surroundings.limits.cpu = Some(seconds.max(1));
        self
    }

    /// Sets how much nicer the process is than its parent: with a higher number it leaves the processors to others. Whoever may not
    /// go below 0 there ends before its function.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn niceness() -> Option<String> {
    ///     let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    ///     stat.rsplit(')').next()?.split_whitespace().nth(16).map(str::to_owned)
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let here: i32 = niceness().expect("/proc is there").parse().unwrap();
    ///     let there = mp::Builder::new().nice(2).spawn::<niceness>(())?.join()?;
    ///     assert_eq!(there, Some((here + 2).min(19).to_string()));
    ///     Ok(())
    /// }
    /// ```
    pub fn nice(mut self, increment: i32) -> Self {
        self.surroundings.limits.nice = increment;
        self
    }

    /// Captures what the child prints: its standard output and error go through this process to this process's own, in whole
    /// lines, each with the name of its process before it: `[Process-1] text`.
    ///
    /// - Lines of several children do not mix, nor with those that this process prints by one call of [`println!`] or
    ///   [`eprintln!`]. What the child writes is passed on unchanged otherwise, whether it is text or not. A line that is
    ///   longer than 64 KiB comes in pieces of that length, each with the tag. A last line without an end gets one. What ends
    ///   with a carriage return, as the states of a progress bar, is a line, too.
    /// - [`join`](Process::join), [`wait`](crate::ChildProcess::wait) and an `await` give what they give when all that the child
    ///   wrote has been passed on. They do not wait for the end of programs that the child has started, whose output is passed on
    ///   as well as long as this process runs, with the child's tag.
    /// - If nobody reads this process's standard output or error, or one of its threads keeps them locked, the child waits when
    ///   it prints, as it would without this option. Nobody else does: those who wait for the child's end wait no longer than a
    ///   second for somebody who takes nothing. All has been read from the child then, and is passed on later, in order.
    /// - If the child crashes, its error has the last lines of its standard error:
    ///   [`ProcessError::stderr`](crate::ProcessError::stderr).
    /// - All is passed on before this process ends by a return from `main` or by [`std::process::exit`]. If it is killed, its
    ///   end of the pipes is gone: children that print then have an error, as in a shell's pipe.
    ///
    /// A stream that is set by [`stdout`](Self::stdout) or [`stderr`](Self::stderr) goes where that says, and is not captured.
    /// The child does not write to a terminal: programs that look for one show no colors.
    ///
    /// For each of its own two streams this process has a thread as long as there are children whose output goes there, and
    /// cannot use [`StartMethod::Fork`] meanwhile. The first such child itself can be started by `Fork`.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn crash() {
    ///     println!("all is well");
    ///     eprintln!("the disk is full");
    ///     std::process::abort();
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     // Prints "[Process-1] all is well" and, to the standard error, "[Process-1] the disk is full".
    ///     let process = mp::Builder::new().capture_output().spawn::<crash>(())?;
    ///     let error = process.join().unwrap_err();
    ///     assert_eq!(error.stderr(), "the disk is full\n");
    ///     assert!(error.to_string().ends_with("the disk is full"));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "prefix")]
    pub fn capture_output(mut self) -> Self {
        self.capture = Some(Capture::tagged());
        self
    }

    /// Captures what the child prints, as [`capture_output`](Self::capture_output) does, and gives each line to a function
    /// instead of printing it: to send it to a log, to show it in a window, to look at it in a test.
    ///
    /// A thread of its own calls the function, so that what it does holds up nobody but the child. `join` and `wait` return
    /// when it has been called for all lines, but do not wait longer than a second for a call that does not return; so it may
    /// wait for something that the caller of `join` holds. If it panics, it is called for the next line all the same. It is
    /// dropped when both streams have ended.
    ///
    /// It must not wait for the end of the child that it hears, because the child waits for it when it prints much; nor call
    /// [`std::process::exit`], which waits for all children.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// #[mp::process_fn]
    /// fn count(to: u32) {
    ///     for n in 1..=to {
    ///         println!("{n}");
    ///     }
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let (sender, lines) = mpsc::channel();
    ///     let process = mp::Builder::new()
    ///         .on_output(move |line| drop(sender.send(line.to_string())))
    ///         .spawn::<count>(3)?;
    ///     // The sender is dropped when the process prints nothing any more.
    ///     let lines: Vec<_> = lines.into_iter().collect();
    ///     assert_eq!(lines, ["[Process-1] 1", "[Process-1] 2", "[Process-1] 3"]);
    ///     process.join()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn on_output(mut self, function: impl Fn(&OutputLine) + Send + Sync + 'static) -> Self {
        self.capture = Some(Capture::function(function));
        self
    }

    /// Does with the child's output what somebody has decided.
    pub(crate) fn capture(mut self, capture: Capture) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Lets the child lead a process group of its own. When the child ends, in whatever way, all of the group is killed.
    pub(crate) fn lead_group(mut self) -> Self {
        self.leads_group = true;
        self
    }

    /// Lets this fork server make the process.
    pub(crate) fn served_by(mut self, server: Arc<Server>) -> Self {
        self.server = Some(server);
        self
    }

    /// Keeps the process from counting among the children.
    pub(super) fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Starts the process, which runs the function `F` with `args`: `()` for none, the bare value for one, a tuple for
    /// several. [`spawn!`](crate::spawn!) is shorter where the defaults will do.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn greet() -> String {
    ///     "hello".to_owned()
    /// }
    ///
    /// #[mp::process_fn]
    /// fn repeat(word: &str, times: usize) -> String {
    ///     word.repeat(times)
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::Builder::new().spawn::<greet>(())?.join()?, "hello");
    ///     assert_eq!(mp::Builder::new().spawn::<repeat>(("hip ", 2))?.join()?, "hip hip ");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::NotInitialized`](crate::Error::NotInitialized) if neither `#[mp::main]`, `#[mp::test]` nor
    ///   `mp::init()` has run.
    /// - [`Error::StartMethodUnavailable`](crate::Error::StartMethodUnavailable) if this version does not have the
    ///   start method here.
    /// - [`Error::ForkWithThreads`](crate::Error::ForkWithThreads) if this process is to be copied and has more than one
    ///   thread.
    /// - [`Error::Preload`](crate::Error::Preload) and
    ///   [`Error::ForkServerWithThreads`](crate::Error::ForkServerWithThreads) if the function of
    ///   [`set_forkserver_preload`](crate::set_forkserver_preload) fails, or leaves threads behind.
    /// - [`Error::TooDeep`](crate::Error::TooDeep) if too many generations of processes are above this one.
    /// - [`Error::Encode`](crate::Error::Encode) if an argument cannot be encoded.
    /// - [`Error::Start`](crate::Error::Start) if the system cannot start the program, or not in that directory, or an
    ///   environment variable cannot have its name.
    /// - [`Error::Os`](crate::Error::Os) if a standard stream cannot be opened, or the shared memory cannot be made.
    /// - [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the shared memory is full.
    #[doc(alias = "start")]
    pub fn spawn<F: ProcessFn>(self, args: F::Args<'_>) -> Result<Process<F::Output>> {
        start::start::<F>(self, &args).map(Process::new)
    }
}
