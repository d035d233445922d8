//! Seeing to what workers have left that have ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::body::{Seat, Stage};
use super::super::engine::End;
use super::super::line::lock;
use super::super::shared::Shared;
use super::super::words;
use super::late::function_of;
use super::staff::{MOST_FRUITLESS, initializer_of};
use super::{Crew, Enrolled, State};
use crate::error::TaskError;
use crate::process;

/// How long to wait, at first and at most, before a worker is replaced that died without having done anything, as others did
/// right before it.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

impl Crew {
    /// Sees to what workers have left that have ended.
    pub(super) fn bury_dead(&self, pool: &Arc<Shared>, state: &mut State) {
        let ended: Vec<(u16, End)> = state
            .members
            .iter()
            .filter_map(|(number, worker)| Some((*number, worker.member.end()?)))
            .collect();
        for (number, end) in ended {
            let Some(worker) = state.members.remove(&number) else {
                continue;
            };
            let seat = pool.handle.body().seat(number);
            let stage = seat.stage();
            let died = !worker.is_dismissed && stage != Stage::Left;
            let had_task = self.take_over(pool, number, seat, &worker, &end);
            if !died || process::is_ending() {
                continue;
            }
            pool.counters.died.fetch_add(1, Ordering::Relaxed);
            if stage >= Stage::Working {
                if had_task || seat.tasks() > worker.before {
                    state.idlers = 0;
                } else {
                    let [first, most] = PAUSES;
                    let pause = first * (1 << state.idlers.min(16));
                    state.pause = Instant::now().checked_add(pause.min(most));
                    state.idlers += 1;
                }
                continue;
            }
            state.fruitless += 1;
            let is_first =
                self.rules.check.is_some() && stage != Stage::Starting && !worker.has_worked;
            if is_first || state.fruitless >= MOST_FRUITLESS {
                let what = match stage {
                    Stage::Starting => "before it could work".to_owned(),
                    _ => format!("in its initializer `{}`", initializer_of(pool)),
                };
                let (name, pid, status) = (&worker.name, worker.member.id(), end.status);
                let mut cause = format!("worker `{name}` (pid {pid}) died of {status} {what}");
                if !end.stderr.is_empty() {
                    cause += &format!(
                        "; the last that it wrote to its standard error:\n{}",
                        end.stderr.trim_end()
                    );
                }
                self.break_down(pool, state, cause);
            }
        }
    }

    /// The pool cannot work any more.
    pub(super) fn break_down(&self, pool: &Arc<Shared>, state: &mut State, cause: String) {
        self.end_all(pool, state);
        pool.break_down(cause);
    }

    /// Takes over what a worker had that has ended: the task that it ran, and those that it had claimed. Tells whether it
    /// ran one.
    pub(super) fn take_over(
        &self,
        pool: &Shared,
        number: u16,
        seat: &Seat,
        worker: &Enrolled,
        end: &End,
    ) -> bool {
        let mut had_task = false;
        let place = words::visited(seat.visiting.swap(0, Ordering::SeqCst));
        seat.idle();
        // SAFETY: the pool owns the parcel by the word, and the worker is gone.
        unsafe { pool.handle.arena().free_parcel_in(&seat.initialized) };
        if let Some(place) = place {
            let mut line = lock(&pool.line);
            let batch = line.alive().find(|batch| batch.view.place.0 == place);
            if let Some(batch) = batch.map(Arc::clone) {
                for index in batch.unsettled() {
                    had_task |= batch.state(index).is_run_by(number);
                    batch.lose(index, number, |attempt| TaskError::WorkerDied {
                        pid: worker.member.id(),
                        worker: worker.name.clone(),
                        status: end.status,
                        function: function_of(&batch, index),
                        index: batch.view.first() + u64::from(index),
                        attempt,
                        stderr: end.stderr.clone(),
                    });
                }
                line.reopen(pool.handle.body(), &batch);
            }
        }
        pool.handle.body().line.work.knock();
        pool.handle.body().calls.done.knock();
        had_task
    }
}
