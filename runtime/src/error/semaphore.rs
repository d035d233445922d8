//! Why a semaphore gave or took no permit.

use std::fmt;

use super::Error;

/// Why a semaphore gave no permit.
///
/// # Examples
///
/// ```
/// use mp::AcquireError;
/// use std::time::Duration;
///
/// let semaphore = mp::Semaphore::new(0)?;
/// assert_eq!(semaphore.try_acquire().unwrap_err(), AcquireError::WouldBlock);
/// let late = semaphore.acquire_timeout(Duration::from_millis(1));
/// assert_eq!(late.unwrap_err(), AcquireError::TimedOut);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// All permits are taken (`try_acquire`). One may be given back later.
    WouldBlock,
    /// No permit was given back in time (`acquire_timeout`).
    TimedOut,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireError::WouldBlock => {
                "the semaphore has no permit left; wait for one with `acquire`"
            }
            AcquireError::TimedOut => "the semaphore had no permit in time",
        })
    }
}

impl std::error::Error for AcquireError {}

impl From<AcquireError> for Error {
    fn from(error: AcquireError) -> Self {
        Error::Semaphore(error.to_string())
    }
}

/// A semaphore that took no permit because it has as many as it can have. Nothing has changed.
///
/// # Examples
///
/// ```
/// let semaphore = mp::BoundedSemaphore::new(3)?;
/// let error = semaphore.release().unwrap_err();
/// assert_eq!(error.bound(), 3);
/// assert!(error.to_string().contains("one `release` too many"));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseError {
    pub(crate) bound: usize,
}

impl ReleaseError {
    /// Returns how many permits the semaphore can have.
    pub fn bound(&self) -> usize {
        self.bound
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the semaphore was not given a permit: it has {} already, which is its bound; there is one `release` too many \
             (dropping a permit gives it back, too)",
            self.bound
        )
    }
}

impl std::error::Error for ReleaseError {}

impl From<ReleaseError> for Error {
    fn from(error: ReleaseError) -> Self {
        Error::Semaphore(error.to_string())
    }
}
