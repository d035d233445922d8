//! The sockets of this process's connections, and of its fork servers.
//!
//! # Safety
//!
//! One thing is `unsafe`: to let the descriptors of others lead elsewhere. They are those of [`Socket`]s, for whom a socket
//! without a peer is as good as another.

#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashSet;

use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// A socket that is of no use in a copy of this process.
pub(crate) struct Socket(OwnedFd);

/// The numbers of all of them; `None` stands for none.
static OPEN: Mutex<Option<FxHashSet<i32>>> = Mutex::new(None);

fn open() -> MutexGuard<'static, Option<FxHashSet<i32>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let number = sys::fd_number(fd.as_fd());
        open().get_or_insert_default().insert(number);
        Self(fd)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Before it is closed, and the number another one's.
        if let Some(open) = &mut *open() {
            open.remove(&sys::fd_number(self.0.as_fd()));
        }
    }
}

/// In a copy of a process: lets its original's connections lead nowhere, so that the copy does not keep their peers from seeing
/// the end of the original.
pub(crate) fn cut_off() {
    let open = open();
    let Some(numbers) = open.as_ref().filter(|numbers| !numbers.is_empty()) else {
        return;
    };
    let Ok((dead, peer)) = sys::packet_pair() else {
        return;
    };
    drop(peer);
    for number in numbers {
        // SAFETY: the number of a socket that lives, whose owner finds that its peer is gone.
        let _ = unsafe { sys::redirect(*number, dead.as_fd()) };
    }
}
