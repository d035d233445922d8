//! Queues that know whether all of their items have been dealt with.
//!
//! | word | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | the tail's count | how many items were put | see [`body`](super::body) | – |
//! | the head's count | how many were taken | the same | – |
//! | `done` | how many tasks are done, or were lost | transactions | undone with its transaction |
//! | the hold's debt | how many tasks this process has taken and not done | with `head` or `done`, in one transaction | added to `done` and `lost`, as far as nobody else has done them, by who buries it or joins; the same when the last handle is dropped |

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Iter, Queue};
use crate::error::{Error, Result};
use crate::sync::{Patience, deadline_after};

/// How long a join sleeps before it looks for tasks of processes that died.
const SLICE: Duration = Duration::from_millis(500);

/// A [`Queue`] whose users can wait until every item that was put has been dealt with.
///
/// Each item that is taken is a task, until [`task_done`](Self::task_done) is called for it. [`join`](Self::join) waits
/// until there is none, neither in the queue nor in the hands of a process.
///
/// A process that ends, however it ends, or drops its last handle of the queue, cannot say any more that it has done its
/// tasks. Those that nobody else has done by then are counted as [`lost`](Self::lost), and nobody waits for them.
///
/// It has all methods of a [`Queue`], to which it dereferences; what is taken through such a reference is a task, too.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn work(tasks: mp::JoinableQueue<u64>, total: mp::Value<u64>) {
///     for task in &tasks {
///         *total.lock().unwrap() += task;
///         tasks.task_done().unwrap();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let tasks = mp::JoinableQueue::new()?;
///     let total = mp::Value::new(0)?;
///     let workers = [(); 2].map(|()| mp::spawn!(work, tasks.clone(), total.clone()));
///     for n in 1..=100 {
///         tasks.put(n)?;
///     }
///     tasks.join();
///     assert_eq!(total.get()?, 5050);
///     tasks.shutdown()?;
///     for worker in workers {
///         worker?.join()?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "", try_from = "Queue<T>")]
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// Makes a queue that is limited by nothing but memory.
    ///
    /// # Examples
    ///
    /// ```
    /// let tasks = mp::JoinableQueue::new()?;
    /// tasks.put("tea".to_owned())?;
    /// assert_eq!(tasks.unfinished(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Queue::new`].
    pub fn new() -> Result<Self> {
        Queue::make(u64::MAX, true).map(Self)
    }

    /// Makes a queue that holds at most `capacity` items.
    ///
    /// # Examples
    ///
    /// ```
    /// let tasks = mp::JoinableQueue::bounded(1)?;
    /// tasks.put(7)?;
    /// assert_eq!(tasks.try_put(8), Err(mp::TryPutError::Full(8)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Queue::bounded`].
    ///
    /// # Panics
    ///
    /// When `capacity` is 0.
    #[doc(alias = "maxsize")]
    pub fn bounded(capacity: usize) -> Result<Self> {
        Queue::make(Queue::<T>::checked(capacity), true).map(Self)
    }

    /// Says that a task is done: an item that was taken from this queue, by whichever process.
    ///
    /// # Examples
    ///
    /// ```
    /// let tasks = mp::JoinableQueue::new()?;
    /// tasks.put(7)?;
    /// let _task = tasks.get()?;
    /// tasks.task_done()?;
    /// assert!(tasks.task_done().is_err()); // there was only one
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Queue`] when it is called more often than items were put. Nothing is changed then.
    pub fn task_done(&self) -> Result<()> {
        let (arena, queue, debt) = (self.0.0.arena(), self.0.0.body(), self.0.0.debt());
        if !queue.finish_task(arena, debt) {
            return Err(Error::Queue(
                "task_done was called more often than items were put into the queue; call it once for each item that is \
                 taken"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// Waits until all tasks are done: everything that was put has been taken, and
    /// [`task_done`](Self::task_done) was called for it, or its process died.
    ///
    /// # Examples
    ///
    /// ```
    /// let tasks = mp::JoinableQueue::new()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         tasks.put(7).unwrap();
    ///         let _task = tasks.get().unwrap();
    ///         tasks.task_done().unwrap();
    ///     });
    /// });
    /// tasks.join();
    /// assert_eq!(tasks.unfinished(), 0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn join(&self) {
        self.join_until(None);
    }

    /// Waits until all tasks are done, for at most `timeout`; returns whether they are.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let tasks = mp::JoinableQueue::new()?;
    /// assert!(tasks.join_timeout(Duration::ZERO));
    /// tasks.put(7)?;
    /// assert!(!tasks.join_timeout(Duration::from_millis(1)));
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_until(deadline_after(timeout))
    }

    /// Returns how many tasks are not done, at some moment during the call: items in the queue, and those that were taken
    /// from it.
    ///
    /// # Examples
    ///
    /// ```
    /// let tasks = mp::JoinableQueue::new()?;
    /// tasks.put(7)?;
    /// let _task = tasks.get()?;
    /// assert_eq!((tasks.len(), tasks.unfinished()), (0, 1));
    /// tasks.task_done()?;
    /// assert_eq!(tasks.unfinished(), 0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn unfinished(&self) -> usize {
        self.0.0.body().unfinished() as usize
    }

    /// Returns how many tasks were lost, so far as is known: their processes died, or gave the queue up, and did not say that
    /// they were done.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn crash(tasks: mp::JoinableQueue<u32>) {
    ///     let _task = tasks.get();
    ///     std::process::abort();
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let tasks = mp::JoinableQueue::new()?;
    ///     tasks.put(7)?;
    ///     mp::spawn!(crash, tasks.clone())?.wait();
    ///     tasks.join();
    ///     assert_eq!(tasks.lost(), 1);
    ///     Ok(())
    /// }
    /// ```
    pub fn lost(&self) -> u64 {
        self.0.0.body().lost()
    }

    fn join_until(&self, deadline: Option<Instant>) -> bool {
        let (handle, queue) = (&self.0.0, self.0.0.body());
        let mut patience = Patience::default();
        loop {
            if queue.unfinished() == 0 {
                return true;
            }
            if patience.wait() {
                continue;
            }
            let announced = queue.finished().announce();
            if queue.unfinished() == 0 {
                return true;
            }
            let slice = Instant::now() + SLICE;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            if !queue.finished().sleep(announced, Some(until)) {
                // What a stopped process is in the middle of is not waited for.
                if handle.arena().begin_by(deadline).is_some() {
                    handle.arena().collect_debts(handle.body_offset());
                }
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return queue.unfinished() == 0;
                }
            }
        }
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> TryFrom<Queue<T>> for JoinableQueue<T> {
    type Error = &'static str;

    fn try_from(queue: Queue<T>) -> std::result::Result<Self, Self::Error> {
        match queue.0.body().counts_tasks() {
            true => Ok(Self(queue)),
            false => {
                Err("the handle in the message is that of a Queue, where a JoinableQueue is wanted")
            }
        }
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("queue", &self.0)
            .field("unfinished", &self.unfinished())
            .field("lost", &self.lost())
            .finish()
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a JoinableQueue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.0.into_iter()
    }
}
