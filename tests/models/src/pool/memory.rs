//! Memory that nothing orders but the words under test.
//!
//! # Safety
//!
//! `Memory` says that threads may share it, although they may not use it at a time: to find those that do is what it is for,
//! and there is nothing in the cell.

#![allow(unsafe_code)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};

/// A number. A thread that reads it while another one may write it ends the model.
pub(super) struct Memory {
    uses: UnsafeCell<()>,
    number: AtomicU32,
}

// SAFETY: the cell is empty, and nothing is read or written through it.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new(number: u32) -> Self {
        Self {
            uses: UnsafeCell::new(()),
            number: AtomicU32::new(number),
        }
    }

    pub(super) fn read(&self) -> u32 {
        self.uses.with(|_| self.number.load(Ordering::Relaxed))
    }

    pub(super) fn write(&self, number: u32) {
        self.uses
            .with_mut(|_| self.number.store(number, Ordering::Relaxed));
    }
}
