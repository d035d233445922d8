//! Items that flow through a pool: pulled from an iterator, run, and given back.
//!
//! ```text
//!  iterator ──feed──▶ batches in flight (at most `window` items and FULL bytes) ──take──▶ results
//! ```
//!
//! All of it happens on the thread that asks for results: it feeds while there is room and nothing to give, and waits when
//! there is neither.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{LARGE, Shape};
use super::flight::Flight;
use super::line::{ROOM, Wishes};
use super::many::Many;
use super::owned_batch::Batch;
use super::shared::Shared;
use crate::error::{Error, TaskError};
use crate::registry::{self, ProcessFn};
use crate::wire;

/// What a job is to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) wishes: Wishes,
    /// How many items may be in flight.
    pub(super) window: usize,
    pub(super) fails_fast: bool,
    pub(super) order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the items, all of them wanted together.
    Whole,
    /// That of the items, each wanted as soon as it is there.
    Each,
    /// That in which they are done.
    Any,
}

/// A stream of items for the function `F`.
pub(super) struct Flow<F, I: Iterator> {
    pool: Arc<Shared>,
    plan: Plan,
    items: Fuse<I>,
    flying: VecDeque<Flight>,
    /// How many items are in flight, and how many bytes their arguments have.
    in_flight: usize,
    bytes: u64,
    /// How many items were pulled.
    pulled: u64,
    /// How many batches were passed on.
    passed_on: u64,
    next: NextBatch,
    /// How many items may be in flight, as far as their results are known.
    limit: usize,
    /// For [`Order::Any`]: items that are done, by the numbers of their flights.
    found: VecDeque<(u64, u32)>,
    /// There is nothing more to pull.
    has_ended: bool,
    /// Why the pool takes no more items.
    refusal: Option<TaskError>,
    _function: PhantomData<fn() -> F>,
}

/// What the next batch is made like: as the last ones turned out.
struct NextBatch {
    capacity: u32,
    /// Bytes of arguments for each item.
    arguments: u32,
    /// Bytes of a result that lie in the batch.
    room: u32,
    /// To pull items takes its time: no result waits for it.
    is_slow: bool,
    /// Arguments are likely to be small.
    is_small: bool,
    /// Bytes of the largest result so far that did not lie in the batch.
    result: u64,
}

/// How many items the first batch has, and the largest ones.
const FIRST: u32 = 64;
const LARGEST: u32 = 1024;
/// How many bytes of arguments lie in a batch.
const MOST_AREA: u32 = 1 << 20;
/// A flow with so many bytes of arguments in flight pulls no more than what keeps the workers busy: memory that is used again
/// and again stays in the processors' caches. One whose values are all kept anyway may have more.
const FULL: u64 = 8 << 20;
const FULL_WHOLE: u64 = 512 << 20;
/// With fewer items than this in flight, more are pulled before a result is given that is there.
const LOW: usize = 2 << 10;
/// A batch that has taken so long to fill is passed on as it is.
const LINGER: Duration = Duration::from_micros(200);
/// Items that take longer than this to be pulled are slow.
const SLOW: Duration = Duration::from_micros(10);
/// The largest result that is expected in its batch.
const MOST_ROOM: usize = 1 << 10;

impl<F, I: Iterator> Flow<F, I> {
    pub(super) fn new(
        pool: &Arc<Shared>,
        plan: Plan,
        items: impl IntoIterator<IntoIter = I>,
    ) -> Self {
        let mut flow = Self {
            pool: Arc::clone(pool),
            plan,
            items: items.into_iter().fuse(),
            flying: VecDeque::new(),
            in_flight: 0,
            bytes: 0,
            pulled: 0,
            passed_on: 0,
            next: NextBatch {
                capacity: FIRST,
                arguments: 16,
                room: ROOM,
                is_slow: false,
                is_small: true,
                result: 0,
            },
            limit: 0,
            found: VecDeque::new(),
            has_ended: false,
            refusal: None,
            _function: PhantomData,
        };
        flow.set_limit();
        flow
    }

