//! Processes by descriptor.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::ptr;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus,
};

use super::{remaining, timespec};

pub(crate) const SIGINT: i32 = libc::SIGINT;
pub(crate) const SIGKILL: i32 = libc::SIGKILL;
pub(crate) const SIGTERM: i32 = libc::SIGTERM;

/// `pidfd_open(pid)`—A descriptor of a process. Sound for a child that nobody has waited for yet.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
pub(crate) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    super::thread::no_stream(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Whether an error says that there is no such process.
pub(crate) fn is_no_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// `pipe()`—What stands for the descriptor of a process that has ended, and of which nothing is left.
pub(crate) fn ended_process() -> io::Result<OwnedFd> {
    // Nobody can write to it, so that it is at its end.
    let (end, _) = io::pipe()?;
    Ok(end.into())
}

/// Whether a process of this id is running, or has not been taken apart wholly.
pub(crate) fn is_running(pid: u32) -> bool {
    match open_process(pid) {
        Ok(process) => !wait_ended(process.as_fd(), Some(Instant::now())).unwrap_or(false),
        Err(_) => false,
    }
}

/// `getauxval(AT_EXECFN)`—The path that this program was executed by; relative to the working directory of that moment.
pub(crate) fn program_path() -> Option<PathBuf> {
    // SAFETY: it is null, or leads to a text that the kernel put on the first stack, which stays.
    let path = unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!path.is_null()).then(|| CStr::from_ptr(path))
    };
    path.map(|path| OsStr::from_bytes(path.to_bytes()).into())
}

/// `pidfd_open(getpid())`—A descriptor of this process, for its children to see it die.
pub(crate) fn open_self() -> io::Result<OwnedFd> {
    let me = rustix::process::getpid();
    super::thread::no_stream(rustix::process::pidfd_open(me, PidfdFlags::empty())?)
}

/// `poll(pidfd)`—Waits until the process has ended or `deadline` passed, and says whether it has ended.
pub(crate) fn wait_ended(process: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    poll(process, deadline)
}

/// `poll(fd, POLLIN)`—Waits until `fd` is readable (or its peer gone) or `deadline` passed, and says which.
pub(super) fn poll(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| remaining(deadline).unwrap_or_default());
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.map(timespec).as_ref()) {
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => continue,
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// `waitid(P_PIDFD, WNOHANG)`—Takes the exit status of a child that has ended; `None` while it runs.
///
/// # Errors
///
/// `ECHILD` when somebody else has taken it.
pub(crate) fn reap(child: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    loop {
        match rustix::process::waitid(
            WaitId::PidFd(child),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => match raw_status(&status) {
                Some(raw) => return Ok(Some(ExitStatus::from_raw(raw))),
                None => continue,
            },
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// `ioctl(PIDFD_GET_INFO)`—The exit status of a process that somebody has reaped, where the kernel tells it (since Linux 6.15).
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/PIDFD_GET_INFO.2const.html)
pub(crate) fn status_of_reaped(process: BorrowedFd<'_>) -> Option<ExitStatus> {
    const PIDFD_INFO_EXIT: u64 = 1 << 3;

    /// The first version of the kernel's `struct pidfd_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }

    const PIDFD_GET_INFO: libc::Ioctl = libc::_IOWR::<Info>(0xff, 11);
    let mut info = Info {
        mask: PIDFD_INFO_EXIT,
        ..Info::default()
    };
    // SAFETY: the call writes no more than the structure, whose size is in its number.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    let known = result == 0 && info.mask & PIDFD_INFO_EXIT != 0;
    known.then(|| ExitStatus::from_raw(info.exit_code))
}

/// `/proc/PID/stat`—The exit status of a process that has ended, and that nobody has reaped yet.
pub(crate) fn status_of_zombie(pid: u32, process: BorrowedFd<'_>) -> Option<ExitStatus> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    if fields.next()? != "Z" {
        return None;
    }
    let code = fields.next_back()?.parse().ok()?;
    // That it was this process: it keeps its number until it is reaped.
    let is_there = say_nothing(process).is_ok();
    is_there.then(|| ExitStatus::from_raw(code))
}

/// `pidfd_send_signal(process, 0)`—Says nothing to a process, but whether that could be done.
fn say_nothing(process: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain system call; signal 0 is none.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            0,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this is the descriptor of a process, and that has ended.
pub(crate) fn is_of_the_dead(process: BorrowedFd<'_>) -> bool {
    let is_process = match say_nothing(process) {
        Ok(()) => true,
        Err(error) => [Some(libc::ESRCH), Some(libc::EPERM)].contains(&error.raw_os_error()),
    };
    is_process && wait_ended(process, Some(Instant::now())).unwrap_or(false)
}

/// `pidfd_send_signal(process, signal)`—Sends a signal; a process that has ended is no error.
pub(crate) fn signal_process(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(signal).ok_or(Errno::INVAL)?;
    match rustix::process::pidfd_send_signal(process, signal) {
        // The latter for an `ended_process`.
        Ok(()) | Err(Errno::SRCH | Errno::BADF) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `kill(child, SIGKILL)` and `waitpid(child)`—Ends a child that cannot be watched, by its id, which is its own until
/// it is waited for.
pub(crate) fn abandon_child(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
}

/// `kill(process, SIGKILL)`—Ends a process by its id, which must be its own still.
pub(crate) fn kill_by_id(process: u32) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(process, Signal::KILL);
    }
}

/// `kill(getpid(), signal)`—Sends a signal to this process.
pub(crate) fn kill_self(signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    }
}

/// `kill(-leader, SIGKILL)`—Ends all processes of a group. Sound while its leader has not been waited for: until then
/// nobody else is given its number.
pub(crate) fn kill_group(leader: u32) {
    if let Some(leader) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

/// `pidfd_send_signal(leader, SIGKILL, PIDFD_SIGNAL_PROCESS_GROUP)`—The same, by the leader's descriptor, when it may have been
/// waited for. `false` where the kernel cannot (before Linux 6.9), and when there is nobody.
pub(crate) fn kill_group_of(leader: BorrowedFd<'_>) -> bool {
    const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
    // SAFETY: plain system call; null stands for no information besides the signal.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            leader.as_raw_fd(),
            libc::SIGKILL,
            ptr::null::<libc::siginfo_t>(),
            PIDFD_SIGNAL_PROCESS_GROUP,
        ) == 0
    }
}

/// `setpgid(process, process)`—Lets a process, this one by 0, lead a process group of its own.
pub(crate) fn lead_group(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    // It fails for a child that does it itself, and has gone on to execute another program.
    let _ = rustix::process::setpgid(process, process);
}

/// `waitid(P_PIDFD, WNOWAIT)`—The status of a child that has ended, in the C library's words, which stays there.
pub(crate) fn look_at_status(child: BorrowedFd<'_>) -> Option<u32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = rustix::process::waitid(WaitId::PidFd(child), options).ok()??;
    raw_status(&status).map(i32::cast_unsigned)
}

fn raw_status(status: &WaitIdStatus) -> Option<i32> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some((code & 0xff) << 8),
        (None, Some(signal)) if status.dumped() => Some(signal | 0x80),
        (None, signal) => signal,
    }
}

