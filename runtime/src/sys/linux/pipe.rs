//! Pipes of which no end waits.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;

/// `pipe2(O_CLOEXEC)`—Makes a pipe: the end to read, which does not wait, and the end to write, which does.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // Each end has flags of its own, which do not change what the program sees that writes.
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((
        super::thread::no_stream(read)?,
        super::thread::no_stream(write)?,
    ))
}

/// `ioctl(FIONBIO)`—Lets writes to a pipe's end fail that would wait.
pub(crate) fn let_writes_fail(pipe: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

/// `ioctl(FIONBIO)`—Lets reads from a pipe's end fail that would wait.
pub(crate) fn let_reads_fail(pipe: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

/// `ioctl(FIONREAD)`—How many bytes are in a pipe.
pub(crate) fn unread(pipe: BorrowedFd<'_>) -> usize {
    let unread = rustix::io::ioctl_fionread(pipe).unwrap_or_default();
    usize::try_from(unread).unwrap_or(usize::MAX)
}

/// `read(pipe)`—Reads what there is; `None` when there is nothing now, nothing at all at the end.
pub(crate) fn read_some(pipe: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(length) => return Some(length),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return None,
            Err(_) => return Some(0),
        }
    }
}

/// `write(pipe)`—Writes a byte, if there is room and somebody to read it.
pub(crate) fn ring(pipe: BorrowedFd<'_>) {
    while rustix::io::write(pipe, &[0]) == Err(Errno::INTR) {}
}
