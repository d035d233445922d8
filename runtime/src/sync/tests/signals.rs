//! Waiting under a stream of signals whose handler interrupts system calls.

use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::{AcquireError, BarrierError, LockError};
use crate::sync::{Barrier, Condition, Event, Lock, RLock, Semaphore};

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Without `SA_RESTART`, so that a system call in progress fails.
fn install() {
    // SAFETY: the handler does nothing but count; no other test uses this signal.
    let result = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGUSR2, &action, ptr::null_mut())
    };
    assert_eq!(result, 0);
}

/// Runs `wait` on a thread that gets signals all the time; `end` is called after many of them, and ends the waiting.
#[track_caller]
fn under_fire<R: Send + 'static>(
    wait: impl FnOnce() -> R + Send + 'static,
    end: impl FnOnce(),
) -> R {
    install();
    let waiter = thread::spawn(wait);
    let before = HANDLED.load(Ordering::Relaxed);
    fire_at(&waiter, || HANDLED.load(Ordering::Relaxed) >= before + 100);
    assert!(!waiter.is_finished(), "a signal ended the waiting");
    end();
    fire_at(&waiter, || false);
    waiter.join().expect("no panic")
}

/// Runs `wait`, which ends by itself, on a thread that gets signals all the time.
#[track_caller]
fn under_fire_to_its_end<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> R {
    install();
    let waiter = thread::spawn(wait);
    fire_at(&waiter, || false);
    waiter.join().expect("no panic")
}

/// Sends signals to a thread until there were enough or it has ended.
#[track_caller]
fn fire_at<R>(waiter: &JoinHandle<R>, enough: impl Fn() -> bool) {
    let began = Instant::now();
    while !waiter.is_finished() && !enough() {
        // SAFETY: the thread has not been joined.
        unsafe { libc::pthread_kill(waiter.as_pthread_t(), libc::SIGUSR2) };
        thread::sleep(Duration::from_micros(200));
        assert!(began.elapsed() < super::LONG, "it hangs");
    }
}

#[test]
fn signals_end_no_waiting() {
    let semaphore = Semaphore::new(0).expect("making a semaphore");
    let other = semaphore.clone();
    let acquired = under_fire(
        move || other.acquire().map(|_| ()),
        || semaphore.release().expect("there is room"),
    );
    assert_eq!(acquired, Ok(()));

    let barrier = Barrier::new(2).expect("making a barrier");
    let other = barrier.clone();
    let passed = under_fire(
        move || other.wait().map(|result| result.is_leader()),
        || assert!(barrier.wait().expect("it is whole").is_leader()),
    );
    assert_eq!(passed, Ok(false));

    let event = Event::new().expect("making an event");
    let other = event.clone();
    under_fire(move || other.wait().expect("waiting"), || event.set());

    let lock = Lock::new().expect("making a lock");
    let other = lock.clone();
    let guard = lock.lock().expect("it is free");
    assert!(under_fire(move || other.lock().is_ok(), || drop(guard)));

    let lock = RLock::new().expect("making a lock");
    let other = lock.clone();
    let guard = lock.lock().expect("it is free");
    assert!(under_fire(move || other.lock().is_ok(), || drop(guard)));
}

#[test]
fn signals_do_not_notify() {
    let (lock, condition) = (
        Lock::new().expect("making a lock"),
        Condition::new().expect("making a condition"),
    );
    let (other_lock, other) = (lock.clone(), condition.clone());
    let waits = move || {
        let guard = other_lock.lock().expect("it is free");
        let (_guard, result) = other
            .wait_timeout(guard, Duration::from_secs(3600))
            .expect("no deadlock");
        result.timed_out()
    };
    let notify = || {
        // Not before it waits.
        drop(lock.lock().expect("it is free"));
        condition.notify_one();
    };
    assert!(!under_fire(waits, notify));
}

#[test]
fn signals_do_not_put_deadlines_off() {
    const SOON: Duration = Duration::from_millis(300);
    let semaphore = Semaphore::new(0).expect("making a semaphore");
    let late = under_fire_to_its_end(move || semaphore.acquire_timeout(SOON).map(|_| ()));
    assert_eq!(late, Err(AcquireError::TimedOut));

    let barrier = Barrier::new(2).expect("making a barrier");
    let late = under_fire_to_its_end(move || barrier.wait_timeout(SOON).map(|_| ()));
    assert_eq!(late, Err(BarrierError::TimedOut));

    let (lock, condition) = (
        RLock::new().expect("making a lock"),
        Condition::new().expect("making a condition"),
    );
    let late = under_fire_to_its_end(move || {
        let guard = lock.lock().expect("it is free");
        let waited = condition.wait_timeout(guard, SOON).expect("no deadlock");
        waited.1.timed_out()
    });
    assert!(late);

    let lock = RLock::new().expect("making a lock");
    let _guard = lock.lock().expect("it is free");
    let other = lock.clone();
    let late =
        under_fire_to_its_end(move || matches!(other.lock_timeout(SOON), Err(LockError::TimedOut)));
    assert!(late);
}
