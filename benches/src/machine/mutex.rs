//! The mutex of the C library between processes, robust against the death of its owner.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;

use super::Plain;
use crate::Result;

/// A process-shared robust `pthread_mutex_t`.
#[repr(C)]
pub struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: mutual exclusion of threads and processes is what it is for.
unsafe impl Sync for RobustMutex {}

// SAFETY: zeroes are `PTHREAD_MUTEX_INITIALIZER`, all of its functions take it shared.
unsafe impl Plain for RobustMutex {}

impl RobustMutex {
    /// Makes it robust and shared, where it lies and stays.
    ///
    /// # Errors
    ///
    /// When the C library refuses.
    ///
    /// # Safety
    ///
    /// Nobody uses it yet, and it lies in memory that the processes share.
    pub unsafe fn init(&self) -> Result {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised first and destroyed last; the caller promises the rest.
        let results = unsafe {
            let attributes = attributes.as_mut_ptr();
            [
                libc::pthread_mutexattr_init(attributes),
                libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST),
                libc::pthread_mutex_init(self.0.get(), attributes),
                libc::pthread_mutexattr_destroy(attributes),
            ]
        };
        match results.into_iter().find(|&result| result != 0) {
            None => Ok(()),
            Some(error) => Err(io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Does something while the mutex is locked. Nobody who has it panics or dies in these benches.
    ///
    /// # Panics
    ///
    /// When the C library refuses: the owner is this thread, or died.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: it was initialised where it lies.
        let result = unsafe { libc::pthread_mutex_lock(self.0.get()) };
        assert_eq!(result, 0, "pthread_mutex_lock");
        let value = work();
        // SAFETY: as above, and this thread owns it.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        value
    }
}
