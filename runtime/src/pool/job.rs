//! Work with options of its own, and the iterators over results.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::flow::{Flow, Order, Plan};
use super::item::MOST_RETRIES;
use super::line::Wishes;
use super::nanoseconds;
use super::shared::Shared;
use super::task::Task;
use crate::error::{Result, TaskError};
use crate::registry::ProcessFn;

/// What becomes of the other tasks of a job when one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnError {
    /// They are cancelled: those that have not begun never will, and those that run are told
    /// ([`cancelled`](crate::cancelled)). The default of `map` and `map_async`; for the latter it happens when somebody asks for
    /// the task's outcome, or has done so by `await` or a callback.
    FailFast,
    /// They go on. The default of `imap` and `imap_unordered`.
    Continue,
}

/// Work for a [`Pool`](crate::Pool) with options of its own: made by [`Pool::job`](crate::Pool::job).
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
///     let pool = mp::Pool::new(2)?;
///     let job = pool.job::<square>().chunk_size(64).timeout(Duration::from_secs(60)).retries(1);
///     assert_eq!(job.map(0..1000)?[999], 998_001);
///     Ok(())
/// }
/// ```
#[must_use = "nothing runs before one of the calls"]
pub struct Job<'p, F> {
    pool: &'p Arc<Shared>,
    wishes: Wishes,
    window: Option<usize>,
    on_error: Option<OnError>,
    _function: PhantomData<fn() -> F>,
}

/// How many items of `imap` and its kin are in flight, unless they are told otherwise.
const WINDOW: usize = 4 << 10;

impl<'p, F: ProcessFn> Job<'p, F> {
    pub(super) fn new(pool: &'p Arc<Shared>) -> Self {
        Self {
            pool,
            wishes: pool.wishes,
            window: None,
            on_error: None,
            _function: PhantomData,
        }
    }

