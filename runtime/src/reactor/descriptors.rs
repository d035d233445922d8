//! Watching descriptors.

use std::io;
use std::sync::{Mutex, OnceLock};
use std::task::Waker;

use rustc_hash::FxHashMap;

use super::{lock, wake};
use crate::sys::{self, AsFd, PollSet};

/// Wakes a task when a descriptor is readable, or its peer gone.
///
/// It has the descriptor, or borrows it: what is watched is open.
#[derive(Debug)]
pub(crate) struct FdWatch<F: AsFd> {
    fd: F,
    id: u64,
}

/// The descriptors that are watched.
struct Descriptors {
    set: PollSet,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    next_id: u64,
    /// By the numbers of the descriptors.
    by_number: FxHashMap<i32, Vec<(u64, Waker)>>,
}

static DESCRIPTORS: OnceLock<Descriptors> = OnceLock::new();

impl<F: AsFd> FdWatch<F> {
    pub(crate) fn new(fd: F, waker: Waker) -> io::Result<Self> {
        let descriptors = Descriptors::get()?;
        let number = sys::fd_number(fd.as_fd());
        let mut wakers = lock(&descriptors.wakers);
        // Under the lock, so that the thread finds the waker when it finds the descriptor.
        descriptors.set.add(fd.as_fd())?;
        wakers.next_id += 1;
        let id = wakers.next_id;
        let waiting = wakers.by_number.entry(number).or_default();
        waiting.push((id, waker));
        Ok(Self { fd, id })
    }
}

impl<F: AsFd> Drop for FdWatch<F> {
    fn drop(&mut self) {
        // Not under the lock: with its task, the waker may drop other watches.
        let waker = DESCRIPTORS
            .get()
            .and_then(|descriptors| descriptors.take_out(sys::fd_number(self.fd.as_fd()), self.id));
        drop(waker);
    }
}

impl Descriptors {
    /// Those of this process. The first use starts the thread.
    fn get() -> io::Result<&'static Self> {
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(descriptors) = DESCRIPTORS.get() {
            return Ok(descriptors);
        }
        let _starting = lock(&STARTING);
        if let Some(descriptors) = DESCRIPTORS.get() {
            return Ok(descriptors);
        }
        let set = PollSet::new()?;
        sys::start_helper("mp-files", || DESCRIPTORS.wait().run())?;
        Ok(DESCRIPTORS.get_or_init(|| Self {
            set,
            wakers: Mutex::default(),
        }))
    }

    fn take_out(&self, number: i32, id: u64) -> Option<Waker> {
        let by_number = &mut lock(&self.wakers).by_number;
        let waiting = by_number.get_mut(&number)?;
        let at = waiting.iter().position(|(other, _)| *other == id)?;
        let (_, waker) = waiting.swap_remove(at);
        if waiting.is_empty() {
            by_number.remove(&number);
            self.set.remove(number);
        }
        Some(waker)
    }

    fn run(&self) {
        loop {
            for number in self.set.wait() {
                let mut wakers = lock(&self.wakers);
                let due = wakers.by_number.remove(&number);
                // Whoever watches it has it open, as long as the lock is held. If nobody does any more, the number may be
                // another descriptor's by now, and is not in the set.
                if due.is_some() {
                    self.set.remove(number);
                }
                drop(wakers);
                wake(due.into_iter().flatten());
            }
        }
    }
}
