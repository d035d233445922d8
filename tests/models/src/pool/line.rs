//! Claims: each task of a line of batches is begun by somebody, and once, whoever dies.

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::item::{Item, Phase};
use super::words::{Claim, Cursor, link, place_of, visit, visited};
use crate::kill_point::{dying_at, kill_point};
use crate::sync::{Signal, model};

const WORKERS: usize = 2;

/// A batch of up to two items.
struct Batch {
    cursor: Cursor,
    filled: AtomicU64,
    next: AtomicU64,
    items: [Item; 2],
    runs: [AtomicU32; 2],
}

struct Pool {
    batches: [Batch; 2],
    head: AtomicU64,
    retiring: AtomicU64,
    visiting: [AtomicU64; WORKERS],
    claims: [AtomicU64; WORKERS],
    work: Signal,
    is_closed: AtomicU32,
    /// What the pool's owner knows: the number of the batch at the tail.
    tail: Mutex<usize>,
}

impl Batch {
    fn new(items: u64) -> Self {
        let batch = Self {
            cursor: Cursor::new(),
            filled: AtomicU64::new(items),
            next: AtomicU64::new(0),
            items: [(); 2].map(|()| Item::new()),
            runs: [(); 2].map(|()| AtomicU32::new(0)),
        };
        for item in &batch.items[..items as usize] {
            item.offer();
        }
        batch
    }

    fn add(&self) {
        let filled = self.filled.load(Ordering::Relaxed);
        self.items[filled as usize].offer();
        self.filled.store(filled + 1, Ordering::Release);
    }

    fn has_more(&self) -> bool {
        self.cursor.has_more(&self.filled, &self.next)
    }
}

impl Pool {
    /// A line of one batch, with as many items; the other one is there, too, with as many, and not in it.
    fn new(items: [u64; 2]) -> Arc<Self> {
        Arc::new(Self {
            batches: items.map(Batch::new),
            head: AtomicU64::new(link(Self::place(0), 0)),
            retiring: AtomicU64::new(0),
            visiting: [(); WORKERS].map(|()| AtomicU64::new(0)),
            claims: [(); WORKERS].map(|()| AtomicU64::new(0)),
            work: Signal::new(),
            is_closed: AtomicU32::new(0),
            tail: Mutex::new(0),
        })
    }

    fn place(number: usize) -> u64 {
        16 * (number as u64 + 1)
    }

    fn at(&self, place: u64) -> &Batch {
        &self.batches[(place / 16) as usize - 1]
    }

    // What the owner does, as in `line.rs`.

    fn link_of(&self, number: usize) -> u64 {
        link(Self::place(number), self.batches[number].cursor.life())
    }

    fn push(&self, number: usize) {
        let mut tail = self.tail.lock().unwrap();
        let link = self.link_of(number);
        self.batches[*tail].next.store(link, Ordering::Release);
        *tail = number;
        drop(tail);
        self.work.notify_up_to(1);
    }

    fn close(&self) {
        self.is_closed.store(1, Ordering::SeqCst);
        self.work.knock();
    }

