//! The C library's robust, process-shared mutex.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{SLICE, remaining};
use crate::kill_point::kill_point;

/// How a mutex was acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// From an owner that released it.
    Clean,
    /// From an owner that died, or ended its thread, while it held the mutex.
    OwnerDied,
}

/// Why a mutex was not acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MutexError {
    /// Somebody else owns it.
    Busy,
    /// It was not free in time.
    TimedOut,
    /// The calling thread owns it.
    AlreadyOwned,
}

/// A mutex in shared memory that survives its owners.
///
/// Error-checking, so that a thread that locks it twice is told rather than blocked.
#[repr(C, align(8))]
pub(crate) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a pthread mutex exists to be used by many threads at once.
unsafe impl Send for RobustMutex {}
// SAFETY: as above.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// Makes the mutex, unlocked, in place.
    ///
    /// # Safety
    ///
    /// `place` is valid for writes, in shared memory that is never unmapped nor moved, and nobody uses a mutex there.
    pub(crate) unsafe fn init(place: *mut Self) {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised by the first call, and destroyed by the last, which for this C library
        // cannot fail any more than the setters with these constants; `place` is the caller's promise.
        unsafe {
            libc::pthread_mutexattr_init(attributes);
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK);
            libc::pthread_mutex_init(place.cast(), attributes);
            libc::pthread_mutexattr_destroy(attributes);
        }
    }

    /// `pthread_mutex_clocklock(mutex)`—Waits for the mutex.
    pub(crate) fn lock(&self) -> Result<Acquired, MutexError> {
        self.lock_by(None)
    }

    /// `pthread_mutex_trylock(mutex)`—Takes the mutex if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> Result<Acquired, MutexError> {
        // SAFETY: `self` was initialised in place by `init`.
        self.acquired(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    /// `pthread_mutex_clocklock(mutex)`—Waits for the mutex until `deadline`.
    pub(crate) fn lock_until(&self, deadline: Instant) -> Result<Acquired, MutexError> {
        self.lock_by(Some(deadline))
    }

    /// In slices: a waiter that is killed after it was woken takes the wake-up with it if somebody has taken the mutex in
    /// the meantime, and neither the kernel nor the C library wakes another one.
    fn lock_by(&self, deadline: Option<Instant>) -> Result<Acquired, MutexError> {
        loop {
            let slice = deadline.map_or(Some(SLICE), remaining).unwrap_or_default();
            let until = moment(slice.min(SLICE));
            // SAFETY: `self` was initialised in place by `init`; `until` outlives the call.
            match self.acquired(unsafe { lock_until(self.0.get(), &until) }) {
                Err(MutexError::TimedOut) => {}
                other => return other,
            }
            if deadline.is_some_and(|deadline| remaining(deadline).is_none()) {
                return self.try_lock().map_err(|error| match error {
                    MutexError::Busy => MutexError::TimedOut,
                    other => other,
                });
            }
        }
    }

    /// `pthread_mutex_unlock(mutex)`—Releases the mutex.
    ///
    /// # Safety
    ///
    /// The calling thread owns it.
    #[inline]
    pub(crate) unsafe fn unlock(&self) {
        kill_point();
        // SAFETY: initialised by `init`, owned by this thread by the caller's promise.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        kill_point();
    }

    /// Whether nobody owns the mutex, at some moment during the call. Its owner may have died.
    pub(crate) fn is_free(&self) -> bool {
        self.word() & THREAD == 0
    }

    /// The thread that owns the mutex, by the kernel's own word: a thread that died is no owner.
    pub(crate) fn owner(&self) -> Option<u32> {
        let word = self.word();
        let thread = word & THREAD;
        (word & OWNER_DIED == 0 && thread != 0 && thread != THREAD).then_some(thread)
    }

    #[inline]
    /// The word that the C library and the kernel agree on.
    fn word(&self) -> u32 {
        // SAFETY: it lies inside of the mutex, which is shared, and is changed atomically.
        unsafe { &*self.0.get().cast::<AtomicU32>().add(LOCK_WORD) }.load(Ordering::Acquire)
    }

    fn acquired(&self, result: libc::c_int) -> Result<Acquired, MutexError> {
        match result {
            0 => {
                kill_point();
                Ok(Acquired::Clean)
            }
            libc::EOWNERDEAD => {
                kill_point();
                // SAFETY: EOWNERDEAD says that this thread owns the mutex and that its state is to be made consistent.
                unsafe { libc::pthread_mutex_consistent(self.0.get()) };
                Ok(Acquired::OwnerDied)
            }
            libc::EBUSY => Err(MutexError::Busy),
            libc::ETIMEDOUT => Err(MutexError::TimedOut),
            libc::EDEADLK => Err(MutexError::AlreadyOwned),
            // ENOTRECOVERABLE cannot be: every acquisition above makes it consistent before anything else.
            // EAGAIN is about recursive mutexes, EINVAL about priorities.
            other => unreachable!("pthread mutex: error {other}"),
        }
    }
}

/// The moment `left` from now, by the clock that the mutex waits by.
fn moment(left: Duration) -> libc::timespec {
    let now = rustix::time::clock_gettime(WAIT_CLOCK);
    let nanoseconds = now.tv_nsec as u64 + u64::from(left.subsec_nanos());
    libc::timespec {
        tv_sec: now.tv_sec + left.as_secs() as i64 + (nanoseconds / 1_000_000_000) as i64,
        tv_nsec: (nanoseconds % 1_000_000_000) as _,
    }
}

/// Bits of the lock word: the owner died.
const OWNER_DIED: u32 = 0x4000_0000;
/// The thread that owns the mutex.
const THREAD: u32 = 0x3fff_ffff;

/// Where the C library keeps the word that the kernel looks at when a thread dies.
#[cfg(not(target_env = "musl"))]
const LOCK_WORD: usize = 0;
#[cfg(target_env = "musl")]
const LOCK_WORD: usize = 1;

#[cfg(not(target_env = "musl"))]
use with_clock::{WAIT_CLOCK, lock_until};
#[cfg(target_env = "musl")]
use without_clock::{WAIT_CLOCK, lock_until};

/// glibc 2.30 and later can wait by a clock that nobody sets.
#[cfg(not(target_env = "musl"))]
mod with_clock {
    pub(super) const WAIT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

    unsafe extern "C" {
        fn pthread_mutex_clocklock(
            mutex: *mut libc::pthread_mutex_t,
            clock: libc::clockid_t,
            until: *const libc::timespec,
        ) -> libc::c_int;
    }

    /// # Safety
    ///
    /// `mutex` is an initialised mutex and `until` a valid time.
    pub(super) unsafe fn lock_until(
        mutex: *mut libc::pthread_mutex_t,
        until: *const libc::timespec,
    ) -> libc::c_int {
        // SAFETY: the caller's promise.
        unsafe { pthread_mutex_clocklock(mutex, libc::CLOCK_MONOTONIC, until) }
    }
}

/// musl has only the clock of the day.
#[cfg(target_env = "musl")]
mod without_clock {
    pub(super) const WAIT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Realtime;

    /// # Safety
    ///
    /// `mutex` is an initialised mutex and `until` a valid time.
    pub(super) unsafe fn lock_until(
        mutex: *mut libc::pthread_mutex_t,
        until: *const libc::timespec,
    ) -> libc::c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::pthread_mutex_timedlock(mutex, until) }
    }
}
