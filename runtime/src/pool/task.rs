//! Tasks that run while their submitter does something else.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::item::Phase;
use super::many::Many;
use super::owned_batch::Batch;
use super::shared::Shared;
use super::watch::{Sleeper, Then, Watchers};
use crate::error::TaskError;
use crate::sync::deadline_after;

/// A task that a [`Pool`](crate::Pool) runs, or many that are one: what [`Pool::submit`](crate::Pool::submit) and
/// [`Pool::map_async`](crate::Pool::map_async) give.
///
/// It is a [`Future`], too: `task.await` gives what [`get`](Self::get) gives, on any runtime. Dropping it does not stop the
/// task, whose value nobody gets then.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::new(2)?;
///     let task = pool.submit::<square>(12)?;
///     let many = pool.map_async::<square>(1..4)?;
///     assert_eq!(task.get()?, 144);
///     assert_eq!(many.get()?, [1, 4, 9]);
///     Ok(())
/// }
/// ```
#[must_use = "the task runs, but nobody will know what came of it"]
pub struct Task<R> {
    work: Work,
    decode: fn(&Work) -> Result<R, TaskError>,
    /// Somebody else uses the result, too.
    is_shared: AtomicBool,
    /// Set while a waker is to be told when the task is done.
    sleeper: Option<Sleeper>,
}

/// What a task is.
#[derive(Clone)]
pub(super) enum Work {
    /// One item.
    One {
        batch: Arc<Batch>,
        index: u32,
        function: &'static str,
    },
    Many(Arc<Many>),
}

impl Work {
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Work::One { batch, index, .. } => batch.state(*index).is_final(),
            Work::Many(many) => many.is_ready(),
        }
    }

    /// Asks for a notification when it may have become ready. What was done before must be looked for after this call.
    pub(super) fn watch(&self) {
        match self {
            Work::One { batch, index, .. } => {
                batch.view.item(*index).watch();
            }
            Work::Many(many) => many.watch(),
        }
    }

    pub(super) fn pool(&self) -> &Arc<Shared> {
        match self {
            Work::One { batch, .. } => &batch.pool,
            Work::Many(many) => &many.pool,
        }
    }

    #[inline]
    fn wait(&self, deadline: Option<Instant>) -> bool {
        match self {
            Work::One { batch, index, .. } => batch.wait(*index, deadline),
            Work::Many(many) => {
                many.pool
                    .wait_until(deadline, || many.is_ready().then_some(()), || many.watch())
            }
        }
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// The task of an item.
    #[inline]
    pub(super) fn one(batch: Arc<Batch>, index: u32, function: &'static str) -> Self {
        let work = Work::One {
            batch,
            index,
            function,
        };
        Self::new(work, |work| match work {
            Work::One {
                batch,
                index,
                function,
            } => batch.outcome(*index, function),
            Work::Many(_) => unreachable!("made for one item"),
        })
    }
}

impl<R: DeserializeOwned> Task<Vec<R>> {
    /// The task of many items.
    pub(super) fn many(many: Arc<Many>) -> Self {
        Self::new(Work::Many(many), |work| match work {
            Work::Many(many) => many.outcomes(),
            Work::One { .. } => unreachable!("made for many items"),
        })
    }
}

impl<R> Task<R> {
    #[inline]
    fn new(work: Work, decode: fn(&Work) -> Result<R, TaskError>) -> Self {
        Self {
            work,
            decode,
            is_shared: AtomicBool::new(false),
            sleeper: None,
        }
    }

    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    /// Waits until the task is done, and returns its value. It can be asked for again.
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
    /// let tasks: Vec<_> = (0..10).map(|n| pool.submit::<square>(n)).collect::<Result<_, _>>()?;
    /// let squares: Vec<u64> = tasks.iter().map(mp::Task::get).collect::<Result<_, _>>()?;
    /// assert_eq!(squares[9], 81);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the task gave no value: see [`TaskError`]. Descriptors in a value can be taken once.
    #[inline]
    pub fn get(&self) -> Result<R, TaskError> {
        self.work.wait(None);
        (self.decode)(&self.work)
    }

