//! Waiting for whichever of several tasks is done first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::task::Task;
use crate::sync::{Patience, deadline_after};
use crate::sys;

/// Gives tasks in the order in which they are done, those of several pools mixed.
///
/// Dropping the iterator drops the tasks that it has not given: they run, and nobody knows what comes of them.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn wait_for(gate: mp::Event) {
///     gate.wait().unwrap();
/// }
///
/// #[mp::process_fn]
/// fn open(gate: mp::Event) {
///     gate.set();
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (pool, gate) = (mp::Pool::new(2)?, mp::Event::new()?);
///     let tasks = [pool.submit::<wait_for>(gate.clone())?, pool.submit::<open>(gate)?];
///     for task in mp::as_completed(tasks) {
///         task.get()?; // without waiting
///     }
///     Ok(())
/// }
/// ```
pub fn as_completed<R>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    AsCompleted {
        running: tasks.into_iter().collect(),
        done: VecDeque::new(),
    }
}

/// Iterator over tasks in the order in which they are done, made by [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<R> {
    running: Vec<Task<R>>,
    done: VecDeque<Task<R>>,
}

impl<R> Iterator for AsCompleted<R> {
    type Item = Task<R>;

    fn next(&mut self) -> Option<Task<R>> {
        if self.done.is_empty() && !self.running.is_empty() {
            wait_for_one(&self.running, None);
            self.done
                .extend(self.running.extract_if(.., |task| task.is_ready()));
        }
        self.done.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.running.len() + self.done.len();
        (count, Some(count))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

/// Waits until one of several tasks is done, for at most `timeout`; returns the index of the first that is, or `None` when
/// the time is over, or there are no tasks.
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
///     let (pool, [a, b]) = (mp::Pool::new(2)?, [mp::Event::new()?, mp::Event::new()?]);
///     let tasks = [pool.submit::<wait_for>(a.clone())?, pool.submit::<wait_for>(b.clone())?];
///     assert_eq!(mp::wait_any(&tasks, Duration::from_millis(1)), None);
///     b.set();
///     assert_eq!(mp::wait_any(&tasks, None), Some(1));
///     Ok(())
/// }
/// ```
pub fn wait_any<R>(tasks: &[Task<R>], timeout: impl Into<Option<Duration>>) -> Option<usize> {
    wait_for_one(tasks, timeout.into().and_then(deadline_after))
}

fn wait_for_one<R>(tasks: &[Task<R>], deadline: Option<Instant>) -> Option<usize> {
    if tasks.is_empty() {
        return None;
    }
    let find = || tasks.iter().position(Task::is_ready);
    let mut patience = Patience::default();
    let pools = pools(tasks);
    loop {
        if let Some(index) = find() {
            return Some(index);
        }
        if patience.wait() {
            continue;
        }
        let words: Vec<_> = pools
            .iter()
            .take(sys::MOST_WORDS)
            .map(|pool| pool.handle.body().calls.done.announced_word())
            .collect();
        for task in tasks {
            task.work().watch();
        }
        if let Some(index) = find() {
            return Some(index);
        }
        let in_time = match words.as_slice() {
            [(word, value)] => sys::futex_wait(word, *value, deadline),
            words => sys::futex_wait_any(words, deadline, &mut 0),
        };
        if !in_time {
            return find();
        }
    }
}

/// The pools of tasks, each once.
fn pools<R>(tasks: &[Task<R>]) -> Vec<&Arc<Shared>> {
    let mut pools: Vec<&Arc<Shared>> = Vec::new();
    for task in tasks {
        let pool = task.work().pool();
        if !pools.iter().any(|known| Arc::ptr_eq(known, pool)) {
            pools.push(pool);
        }
    }
    pools
}
