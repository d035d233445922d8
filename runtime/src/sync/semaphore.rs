//! The semaphores.
//!
//! | word | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `value` | how many permits there are to take, at most `bound` | in transactions: who takes one, −1; who gives one, +1 | undone with its transaction |
//! | the hold's debt | how many permits this process has | with `value`, the other way round | added to `value`, by who buries it or waits for a permit |
//! | `signal` | who waits | see [`Signal`] | who waits looks by itself once in a second |

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Signal;
use super::wait::{Patience, deadline_after};
use crate::arena::{Arena, Body, Care, Debts, Handle, Identity, Kind, Offset, Tx};
use crate::error::{AcquireError, ReleaseError, Result};

/// How long somebody waits for a permit before it looks whether one is owed by a dead process.
const PATIENT: Duration = Duration::from_millis(500);

#[repr(C)]
pub(super) struct SemaphoreBody {
    value: AtomicU64,
    bound: u64,
    signal: Signal,
}

// SAFETY: `repr(C)`; atomic words, and a number that is written before the semaphore is shared.
unsafe impl Body for SemaphoreBody {
    const KIND: Kind = Kind::Semaphore;
}

inventory::submit! { Care { kind: Kind::Semaphore, knock, destroy: None } }
// A permit that was forgotten is kept until its process ends.
inventory::submit! { Debts { kind: Kind::Semaphore, outlive_handles: true, give_back } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a semaphore's body, which the caller has a reference to.
    let semaphore: &SemaphoreBody = unsafe { arena.at(body) };
    semaphore.signal.knock();
}

/// Gives back the permits of a dead process.
fn give_back(tx: &mut Tx<'_>, body: Offset, permits: u64) {
    // SAFETY: a semaphore's body, which the dead process's hold refers to.
    let semaphore: &SemaphoreBody = unsafe { tx.arena().at(body) };
    semaphore.give(tx, permits);
}

/// A number of permits that processes take and give back: it bounds how many do something at the same time.
///
/// A permit is given back when it is dropped, also by a panic, and when the process that has it dies, however it dies: as
/// soon as its parent notices, or when somebody has waited for a permit for about a second.
/// [`release`](Self::release) gives one without having one: then a semaphore counts events for those who
/// [`acquire`](Self::acquire) and [`forget`](SemaphorePermit::forget).
///
/// A semaphore is a handle: clones and copies in messages are the same semaphore.
///
/// # Fairness
///
/// None is promised: one who comes may be faster than one that is being woken.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn download(at_once: mp::Semaphore, page: u32) -> u32 {
///     let _permit = at_once.acquire().unwrap();
///     page // at most two are here
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let at_once = mp::Semaphore::new(2)?;
///     let processes: Vec<_> = (0..4).map(|page| mp::spawn!(download, at_once.clone(), page)).collect();
///     for (process, page) in processes.into_iter().zip(0..) {
///         assert_eq!(process?.join()?, page);
///     }
///     assert_eq!(at_once.value(), 2);
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Semaphore(Handle<SemaphoreBody, Unbounded>);

/// A [`Semaphore`] that never has more permits than in the beginning: a [`release`](Self::release) too many is an error.
///
/// # Examples
///
/// ```
/// let semaphore = mp::BoundedSemaphore::new(1)?;
/// let permit = semaphore.acquire()?;
/// assert!(semaphore.try_acquire().is_err());
/// drop(permit);
/// assert!(semaphore.release().is_err()); // nobody has it
/// assert_eq!(semaphore.value(), 1);
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BoundedSemaphore(Handle<SemaphoreBody, Bounded>);

/// Tells a handle of the one from that of the other.
pub(super) enum Unbounded {}
pub(super) enum Bounded {}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`], which is given back when this is dropped.
///
/// It can be given to another thread. Do not use [`mem::forget`](std::mem::forget) to keep it: what this process owes then
/// is given back at its end, in addition to what others [`release`](Semaphore::release).
/// [`forget`](Self::forget) is what gives it away.
///
/// # Examples
///
/// ```
/// let semaphore = mp::Semaphore::new(1)?;
/// {
///     let _permit: mp::SemaphorePermit<'_> = semaphore.acquire()?;
///     assert_eq!(semaphore.value(), 0);
/// }
/// assert_eq!(semaphore.value(), 1);
/// # Ok::<(), mp::Error>(())
/// ```
#[must_use = "the permit is given back at once if it is not kept"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a SemaphoreBody,
    arena: &'static Arena,
    debt: &'a AtomicU64,
    /// Who acquired it: what a copy of that process has of it is no permit.
    owner: Identity,
}

