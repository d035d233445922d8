//! Why a lock was not acquired as expected.

use std::fmt;

use super::Error;

/// The process that died while it owned a lock.
///
/// # Examples
///
/// ```
/// use mp::OwnedByTheDead;
///
/// #[mp::process_fn]
/// fn exit_with(lock: mp::Lock) {
///     let _guard = lock.lock();
///     std::process::exit(1);
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let lock = mp::Lock::new()?;
///     let process = mp::spawn!(exit_with, lock.clone())?;
///     process.wait();
///     let Err(mp::LockError::OwnerDied(guard)) = lock.lock() else { panic!() };
///     let dead = guard.dead_owner().expect("the guard knows who died");
///     assert_eq!(dead.pid(), Some(process.id()));
///     assert!(dead.name().is_none_or(|name| name == process.name()));
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadOwner {
    pub(crate) pid: Option<u32>,
    pub(crate) name: Option<String>,
}

impl DeadOwner {
    /// Returns the id of the process that died, unless it died in the instant of taking the lock.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Returns the name of the process that died, if it is still known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for DeadOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.pid) {
            (Some(name), Some(pid)) => write!(f, "process `{name}` (pid {pid})"),
            (None, Some(pid)) => write!(f, "the process with pid {pid}"),
            _ => f.write_str("a process"),
        }
    }
}

/// A guard that knows that the lock's previous owner died.
///
/// The guards of [`Lock`](crate::Lock), [`RLock`](crate::RLock), [`Value`](crate::Value) and [`Array`](crate::Array)
/// implement it.
///
/// # Examples
///
/// ```
/// use mp::{LockError, OwnedByTheDead};
///
/// /// The guard, and whether what it protects has to be looked at.
/// fn acquired<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> Result<(G, bool), LockError<G>> {
///     let guard = locked.or_else(LockError::into_guard)?;
///     let is_suspect = guard.dead_owner().is_some();
///     Ok((guard, is_suspect))
/// }
///
/// let value = mp::Value::new(7_u32)?;
/// let (guard, is_suspect) = acquired(value.lock())?;
/// assert_eq!((*guard, is_suspect), (7, false));
/// assert!(acquired(value.try_lock()).is_err());
/// # Ok::<(), mp::Error>(())
/// ```
pub trait OwnedByTheDead {
    /// Tells who died while owning the lock, if the lock came to this guard that way.
    ///
    /// # Examples
    ///
    /// ```
    /// use mp::OwnedByTheDead;
    ///
    /// let lock = mp::Lock::new()?;
    /// assert_eq!(lock.lock()?.dead_owner(), None);
    /// # Ok::<(), mp::Error>(())
    /// ```
    fn dead_owner(&self) -> Option<&DeadOwner>;
}

/// One process of a deadlock: who waits for which lock.
///
/// [`Deadlock`] has an example with all of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsFor {
    pub(crate) process: String,
    pub(crate) pid: u32,
    pub(crate) thread: u32,
    pub(crate) lock: String,
}

impl WaitsFor {
    /// Returns the name of the waiting process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Returns the id of the waiting process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the system's id of the waiting thread.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// Tells what it waits for: the kind of lock and where it was created.
    pub fn lock(&self) -> &str {
        &self.lock
    }
}

/// A cycle of processes, each of which waits for a lock that the next one owns.
///
/// It is found by the last that comes to wait, before it waits. Its message names all of them. Release what you own
/// and try again, or better, take locks in one order everywhere.
///
/// # Examples
///
/// ```
/// let lock = mp::Lock::new()?;
/// let _guard = lock.lock()?;
/// let Err(mp::LockError::Deadlock(deadlock)) = lock.lock() else { panic!() };
///
/// // This thread waits for itself.
/// let [waiter] = deadlock.cycle() else { panic!() };
/// assert_eq!(waiter.pid(), std::process::id());
/// assert_eq!(waiter.process(), "MainProcess");
/// assert!(waiter.lock().starts_with("the lock created at "));
/// assert!(waiter.thread() > 0);
/// assert!(deadlock.to_string().contains("take locks in one order everywhere"));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    pub(crate) cycle: Vec<WaitsFor>,
}

