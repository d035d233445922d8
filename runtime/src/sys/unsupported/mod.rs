//! A platform that the library does not support yet: everything compiles, and nothing can be made.
//!
//! Types that only a supported platform can make have no values, so that what is done with them needs no answer. Some
//! functions are `unsafe` because the contract says so; none does anything.

mod process;

use std::fs::File;
use std::io::{self, IoSlice};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

pub(crate) use self::process::*;

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGTERM: i32 = 15;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "multiproc does not support this platform yet",
    ))
}

#[derive(Debug, Clone, Copy)]
enum Never {}

#[derive(Debug)]
pub(crate) struct OwnedFd(Never);

#[derive(Debug, Clone, Copy)]
pub(crate) struct BorrowedFd<'a>(Never, std::marker::PhantomData<&'a ()>);

pub(crate) trait AsFd {
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl AsFd for OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

impl AsFd for BorrowedFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

impl From<OwnedFd> for ChildStdin {
    fn from(fd: OwnedFd) -> Self {
        match fd.0 {}
    }
}

impl From<OwnedFd> for ChildStdout {
    fn from(fd: OwnedFd) -> Self {
        match fd.0 {}
    }
}

impl From<OwnedFd> for ChildStderr {
    fn from(fd: OwnedFd) -> Self {
        match fd.0 {}
    }
}

pub(crate) fn fd_of_file(_file: File) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn create_memory(_name: &str, _size: u64) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn memory_size(fd: BorrowedFd<'_>) -> io::Result<u64> {
    match fd.0 {}
}

pub(crate) fn map_memory(fd: BorrowedFd<'_>, _size: usize) -> io::Result<NonNull<u8>> {
    match fd.0 {}
}

pub(crate) fn next_data(fd: BorrowedFd<'_>, _offset: u64) -> io::Result<u64> {
    match fd.0 {}
}

pub(crate) fn write_memory(fd: BorrowedFd<'_>, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
    match fd.0 {}
}

pub(crate) const LONGEST_MEMORY_NAME: usize = 255;

#[derive(Debug)]
pub(crate) struct NamedMemory(Never);

impl NamedMemory {
    pub(crate) fn create(_name: &str, _length: usize) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn open(_name: &str) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        match self.0 {}
    }