/// The exit status in the C library's words.
pub(crate) fn status_from_words(words: u32) -> ExitStatus {
    ExitStatus::from_raw(words.cast_signed())
}

/// `sched_setaffinity(0, cpu)`—Keeps this process on one processor.
pub(crate) fn run_on(cpu: usize) -> io::Result<()> {
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(Errno::INVAL.into());
    }
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &cpus)?)
}

/// `sched_getaffinity(0)`—The processors that this process may run on.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let cpus = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| cpus.is_set(*cpu))
        .collect()
}

/// What a process may use.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Limits {
    /// Bytes of memory of its own.
    pub(crate) memory: Option<u64>,
    /// Seconds of processor time.
    pub(crate) cpu: Option<u64>,
    /// How much nicer it is than its parent.
    pub(crate) nice: i32,
}

/// `setrlimit(RLIMIT_DATA, RLIMIT_CPU)`, `nice()`—Limits this process, for ever.
///
/// # Errors
///
/// With the name of what the system refused.
pub(crate) fn limit_self(limits: &Limits) -> Result<(), (&'static str, io::Error)> {
    let set = |resource, current, maximum| {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        rustix::process::setrlimit(resource, limit)
    };
    if let Some(bytes) = limits.memory {
        set(Resource::Data, bytes, bytes).map_err(|error| ("memory_limit", error.into()))?;
    }
    if let Some(seconds) = limits.cpu {
        // SIGXCPU at the first, and SIGKILL for who goes on at the second.
        let after = seconds.saturating_add(1);
        set(Resource::Cpu, seconds, after).map_err(|error| ("cpu_limit", error.into()))?;
    }
    if limits.nice != 0 {
        rustix::process::nice(limits.nice).map_err(|error| ("nice", error.into()))?;
    }
    Ok(())
}

/// `/proc/self/statm`—How many bytes of memory this process has in use; `None` where nobody tells.
pub(crate) fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// `getauxval(AT_SECURE)`—Whether this program has rights that whoever started it may lack: its file is set-user-id or
/// set-group-id, or has capabilities.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man3/getauxval.3.html)
pub(crate) fn is_set_user_id() -> bool {
    // SAFETY: the call looks up a number, and cannot fail for one that the kernel always gives.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The exit status of a process that exited with `code`.
pub(crate) fn exit_status(code: i32) -> ExitStatus {
    ExitStatus::from_raw((code & 0xff) << 8)
}

/// An exit status as (exit code, signal, core dumped).
pub(crate) fn status_parts(status: ExitStatus) -> (Option<i32>, Option<i32>, bool) {
    (status.code(), status.signal(), status.core_dumped())
}

/// The name of a signal.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGALRM => "SIGALRM",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => return None,
    })
}
