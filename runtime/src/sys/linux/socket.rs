//! Sockets that keep messages whole.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
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
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
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
        match rustix::net::sendmsg(socket, parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => {
                kill_point();
                return Ok(());
            }
            Err(Errno::INTR) => continue,
            Err(Errno::CONNRESET) => return Err(Errno::PIPE.into()),
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
    let mut flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    if peek {
        flags |= RecvFlags::PEEK;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = if peek {
        RecvAncillaryBuffer::default()
    } else {
        RecvAncillaryBuffer::new(&mut space)
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
    if !peek && received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "descriptors that came with the message were lost: this process may have no more of them open (ulimit -n)",
        ));
    }
    if received.flags.contains(ReturnFlags::TRUNC) && !peek {
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
