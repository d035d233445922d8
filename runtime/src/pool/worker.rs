//! What a worker does: find work, run it, leave what came of it.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch::{Claim, View};
use super::body::{CLOSED, PoolBody, PoolHandle, Seat, Stage};
use super::current::{self, CurrentTask};
use super::item::{Phase, State};
use crate::arena::{Arena, Draft, Offset, Outgoing};
use crate::error::{Panic, Ran, Subject};
use crate::process::describe_panic;
use crate::registry::{self, ArgumentError, Function, Give, Step};
use crate::sync::Patience;
use crate::sys;
use crate::wire;

/// What came of a task that gave no value, as its worker tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failing {
    Panicked(Panic),
    Decode { message: String },
    Encode { message: String },
    UnknownFunction,
    Failed { message: String },
}

/// Why a worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// There is nothing more to do for it.
    Done,
    /// The owner has decided what becomes of the task that it runs: nobody wants it any more.
    Condemned,
}

/// A worker at its seat.
pub(super) struct Worker<'a> {
    arena: &'static Arena,
    pool: &'a PoolBody,
    seat: &'a Seat,
    number: u16,
    name: &'a str,
    /// The function that was called last, by the hash of its name.
    function: Option<(u64, &'static Function)>,
    tasks_left: u64,
}

/// A worker takes this part of what is there, divided by the number of workers: little enough to leave something for others,
/// who besides take from it what it has not begun.
const SHARE: u64 = 2;
/// How many items a worker takes at most, unless it is told otherwise.
const MOST: u64 = 256;

impl<'a> Worker<'a> {
    pub(super) fn new(handle: &'a PoolHandle, number: u16, name: &'a str) -> Self {
        let pool = handle.body();
        let max_tasks = pool.max_tasks.load(Ordering::Relaxed);
        Self {
            arena: handle.arena(),
            pool,
            seat: pool.seat(number),
            number,
            name,
            function: None,
            tasks_left: if max_tasks == 0 { u64::MAX } else { max_tasks },
        }
    }

    /// Works until there is a reason to leave.
    pub(super) fn work(&mut self) -> Leave {
        loop {
            if self.is_to_leave() {
                return Leave::Done;
            }
            let found = match self.visit_head() {
                Some(batch) => self.take_from(&batch),
                None => Ok(true),
            };
            let outcome = match found {
                Ok(true) => continue,
                Ok(false) => self.help_others(),
                Err(leave) => return leave,
            };
            match outcome {
                Ok(true) => {}
                Ok(false) if self.wait_for_work() => {}
                Ok(false) => return Leave::Done,
                Err(leave) => return leave,
            }
        }
    }

    fn is_to_leave(&self) -> bool {
        self.tasks_left == 0 || self.seat.stage() >= Stage::Leaving || self.pool.is_terminated()
    }

    fn visit_head(&self) -> Option<View> {
        let head = &self.pool.line.head;
        let place = Offset(head.load(Ordering::Acquire));
        let still_there = || head.load(Ordering::SeqCst) == place.0;
        self.seat
            .visit(self.pool, place, still_there)
            .then(|| View::at(self.arena, place))
    }

    /// Claims items of the batch at the head, and runs them. `false` when there is nothing to claim.
    fn take_from(&mut self, batch: &View) -> Result<bool, Leave> {
        let (workers, chunk) = (self.pool.seat_count() as u64, batch.chunk());
        let most = self.tasks_left;
        let share = |available: u64| {
            let share = match chunk {
                0 => (available / (SHARE * workers)).clamp(1, MOST),
                chunk => chunk.min(available),
            };
            share.min(most)
        };
        match batch.claim(share, |items| self.seat.set_claim(items)) {
            Claim::Items(items) => {
                self.run_all(batch, items)?;
                Ok(true)
            }
            Claim::Sealed => {
                let next = batch.header().next.load(Ordering::Acquire);
                self.pool.pass(batch.place, next);
                Ok(true)
            }
            Claim::Nothing => Ok(false),
        }
    }

