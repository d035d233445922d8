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
//! | in any other way, before it worked | – | is replaced, but not for ever: see [`MOST_FRUITLESS`] |

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::body::{CLOSED, MOST_WORKERS, Seat, Stage, TERMINATED};
use super::engine::{Bell, End, Engine, Member};
use super::line::{Batch, lock};
use super::shared::Shared;
use crate::arena::Offset;
use crate::error::{Error, Result, TaskError};
use crate::process;
use crate::registry;
use crate::sys::{self, BorrowedFd};

/// How many workers may end, one after the other, before they can work.
const MOST_FRUITLESS: u32 = 5;
/// How long to wait after a start that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to wait, at first and at most, before a worker is replaced that died without having done anything, as others did
/// right before it.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

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

    /// Starts a worker at the first free seat.
    fn start_one(&self, pool: &Shared, state: &mut State) -> Result<()> {
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
        self.end_all(pool, &mut state);
        drop(state);
        pool.give_up(fate);
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

    /// Sees to what workers have left that have ended.
    fn bury_dead(&self, pool: &Arc<Shared>, state: &mut State) {
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
                    Stage::Starting => "before it could work",
                    _ => "in its initializer",
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
    fn break_down(&self, pool: &Arc<Shared>, state: &mut State, cause: String) {
        self.end_all(pool, state);
        pool.break_down(cause);
    }

    /// Takes over what a worker had that has ended: the task that it ran, and those that it had claimed. Tells whether it
    /// ran one.
    fn take_over(
        &self,
        pool: &Shared,
        number: u16,
        seat: &Seat,
        worker: &Enrolled,
        end: &End,
    ) -> bool {
        let mut had_task = false;
        let place = Offset(seat.visiting.swap(0, Ordering::SeqCst));
        seat.idle();
        // SAFETY: the pool owns the parcel by the word, and the worker is gone.
        unsafe { pool.handle.arena().free_parcel_in(&seat.initialized) };
        if !place.is_none() {
            let mut line = lock(&pool.line);
            let batch = line.alive().find(|batch| batch.view.place == place);
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

    /// Sees who has come to work, and looks at what came of initializers.
    fn look_at_new(&self, pool: &Arc<Shared>, state: &mut State) {
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
                        let name = &worker.name;
                        failure = Some(format!(
                            "the initializer of worker `{name}` failed: {cause}"
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
    fn judge(&self, pool: &Shared, seat: &Seat) -> Result<(), String> {
        if Offset(seat.initialized.load(Ordering::Acquire)).is_none() {
            return Err("the shared memory has no room for what came of it".to_owned());
        }
        let check = match self.rules.check {
            Some(check) if !seat.has_failed_to_initialize() => check,
            _ => super::builder::check::<Result<(), String>>,
        };
        let verdict = super::serve::with_arguments(&pool.handle, &seat.initialized, check);
        // SAFETY: the pool owns the parcel by the word, and the worker has given it away.
        unsafe { pool.handle.arena().free_parcel_in(&seat.initialized) };
        verdict
    }

    /// Kills the workers of cancelled tasks whose grace is over; returns when the next one is.
    fn kill_doomed(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
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
    fn kill_late(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
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
            let began = seat.began.load(Ordering::Acquire);
            let place = seat.visiting.load(Ordering::Acquire);
            let Some(batch) = timed.iter().find(|batch| batch.view.place.0 == place) else {
                continue;
            };
            let index = (item as u32).wrapping_sub(1);
            if item == 0
                || index >= batch.view.filled()
                || !batch.state(index).is_run_by(number)
                || seat.item.load(Ordering::Acquire) != item
            {
                continue;
            }
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

    /// Sees to it that there are as many workers as there should be; returns when to try again.
    fn staff(&self, pool: &Shared, state: &mut State) -> Option<Instant> {
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
    fn send_away(&self, pool: &Shared, state: &mut State, count: usize) {
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
fn function_of(batch: &Batch, index: u32) -> String {
    let function = registry::find_hashed(batch.view.function(index));
    function.map_or_else(String::new, |function| function.name().to_owned())
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

fn wait_for(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    sys::poll_any(fds, deadline).map(drop)
}