impl SemaphorePermit<'_> {
    /// Takes the permit out of the semaphore for good. It comes back when somebody calls
    /// [`release`](Semaphore::release), in whatever process, and not when this process dies.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::Semaphore::new(1)?;
    /// semaphore.acquire()?.forget();
    /// assert_eq!(semaphore.value(), 0);
    /// semaphore.release()?;
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn forget(self) {
        if self.owner == self.arena.identity() {
            let mut tx = self.arena.begin();
            tx.add(self.debt, -1);
            tx.commit();
        }
        std::mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if self.owner != self.arena.identity() {
            return;
        }
        let mut tx = self.arena.begin();
        self.semaphore.give(&mut tx, 1);
        tx.add(self.debt, -1);
        tx.commit();
        self.semaphore.signal.notify();
    }
}

impl SemaphoreBody {
    /// Adds permits, up to the bound: what was released by somebody else while its owner had it does not count twice.
    fn give(&self, tx: &mut Tx<'_>, permits: u64) {
        let value = self.value.load(Ordering::Relaxed);
        tx.set(&self.value, value.saturating_add(permits).min(self.bound));
    }

    fn release(&self, arena: &Arena) -> Result<(), ReleaseError> {
        let mut tx = arena.begin();
        if self.value.load(Ordering::Relaxed) >= self.bound {
            return Err(ReleaseError {
                bound: self.bound as usize,
            });
        }
        self.give(&mut tx, 1);
        tx.commit();
        self.signal.notify();
        Ok(())
    }
}

/// What both do.
pub(super) trait Permits {
    type Types;

    fn handle(&self) -> &Handle<SemaphoreBody, Self::Types>;

    fn try_take(&self, deadline: Option<Instant>) -> Option<SemaphorePermit<'_>> {
        let handle = self.handle();
        let (semaphore, arena) = (handle.body(), handle.arena());
        // Without a transaction, which others may be waiting for.
        if semaphore.value.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut tx = arena.begin_by(deadline)?;
        if semaphore.value.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let debt = handle.debt();
        tx.add(&semaphore.value, -1);
        tx.add(debt, 1);
        tx.commit();
        Some(SemaphorePermit {
            semaphore,
            arena,
            debt,
            owner: arena.identity(),
        })
    }

    fn take(&self, deadline: Option<Instant>) -> Option<SemaphorePermit<'_>> {
        let signal = &self.handle().body().signal;
        let mut patience = Patience::default();
        let mut looked = None;
        loop {
            if let Some(permit) = self.try_take(deadline) {
                return Some(permit);
            }
            if patience.wait() {
                continue;
            }
            let announced = signal.announce();
            if let Some(permit) = self.try_take(deadline) {
                return Some(permit);
            }
            let since = *looked.get_or_insert_with(Instant::now);
            let in_time = signal.sleep(announced, deadline);
            if !in_time || since.elapsed() >= PATIENT {
                looked = None;
                self.collect(deadline);
            }
            if !in_time {
                return self.try_take(deadline);
            }
        }
    }

    /// The word that changes when there is a permit, and what it holds until then.
    fn announced_word(&self) -> (&AtomicU32, u32) {
        self.handle().body().signal.announced_word()
    }

    /// Takes back the permits of dead processes.
    fn collect(&self, deadline: Option<Instant>) {
        let handle = self.handle();
        // What a stopped process is in the middle of is not waited for.
        if handle.arena().begin_by(deadline).is_none() {
            return;
        }
        if handle.arena().collect_debts(handle.body_offset()) {
            handle.body().signal.notify();
        }
    }
}

impl Permits for Semaphore {
    type Types = Unbounded;

    fn handle(&self) -> &Handle<SemaphoreBody, Unbounded> {
        &self.0
    }
}

impl Permits for BoundedSemaphore {
    type Types = Bounded;

    fn handle(&self) -> &Handle<SemaphoreBody, Bounded> {
        &self.0
    }
}

fn create<T>(value: usize, bound: usize) -> Result<Handle<SemaphoreBody, T>> {
    // SAFETY: the closure writes the whole body.
    unsafe {
        Handle::create(size_of::<SemaphoreBody>(), |place: *mut SemaphoreBody| {
            place.write(SemaphoreBody {
                value: AtomicU64::new(value as u64),
                bound: bound as u64,
                signal: Signal::new(),
            });
        })
    }
}

