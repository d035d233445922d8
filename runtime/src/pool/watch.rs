//! Telling others that tasks are done: callbacks and wakers.
//!
//! They run on a thread of the pool, which is started for the first of them, sleeps until one of the tasks that it watches is
//! done, and ends with the pool. It is not the thread that looks after workers: a callback that never returns stops callbacks,
//! and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::body::PoolHandle;
use super::line::lock;
use super::shared::Shared;
use super::task::Work;
use crate::sync::Patience;
use crate::sys;

/// How long the end of a pool waits for a callback.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Watchers {
    state: Mutex<State>,
    /// Notified when the thread ends.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    watches: Vec<Watch>,
    last: u64,
    has_thread: bool,
    thread: Option<JoinHandle<()>>,
}

struct Watch {
    number: u64,
    work: Work,
    then: Then,
}

/// What is to be done when a task is done.
pub(super) enum Then {
    Wake(Waker),
    Call(Box<dyn FnOnce(&Work) + Send>),
}

/// A watch that is called off by dropping it.
pub(super) struct Sleeper {
    pool: Weak<Shared>,
    number: u64,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let mut state = lock(&pool.watchers.state);
        let found = state
            .watches
            .iter()
            .position(|watch| watch.number == self.number);
        let watch = found.map(|index| state.watches.swap_remove(index));
        // What it knows may be dropped with it, which is not done under the lock.
        drop(state);
        drop(watch);
    }
}

impl Watchers {
    /// Watches a task, until it is done or the waker's [`Sleeper`] is dropped.
    pub(super) fn wake(work: &Work, waker: Waker) -> Sleeper {
        Sleeper {
            pool: Arc::downgrade(work.pool()),
            number: Self::add(work.clone(), Then::Wake(waker)),
        }
    }

    /// Watches a task until it is done.
    pub(super) fn add(work: Work, then: Then) -> u64 {
        let pool = Arc::clone(work.pool());
        let mut state = lock(&pool.watchers.state);
        state.last += 1;
        let number = state.last;
        let watch = Watch { number, work, then };
        let start = !state.has_thread;
        state.watches.push(watch);
        state.has_thread = true;
        drop(state);
        if start {
            let (handle, weak) = (pool.handle.clone(), Arc::downgrade(&pool));
            let started = sys::start_helper("mp-pool-done", move || run(&handle, &weak));
            let mut state = lock(&pool.watchers.state);
            match started {
                Ok(thread) => state.thread = Some(thread),
                Err(_) => {
                    // Without a thread it is done here and now, as far as it can be.
                    state.has_thread = false;
                    drop(state);
                    pool.watchers.finish_here(&pool);
                }
            }
        } else {
            pool.handle.body().calls.done.knock();
        }
        number
    }

    /// Waits for all that is watched, on this thread.
    #[cold]
    fn finish_here(&self, pool: &Shared) {
        let watches = std::mem::take(&mut lock(&self.state).watches);
        for watch in watches {
            let ready = || watch.work.is_ready().then_some(());
            pool.wait_until(None, ready, || watch.work.watch());
            watch.finish();
        }
    }

    /// The pool is over: waits until the thread has ended, but not for long for a callback, and not on that thread.
    pub(super) fn finish(&self, handle: &PoolHandle) {
        handle.body().calls.done.knock();
        let mut state = lock(&self.state);
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if state.thread.as_ref().is_some_and(is_own) {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while state.has_thread {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        let thread = match state.has_thread {
            false => state.thread.take(),
            true => None,
        };
        drop(state);
        if let Some(thread) = thread {
            // So that it has let go of the pool.
            let _ = thread.join();
        }
    }

    /// Does what is due; tells whether there was anything.
    fn look(&self) -> bool {
        let is_due = |watch: &mut Watch| {
            watch.work.watch();
            watch.work.is_ready()
        };
        let mut state = lock(&self.state);
        let due: Vec<Watch> = state.watches.extract_if(.., is_due).collect();
        if due.is_empty() {
            return false;
        }
        drop(state);
        for watch in due {
            watch.finish();
        }
        true
    }
}

impl Watch {
    fn finish(self) {
        let Self { work, then, .. } = self;
        let result = catch_unwind(AssertUnwindSafe(|| match then {
            Then::Wake(waker) => waker.wake(),
            Then::Call(callback) => callback(&work),
        }));
        if let Err(payload) = result {
            // The hook has printed it. What was thrown may panic once more when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        }
    }
}

/// The thread.
fn run(handle: &PoolHandle, pool: &Weak<Shared>) {
    let body = handle.body();
    loop {
        let announced = body.calls.done.announce();
        // While there is something to watch, whoever is watched knows the pool.
        if let Some(pool) = pool.upgrade() {
            if pool.watchers.look() {
                continue;
            }
            let mut state = lock(&pool.watchers.state);
            if state.watches.is_empty() && body.line.closing.load(Ordering::Acquire) != 0 {
                state.has_thread = false;
                drop(state);
                pool.watchers.ended.notify_all();
                return;
            }
        } else {
            return;
        }
        body.calls.done.sleep(announced, None);
    }
}

impl Shared {
    /// Waits until `attempt` gives something, and attempts it when a task that `watch` asks to be told of is done; `None` when
    /// `deadline` passed before that.
    pub(super) fn try_until<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<T>,
        watch: impl Fn(),
    ) -> Option<T> {
        let done = &self.handle.body().calls.done;
        let mut patience = Patience::default();
        loop {
            if let Some(value) = attempt() {
                return Some(value);
            }
            if patience.wait() {
                continue;
            }
            let announced = done.announce();
            watch();
            if let Some(value) = attempt() {
                return Some(value);
            }
            if !done.sleep(announced, deadline) {
                return attempt();
            }
        }
    }

    /// The same, when there is nothing to be given.
    pub(super) fn wait_until(
        &self,
        deadline: Option<Instant>,
        attempt: impl FnMut() -> Option<()>,
        watch: impl Fn(),
    ) -> bool {
        self.try_until(deadline, attempt, watch).is_some()
    }
}
