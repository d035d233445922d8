//! The crew: the workers of a pool, and the thread that looks after them.
//!
//! The thread sleeps until a worker has ended, somebody rings, or a deadline has passed. It sees to what the dead have left,
//! replaces them, kills those that run late, and takes nothing from anybody who works.
//!
//! | a worker has ended | the task that it ran | the worker |
//! |---|---|---|
//! | by itself, when it had nothing to do, or had done enough | – | is replaced if there is work |
//! | because the owner had it killed for a task | was decided about before | is replaced |
//! | in any other way, while it worked | is attempted again, or has failed | is replaced |
//! | in any other way, before it worked | – | is replaced, but not for ever: see [`MOST_FRUITLESS`](staff::MOST_FRUITLESS) |

mod dead;
mod late;
mod staff;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::staff::PAUSE;
use super::body::{CLOSED, Stage, TERMINATED};
use super::engine::{Bell, Engine, Member};
use super::line::lock;
use super::shared::Shared;
use crate::arena::Offset;
use crate::error::{Error, Result, TaskError};
use crate::sys::{self, BorrowedFd};

pub(super) struct Crew {
    engine: Box<dyn Engine>,
    bell: Arc<Bell>,
    state: Mutex<State>,
    /// Notified when workers have come to work, and when the last has gone.
    changed: Condvar,
    /// When the thread looks by itself, in nanoseconds of the system's clock.
    next_look: AtomicU64,
    /// Workers have left for want of work.
    is_short: AtomicBool,
    rules: Rules,
}

/// How workers are treated.
pub(super) struct Rules {
    pub(super) name: String,
    pub(super) cancel_grace: Duration,
    pub(super) leaves_idle: bool,
    /// Looks at the encoded value of the initializer.
    pub(super) check: Option<Check>,
}

/// Looks at the encoded value of an initializer.
pub(super) type Check = fn(&[u8]) -> Result<(), String>;

struct State {
    members: BTreeMap<u16, Enrolled>,
    target: usize,
    /// How many were started.
    started: u64,
    phase: Phase,
    /// Tasks whose workers are to be killed.
    doomed: Vec<Doomed>,
    fruitless: u32,
    /// How many have died in a row who could work, and had done nothing.
    idlers: u32,
    /// No start before this moment.
    pause: Option<Instant>,
    /// Why the last start failed.
    trouble: Option<String>,
    has_finished: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    Closed,
    Terminated,
}

struct Enrolled {
    member: Arc<dyn Member>,
    name: String,
    /// It is not among those who work: it was told to leave, killed, or left alone.
    is_dismissed: bool,
    /// It has come to work.
    has_worked: bool,
    /// How many tasks its seat had seen before.
    before: u64,
}

struct Doomed {
    batch: Offset,
    index: u32,
    at: Instant,
}

/// A worker, as others see it.
pub(super) struct Sight {
    pub(super) seat: u16,
    pub(super) name: String,
    pub(super) pid: u32,
    /// How many tasks the seat had seen before.
    pub(super) before: u64,
}

impl Crew {
    pub(super) fn new(engine: Box<dyn Engine>, rules: Rules, target: usize) -> Result<Self> {
        let bell =
            Bell::new().map_err(|error| Error::os("cannot make a pipe for a pool", error))?;
        Ok(Self {
            engine,
            bell: Arc::new(bell),
            state: Mutex::new(State {
                members: BTreeMap::new(),
                target,
                started: 0,
                phase: Phase::Open,
                doomed: Vec::new(),
                fruitless: 0,
                idlers: 0,
                pause: None,
                trouble: None,
                has_finished: true,
                thread: None,
            }),
            changed: Condvar::new(),
            next_look: AtomicU64::new(u64::MAX),
            is_short: AtomicBool::new(false),
            rules,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Starts the workers, and the thread that looks after them; waits until their initializers have run.
    pub(super) fn begin(&self, pool: &Arc<Shared>) -> Result<()> {
        // The thread waits for this lock, and sees to those that were started before one could not be.
        let mut state = self.state();
        state.has_finished = false;
        let shared = Arc::clone(pool);
        match sys::start_helper("mp-pool", move || shared.crew.run(&shared)) {
            Ok(thread) => state.thread = Some(thread),
            Err(error) => {
                state.has_finished = true;
                return Err(Error::os("cannot start a thread for a pool", error));
            }
        }
        while state.members.len() < state.target {
            self.start_one(pool, &mut state)?;
        }
        if self.rules.check.is_none() {
            return Ok(());
        }
        while state.phase == Phase::Open && state.members.values().any(|worker| !worker.has_worked)
        {
            state = self.wait(state, None).0;
        }
        drop(state);
        pool.check()
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        match deadline {
            None => {
                let waited = self.changed.wait(state);
                (
                    waited.unwrap_or_else(|poisoned| poisoned.into_inner()),
                    true,
                )
            }
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, left);
                let (state, result) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
                (state, !result.timed_out())
            }
        }
    }

    // What others ask for.

    /// There is a new task with this time limit in nanoseconds, or without one.
    #[inline]
    pub(super) fn look_after(&self, timeout: u64) {
        if timeout != 0 || self.is_short.load(Ordering::Relaxed) {
            self.look_by(timeout);
        }
    }

    #[cold]
    fn look_by(&self, timeout: u64) {
        let soon = sys::now().saturating_add(timeout);
        if self.is_short.load(Ordering::SeqCst) || self.next_look.load(Ordering::SeqCst) > soon {
            self.bell.ring();
        }
    }

    /// A task that runs was cancelled: if it does not end, its worker is killed.
    pub(super) fn doom(&self, batch: Offset, index: u32) {
        let Some(at) = Instant::now().checked_add(self.rules.cancel_grace) else {
            return;
        };
        self.state().doomed.push(Doomed { batch, index, at });
        self.bell.ring();
    }

    /// Changes the number of workers.
    pub(super) fn resize(&self, target: usize) -> Result<()> {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(Error::PoolClosed);
        }
        state.target = target;
        drop(state);
        self.bell.ring();
        Ok(())
    }