impl Deadlock {
    /// Returns the members of the cycle, the caller first: each waits for a lock that the next one owns, the last one
    /// for a lock that the caller owns.
    pub fn cycle(&self) -> &[WaitsFor] {
        &self.cycle
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock: ")?;
        for (index, waiter) in self.cycle.iter().enumerate() {
            let WaitsFor {
                process,
                pid,
                thread,
                lock,
            } = waiter;
            let separator = if index == 0 { "" } else { ", owned by " };
            write!(
                f,
                "{separator}process `{process}` (pid {pid}, thread {thread}) waits for {lock}"
            )?;
        }
        f.write_str(
            ", owned by the first; take locks in one order everywhere, or wait with a timeout",
        )
    }
}

/// Why a lock was not acquired as expected.
///
/// # Examples
///
/// ```
/// use mp::LockError;
///
/// #[mp::process_fn]
/// fn exit_with(total: mp::Value<u64>) {
///     let _guard = total.lock();
///     std::process::exit(1);
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let total = mp::Value::new(0_u64)?;
///     mp::spawn!(exit_with, total.clone())?.wait();
///     match total.lock() {
///         Err(LockError::OwnerDied(mut guard)) => *guard = 7, // mends what may be half changed
///         other => panic!("{other:?}"),
///     }
///     assert_eq!(total.get()?, 7); // told once
///     Ok(())
/// }
/// ```
#[non_exhaustive]
pub enum LockError<G> {
    /// The previous owner died while it held the lock. The caller owns the lock now: the guard is here, and
    /// [`dead_owner`](OwnedByTheDead::dead_owner) tells who died. What the lock protects may be half changed: look,
    /// mend it, go on. It is told once; the lock is an ordinary one again afterwards.
    OwnerDied(G),
    /// Waiting would never end: the owner waits for a lock that the caller owns, directly or through others, or is the
    /// caller. Release what you own before you try again.
    Deadlock(Deadlock),
    /// The lock is owned by somebody else, or by the caller (`try_lock`).
    WouldBlock,
    /// The lock was not free in time (`lock_timeout`).
    TimedOut,
}

impl<G> LockError<G> {
    /// Returns the guard, if the error is [`OwnerDied`](Self::OwnerDied).
    ///
    /// # Examples
    ///
    /// ```
    /// let value = mp::Value::new(7_u32)?;
    /// // For data that cannot be half changed, the death of an owner does not matter.
    /// let guard = value.lock().or_else(mp::LockError::into_guard)?;
    /// assert_eq!(*guard, 7);
    /// assert!(value.try_lock().or_else(mp::LockError::into_guard).is_err());
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Gives the error back if there is no guard in it.
    pub fn into_guard(self) -> Result<G, Self> {
        match self {
            LockError::OwnerDied(guard) => Ok(guard),
            other => Err(other),
        }
    }

    /// The same error with another guard.
    #[inline]
    pub(crate) fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            LockError::OwnerDied(guard) => LockError::OwnerDied(change(guard)),
            LockError::Deadlock(deadlock) => LockError::Deadlock(deadlock),
            LockError::WouldBlock => LockError::WouldBlock,
            LockError::TimedOut => LockError::TimedOut,
        }
    }
}

impl<G: OwnedByTheDead> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(guard) => match guard.dead_owner() {
                Some(owner) => write!(
                    f,
                    "the lock was acquired from {owner}, which died while it owned it; what it protects may be half changed"
                ),
                None => {
                    f.write_str("the lock was acquired from a process that died while it owned it")
                }
            },
            LockError::Deadlock(deadlock) => deadlock.fmt(f),
            LockError::WouldBlock => f.write_str("the lock is owned by another thread or process"),
            LockError::TimedOut => f.write_str("the lock was not released in time"),
        }
    }
}

impl<G: OwnedByTheDead> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            LockError::OwnerDied(_) => "OwnerDied",
            LockError::Deadlock(_) => "Deadlock",
            LockError::WouldBlock => "WouldBlock",
            LockError::TimedOut => "TimedOut",
        };
        write!(f, "{variant}({self})")
    }
}

impl<G: OwnedByTheDead> std::error::Error for LockError<G> {}

impl<G: OwnedByTheDead> From<LockError<G>> for Error {
    fn from(error: LockError<G>) -> Self {
        Error::Lock(error.to_string())
    }
}
