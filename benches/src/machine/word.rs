//! A word that one process waits for and another changes.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Area, Plain};
use crate::{Result, child, round_trips};

/// How a process waits for a [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// It looks again and again.
    Spin,
    /// It lets others run between two looks.
    Yield,
    /// It sleeps in the kernel, and is woken.
    Futex,
}

/// A number in shared memory.
#[repr(transparent)]
pub struct Word(AtomicU32);

// SAFETY: an atomic integer; zero is one.
unsafe impl Plain for Word {}

impl Word {
    /// Changes it, and wakes who sleeps.
    pub fn set(&self, value: u32, waiting: Waiting) {
        self.0.store(value, Release);
        if waiting == Waiting::Futex {
            // SAFETY: the address is that of a word that lives.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }

    /// Waits until it is `value`.
    pub fn wait_for(&self, value: u32, waiting: Waiting) {
        loop {
            let current = self.0.load(Acquire);
            if current == value {
                return;
            }
            match waiting {
                Waiting::Spin => std::hint::spin_loop(),
                Waiting::Yield => std::thread::yield_now(),
                Waiting::Futex => {
                    let for_ever = ptr::null::<libc::timespec>();
                    // SAFETY: the address is that of a word that lives. Whatever ends the wait, the loop looks again.
                    unsafe {
                        libc::syscall(
                            libc::SYS_futex,
                            self.0.as_ptr(),
                            libc::FUTEX_WAIT,
                            current,
                            for_ever,
                        )
                    };
                }
            }
        }
    }
}

/// There and back between this process and another, each after a pause that does not count.
///
/// # Errors
///
/// When the system refuses.
pub fn word(count: u64, waiting: Waiting, pause: Duration) -> Result<Duration> {
    let area = Area::new(size_of::<Word>())?;
    let path = area.path().to_owned();
    let echo = child::<echo_word>((path, waiting, count as u32 + 1))?;
    let word: &Word = area.first();
    let once = |n: u64| {
        word.set(2 * n as u32 + 1, waiting);
        word.wait_for(2 * n as u32 + 2, waiting);
        Ok(())
    };
    once(0)?;
    let elapsed = round_trips(count, pause, |n| once(n + 1))?;
    echo.join()??;
    Ok(elapsed)
}

/// The word is odd when the other process is to answer, and even when it has.
#[mp::process_fn]
fn echo_word(path: String, waiting: Waiting, count: u32) -> Result {
    let area = Area::open(&path)?;
    let word: &Word = area.first();
    for n in 0..count {
        word.wait_for(2 * n + 1, waiting);
        word.set(2 * n + 2, waiting);
    }
    Ok(())
}

/// Pauses twice as long each time, up to a microsecond or two, and lets others run from then on. Looking rarely is what
/// makes a ring fast: who looks at once finds one message, and takes a cache line from the other for each.
#[derive(Debug, Default)]
pub struct Patience(u32);

impl Patience {
    const DOUBLINGS: u32 = 7;

    /// Waits a little.
    pub fn wait(&mut self) {
        if self.0 < Self::DOUBLINGS {
            (0..1 << self.0).for_each(|_| std::hint::spin_loop());
            self.0 += 1;
        } else {
            std::thread::yield_now();
        }
    }
}
