//! A word that one process waits for and another changes.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

use serde::{Deserialize, Serialize};

use super::Plain;

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
