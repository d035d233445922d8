//! Connections: pipes between two processes, made of kernel sockets.
//!
//! A socket does what memory cannot: it tells the death of the peer, whatever its kind, can be polled with other
//! descriptors, and carries descriptors. A message is one packet, so that no death leaves half of one. What is large,
//! or names objects, goes as a parcel in the arena, and the packet names the parcel; the pipe's object owns it
//! meanwhile.
//!
//! | first byte | the rest of the packet |
//! |---|---|
//! | `VALUE`, `BYTES` | the message |
//! | `VALUE \| PARCEL`, `BYTES \| PARCEL` | the place of the message's parcel |
//! | `VALUE \| FILE`, `BYTES \| FILE` | the length of the message, which is in the file whose descriptor comes last |
//!
//! An end that has gone to an isolated process, which maps no arena, is sent no parcels: what is large goes as a sealed file in
//! memory. Who sends must know: the two ends of a pipe share a word for it in the process that made it.

mod async_forms;
mod fd;
mod link;
mod packet;
mod simplex;
mod socket;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

pub use self::fd::Fd;
use self::link::Link;
use self::packet::{Content, Message, Received};
pub use self::simplex::{Receiver, Sender, channel};
pub(crate) use self::socket::{Socket, cut_off};
use crate::arena::{Draft, Incoming, Outgoing};
use crate::error::{DecodeError, Error, RecvError, Result, SendError};
use crate::sync::deadline_after;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};
use crate::wire;

/// One end of a two-way connection, which sends `S` and receives `R`.
///
/// When the peer is gone (dropped, exited or killed) and its last message has been received, receiving fails with
/// [`RecvError::Closed`] and sending with [`SendError::Closed`]. The peer is gone when the last copy of it is: a
/// connection that was passed to a child by value is not open in the parent any more.
///
/// A connection can be sent in any message of its tree: as an argument or return value, through a queue, over another
/// connection. While it waits in a queue or return value, it counts among the descriptors whose number the system limits,
/// see [`Fd`]. It can be polled by its descriptor ([`AsFd`]): that is readable when a message or the end is there.
///
/// # Examples
///
/// ```
/// let (a, b) = mp::pipe::<u32, String>()?;
/// a.send(7)?;
/// b.send(format!("got {}", b.recv()?))?;
/// assert_eq!(a.recv()?, "got 7");
/// drop(b);
/// assert!(matches!(a.recv(), Err(mp::RecvError::Closed)));
///
/// let (c, d) = mp::pipe::<u32, u32>()?;
/// let queue = mp::Queue::new()?;
/// queue.put(d)?;
/// c.send(7)?;
/// assert_eq!(queue.get()?.recv()?, 7);
/// # Ok::<(), mp::Error>(())
/// ```
pub struct Connection<S, R> {
    socket: Socket,
    link: Link,
    /// A message that is looked at is not taken by another thread.
    receiving: Mutex<()>,
    _types: PhantomData<fn(S) -> R>,
}

/// Makes a connection: the first end sends `A` and receives `B`, the second sends `B` and receives `A`.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn serve(peer: mp::Connection<String, u32>) {
///     while let Ok(number) = peer.recv() {
///         peer.send(format!("got {number}")).unwrap();
///     }
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let (here, there) = mp::pipe::<u32, String>()?;
///     let process = mp::spawn!(serve, there)?;
///     here.send(7)?;
///     assert_eq!(here.recv()?, "got 7");
///     drop(here); // which ends the loop of `serve`
///     process.join()?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`Error::Os`](crate::Error::Os) when the system gives no more descriptors or the shared memory cannot be made, and
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when that is full.
pub fn pipe<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)> {
    let (first, second) = sys::packet_pair()
        .map_err(|error| Error::os("cannot make the sockets of a pipe", error))?;
    let [here, there] = Link::new_pair()?;
    Ok((Connection::new(first, here), Connection::new(second, there)))
}

impl<S, R> Connection<S, R> {
    fn new(socket: OwnedFd, link: Link) -> Self {
        Self {
            socket: Socket::new(socket),
            link,
            receiving: Mutex::default(),
            _types: PhantomData,
        }
    }

