//! The word that says how far a task has come.
//!
//! | phase | meaning | who may leave it, and how | its owner died here |
//! |---|---|---|---|
//! | `Empty` | there is no task yet | the pool's owner, to `Ready` | the pool is gone |
//! | `Ready` | the task can be begun | any worker, to `Running`; the owner, to `Over` | – |
//! | `Running`, worker | that worker runs it | the worker, to `Value` or `Failure`; the owner, to `Over`, or when the worker has died, back to `Ready` with one attempt more | the owner sees the worker's end and does that |
//! | `Value`, `Failure` | what came of it is in its place in the batch | nobody | – |
//! | `Over` | the owner has decided what came of it | nobody | – |
//!
//! This word alone decides who runs a task and what becomes of it: each change of phase is one compare-and-swap. All else that
//! workers tell each other about batches are hints. Besides phase and worker it counts attempts, and has three bits that stay
//! through changes of phase: somebody sleeps on this word (`WAITED`), somebody sleeps until one of several tasks is done
//! (`WATCHED`), somebody has given up on the task (`CANCEL`).

use crate::sync::atomic::{AtomicU32, Ordering};

/// The word of one task.
#[repr(transparent)]
pub(super) struct Item(AtomicU32);

/// What the word of a task said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Phase {
    Empty,
    Ready,
    Running,
    Value,
    Failure,
    Over,
}

const PHASE: u32 = 0xf;
const WAITED: u32 = 1 << 4;
const WATCHED: u32 = 1 << 5;
const CANCEL: u32 = 1 << 6;
const ATTEMPT: u32 = 1 << 8;
const ATTEMPTS: u32 = 0xff;
const WORKER: u32 = 1 << 16;

/// How often a task can be attempted again.
pub(super) const MOST_RETRIES: u32 = ATTEMPTS;

impl State {
    #[inline]
    pub(super) fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Empty,
            1 => Phase::Ready,
            2 => Phase::Running,
            3 => Phase::Value,
            4 => Phase::Failure,
            _ => Phase::Over,
        }
    }

    /// Whether the task is done, in whatever way.
    #[inline]
    pub(super) fn is_final(self) -> bool {
        self.0 & PHASE > Phase::Running as u32
    }

    /// Whether the task is done, and has no value.
    pub(super) fn has_failed(self) -> bool {
        self.0 & PHASE > Phase::Value as u32
    }

    /// Whether this worker is running it.
    pub(super) fn is_run_by(self, worker: u16) -> bool {
        self.phase() == Phase::Running && self.0 / WORKER == u32::from(worker)
    }

    /// How many attempts there were before this one.
    pub(super) fn attempt(self) -> u32 {
        (self.0 / ATTEMPT) & ATTEMPTS
    }

    pub(super) fn is_cancelled(self) -> bool {
        self.0 & CANCEL != 0
    }

    #[inline]
    pub(super) fn is_waited(self) -> bool {
        self.0 & WAITED != 0
    }

    #[inline]
    pub(super) fn is_watched(self) -> bool {
        self.0 & WATCHED != 0
    }

    /// The same in another phase, without a worker.
    fn in_phase(self, phase: Phase) -> Self {
        Self(self.0 & (WORKER - 1) & !PHASE | phase as u32)
    }

    fn run_by(self, worker: u16) -> Self {
        Self(self.in_phase(Phase::Running).0 | (u32::from(worker) * WORKER))
    }
}

impl Item {
    #[cfg(test)]
    #[allow(dead_code, reason = "the models make it outside of an arena")]
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(Phase::Empty as u32))
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.0.load(Ordering::Acquire))
    }

    /// The owner: there is a task now.
    #[inline]
    pub(super) fn offer(&self) {
        self.0.store(Phase::Ready as u32, Ordering::Release);
    }

    /// The owner: there is a task that will not run.
    pub(super) fn refuse(&self) {
        self.0.store(Phase::Over as u32, Ordering::Release);
    }

    /// The owner: there is no task yet.
    pub(super) fn clear(&self) {
        self.0.store(Phase::Empty as u32, Ordering::Relaxed);
    }

    /// A worker begins the task, if nobody else has. Returns what it has begun.
    #[inline]
    pub(super) fn begin(&self, worker: u16) -> Option<State> {
        self.change(|state| (state.phase() == Phase::Ready).then(|| state.run_by(worker)))
    }

    /// The worker that runs the task has put in its place what came of it. Returns the state that this ended; `None` when
    /// the owner has decided otherwise meanwhile.
    #[inline]
    pub(super) fn complete(&self, worker: u16, phase: Phase) -> Option<State> {
        self.change(|state| state.is_run_by(worker).then(|| state.in_phase(phase)))
    }

    /// The owner decides what becomes of a task that has not begun.
    pub(super) fn conclude_ready(&self) -> Option<State> {
        self.change(|state| (state.phase() == Phase::Ready).then(|| state.in_phase(Phase::Over)))
    }

    /// The owner decides what becomes of a task that this worker runs.
    pub(super) fn conclude_running(&self, worker: u16) -> Option<State> {
        self.change(|state| state.is_run_by(worker).then(|| state.in_phase(Phase::Over)))
    }

    /// The owner decides what becomes of a task, whatever its phase is.
    pub(super) fn conclude(&self) -> Option<State> {
        self.change(|state| (!state.is_final()).then(|| state.in_phase(Phase::Over)))
    }

    /// The owner lets others begin the task again, whose worker has died, unless somebody has given up on it.
    pub(super) fn retry(&self, worker: u16) -> bool {
        let again = |state: State| {
            let ready = state.in_phase(Phase::Ready);
            let is_wanted = state.is_run_by(worker) && !state.is_cancelled();
            is_wanted.then_some(State(ready.0 + ATTEMPT))
        };
        self.change(again).is_some()
    }

    /// Somebody gives up on the task. Returns the state from before.
    pub(super) fn request_cancel(&self) -> State {
        State(self.0.fetch_or(CANCEL, Ordering::AcqRel))
    }

    /// Somebody will sleep on this word until the task is done. Returns the word, and what it holds meanwhile.
    pub(super) fn wait(&self) -> (&AtomicU32, State) {
        let state = self.0.fetch_or(WAITED, Ordering::AcqRel) | WAITED;
        (&self.0, State(state))
    }

    /// What a word that somebody sleeps on holds.
    pub(super) fn expected(state: State) -> u32 {
        state.0
    }

    /// Somebody wants to be told when this task or another one is done. `false` if it is done: nobody will tell then.
    pub(super) fn watch(&self) -> bool {
        let mut state = self.state();
        if !state.is_watched() {
            state = State(self.0.fetch_or(WATCHED, Ordering::AcqRel));
        }
        !state.is_final()
    }

    /// The word, for those who wake its sleepers.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.0
    }

    #[inline]
    fn change(&self, next: impl Fn(State) -> Option<State>) -> Option<State> {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                next(State(word)).map(|state| state.0)
            })
            .ok()
            .map(State)
    }
}
