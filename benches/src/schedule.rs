//! How long tasks of known lengths have to take.

use std::time::Duration;

/// Tasks in the order in which they are given out.
#[derive(Clone, Debug)]
pub struct Schedule {
    tasks: Vec<Duration>,
}

impl Schedule {
    /// Takes the tasks as they are.
    pub fn new(tasks: impl IntoIterator<Item = Duration>) -> Self {
        Self {
            tasks: tasks.into_iter().collect(),
        }
    }

    /// `count` tasks, from `step` in equal steps up to `count` times that.
    pub fn ramp(step: Duration, count: u32) -> Self {
        Self::new((1..=count).map(|n| step * n))
    }

    /// Puts a task before all others.
    #[must_use]
    pub fn with_first(mut self, task: Duration) -> Self {
        self.tasks.insert(0, task);
        self
    }

    /// Puts a task behind all others.
    #[must_use]
    pub fn with_last(mut self, task: Duration) -> Self {
        self.tasks.push(task);
        self
    }

    /// The same tasks in the opposite order.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.tasks.reverse();
        self
    }

    /// The lengths of the tasks in microseconds.
    pub fn micros(&self) -> Vec<u64> {
        self.tasks.iter().map(|t| t.as_micros() as u64).collect()
    }

    /// Less than this is impossible: the longest task, or the sum of all divided among the workers.
    pub fn least(&self, workers: u32) -> Duration {
        let longest = self.tasks.iter().max().copied().unwrap_or_default();
        let shared = self.tasks.iter().sum::<Duration>() / workers;
        longest.max(shared)
    }

    /// The time when each worker that is free takes the next task: the best for somebody who does not know the lengths.
    ///
    /// # Panics
    ///
    /// When there is no worker.
    pub fn one_by_one(&self, workers: usize) -> Duration {
        let mut busy_until = vec![Duration::ZERO; workers];
        for task in &self.tasks {
            let first = busy_until.iter_mut().min();
            *first.expect("somebody has to work") += *task;
        }
        busy_until.into_iter().max().unwrap_or_default()
    }
}