    /// How many results are to come, as far as the iterator knows.
    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = if self.has_ended {
            (0, Some(0))
        } else {
            self.items.size_hint()
        };
        let more = self.in_flight + usize::from(self.refusal.is_some());
        let most = most.and_then(|most| most.checked_add(more));
        (least.saturating_add(more), most)
    }

    /// Gives up on all that is not done, and pulls no more.
    pub(super) fn abandon(&mut self) {
        self.has_ended = true;
        for flight in self.flying.drain(..) {
            flight.batch.abandon();
        }
        self.found.clear();
        self.in_flight = 0;
    }

    fn may_feed(&self) -> bool {
        !self.has_ended
            && self.in_flight < self.plan.window.min(self.limit)
            && (self.bytes < self.full() || self.in_flight < self.fewest())
    }

    /// How many items keep the workers busy: one for each, and one for each that is next.
    fn fewest(&self) -> usize {
        2 * self.pool.handle.body().seat_count()
    }

    fn full(&self) -> u64 {
        match self.plan.order {
            Order::Whole => FULL_WHOLE,
            Order::Each | Order::Any => FULL,
        }
    }

    /// An item that is done and was not given yet: the index of its flight, and its own.
    #[inline]
    fn find(&mut self) -> Option<(usize, u32)> {
        if self.plan.order != Order::Any {
            let flight = self.flying.front()?;
            return flight
                .batch
                .state(flight.taken)
                .is_final()
                .then_some((0, flight.taken));
        }
        if self.found.is_empty() {
            for flight in &mut self.flying {
                flight.find_all(&mut self.found);
            }
        }
        let (number, index) = self.found.pop_front()?;
        let first = self.flying.front()?.number;
        Some(((number - first) as usize, index))
    }

    /// For flows that fail fast: an item that has failed.
    fn find_failed(&self) -> Option<(usize, u32)> {
        let mut flying = self.flying.iter().enumerate();
        flying.find_map(|(number, flight)| Some((number, flight.batch.find_failed()?)))
    }

    /// Says how many items may be in flight: until a result is there, a few, and then as many as have results of 8 MiB.
    fn set_limit(&mut self) {
        if self.plan.order == Order::Whole {
            self.limit = usize::MAX;
            return;
        }
        let largest = |flight: &Flight| flight.batch.view.largest();
        let largest = self.flying.iter().map(largest).max().unwrap_or(0);
        self.next.result = self.next.result.max(largest);
        self.limit = match self.next.result {
            0 if !self.has_result() => FIRST as usize,
            0 => usize::MAX,
            result => usize::try_from(FULL / result).unwrap_or(usize::MAX),
        };
        self.limit = self.limit.max(self.fewest());
    }

    /// Whether there is a result, by which those to come can be judged.
    fn has_result(&self) -> bool {
        let is_first = |flight: &Flight| flight.number == 0;
        match self.flying.front() {
            Some(flight) if is_first(flight) => flight.has_result(),
            _ => self.passed_on > 0,
        }
    }

    /// Waits until there may be something to give, or to be pulled.
    fn wait(&mut self) -> Option<(usize, u32)> {
        let pool = Arc::clone(&self.pool);
        let order = self.plan.order;
        let is_new = !self.has_ended && self.limit < self.plan.window && !self.has_result();
        let this = std::cell::RefCell::new(self);
        let attempt = || {
            let mut this = this.borrow_mut();
            let found = this.find().or_else(|| match this.plan.fails_fast {
                true => this.find_failed(),
                false => None,
            });
            match found {
                None if is_new && this.has_result() => Some(None),
                None => None,
                found => Some(found),
            }
        };
        let watch = || {
            let this = this.borrow();
            match order {
                Order::Any => this.flying.iter().for_each(Flight::watch_all),
                Order::Each if is_new => this.flying.iter().for_each(Flight::watch_all),
                Order::Each => this.flying.front().into_iter().for_each(Flight::watch_next),
                Order::Whole => this.flying.front().into_iter().for_each(Flight::watch_last),
            }
        };
        pool.try_until(None, attempt, watch).flatten()
    }
}