    /// Sends bytes as they are; the peer receives them with [`recv_bytes`](Self::recv_bytes). An empty message is one
    /// too.
    ///
    /// It waits while the peer has not received what the system keeps for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<(), ()>()?;
    /// a.send_bytes(b"tea")?;
    /// assert_eq!(b.recv_bytes()?, b"tea");
    /// drop(b);
    /// assert_eq!(a.send_bytes(b"toast"), Err(mp::SendError::Closed(())));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the peer is gone, and [`SendError::Failed`] when the shared memory is full or the
    /// system refuses.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
        let message = Message::Bytes(bytes);
        self.transmit(Content::Bytes, message, &mut Outgoing::default())
    }

    /// Waits for a message of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// a.send_bytes(b"tea")?;
    /// a.send(7)?;
    /// assert_eq!(b.recv_bytes()?, b"tea");
    /// assert!(matches!(b.recv_bytes(), Err(mp::RecvError::Failed(_))));
    /// assert_eq!(b.recv()?, 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the peer is gone, and [`RecvError::Failed`] when its next message was sent by
    /// [`send`](Self::send), in which case it is still there, or the system refuses.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.receive_bytes(usize::MAX, |bytes| bytes.to_vec())
    }

    /// Waits for a message of bytes, copies it to the front of `buffer`, and returns its length.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<(), ()>()?;
    /// let mut buffer = [0; 4];
    /// a.send_bytes(b"tea")?;
    /// assert_eq!(b.recv_bytes_into(&mut buffer)?, 3);
    /// assert_eq!(&buffer[..3], b"tea");
    ///
    /// a.send_bytes(b"toast")?;
    /// let too_long = b.recv_bytes_into(&mut buffer);
    /// assert_eq!(too_long, Err(mp::RecvError::TooLong { length: 5, buffer: 4 }));
    /// assert_eq!(b.recv_bytes()?, b"toast");
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::TooLong`] when it does not fit: the message can still be received. And those of
    /// [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.receive_bytes(buffer.len(), |bytes| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        })
    }

    /// Waits until a message or the end is there, for at most `timeout`; returns whether it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// assert!(!b.poll(Duration::ZERO)?);
    /// a.send(7)?;
    /// assert!(b.poll(Duration::MAX)?);
    /// assert_eq!(b.try_recv()?, 7);
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) when the system refuses.
    pub fn poll(&self, timeout: Duration) -> Result<bool> {
        sys::poll_readable(self.socket.as_fd(), deadline_after(timeout))
            .map_err(|error| Error::os("cannot wait for a message on a connection", error))
    }

    fn transmit(
        &self,
        content: Content,
        message: Message<'_>,
        outgoing: &mut Outgoing,
    ) -> Result<(), SendError<()>> {
        let sent = packet::send(self.socket.as_fd(), &self.link, content, message, outgoing);
        sent.map_err(|error| match error {
            Error::Os { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                SendError::Closed(())
            }
            other => SendError::Failed((), other.to_string()),
        })
    }

    /// Waits for a message until `deadline`, and returns what `open` makes of it.
    fn receive<T>(
        &self,
        deadline: Option<Instant>,
        open: impl FnOnce(Received) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        loop {
            match self.receive_now() {
                Err(RecvError::Empty) => {}
                other => return open(other?),
            }
            if !self.wait_readable(deadline)? {
                return Err(RecvError::TimedOut);
            }
        }
    }

    /// Waits for a message of at most `most` bytes, and returns what `open` makes of it. Another message is left there.
    fn receive_bytes<T>(&self, most: usize, open: impl FnOnce(&[u8]) -> T) -> Result<T, RecvError> {
        loop {
            let receiving = self.receiving.lock();
            let (socket, link) = (self.socket.as_fd(), &self.link);
            let next = packet::look_at_next(socket, link).inspect_err(|_| {
                // What nobody can receive is not left in the way.
                let _ = packet::receive(socket, link);
            })?;
            match next {
                Some((Content::Value, _)) => {
                    return Err(RecvError::Failed(
                        "the next message was sent by `send`, and is still there; receive it with `recv`".to_owned(),
                    ));
                }
                Some((Content::Bytes, length)) if length > most => {
                    return Err(RecvError::TooLong {
                        length,
                        buffer: most,
                    });
                }
                Some(_) => {
                    if let Some(message) = packet::receive(socket, link)? {
                        let length = message.all().len();
                        // Another one, if another process has the same socket.
                        if length > most {
                            return Err(RecvError::TooLong {
                                length,
                                buffer: most,
                            });
                        }
                        return Ok(open(message.all()));
                    }
                }
                None => {}
            }
            drop(receiving);
            self.wait_readable(None)?;
        }
    }

    fn receive_now(&self) -> Result<Received, RecvError> {
        let _receiving = self.receiving.lock();
        packet::receive(self.socket.as_fd(), &self.link)?.ok_or(RecvError::Empty)
    }

    fn wait_readable(&self, deadline: Option<Instant>) -> Result<bool, RecvError> {
        sys::poll_readable(self.socket.as_fd(), deadline).map_err(packet::failed)
    }
}

impl<S: Serialize, R> Connection<S, R> {
    /// Sends a value. It waits while the peer has not received what the system keeps for it (some hundred messages).
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<Vec<u8>, ()>()?;
    /// a.send(vec![1, 2, 3])?;
    /// assert_eq!(b.recv()?, [1, 2, 3]);
    /// drop(b);
    /// assert_eq!(a.send(vec![4]), Err(mp::SendError::Closed(vec![4])));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With the value: [`SendError::Closed`] when the peer is gone, also while this waits, [`SendError::Encode`] when
    /// the value cannot be encoded, and [`SendError::Failed`] when the shared memory is full or the system refuses.
    pub fn send(&self, value: S) -> Result<(), SendError<S>> {
        let encode = |draft: &mut Draft| {
            wire::append(&value, draft, &|| "a value for a connection".to_owned())
        };
        let transmit = |draft: &mut Draft, outgoing: &mut Outgoing| {
            self.transmit(Content::Value, Message::Draft(draft), outgoing)
        };
        let sent = match self.link.is_plain() {
            true => wire::with_plain_draft(encode, transmit),
            false => wire::with_draft(encode, transmit),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(SendError::Closed(()))) => Err(SendError::Closed(value)),
            Ok(Err(error)) => Err(SendError::Failed(value, error.to_string())),
            Err(error) => Err(SendError::Encode(value, error)),
        }
    }
}

impl<S, R: DeserializeOwned> Connection<S, R> {
    /// Waits for a value.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// a.send(7)?;
    /// drop(a);
    /// assert_eq!(b.recv(), Ok(7)); // what was sent comes first
    /// assert_eq!(b.recv(), Err(mp::RecvError::Closed));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when the peer is gone, [`RecvError::Decode`] when what it sent is no `R`, and
    /// [`RecvError::Failed`] when the system refuses.
    pub fn recv(&self) -> Result<R, RecvError> {
        self.receive(None, |message| self.decode(message))
    }

    /// Receives a value if one is there.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// assert_eq!(b.try_recv(), Err(mp::RecvError::Empty));
    /// a.send(7)?;
    /// assert_eq!(b.try_recv(), Ok(7));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] when none is, and those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<R, RecvError> {
        self.decode(self.receive_now()?)
    }

    /// Waits for a value for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (a, b) = mp::pipe::<u32, u32>()?;
    /// assert_eq!(b.recv_timeout(Duration::from_millis(1)), Err(mp::RecvError::TimedOut));
    /// a.send(7)?;
    /// assert_eq!(b.recv_timeout(Duration::MAX), Ok(7));
    /// # Ok::<(), mp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`] when none came in time, and those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError> {
        self.receive(deadline_after(timeout), |message| self.decode(message))
    }

    fn decode(&self, mut message: Received) -> Result<R, RecvError> {
        let subject = || "a value from a connection".to_owned();
        let fds = std::mem::take(&mut message.fds);
        let bytes = message
            .value()
            .map_err(|cause| RecvError::Decode(DecodeError::new::<R>(subject(), cause)))?;
        match self.link.is_plain() {
            // It comes from an isolated process, or goes to one.
            true => wire::decode_plain(bytes, fds, &subject),
            false => wire::decode(bytes, fds, &subject),
        }
        .map_err(RecvError::Decode)
    }
}

impl<S, R> AsFd for Connection<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("fd", &sys::fd_number(self.socket.as_fd()))
            .finish()
    }
}

/// A connection in a message is its descriptor, the object of its pipe, and which end it is.
impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let fd = Outgoing::attach(self.socket.as_fd()).map_err(|reason| {
            ser::Error::custom(format_args!("a connection cannot be sent here: {reason}"))
        })?;
        let pipe = match Outgoing::is_plain() {
            true => {
                self.link.becomes_plain();
                None
            }
            false => self.link.pipe.as_ref(),
        };
        (fd, pipe, self.link.side).serialize(serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fd, pipe, side): (u32, _, u8) = Deserialize::deserialize(deserializer)?;
        let socket = Incoming::detach(fd).ok_or_else(|| {
            de::Error::custom(
                "the message names a connection whose descriptor did not come with it",
            )
        })?;
        if side > 1 {
            return Err(de::Error::custom(
                "a pipe has two ends, and the message names another",
            ));
        }
        Ok(Self::new(socket, Link::arrived(pipe, side)))
    }
}
