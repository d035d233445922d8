//! The shared memory of a tree: a sealed memfd.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::process::Resource;

/// What [`create_memory`] seals, and [`memory_size`] insists on.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// `memfd_create(name)`—Makes `size` bytes of zeroed memory that can be shared, and whose size cannot change.
///
/// No page is used before it is touched.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/memfd_create.2.html)
pub(crate) fn create_memory(name: &str, size: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Kernels before 6.3 do not know the flag.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::ftruncate(&fd, size)?;
    rustix::fs::fcntl_add_seals(&fd, SEALS)?;
    super::thread::no_stream(fd)
}

/// `fstat(fd)`—The size of memory that [`create_memory`] made; an error for any other kind of descriptor.
pub(crate) fn memory_size(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let seals = rustix::fs::fcntl_get_seals(fd)?;
    if !seals.contains(SEALS) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the descriptor is not sealed shared memory",
        ));
    }
    Ok(rustix::fs::fstat(fd)?.st_size.unsigned_abs())
}

/// `mmap(MAP_SHARED | MAP_NORESERVE)`—Maps all of the memory, to be neither dumped nor ever unmapped.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/mmap.2.html)
pub(crate) fn map_memory(fd: BorrowedFd<'_>, size: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory of ours, and the seals keep the file
    // from shrinking under it.
    let base = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            size,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE,
            fd,
            0,
        )?
    };
    // SAFETY: the range is the mapping just made. A kernel that cannot do it leaves larger core dumps, nothing worse.
    let _ = unsafe { rustix::mm::madvise(base, size, Advice::LinuxDontDump) };
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the memory was mapped at address 0"))
}

/// `lseek(SEEK_DATA)`—Where the first page at or after `offset` is that the memory has. What is before it reads as zero.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/lseek.2.html)
pub(crate) fn next_data(fd: BorrowedFd<'_>, offset: u64) -> io::Result<u64> {
    match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(data) => Ok(data),
        // There is none.
        Err(rustix::io::Errno::NXIO) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}

/// `pwrite(fd, bytes, offset)`—Copies bytes into the memory, which need not be mapped there.
///
/// A process that may not write large files is refused, because the system would kill it for the attempt.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/pwrite.2.html)
pub(crate) fn write_memory(
    fd: BorrowedFd<'_>,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    if rustix::process::getrlimit(Resource::Fsize)
        .current
        .is_some()
    {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, bytes, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// `memfd_create()`, `write()`—A file in memory with these bytes, which cannot change.
pub(crate) fn sealed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("multiproc-message", flags)?);
    (&file).write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SEALS | SealFlags::WRITE)?;
    Ok(file.into())
}

/// `pread()`—The bytes of a file that [`sealed_file`] made; an error for any other kind of descriptor.
pub(crate) fn read_sealed(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let length = memory_size(fd.as_fd())?;
    let mut bytes = Vec::new();
    let length = usize::try_from(length).map_err(io::Error::other)?;
    bytes.try_reserve_exact(length).map_err(io::Error::other)?;
    let mut file = File::from(fd);
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `madvise(MADV_REMOVE)`—Gives the pages of a range back to the system; they read as zero afterwards.
///
/// # Safety
///
/// `start` and `length` lie in memory mapped by [`map_memory`], are multiples of the page size, and nobody uses their
/// content any more.
pub(crate) unsafe fn release_pages(start: NonNull<u8>, length: usize) {
    // SAFETY: the caller's promise. Failing leaves the pages in use, and they will be used again.
    let _ = unsafe { rustix::mm::madvise(start.as_ptr().cast(), length, Advice::LinuxRemove) };
}
