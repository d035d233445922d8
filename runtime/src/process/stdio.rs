//! Where a child's standard streams go.

use std::fs::File;
use std::io;

use crate::sys::{self, OwnedFd, Streams};

/// Where one of a child's standard streams goes.
///
/// Whatever converts into it can be given to [`Builder::stdin`](crate::Builder::stdin) and its kin: a [`File`], an
/// [`OwnedFd`], a [`std::process::Stdio`].
///
/// A [`std::process::Stdio`] cannot be looked into: where it leads is found by a fork of the parent, whose cost grows with the
/// memory of the parent. The others do not have that cost.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn read() -> String {
///     std::io::read_to_string(std::io::stdin()).expect("the input is text")
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let file = std::fs::File::open("/proc/self/comm")?;
///     let process = mp::Builder::new().stdin(file).spawn::<read>(())?;
///     assert_eq!(process.join()?, std::fs::read_to_string("/proc/self/comm")?);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
    File(File),
    Std(std::process::Stdio),
}

impl Stdio {
    /// Sends the stream where the parent's goes. This is the default.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn work() {}
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// mp::Builder::new().stdout(mp::Stdio::inherit()).spawn::<work>(())?.join()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Sends the stream nowhere: reading gives the end, and what is written is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[mp::process_fn]
    /// # fn read() -> String {
    /// #     std::io::read_to_string(std::io::stdin()).expect("the input is text")
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().stdin(mp::Stdio::null()).spawn::<read>(())?;
    /// assert_eq!(process.join()?, "");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "DEVNULL")]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// Sends the stream through a pipe, whose other end is
    /// [`ChildProcess::take_stdin`](crate::ChildProcess::take_stdin) or its kin.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # #[mp::process_fn]
    /// # fn read() -> String {
    /// #     std::io::read_to_string(std::io::stdin()).expect("the input is text")
    /// # }
    /// # #[mp::main]
    /// # fn main() -> mp::Result<()> {
    /// let process = mp::Builder::new().stdin(mp::Stdio::piped()).spawn::<read>(())?;
    /// process.take_stdin().expect("it is piped").write_all(b"tea")?;
    /// assert_eq!(process.join()?, "tea");
    /// # Ok(())
    /// # }
    /// ```
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

/// Opens what a child's standard streams are to be; those that are missing are its parent's.
pub(super) fn open(streams: [Option<Stdio>; 3]) -> io::Result<Streams> {
    let mut opened = Streams::default();
    let mut opaque = [None, None, None];
    for (number, stream) in streams.into_iter().enumerate() {
        let writable = number > 0;
        let file = match stream {
            None | Some(Stdio(Kind::Inherit)) => continue,
            Some(Stdio(Kind::Std(stdio))) => {
                opaque[number] = Some(stdio);
                continue;
            }
            Some(Stdio(Kind::Piped)) => {
                let (read, write) = sys::stream_pipe()?;
                let (fd, pipe) = if writable {
                    (write, read)
                } else {
                    (read, write)
                };
                (opened.fds[number], opened.pipes[number]) = (Some(fd), Some(pipe));
                continue;
            }
            Some(Stdio(Kind::Fd(fd))) => fd,
            Some(Stdio(Kind::File(file))) => sys::fd_of_file(file)?,
            Some(Stdio(Kind::Null)) => {
                let mut options = File::options();
                let null = options.read(!writable).write(writable).open("/dev/null")?;
                sys::fd_of_file(null)?
            }
        };
        opened.fds[number] = Some(file);
    }
    if opaque.iter().any(Option::is_some) {
        let found = sys::open_streams(opaque)?;
        for (number, (fd, pipe)) in found.fds.into_iter().zip(found.pipes).enumerate() {
            if fd.is_some() {
                (opened.fds[number], opened.pipes[number]) = (fd, pipe);
            }
        }
    }
    Ok(opened)
}

impl From<std::process::Stdio> for Stdio {
    fn from(stdio: std::process::Stdio) -> Self {
        Self(Kind::Std(stdio))
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Self {
        Self(Kind::Fd(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self(Kind::File(file))
    }
}
