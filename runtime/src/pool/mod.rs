//! Pools of workers.
//!
//! ```text
//!  owner: map, imap, submit …        arena                                          worker (a process, or a thread)
//!  encode items into a batch ──▶ line of batches: items, arguments, places for results ◀── claim some, run each, leave what
//!  take what came of them    ◀──                                                           came of it in the item's place
//! ```
//!
//! No message is sent. Workers claim items by themselves and leave results where the owner looks; nobody calls the system
//! unless somebody has to sleep, and no lock is taken by a worker for a small task.
//!
//! | module | what lives there |
//! |---|---|
//! | `item`, `words` | the word of a task, which decides who runs it and what becomes of it; those by which batches are shared |
//! | `batch`, `body` | tasks, and the pool, in the arena |
//! | `worker`, `chunk`, `serve`, `current` | what a worker does, from its start to its end; what a task can ask |
//! | `line`, `owned_batch`, `shared` | the owner's side: which batches there are, waiting for a task |
//! | `flow`, `flight`, `many`, `task`, `watch`, `completed` | what the owner's calls are made of: streams of items, tasks, callbacks |
//! | `crew`, `engine` | looking after workers: replacing the dead, killing the late; what workers are made of |
//! | `builder`, `job`, `stats` | options; numbers |
//!
//! # Safety
//!
//! What the arena's invariants (A1–A6) do not say by themselves:
//!
//! - **P1** An item's arguments are written by the owner before the item is `Ready`, and not changed or freed before the batch is, or
//!   before the item is done and its worker has said so.
//! - **P2** What came of an item is written by the worker whose `Running` is in the item's word, before the word says that it is
//!   done, and by nobody afterwards.
//! - **P3** A batch is not freed while a worker visits it (see [`body`]), or the owner knows of it.

#![allow(unsafe_code)]

mod batch;
mod body;
mod builder;
mod chunk;
mod completed;
mod crew;
mod current;
mod engine;
mod flight;
mod flow;
mod item;
mod job;
mod line;
mod many;
mod owned_batch;
mod serve;
mod shared;
mod stats;
mod task;
#[cfg(test)]
mod tests;
mod watch;
mod words;
mod worker;

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

pub use builder::{InitializerOutput, PoolBuilder};
pub use completed::{AsCompleted, as_completed, wait_any};
pub use current::{CurrentTask, cancelled, current_task};
pub use job::{Imap, ImapUnordered, Job, OnError};
pub use stats::{PoolStats, WorkerStats};
pub use task::Task;

use self::shared::Shared;
use crate::error::{Error, Result, TaskError};
use crate::process::watch_panics;
use crate::registry::ProcessFn;
use crate::sync::deadline_after;

/// Workers that run tasks.
///
/// A task is a call of a [process function](macro@crate::process_fn). Its panic is its own result, and so is its worker's
/// death: another worker takes the dead one's place, and no other task is hurt.
///
/// A pool can be used from many threads at once, inside tasks of other pools, and from a `static`. Dropping it
/// [terminates](Self::terminate) it, and waits until its workers are gone.
///
/// Workers are daemons: they die when this process does, however that is. They lead process groups of their own, so that Ctrl-C
/// in a terminal reaches this process alone, which decides; what tasks have started dies with its worker. Their standard input
/// is empty, and what they write to their standard error is passed on to that of this process.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[mp::process_fn]
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::new(2)?;
///     let squares: Vec<u64> = pool.map::<square>(0..1000)?;
///     assert_eq!(squares[999], 998_001);
///     assert_eq!(pool.apply::<power>((2, 10))?, 1024);
///
///     let mut sum = 0;
///     for square in pool.imap_unordered::<square>(0..10) {
///         sum += square?;
///     }
///     assert_eq!(sum, 285);
///     Ok(())
/// }
/// ```
#[doc(alias = "ThreadPool")]
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool {
    shared: Arc<Shared>,
}

