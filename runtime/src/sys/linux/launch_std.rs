//! Starting a program through [`std::process::Command`], for the sake of a [`std::process::Stdio`].
//!
//! Passing descriptors needs `pre_exec`, for which `Command` forks: the cost of such a start grows with the memory that
//! the parent has touched. Descriptors keep their numbers, because `Command` has descriptors of its own open in the child.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::FdFlags;

use super::launch::STDOUT;
use super::{ChildStdio, Launch, Launched};

pub(super) fn launch(launch: Launch<'_>) -> io::Result<Launched> {
    let program = launch.programs.first().ok_or(io::ErrorKind::NotFound)?;
    // Not to be looked for in PATH.
    let program = if program.components().count() == 1 {
        Path::new(".").join(program)
    } else {
        program.clone()
    };
    let mut command = Command::new(program);
    let mut arguments = launch.arguments.iter();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env_clear().envs(launch.environment);
    if let Some(directory) = &launch.directory {
        command.current_dir(directory);
    }
    let [stdin, stdout, stderr] = launch.stdio.map(|stream| match stream {
        ChildStdio::Inherit => Stdio::inherit(),
        ChildStdio::Fd(fd) => fd.into(),
        ChildStdio::Std(stdio) => stdio,
    });
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    if launch.lead_group {
        command.process_group(0);
    }
    let keep: Vec<RawFd> = launch.fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let hide_stdout_at = launch.quiet_stdout.then(|| keep.last().copied()).flatten();
    // SAFETY: between fork and exec the closure makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(move || prepare(&keep, hide_stdout_at)) };
    let mut child = command.spawn()?;
    Ok(Launched {
        pid: child.id(),
        pipes: [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ],
    })
}

/// In the forked child: lets only the descriptors in `keep` through the exec, and blocks no signal.
fn prepare(keep: &[RawFd], hide_stdout_at: Option<RawFd>) -> io::Result<()> {
    // SAFETY: plain system calls. Without `close_range` (before Linux 5.11), what is not close-on-exec passes.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        let mut none = std::mem::MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        if let Some(place) = hide_stdout_at {
            libc::dup2(STDOUT, place);
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            libc::dup2(null, STDOUT);
        }
    }
    for fd in keep {
        // SAFETY: the parent holds these descriptors open until the start is over.
        rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(*fd) }, FdFlags::empty())?;
    }
    Ok(())
}
