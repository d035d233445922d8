//! Where a child's standard streams go.

use std::fs::File;
use std::io;

use crate::sys::{self, ChildStdio, OwnedFd};

/// Where one of a child's standard streams goes.
///
/// Whatever converts into it can be given to [`Builder::stdin`](crate::Builder::stdin) and its kin: a [`File`], an
/// [`OwnedFd`], a [`std::process::Stdio`].
///
/// A [`std::process::Stdio`], and so [`piped`](Self::piped), cannot be looked into, so that a start with one goes
/// through [`std::process::Command`] with fork, whose cost grows with the memory of the parent. The others do not have
/// that cost.
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
        Self(Kind::Std(std::process::Stdio::piped()))
    }

    /// What the start of a program takes.
    pub(super) fn open(self, writable: bool) -> io::Result<ChildStdio> {
        let file = match self.0 {
            Kind::Inherit => return Ok(ChildStdio::Inherit),
            Kind::Fd(fd) => return Ok(ChildStdio::Fd(fd)),
            Kind::Std(stdio) => return Ok(ChildStdio::Std(stdio)),
            Kind::Null => File::options()
                .read(!writable)
                .write(writable)
                .open("/dev/null"),
            Kind::File(file) => Ok(file),
        };
        file.and_then(sys::fd_of_file).map(ChildStdio::Fd)
    }
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
