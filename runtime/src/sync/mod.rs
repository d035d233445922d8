//! Locks and their kin.
//!
//! Every one is a few words in the tree's shared memory. Nobody calls the system unless somebody has to sleep, and no
//! death of an owner or waiter leaves anybody waiting.

#![allow(unsafe_code)]

mod deadlock;
mod event;
mod lock;
mod raw;
mod signal;
#[cfg(test)]
mod tests;
mod wait;

pub use event::Event;
pub use lock::{Lock, LockGuard};
pub(crate) use raw::{RawGuard, RawLock};
pub(crate) use signal::Signal;
pub(crate) use wait::{Patience, deadline_after};
