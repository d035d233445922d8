//! This thread and this process.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::FdFlags;

/// `gettid()`—The system's id of this thread.
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// `prctl(PR_SET_NAME)`—Names this thread and, if that is another one, the process's first thread, which is the one that
/// `ps` and `top` show. The name is cut to what the system keeps: 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let mut end = name.len().min(15);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let Ok(name) = CString::new(&name[..end]) else {
        return;
    };
    let _ = rustix::thread::set_name(&name);
    if thread_id() != std::process::id() {
        let _ = std::fs::write("/proc/self/comm", name.as_bytes_with_nul());
    }
}

/// `atexit(function)`—Calls `function` when the process exits, by return from `main` or `exit`, not by a signal.
pub(crate) fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is of the type that `atexit` wants, and never unloaded, since it is part of the program.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::Error::other(
            "the C library takes no more exit functions",
        )),
    }
}

/// `fcntl(F_DUPFD_CLOEXEC, lowest)`—A duplicate whose number is `lowest` or above.
pub(crate) fn dup_above(fd: BorrowedFd<'_>, lowest: i32) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, lowest)?)
}

/// `dup2(fd, STDOUT_FILENO)`—Makes `fd` the standard output.
pub(crate) fn replace_stdout(fd: OwnedFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stdout(fd)?)
}

/// The descriptor of a file.
pub(crate) fn fd_of_file(file: std::fs::File) -> io::Result<OwnedFd> {
    Ok(file.into())
}

/// The number of a descriptor.
pub(crate) fn fd_number(fd: BorrowedFd<'_>) -> i32 {
    fd.as_raw_fd()
}

/// Takes a descriptor that this process inherited, and keeps it from the programs that it will start.
///
/// # Errors
///
/// When no descriptor of that number is open.
///
/// # Safety
///
/// Nothing else in this process owns the descriptor.
pub(crate) unsafe fn adopt_fd(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a descriptor's number is not negative",
        ));
    }
    // SAFETY: borrowed for the next call only, which fails without harm if the number is not open.
    rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and by the caller's promise nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
