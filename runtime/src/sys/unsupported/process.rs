//! Starting processes, and what becomes of them.
//!
//! # Safety
//!
//! Some functions are `unsafe` because the contract says so; none does anything.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Instant;

use super::{BorrowedFd, OwnedFd, unsupported};

#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) fds: &'a [BorrowedFd<'a>],
    pub(crate) streams: [Option<BorrowedFd<'a>>; 3],
    pub(crate) quiet_stdout: bool,
    pub(crate) lead_group: bool,
}

impl Launch<'_> {
    pub(crate) fn numbers(_count: usize) -> Vec<i32> {
        Vec::new()
    }
}

pub(crate) fn launch(_launch: Launch<'_>) -> io::Result<u32> {
    unsupported()
}

pub(crate) const CAN_FORK: bool = false;

#[derive(Debug)]
#[allow(dead_code, reason = "nothing makes one here")]
pub(crate) enum Forked {
    Parent(u32),
    Child,
}

/// # Safety
///
/// None: it does nothing.
#[allow(unsafe_code)]
pub(crate) unsafe fn fork() -> io::Result<Forked> {
    unsupported()
}

pub(crate) fn thread_count(_main_waits: bool) -> usize {
    2
}

pub(crate) fn handled_signals() -> Vec<i32> {
    Vec::new()
}

pub(crate) fn drop_signal_handlers(_signals: &[i32]) {}

pub(crate) fn prepare_for_copies() {}

pub(crate) fn serve_children() {}

pub(crate) fn leave_interrupts_to_parent() {}

/// # Safety
///
/// None: there is no descriptor.
#[allow(unsafe_code)]
pub(crate) unsafe fn redirect(_number: i32, fd: BorrowedFd<'_>) -> io::Result<()> {
    match fd.0 {}
}

pub(crate) fn wall_off_exit(_last: fn()) {}

pub(crate) fn exit_copy(code: i32) -> ! {
    std::process::exit(code)
}

#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) fds: [Option<OwnedFd>; 3],
    pub(crate) pipes: [Option<OwnedFd>; 3],
}

pub(crate) fn open_streams(_streams: [Option<std::process::Stdio>; 3]) -> io::Result<Streams> {
    unsupported()
}

pub(crate) fn own_streams() -> [Option<BorrowedFd<'static>>; 3] {
    [None, None, None]
}

pub(crate) fn replace_streams(_streams: [Option<BorrowedFd<'_>>; 3]) -> io::Result<()> {
    unsupported()
}

pub(crate) fn stream_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn working_directory() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn enter_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    match directory.0 {}
}

pub(crate) fn sealed_file(_bytes: &[u8]) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn read_sealed(fd: OwnedFd) -> io::Result<Vec<u8>> {
    match fd.0 {}
}

#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Limits {
    pub(crate) memory: Option<u64>,
    pub(crate) cpu: Option<u64>,
    pub(crate) nice: i32,
}

pub(crate) fn limit_self(_limits: &Limits) -> Result<(), (&'static str, io::Error)> {
    Ok(())
}

pub(crate) fn status_of_reaped(process: BorrowedFd<'_>) -> Option<ExitStatus> {
    match process.0 {}
}

pub(crate) fn status_of_zombie(_pid: u32, process: BorrowedFd<'_>) -> Option<ExitStatus> {
    match process.0 {}
}

pub(crate) fn program_path() -> Option<PathBuf> {
    None
}

pub(crate) fn is_of_the_dead(process: BorrowedFd<'_>) -> bool {
    match process.0 {}
}

pub(crate) fn is_no_process(_error: &io::Error) -> bool {
    false
}

pub(crate) fn ended_process() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn kill_group_of(leader: BorrowedFd<'_>) -> bool {
    match leader.0 {}
}

pub(crate) fn lead_group(_process: u32) {}

pub(crate) fn look_at_status(child: BorrowedFd<'_>) -> Option<u32> {
    match child.0 {}
}

pub(crate) fn status_from_words(_words: u32) -> ExitStatus {
    ExitStatus::default()
}

pub(crate) fn open_process(_pid: u32) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn open_self() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn wait_ended(process: BorrowedFd<'_>, _deadline: Option<Instant>) -> io::Result<bool> {
    match process.0 {}
}

pub(crate) fn reap(child: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    match child.0 {}
}

pub(crate) fn signal_process(process: BorrowedFd<'_>, _signal: i32) -> io::Result<()> {
    match process.0 {}
}

pub(crate) fn is_running(_pid: u32) -> bool {
    false
}

pub(crate) fn is_set_user_id() -> bool {
    false
}

pub(crate) fn abandon_child(_pid: u32) {}

pub(crate) fn kill_by_id(_process: u32) {}

pub(crate) fn kill_self(_signal: i32) {}

pub(crate) fn kill_group(_leader: u32) {}

pub(crate) fn exit_status(_code: i32) -> ExitStatus {
    ExitStatus::default()
}

pub(crate) fn status_parts(status: ExitStatus) -> (Option<i32>, Option<i32>, bool) {
    (status.code(), None, false)
}

pub(crate) fn signal_name(_signal: i32) -> Option<&'static str> {
    None
}