    /// Waits until the task is done, for at most `timeout`, and returns its value.
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
    ///     let early = task.get_timeout(Duration::from_millis(1));
    ///     assert!(matches!(early, Err(mp::TaskError::NotReady)));
    ///     gate.set();
    ///     task.get()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TaskError::NotReady`] when the time is over, and those of [`get`](Self::get). The task goes on.
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, TaskError> {
        if !self.work.wait(deadline_after(timeout)) {
            return Err(TaskError::NotReady);
        }
        (self.decode)(&self.work)
    }

    /// Tells whether [`get`](Self::get) would not wait.
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
    /// while !task.is_ready() {
    ///     std::thread::yield_now(); // or something useful
    /// }
    /// assert_eq!(task.get()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "done")]
    pub fn is_ready(&self) -> bool {
        self.work.is_ready()
    }

    /// Gives up on the task: if it has not begun, it never will. If it runs, [`cancelled`](crate::cancelled) is true for it
    /// from now on, and if it goes on nevertheless, its worker is killed when the pool's
    /// [`cancel_grace`](crate::PoolBuilder::cancel_grace) is over. Tells whether there was something to give up: `false` if
    /// the task was done.
    ///
    /// A task that returns in time has given its value. In a pool of threads nobody is killed: when the grace is over, the
    /// task counts as cancelled and its thread is left alone.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn stubborn() {
    ///     loop {
    ///         std::thread::park();
    ///     }
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::builder().workers(1).cancel_grace(std::time::Duration::ZERO).build()?;
    ///     let task = pool.submit::<stubborn>(())?;
    ///     assert!(task.cancel());
    ///     assert!(matches!(task.get(), Err(mp::TaskError::Cancelled)));
    ///     assert!(!task.cancel());
    ///     Ok(())
    /// }
    /// ```
    pub fn cancel(&self) -> bool {
        match &self.work {
            Work::One { batch, index, .. } => batch.cancel(*index),
            Work::Many(many) => many.cancel(),
        }
    }

    /// Calls `callback` with what came of the task when it is done, on a thread of the pool. If the callback panics, that is
    /// printed, and hurts nobody.
    ///
    /// Callbacks of a pool run one after the other: one that takes long delays the others, but not the pool's work.
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
    /// use std::sync::mpsc;
    ///
    /// let pool = mp::Pool::new(1)?;
    /// let (sender, receiver) = mpsc::channel();
    /// let task = pool.submit::<square>(7)?;
    /// task.on_done(move |outcome| sender.send(outcome.map(|n| n + 1)).unwrap());
    /// assert_eq!(receiver.recv().unwrap()?, 50);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static)
    where
        R: 'static,
    {
        self.is_shared.store(true, Ordering::Relaxed);
        let (work, decode) = (self.work.clone(), self.decode);
        let call = move |work: &Work| callback(decode(work));
        Watchers::add(work, Then::Call(Box::new(call)));
    }
}

impl Batch {
    /// Gives up on an item, whose worker is to be killed if it goes on nevertheless. `false` if it was done.
    pub(super) fn cancel(&self, index: u32) -> bool {
        let Some(before) = self.give_up_on(index) else {
            return true;
        };
        if before.phase() == Phase::Running && !before.is_cancelled() {
            self.pool.crew.doom(self.view.place, index);
        }
        !before.is_final()
    }
}

/// Gives what [`get`](Task::get) gives.
impl<R> Future for Task<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.work.is_ready() {
            let waker = context.waker().clone();
            self.sleeper = Some(Watchers::wake(&self.work, waker));
            return Poll::Pending;
        }
        self.sleeper = None;
        Poll::Ready((self.decode)(&self.work))
    }
}

/// Nothing in it is pinned.
impl<R> Unpin for Task<R> {}

impl<R> Drop for Task<R> {
    #[inline]
    fn drop(&mut self) {
        if let Work::One { batch, index, .. } = &self.work
            && !self.is_shared.load(Ordering::Relaxed)
        {
            batch.clean(*index);
        }
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}
