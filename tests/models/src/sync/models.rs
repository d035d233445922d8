//! The models.

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::Signal;
use super::barrier_word::{Arrival, BarrierWord, Ending};
use super::condition_word::ConditionWord;
use super::event_word::EventWord;
use crate::sys;

/// How often a thread is interrupted while it could go on, in each run. Every fault that was tried shows with two.
const PREEMPTIONS: usize = 2;

pub(crate) fn model(threads: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(threads);
}

/// Something that is waited for: a number that grows, as the cursors of a queue do, and its signal.
struct Waited {
    number: AtomicU32,
    signal: Signal,
}

impl Waited {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            number: AtomicU32::new(0),
            signal: Signal::new(),
        })
    }

    fn advance(&self) {
        self.number.fetch_add(1, Ordering::Release);
        self.signal.notify();
    }

    fn wait_for(&self, number: u32) {
        loop {
            let announced = self.signal.announce();
            if self.number.load(Ordering::Acquire) >= number {
                return;
            }
            self.signal.sleep(announced, None);
        }
    }
}

#[test]
fn a_change_wakes_who_waits_for_it() {
    model(|| {
        let waited = Waited::new();
        let other = Arc::clone(&waited);
        let waiter = thread::spawn(move || other.wait_for(1));
        waited.advance();
        waiter.join().unwrap();
    });
}

#[test]
fn two_changes_wake_who_waits_for_both() {
    model(|| {
        let waited = Waited::new();
        let changers = [0, 1].map(|_| {
            let waited = Arc::clone(&waited);
            thread::spawn(move || waited.advance())
        });
        waited.wait_for(2);
        for changer in changers {
            changer.join().unwrap();
        }
    });
}

#[test]
fn a_change_wakes_all_who_wait() {
    model(|| {
        let waited = Waited::new();
        let waiters = [0, 1].map(|_| {
            let waited = Arc::clone(&waited);
            thread::spawn(move || waited.wait_for(1))
        });
        waited.advance();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn two_sides_wake_each_other_in_turns() {
    model(|| {
        let (ping, pong) = (Waited::new(), Waited::new());
        let (their_ping, their_pong) = (Arc::clone(&ping), Arc::clone(&pong));
        let other = thread::spawn(move || {
            their_ping.wait_for(1);
            their_pong.advance();
            their_ping.wait_for(2);
        });
        ping.advance();
        pong.wait_for(1);
        ping.advance();
        other.join().unwrap();
    });
}

#[test]
fn an_event_that_is_set_wakes() {
    model(|| {
        let event = Arc::new(EventWord::new());
        let waiters = [0, 1].map(|_| {
            let event = Arc::clone(&event);
            thread::spawn(move || assert!(event.wait(None)))
        });
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.is_set());
    });
}

#[test]
fn an_event_that_is_set_and_cleared_wakes_who_waited() {
    model(|| {
        let event = Arc::new(EventWord::new());
        let moment = event.moment();
        let other = Arc::clone(&event);
        let waiter = thread::spawn(move || {
            while !other.has_happened_since(moment) {
                let (word, seen) = other.announce();
                if other.has_happened_since(moment) {
                    break;
                }
                sys::futex_wait(word, seen, None);
            }
        });
        event.set();
        event.clear();
        waiter.join().unwrap();
        assert!(!event.is_set());
    });
}

#[test]
fn an_event_may_be_set_by_two_while_a_third_clears_it() {
    model(|| {
        let event = Arc::new(EventWord::new());
        let other = Arc::clone(&event);
        let setter = thread::spawn(move || other.set());
        let other = Arc::clone(&event);
        let waiter = thread::spawn(move || assert!(other.wait(None)));
        event.clear();
        setter.join().unwrap();
        event.set();
        waiter.join().unwrap();
    });
}

/// Comes to a barrier of two; returns how the round ended, and whether the caller was the last.
fn come(barrier: &BarrierWord) -> (Ending, bool) {
    match barrier.arrive(2) {
        Arrival::Last => (Ending::Passed, true),
        Arrival::Early(round) => (barrier.wait(round, None), false),
        Arrival::Broken => (Ending::Broken, false),
    }
}

#[test]
fn two_pass_a_barrier_twice_and_one_of_them_leads() {
    model(|| {
        let barrier = Arc::new(BarrierWord::new());
        let other = Arc::clone(&barrier);
        let rounds = |barrier: &BarrierWord| [come(barrier), come(barrier)];
        let theirs = thread::spawn(move || rounds(&other));
        let ours = rounds(&barrier);
        let theirs = theirs.join().unwrap();
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            assert_eq!((ours.0, theirs.0), (Ending::Passed, Ending::Passed));
            assert_ne!(ours.1, theirs.1);
        }
    });
}

#[test]
fn a_barrier_that_is_broken_lets_who_waits_go() {
    model(|| {
        let barrier = Arc::new(BarrierWord::new());
        let other = Arc::clone(&barrier);
        let waiter = thread::spawn(move || come(&other));
        barrier.abort();
        assert_eq!(waiter.join().unwrap(), (Ending::Broken, false));
        barrier.reset();
        assert!(!barrier.is_broken());
        assert_eq!(barrier.waiting(), 0);
    });
}

#[test]
fn a_reset_breaks_the_round_of_who_waits_only() {
    model(|| {
        let barrier = Arc::new(BarrierWord::new());
        let Arrival::Early(round) = barrier.arrive(2) else {
            panic!("the first of two is early");
        };
        let other = Arc::clone(&barrier);
        let waiter = thread::spawn(move || other.wait(round, None));
        barrier.reset();
        assert_eq!(waiter.join().unwrap(), Ending::Broken);
        assert_eq!(barrier.waiting(), 0);
    });
}

#[test]
fn a_notification_lets_one_go_and_the_next_another() {
    model(|| {
        let condition = Arc::new(ConditionWord::new());
        let waiters = [0, 1].map(|_| {
            let ticket = condition.enter();
            let condition = Arc::clone(&condition);
            thread::spawn(move || assert!(condition.wait(ticket, None)))
        });
        condition.notify_one();
        condition.notify_one();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_notification_for_all_lets_all_go() {
    model(|| {
        let condition = Arc::new(ConditionWord::new());
        let waiters = [0, 1].map(|_| {
            let ticket = condition.enter();
            let condition = Arc::clone(&condition);
            thread::spawn(move || assert!(condition.wait(ticket, None)))
        });
        condition.notify_all();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn who_comes_late_takes_no_wake_from_who_waits() {
    model(|| {
        let condition = Arc::new(ConditionWord::new());
        let is_notified = Arc::new(AtomicU32::new(0));
        let is_over = Arc::new(Mutex::new(false));
        let early = condition.enter();
        let (other, notified) = (Arc::clone(&condition), Arc::clone(&is_notified));
        let notifier = thread::spawn(move || {
            other.notify_one();
            notified.store(1, Ordering::Release);
        });
        let (other, over) = (Arc::clone(&condition), Arc::clone(&is_over));
        let late = thread::spawn(move || {
            let is_over = over.lock().unwrap();
            if *is_over {
                return;
            }
            let came_after = is_notified.load(Ordering::Acquire) == 1;
            let ticket = other.enter();
            drop(is_over);
            assert!(other.wait(ticket, None));
            if !came_after {
                // The notification may have been for this one; then the early one needs another.
                other.notify_one();
            }
        });
        assert!(condition.wait(early, None));
        *is_over.lock().unwrap() = true;
        condition.notify_all();
        notifier.join().unwrap();
        late.join().unwrap();
    });
}
