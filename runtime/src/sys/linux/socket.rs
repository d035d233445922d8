//! Sockets that keep messages whole.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::kill_point::kill_point;

/// The most descriptors that the kernel passes with one message (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// `socketpair(AF_UNIX, SOCK_SEQPACKET)`—Two connected ends that keep messages whole.
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man7/unix.7.html)
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (first, second) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((
        super::thread::no_stream(first)?,
        super::thread::no_stream(second)?,
    ))
}

/// `sendmsg(socket, parts, fds)`—Sends one message made of `parts`, with descriptors; waits for room.
///
/// # Errors
///
/// `BrokenPipe` when the peer is gone.
pub(crate) fn send_packet(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send(socket, parts, fds, SendFlags::NOSIGNAL)
}

/// `sendmsg(socket, parts, fds, MSG_DONTWAIT)`—Sends one message made of `parts`, with descriptors, if there is room.
///
/// # Errors
///
/// `WouldBlock` when the socket's buffer is full, and `QuotaExceeded` when this user has too many descriptors in messages.
pub(crate) fn offer_packet(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    send(socket, parts, fds, flags)
}

fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        let error = format!(
            "{} descriptors in one message; the system passes at most {MAX_FDS}",
            fds.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    let mut space = Vec::new();
    let mut control = SendAncillaryBuffer::default();
    if !fds.is_empty() {
        space.resize(
            rustix::cmsg_space!(ScmRights(MAX_FDS)),
            MaybeUninit::uninit(),
        );
        control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    kill_point();
    loop {
        match rustix::net::sendmsg(socket, parts, &mut control, flags) {
            Ok(_) => {
                kill_point();
                return Ok(());
            }
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => return Err(Errno::PIPE.into()),
            Err(Errno::TOOMANYREFS) => {
                let error =
                    "this user has more descriptors in messages than files it may open (ulimit -n)";
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, error));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// One message as it was received.
#[derive(Debug)]
pub(crate) enum Packet {
    /// This many bytes, with these descriptors.
    Message(usize, Vec<OwnedFd>),
    /// Nothing is there yet.
    Empty,
    /// The peer is gone, and everything that it sent has been received.
    Closed,
}

/// `recvmsg(socket, MSG_DONTWAIT)`—Receives one message into `buffer`, if one is there; `peek` leaves it there.
///
/// `O_NONBLOCK` is not used: it belongs to the open description, which other processes may share.
///
/// # Errors
///
/// When the message is longer than the buffer, or descriptors were lost because this process has too many.
pub(crate) fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    peek: bool,
) -> io::Result<Packet> {
    receive(socket, buffer, peek, !peek)
}

/// `recvmsg(socket, MSG_DONTWAIT | MSG_PEEK)`—Copies the next message into `buffer`, with duplicates of its descriptors, if
/// one is there, and leaves it there.
///
/// # Errors
///
/// Those of [`receive_packet`].
pub(crate) fn copy_packet(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Packet> {
    receive(socket, buffer, true, true)
}

/// `recvmsg(socket, MSG_DONTWAIT)`—Drops the next message, if one is there; the kernel closes its descriptors.
pub(crate) fn discard_packet(socket: BorrowedFd<'_>) -> io::Result<()> {
    receive(socket, &mut [0], false, false).map(drop)
}

fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    peek: bool,
    with_fds: bool,
) -> io::Result<Packet> {
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    if peek {
        flags |= RecvFlags::PEEK;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = if with_fds {
        RecvAncillaryBuffer::new(&mut space)
    } else {
        RecvAncillaryBuffer::default()
    };
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Ok(Packet::Empty),
            // The peer is gone and left messages unread, which is told once; what it sent is still there.
            Err(Errno::CONNRESET) => continue,
            other => break other?,
        }
    };
    kill_point();
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    // No message of this library is empty, so that this is the end.
    if received.bytes == 0 {
        return Ok(Packet::Closed);
    }
    if with_fds && received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "descriptors that came with the message were lost: this process may have no more of them open (ulimit -n)",
        ));
    }
    if received.flags.contains(ReturnFlags::TRUNC) && with_fds {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message is longer than any that this library sends",
        ));
    }
    Ok(Packet::Message(received.bytes, fds))
}

/// `poll(socket)`—Waits until a message or the end is there or `deadline` passed, and says which.
pub(crate) fn poll_readable(socket: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    super::process::poll(socket, deadline)
}

/// `setsockopt(SO_PEEK_OFF)`—Lets the next look at what this end will receive begin so many bytes behind its start; `None`
/// lets all looks begin there.
pub(crate) fn peek_from(socket: BorrowedFd<'_>, place: Option<usize>) -> io::Result<()> {
    let place: libc::c_int = place.map_or(Ok(-1), |place| {
        libc::c_int::try_from(place).map_err(io::Error::other)
    })?;
    // SAFETY: the pointer leads to an integer of the length that is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const place).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a socket keeps of what was sent and not received yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendBuffer {
    /// In bytes of the system's own counting, which is generous.
    pub(crate) used: usize,
    pub(crate) size: usize,
}

/// `ioctl(SIOCOUTQ)`, `getsockopt(SO_SNDBUF)`—How full the buffer is that this end sends into.
pub(crate) fn send_buffer(socket: BorrowedFd<'_>) -> io::Result<SendBuffer> {
    let mut used: libc::c_int = 0;
    // SAFETY: the call writes an integer to where the pointer leads.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut used) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(SendBuffer {
        used: used.unsigned_abs() as usize,
        size: rustix::net::sockopt::socket_send_buffer_size(socket)?,
    })
}

/// `setsockopt(SO_SNDBUF)`—Makes the buffer that this end sends into as large as the system allows (`net.core.wmem_max`).
pub(crate) fn grow_send_buffer(socket: BorrowedFd<'_>) -> io::Result<()> {
    const MOST: usize = 1 << 30;
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(
        socket, MOST,
    )?)
}