    pub(crate) fn length(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn identity(&self) -> (u64, u64) {
        match self.0 {}
    }

    pub(crate) fn unlink(&self, _name: &str) -> io::Result<()> {
        match self.0 {}
    }
}

/// # Safety
///
/// None: it does nothing.
#[allow(unsafe_code)]
pub(crate) unsafe fn release_pages(_start: NonNull<u8>, _length: usize) {}

pub(crate) fn futex_wait(_word: &AtomicU32, _expected: u32, _deadline: Option<Instant>) -> bool {
    true
}

pub(crate) const MOST_WORDS: usize = 128;

pub(crate) fn futex_wait_any(
    _words: &[(&AtomicU32, u32)],
    _deadline: Option<Instant>,
    _naps: &mut u32,
) -> bool {
    true
}

#[cfg(test)]
pub(crate) fn pretend_no_waitv(_missing: bool) {}

pub(crate) fn futex_wake(_word: &AtomicU32, _count: u32) -> u32 {
    0
}

pub(crate) fn yield_now() {
    std::thread::yield_now();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub(crate) enum Acquired {
    Clean,
    OwnerDied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub(crate) enum MutexError {
    Busy,
    TimedOut,
    AlreadyOwned,
}

#[repr(C)]
pub(crate) struct RobustMutex(Never);

#[allow(unsafe_code)]
impl RobustMutex {
    /// # Safety
    ///
    /// None: it does nothing.
    pub(crate) unsafe fn init(_place: *mut Self) {}

    pub(crate) fn lock(&self) -> Result<Acquired, MutexError> {
        match self.0 {}
    }

    pub(crate) fn try_lock(&self) -> Result<Acquired, MutexError> {
        match self.0 {}
    }

    pub(crate) fn lock_until(&self, _deadline: Instant) -> Result<Acquired, MutexError> {
        match self.0 {}
    }

    /// # Safety
    ///
    /// None: there is no mutex.
    pub(crate) unsafe fn unlock(&self) {
        match self.0 {}
    }

    pub(crate) fn is_free(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn owner(&self) -> Option<u32> {
        match self.0 {}
    }
}

pub(crate) fn poll_any(
    _fds: &[BorrowedFd<'_>],
    _deadline: Option<Instant>,
) -> io::Result<Vec<bool>> {
    unsupported()
}

#[derive(Debug)]
pub(crate) struct PollSet(Never);

impl PollSet {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn add(&self, _fd: BorrowedFd<'_>) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn remove(&self, _number: i32) {
        match self.0 {}
    }

    pub(crate) fn wait(&self) -> Vec<i32> {
        match self.0 {}
    }
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn let_writes_fail(pipe: BorrowedFd<'_>) -> io::Result<()> {
    match pipe.0 {}
}

pub(crate) fn let_reads_fail(pipe: BorrowedFd<'_>) -> io::Result<()> {
    match pipe.0 {}
}

pub(crate) fn unread(pipe: BorrowedFd<'_>) -> usize {
    match pipe.0 {}
}

pub(crate) fn read_some(pipe: BorrowedFd<'_>, _buffer: &mut [u8]) -> Option<usize> {
    match pipe.0 {}
}

pub(crate) fn ring(pipe: BorrowedFd<'_>) {
    match pipe.0 {}
}

pub(crate) fn allowed_cpus() -> Vec<usize> {
    Vec::new()
}

pub(crate) fn run_on(_cpu: usize) -> io::Result<()> {
    unsupported()
}

pub(crate) fn resident_memory() -> Option<u64> {
    None
}

pub(crate) fn random() -> u64 {
    0
}

pub(crate) fn now() -> u64 {
    0
}

pub(crate) fn disregard_sigint() {}

#[derive(Debug)]
#[allow(dead_code)]
pub(crate) enum Packet {
    Message(usize, Vec<OwnedFd>),
    Empty,
    Closed,
}

pub(crate) const MAX_FDS: usize = 1;

pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn send_packet(
    socket: BorrowedFd<'_>,
    _parts: &[IoSlice<'_>],
    _fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn receive_packet(
    socket: BorrowedFd<'_>,
    _buffer: &mut [u8],
    _peek: bool,
) -> io::Result<Packet> {
    match socket.0 {}
}

pub(crate) fn offer_packet(
    socket: BorrowedFd<'_>,
    _parts: &[IoSlice<'_>],
    _fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn copy_packet(socket: BorrowedFd<'_>, _buffer: &mut [u8]) -> io::Result<Packet> {
    match socket.0 {}
}

pub(crate) fn discard_packet(socket: BorrowedFd<'_>) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn peek_from(socket: BorrowedFd<'_>, _place: Option<usize>) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn open_files_limit() -> u64 {
    u64::MAX
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SendBuffer {
    pub(crate) used: usize,
    pub(crate) size: usize,
}

pub(crate) fn send_buffer(socket: BorrowedFd<'_>) -> io::Result<SendBuffer> {
    match socket.0 {}
}

pub(crate) fn grow_send_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    match socket.0 {}
}

pub(crate) fn poll_readable(
    socket: BorrowedFd<'_>,
    _deadline: Option<Instant>,
) -> io::Result<bool> {
    match socket.0 {}
}

pub(crate) fn thread_id() -> u32 {
    0
}

pub(crate) fn start_helper(
    _name: &str,
    _run: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    unsupported()
}

pub(crate) fn set_thread_name(_name: &str) {}

pub(crate) fn at_exit(_function: extern "C" fn()) -> io::Result<()> {
    unsupported()
}

pub(crate) fn dup_above(fd: BorrowedFd<'_>, _lowest: i32) -> io::Result<OwnedFd> {
    match fd.0 {}
}

pub(crate) fn replace_stdout(fd: OwnedFd) -> io::Result<()> {
    match fd.0 {}
}

pub(crate) fn fd_number(fd: BorrowedFd<'_>) -> i32 {
    match fd.0 {}
}

/// # Safety
///
/// None: it does nothing.
#[allow(unsafe_code)]
pub(crate) unsafe fn adopt_fd(_number: i32) -> io::Result<OwnedFd> {
    unsupported()
}