    fn pass(&self, from: u64, next: u64) {
        let _ = self
            .head
            .compare_exchange(from, next, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// As `Line::reopen`.
    fn reopen(&self, number: usize) {
        let batch = &self.batches[number];
        let items = || 0..batch.filled.load(Ordering::Acquire) as u32;
        let is_ready = |index: &u32| batch.items[*index as usize].state().phase() == Phase::Ready;
        let Some(first) = items().find(is_ready) else {
            return;
        };
        if batch.cursor.reopen(first) {
            return;
        }
        self.pass(self.link_of(number), batch.next.load(Ordering::Acquire));
        batch.next.store(0, Ordering::Relaxed);
        batch.cursor.renew(first);
        self.push(number);
    }

    /// As `Crew::take_over`, for a worker that is dead.
    fn take_over(&self, worker: usize) {
        let place = visited(self.visiting[worker].swap(0, Ordering::SeqCst));
        self.claims[worker].store(0, Ordering::Release);
        if let Some(place) = place {
            for item in &self.at(place).items {
                item.retry(worker as u16);
            }
            self.reopen((place / 16) as usize - 1);
        }
        self.work.knock();
    }

    // What a worker does, as in `worker.rs`.

    fn visit_head(&self, worker: usize) -> Option<(u64, &Batch)> {
        let link = self.head.load(Ordering::Acquire);
        let place = place_of(link);
        let still_there = || self.head.load(Ordering::SeqCst) == link;
        visit(&self.visiting[worker], &self.retiring, place, still_there)
            .then(|| (link, self.at(place)))
    }

    fn set_claim(&self, worker: usize, items: std::ops::Range<u32>) {
        let claim = u64::from(items.start) << 32 | u64::from(items.end);
        self.claims[worker].store(claim, Ordering::Release);
    }

    /// Tells whether the line goes on, or went on.
    fn take_from(&self, worker: usize, link: u64, batch: &Batch, share: u64) -> bool {
        let propose = |items| self.set_claim(worker, items);
        let share = |available: u64| share.min(available);
        let claim = batch
            .cursor
            .claim(&batch.filled, &batch.next, share, propose);
        match claim {
            Claim::Items(items) => items.for_each(|index| self.run(worker, batch, index)),
            Claim::Sealed => self.pass(link, batch.next.load(Ordering::Acquire)),
            Claim::Nothing => return false,
        }
        true
    }

    fn run(&self, worker: usize, batch: &Batch, index: u32) {
        let item = &batch.items[index as usize];
        kill_point();
        if item.begin(worker as u16).is_none() {
            return;
        }
        kill_point();
        item.complete(worker as u16, Phase::Value)
            .expect("nobody else decides");
        batch.runs[index as usize].fetch_add(1, Ordering::Relaxed);
        kill_point();
    }

    fn help_others(&self, worker: usize) -> bool {
        let mut helped = false;
        for other in (0..WORKERS).filter(|other| *other != worker) {
            let claim = self.claims[other].load(Ordering::Acquire);
            let other = &self.visiting[other];
            let (Some(place), 1..) = (visited(other.load(Ordering::Acquire)), claim) else {
                continue;
            };
            let still_there = || other.load(Ordering::SeqCst) == place;
            if !visit(&self.visiting[worker], &self.retiring, place, still_there) {
                continue;
            }
            let batch = self.at(place);
            let filled = batch.filled.load(Ordering::Acquire) as u32;
            let claimed = (claim >> 32) as u32..(claim as u32).min(filled);
            for index in claimed.rev() {
                if batch.items[index as usize].state().phase() == Phase::Ready {
                    helped = true;
                    self.set_claim(worker, index..index + 1);
                    self.run(worker, batch, index);
                }
            }
        }
        helped
    }

    fn may_have_work(&self, worker: usize) -> bool {
        self.visit_head(worker)
            .is_none_or(|(_, batch)| batch.has_more())
    }

    fn wait_for_work(&self, worker: usize) -> bool {
        self.claims[worker].store(0, Ordering::Release);
        loop {
            let is_closed = self.is_closed.load(Ordering::Acquire) != 0;
            if self.may_have_work(worker) {
                return true;
            }
            if is_closed {
                return false;
            }
            let announced = self.work.announce();
            if self.may_have_work(worker) || self.is_closed.load(Ordering::Acquire) != 0 {
                continue;
            }
            self.work.sleep(announced, None);
        }
    }

    fn work(&self, worker: usize, share: u64) {
        loop {
            match self.visit_head(worker) {
                None => {}
                Some((link, batch)) if self.take_from(worker, link, batch, share) => {}
                Some(_) if self.help_others(worker) => {}
                Some(_) if self.wait_for_work(worker) => {}
                Some(_) => return,
            }
            thread::yield_now();
        }
    }

    fn runs(&self) -> Vec<u32> {
        let batches = self.batches.iter();
        let runs =
            batches.flat_map(|batch| &batch.runs[..batch.filled.load(Ordering::Acquire) as usize]);
        runs.map(|runs| runs.load(Ordering::Relaxed)).collect()
    }
}

#[test]
fn two_workers_run_each_task_of_two_batches_once() {
    model(|| {
        let pool = Pool::new([1, 1]);
        let other = Arc::clone(&pool);
        let worker = thread::spawn(move || other.work(0, 2));
        pool.push(1);
        for _ in 0..2 {
            if let Some((link, batch)) = pool.visit_head(1) {
                pool.take_from(1, link, batch, 2);
            }
        }
        pool.close();
        worker.join().unwrap();
        assert_eq!(pool.runs(), [1, 1]);
    });
}

#[test]
fn a_worker_finds_what_is_added_while_it_works() {
    model(|| {
        let pool = Pool::new([0, 1]);
        let other = Arc::clone(&pool);
        let worker = thread::spawn(move || other.work(0, 2));
        pool.batches[0].add();
        pool.work.notify_up_to(1);
        pool.batches[0].add();
        pool.push(1);
        pool.close();
        worker.join().unwrap();
        assert_eq!(pool.runs(), [1, 1, 1]);
    });
}

#[test]
fn a_worker_helps_another_one_with_what_it_has_claimed() {
    model(|| {
        let pool = Pool::new([2, 0]);
        pool.close();
        let workers = [0, 1].map(|worker| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.work(worker, 2))
        });
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(pool.runs(), [1, 1]);
    });
}

