//! Why a barrier let nobody pass.

use std::fmt;

use super::Error;

/// Why a barrier did not let the caller pass.
///
/// # Examples
///
/// ```
/// use mp::BarrierError;
/// use std::time::Duration;
///
/// let barrier = mp::Barrier::new(2)?;
/// // Nobody else comes.
/// let late = barrier.wait_timeout(Duration::from_millis(1));
/// assert_eq!(late.unwrap_err(), BarrierError::TimedOut);
/// // It is broken for all until it is reset.
/// assert_eq!(barrier.wait().unwrap_err(), BarrierError::Broken);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken: somebody called `abort`, or waited for too long; or it was reset while the caller waited.
    /// [`Barrier::reset`](crate::Barrier::reset) makes it a whole one.
    Broken,
    /// The others did not come in time (`wait_timeout`). The barrier is broken now, for them as well.
    TimedOut,
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BarrierError::Broken => {
                "the barrier is broken: it was aborted or reset, or somebody did not wait for the others any longer; \
                 `reset` makes it whole"
            }
            BarrierError::TimedOut => {
                "the others did not come to the barrier in time; it is broken now, until it is reset"
            }
        })
    }
}

impl std::error::Error for BarrierError {}

impl From<BarrierError> for Error {
    fn from(error: BarrierError) -> Self {
        Error::Barrier(error.to_string())
    }
}
