//! How a queue hands its messages over: two cursors, what they guard, and a signal for each end.
//!
//! The parts are those of `runtime/src/queue`: an end reads the other's cursor only when it has used up what it saw there
//! last, publishes its own with `Release`, and notifies; who finds nothing announces, looks once more, and sleeps.

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::Signal;
use super::models::model;

/// A queue with room for one message. The slot's own accesses order nothing: only the cursors do.
struct Queue {
    slot: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
    messages: Signal,
    room: Signal,
    /// The locks of the ends, with what each end saw of the other's cursor.
    head_end: Mutex<u32>,
    tail_end: Mutex<u32>,
}

impl Queue {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slot: AtomicU32::new(0),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            messages: Signal::new(),
            room: Signal::new(),
            head_end: Mutex::new(0),
            tail_end: Mutex::new(0),
        })
    }

    fn try_put(&self, message: u32) -> Option<()> {
        let mut seen_head = self.tail_end.lock().unwrap();
        let tail = self.tail.load(Ordering::Acquire);
        if tail != *seen_head {
            *seen_head = self.head.load(Ordering::Acquire);
            if tail != *seen_head {
                return None;
            }
        }
        self.slot.store(message, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        drop(seen_head);
        self.messages.notify();
        Some(())
    }

    fn try_get(&self) -> Option<u32> {
        let mut seen_tail = self.head_end.lock().unwrap();
        let head = self.head.load(Ordering::Acquire);
        if head == *seen_tail {
            *seen_tail = self.tail.load(Ordering::Acquire);
            if head == *seen_tail {
                return None;
            }
        }
        let message = self.slot.load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
        drop(seen_tail);
        self.room.notify();
        Some(message)
    }

    fn put(&self, message: u32) {
        until_done(&self.room, || self.try_put(message));
    }

    fn get(&self) -> u32 {
        until_done(&self.messages, || self.try_get())
    }
}

/// As in `runtime/src/queue/mod.rs`, without patience.
fn until_done<R>(signal: &Signal, attempt: impl Fn() -> Option<R>) -> R {
    let mut announced = None;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        match announced.take() {
            None => announced = Some(signal.announce()),
            Some(announced) => drop(signal.sleep(announced, None)),
        }
    }
}

#[test]
fn messages_come_in_order_through_room_for_one() {
    model(|| {
        let queue = Queue::new();
        let other = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            for message in 1..=3 {
                other.put(message);
            }
        });
        for message in 1..=3 {
            assert_eq!(queue.get(), message);
        }
        producer.join().unwrap();
    });
}

#[test]
fn two_takers_get_a_message_each() {
    model(|| {
        let queue = Queue::new();
        let takers = [0, 1].map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.get())
        });
        queue.put(1);
        queue.put(2);
        let taken: u32 = takers.map(|taker| taker.join().unwrap()).iter().sum();
        assert_eq!(taken, 3);
    });
}

#[test]
fn two_givers_find_room_after_each_other() {
    model(|| {
        let queue = Queue::new();
        let givers = [1, 2].map(|message| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.put(message))
        });
        assert_eq!(queue.get() + queue.get(), 3);
        for giver in givers {
            giver.join().unwrap();
        }
    });
}
