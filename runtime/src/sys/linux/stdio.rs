//! Where a [`std::process::Stdio`] leads: only [`std::process::Command`] can tell.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::Packet;

/// What the standard streams of a program are to be.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// For the program; without one it has that of its parent.
    pub(crate) fds: [Option<OwnedFd>; 3],
    /// The other ends of those that are pipes, for its parent.
    pub(crate) pipes: [Option<OwnedFd>; 3],
}

/// `fork()`, `sendmsg(SCM_RIGHTS)`—Opens what these lead to.
///
/// A `Command` is started that does not come to execute its program: between fork and exec it sends its standard streams
/// back. The cost of the fork grows with the memory that this process has touched.
pub(crate) fn open_streams(streams: [Option<Stdio>; 3]) -> io::Result<Streams> {
    let wanted = streams.each_ref().map(Option::is_some);
    let (here, there) = super::packet_pair()?;
    let mut command = Command::new("/");
    let [stdin, stdout, stderr] = streams.map(|stream| stream.unwrap_or_else(Stdio::null));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let send = move || {
        send_streams(there.as_fd())?;
        // SAFETY: it ends the copy that sends, before anything that was registered for the exit of this process.
        unsafe { libc::_exit(0) }
    };
    // SAFETY: between fork and exec the closure makes system calls only: it neither allocates nor locks.
    unsafe { command.pre_exec(send) };
    let mut sender = command.spawn()?;
    // The closure has the other end.
    drop(command);
    let packet = super::poll_readable(here.as_fd(), None)
        .and_then(|_| super::receive_packet(here.as_fd(), &mut [0; 1], false));
    let pipes = [
        sender.stdin.take().map(OwnedFd::from),
        sender.stdout.take().map(OwnedFd::from),
        sender.stderr.take().map(OwnedFd::from),
    ];
    // Whoever else waits for children may have had it.
    let _ = sender.wait();
    let Packet::Message(_, fds) = packet? else {
        return Err(io::Error::other("a standard stream is not open"));
    };
    let mut opened = Streams {
        pipes,
        ..Streams::default()
    };
    for ((place, fd), wanted) in opened.fds.iter_mut().zip(fds).zip(wanted) {
        *place = wanted.then_some(fd);
    }
    Ok(opened)
}

/// `pipe2(O_CLOEXEC)`—Makes a pipe for a standard stream: the end to read, and the end to write. Both wait.
pub(crate) fn stream_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    let (read, write) = (read.into(), write.into());
    Ok((
        super::thread::no_stream(read)?,
        super::thread::no_stream(write)?,
    ))
}

fn send_streams(socket: BorrowedFd<'_>) -> io::Result<()> {
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&streams));
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The standard streams of this process that are open.
pub(crate) fn own_streams() -> [Option<BorrowedFd<'static>>; 3] {
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    streams.map(|stream| rustix::io::fcntl_getfd(stream).is_ok().then_some(stream))
}

/// `dup2()`—Makes these the standard streams of this process.
pub(crate) fn replace_streams(streams: [Option<BorrowedFd<'_>>; 3]) -> io::Result<()> {
    let [stdin, stdout, stderr] = streams;
    stdin.map_or(Ok(()), rustix::stdio::dup2_stdin)?;
    stdout.map_or(Ok(()), rustix::stdio::dup2_stdout)?;
    Ok(stderr.map_or(Ok(()), rustix::stdio::dup2_stderr)?)
}
