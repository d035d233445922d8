//! Shared memory with a name: a file in `/dev/shm`, where `shm_open` of the C libraries has it, too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// How many bytes a name may have.
pub(crate) const LONGEST_MEMORY_NAME: usize = 255;

const FOLDER: &str = "/dev/shm";

/// Named memory that is mapped until this is dropped.
#[derive(Debug)]
pub(crate) struct NamedMemory {
    base: NonNull<u8>,
    length: usize,
    /// The numbers of its device and file.
    identity: (u64, u64),
}

// SAFETY: the address of memory that is made for sharing; whoever accesses it answers for that.
unsafe impl Send for NamedMemory {}
// SAFETY: as above.
unsafe impl Sync for NamedMemory {}

impl NamedMemory {
    /// `open(O_TMPFILE)`, `fallocate`, `linkat`—Makes zeroed memory, and then gives it its name: nobody ever sees it
    /// half made, and if the caller dies in between, it is gone. It takes its pages at once, so that nobody is killed later
    /// because there are none.
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/open.2.html)
    pub(crate) fn create(name: &str, length: usize) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::ftruncate(&fd, length as u64)?;
        reserve(fd.as_fd(), length as u64)?;
        let memory = Self::map(&fd)?;
        let link = format!("/proc/self/fd/{}", super::fd_number(fd.as_fd()));
        rustix::fs::linkat(CWD, link, CWD, path(name), AtFlags::SYMLINK_FOLLOW)?;
        Ok(memory)
    }

    /// `open(O_RDWR)`—Maps the memory that has the name.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Self::map(&rustix::fs::open(path(name), flags, Mode::empty())?)
    }

    fn map(fd: &OwnedFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(fd)?;
        let length = usize::try_from(stat.st_size).map_err(io::Error::other)?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is empty: who made it has not given it a size yet, or died before",
            ));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory of ours.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        Ok(Self {
            base: NonNull::new(base.cast())
                .ok_or_else(|| io::Error::other("the memory was mapped at address 0"))?,
            length,
            identity: identity(&stat),
        })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Two numbers that no other memory has or had since the system started.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// `unlink(path)`—Takes the name away from this memory; if other memory has it by now, that is
    /// [`NotFound`](io::ErrorKind::NotFound).
    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        let path = path(name);
        let stat = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        if identity(&stat) != self.identity {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(rustix::fs::unlink(path)?)
    }
}

impl Drop for NamedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`; who has a reference into it borrows this.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// `fallocate(fd)`—Takes the pages of a file.
///
/// An interrupted call gives back what it took, so that one for all of them might never end where signals are frequent.
fn reserve(fd: BorrowedFd<'_>, length: u64) -> io::Result<()> {
    const LEAST: u64 = 1 << 20;
    let (mut done, mut step) = (0, length);
    while done < length {
        step = step.min(length - done);
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), done, step) {
            Ok(()) => done += step,
            Err(Errno::INTR) => step = (step / 2).max(LEAST),
            // Another file system than usual: its pages come when they are touched.
            Err(Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
