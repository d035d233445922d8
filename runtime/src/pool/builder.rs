//! What a pool can be given before it is made.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::batch::Terms;
use super::body::{Hook, MOST_WORKERS, PoolBody, PoolHandle};
use super::crew::{Check, Crew, Rules};
use super::engine::{Engine, Processes, Threads};
use super::item::MOST_RETRIES;
use super::line::{Wishes, lock};
use super::shared::Shared;
use super::{Pool, nanoseconds};
use crate::arena::Parcel;
use crate::error::{Error, Result};
use crate::process::{Capture, OutputLine, StartMethod, cpu_count};
use crate::registry::{self, ProcessFn};
use crate::wire;

/// A pool that is about to be made.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// #[mp::process_fn]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::builder()
///         .workers(2)
///         .name("squarer")
///         .task_timeout(Duration::from_secs(60))
///         .retries(2)
///         .build()?;
///     assert_eq!(pool.map::<square>(1..4)?, [1, 4, 9]);
///     assert_eq!(pool.stats().workers[0].name, "squarer-1");
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "nothing starts before `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    uses_threads: bool,
    method: Option<StartMethod>,
    initializer: Option<Result<Call>>,
    check: Option<Check>,
    exit_hook: Option<Result<Call>>,
    max_tasks: u64,
    max_memory: u64,
    timeout: Option<Duration>,
    retries: u32,
    name: String,
    environment: Vec<(OsString, OsString)>,
    cpus: Option<Vec<usize>>,
    idle_timeout: Option<Duration>,
    cancel_grace: Duration,
    capture: Option<Capture>,
}

/// A function that every worker runs once, with its encoded arguments.
#[derive(Debug)]
struct Call {
    function: u64,
    arguments: Arguments,
}

struct Arguments(Parcel);

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments")
    }
}

/// What an initializer may return: `()`, or a [`Result`] whose error says why the pool cannot work.
///
/// The trait is sealed: it cannot be implemented outside of this library.
pub trait InitializerOutput: Serialize + DeserializeOwned + sealed::Verdict {}

mod sealed {
    pub trait Verdict {
        fn verdict(self) -> Result<(), String>;
    }
}

impl InitializerOutput for () {}

impl sealed::Verdict for () {
    fn verdict(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T, E> InitializerOutput for Result<T, E>
where
    T: Serialize + for<'de> Deserialize<'de>,
    E: Serialize + for<'de> Deserialize<'de> + fmt::Display,
{
}

impl<T, E: fmt::Display> sealed::Verdict for Result<T, E> {
    fn verdict(self) -> Result<(), String> {
        self.map(drop).map_err(|error| error.to_string())
    }
}

/// Looks at the encoded value of an initializer.
pub(super) fn check<T: DeserializeOwned + sealed::Verdict>(bytes: &[u8]) -> Result<(), String> {
    let subject = || "the value of the initializer".to_owned();
    let value: T = wire::decode(bytes, Vec::new(), &subject).map_err(|error| error.to_string())?;
    value.verdict()
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            uses_threads: false,
            method: None,
            initializer: None,
            check: None,
            exit_hook: None,
            max_tasks: 0,
            max_memory: 0,
            timeout: None,
            retries: 0,
            name: "PoolWorker".to_owned(),
            environment: Vec::new(),
            cpus: None,
            idle_timeout: None,
            cancel_grace: Duration::from_secs(1),
            capture: None,
        }
    }

