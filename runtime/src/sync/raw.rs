//! The lock that all locks here are made of: a robust mutex that knows who owns it and where it was created.
//!
//! | word | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `mutex` | the C library's: the owner's thread, or none | by its functions | the kernel marks it; the next owner is told |
//! | `owner`, `pid` | the owning process, 0 when nobody is known to own the lock | the owner, after acquiring and before releasing | they tell the next owner who died; 0 if death came between mutex and word |

use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::deadlock;
use super::wait::Patience;
use crate::arena::Arena;
use crate::error::{DeadOwner, LockError, OwnedByTheDead};
use crate::sys::{self, Acquired, MutexError, RobustMutex};

#[repr(C)]
pub(crate) struct RawLock {
    pub(super) mutex: RobustMutex,
    /// The serial number of the record of the process that owns the lock.
    owner: AtomicU64,
    pid: AtomicU64,
    created: Place,
}

/// Where a lock was created. Written once, before the lock is shared.
#[repr(C)]
struct Place {
    line: u32,
    column: u32,
    length: u8,
    /// The end of the file's path.
    file: [u8; 55],
}

impl Place {
    fn new(location: &Location<'_>) -> Self {
        let path = location.file().as_bytes();
        let mut file = [0; 55];
        let end = &path[path.len().saturating_sub(file.len())..];
        file[..end.len()].copy_from_slice(end);
        Self {
            line: location.line(),
            column: location.column(),
            length: end.len() as u8,
            file,
        }
    }
}

impl RawLock {
    /// Makes the lock in place.
    ///
    /// # Safety
    ///
    /// `place` is valid for writes, in the arena, and nobody uses a lock there.
    pub(crate) unsafe fn init(place: *mut Self, location: &Location<'_>) {
        // SAFETY: the caller's promise.
        unsafe {
            RobustMutex::init(&raw mut (*place).mutex);
            (&raw mut (*place).owner).write(AtomicU64::new(0));
            (&raw mut (*place).pid).write(AtomicU64::new(0));
            (&raw mut (*place).created).write(Place::new(location));
        }
    }

    /// Where the lock was created, as `file:line:column`.
    pub(super) fn created_at(&self) -> String {
        let Place {
            line,
            column,
            length,
            file,
        } = &self.created;
        let file = String::from_utf8_lossy(&file[..usize::from(*length).min(file.len())]);
        format!("{file}:{line}:{column}")
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock(
        &self,
        arena: &'static Arena,
    ) -> Result<RawGuard<'_>, LockError<RawGuard<'_>>> {
        match self.mutex.try_lock() {
            Ok(acquired) => self.acquired(arena, acquired),
            Err(_) => Err(LockError::WouldBlock),
        }
    }

    /// Waits for the lock, until `deadline` if there is one.
    ///
    /// Without a deadline, waiting that could never end is an error.
    pub(crate) fn lock(
        &self,
        arena: &'static Arena,
        deadline: Option<Instant>,
    ) -> Result<RawGuard<'_>, LockError<RawGuard<'_>>> {
        let mut patience = Patience::default();
        loop {
            match self.mutex.try_lock() {
                Ok(acquired) => return self.acquired(arena, acquired),
                // A thread that waits for itself with a deadline waits until then: the same answer comes sooner.
                Err(MutexError::AlreadyOwned) => {
                    return Err(LockError::Deadlock(deadlock::with_myself(arena, self)));
                }
                Err(_) if patience.wait() => {}
                Err(_) => break,
            }
        }
        let result = match deadline {
            Some(deadline) => self.mutex.lock_until(deadline),
            None => {
                let _waiting =
                    deadlock::Waiting::enter(arena, self).map_err(LockError::Deadlock)?;
                self.mutex.lock()
            }
        };
        match result {
            Ok(acquired) => self.acquired(arena, acquired),
            Err(MutexError::AlreadyOwned) => {
                Err(LockError::Deadlock(deadlock::with_myself(arena, self)))
            }
            Err(MutexError::Busy | MutexError::TimedOut) => Err(LockError::TimedOut),
        }
    }

    fn acquired(
        &self,
        arena: &'static Arena,
        acquired: Acquired,
    ) -> Result<RawGuard<'_>, LockError<RawGuard<'_>>> {
        let mut guard = RawGuard {
            lock: self,
            arena,
            previous: None,
            _thread: PhantomData,
        };
        if acquired == Acquired::OwnerDied {
            guard.previous = Some(self.dead_owner(arena));
        }
        let me = arena.me();
        self.owner
            .store(me.serial.load(Ordering::Relaxed), Ordering::Relaxed);
        self.pid
            .store(me.pid.load(Ordering::Relaxed), Ordering::Relaxed);
        match guard.previous {
            None => Ok(guard),
            Some(_) => Err(LockError::OwnerDied(guard)),
        }
    }

    /// The serial number of the process that owns the lock; a thread that waits has written it to all locks it owns.
    pub(super) fn owner_serial(&self) -> u64 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Whether a thread of this process owns the lock.
    pub(crate) fn is_owned_here(&self, arena: &Arena) -> bool {
        self.mutex.owner().is_some()
            && self.owner.load(Ordering::Relaxed) == arena.me().serial.load(Ordering::Relaxed)
    }

    /// Whether the calling thread owns the lock.
    pub(super) fn is_owned_by_caller(&self, arena: &Arena) -> bool {
        // The first costs nothing, and is false for most others.
        self.is_owned_here(arena) && self.mutex.owner() == Some(sys::thread_id())
    }

    /// Releases the lock.
    ///
    /// # Safety
    ///
    /// The calling thread owns it, and uses no guard of it afterwards.
    pub(super) unsafe fn unlock(&self) {
        self.owner.store(0, Ordering::Relaxed);
        self.pid.store(0, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.mutex.unlock() };
    }

    #[cold]
    fn dead_owner(&self, arena: &'static Arena) -> Box<DeadOwner> {
        let serial = self.owner.load(Ordering::Relaxed);
        let pid = self.pid.load(Ordering::Relaxed) as u32;
        Box::new(DeadOwner {
            pid: (pid != 0).then_some(pid),
            name: if serial == 0 {
                None
            } else {
                arena.name_of_process(serial)
            },
        })
    }
}

/// A lock that this thread owns.
pub(crate) struct RawGuard<'a> {
    lock: &'a RawLock,
    arena: &'static Arena,
    previous: Option<Box<DeadOwner>>,
    /// The mutex belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl<'a> RawGuard<'a> {
    /// Releases the lock, and takes it again afterwards.
    pub(crate) fn relock<R>(
        self,
        meanwhile: impl FnOnce() -> R,
    ) -> (R, Result<Self, LockError<Self>>) {
        let (lock, arena) = (self.lock, self.arena);
        drop(self);
        let result = meanwhile();
        (result, lock.lock(arena, None))
    }

    /// Keeps the lock, which is [unlocked](RawLock::unlock) by hand then; tells who died as its owner before.
    pub(super) fn keep(mut self) -> Option<Box<DeadOwner>> {
        let previous = self.previous.take();
        mem::forget(self);
        previous
    }
}

impl OwnedByTheDead for RawGuard<'_> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.previous.as_deref()
    }
}

impl Drop for RawGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: the guard exists because this thread acquired the mutex.
        unsafe { self.lock.unlock() };
    }
}
