//! Waiting on many descriptors.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::{remaining, timespec};

/// `poll(fds, POLLIN)`—Waits until one of `fds` is readable (or its peer gone) or `deadline` passed, and says of each
/// whether it is.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/poll.2.html)
pub(crate) fn poll_any(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    loop {
        let left = deadline.map(|deadline| remaining(deadline).unwrap_or_default());
        match rustix::event::poll(&mut polled, left.map(timespec).as_ref()) {
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => continue,
            Ok(_) => break,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// A set of descriptors, known by their numbers, that one thread waits on while others change it.
///
/// Not `poll`: a thread that sleeps there would have to be woken for each change, and keeps open what is closed
/// meanwhile, so that the peer of a connection would not see its end.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man7/epoll.7.html)
#[derive(Debug)]
pub(crate) struct PollSet(OwnedFd);

impl PollSet {
    /// `epoll_create1(EPOLL_CLOEXEC)`—Makes an empty set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// `epoll_ctl(EPOLL_CTL_ADD)`—Adds a descriptor, until it has been found readable or is removed. Adding it again is
    /// the same.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let data = EventData::new_u64(fd.as_raw_fd() as u64);
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        match epoll::add(&self.0, fd, data, flags) {
            Err(Errno::EXIST) => Ok(epoll::modify(&self.0, fd, data, flags)?),
            other => Ok(other?),
        }
    }

    /// `epoll_ctl(EPOLL_CTL_DEL)`—Removes a descriptor; one that is not in the set is no error.
    pub(crate) fn remove(&self, number: RawFd) {
        // SAFETY: borrowed for the next call only, which does nothing if the number is closed or another one's.
        let _ = epoll::delete(&self.0, unsafe { BorrowedFd::borrow_raw(number) });
    }

    /// `epoll_wait`—Waits until descriptors of the set are readable, or their peers gone, and returns their numbers. It
    /// may return early.
    pub(crate) fn wait(&self) -> Vec<RawFd> {
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) => {}
            Err(Errno::INTR) => events.clear(),
            Err(error) => unreachable!("waiting on a set of descriptors: {error}"),
        }
        events
            .iter()
            .map(|event| event.data.u64() as RawFd)
            .collect()
    }
}
