//! Waiting on a system that lacks `futex_waitv`.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::{Waitable, wait};
use crate::channel::pipe;
use crate::queue::Queue;
use crate::sync::Event;
use crate::sys;

const SHORT: Duration = Duration::from_millis(20);

/// Does without `futex_waitv` until it is dropped. Other tests may meanwhile, too: they wait less well.
struct Without(#[expect(dead_code, reason = "one at a time")] std::sync::MutexGuard<'static, ()>);

impl Without {
    fn new() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        sys::pretend_no_waitv(true);
        Self(one)
    }
}

impl Drop for Without {
    fn drop(&mut self) {
        sys::pretend_no_waitv(false);
    }
}

#[test]
fn words_are_looked_at_again_and_again() {
    let _without = Without::new();
    let queues: Vec<Queue<usize>> = (0..5).map(|_| Queue::new().expect("a queue")).collect();
    let objects: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
    let begin = Instant::now();
    assert!(wait(&objects, Some(SHORT)).expect("waiting").is_empty());
    assert!(begin.elapsed() >= SHORT);
    for index in [4, 0, 2] {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&objects, None).expect("waiting"));
            thread::sleep(SHORT);
            queues[index].put(index).expect("putting");
            assert_eq!(waiting.join().expect("no panic"), [index]);
        });
        assert_eq!(queues[index].get(), Ok(index));
    }
}

#[test]
fn many_words_and_descriptors_are_waited_for() {
    let _without = Without::new();
    let events: Vec<_> = (0..200).map(|_| Event::new().expect("an event")).collect();
    let (a, b) = pipe::<u32, u32>().expect("a pipe");
    let mut objects: Vec<&dyn Waitable> =
        events.iter().map(|event| event as &dyn Waitable).collect();
    objects.push(&b);
    for index in [0, 126, 127, 199, 200] {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&objects, None).expect("waiting"));
            thread::sleep(SHORT);
            match events.get(index) {
                Some(event) => event.set(),
                None => a.send(7).expect("sending"),
            }
            assert_eq!(waiting.join().expect("no panic"), [index]);
        });
        if let Some(event) = events.get(index) {
            event.clear();
        }
    }
}
