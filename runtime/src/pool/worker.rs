//! What a worker does: find work, run it, leave what came of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batch::View;
use super::body::{CLOSED, PoolBody, PoolHandle, Seat, Stage};
use super::item::Phase;
use super::words::{self, Claim};
use crate::arena::{Arena, Offset};
use crate::registry::Function;
use crate::sync::Patience;
use crate::sys;

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
    pub(super) pool: &'a PoolBody,
    pub(super) seat: &'a Seat,
    pub(super) number: u16,
    pub(super) name: &'a str,
    /// The function that was called last, by the hash of its name.
    pub(super) function: Option<(u64, &'static Function)>,
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
                Some((link, batch)) => self.take_from(link, &batch),
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

    pub(super) fn is_to_leave(&self) -> bool {
        self.tasks_left == 0 || self.seat.stage() >= Stage::Leaving || self.pool.is_terminated()
    }

    /// The batch at the head, and what the head is.
    #[inline]
    fn visit_head(&self) -> Option<(u64, View)> {
        let head = &self.pool.line.head;
        let link = head.load(Ordering::Acquire);
        let place = Offset(words::place_of(link));
        let still_there = || head.load(Ordering::SeqCst) == link;
        self.seat
            .visit(self.pool, place, still_there)
            .then(|| (link, View::at(self.arena, place)))
    }

    /// Claims items of the batch at the head, which was `link`, and runs them. `false` when there is nothing to claim.
    fn take_from(&mut self, link: u64, batch: &View) -> Result<bool, Leave> {
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
                // If the batch has begun another life, the head is not what it was.
                let next = batch.header().next.load(Ordering::Acquire);
                self.pool.pass(link, next);
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
            let Some(place) = words::visited(other.visiting.load(Ordering::Acquire)) else {
                continue;
            };
            if number == self.number || claimed.is_empty() {
                continue;
            }
            let still_there = || other.visiting.load(Ordering::SeqCst) == place;
            let place = Offset(place);
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
    pub(super) fn has_run_one(&mut self) {
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
            // In this order: what was there before the pool was closed is done.
            let is_closed = self.pool.line.closing.load(Ordering::Acquire) >= CLOSED;
            if self.may_have_work() {
                return true;
            }
            if is_closed {
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
        // It may have visited another one last, whose worker is still busy there.
        self.visit_head().is_none_or(|(_, batch)| batch.has_more())
    }
}