    /// Sets the number of workers, at most 1024. The default is that of the processors that this process may use
    /// ([`cpu_count`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(3).build()?;
    /// assert_eq!(pool.stats().workers.len(), 3);
    /// assert!(matches!(mp::Pool::builder().workers(0).build(), Err(mp::Error::PoolOption { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Makes the workers threads of this process, not processes: see [`Pool::threads`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = mp::Pool::builder().threads().workers(2).build()?;
    /// assert_eq!(pool.stats().workers[0].pid, std::process::id());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn threads(mut self) -> Self {
        self.uses_threads = true;
        self
    }

    /// Sets how to start worker processes. The default is that of the program, see
    /// [`start_method`](crate::start_method).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// mp::Pool::builder().workers(1).start_method(mp::StartMethod::Spawn).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets a function that every worker runs before its first task, to load or open what tasks use.
    ///
    /// It returns `()`, or a [`Result`]. If it panics, returns an error, or dies, [`build`](Self::build) fails at once;
    /// if that happens to a later worker, which takes the place of another one, the pool is
    /// [broken](crate::TaskError::Broken). `build` waits until it has run in all workers. Its arguments cannot contain open
    /// files, since each worker would need its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// #[mp::process_fn]
    /// fn load(text: &str) -> Result<(), String> {
    ///     if text.is_empty() {
    ///         return Err("there are no words".to_owned());
    ///     }
    ///     let _ = WORDS.set(text.split(' ').map(str::to_owned).collect());
    ///     Ok(())
    /// }
    ///
    /// #[mp::process_fn]
    /// fn word(n: usize) -> String {
    ///     WORDS.get().unwrap()[n].clone()
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::builder().workers(2).initializer::<load>("to be or").build()?;
    ///     assert_eq!(pool.map::<word>([2, 0])?, ["or", "to"]);
    ///
    ///     let failed = mp::Pool::builder().workers(2).initializer::<load>("").build();
    ///     assert!(failed.unwrap_err().to_string().contains("there are no words"));
    ///     Ok(())
    /// }
    /// ```
    pub fn initializer<F: ProcessFn>(mut self, args: F::Args<'_>) -> Self
    where
        F::Output: InitializerOutput,
    {
        self.initializer = Some(Call::new::<F>(&args));
        self.check = Some(check::<F::Output>);
        self
    }

    /// Sets a function that every worker runs when it leaves: at the end of a closed pool, after its last task, when the
    /// pool becomes smaller. Not when it dies, or the pool is terminated. What it returns is not looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn count(leaving: mp::Atomic<u32>) {
    ///     leaving.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let left = mp::Atomic::<u32>::new(0)?;
    ///     let pool = mp::Pool::builder().workers(2).exit_hook::<count>(left.clone()).build()?;
    ///     pool.close();
    ///     pool.join()?;
    ///     assert_eq!(left.load(std::sync::atomic::Ordering::Relaxed), 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn exit_hook<F: ProcessFn>(mut self, args: F::Args<'_>) -> Self {
        self.exit_hook = Some(Call::new::<F>(&args));
        self
    }

    /// Lets a worker leave after it has run so many tasks; another one takes its place. For functions that leak. 0, the
    /// default, stands for no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn pid() -> u32 {
    /// #     std::process::id()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(1).max_tasks_per_worker(1).build()?;
    /// assert_ne!(pool.apply::<pid>(())?, pool.apply::<pid>(())?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.max_tasks = tasks;
        self
    }

    /// Lets a worker leave when, after a task, its process has more than `bytes` of memory in use (resident, as the system
    /// counts it); another one takes its place. 0, the default, stands for no limit. To look costs some microseconds for each
    /// task.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn pid() -> u32 {
    /// #     std::process::id()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(1).max_memory_per_worker(1).build()?;
    /// assert_ne!(pool.apply::<pid>(())?, pool.apply::<pid>(())?); // every process has more than that
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_memory_per_worker(mut self, bytes: u64) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Sets for how long a task may run, from when a worker begins it. Then its worker is killed with all that it has
    /// started, another one takes its place, and the task is [`TimedOut`](crate::TaskError::TimedOut). Zero is an error of
    /// [`build`](Self::build).
    ///
    /// Threads cannot be killed: a thread that runs late is left alone, and another one takes its place.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// #[mp::process_fn]
    /// fn spin() {
    ///     loop {}
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::builder().workers(1).task_timeout(Duration::from_millis(200)).build()?;
    ///     assert!(matches!(pool.apply::<spin>(()), Err(mp::TaskError::TimedOut { .. })));
    ///     Ok(())
    /// }
    /// ```
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how often a task is attempted again whose worker has died, at most 255. The default is 0: the task fails.
    ///
    /// Tasks that panic, run late or are cancelled are not attempted again, and neither are those whose arguments contain open
    /// files.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn die_once(died: mp::Event) -> u32 {
    ///     if !died.is_set() {
    ///         died.set();
    ///         std::process::abort();
    ///     }
    ///     42
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::builder().workers(1).retries(1).build()?;
    ///     assert_eq!(pool.apply::<die_once>(mp::Event::new()?)?, 42);
    ///     Ok(())
    /// }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets what workers are called: this name and a number. The default is `PoolWorker`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn name() -> String {
    /// #     mp::current_process().name().to_owned()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(1).name("indexer").build()?;
    /// assert_eq!(pool.apply::<name>(())?, "indexer-1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets an environment variable of worker processes. They have the others of this process.
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
    /// let pool = mp::Pool::builder().workers(1).env("OMP_NUM_THREADS", "1").build()?;
    /// assert_eq!(pool.apply::<variable>("OMP_NUM_THREADS")?.as_deref(), Some("1"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let variable = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push(variable);
        self
    }

    /// Keeps each worker process on one processor: the first worker on the first of these, and so on, round and round.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn cpus() -> usize {
    /// #     mp::cpu_count()
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(2).cpu_affinity([0]).build()?;
    /// assert_eq!(pool.map::<cpus>([(), ()])?, [1, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cpu_affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Lets workers leave that have had nothing to do for so long. New tasks start new ones. By default they stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[mp::process_fn]
    /// # fn square(n: u64) -> u64 {
    /// #     n * n
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(1).idle_timeout(Duration::from_millis(1)).build()?;
    /// while !pool.stats().workers.is_empty() {
    ///     std::thread::sleep(Duration::from_millis(1));
    /// }
    /// assert_eq!(pool.apply::<square>(4)?, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a running task that was [cancelled](crate::Task::cancel) may take to notice it by
    /// [`cancelled`](crate::cancelled) before its worker is killed. The default is 1 second.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// use std::time::Duration;
    ///
    /// let patient = mp::Pool::builder().workers(1).cancel_grace(Duration::from_secs(60)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace;
        self
    }

    /// Captures what worker processes print, their standard error and output, and prints it in whole lines with the worker's
    /// name before each: `[PoolWorker-1] text`. See [`Builder::capture_output`](crate::Builder::capture_output).
    ///
    /// Without this option, the standard error of workers is passed on in whole lines without names, and their standard output
    /// is that of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn square(n: u64) -> u64 {
    /// #     println!("the square of {n}");
    /// #     n * n
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().workers(1).capture_output().build()?;
    /// assert_eq!(pool.apply::<square>(4)?, 16); // prints "[PoolWorker-1] the square of 4"
    /// # Ok(())
    /// # }
    /// ```
    pub fn capture_output(mut self) -> Self {
        self.capture = Some(Capture::tagged());
        self
    }

    /// Captures what worker processes print, and gives each line to a function, which one thread calls. See
    /// [`Builder::on_output`](crate::Builder::on_output).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// #[mp::process_fn]
    /// fn greet() {
    ///     println!("hello");
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let (sender, lines) = mpsc::channel();
    ///     let pool = mp::Pool::builder()
    ///         .workers(1)
    ///         .on_output(move |line| drop(sender.send(line.to_string())))
    ///         .build()?;
    ///     pool.apply::<greet>(())?;
    ///     drop(pool); // with it goes the sender
    ///     assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["[PoolWorker-1] hello"]);
    ///     Ok(())
    /// }
    /// ```
    pub fn on_output(mut self, function: impl Fn(&OutputLine) + Send + Sync + 'static) -> Self {
        self.capture = Some(Capture::function(function));
        self
    }

    /// Makes the pool: starts its workers, and waits for their initializers if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn square(n: u64) -> u64 {
    /// #     n * n
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().build()?;
    /// assert_eq!(pool.apply::<square>(5)?, 25);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::PoolOption`] if there are no workers or too many, a time limit of zero, too many retries, or a processor that
    ///   this process may not use.
    /// - [`Error::PoolBroken`] if the initializer fails.
    /// - [`Error::Encode`] if the arguments of initializer or exit hook cannot be encoded.
    /// - Those of [`Builder::spawn`](crate::Builder::spawn).
    pub fn build(self) -> Result<Pool> {
        let (workers, wishes) = self.examine()?;
        let engine: Box<dyn Engine> = if self.uses_threads {
            super::see_panics();
            Box::new(Threads)
        } else {
            let cpus = self.cpus.clone().unwrap_or_default();
            let (environment, capture) = (self.environment.clone(), self.capture.clone());
            Box::new(Processes::new(self.method, environment, cpus, capture)?)
        };
        let rules = Rules {
            name: self.name.clone(),
            cancel_grace: self.cancel_grace,
            leaves_idle: self.idle_timeout.is_some(),
            check: self.check,
        };
        let crew = Crew::new(engine, rules, workers)?;
        let handle = PoolBody::create()?;
        self.furnish(&handle)?;
        let pool = Arc::new(Shared::new(handle, wishes, crew));
        lock(&pool.line).begin(&pool)?;
        // From here on, what was started is ended by dropping the pool.
        let pool = Pool { shared: pool };
        pool.shared.crew.begin(&pool.shared)?;
        Ok(pool)
    }

    /// Looks at the options.
    fn examine(&self) -> Result<(usize, Wishes)> {
        let refuse = |what: String| Err(Error::PoolOption { what });
        let workers = self.workers.unwrap_or_else(cpu_count);
        if workers == 0 {
            return refuse("it needs one worker at least; `workers(1)` makes it so".to_owned());
        }
        if workers > MOST_WORKERS {
            return refuse(format!(
                "it was to have {workers} workers, and {MOST_WORKERS} is the limit"
            ));
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return refuse("no task can be done in a `task_timeout` of zero".to_owned());
        }
        if self.retries > MOST_RETRIES {
            let retries = self.retries;
            return refuse(format!(
                "a task can be attempted again {MOST_RETRIES} times, not {retries} times"
            ));
        }
        if let Some(cpus) = &self.cpus {
            let allowed = crate::sys::allowed_cpus();
            if cpus.is_empty() {
                return refuse("`cpu_affinity` names no processor".to_owned());
            }
            if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
                return refuse(format!(
                    "`cpu_affinity` names processor {cpu}, and this process may use {allowed:?}"
                ));
            }
        }
        let terms = Terms {
            timeout: self.timeout.map_or(0, nanoseconds),
            chunk: 0,
        };
        let retries = self.retries;
        Ok((workers, Wishes { terms, retries }))
    }

    /// Writes into the pool what workers look at.
    fn furnish(self, handle: &PoolHandle) -> Result<()> {
        let body = handle.body();
        body.max_tasks.store(self.max_tasks, Ordering::Relaxed);
        body.max_memory.store(self.max_memory, Ordering::Relaxed);
        let idle = self.idle_timeout.map_or(0, nanoseconds);
        body.idle_timeout.store(idle, Ordering::Relaxed);
        for (call, hook) in [
            (self.initializer, &body.initializer),
            (self.exit_hook, &body.exit_hook),
        ] {
            if let Some(call) = call {
                call?.give(handle, hook);
            }
        }
        Ok(())
    }
}

impl Call {
    fn new<F: ProcessFn>(args: &F::Args<'_>) -> Result<Self> {
        let arena = crate::arena::arena()?;
        let arguments = wire::with_draft(
            |draft| registry::encode::<F>(args, draft),
            |draft, outgoing| {
                if !outgoing.fds.is_empty() {
                    return Err(Error::PoolOption {
                        what: format!(
                            "the arguments of `{}`, which every worker is to run, contain open files, of which each worker \
                             would need its own; let the function open them",
                            F::NAME
                        ),
                    });
                }
                draft.finish(arena, outgoing)
            },
        )??;
        Ok(Self {
            function: registry::hash(F::NAME),
            arguments: Arguments(arguments),
        })
    }

    /// Lets the pool own the arguments.
    fn give(self, handle: &PoolHandle, hook: &Hook) {
        let parcel = self.arguments.0.into_place();
        let mut tx = handle.arena().begin();
        tx.detach_parcel(parcel);
        tx.set(&hook.arguments, parcel.0);
        tx.commit();
        hook.function.store(self.function, Ordering::Release);
    }
}
