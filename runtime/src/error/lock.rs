//! Why a lock was not acquired as expected.

use std::fmt;

use super::Error;

/// The process that died while it owned a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadOwner {
    pub(crate) pid: Option<u32>,
    pub(crate) name: Option<String>,
}

impl DeadOwner {
    /// The id of the process that died, unless it died in the instant of taking the lock.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The name of the process that died, if it is still known.
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
pub trait OwnedByTheDead {
    /// Who died while owning the lock, if the lock came to this guard that way.
    fn dead_owner(&self) -> Option<&DeadOwner>;
}

/// One process of a deadlock: who waits for which lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsFor {
    pub(crate) process: String,
    pub(crate) pid: u32,
    pub(crate) thread: u32,
    pub(crate) lock: String,
}

impl WaitsFor {
    /// The name of the waiting process.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The id of the waiting process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The system's id of the waiting thread.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// What it waits for: the kind of lock and where it was created.
    pub fn lock(&self) -> &str {
        &self.lock
    }
}

/// A cycle of processes, each of which waits for a lock that the next one owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    pub(crate) cycle: Vec<WaitsFor>,
}

impl Deadlock {
    /// The members of the cycle, the caller first: each waits for a lock that the next one owns, the last one for a lock
    /// that the caller owns.
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
#[non_exhaustive]
pub enum LockError<G> {
    /// The previous owner died while it held the lock. The caller owns the lock now: the guard is here, and
    /// [`dead_owner`](OwnedByTheDead::dead_owner) tells who died. What the lock protects may be half changed.
    OwnerDied(G),
    /// Waiting would never end: the owner waits for a lock that the caller owns, directly or through others.
    Deadlock(Deadlock),
    /// The lock is owned by somebody else (`try_lock`).
    WouldBlock,
    /// The lock was not free in time (`lock_timeout`).
    TimedOut,
}

impl<G> LockError<G> {
    /// The guard, if the error is [`OwnerDied`](Self::OwnerDied).
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
