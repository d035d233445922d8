//! Handles: what a process has of an object.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, Weak};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::object::{HEADER, KindWord};
use super::{Arena, Incoming, Kind, Links, Offset, Outgoing, Tx, arena};
use crate::error::Result;

/// The body of a kind of object.
///
/// # Safety
///
/// The type is `repr(C)` and made of atomics, locks and cells that these guard, so that processes may share it (A2).
pub(crate) unsafe trait Body: 'static {
    const KIND: Kind;

    /// Whether this process still uses the object though it has no handle of it any more: a guard of its lock was
    /// forgotten ([`std::mem::forget`]), so that the C library and the kernel know the lock. Then the object stays for as
    /// long as the process lives.
    fn is_pinned(&self, _arena: &Arena) -> bool {
        false
    }
}

/// A reference to an object with body `B`, made for the types `T`. Clones share one hold.
pub(crate) struct Handle<B, T> {
    held: Arc<Held>,
    _types: PhantomData<fn() -> (B, T)>,
}

/// The hold of this process on an object.
pub(crate) struct Held {
    arena: &'static Arena,
    object: Offset,
    serial: u64,
    /// Where the hold is in the list of this process's record. A copy of a process has holds of its own.
    hold: AtomicU64,
    is_pinned: fn(&Arena, object: Offset) -> bool,
}

impl Held {
    /// Where the object is.
    pub(super) fn place(&self) -> Offset {
        self.object
    }

    fn hold(&self) -> Offset {
        Offset(self.hold.load(Ordering::Relaxed))
    }
}

/// A process's hold on an object, in the list of the process's record.
#[repr(C)]
pub(super) struct Hold {
    links: Links,
    pub(super) object: AtomicU64,
    /// What the process owes to the object: see [`debt`](super::debt).
    pub(super) debt: AtomicU64,
}

/// Why a handle in a message is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandleError(String);

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<B: Body, T> Handle<B, T> {
    /// Makes an object whose body has `bytes`, at least those of a `B`, and is initialised by `init`.
    ///
    /// # Safety
    ///
    /// `init` makes a valid `B` at the place it is given, aligned to 64 bytes.
    pub(crate) unsafe fn create(bytes: usize, init: impl FnOnce(*mut B)) -> Result<Self> {
        debug_assert!(bytes >= size_of::<B>());
        let arena = arena()?;
        let mut tx = arena.begin();
        let object = tx.new_object(bytes as u64)?;
        let hold = tx.new_hold(object)?;
        tx.commit();
        let serial = arena.header(object).serial.load(Ordering::Relaxed);
        let mut held = Held {
            arena,
            object,
            serial,
            hold: AtomicU64::new(hold.0),
            is_pinned: |_, _| false,
        };
        // The body is this process's alone until the handle leaves it. Should it die before, or `init` panic, the object has
        // no kind yet, and is freed without a look at its body.
        init(
            arena
                .pointer(object.plus(HEADER), bytes as u64)
                .as_ptr()
                .cast(),
        );
        arena.finish(object, Self::kind());
        held.is_pinned = is_pinned::<B>;
        Ok(Self::hold(arena, held))
    }

    /// The handle of the object that a message says is at `object`.
    fn arrive(object: Offset, serial: u64) -> std::result::Result<Self, HandleError> {
        let arena = arena().map_err(|error| HandleError(error.to_string()))?;
        // A statement of its own: the table must be unlocked when `held` is dropped.
        let held = arena.held().get(&object).and_then(Weak::upgrade);
        if let Some(held) = held
            && held.serial == serial
            && arena.checked_kind(object, serial) == Some(Self::kind())
        {
            return Ok(Self {
                held,
                _types: PhantomData,
            });
        }
        let mut tx = arena.begin();
        match arena.checked_kind(object, serial) {
            Some(kind) if kind == Self::kind() => {}
            Some(kind) if kind.describe() != B::KIND.describe() => {
                return Err(HandleError(format!(
                    "the handle in the message is that of {}, where {} is wanted",
                    kind.describe(),
                    B::KIND.describe(),
                )));
            }
            Some(kind) => {
                return Err(HandleError(format!(
                    "the handle in the message is that of {} of other types, where `{}` is wanted; sender and receiver must \
                     name the same types",
                    kind.describe(),
                    std::any::type_name::<T>(),
                )));
            }
            None => {
                return Err(HandleError(format!(
                    "the message's handle of {} does not name a living object of this tree of processes: its bytes were altered, or \
                 it was kept outside of mp's messages",
                    B::KIND.describe(),
                )));
            }
        }
        tx.refer(object);
        let hold = tx
            .new_hold(object)
            .map_err(|error| HandleError(error.to_string()))?;
        tx.commit();
        Ok(Self::hold(
            arena,
            Held {
                arena,
                object,
                serial,
                hold: AtomicU64::new(hold.0),
                is_pinned: is_pinned::<B>,
            },
        ))
    }

    /// Enters a new hold into the table that later arrivals of the same object find it by.
    fn hold(arena: &'static Arena, held: Held) -> Self {
        let object = held.object;
        let held = Arc::new(held);
        arena.held().insert(object, Arc::downgrade(&held));
        Self {
            held,
            _types: PhantomData,
        }
    }

    fn kind() -> KindWord {
        KindWord::new(B::KIND, std::any::type_name::<T>())
    }

    /// The hold that this handle and its clones share.
    pub(super) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Whether this handle is of the object that `held` is on.
    pub(crate) fn is_of(&self, held: &Held) -> bool {
        self.held.object == held.object
    }

    #[inline]
    pub(crate) fn arena(&self) -> &'static Arena {
        self.held.arena
    }

    /// The object's body.
    #[inline]
    pub(crate) fn body(&self) -> &B {
        // SAFETY: initialised before the first handle existed, alive while this one does (A4), and a `B` (A6).
        unsafe { self.held.arena.at(self.body_offset()) }
    }

    /// What this process owes to the object (see [`Debts`](super::Debts)): changed in transactions only.
    pub(crate) fn debt(&self) -> &AtomicU64 {
        self.held.arena.debt_of(self.held.hold())
    }

    /// Where the object's body is.
    pub(crate) fn body_offset(&self) -> Offset {
        self.held.object.plus(HEADER)
    }
}

