//! What a task can ask about itself.

use std::cell::Cell;
use std::ptr;

use super::item::{Item, Phase, State};

/// The task that runs on this thread, as [`current_task`] tells of it.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn position() -> u64 {
///     mp::current_task().expect("a pool runs this").index
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::new(2)?;
///     assert_eq!(pool.map::<position>([(), (), ()])?, [0, 1, 2]);
///     assert!(mp::current_task().is_none());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentTask {
    /// Which of its pool's workers runs it, from 0; with it, a worker's random numbers can be seeded.
    pub worker: usize,
    /// Its position among the tasks of its job, from 0; for tasks submitted one by one, among all such tasks of the pool.
    pub index: u64,
    /// How many attempts there were before this one, whose workers died.
    pub attempt: u32,
}

/// What a worker says about the task that it runs.
pub(super) struct Running {
    worker: usize,
    task: Cell<Option<(&'static Item, u64, u32)>>,
}

thread_local! {
    /// What the worker on this thread says; null where there is none.
    static RUNNING: Cell<*const Running> = const { Cell::new(ptr::null()) };
}

impl Running {
    pub(super) fn new(worker: u16) -> Self {
        Self {
            worker: worker.into(),
            task: Cell::new(None),
        }
    }

    /// The worker runs this task now.
    #[inline]
    pub(super) fn set(&self, item: &'static Item, index: u64, attempt: u32) {
        self.task.set(Some((item, index, attempt)));
    }

    /// Lets tasks that run on this thread during `run` ask about themselves.
    pub(super) fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        /// Puts back what was before, by a panic too.
        struct Restore(*const Running);

        impl Drop for Restore {
            fn drop(&mut self) {
                RUNNING.set(self.0);
            }
        }

        let _restore = Restore(RUNNING.replace(self));
        run()
    }
}

/// The item, its index and attempt, and the worker's number.
fn running() -> Option<(&'static Item, CurrentTask)> {
    // SAFETY: null, or set by a `during` of this thread that is still running, and so borrows what this points to.
    let running = unsafe { RUNNING.get().as_ref() }?;
    let (item, index, attempt) = running.task.get()?;
    let task = CurrentTask {
        worker: running.worker,
        index,
        attempt,
    };
    Some((item, task))
}

/// Tells about the task that runs on this thread; `None` outside of the functions that pools run, and on threads that such a
/// function has started.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn flaky() -> u32 {
///     let attempt = mp::current_task().expect("a pool runs this").attempt;
///     if attempt == 0 {
///         std::process::abort();
///     }
///     attempt
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let pool = mp::Pool::builder().workers(1).retries(1).build()?;
///     assert_eq!(pool.apply::<flaky>(())?, 1);
///     Ok(())
/// }
/// ```
pub fn current_task() -> Option<CurrentTask> {
    running().map(|(_, task)| task)
}

/// Tells whether somebody has given up on the task that runs on this thread: it was [cancelled](crate::Task::cancel), or its
/// iterator or pool is gone. `false` where no task of a pool runs.
///
/// A task that takes long asks now and then, and returns early. One that does not is killed when the pool's
/// [`cancel_grace`](crate::PoolBuilder::cancel_grace) is over, if it was cancelled by itself.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn search(found: mp::Event) {
///     while !mp::cancelled() {
///         std::thread::yield_now();
///     }
///     found.set(); // and destructors run
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     assert!(!mp::cancelled());
///     let pool = mp::Pool::new(1)?;
///     let stopped = mp::Event::new()?;
///     let task = pool.submit::<search>(stopped.clone())?;
///     task.cancel();
///     assert!(matches!(task.get(), Err(mp::TaskError::Cancelled)) || stopped.is_set());
///     Ok(())
/// }
/// ```
pub fn cancelled() -> bool {
    // What the owner has decided about is wanted no more, too: its time or its pool is over.
    let is_unwanted = |state: State| state.is_cancelled() || state.phase() == Phase::Over;
    running().is_some_and(|(item, _)| is_unwanted(item.state()))
}
