//! What a task can ask about itself.

use std::cell::Cell;

use super::item::Item;

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
    /// Its position among the tasks of its job, from 0.
    pub index: u64,
    /// How many attempts there were before this one, whose workers died.
    pub attempt: u32,
}

/// The task of a thread.
#[derive(Clone, Copy)]
struct Running {
    task: CurrentTask,
    item: &'static Item,
}

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// Runs a task on this thread, which can ask about itself meanwhile.
#[inline]
pub(super) fn during<R>(task: CurrentTask, item: &'static Item, run: impl FnOnce() -> R) -> R {
    /// Puts back what was before: in a pool of threads, a task may run another one.
    struct Restore(Option<Running>);

    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }

    let _restore = Restore(RUNNING.replace(Some(Running { task, item })));
    run()
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
    RUNNING.get().map(|running| running.task)
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
    RUNNING
        .get()
        .is_some_and(|running| running.item.state().is_cancelled())
}