fn is_pinned<B: Body>(arena: &Arena, object: Offset) -> bool {
    // SAFETY: called for an object with such a body, before its hold is given up (A4).
    unsafe { arena.at::<B>(object.plus(HEADER)) }.is_pinned(arena)
}

impl Arena {
    fn held(&self) -> MutexGuard<'_, FxHashMap<Offset, Weak<Held>>> {
        self.held
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.arena.held();
        // Another arrival of the same object may have entered its own hold in the meantime.
        if held
            .get(&self.object)
            .is_some_and(|entry| entry.strong_count() == 0)
        {
            held.remove(&self.object);
        }
        drop(held);
        if (self.is_pinned)(self.arena, self.object) || !self.arena.settle_debt(self.hold()) {
            return;
        }
        let mut tx = self.arena.begin();
        tx.drop_hold(self.hold());
        tx.commit();
        self.arena.settle();
    }
}

impl Tx<'_> {
    /// Enters a hold on `object`, whose reference is counted already, into this process's record.
    fn new_hold(&mut self, object: Offset) -> Result<Offset> {
        self.new_hold_in(&self.arena.me().holds, object)
    }

    /// The same, into the list of holds of another process.
    fn new_hold_in(&mut self, holds: &AtomicU64, object: Offset) -> Result<Offset> {
        let place = self.allocate(size_of::<Hold>() as u64)?;
        let hold = self.arena.hold_at(place);
        self.set(&hold.object, object.0);
        self.set(&hold.debt, 0);
        self.link(holds, place);
        Ok(place)
    }

    /// Gives up a hold and its reference.
    pub(super) fn drop_hold(&mut self, hold: Offset) {
        let object = self.arena.object_of_hold(hold);
        self.unlink(hold);
        self.free(hold, false);
        self.release(object);
    }
}

impl Arena {
    /// Gives a process that is about to begin as a copy of this one a hold on each object that this one has a hold on.
    /// `false` if nobody wants it to begin any more.
    ///
    /// # Errors
    ///
    /// When the arena has no room.
    pub(crate) fn bequeath_holds(&self, heir: Offset, serial: u64) -> Result<bool> {
        let held: Vec<_> = self.held().values().filter_map(Weak::upgrade).collect();
        for held in held {
            let mut tx = self.begin();
            let Some(record) = tx.ordered(heir, serial) else {
                return Ok(false);
            };
            tx.refer(held.object);
            tx.new_hold_in(&record.holds, held.object)?;
            tx.commit();
        }
        Ok(true)
    }

    /// In a copy, which has its own record as of now: lets its handles have the holds that it was given.
    pub(super) fn inherit_holds(&self) {
        let held = self.held();
        let tx = self.begin();
        let holds = tx.nodes(&self.me().holds);
        let holds: FxHashMap<Offset, Offset> = holds
            .map(|hold| (self.object_of_hold(hold), hold))
            .collect();
        for held in held.values().filter_map(Weak::upgrade) {
            if let Some(hold) = holds.get(&held.object) {
                held.hold.store(hold.0, Ordering::Relaxed);
            }
        }
    }

    /// The object that a hold is on.
    pub(super) fn object_of_hold(&self, hold: Offset) -> Offset {
        Offset(self.hold_at(hold).object.load(Ordering::Relaxed))
    }

    pub(super) fn hold_at(&self, place: Offset) -> &Hold {
        // SAFETY: four words anywhere in the arena are a valid hold; `at` checks the bounds (A1, A2).
        unsafe { self.at(place) }
    }
}

impl<B, T> Clone for Handle<B, T> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
            _types: PhantomData,
        }
    }
}

/// In a message a handle is its object's place and serial number; the message keeps the object alive.
impl<B: Body, T> Serialize for Handle<B, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Held { object, serial, .. } = *self.held;
        Outgoing::refer(&self.held).map_err(|reason| {
            ser::Error::custom(format_args!("{} {reason}", B::KIND.describe()))
        })?;
        (object.0, serial).serialize(serializer)
    }
}

impl<'de, B: Body, T> Deserialize<'de> for Handle<B, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (object, serial) = Deserialize::deserialize(deserializer)?;
        if !Incoming::is_open() {
            return Err(de::Error::custom(format_args!(
                "{} can be received only in a message of its tree of processes",
                B::KIND.describe()
            )));
        }
        Self::arrive(Offset(object), serial).map_err(de::Error::custom)
    }
}
