//! The condition: waiting, with a lock released, until somebody says that something has changed.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::condition_word::ConditionWord;
use super::wait::deadline_after;
use crate::arena::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::{LockError, Result};

/// Lets processes wait, under a lock, for what others change under the same lock.
///
/// To wait releases the lock and begins to wait in one step, so that no notification is missed by one who holds the lock
/// while it looks, and to wake takes the lock again. The lock is that of any guard: of a [`Lock`](crate::Lock), of an
/// [`RLock`](crate::RLock), all of whose levels are released, of a [`Value`](crate::Value) or of an
/// [`Array`](crate::Array), which hold what one waits for. All who wait at the same time use the same lock.
///
/// A waiter may wake for no reason. That is rare, it happens after others were killed while they waited, but programs have
/// to look again: [`wait_while`](Self::wait_while) does.
///
/// A condition is a handle: clones and copies in messages are the same condition.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn produce(items: mp::Value<u32>, changed: mp::Condition) {
///     for _ in 0..3 {
///         *items.lock().unwrap() += 1;
///         changed.notify_one();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (items, changed) = (mp::Value::new(0)?, mp::Condition::new()?);
///     let process = mp::spawn!(produce, items.clone(), changed.clone())?;
///     let items = changed.wait_while(items.lock()?, |items| *items < 3)?;
///     assert_eq!(*items, 3);
///     drop(items);
///     process.join()?;
///     Ok(())
/// }
/// ```
///
/// Whoever is killed between a change and its notification notifies nobody. Wait with a timeout where that matters.
#[doc(alias = "Condvar")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(Handle<ConditionWord, ()>);

// SAFETY: `repr(C)`; atomic words.
unsafe impl Body for ConditionWord {
    const KIND: Kind = Kind::Condition;
}

inventory::submit! { Care { kind: Kind::Condition, knock, destroy: None } }

/// Wakes those whom somebody who died may have been about to wake.
fn knock(arena: &'static Arena, body: Offset) {
    // SAFETY: a condition's body, which the caller has a reference to.
    let word: &ConditionWord = unsafe { arena.at(body) };
    word.knock();
}

/// A guard that a [`Condition`] can wait with: [`LockGuard`](crate::LockGuard), [`RLockGuard`](crate::RLockGuard),
/// [`ValueGuard`](crate::ValueGuard), [`ArrayGuard`](crate::ArrayGuard).
///
/// Its `Data` is what closures look at: the value, the items, or `()` for a lock alone. No other type can implement it.
///
/// # Examples
///
/// ```
/// /// Waits for somebody to notify, under whatever lock.
/// fn wait<G: mp::ConditionGuard>(condition: &mp::Condition, guard: G) -> Result<G, mp::LockError<G>> {
///     condition.wait(guard)
/// }
///
/// let (condition, value) = (mp::Condition::new()?, mp::Value::new(7)?);
/// let guard = value.lock()?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         drop(value.lock().unwrap()); // when the other one waits
///         condition.notify_all();
///     });
///     assert_eq!(*wait(&condition, guard).unwrap(), 7);
/// });
/// # Ok::<(), mp::Error>(())
/// ```
pub trait ConditionGuard: Relock {}

impl<G: Relock> ConditionGuard for G {}

/// A guard whose lock can be released for a while. It is public by its methods only.
pub trait Relock: Sized {
    /// What the lock protects.
    type Data: ?Sized;

    /// Releases the lock, and takes it again afterwards.
    fn relock<R>(self, meanwhile: impl FnOnce() -> R) -> (R, Result<Self, LockError<Self>>);

    /// Shows what the lock protects.
    fn with_data<R>(&mut self, look: impl FnOnce(&mut Self::Data) -> R) -> R;
}