    /// Lets workers leave when all is done.
    pub(super) fn close(&self, pool: &Shared) {
        let mut state = self.state();
        state.phase = state.phase.max(Phase::Closed);
        drop(state);
        lock(&pool.line).close();
        let line = &pool.handle.body().line;
        line.closing.fetch_max(CLOSED, Ordering::SeqCst);
        line.work.knock();
        self.bell.ring();
    }

    /// Ends all workers.
    pub(super) fn terminate(&self, pool: &Shared, fate: &TaskError) {
        let mut state = self.state();
        // First, so that nobody takes those for dead who are killed here.
        pool.give_up(fate);
        self.end_all(pool, &mut state);
        drop(state);
        self.bell.ring();
    }

    fn end_all(&self, pool: &Shared, state: &mut State) {
        state.phase = Phase::Terminated;
        let body = pool.handle.body();
        body.line.closing.fetch_max(TERMINATED, Ordering::SeqCst);
        for (number, worker) in &mut state.members {
            worker.is_dismissed = true;
            worker.member.kill();
            body.seat(*number).let_enter(Stage::Leaving);
        }
        body.line.work.knock();
        self.changed.notify_all();
    }

    /// Waits until all workers have gone; `false` when `deadline` passed before that.
    pub(super) fn join(&self, deadline: Option<Instant>) -> Result<bool> {
        let mut state = self.state();
        if state.phase == Phase::Open {
            return Err(Error::PoolOption {
                what: "it is open: close it, or terminate it, before you join it".to_owned(),
            });
        }
        loop {
            if state.has_finished {
                return Ok(true);
            }
            let (again, in_time) = self.wait(state, deadline);
            if !in_time {
                return Ok(again.has_finished);
            }
            state = again;
        }
    }

    /// Waits until all workers have gone, and the thread that looks after them has let go of the pool.
    pub(super) fn finish(&self) {
        // It was terminated: that is no error.
        let _ = self.join(None);
        let thread = self.state().thread.take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Who is there.
    pub(super) fn roll_call(&self) -> Vec<Sight> {
        let state = self.state();
        let workers = state.members.iter();
        workers
            .filter(|(_, worker)| !worker.is_dismissed)
            .map(|(seat, worker)| Sight {
                seat: *seat,
                name: worker.name.clone(),
                pid: worker.member.id(),
                before: worker.before,
            })
            .collect()
    }

    // What the thread does.

    fn run(&self, pool: &Arc<Shared>) {
        loop {
            // Whoever brings something that cannot wait from here on rings.
            self.next_look.store(u64::MAX, Ordering::SeqCst);
            let (members, deadline) = {
                let mut state = self.state();
                let deadline = self.look(pool, &mut state);
                if self.has_finished(pool, &state) {
                    state.has_finished = true;
                    drop(state);
                    pool.bury();
                    self.changed.notify_all();
                    return;
                }
                let members = state.members.values().map(|worker| &worker.member);
                (members.cloned().collect::<Vec<_>>(), deadline)
            };
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let next = left.map_or(u64::MAX, |left| {
                sys::now().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
            });
            self.next_look.store(next, Ordering::SeqCst);
            let fds: Vec<BorrowedFd<'_>> = members
                .iter()
                .filter_map(|member| member.sentinel())
                .chain([self.bell.ear()])
                .collect();
            if wait_for(&fds, deadline).is_err() {
                // The system has no memory for it.
                std::thread::sleep(PAUSE);
            }
            self.bell.hush();
        }
    }

    /// Looks at all; returns when to look again at the latest.
    fn look(&self, pool: &Arc<Shared>, state: &mut State) -> Option<Instant> {
        self.bury_dead(pool, state);
        self.look_at_new(pool, state);
        let mut deadline = self.kill_doomed(pool, state);
        deadline = earlier(deadline, self.kill_late(pool, state));
        if state.phase != Phase::Terminated {
            deadline = earlier(deadline, self.staff(pool, state));
        }
        pool.bury();
        deadline
    }

    fn has_finished(&self, pool: &Shared, state: &State) -> bool {
        match state.phase {
            Phase::Open => false,
            Phase::Closed => state.members.is_empty() && !lock(&pool.line).tend_all(),
            // A thread cannot be stopped in the middle of a task.
            Phase::Terminated => state.members.iter().all(|(number, worker)| {
                worker.member.sentinel().is_none()
                    && !pool.handle.body().seat(*number).claimed().is_empty()
            }),
        }
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

fn wait_for(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    sys::poll_any(fds, deadline).map(drop)
}
