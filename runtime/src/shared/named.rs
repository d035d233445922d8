//! Shared memory with a name.
//!
//! It is the only thing here that outlives the tree. Nothing keeps a list of it, and nothing removes it but
//! [`SharedMemory::unlink`]: whoever guesses when it is no longer needed guesses wrong for somebody.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};
use crate::sys::{self, LONGEST_MEMORY_NAME, NamedMemory};

/// Shared memory with a name, for programs that are not of this tree of processes, and for those in other languages:
/// Python's `multiprocessing.shared_memory` and `shm_open` of C see the same names and bytes.
///
/// Inside of a tree, [`Shared`](crate::Shared), [`Array`](crate::Array) and their kin are simpler and safer.
///
/// # The name stays until somebody unlinks it
///
/// The memory, all of it, is in use until [`unlink`](Self::unlink) has removed the name *and* everybody who has mapped it
/// has dropped it or ended. Ending does not remove the name, and neither does crashing: agree on one program that does,
/// usually the one that created it. A Python program that opens the memory removes the name at its end, unless it says
/// `track=False` (Python 3.13).
///
/// # Anybody may write
///
/// All programs that have opened the memory may read and write it at any time, and nothing here says when: agree on
/// that, too, or use atomics. That is why there is no safe reference to the bytes. Only programs of the same user can
/// open it.
///
/// A program that shrinks the file behind the name (`ftruncate`) makes others crash (SIGBUS) that access what is gone;
/// no program has a reason to do it.
///
/// Clones are the same memory. In a message it is its name, and what receives it opens it: it must not be unlinked before.
///
/// # Examples
///
/// ```
/// let memory = mp::SharedMemory::create(None, 4096)?;
/// memory.write_at(100, b"hello");
///
/// // in another program that was told the name
/// let same = mp::SharedMemory::open(memory.name())?;
/// let mut bytes = [0; 5];
/// same.read_at(100, &mut bytes);
/// assert_eq!(&bytes, b"hello");
///
/// memory.unlink()?;
/// assert!(mp::SharedMemory::open(memory.name()).is_err());
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory(Arc<Inner>);

struct Inner {
    name: String,
    memory: NamedMemory,
}

