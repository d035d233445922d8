//! A batch is not freed while somebody uses it.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use super::memory::Memory;
use super::words::{link, place_of, retire, visit, visited};
use crate::sync::model;

/// The places of two batches. The first one is freed, and so changed.
const FIRST: u64 = 16;
const SECOND: u64 = 32;

struct Pool {
    head: AtomicU64,
    retiring: AtomicU64,
    visiting: [AtomicU64; 2],
    seats: AtomicUsize,
    memory: Memory,
}

impl Pool {
    fn new(seats: usize) -> Arc<Self> {
        Arc::new(Self {
            head: AtomicU64::new(link(FIRST, 0)),
            retiring: AtomicU64::new(0),
            visiting: [(); 2].map(|()| AtomicU64::new(0)),
            seats: AtomicUsize::new(seats),
            memory: Memory::new(0),
        })
    }

    /// As in `Worker::visit_head`.
    fn visit_head(&self, seat: usize) -> bool {
        let link = self.head.load(Ordering::Acquire);
        let still_there = || self.head.load(Ordering::SeqCst) == link;
        let place = place_of(link);
        visit(&self.visiting[seat], &self.retiring, place, still_there) && place == FIRST
    }

    /// As in `Worker::help_others`.
    fn visit_other(&self, seat: usize, other: usize) -> bool {
        let other = &self.visiting[other];
        let Some(place) = visited(other.load(Ordering::Acquire)) else {
            return false;
        };
        let still_there = || other.load(Ordering::SeqCst) == place;
        visit(&self.visiting[seat], &self.retiring, place, still_there) && place == FIRST
    }

    /// Uses the first batch, if it is the one that is visited.
    fn use_if(&self, is_first: bool) {
        if is_first {
            assert_eq!(self.memory.read(), 0);
        }
    }

    /// Moves the head on.
    fn pass(&self) {
        let (first, second) = (link(FIRST, 0), link(SECOND, 0));
        let _ = self
            .head
            .compare_exchange(first, second, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// As in `Line::free`.
    fn free_first(&self) -> bool {
        if self.head.load(Ordering::Acquire) == link(FIRST, 0) {
            return false;
        }
        let seats = || {
            let count = self.seats.load(Ordering::Acquire);
            self.visiting[..count].iter()
        };
        retire(seats, &self.retiring, FIRST, || {
            self.memory.write(1);
        })
    }
}

#[test]
fn a_batch_is_not_freed_under_who_found_it_at_the_head() {
    model(|| {
        let pool = Pool::new(2);
        let workers = [0, 1].map(|seat| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let is_first = pool.visit_head(seat);
                pool.use_if(is_first);
                pool.pass();
            })
        });
        pool.free_first();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn a_batch_is_not_freed_under_who_found_it_at_somebody_else() {
    model(|| {
        let pool = Pool::new(2);
        let other = Arc::clone(&pool);
        let first = thread::spawn(move || {
            let is_first = other.visit_head(0);
            other.use_if(is_first);
            other.pass();
            other.visit_head(0);
        });
        let other = Arc::clone(&pool);
        let helper = thread::spawn(move || {
            let is_first = other.visit_other(1, 0);
            other.use_if(is_first);
        });
        pool.free_first();
        first.join().unwrap();
        helper.join().unwrap();
    });
}

#[test]
fn who_comes_late_to_a_freed_batch_leads_nobody_there() {
    model(|| {
        let pool = Pool::new(2);
        let other = Arc::clone(&pool);
        // It has seen the head, and is slow.
        let late = thread::spawn(move || {
            let is_first = other.visit_head(0);
            other.use_if(is_first);
        });
        let other = Arc::clone(&pool);
        let helper = thread::spawn(move || {
            let is_first = other.visit_other(1, 0);
            other.use_if(is_first);
        });
        pool.pass();
        pool.free_first();
        late.join().unwrap();
        helper.join().unwrap();
    });
}

#[test]
fn a_batch_is_not_freed_under_who_has_just_got_a_seat() {
    model(|| {
        let pool = Pool::new(1);
        assert!(pool.visit_head(0));
        pool.pass();
        let other = Arc::clone(&pool);
        let starter = thread::spawn(move || {
            other.seats.fetch_max(2, Ordering::AcqRel);
            let is_first = other.visit_other(1, 0);
            other.use_if(is_first);
        });
        let other = Arc::clone(&pool);
        let first = thread::spawn(move || {
            other.visit_head(0);
        });
        pool.free_first();
        starter.join().unwrap();
        first.join().unwrap();
    });
}

#[test]
fn a_batch_is_freed_when_its_visitor_is_gone() {
    model(|| {
        let pool = Pool::new(2);
        assert!(pool.visit_head(0));
        pool.pass();
        let other = Arc::clone(&pool);
        let worker = thread::spawn(move || other.visit_head(0));
        let is_freed = pool.free_first();
        assert!(!worker.join().unwrap());
        assert!(is_freed || pool.free_first());
    });
}