impl<'a, F: ProcessFn, I: Iterator<Item = F::Args<'a>>> Flow<F, I> {
    /// The next result; `None` after the last one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Result<F::Output, TaskError>> {
        loop {
            if let Some(found) = self.find() {
                if self.in_flight <= LOW.min(self.plan.window / 2)
                    && !self.next.is_slow
                    && self.may_feed()
                {
                    self.feed();
                }
                return Some(self.give(found));
            }
            if self.may_feed() {
                self.feed();
            } else if self.flying.is_empty() {
                return self.refusal.take().map(Err);
            } else if let Some(found) = self.wait() {
                return Some(self.give(found));
            } else {
                self.set_limit();
            }
        }
    }

    /// Takes the values that are there, up to the first item that is not done, has failed, or has a value that is not small.
    pub(super) fn take_values(&mut self, values: &mut Vec<F::Output>) {
        let Some(flight) = self.flying.front_mut() else {
            return;
        };
        let (begin, count) = (flight.taken, flight.batch.view.filled());
        while flight.taken < count
            && let Some(value) = flight.batch.small_value(flight.taken, F::NAME)
        {
            values.push(value);
            flight.taken += 1;
        }
        let taken = flight.taken - begin;
        flight.left -= taken;
        self.in_flight -= taken as usize;
        self.forget_done();
    }

    /// Passes all items on at once.
    pub(super) fn launch(mut self) -> Many {
        while !self.has_ended {
            self.feed();
        }
        Many {
            pool: Arc::clone(&self.pool),
            batches: self.flying.drain(..).map(|flight| flight.batch).collect(),
            function: F::NAME,
            fails_fast: self.plan.fails_fast,
            error: self.refusal.take(),
        }
    }

    /// Pulls items into a batch, and passes it on.
    fn feed(&mut self) {
        let capacity = self.next_capacity();
        let shape = Shape {
            capacity,
            room: self.next.room,
            area: capacity
                .saturating_mul(self.next.arguments)
                .clamp(LARGE as u32, MOST_AREA),
            function: const { registry::hash(F::NAME) },
        };
        let batch = Batch::new(&self.pool, shape, self.plan.wishes, self.pulled);
        let passed_on = batch.and_then(|batch| {
            let bytes = self.fill(&batch, capacity);
            if batch.view.filled() > 0 {
                self.pool.push(&batch)?;
                self.enter(batch, bytes);
            }
            self.set_limit();
            Ok(())
        });
        if let Err(error) = passed_on {
            self.has_ended = true;
            self.refusal = Some(error.into());
        }
    }

    /// How many items the next batch is for.
    fn next_capacity(&self) -> u32 {
        let limit = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let known = match self.items.size_hint() {
            (least, Some(most)) if least == most => limit(most),
            _ => u32::MAX,
        };
        // A window holds several batches, so that there is work while another one is being filled.
        let quarter = limit(self.plan.window.div_ceil(4));
        let room = limit(
            self.plan
                .window
                .min(self.limit)
                .saturating_sub(self.in_flight),
        );
        self.next.capacity.min(known).min(quarter).min(room).max(1)
    }

    /// Pulls items into a batch; returns how many bytes their arguments have.
    fn fill(&mut self, batch: &Batch, capacity: u32) -> u64 {
        let begin = Instant::now();
        self.next.is_small = true;
        let mut look = 1;
        let (mut count, mut bytes) = (0, 0);
        while count < capacity && !batch.is_full() {
            let Some(item) = self.items.next() else {
                self.has_ended = true;
                break;
            };
            count += 1;
            match self.add(batch, &item) {
                Ok(length) => bytes += length as u64,
                Err(error) => batch.refuse(error.into()),
            }
            if count == look {
                look += look.min(64);
                if begin.elapsed() > LINGER {
                    break;
                }
            }
            if self.bytes + bytes > self.full() && self.in_flight + count as usize >= self.fewest()
            {
                break;
            }
        }
        self.next.is_slow = begin.elapsed() > SLOW * count.max(1);
        self.next.capacity = (self.next.capacity * 4).min(LARGEST);
        if count > 0 {
            // With some more, for those that are longer.
            let mean = u32::try_from(batch.used() / u64::from(count)).unwrap_or(u32::MAX);
            self.next.arguments = mean.saturating_add(mean / 4).clamp(16, LARGE as u32);
        }
        bytes
    }

    #[inline]
    fn add(&mut self, batch: &Batch, item: &F::Args<'a>) -> Result<usize, Error> {
        let hash = const { registry::hash(F::NAME) };
        if self.next.is_small {
            if let Some(small) = registry::encode_small::<F>(item)
                && batch.add_small(&small, hash).is_some()
            {
                return Ok(small.bytes().len());
            }
            self.next.is_small = false;
        }
        wire::with_draft(
            |draft| registry::encode::<F>(item, draft),
            |draft, outgoing| {
                let length = draft.bytes().len();
                batch.add(draft, outgoing, hash)?;
                Ok(length)
            },
        )?
    }

    fn enter(&mut self, batch: Arc<Batch>, bytes: u64) {
        let count = batch.view.filled();
        self.pulled += u64::from(count);
        self.in_flight += count as usize;
        self.bytes += bytes;
        let is_found = match self.plan.order {
            Order::Any => vec![false; count as usize],
            _ => Vec::new(),
        };
        self.flying.push_back(Flight {
            number: self.passed_on,
            batch,
            taken: 0,
            is_found,
            left: count,
            bytes,
        });
        self.passed_on += 1;
    }

    #[inline]
    fn forget_done(&mut self) {
        while let Some(flight) = self.flying.front()
            && flight.left == 0
        {
            self.bytes -= flight.bytes;
            self.flying.pop_front();
        }
    }

    /// Gives what came of an item that is done.
    #[inline]
    fn give(&mut self, (flight, index): (usize, u32)) -> Result<F::Output, TaskError> {
        let flight = &mut self.flying[flight];
        if self.plan.order != Order::Any {
            flight.taken += 1;
        }
        flight.left -= 1;
        self.in_flight -= 1;
        let batch = &flight.batch;
        if let Some(length) = batch.view.overflow(index)
            && length <= MOST_ROOM
        {
            self.next.room = self.next.room.max(length as u32);
        }
        let outcome = batch.outcome(index, F::NAME);
        batch.clean(index);
        if outcome.is_err() && self.plan.fails_fast {
            self.abandon();
        } else {
            self.forget_done();
        }
        outcome
    }
}

impl<F, I: Iterator> Drop for Flow<F, I> {
    fn drop(&mut self) {
        self.abandon();
        self.pool.tidy_up();
    }
}
