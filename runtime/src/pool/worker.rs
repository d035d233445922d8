//! What a worker does: find work, run it, leave what came of it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch::{Content, View};
use super::body::{CLOSED, PoolBody, PoolHandle, Seat, Stage};
use super::current::Running;
use super::item::{Phase, State};
use super::words::Claim;
use crate::arena::{Arena, Draft, Offset, Outgoing};
use crate::error::{Panic, Ran, Subject};
use crate::kill_point::kill_point;
use crate::process::describe_panic;
use crate::registry::{self, ArgumentError, Arguments, Calls, Function, Give, Step};
use crate::sync::Patience;
use crate::sys;
use crate::wire::{self, Small};

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
                self.run(batch, items)?;
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
            // From the end, away from where the other one works. Its claim may be of another batch by now.
            let end = claimed.end.min(batch.filled());
            for index in (claimed.start..end).rev() {
                if batch.item(index).state().phase() == Phase::Ready {
                    helped = true;
                    self.seat.set_claim(index..index + 1);
                    self.run(&batch, index..index + 1)?;
                    if self.is_to_leave() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(helped)
    }

    #[inline]
    fn has_run_one(&mut self) {
        self.tasks_left -= 1;
        let limit = self.pool.max_memory.load(Ordering::Relaxed);
        if limit != 0 && sys::resident_memory().is_some_and(|bytes| bytes > limit) {
            self.tasks_left = 0;
        }
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

    /// Runs those of some items that nobody else has begun.
    fn run(&mut self, batch: &View, items: Range<u32>) -> Result<(), Leave> {
        let running = Running::new(self.number);
        let mut chunk = Chunk {
            running: &running,
            first: batch.first(),
            timed: batch.timeout() != 0,
            worker: self,
            batch,
            items,
            function: 0,
            current: None,
            ran: Ran::No,
            expects_small: true,
            leave: None,
        };
        while let Some(index) = chunk.items.clone().next()
            && chunk.leave.is_none()
        {
            chunk.turn_to(batch.function(index));
            let known = chunk.worker.function;
            let function = match known {
                Some((hash, function)) if hash == chunk.function => Some(function),
                _ => registry::find_hashed(chunk.function),
            };
            let Some(function) = function else {
                if chunk.next().is_some() {
                    chunk.finish_with(&Failing::UnknownFunction);
                }
                continue;
            };
            chunk.worker.function = Some((chunk.function, function));
            let result = catch_unwind(AssertUnwindSafe(|| {
                running.during(|| (function.call_many)(&mut chunk));
            }));
            if let Err(payload) = result {
                let panic = chunk.worker.describe(payload, function, chunk.ran);
                chunk.finish_with(&Failing::Panicked(panic));
            }
        }
        match chunk.leave {
            Some(leave) => Err(leave),
            None => Ok(()),
        }
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

/// Items that a worker runs one after the other.
struct Chunk<'c, 'w> {
    worker: &'c mut Worker<'w>,
    batch: &'c View,
    /// Those that it has not come to yet.
    items: Range<u32>,
    /// The hash of the name of the function that is called now.
    function: u64,
    first: u64,
    timed: bool,
    /// The item that is run now.
    current: Option<u32>,
    running: &'c Running,
    ran: Ran,
    expects_small: bool,
    leave: Option<Leave>,
}

impl Chunk<'_, '_> {
    fn turn_to(&mut self, function: u64) {
        if self.function != function {
            self.function = function;
            self.expects_small = true;
        }
    }

    /// The current item is done.
    #[inline]
    fn finish(&mut self, succeeded: bool) {
        let Some(index) = self.current.take() else {
            return;
        };
        let (phase, count) = if succeeded {
            (Phase::Value, &self.worker.seat.succeeded)
        } else {
            self.batch.header().failed.fetch_add(1, Ordering::AcqRel);
            (Phase::Failure, &self.worker.seat.failed)
        };
        // Before it is done, so that whoever knows that it is finds it counted.
        let counted = count.load(Ordering::Relaxed);
        count.store(counted + 1, Ordering::Relaxed);
        kill_point();
        let Some(before) = self.batch.item(index).complete(self.worker.number, phase) else {
            count.store(counted, Ordering::Relaxed);
            self.leave = Some(Leave::Condemned);
            return;
        };
        kill_point();
        if before.is_waited() || before.is_watched() || !succeeded {
            self.worker.tell(self.batch, index, before, succeeded);
        }
        self.worker.has_run_one();
    }

    /// The current item has failed.
    #[cold]
    fn finish_with(&mut self, failing: &Failing) {
        let Some(index) = self.current else { return };
        // What may have been left before it is given up.
        self.batch.clean_result(index);
        let _ = wire::with_draft(
            |draft| wire::append(failing, draft, &|| "what became of a task".to_owned()),
            // Without room for it, its absence tells that.
            |draft, outgoing| self.batch.put_result(index, draft, outgoing),
        );
        self.finish(false);
    }
}

impl Calls for Chunk<'_, '_> {
    #[inline]
    fn next(&mut self) -> Option<Arguments> {
        loop {
            if self.leave.is_some() || self.worker.is_to_leave() {
                // What is left is for others.
                self.items.start = self.items.end;
            }
            let index = self.items.clone().next()?;
            if self.batch.function(index) != self.function {
                return None;
            }
            self.items.start += 1;
            let item = self.batch.item(index);
            if self.timed {
                // In this order: whoever reads the item first and the time then reads no time of an earlier item.
                self.worker.seat.began.store(sys::now(), Ordering::Release);
                self.worker
                    .seat
                    .item
                    .store(u64::from(index) + 1, Ordering::Release);
            }
            kill_point();
            let Some(state) = item.begin(self.worker.number) else {
                continue;
            };
            kill_point();
            self.current = Some(index);
            self.ran = Ran::No;
            self.running
                .set(item, self.first + u64::from(index), state.attempt());
            match self.batch.arguments(index) {
                Content::Bytes(bytes) => return Some(Arguments { bytes, fds: None }),
                Content::Parcel(parcel) => match parcel.take_fds() {
                    Ok(fds) => {
                        // SAFETY: the batch owns the parcel, and keeps it until this item is done (P1).
                        let bytes = unsafe { &*std::ptr::from_ref(parcel.bytes()) };
                        return Some(Arguments {
                            bytes,
                            fds: Some(fds),
                        });
                    }
                    Err(error) => self.finish_with(&Failing::Failed {
                        message: error.to_string(),
                    }),
                },
            }
        }
    }

    #[inline]
    fn enter(&mut self, step: Step) {
        self.ran = match step {
            Step::Calling => Ran::Partly,
            Step::Returned => Ran::Yes,
        };
    }

    #[inline]
    fn expects_small(&self) -> bool {
        self.expects_small
    }

    #[inline]
    fn give_small(&mut self, value: &Small) -> bool {
        let Some(index) = self.current else {
            return false;
        };
        let fits = self.batch.put_small(index, value);
        if fits {
            self.finish(true);
        }
        fits
    }

    fn give(&mut self, value: &mut Draft, outgoing: &mut Outgoing) {
        let Some(index) = self.current else { return };
        self.expects_small = value.bytes().len() <= wire::SMALL && outgoing.is_empty();
        match self.batch.put_result(index, value, outgoing) {
            Ok(()) => self.finish(true),
            Err(error) => self.finish_with(&Failing::Failed {
                message: format!("the value of the task cannot be left: {error}"),
            }),
        }
    }

    #[cold]
    fn fail(&mut self, error: ArgumentError) {
        let failing = match error {
            ArgumentError::Decode(error) => Failing::Decode {
                message: error.to_string(),
            },
            ArgumentError::Encode(error) => Failing::Encode {
                message: error.to_string(),
            },
            ArgumentError::NotSmall => unreachable!("encoded at any length"),
        };
        self.finish_with(&failing);
    }
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
        Ok(Err(ArgumentError::NotSmall)) => unreachable!("encoded at any length"),
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
