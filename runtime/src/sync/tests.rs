//! What happens when who sets an event or wakes others dies in the middle of it, and how waiting is found out.

mod handlers;
mod signals;
mod words;

use std::mem;
use std::panic::Location;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::deadlock::Waiting;
use super::{RawLock, Signal};
use crate::arena::{Handle, arena};
use crate::error::{LockError, OwnedByTheDead};

/// How long something may take that ought to happen at once.
const LONG: Duration = Duration::from_secs(30);

/// Runs `act`, which is expected to end.
fn ends<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || tx.send(act()));
    rx.recv_timeout(LONG).expect("it hangs")
}

fn lock() -> Handle<RawLock, ()> {
    let location = Location::caller();
    // SAFETY: the closure makes a lock in place.
    let made =
        unsafe { Handle::create(size_of::<RawLock>(), |place| RawLock::init(place, location)) };
    made.expect("making a lock")
}

#[test]
fn a_notification_after_the_announcement_ends_the_sleep() {
    let signal = Signal::new();
    for _ in 0..3 {
        let announced = signal.announce();
        signal.notify();
        // At once, or the test hangs.
        signal.sleep(announced, None);
    }
}

#[test]
fn sleepers_and_who_notifies_never_miss_each_other() {
    const ROUNDS: u32 = 20_000;
    let (ping, pong) = (Signal::new(), Signal::new());
    let turn = std::sync::atomic::AtomicU32::new(0);
    let wait = |signal: &Signal, wanted: u32| {
        while turn.load(std::sync::atomic::Ordering::SeqCst) != wanted {
            let announced = signal.announce();
            if turn.load(std::sync::atomic::Ordering::SeqCst) != wanted {
                signal.sleep(announced, None);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                wait(&ping, 2 * round + 1);
                turn.store(2 * round + 2, std::sync::atomic::Ordering::SeqCst);
                pong.notify();
            }
        });
        for round in 0..ROUNDS {
            turn.store(2 * round + 1, std::sync::atomic::Ordering::SeqCst);
            ping.notify();
            wait(&pong, 2 * round + 2);
        }
    });
}

#[test]
fn a_waiter_that_owns_the_lock_by_now_is_in_no_deadlock() {
    let arena = arena().expect("the arena is there");
    let [first, second] = [lock(), lock()];
    let (owned, is_owned) = mpsc::channel();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (first, second) = (&first, &second);
        scope.spawn(move || {
            // It has got both, and has not taken its entry out yet.
            let _first = first.body().lock(arena, None).expect("it is free");
            let waiting = Waiting::enter(arena, second.body()).expect("nobody owns it");
            let _second = second.body().lock(arena, None).expect("it is free");
            owned.send(()).expect("somebody waits");
            is_done.recv().expect("somebody tells");
            drop(waiting);
        });
        is_owned.recv().expect("somebody tells");
        for _ in 0..20 {
            drop(Waiting::enter(arena, first.body()).expect("it is no deadlock"));
            drop(Waiting::enter(arena, second.body()).expect("it is no deadlock"));
        }
        done.send(()).expect("somebody waits");
    });
}

#[test]
fn a_thread_that_ends_as_owner_is_told_once() {
    let arena = arena().expect("the arena is there");
    let lock = lock();
    thread::scope(|scope| {
        scope.spawn(|| mem::forget(lock.body().lock(arena, None).expect("it is free")));
    });
    let other = lock.clone();
    ends(move || match other.body().lock(arena, None) {
        Err(LockError::OwnerDied(guard)) => {
            let dead = guard.dead_owner().expect("it is known");
            assert_eq!(dead.pid(), Some(std::process::id()));
            assert_eq!(dead.name(), Some("MainProcess"));
        }
        _ => panic!("it was owned"),
    });
    assert!(lock.body().try_lock(arena).is_ok());
}

#[test]
fn waiting_that_is_over_leaves_no_entry() {
    let arena = arena().expect("the arena is there");
    let lock = lock();
    let entries = || {
        let tx = arena.begin();
        tx.nodes(&arena.me().waits).count()
    };
    // Other tests may wait meanwhile, but not for ever.
    let waiting = Waiting::enter(arena, lock.body()).expect("nobody owns it");
    assert!(entries() >= 1);
    drop(waiting);
    ends(move || while entries() > 0 {});
}
