//! What a queue does at each end of a ring, and after deaths in the middle of an operation.
//!
//! A thread that ends while it owns a robust mutex leaves it as a process does that dies. It is the safe way to die here:
//! `unsafe` is not needed for it.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::Queue;
use crate::arena::{Arena, Outgoing, Parcel, arena};
use crate::error::{TryGetError, TryPutError};
use crate::sync::Signal;

/// How long something may take that ought to happen at once.
const LONG: Duration = Duration::from_secs(30);

/// Runs `act` on a thread of its own, which ends as if killed there: what it returns is never dropped.
fn die_in<R>(act: impl FnOnce() -> R + Send) {
    thread::scope(|scope| {
        scope.spawn(|| mem::forget(act()));
    });
}

/// Runs `act`, which is expected to end.
fn ends<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || tx.send(act()));
    rx.recv_timeout(LONG).expect("it hangs")
}

/// Does the first half of [`Signal::notify`], as somebody who is killed before the second.
fn half_notify(arena: &Arena, signal: &Signal) {
    // The word, and padding behind it.
    let word = arena.word(arena.offset_in(signal));
    while word.load(Ordering::SeqCst) & 1 == 0 {
        thread::yield_now();
    }
    // The waiter has announced that it will sleep; let it.
    thread::sleep(Duration::from_millis(50));
    let waking = |word: u64| Some(((word & !3) + 4) | 2);
    let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, waking);
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Get,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![8 => 0..70_usize, 4 => 70..8300_usize, 1 => 8300..20_000_usize];
    let step = prop_oneof![5 => length.prop_map(Step::Put), 4 => Just(Step::Get)];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn items_come_out_as_they_went_in(steps in steps(), capacity in prop_oneof![Just(None), (1..100_usize).prop_map(Some)]) {
        let queue = match capacity {
            None => Queue::new(),
            Some(capacity) => Queue::bounded(capacity),
        }
        .expect("making a queue");
        let mut model = VecDeque::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(length) => {
                    let item = (number, vec![number as u8; length]);
                    match queue.try_put(item.clone()) {
                        Ok(()) => model.push_back(item),
                        Err(TryPutError::Full(back)) => {
                            prop_assert_eq!(back, item);
                            prop_assert_eq!(Some(model.len()), capacity);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Get => match queue.try_get() {
                    Ok(item) => prop_assert_eq!(Some(item), model.pop_front()),
                    Err(error) => {
                        prop_assert_eq!(error, TryGetError::Empty);
                        prop_assert!(model.is_empty());
                    }
                },
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.is_full(), Some(model.len()) == capacity);
        }
        queue.shutdown().expect("shutting down");
        prop_assert_eq!(queue.into_iter().collect::<VecDeque<_>>(), model);
    }
}

#[test]
fn a_process_that_dies_while_it_makes_a_ring_leaves_the_free_blocks_whole() {
    let arena = arena().expect("the arena is there");
    // As large as a ring, with its head.
    let parcel =
        |byte| Parcel::new(arena, &[byte; 4096], &mut Outgoing::default()).expect("there is room");
    // Free blocks of that size that cannot merge: the first in their list names the next.
    let mut parcels: Vec<_> = (0..9).map(|byte| (byte, parcel(byte))).collect();
    for index in [7, 5, 3, 1] {
        parcels.remove(index);
    }
    die_in(|| {
        let mut tx = arena.begin();
        tx.first_ring().expect("there is room");
        tx
    });
    parcels.extend((10..20).map(|byte| (byte, parcel(byte))));
    for (byte, parcel) in &parcels {
        assert!(parcel.bytes().iter().all(|found| found == byte));
    }
}

#[test]
fn a_getter_wakes_though_who_was_to_wake_it_died() {
    let queue = Queue::new().expect("making a queue");
    let getter = {
        let queue: Queue<u32> = queue.clone();
        thread::spawn(move || queue.get())
    };
    half_notify(queue.0.arena(), queue.0.body().messages());
    queue.put(7).expect("putting");
    assert_eq!(ends(move || getter.join().expect("no panic")), Ok(7));
}

#[test]
fn a_putter_wakes_though_who_was_to_wake_it_died() {
    let queue = Queue::bounded(1).expect("making a queue");
    queue.put(1).expect("putting");
    let putter = {
        let queue: Queue<u32> = queue.clone();
        thread::spawn(move || queue.put(2))
    };
    half_notify(queue.0.arena(), queue.0.body().room());
    assert_eq!(queue.get(), Ok(1));
    assert!(ends(move || putter.join().expect("no panic")).is_ok());
}

#[test]
fn a_getter_sees_the_shutdown_though_who_was_to_wake_it_died() {
    let queue = Queue::<u32>::new().expect("making a queue");
    let getter = {
        let queue = queue.clone();
        thread::spawn(move || queue.get())
    };
    half_notify(queue.0.arena(), queue.0.body().messages());
    queue.shutdown().expect("shutting down");
    assert_eq!(
        ends(move || getter.join().expect("no panic")),
        Err(TryGetError::Shutdown)
    );
}

#[test]
fn a_queue_is_never_longer_than_its_capacity() {
    let queue = Queue::bounded(2).expect("making a queue");
    thread::scope(|scope| {
        let user = scope.spawn(|| {
            for n in 0..100_000 {
                queue.put(n).expect("putting");
                assert_eq!(queue.get(), Ok(n));
            }
        });
        while !user.is_finished() {
            assert!(queue.len() <= 1, "{} items", queue.len());
            assert!(!queue.is_full());
        }
    });
}
