//! Locks and their kin.
//!
//! Every one is a few words in the tree's shared memory. Nobody calls the system unless somebody has to sleep, and no
//! death of an owner or waiter leaves anybody waiting.
//!
//! # Safety
//!
//! Bodies of objects are made in place, of atomics and robust mutexes; a mutex is released by the guard that its owner has,
//! on the owner's thread. Blocks cite the arena's invariants (A1–A6).

#![allow(unsafe_code)]

pub(crate) mod atomic;
mod barrier;
mod barrier_word;
mod condition;
mod condition_word;
mod deadlock;
mod event;
mod event_word;
mod lock;
mod raw;
mod rlock;
mod semaphore;
mod semaphore_async;
mod signal;
#[cfg(test)]
mod tests;
mod wait;

pub use barrier::{Barrier, BarrierWaitResult};
pub(crate) use condition::Relock;
pub use condition::{Condition, ConditionGuard, WaitTimeoutResult};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub(crate) use raw::{RawGuard, RawLock};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphorePermit};
pub(crate) use signal::Signal;
pub(crate) use wait::{Patience, deadline_after};