/// Places at which a worker that runs one item may die: two in each claim, three at the item.
const PLACES: u32 = 5;

#[test]
fn what_a_dead_worker_has_begun_or_claimed_is_done_by_another() {
    for place in 1..=PLACES + 2 {
        model(move || {
            let pool = Pool::new([2, 0]);
            let other = Arc::clone(&pool);
            let dying = thread::spawn(move || {
                if dying_at(place, || other.work(0, 2)) {
                    // As the pool's owner, which sees its end.
                    other.take_over(0);
                }
            });
            pool.close();
            pool.work(1, 2);
            dying.join().unwrap();
            // What it gave back may have come after the other one had left: then there is a new one.
            pool.work(0, 2);
            let runs = pool.runs();
            assert_eq!(runs, [1, 1], "died at {place}");
        });
    }
}

#[test]
fn what_was_claimed_in_a_batch_that_the_line_has_left_is_claimed_again() {
    for place in 1..=PLACES {
        model(move || {
            let pool = Pool::new([1, 1]);
            pool.push(1);
            let other = Arc::clone(&pool);
            let dying = thread::spawn(move || {
                if dying_at(place, || other.work(0, 1)) {
                    other.take_over(0);
                }
            });
            pool.close();
            pool.work(1, 1);
            dying.join().unwrap();
            pool.work(0, 1);
            assert_eq!(pool.runs(), [1, 1], "died at {place}");
        });
    }
}

/// A worker that finds a batch sealed may move the head on much later, when the batch has been put into the line again.
#[test]
fn who_is_slow_to_move_the_head_on_moves_it_from_no_other_life() {
    model(|| {
        let pool = Pool::new([2, 1]);
        pool.push(1);
        // Item 0 was begun by a worker that is dead, item 1 is done, and the batch is about to be sealed.
        pool.visiting[0].store(Pool::place(0), Ordering::SeqCst);
        assert!(pool.batches[0].items[0].begin(0).is_some());
        pool.batches[0].items[1].refuse();
        let claim_all = |available| available;
        let batch = &pool.batches[0];
        let _ = batch
            .cursor
            .claim(&batch.filled, &batch.next, claim_all, |_| {});
        let other = Arc::clone(&pool);
        let others = thread::spawn(move || {
            other.take_over(0);
            for _ in 0..3 {
                if let Some((link, batch)) = other.visit_head(0) {
                    other.take_from(0, link, batch, 2);
                }
            }
        });
        if let Some((link, batch)) = pool.visit_head(1) {
            pool.take_from(1, link, batch, 2);
        }
        others.join().unwrap();
        assert_ne!(pool.head.load(Ordering::Acquire), 0);
        pool.close();
        pool.work(0, 2);
        assert_eq!(pool.runs(), [1, 0, 1]);
    });
}
