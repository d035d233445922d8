//! Events.

mod common_shm;

use std::time::Duration;

use common_shm::{LONG, kill};
use mp::{Event, Queue};
use multiproc_tests::leaks::alone;

#[mp::process_fn]
fn wait_and_tell(event: Event, waits: Queue<()>) -> bool {
    let threads = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| event.wait_timeout(LONG).expect("waiting")));
        waits.put(()).expect("putting");
        threads.map(|thread| thread.join().expect("no panic"))
    });
    event.wait().expect("waiting");
    threads == [true; 2] && event.is_set()
}

#[mp::test]
fn all_who_wait_wake() {
    alone(|| {
        let event = Event::new().expect("making an event");
        let waits = Queue::new().expect("making a queue");
        let waiters: Vec<_> = (0..8)
            .map(|_| mp::spawn!(wait_and_tell, event.clone(), waits.clone()).expect("spawning"))
            .collect();
        for _ in &waiters {
            waits.get().expect("getting");
        }
        event.set();
        for waiter in waiters {
            assert!(waiter.join().expect("it ends"));
        }
    });
}

#[mp::test]
fn an_event_is_set_until_it_is_cleared() {
    alone(|| {
        let event = Event::new().expect("making an event");
        for _ in 0..3 {
            assert!(!event.is_set());
            assert_eq!(event.wait_timeout(Duration::ZERO).ok(), Some(false));
            assert_eq!(
                event.wait_timeout(Duration::from_millis(5)).ok(),
                Some(false)
            );
            event.set();
            event.set();
            assert!(event.is_set());
            event.wait().expect("waiting");
            assert_eq!(event.wait_timeout(Duration::ZERO).ok(), Some(true));
            assert_eq!(event.wait_timeout(Duration::MAX).ok(), Some(true));
            event.clear();
            event.clear();
        }
    });
}

#[mp::process_fn]
fn set_when_asked(asked: Event, event: Event) {
    asked.wait().expect("waiting");
    event.set();
}

#[mp::test]
fn waiters_that_are_killed_keep_nobody_from_waking() {
    alone(|| {
        let [asked, event] = [(); 2].map(|()| Event::new().expect("making an event"));
        let waits = Queue::new().expect("making a queue");
        for _ in 0..5 {
            let waiter = mp::spawn!(wait_and_tell, event.clone(), waits.clone()).expect("spawning");
            waits.get().expect("getting");
            kill(waiter);
        }
        let setter = mp::spawn!(set_when_asked, asked.clone(), event.clone()).expect("spawning");
        asked.set();
        event.wait().expect("waiting");
        setter.join().expect("it ends");
    });
}

/// Answers each `ping` by a `pong`.
#[mp::process_fn]
fn answer(ping: Event, pong: Event, rounds: u32) {
    for _ in 0..rounds {
        ping.wait().expect("waiting");
        ping.clear();
        pong.set();
    }
}

#[mp::test]
fn no_set_is_missed() {
    alone(|| {
        const ROUNDS: u32 = 20_000;
        let [ping, pong] = [(); 2].map(|()| Event::new().expect("making an event"));
        let other = mp::spawn!(answer, ping.clone(), pong.clone(), ROUNDS).expect("spawning");
        for _ in 0..ROUNDS {
            ping.set();
            pong.wait().expect("waiting");
            pong.clear();
        }
        other.join().expect("it ends");
    });
}
