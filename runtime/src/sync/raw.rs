//! The lock that all locks here are made of: a robust mutex that knows who owns it and where it was created.
//!
//! | word | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `mutex` | the C library's: the owner's thread, or none | by its functions | the kernel marks it; the next owner is told |
//! | `owner` | the [`Identity`] of the owning process, or nobody's when none is known | the owner, after acquiring and before releasing | it tells the next owner who died; nobody if death came between mutex and word |
//!
//! To take a free lock and to release it costs little more than the two calls of the C library. For that a guard is one
//! word, which is returned and dropped in a register.

use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::deadlock;
use super::wait::Patience;
use crate::arena::{self, Arena, Identity};
use crate::error::{DeadOwner, LockError, OwnedByTheDead};
use crate::sys::{self, Acquired, MutexError, RobustMutex};

#[repr(C)]
pub(crate) struct RawLock {
    pub(super) mutex: RobustMutex,
    /// The [`Identity`] of the process that owns the lock.
    owner: AtomicU64,
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
    #[inline]
    pub(crate) fn try_lock(&self, arena: &'static Arena) -> RawResult<'_> {
        match self.mutex.try_lock() {
            Ok(Acquired::Clean) => Ok(self.own(arena)),
            Ok(Acquired::OwnerDied) => Err(self.inherit(arena)),
            Err(_) => Err(LockError::WouldBlock),
        }
    }

    /// Waits for the lock, until `deadline` if there is one.
    ///
    /// Without a deadline, waiting that could never end is an error.
    #[inline]
    pub(crate) fn lock(&self, arena: &'static Arena, deadline: Option<Instant>) -> RawResult<'_> {
        match self.mutex.try_lock() {
            Ok(Acquired::Clean) => Ok(self.own(arena)),
            Ok(Acquired::OwnerDied) => Err(self.inherit(arena)),
            // A thread that waits for itself with a deadline waits until then: the same answer comes sooner.
            Err(MutexError::AlreadyOwned) => {
                Err(LockError::Deadlock(deadlock::with_myself(arena, self)))
            }
            Err(_) => self.wait(arena, deadline),
        }
    }

    /// Waits for a lock that somebody else owns.
    #[cold]
    fn wait(&self, arena: &'static Arena, deadline: Option<Instant>) -> RawResult<'_> {
        let mut patience = Patience::default();
        while patience.wait() {
            // To look costs less than to try, for the owner too.
            if self.mutex.is_free()
                && let Ok(acquired) = self.mutex.try_lock()
            {
                return self.acquired(arena, acquired);
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
            Err(_) => Err(LockError::TimedOut),
        }
    }

    fn acquired(&self, arena: &'static Arena, acquired: Acquired) -> RawResult<'_> {
        match acquired {
            Acquired::Clean => Ok(self.own(arena)),
            Acquired::OwnerDied => Err(self.inherit(arena)),
        }
    }

    #[inline]
    fn own(&self, arena: &'static Arena) -> RawGuard<'_> {
        self.owner.store(arena.identity().0, Ordering::Relaxed);
        RawGuard {
            owned: NonNull::from(self).cast(),
            _lock: PhantomData,
        }
    }

    #[cold]
    fn inherit(&self, arena: &'static Arena) -> LockError<RawGuard<'_>> {
        let from = self.dead_owner(arena);
        mem::forget(self.own(arena));
        let inherited = Box::new(Inherited { lock: self, from });
        let owned = NonNull::from(Box::leak(inherited)).cast::<u8>();
        LockError::OwnerDied(RawGuard {
            owned: owned.map_addr(|address| address | INHERITED),
            _lock: PhantomData,
        })
    }

    fn dead_owner(&self, arena: &'static Arena) -> DeadOwner {
        let owner = Identity(self.owner.load(Ordering::Relaxed));
        let is_known = owner != Identity::NOBODY;
        DeadOwner {
            pid: is_known.then_some(owner.id()),
            name: is_known
                .then(|| arena.name_of_process(owner.serial()))
                .flatten(),
        }
    }

    /// The process that owns the lock; a thread that waits has written it to all locks it owns.
    pub(super) fn owner(&self) -> Identity {
        Identity(self.owner.load(Ordering::Relaxed))
    }

    /// Whether a thread of this process owns the lock.
    pub(crate) fn is_owned_here(&self, arena: &Arena) -> bool {
        self.owner() == arena.identity() && self.mutex.owner().is_some()
    }

    /// Takes the lock if it is free; `None` when the calling thread owns it already.
    pub(super) fn try_lock_again(
        &self,
        arena: &'static Arena,
    ) -> Result<Option<RawGuard<'_>>, LockError<RawGuard<'_>>> {
        match self.mutex.try_lock() {
            Ok(acquired) => self.acquired(arena, acquired).map(Some),
            Err(MutexError::AlreadyOwned) => Ok(None),
            // Not every C library says so when it need not wait.
            Err(_) if self.is_owned_by_caller(arena) => Ok(None),
            Err(_) => Err(LockError::WouldBlock),
        }
    }

    fn is_owned_by_caller(&self, arena: &Arena) -> bool {
        // The first costs no system call, and is false for the threads of other processes.
        self.is_owned_here(arena) && self.mutex.owner() == Some(sys::thread_id())
    }

    /// Releases the lock.
    ///
    /// # Safety
    ///
    /// The calling thread owns it, and uses no guard of it afterwards.
    #[inline]
    pub(super) unsafe fn unlock(&self) {
        self.owner.store(Identity::NOBODY.0, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.mutex.unlock() };
    }
}

/// What a lock operation gives.
pub(crate) type RawResult<'a> = Result<RawGuard<'a>, LockError<RawGuard<'a>>>;

/// A lock that this thread owns.
///
/// | `owned` | meaning |
/// |---|---|
/// | the address of a [`RawLock`] | the lock was acquired as usual |
/// | the address of an [`Inherited`], and [`INHERITED`] | its previous owner died; the guard owns the box |
pub(crate) struct RawGuard<'a> {
    owned: NonNull<u8>,
    /// The mutex belongs to the thread.
    _lock: PhantomData<(&'a RawLock, *const ())>,
}

/// Locks and boxes lie at multiples of 8.
const INHERITED: usize = 1;

/// A lock whose previous owner died.
struct Inherited<'a> {
    lock: &'a RawLock,
    from: DeadOwner,
}

impl<'a> RawGuard<'a> {
    /// Releases the lock, and takes it again afterwards.
    pub(crate) fn relock<R>(
        self,
        meanwhile: impl FnOnce() -> R,
    ) -> (R, Result<Self, LockError<Self>>) {
        let lock = self.lock();
        drop(self);
        let result = meanwhile();
        let arena =
            arena::arena().unwrap_or_else(|error| unreachable!("a lock is in the arena: {error}"));
        (result, lock.lock(arena, None))
    }

    /// Keeps the lock, which is [unlocked](RawLock::unlock) by hand then; tells who died as its owner before.
    pub(super) fn keep(self) -> Option<Box<DeadOwner>> {
        let previous = self.dead_owner().cloned().map(Box::new);
        // SAFETY: the guard is forgotten.
        unsafe { self.free_inherited() };
        mem::forget(self);
        previous
    }

    #[inline]
    fn lock(&self) -> &'a RawLock {
        match self.inherited() {
            None => {
                // SAFETY: see the table; the lock is borrowed for 'a.
                unsafe { self.owned.cast().as_ref() }
            }
            Some(inherited) => inherited.lock,
        }
    }

    #[inline]
    fn inherited(&self) -> Option<&Inherited<'a>> {
        if self.owned.addr().get() & INHERITED == 0 {
            return None;
        }
        // SAFETY: see the table; the box lives as long as the guard.
        Some(unsafe { self.inherited_place().as_ref() })
    }

    fn inherited_place(&self) -> NonNull<Inherited<'a>> {
        // The address of a box is not 0 without the bit either.
        let place = self.owned.as_ptr().map_addr(|address| address & !INHERITED);
        NonNull::new(place).unwrap_or(self.owned).cast()
    }

    /// # Safety
    ///
    /// The guard is not used afterwards.
    #[inline]
    unsafe fn free_inherited(&self) {
        if self.inherited().is_some() {
            // SAFETY: made by `Box::leak` in `inherit`, and freed once.
            drop(unsafe { Box::from_raw(self.inherited_place().as_ptr()) });
        }
    }
}

impl OwnedByTheDead for RawGuard<'_> {
    fn dead_owner(&self) -> Option<&DeadOwner> {
        self.inherited().map(|inherited| &inherited.from)
    }
}

impl Drop for RawGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock();
        // SAFETY: the guard is being dropped; it exists because this thread acquired the mutex.
        unsafe {
            self.free_inherited();
            lock.unlock();
        }
    }
}
