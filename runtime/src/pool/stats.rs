//! What a pool tells about itself.

use std::sync::atomic::Ordering;

use super::shared::Shared;

/// How a pool is doing, as [`Pool::stats`](crate::Pool::stats) tells.
///
/// The numbers are read one after the other while the pool works, so that they need not add up to the last task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// The workers.
    pub workers: Vec<WorkerStats>,
    /// Tasks that were submitted, and have not begun.
    pub pending: u64,
    /// Tasks that run now.
    pub running: u64,
    /// Tasks that gave a value.
    pub succeeded: u64,
    /// Tasks that failed: by a panic, the death of their worker, a time limit, a value that cannot be encoded.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Attempts beyond the first ones, because a worker had died.
    pub retried: u64,
    /// Workers that died without having been told to.
    pub died: u64,
}

/// A worker of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its name.
    pub name: String,
    /// Its process id: this process's own for a thread.
    pub pid: u32,
    /// Whether it has something to do.
    pub busy: bool,
    /// How many tasks it has done.
    pub tasks: u64,
}

impl Shared {
    pub(super) fn stats(&self) -> PoolStats {
        let body = self.handle.body();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let workers: Vec<WorkerStats> = self
            .crew
            .roll_call()
            .into_iter()
            .map(|worker| {
                let seat = body.seat(worker.seat);
                WorkerStats {
                    busy: !seat.claimed().is_empty(),
                    tasks: seat.tasks().saturating_sub(worker.before),
                    name: worker.name,
                    pid: worker.pid,
                }
            })
            .collect();
        let (mut succeeded, mut failed) = (0, load(&self.counters.failed));
        for seat in body.seats() {
            succeeded += load(&seat.succeeded);
            failed += load(&seat.failed);
        }
        let cancelled = load(&self.counters.cancelled);
        let running = workers.iter().filter(|worker| worker.busy).count() as u64;
        let done = succeeded + failed + cancelled + running;
        PoolStats {
            workers,
            pending: load(&self.counters.submitted).saturating_sub(done),
            running,
            succeeded,
            failed,
            cancelled,
            retried: load(&self.counters.retried),
            died: load(&self.counters.died),
        }
    }
}
