//! The futex: as in the kernel, to compare the word and to fall asleep is one step for those who wake.

use std::collections::VecDeque;
use std::time::Instant;

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};

loom::lazy_static! {
    static ref SLEEPERS: Mutex<VecDeque<Sleeper>> = Mutex::new(VecDeque::new());
    static ref WOKEN: Condvar = Condvar::new();
}

struct Sleeper {
    word: usize,
    is_woken: Arc<AtomicBool>,
}

/// Sleeps while `word` holds `expected`, until it is woken.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, _deadline: Option<Instant>) -> bool {
    let mut sleepers = SLEEPERS.lock().expect("no panic");
    fence(Ordering::SeqCst);
    if word.load(Ordering::SeqCst) != expected {
        return true;
    }
    let is_woken = Arc::new(AtomicBool::new(false));
    sleepers.push_back(Sleeper {
        word: address(word),
        is_woken: Arc::clone(&is_woken),
    });
    while !is_woken.load(Ordering::SeqCst) {
        sleepers = WOKEN.wait(sleepers).expect("no panic");
    }
    true
}

/// Wakes up to `count` who sleep at `word`, the first to come first; returns how many it woke.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) -> u32 {
    let mut sleepers = SLEEPERS.lock().expect("no panic");
    fence(Ordering::SeqCst);
    let mut left = count;
    sleepers.retain(|sleeper| {
        let wakes = left > 0 && sleeper.word == address(word);
        if wakes {
            left -= 1;
            sleeper.is_woken.store(true, Ordering::SeqCst);
        }
        !wakes
    });
    WOKEN.notify_all();
    count - left
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}
