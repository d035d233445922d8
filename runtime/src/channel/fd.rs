//! Open files, sockets and other descriptors as values.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::arena::{Incoming, Outgoing};
use crate::sys::{AsFd, BorrowedFd, OwnedFd};

/// An open file, socket or anything else that owns a descriptor, which can be sent in any message: as an argument or
/// return value, through a queue, over a connection, on its own or inside of something.
///
/// `T` is a type that can be made of an [`OwnedFd`](std::os::fd::OwnedFd) and borrowed as one ([`AsFd`]): [`File`],
/// [`TcpStream`], [`UnixListener`], `OwnedFd` itself, … The receiver has a duplicate, as `dup` makes it: the sender keeps its own, and
/// what belongs to the open file, such as the position in it, is shared. A message must be received as the type that it was
/// sent as.
///
/// Descriptors in a message stay open until it is received or nobody can receive it any more, also when the process that
/// sent them has ended. In every process they are close-on-exec, so that no program that it starts inherits them.
///
/// How many can wait in queues and return values of a tree is limited: to most of the number of files that a process may
/// open (`ulimit -n`), and to what the buffer of a socket holds (`sysctl net.core.wmem_max`; some hundreds of messages where
/// that was never raised). Sending more is an error. Those in arguments do not count, nor those on connections, unless there
/// are more than 253 in one message.
///
/// [`File`]: std::fs::File
/// [`TcpStream`]: std::net::TcpStream
/// [`UnixListener`]: std::os::unix::net::UnixListener
///
/// # Examples
///
/// ```
/// use std::io::{Read, Seek, Write};
///
/// # fn temporary() -> std::io::Result<std::fs::File> {
/// #     let path = std::env::temp_dir().join(format!("multiproc-fd-{}", std::process::id()));
/// #     let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
/// #     std::fs::remove_file(path)?;
/// #     Ok(file)
/// # }
/// #[mp::process_fn]
/// fn write_to(mut file: mp::Fd<std::fs::File>) -> mp::Fd<std::fs::File> {
///     file.write_all(b"tea").unwrap();
///     file
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let mut file = mp::spawn!(write_to, temporary()?.into())?.join()?;
///
///     let queue = mp::Queue::new()?;
///     queue.put_ref(&file)?;
///     file.write_all(b" and toast")?;
///
///     let mut same: std::fs::File = queue.get()?.into_inner();
///     same.rewind()?;
///     let mut text = String::new();
///     same.read_to_string(&mut text)?;
///     assert_eq!(text, "tea and toast");
///     Ok(())
/// }
/// ```
pub struct Fd<T>(T);

impl<T> Fd<T> {
    /// Wraps an open file or socket, to be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let file = mp::Fd::new(std::fs::File::open("/dev/null")?);
    /// assert_eq!(file.metadata()?.len(), 0); // what a `File` can do
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(inner: T) -> Self {
        Self(inner)
    }

    /// Returns what was wrapped, or arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// let file: std::fs::File = mp::Fd::new(std::fs::File::open("/dev/null")?).into_inner();
    /// assert_eq!(file.metadata()?.len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Fd<T> {
    fn from(inner: T) -> Self {
        Self(inner)
    }
}

impl<T> Deref for Fd<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fd<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: AsFd> AsFd for Fd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for Fd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fd").field(&self.0).finish()
    }
}

/// In a message it is the number of its descriptor among those of the message, and the type, since the system takes any
/// descriptor for any.
impl<T: AsFd> Serialize for Fd<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let type_name = std::any::type_name::<T>();
        let index = Outgoing::attach(self.0.as_fd()).map_err(|reason| {
            ser::Error::custom(format_args!(
                "a `{type_name}` cannot be sent here: {reason}"
            ))
        })?;
        (index, type_name).serialize(serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Fd<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (index, sent): (u32, String) = Deserialize::deserialize(deserializer)?;
        let type_name = std::any::type_name::<T>();
        let fd = Incoming::detach(index).ok_or_else(|| {
            de::Error::custom(format_args!(
                "the message names a `{type_name}` whose descriptor did not come with it: its bytes were altered, or it was kept \
                 outside of mp's messages"
            ))
        })?;
        if sent != type_name {
            return Err(de::Error::custom(format_args!(
                "the message brings the descriptor of a `{sent}`, where a `{type_name}` is wanted; sender and receiver must name \
                 the same types"
            )));
        }
        Ok(Self(T::from(fd)))
    }
}
