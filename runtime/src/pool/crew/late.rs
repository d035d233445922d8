//! Killing workers that run late, or what nobody wants.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::line::lock;
use super::super::owned_batch::Batch;
use super::super::shared::Shared;
use super::{Crew, Doomed, State};
use crate::error::TaskError;
use crate::registry;
use crate::sys;

impl Crew {
    /// Kills the workers of cancelled tasks whose grace is over; returns when the next one is.
    pub(super) fn kill_doomed(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
        let now = Instant::now();
        let due: Vec<Doomed> = state
            .doomed
            .extract_if(.., |doomed| doomed.at <= now)
            .collect();
        for Doomed { batch, index, .. } in due {
            let batch = {
                let line = lock(&pool.line);
                line.alive()
                    .find(|known| known.view.place == batch)
                    .cloned()
            };
            let Some(batch) = batch else { continue };
            let running = state.members.keys().copied().find(|number| {
                let item = batch.state(index);
                item.is_cancelled() && item.is_run_by(*number)
            });
            if let Some(number) = running
                && batch.decide(index, TaskError::Cancelled, |item| {
                    item.conclude_running(number)
                })
            {
                dismiss(pool, state, number, &batch);
            }
        }
        state.doomed.iter().map(|doomed| doomed.at).min()
    }

    /// Kills the workers whose tasks have run for too long; returns when the next one will have.
    pub(super) fn kill_late(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
        let timed: Vec<Arc<Batch>> = {
            let line = lock(&pool.line);
            let timed = line
                .alive()
                .filter(|batch| batch.view.timeout() != 0 && !batch.is_settled());
            timed.cloned().collect()
        };
        // A task that begins after this look is not late before the shortest limit has passed.
        let shortest = timed.iter().map(|batch| batch.view.timeout()).min()?;
        let now = sys::now();
        let mut next = now.saturating_add(shortest);
        let numbers: Vec<u16> = state.members.keys().copied().collect();
        for number in numbers {
            let seat = pool.handle.body().seat(number);
            let item = seat.item.load(Ordering::Acquire);
            let place = seat.visiting.load(Ordering::Acquire);
            let Some(batch) = timed.iter().find(|batch| batch.view.place.0 == place) else {
                continue;
            };
            let index = (item as u32).wrapping_sub(1);
            if item == 0 || index >= batch.view.filled() || !batch.state(index).is_run_by(number) {
                continue;
            }
            // Read last: the moment when this task began, or a later one, but never that of an earlier task.
            let began = seat.began.load(Ordering::Acquire);
            let limit = batch.view.timeout();
            if now < began.saturating_add(limit) {
                next = next.min(began.saturating_add(limit));
                continue;
            }
            let Some(worker) = state.members.get(&number) else {
                continue;
            };
            let fate = TaskError::TimedOut {
                after: Duration::from_nanos(limit),
                pid: worker.member.id(),
                worker: worker.name.clone(),
                function: function_of(batch, index),
                index: batch.view.first() + u64::from(index),
                attempt: batch.state(index).attempt(),
            };
            if batch.decide(index, fate, |item| item.conclude_running(number)) {
                dismiss(pool, state, number, batch);
            }
        }
        Some(Instant::now() + Duration::from_nanos(next.saturating_sub(now)))
    }
}

/// Kills a worker whose task was decided about, or lets it alone where that cannot be done; others do what it has claimed.
fn dismiss(pool: &Shared, state: &mut State, number: u16, batch: &Arc<Batch>) {
    let Some(worker) = state.members.get_mut(&number) else {
        return;
    };
    worker.is_dismissed = true;
    if !worker.member.kill() {
        lock(&pool.line).reopen(pool.handle.body(), batch);
        pool.handle.body().line.work.knock();
    }
}

/// The name of an item's function.
pub(super) fn function_of(batch: &Batch, index: u32) -> String {
    let function = registry::find_hashed(batch.view.function(index));
    function.map_or_else(String::new, |function| function.name().to_owned())
}