impl Semaphore {
    /// Makes a semaphore with so many permits.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::Semaphore::new(3)?.value(), 3);
    /// assert!(mp::Semaphore::new(0)?.try_acquire().is_err()); // until somebody releases
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new(permits: usize) -> Result<Self> {
        create(permits, usize::MAX).map(Self)
    }

    /// Waits for a permit.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::Semaphore::new(0)?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| semaphore.release().unwrap());
    ///     let _permit = semaphore.acquire().unwrap();
    ///     assert_eq!(semaphore.value(), 0);
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(None).ok_or(AcquireError::TimedOut)
    }

    /// Takes a permit if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::Semaphore::new(1)?;
    /// let _permit = semaphore.try_acquire()?;
    /// assert_eq!(semaphore.try_acquire().err(), Some(mp::AcquireError::WouldBlock));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::WouldBlock`] when there is none.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.try_take(None).ok_or(AcquireError::WouldBlock)
    }

    /// Waits for a permit for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = mp::Semaphore::new(1)?;
    /// let _permit = semaphore.acquire_timeout(Duration::ZERO)?;
    /// let late = semaphore.acquire_timeout(Duration::from_millis(1));
    /// assert_eq!(late.err(), Some(mp::AcquireError::TimedOut));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(deadline_after(timeout))
            .ok_or(AcquireError::TimedOut)
    }

    /// Adds a permit, which the caller need not have had.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::Semaphore::new(0)?;
    /// semaphore.release()?;
    /// assert!(semaphore.try_acquire().is_ok());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReleaseError`] when there are [`usize::MAX`] already.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.0.body().release(self.0.arena())
    }

    /// Returns how many permits there are to take, at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::Semaphore::new(2)?;
    /// let _permit = semaphore.acquire()?;
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "get_value")]
    pub fn value(&self) -> usize {
        self.0.body().value.load(Ordering::Acquire) as usize
    }
}

impl BoundedSemaphore {
    /// Makes a semaphore with so many permits, which it never has more of.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::BoundedSemaphore::new(3)?;
    /// assert_eq!(semaphore.value(), 3);
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
    /// When `permits` is 0: nobody could ever take or give one.
    pub fn new(permits: usize) -> Result<Self> {
        assert!(
            permits > 0,
            "a bounded semaphore of 0 permits could never give one; use at least 1, or Semaphore::new(0)"
        );
        create(permits, permits).map(Self)
    }

    /// Waits for a permit.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::BoundedSemaphore::new(1)?;
    /// let permit = semaphore.acquire()?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| semaphore.acquire().is_ok());
    ///     drop(permit);
    ///     assert!(other.join().unwrap());
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(None).ok_or(AcquireError::TimedOut)
    }

    /// Takes a permit if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::BoundedSemaphore::new(1)?;
    /// let _permit = semaphore.try_acquire()?;
    /// assert_eq!(semaphore.try_acquire().err(), Some(mp::AcquireError::WouldBlock));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::WouldBlock`] when there is none.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.try_take(None).ok_or(AcquireError::WouldBlock)
    }

    /// Waits for a permit for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = mp::BoundedSemaphore::new(1)?;
    /// let _permit = semaphore.acquire_timeout(Duration::ZERO)?;
    /// let late = semaphore.acquire_timeout(Duration::from_millis(1));
    /// assert_eq!(late.err(), Some(mp::AcquireError::TimedOut));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::TimedOut`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take(deadline_after(timeout))
            .ok_or(AcquireError::TimedOut)
    }

    /// Adds a permit, which the caller need not have had: most likely one that was
    /// [forgotten](SemaphorePermit::forget).
    ///
    /// One that somebody still has can be released, too, as in Python; it is not given back a second time then.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::BoundedSemaphore::new(1)?;
    /// semaphore.acquire()?.forget();
    /// semaphore.release()?;
    /// assert_eq!(semaphore.release().unwrap_err().bound(), 1);
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReleaseError`] when all permits are there; nothing changes then.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.0.body().release(self.0.arena())
    }

    /// Returns how many permits there are to take, at some moment during the call.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = mp::BoundedSemaphore::new(2)?;
    /// let _permit = semaphore.acquire()?;
    /// assert_eq!(semaphore.value(), 1);
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "get_value")]
    pub fn value(&self) -> usize {
        self.0.body().value.load(Ordering::Acquire) as usize
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("value", &self.value())
            .finish()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("value", &self.value())
            .field("bound", &self.0.body().bound)
            .finish()
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SemaphorePermit")
    }
}