    fn run_all(&mut self, batch: &View, items: Range<u32>) -> Result<(), Leave> {
        let timed = batch.timeout() != 0;
        for index in items {
            self.run(batch, index, timed)?;
            if self.is_to_leave() {
                break;
            }
        }
        Ok(())
    }

    /// Runs what other workers have claimed and not begun. `false` when there was nothing.
    fn help_others(&mut self) -> Result<bool, Leave> {
        let mut helped = false;
        for number in 0..self.pool.seat_count() as u16 {
            let other = self.pool.seat(number);
            let claimed = other.claimed();
            let place = Offset(other.visiting.load(Ordering::Acquire));
            if number == self.number || claimed.is_empty() || place.is_none() {
                continue;
            }
            let still_there = || other.visiting.load(Ordering::SeqCst) == place.0;
            if !self.seat.visit(self.pool, place, still_there) {
                continue;
            }
            let batch = View::at(self.arena, place);
            let timed = batch.timeout() != 0;
            // From the end, away from where the other one works. Its claim may be of another batch by now.
            let end = claimed.end.min(batch.filled());
            for index in (claimed.start..end).rev() {
                if batch.item(index).state().phase() == Phase::Ready {
                    helped = true;
                    self.seat.set_claim(index..index + 1);
                    self.run(&batch, index, timed)?;
                    if self.is_to_leave() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(helped)
    }

    /// Waits until there may be work. `false` when there will be none for this worker.
    fn wait_for_work(&self) -> bool {
        self.seat.idle();
        let work = &self.pool.line.work;
        let mut patience = Patience::default();
        let deadline = match self.pool.idle_timeout.load(Ordering::Relaxed) {
            0 => None,
            nanos => Instant::now().checked_add(Duration::from_nanos(nanos)),
        };
        loop {
            if self.may_have_work() {
                return true;
            }
            if self.pool.line.closing.load(Ordering::Acquire) >= CLOSED {
                return false;
            }
            if patience.wait() {
                continue;
            }
            let announced = work.announce();
            if self.may_have_work() || self.pool.line.closing.load(Ordering::Acquire) >= CLOSED {
                continue;
            }
            if !work.sleep(announced, deadline) {
                return self.may_have_work();
            }
        }
    }

    #[inline]
    fn may_have_work(&self) -> bool {
        if self.seat.stage() >= Stage::Leaving {
            return true;
        }
        let visiting = self.seat.visiting.load(Ordering::Relaxed);
        let head = self.pool.line.head.load(Ordering::Acquire);
        visiting != head || View::at(self.arena, Offset(visiting)).has_more()
    }

    /// Runs an item, if nobody else does.
    #[inline]
    fn run(&mut self, batch: &View, index: u32, timed: bool) -> Result<(), Leave> {
        let item = batch.item(index);
        if timed {
            // In this order: whoever reads the item first and the time then reads no time of an earlier item.
            self.seat.began.store(sys::now(), Ordering::Release);
            self.seat
                .item
                .store(u64::from(index) + 1, Ordering::Release);
        }
        let Some(state) = item.begin(self.number) else {
            return Ok(());
        };
        let task = CurrentTask {
            worker: self.number.into(),
            index: batch.first() + u64::from(index),
            attempt: state.attempt(),
        };
        let succeeded = current::during(task, item, || self.call(batch, index));
        let (phase, count) = if succeeded {
            (Phase::Value, &self.seat.succeeded)
        } else {
            batch.header().failed.fetch_add(1, Ordering::AcqRel);
            (Phase::Failure, &self.seat.failed)
        };
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let Some(before) = item.complete(self.number, phase) else {
            return Err(Leave::Condemned);
        };
        if before.is_waited() || before.is_watched() || !succeeded {
            self.tell(batch, index, before, succeeded);
        }
        self.tasks_left -= 1;
        let limit = self.pool.max_memory.load(Ordering::Relaxed);
        if limit != 0 && sys::resident_memory().is_some_and(|bytes| bytes > limit) {
            self.tasks_left = 0;
        }
        Ok(())
    }

    #[cold]
    fn tell(&self, batch: &View, index: u32, before: State, succeeded: bool) {
        if before.is_waited() {
            sys::futex_wake(batch.item(index).word(), u32::MAX);
        }
        if before.is_watched() || !succeeded {
            self.pool.calls.done.notify();
        }
    }

    /// Calls the function of an item, and leaves what comes of it. Tells whether that is a value.
    #[inline]
    fn call(&mut self, batch: &View, index: u32) -> bool {
        let hash = batch.entry(index).function.load(Ordering::Relaxed);
        let function = match self.function {
            Some((known, function)) if known == hash => function,
            _ => match registry::find_hashed(hash) {
                Some(function) => {
                    self.function = Some((hash, function));
                    function
                }
                None => {
                    put_failing(batch, index, &Failing::UnknownFunction);
                    return false;
                }
            },
        };
        let step = Cell::new(Ran::No);
        let enter = |entered| {
            step.set(match entered {
                Step::Calling => Ran::Partly,
                Step::Returned => Ran::Yes,
            });
        };
        let mut left = Ok(());
        let arguments = batch.arguments(index);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let fds = match arguments.take_fds() {
                Ok(fds) => fds,
                Err(error) => {
                    return Err(Failing::Failed {
                        message: error.to_string(),
                    });
                }
            };
            let give = Give {
                head: &[],
                take: &mut |value, outgoing| left = batch.put_result(index, value, outgoing),
            };
            (function.run)(arguments.bytes(), fds, &enter, give).map_err(|error| match error {
                ArgumentError::Decode(error) => Failing::Decode {
                    message: error.to_string(),
                },
                ArgumentError::Encode(error) => Failing::Encode {
                    message: error.to_string(),
                },
            })
        }));
        let failing = match result {
            Ok(Ok(())) => match left {
                Ok(()) => return true,
                Err(error) => Failing::Failed {
                    message: format!("the value of `{}` cannot be left: {error}", function.name()),
                },
            },
            Ok(Err(failing)) => failing,
            Err(payload) => Failing::Panicked(self.describe(payload, function, step.get())),
        };
        put_failing(batch, index, &failing);
        false
    }

