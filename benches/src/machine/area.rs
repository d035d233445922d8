//! Memory of two processes, without anything in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;

use crate::Result;

/// A memfd that is mapped by the process that made it, and by those that opened it.
pub struct Area {
    start: NonNull<u8>,
    length: usize,
    path: String,
    /// Others open it by its number, as long as it is there.
    _file: File,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Area {}

// SAFETY: it gives out references to `Plain` types only, which are `Sync`.
unsafe impl Sync for Area {}

/// What can lie in an [`Area`].
///
/// # Safety
///
/// All bytes zero are a value, it has no `Drop`, and it can be used by several processes at once through `&self`.
pub unsafe trait Plain: Sync {}

// SAFETY: an atomic integer; zero is one.
unsafe impl Plain for std::sync::atomic::AtomicU64 {}

impl Area {
    /// Makes and maps an area of zeroes, whose pages come when they are touched.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn new(length: usize) -> Result<Self> {
        let file = memfd()?;
        file.set_len(length as u64)?;
        Self::map(file, None, 0)
    }

    /// Makes and maps an area of zeroes, with all its pages: that costs a fraction of touching them one by one.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn populated(length: usize) -> Result<Self> {
        let file = memfd()?;
        // SAFETY: the descriptor is ours, and nothing of the file is mapped.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length as libc::off_t) } {
            0 => Self::map(file, None, libc::MAP_POPULATE),
            error => Err(io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Maps the area of another process, by its [`path`](Self::path), with all its pages.
    ///
    /// # Errors
    ///
    /// When the system refuses, or the maker is gone.
    pub fn open(path: &str) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Self::map(file, Some(path), libc::MAP_POPULATE)
    }

    fn map(file: File, path: Option<&str>, flags: libc::c_int) -> Result<Self> {
        let (length, fd) = (file.metadata()?.len() as usize, file.as_raw_fd());
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | flags);
        // SAFETY: a new mapping, where the system likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        Ok(Self {
            start: NonNull::new(start.cast())
                .ok_or_else(|| mp::RemoteError::msg("mmap gave the address 0"))?,
            length,
            path: path.map_or_else(
                || format!("/proc/{}/fd/{fd}", std::process::id()),
                str::to_owned,
            ),
            _file: file,
        })
    }

    /// Where another process finds it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns its first byte.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns what lies at its beginning.
    ///
    /// # Panics
    ///
    /// When the area is too small for it.
    pub fn first<T: Plain>(&self) -> &T {
        assert!(size_of::<T>() <= self.length, "the area is too small");
        // SAFETY: it lies within the mapping, which is aligned to pages, and `Plain` allows the rest.
        unsafe { self.start.cast().as_ref() }
    }

    /// Returns all of it as numbers.
    ///
    /// # Safety
    ///
    /// Nobody writes to it, in any process, as long as the slice is used.
    pub unsafe fn numbers(&self) -> &[f64] {
        // SAFETY: within the mapping, which is aligned to pages; the caller knows the rest.
        unsafe { std::slice::from_raw_parts(self.start().cast(), self.length / size_of::<f64>()) }
    }

    /// Returns all of it as numbers that can be changed.
    ///
    /// # Safety
    ///
    /// Nobody else uses it, in any process, as long as the slice is used.
    #[expect(clippy::mut_from_ref, reason = "the caller promises what `&mut` would")]
    pub unsafe fn numbers_mut(&self) -> &mut [f64] {
        // SAFETY: as in `numbers`.
        unsafe {
            std::slice::from_raw_parts_mut(self.start().cast(), self.length / size_of::<f64>())
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made; references into it borrow from this.
        unsafe { libc::munmap(self.start().cast(), self.length) };
    }
}

fn memfd() -> Result<File> {
    // SAFETY: the name ends with a zero byte, and the descriptor that comes is ours alone.
    unsafe {
        match libc::memfd_create(c"limit".as_ptr(), libc::MFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error().into()),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}