/// Whether waiting with a timeout ended because of it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (condition, lock) = (mp::Condition::new()?, mp::Lock::new()?);
/// let (_guard, result) = condition.wait_timeout(lock.lock()?, Duration::from_millis(1))?;
/// assert!(result.timed_out());
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Tells whether the time had passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (condition, ready) = (mp::Condition::new()?, mp::Value::new(1_u8)?);
    /// let looked = condition.wait_timeout_while(ready.lock()?, Duration::MAX, |ready| *ready == 0)?;
    /// assert!(!looked.1.timed_out());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condition {
    /// Makes a condition that nobody waits for.
    ///
    /// # Examples
    ///
    /// ```
    /// let condition = mp::Condition::new()?;
    /// condition.notify_all(); // nobody is there
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the shared memory is full, and
    /// [`Error::Os`](crate::Error::Os) when it cannot be made.
    pub fn new() -> Result<Self> {
        // SAFETY: the closure writes the whole body.
        let handle = unsafe {
            Handle::create(size_of::<ConditionWord>(), |place: *mut ConditionWord| {
                place.write(ConditionWord::new());
            })
        };
        Ok(Self(handle?))
    }

    /// Releases the guard's lock, waits for a notification, and takes the lock again.
    ///
    /// # Examples
    ///
    /// ```
    /// let (condition, value) = (mp::Condition::new()?, mp::Value::new(0)?);
    /// let mut guard = value.lock()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         *value.lock().unwrap() = 7; // when the other one waits
    ///         condition.notify_one();
    ///     });
    ///     while *guard == 0 {
    ///         guard = condition.wait(guard).unwrap();
    ///     }
    ///     assert_eq!(*guard, 7);
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of taking the lock again:
    ///
    /// - [`LockError::OwnerDied`] with the guard, when the last owner died while it owned the lock. It may not have
    ///   notified.
    /// - [`LockError::Deadlock`], when the owner waits for a lock that this thread owns, directly or through others. The
    ///   lock is not this thread's then; other guards that it has of an [`RLock`](crate::RLock) are without effect.
    pub fn wait<G: ConditionGuard>(&self, guard: G) -> Result<G, LockError<G>> {
        self.wait_until(guard, None).map(|(guard, _)| guard)
    }

    /// Like [`wait`](Self::wait), but waits for a notification for at most `timeout`.
    ///
    /// To take the lock again may take longer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (condition, lock) = (mp::Condition::new()?, mp::Lock::new()?);
    /// let (guard, result) = condition.wait_timeout(lock.lock()?, Duration::from_millis(1))?;
    /// assert!(result.timed_out());
    /// drop(guard);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout<G: ConditionGuard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, WaitTimeoutResult), LockError<G>> {
        self.wait_until(guard, deadline_after(timeout))
    }

    /// Waits for as long as `condition` is true of what the lock protects.
    ///
    /// # Examples
    ///
    /// ```
    /// let (changed, pair) = (mp::Condition::new()?, mp::Array::from_slice(&[0, 0])?);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         for index in 0..2 {
    ///             pair.lock().unwrap()[index] = 1;
    ///             changed.notify_all();
    ///         }
    ///     });
    ///     let guard = changed.wait_while(pair.lock().unwrap(), |pair| pair.contains(&0)).unwrap();
    ///     assert_eq!(*guard, [1, 1]);
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<G: ConditionGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> Result<G, LockError<G>> {
        while guard.with_data(&mut condition) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Like [`wait_while`](Self::wait_while), for at most `timeout`. If it [timed out](WaitTimeoutResult::timed_out),
    /// `condition` was true of the last look, which was after that time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (changed, value) = (mp::Condition::new()?, mp::Value::new(0)?);
    /// let (guard, result) =
    ///     changed.wait_timeout_while(value.lock()?, Duration::from_millis(1), |value| *value == 0)?;
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 0);
    /// # drop(guard);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout_while<G: ConditionGuard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> Result<(G, WaitTimeoutResult), LockError<G>> {
        let deadline = deadline_after(timeout);
        let mut timed_out = false;
        while guard.with_data(&mut condition) {
            if timed_out {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            let waited = self.wait_until(guard, deadline)?;
            guard = waited.0;
            timed_out = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    /// Wakes one of those who wait, if there is one.
    ///
    /// It never waits, and calls the system only when somebody is there. Whether the caller owns the lock is not
    /// important, as long as it owned it for the change.
    ///
    /// # Examples
    ///
    /// ```
    /// let (condition, turn) = (mp::Condition::new()?, mp::Value::new(0_u32)?);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..3 {
    ///         // Each takes one, and wakes the next.
    ///         scope.spawn(|| {
    ///             let guard = condition.wait_while(turn.lock().unwrap(), |turn| *turn == 0);
    ///             *guard.unwrap() -= 1;
    ///             condition.notify_one();
    ///         });
    ///     }
    ///     *turn.lock().unwrap() = 3;
    ///     condition.notify_one();
    /// });
    /// assert_eq!(turn.get()?, 0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        self.0.body().notify_one();
    }

    /// Wakes all who wait.
    ///
    /// It never waits, and calls the system only when somebody is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let (condition, open) = (mp::Condition::new()?, mp::Value::new(0_u8)?);
    /// std::thread::scope(|scope| {
    ///     for _ in 0..3 {
    ///         scope.spawn(|| {
    ///             let guard = condition.wait_while(open.lock().unwrap(), |open| *open == 0);
    ///             assert_eq!(*guard.unwrap(), 1);
    ///         });
    ///     }
    ///     *open.lock().unwrap() = 1;
    ///     condition.notify_all();
    /// });
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn notify_all(&self) {
        self.0.body().notify_all();
    }

    fn wait_until<G: ConditionGuard>(
        &self,
        guard: G,
        deadline: Option<Instant>,
    ) -> Result<(G, WaitTimeoutResult), LockError<G>> {
        let word = self.0.body();
        // Before the lock is released: whoever changes something from then on notifies this one, too.
        let ticket = word.enter();
        let (notified, relocked) = guard.relock(|| word.wait(ticket, deadline));
        Ok((relocked?, WaitTimeoutResult(!notified)))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition")
    }
}