/// A time limit as workers know it: in nanoseconds, and never 0.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// Lets panics in tasks on threads of this process be seen with their places and backtraces.
fn see_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // With `panic = "abort"` the program ends with the task: there is nobody to be told.
        watch_panics(
            |_| {},
            || unreachable!("asked for with `panic = \"abort\"` only"),
        );
    });
}

impl Pool {
    /// Makes a pool of worker processes.
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
    /// let pool = mp::Pool::new(4)?;
    /// assert_eq!(pool.map::<square>([1, 2])?, [1, 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Makes a pool whose workers are threads of this process.
    ///
    /// It is used as any other, and needs no `#[mp::main]`: for tests, and for work that does not need processes. Arguments and
    /// results are encoded as for processes. A task that crashes takes this process with it, and one that runs late cannot be
    /// killed: it is left alone on its thread, and another thread takes its place.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn pid() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = mp::Pool::threads(2)?;
    /// assert_eq!(pool.apply::<pid>(())?, std::process::id());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PoolBuilder::build`].
    #[doc(alias = "dummy")]
    pub fn threads(workers: usize) -> Result<Self> {
        Self::builder().threads().workers(workers).build()
    }

    /// Makes a builder of a pool with the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::builder().build()?;
    /// assert_eq!(pool.stats().workers.len(), mp::cpu_count());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// Makes work with options of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn square(n: u32) -> u32 {
    /// #     n * n
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::new(2)?;
    /// let results = pool.job::<square>().window(100).imap(0..1000);
    /// assert_eq!(results.len(), 1000); // it is an ExactSizeIterator
    /// # Ok(())
    /// # }
    /// ```
    pub fn job<F: ProcessFn>(&self) -> Job<'_, F> {
        Job::new(&self.shared)
    }

    /// Runs the function for each item, and returns the values in the order of the items: bare values for functions of one
    /// argument, tuples for those of several, `()` for those of none.
    ///
    /// The first error cancels the rest, and is returned at once. Items are pulled on this thread, while others run.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn repeat(word: &str, times: usize) -> String {
    ///     word.repeat(times)
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::new(2)?;
    ///     assert_eq!(pool.map::<repeat>([("hip ", 2), ("hurra", 1)])?, ["hip hip ", "hurra"]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The first error of a task: see [`TaskError`].
    #[doc(alias = "starmap")]
    pub fn map<'a, F: ProcessFn>(
        &self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> Result<Vec<F::Output>, TaskError> {
        self.job::<F>().map(items)
    }

    /// [`map`](Self::map) without waiting: all items are pulled now, and the values can be asked for later.
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
    /// let pool = mp::Pool::new(2)?;
    /// let squares: mp::Task<Vec<u64>> = pool.map_async::<square>(1..4)?;
    /// assert_eq!(squares.get()?, [1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Job::submit`].
    #[doc(alias = "starmap_async")]
    pub fn map_async<'a, F: ProcessFn>(
        &self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> Result<Task<Vec<F::Output>>> {
        self.job::<F>().map_async(items)
    }

    /// Runs the function for each item, and gives the results in the order of the items, each as soon as it and those before
    /// it are there. An error is the result of its task; the others go on.
    ///
    /// Items are pulled when they are needed, and no more than 4096 ahead, fewer if they are large ([`Job::window`]), so that the input may be endless
    /// and the results be used slowly. Pulling happens on the thread that asks for results. Dropping the iterator cancels
    /// the rest.
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
    /// let pool = mp::Pool::new(2)?;
    /// for (n, square) in (0..).zip(pool.imap::<square>(0..)).take(100) {
    ///     assert_eq!(square?, n * n);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn imap<'a, F: ProcessFn>(
        &self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> impl Iterator<Item = Result<F::Output, TaskError>> {
        self.job::<F>().imap(items)
    }

    /// [`imap`](Self::imap), but gives the results in the order in which they are done.
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
    /// let pool = mp::Pool::new(2)?;
    /// let mut squares: Vec<u64> = pool.imap_unordered::<square>(1..4).collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn imap_unordered<'a, F: ProcessFn>(
        &self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> impl Iterator<Item = Result<F::Output, TaskError>> {
        self.job::<F>().imap_unordered(items)
    }

    /// Runs the function once, and waits for its value.
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
    /// let pool = mp::Pool::new(1)?;
    /// assert_eq!(pool.apply::<square>(12)?, 144);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the task: see [`TaskError`].
    #[inline]
    pub fn apply<F: ProcessFn>(&self, args: F::Args<'_>) -> Result<F::Output, TaskError> {
        self.job::<F>().apply(args)
    }

    /// Lets the function run once, without waiting for it.
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
    /// let pool = mp::Pool::new(1)?;
    /// let task: mp::Task<u64> = pool.submit::<square>(12)?;
    /// assert_eq!(task.get()?, 144);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Job::submit`].
    #[doc(alias = "apply_async")]
    #[inline]
    pub fn submit<F: ProcessFn>(&self, args: F::Args<'_>) -> Result<Task<F::Output>> {
        self.job::<F>().submit(args)
    }

    /// Takes no more tasks. Workers leave when those that there are have been done.
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
    /// let pool = mp::Pool::new(1)?;
    /// let task = pool.submit::<square>(3)?;
    /// pool.close();
    /// assert!(matches!(pool.submit::<square>(4), Err(mp::Error::PoolClosed)));
    /// assert_eq!(task.get()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "shutdown")]
    pub fn close(&self) {
        self.shared.crew.close(&self.shared);
    }

    /// Waits until all workers of a pool that was [closed](Self::close) or [terminated](Self::terminate) are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::new(1)?;
    /// assert!(pool.join().is_err());
    /// pool.close();
    /// pool.join()?;
    /// assert!(mp::active_children().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PoolOption`] when the pool is open: it would wait for ever.
    pub fn join(&self) -> Result<()> {
        self.shared.crew.join(None).map(drop)
    }

    /// [`join`](Self::join) for at most `timeout`; tells whether all workers are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// #[mp::process_fn]
    /// fn wait_for(gate: mp::Event) {
    ///     gate.wait().unwrap();
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let (pool, gate) = (mp::Pool::new(1)?, mp::Event::new()?);
    ///     let task = pool.submit::<wait_for>(gate.clone())?;
    ///     pool.close();
    ///     assert!(!pool.join_timeout(Duration::from_millis(1))?);
    ///     gate.set();
    ///     task.get()?;
    ///     pool.join()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.shared.crew.join(deadline_after(timeout))
    }

    /// Ends the pool at once: kills its workers with all that they have started, and cancels what has not been done.
    ///
    /// Threads cannot be killed. Those that run a task are told ([`cancelled`]), and left alone.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn spin() {
    ///     loop {}
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::new(1)?;
    ///     let task = pool.submit::<spin>(())?;
    ///     pool.terminate();
    ///     assert!(matches!(task.get(), Err(mp::TaskError::Cancelled)));
    ///     pool.join()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn terminate(&self) {
        self.shared
            .crew
            .terminate(&self.shared, &TaskError::Cancelled);
    }

    /// Tells how the pool is doing.
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
    /// let pool = mp::Pool::new(2)?;
    /// pool.map::<square>(0..100)?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.succeeded, stats.pending, stats.died), (100, 0, 0));
    /// assert_eq!(stats.workers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> PoolStats {
        self.shared.stats()
    }

    /// Changes the number of workers: starts new ones, or lets some leave after the task that they run.
    ///
    /// It does not wait for that.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::new(1)?;
    /// pool.resize(2)?;
    /// while pool.stats().workers.len() < 2 {
    ///     std::thread::yield_now();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PoolOption`] if there are to be none, or too many, and [`Error::PoolClosed`] after `close` and `terminate`.
    pub fn resize(&self, workers: usize) -> Result<()> {
        if !(1..=body::MOST_WORKERS).contains(&workers) {
            return Err(Error::PoolOption {
                what: format!(
                    "it was to have {workers} workers, and can have 1 to {}",
                    body::MOST_WORKERS
                ),
            });
        }
        self.shared.crew.resize(workers)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
        self.shared.crew.finish();
        self.shared.watchers.finish(&self.shared.handle);
    }
}