    /// Sets how many items a worker takes at once. By default it takes a part of what there is, and less towards the end;
    /// workers without work take over what others have taken and not begun.
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
    /// assert_eq!(pool.job::<square>().chunk_size(1).map(1..4)?, [1, 4, 9]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When `items` is 0.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(
            items > 0,
            "`chunk_size(0)`: a worker takes one item at least"
        );
        self.wishes.terms.chunk = items as u64;
        self
    }

    /// Sets for how long each task may run, in place of the pool's
    /// [`task_timeout`](crate::PoolBuilder::task_timeout).
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
    ///     let pool = mp::Pool::new(1)?;
    ///     let late = pool.job::<spin>().timeout(Duration::from_millis(200)).apply(());
    ///     assert!(matches!(late, Err(mp::TaskError::TimedOut { .. })));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When `timeout` is zero.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(
            !timeout.is_zero(),
            "`timeout(0)`: no task can be done in that"
        );
        self.wishes.terms.timeout = nanoseconds(timeout);
        self
    }

    /// Sets how often a task is attempted again whose worker has died, in place of the pool's
    /// [`retries`](crate::PoolBuilder::retries).
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn die_once(died: mp::Event) {
    ///     if !died.is_set() {
    ///         died.set();
    ///         std::process::abort();
    ///     }
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let pool = mp::Pool::new(1)?;
    ///     pool.job::<die_once>().retries(1).apply(mp::Event::new()?)?;
    ///     let died = pool.apply::<die_once>(mp::Event::new()?);
    ///     assert!(matches!(died, Err(mp::TaskError::WorkerDied { .. })));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When there are more than 255.
    pub fn retries(mut self, retries: u32) -> Self {
        assert!(
            retries <= MOST_RETRIES,
            "`retries({retries})`: a task can be attempted again {MOST_RETRIES} times"
        );
        self.wishes.retries = retries;
        self
    }

    /// Sets how many items are pulled from the input, at most, whose results were not given yet. The default is 4096 for
    /// `imap` and `imap_unordered`; besides, no more than two for each worker are pulled while those in flight have 8 MiB of
    /// arguments, or would have as much in results if all were as large as the largest so far. Until there is a result, 64
    /// are pulled.
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
    /// let mut pulled = 0;
    /// let items = (0..).inspect(|n| pulled = *n);
    /// let mut squares = pool.job::<square>().window(10).imap(items);
    /// assert_eq!(squares.next().unwrap()?, 0);
    /// drop(squares);
    /// assert!(pulled <= 10);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When `items` is 0.
    pub fn window(mut self, items: usize) -> Self {
        assert!(
            items > 0,
            "`window(0)`: one item at least must be in flight"
        );
        self.window = Some(items);
        self
    }

    /// Sets what becomes of the other tasks when one has failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn reciprocal(n: u32) -> u32 {
    /// #     1000 / n
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let pool = mp::Pool::new(2)?;
    /// let mut results = pool.job::<reciprocal>().on_error(mp::OnError::FailFast).imap([0, 1, 2]);
    /// assert!(results.next().unwrap().is_err());
    /// assert!(results.next().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = Some(on_error);
        self
    }

    fn plan(&self, order: Order) -> Plan {
        let (window, on_error) = match order {
            // All values are kept anyway, and a slow item is not to hold up the others.
            Order::Whole => (usize::MAX, OnError::FailFast),
            Order::Each | Order::Any => (WINDOW, OnError::Continue),
        };
        Plan {
            wishes: self.wishes,
            window: self.window.unwrap_or(window),
            fails_fast: self.on_error.unwrap_or(on_error) == OnError::FailFast,
            order,
        }
    }

    /// [`Pool::map`](crate::Pool::map) with these options. With [`OnError::Continue`], all tasks are done before the first
    /// error is returned.
    ///
    /// # Errors
    ///
    /// The first error of a task.
    pub fn map<'a>(
        self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> Result<Vec<F::Output>, TaskError> {
        let plan = self.plan(Order::Whole);
        let mut flow = Flow::<F, _>::new(self.pool, plan, items);
        let mut values = Vec::with_capacity(flow.size_hint().0.min(1 << 20));
        let mut failed = None;
        while let Some(outcome) = flow.take() {
            match outcome {
                Ok(value) => {
                    values.push(value);
                    flow.take_values(&mut values);
                }
                Err(error) if plan.fails_fast => return Err(error),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        match failed {
            None => Ok(values),
            Some(error) => Err(error),
        }
    }

    /// [`Pool::map_async`](crate::Pool::map_async) with these options.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Self::submit).
    pub fn map_async<'a>(
        self,
        items: impl IntoIterator<Item = F::Args<'a>>,
    ) -> Result<Task<Vec<F::Output>>> {
        self.pool.check_open()?;
        let plan = self.plan(Order::Whole);
        let many = Flow::<F, _>::new(self.pool, plan, items).launch();
        Ok(Task::many(Arc::new(many)))
    }

    /// [`Pool::imap`](crate::Pool::imap) with these options.
    pub fn imap<'a, I: IntoIterator<Item = F::Args<'a>>>(self, items: I) -> Imap<F, I::IntoIter> {
        Imap(Flow::new(self.pool, self.plan(Order::Each), items))
    }

    /// [`Pool::imap_unordered`](crate::Pool::imap_unordered) with these options.
    pub fn imap_unordered<'a, I: IntoIterator<Item = F::Args<'a>>>(
        self,
        items: I,
    ) -> ImapUnordered<F, I::IntoIter> {
        ImapUnordered(Flow::new(self.pool, self.plan(Order::Any), items))
    }

    /// [`Pool::apply`](crate::Pool::apply) with these options.
    ///
    /// # Errors
    ///
    /// Those of the task.
    #[inline]
    pub fn apply(self, args: F::Args<'_>) -> Result<F::Output, TaskError> {
        self.submit(args)?.get()
    }

    /// [`Pool::submit`](crate::Pool::submit) with these options.
    ///
    /// # Errors
    ///
    /// [`Error::PoolClosed`](crate::Error::PoolClosed) after `close` and `terminate`,
    /// [`Error::PoolBroken`](crate::Error::PoolBroken) if workers cannot work, [`Error::Encode`](crate::Error::Encode) if an
    /// argument cannot be encoded, [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the shared memory is full.
    #[inline]
    pub fn submit(self, args: F::Args<'_>) -> Result<Task<F::Output>> {
        let (batch, index) = self.pool.submit::<F>(&args, self.wishes)?;
        Ok(Task::one(batch, index, F::NAME))
    }
}

impl<F: ProcessFn> fmt::Debug for Job<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("function", &F::NAME)
            .finish_non_exhaustive()
    }
}

/// Iterator over results in the order of the items, made by [`Job::imap`]. Dropping it cancels the rest.
pub struct Imap<F, I: Iterator>(Flow<F, I>);

/// Iterator over results in the order in which they are done, made by [`Job::imap_unordered`]. Dropping it cancels the rest.
pub struct ImapUnordered<F, I: Iterator>(Flow<F, I>);

macro_rules! iterators {
    ($($name:ident)*) => {$(
        impl<'a, F: ProcessFn, I: Iterator<Item = F::Args<'a>>> Iterator for $name<F, I> {
            type Item = Result<F::Output, TaskError>;

            #[inline]
            fn next(&mut self) -> Option<Self::Item> {
                self.0.take()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<'a, F: ProcessFn, I: ExactSizeIterator<Item = F::Args<'a>>> ExactSizeIterator for $name<F, I> {}

        impl<'a, F: ProcessFn, I: Iterator<Item = F::Args<'a>>> std::iter::FusedIterator for $name<F, I> {}

        impl<F: ProcessFn, I: Iterator> fmt::Debug for $name<F, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("function", &F::NAME)
                    .finish_non_exhaustive()
            }
        }
    )*};
}

iterators! { Imap ImapUnordered }