impl SharedMemory {
    /// Makes memory of `size` bytes, all zero, with a name that nobody else uses; `None` makes up one (`mp_…`).
    ///
    /// Names are those of `shm_open`: a slash at the beginning is ignored, and no other is allowed. Only programs of the
    /// same user can open the memory. All of it is taken from the system at once, so that too little of it is an error here,
    /// and no crash later.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// assert!(memory.name().starts_with("mp_"));
    ///
    /// let taken = mp::SharedMemory::create(Some(memory.name()), 10);
    /// assert!(taken.unwrap_err().to_string().contains("exists already"));
    /// memory.unlink()?;
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`], whose source is of kind [`AlreadyExists`](io::ErrorKind::AlreadyExists) when there is memory of
    /// this name, of kind [`InvalidInput`](io::ErrorKind::InvalidInput) when the name is none (empty, a dot or two, longer
    /// than 255 bytes, with a slash or NUL) or the size is 0, and of kind [`StorageFull`](io::ErrorKind::StorageFull) when
    /// the system does not have that much.
    #[doc(alias = "shm_open")]
    pub fn create(name: Option<&str>, size: usize) -> Result<Self> {
        let failed = |name: &str, error| {
            let what = format!(
                "cannot create the shared memory `{}` of {size} bytes",
                name.escape_debug()
            );
            Error::os(what, explained(error))
        };
        let Some(name) = name else {
            loop {
                let random = sys::random();
                let name = format!("mp_{random:016x}");
                match make(&name, size) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => return made.map_err(|error| failed(&name, error)),
                }
            }
        };
        let made = checked(name).and_then(|name| make(name, size));
        made.map_err(|error| failed(name, error))
    }

    /// Opens the memory that has this name; its size is what its creator chose.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// assert_eq!(mp::SharedMemory::open(memory.name())?.len(), 10);
    /// memory.unlink()?;
    ///
    /// let mp::Error::Os { source, .. } = mp::SharedMemory::open(memory.name()).unwrap_err() else { panic!() };
    /// assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`], whose source is of kind [`NotFound`](io::ErrorKind::NotFound) when no memory has this name, of kind
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) when it is another user's, of kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the name is none, and of kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) when the memory is empty.
    #[doc(alias = "shm_open")]
    pub fn open(name: &str) -> Result<Self> {
        let opened = checked(name).and_then(|name| {
            let memory = NamedMemory::open(name)?;
            Ok(Self::of(name, memory))
        });
        opened.map_err(|error| {
            let what = format!("cannot open the shared memory `{}`", name.escape_debug());
            Error::os(what, explained(error))
        })
    }

    /// Returns the name, without a slash.
    ///
    /// # Examples
    ///
    /// ```
    /// let name = format!("/docs_{}", std::process::id());
    /// let memory = mp::SharedMemory::create(Some(&name), 10)?;
    /// assert_eq!(memory.name(), &name[1..]);
    /// memory.unlink()?;
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns how many bytes there are.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// assert_eq!(memory.len(), 10); // it is still there
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.memory.length()
    }

    /// Returns `false`: memory without a byte cannot be made.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(mp::SharedMemory::create(None, 0).is_err());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the name. Who has the memory open can go on to use it, and it is freed with the last of them.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// memory.write_at(0, b"still here");
    /// assert!(memory.unlink().is_err()); // once is enough
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`], whose source is of kind [`NotFound`](io::ErrorKind::NotFound) when the name was removed before, even
    /// if other memory has it now: that keeps it.
    pub fn unlink(&self) -> Result<()> {
        let Inner { name, memory } = &*self.0;
        memory.unlink(name).map_err(|error| {
            let error = match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(error.kind(), "somebody has unlinked it before")
                }
                _ => error,
            };
            Error::os(format!("cannot unlink the shared memory `{name}`"), error)
        })
    }

    /// Copies the bytes from `offset` on into `buffer`, all of which it fills.
    ///
    /// What somebody writes meanwhile may be read in part; each byte is whole.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// let mut number = [0xff; 4];
    /// memory.read_at(6, &mut number);
    /// assert_eq!(u32::from_ne_bytes(number), 0);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the memory ends before the buffer is full.
    #[track_caller]
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) {
        let bytes = self.part(offset, buffer.len(), "read");
        for (to, from) in buffer.iter_mut().zip(bytes) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    /// Copies all of `bytes` to `offset`.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// memory.write_at(6, &7_u32.to_ne_bytes());
    /// let mut number = [0; 4];
    /// memory.read_at(6, &mut number);
    /// assert_eq!(u32::from_ne_bytes(number), 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the memory ends before.
    #[track_caller]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) {
        let part = self.part(offset, bytes.len(), "write");
        for (to, from) in part.iter().zip(bytes) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    /// Returns the bytes, each of which can be read and changed at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// memory.as_atomics()[9].fetch_add(7, Ordering::Relaxed);
    /// assert_eq!(memory.as_atomics()[9].load(Ordering::Relaxed), 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn as_atomics(&self) -> &[AtomicU8] {
        // SAFETY: so many bytes are mapped while `self` lives, they are made for sharing, and any of them is an atomic. That
        // others touch them otherwise than by atomics is up to their `unsafe`, or to other programs.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.len()) }
    }

    /// Returns where the memory begins in this process: at a page. It is mapped while this or a clone lives.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// assert!(memory.as_ptr().cast::<u64>().is_aligned());
    /// # Ok::<(), mp::Error>(())
    /// ```
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.memory.base().as_ptr()
    }

    /// Returns the bytes as ordinary ones, which is the fastest way to them.
    ///
    /// # Examples
    ///
    /// ```
    /// let memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// memory.write_at(0, b"0123456789");
    /// // SAFETY: nobody else knows of the memory.
    /// let bytes = unsafe { memory.as_slice() };
    /// assert_eq!(bytes.iter().max(), Some(&b'9'));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// Nobody, in any program, writes to the memory while the slice is in use.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped while `self` lives; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Returns the bytes as ordinary ones that can be changed.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut memory = mp::SharedMemory::create(None, 10)?;
    /// memory.unlink()?;
    /// // SAFETY: nobody else knows of the memory.
    /// unsafe { memory.as_mut_slice() }.fill(7);
    /// assert_eq!(memory.as_atomics()[9].load(std::sync::atomic::Ordering::Relaxed), 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// Nobody else, in any program, reads or writes the memory while the slice is in use; clones are somebody else.
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes are mapped while `self` lives; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }

    fn of(name: &str, memory: NamedMemory) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            memory,
        }))
    }

    #[track_caller]
    fn part(&self, offset: usize, length: usize, verb: &str) -> &[AtomicU8] {
        let end = offset.checked_add(length);
        end.and_then(|end| self.as_atomics().get(offset..end))
            .unwrap_or_else(|| {
                panic!(
                    "cannot {verb} {length} bytes at {offset} of the shared memory `{}`, which has {}",
                    self.name(),
                    self.len()
                )
            })
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.name())
            .field("len", &self.len())
            .finish()
    }
}

/// In a message it is its name, and what tells it from other memory that may have the name later.
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.name(), self.0.memory.identity()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, identity) = <(String, (u64, u64))>::deserialize(deserializer)?;
        match Self::open(&name) {
            Ok(memory) if memory.0.memory.identity() == identity => Ok(memory),
            Ok(_) => Err(de::Error::custom(format_args!(
                "the shared memory `{name}` was unlinked on the way, and other memory has its name now; unlink it when the \
                 receiver has it"
            ))),
            Err(error) => Err(de::Error::custom(format_args!(
                "{error}; a message carries its name only, so unlink it when the receiver has it"
            ))),
        }
    }
}

fn make(name: &str, size: usize) -> io::Result<SharedMemory> {
    if size == 0 {
        return Err(invalid("it would have no bytes; choose a size above 0"));
    }
    if size > isize::MAX as usize {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(SharedMemory::of(name, NamedMemory::create(name, size)?))
}

/// The name without its slash, if it is a name.
fn checked(name: &str) -> io::Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let problem = match bare {
        "" => "the name is empty",
        "." | ".." => "the name is that of a folder",
        _ if bare.contains('/') => {
            "the name has a slash inside; one is allowed at the beginning only"
        }
        _ if bare.contains('\0') => "the name has a NUL byte inside",
        _ if bare.len() > LONGEST_MEMORY_NAME => "the name is too long",
        _ => return Ok(bare),
    };
    Err(invalid(problem))
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// The system's error in words that say what to do.
fn explained(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "memory of this name exists already; open it, choose another name, or unlink it if nobody \
             needs it any more"
        }
        io::ErrorKind::NotFound => {
            "no memory has this name: it was not created yet, or is unlinked already"
        }
        io::ErrorKind::StorageFull => {
            "the system does not have that much shared memory free (on Linux, `df /dev/shm` shows it)"
        }
        io::ErrorKind::PermissionDenied => "it belongs to another user",
        _ => return error,
    };
    io::Error::new(error.kind(), advice)
}
