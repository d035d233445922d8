//! This thread and this process.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::thread::JoinHandle;

use rustix::io::FdFlags;

/// `gettid()`—The system's id of this thread.
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// `pthread_create()`—Starts a thread that no signal handler runs on, but for the signals of its own faults. It does not
/// keep the process from ending.
pub(crate) fn start_helper(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    const STACK: usize = 256 << 10;
    const FAULTS: [i32; 5] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
    ];
    let mut blocked = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // A new thread has the mask of the one that makes it.
    // SAFETY: the sets are written before they are read, and only this thread's mask is changed.
    unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in FAULTS {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), before.as_mut_ptr());
    }
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(run);
    // SAFETY: the set was written above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    started
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

/// `open(".", O_PATH)`—A descriptor of the working directory, which may have been removed.
pub(crate) fn working_directory() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    no_stream(rustix::fs::open(".", flags, Mode::empty())?)
}

/// `fchdir(directory)`—Makes this the working directory.
pub(crate) fn enter_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::process::fchdir(directory)?)
}

/// A descriptor of the library's, with another number where it has that of a standard stream, which the program has closed: it is
/// not to be taken for one.
pub(super) fn no_stream(fd: OwnedFd) -> io::Result<OwnedFd> {
    const FIRST: i32 = 3;
    match fd.as_raw_fd() {
        ..FIRST => dup_above(fd.as_fd(), FIRST),
        _ => Ok(fd),
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

/// `getrlimit(RLIMIT_NOFILE)`—How many descriptors this process may have open.
pub(crate) fn open_files_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
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

/// `getrandom()`—A random number.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        // Before Linux 3.17.
        _ => now() ^ u64::from(std::process::id()).rotate_right(20),
    }
}

/// `clock_gettime(CLOCK_MONOTONIC)`—The time since some moment that is the same for all processes, in nanoseconds.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// `sigaction(SIGINT)`—Lets SIGINT do nothing to this process, unless it is ignored already. By a handler: programs that this
/// process executes are not to ignore it.
pub(crate) fn disregard_sigint() {
    extern "C" fn nothing(_signal: libc::c_int) {}

    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: both structures are zeroes with the fields set that count, and the handler does nothing.
    unsafe {
        let known = libc::sigaction(libc::SIGINT, ptr::null(), before.as_mut_ptr()) == 0;
        if known && before.assume_init_ref().sa_sigaction != libc::SIG_IGN {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(libc::SIGINT, &action, ptr::null_mut());
        }
    }
}