    #[cold]
    fn describe(
        &self,
        payload: Box<dyn std::any::Any + Send>,
        function: &'static Function,
        ran: Ran,
    ) -> Panic {
        let subject = Subject {
            name: self.name.to_owned(),
            pid: std::process::id(),
            function: function.name().to_owned(),
            ran,
        };
        let panic = describe_panic(&*payload, subject);
        // What was thrown may itself panic when it is dropped.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        panic
    }
}

/// Leaves why an item has no value.
#[cold]
fn put_failing(batch: &View, index: u32, failing: &Failing) {
    // What may have been left before it is given up.
    batch.clean_result(index);
    let _ = wire::with_draft(
        |draft| wire::append(failing, draft, &|| "what became of a task".to_owned()),
        // Without room for it, its absence tells that.
        |draft, outgoing| batch.put_result(index, draft, outgoing),
    );
}

/// Runs a function that every worker runs once. Returns its value, encoded, to `take`.
pub(super) fn run_hook(
    function: u64,
    arguments: &[u8],
    name: &str,
    take: &mut dyn FnMut(&mut Draft, &mut Outgoing),
) -> Result<(), String> {
    let Some(function) = registry::find_hashed(function) else {
        return Err("the workers' program does not have the function".to_owned());
    };
    let give = Give { head: &[], take };
    let result = catch_unwind(AssertUnwindSafe(|| {
        (function.run)(arguments, Vec::new(), &|_| {}, give)
    }));
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ArgumentError::Decode(error))) => Err(error.to_string()),
        Ok(Err(ArgumentError::Encode(error))) => Err(error.to_string()),
        Err(payload) => {
            let subject = Subject {
                name: name.to_owned(),
                pid: std::process::id(),
                function: function.name().to_owned(),
                ran: Ran::Partly,
            };
            Err(describe_panic(&*payload, subject).to_string())
        }
    }
}
