//! The barrier.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::barrier_word::{Arrival, BarrierWord, Ending, MOST};
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::{BarrierError, Result};

/// A place where processes wait for each other: nobody passes before all have come. Then it is as new, for the next
/// round.
///
/// A barrier *breaks* when somebody [aborts](Self::abort) it or [waits for too long](Self::wait_timeout). Then all who wait
/// and all who come are told so, until it is [reset](Self::reset).
///
/// A process that dies while it waits has come: the others pass when the rest is there. One that dies before is waited for;
/// wait with a timeout where that may happen.
///
/// A barrier is a handle: clones and copies in messages are the same barrier.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn step(barrier: mp::Barrier, done: mp::Value<u32>) -> u32 {
///     *done.lock().unwrap() += 1;
///     barrier.wait().unwrap();
///     done.get().unwrap() // what all have done
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (barrier, done) = (mp::Barrier::new(3)?, mp::Value::new(0)?);
///     let processes = [(); 3].map(|()| mp::spawn!(step, barrier.clone(), done.clone()));
///     for process in processes {
///         assert_eq!(process?.join()?, 3);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier(Handle<BarrierBody, ()>);

#[repr(C)]
struct BarrierBody {
    word: BarrierWord,
    parties: u64,
}

// SAFETY: `repr(C)`; atomic words, and a number that is written before the barrier is shared.
unsafe impl Body for BarrierBody {
    const KIND: Kind = Kind::Barrier;
}

inventory::submit! { Care { kind: Kind::Barrier, knock, destroy: None } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a barrier's body, which the caller has a reference to.
    let barrier: &BarrierBody = unsafe { arena.at(body) };
    barrier.word.knock();
}

/// What one who passed a [`Barrier`] is told.
///
/// # Examples
///
/// ```
/// let barrier = mp::Barrier::new(1)?;
/// let result: mp::BarrierWaitResult = barrier.wait()?;
/// assert!(result.is_leader());
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Tells whether the caller is the leader of the round: the one that came last. There is exactly one, unless it is
    /// killed just then.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(3)?;
    /// let leaders = std::thread::scope(|scope| {
    ///     let wait = || scope.spawn(|| barrier.wait().unwrap().is_leader());
    ///     let threads = [wait(), wait(), wait()];
    ///     threads.map(|thread| thread.join().unwrap())
    /// });
    /// assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Makes a barrier for `parties`.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(2)?;
    /// assert_eq!(barrier.parties(), 2);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    ///
    /// # Panics
    ///
    /// When `parties` is 0, because nobody could ever be the last to come, or more than 16 777 215.
    pub fn new(parties: usize) -> Result<Self> {
        assert!(
            parties > 0,
            "a barrier for 0 parties is one that nobody can come to; use at least 1"
        );
        assert!(
            parties as u64 <= MOST,
            "a barrier has at most {MOST} parties, not {parties}"
        );
        // SAFETY: the closure writes the whole body.
        let handle = unsafe {
            Handle::create(size_of::<BarrierBody>(), |place: *mut BarrierBody| {
                place.write(BarrierBody {
                    word: BarrierWord::new(),
                    parties: parties as u64,
                });
            })
        };
        Ok(Self(handle?))
    }

    /// Waits until all have come.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(2)?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| barrier.wait().unwrap().is_leader());
    ///     let me = barrier.wait().unwrap().is_leader();
    ///     assert!(me != other.join().unwrap());
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] when the barrier is broken, or breaks or is reset while the caller waits.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(|| None)
    }

    /// Waits until all have come, for at most `timeout`. When they have not, the barrier breaks for all who wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let barrier = mp::Barrier::new(2)?;
    /// let late = barrier.wait_timeout(Duration::from_millis(1));
    /// assert_eq!(late, Err(mp::BarrierError::TimedOut));
    /// assert!(barrier.is_broken());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BarrierError::TimedOut`] for the one whose time passed, and [`BarrierError::Broken`] as in [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(|| deadline_after(timeout))
    }

    /// Breaks the barrier: all who wait and all who come are told so, until it is reset.
    ///
    /// It never waits, and may be called in a signal handler.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(2)?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| barrier.wait());
    ///     barrier.abort();
    ///     assert_eq!(other.join().unwrap(), Err(mp::BarrierError::Broken));
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn abort(&self) {
        self.word().abort();
    }

    /// Makes the barrier a whole one that nobody has come to. Those who wait are told that it broke.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(1)?;
    /// barrier.abort();
    /// assert!(barrier.wait().is_err());
    /// barrier.reset();
    /// assert!(barrier.wait().is_ok());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn reset(&self) {
        self.word().reset();
    }

    /// Tells whether the barrier is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(2)?;
    /// assert!(!barrier.is_broken());
    /// barrier.abort();
    /// assert!(barrier.is_broken());
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.word().is_broken()
    }

    /// Returns how many wait, at some moment during the call. Those who died while they waited count.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = mp::Barrier::new(2)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| barrier.wait());
    ///     while barrier.waiting() == 0 {
    ///         std::thread::yield_now();
    ///     }
    ///     barrier.wait().unwrap();
    /// });
    /// assert_eq!(barrier.waiting(), 0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> usize {
        self.word().waiting() as usize
    }

    /// Returns how many have to come.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::Barrier::new(5)?.parties(), 5);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn parties(&self) -> usize {
        self.0.body().parties as usize
    }

    /// The clock is asked only by those who do not come last.
    fn wait_until(
        &self,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Result<BarrierWaitResult, BarrierError> {
        let BarrierBody { word, parties } = self.0.body();
        match word.arrive(*parties) {
            Arrival::Broken => Err(BarrierError::Broken),
            Arrival::Last => Ok(BarrierWaitResult(true)),
            Arrival::Early(round) => match word.wait(round, deadline()) {
                Ending::Passed => Ok(BarrierWaitResult(false)),
                Ending::Broken => Err(BarrierError::Broken),
                Ending::TimedOut => Err(BarrierError::TimedOut),
            },
        }
    }

    fn word(&self) -> &BarrierWord {
        &self.0.body().word
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("is_broken", &self.is_broken())
            .finish()
    }
}
