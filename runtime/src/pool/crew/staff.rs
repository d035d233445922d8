//! Starting workers, and sending them away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::body::{MOST_WORKERS, Seat, Stage};
use super::super::builder;
use super::super::line::lock;
use super::super::serve::with_arguments;
use super::super::shared::Shared;
use super::{Crew, Enrolled, Phase, State};
use crate::arena::Offset;
use crate::error::{Error, Result};
use crate::process;
use crate::registry;

/// How many workers may end, one after the other, before they can work.
pub(super) const MOST_FRUITLESS: u32 = 5;
/// How long to wait after a start that failed.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

impl Crew {
    /// Starts a worker at the first free seat.
    pub(super) fn start_one(&self, pool: &Shared, state: &mut State) -> Result<()> {
        let mut seats = 0..MOST_WORKERS as u16;
        let Some(number) = seats.find(|seat| !state.members.contains_key(seat)) else {
            return Err(Error::PoolOption {
                what: format!("it has {MOST_WORKERS} workers, which is the limit"),
            });
        };
        let body = pool.handle.body();
        body.seat(number).reset();
        body.line
            .seats
            .fetch_max(u32::from(number) + 1, Ordering::AcqRel);
        let name = format!("{}-{}", self.rules.name, state.started + 1);
        let member = self.engine.start(&pool.handle, number, &name, &self.bell)?;
        state.started += 1;
        state.members.insert(
            number,
            Enrolled {
                member: member.into(),
                name,
                is_dismissed: false,
                has_worked: false,
                before: body.seat(number).tasks(),
            },
        );
        Ok(())
    }

    /// Sees who has come to work, and looks at what came of initializers.
    pub(super) fn look_at_new(&self, pool: &Arc<Shared>, state: &mut State) {
        let mut failure = None;
        for (number, worker) in &mut state.members {
            let seat = pool.handle.body().seat(*number);
            if worker.has_worked {
                continue;
            }
            if seat.stage() == Stage::Presenting {
                match self.judge(pool, seat) {
                    Ok(()) => seat.let_enter(Stage::Working),
                    Err(cause) => {
                        let (function, name) = (initializer_of(pool), &worker.name);
                        failure = Some(format!(
                            "the initializer `{function}` of worker `{name}` failed: {cause}"
                        ));
                        continue;
                    }
                }
            }
            if seat.stage() >= Stage::Working {
                worker.has_worked = true;
                state.fruitless = 0;
                self.changed.notify_all();
            }
        }
        if let Some(cause) = failure {
            self.break_down(pool, state, cause);
        }
    }

    /// Looks at what came of an initializer.
    pub(super) fn judge(&self, pool: &Shared, seat: &Seat) -> Result<(), String> {
        if Offset(seat.initialized.load(Ordering::Acquire)).is_none() {
            return Err("the shared memory has no room for what came of it".to_owned());
        }
        let check = match self.rules.check {
            Some(check) if !seat.has_failed_to_initialize() => check,
            _ => builder::check::<Result<(), String>>,
        };
        let verdict = with_arguments(&pool.handle, &seat.initialized, check);
        // SAFETY: the pool owns the parcel by the word, and the worker has given it away.
        unsafe { pool.handle.arena().free_parcel_in(&seat.initialized) };
        verdict
    }

    /// Sees to it that there are as many workers as there should be; returns when to try again.
    pub(super) fn staff(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
        let has_work = lock(&pool.line).tend_all();
        let working = state
            .members
            .values()
            .filter(|worker| !worker.is_dismissed)
            .count();
        let wanted = match state.phase {
            Phase::Open if has_work || !self.rules.leaves_idle => state.target,
            Phase::Open => working.min(state.target),
            _ if has_work => state.target,
            _ => 0,
        };
        if state.phase == Phase::Open {
            self.send_away(pool, state, working.saturating_sub(wanted));
        }
        if process::is_ending() {
            return None;
        }
        if let Some(pause) = state.pause {
            if Instant::now() < pause {
                return Some(pause);
            }
            state.pause = None;
        }
        for _ in working..wanted {
            if let Err(error) = self.start_one(pool, state) {
                state.trouble = Some(error.to_string());
                state.fruitless += 1;
                break;
            }
            state.trouble = None;
        }
        let trouble = state.trouble.clone();
        if let Some(trouble) = &trouble {
            state.pause = Some(Instant::now() + PAUSE);
            let nobody = state.members.values().all(|worker| worker.is_dismissed);
            if nobody && state.fruitless >= MOST_FRUITLESS {
                self.end_all(pool, state);
                pool.break_down(format!("no worker can be started: {trouble}"));
                return None;
            }
        }
        let short = self.rules.leaves_idle && state.phase == Phase::Open;
        self.is_short.store(
            short && working.max(wanted) < state.target,
            Ordering::SeqCst,
        );
        state.pause
    }

    /// Tells the last workers to leave after the task that they run.
    pub(super) fn send_away(&self, pool: &Shared, state: &mut State, count: usize) {
        let mut workers = state.members.iter_mut().rev();
        let mut sent = 0;
        while sent < count
            && let Some((number, worker)) = workers.next()
        {
            if !worker.is_dismissed {
                worker.is_dismissed = true;
                pool.handle.body().seat(*number).let_enter(Stage::Leaving);
                sent += 1;
            }
        }
        if sent > 0 {
            pool.handle.body().line.work.knock();
        }
    }
}

/// The name of the function that every worker runs first.
pub(super) fn initializer_of(pool: &Shared) -> &'static str {
    let hook = &pool.handle.body().initializer;
    let function = registry::find_hashed(hook.function.load(Ordering::Relaxed));
    function.map_or("", |function| function.name())
}
