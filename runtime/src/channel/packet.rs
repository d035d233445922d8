//! Messages as packets, and as parcels that packets name.
//!
//! # Safety
//!
//! A parcel is reached by its place only after it was found in its pipe's list, under the arena's lock (A5).

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::atomic::AtomicU64;

use super::link::Link;
use crate::arena::{Arena, Body, Care, Draft, Handle, Kind, Offset, Outgoing, Parcel};
use crate::error::{Error, RecvError, Result};
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd, Packet};

/// Longer messages are parcels.
const LONGEST: usize = 8 << 10;

const VALUE: u8 = 0;
const BYTES: u8 = 1;
const PARCEL: u8 = 2;
const FILE: u8 = 4;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Value,
    Bytes,
}

/// The arena's side of a pipe: the parcels that are on their way, by the end that sent them.
#[repr(C)]
pub(super) struct PipeBody {
    underway: [AtomicU64; 2],
}

// SAFETY: two atomic words.
unsafe impl Body for PipeBody {
    const KIND: Kind = Kind::Pipe;
}

// Nobody sleeps at a pipe's object: the kernel wakes who waits for a message.
inventory::submit! { Care { kind: Kind::Pipe, knock: |_, _| {}, destroy: Some(destroy) } }

pub(super) fn new_pipe() -> Result<Handle<PipeBody, ()>> {
    // SAFETY: the closure writes the whole body.
    unsafe {
        Handle::create(size_of::<PipeBody>(), |place: *mut PipeBody| {
            place.write(PipeBody {
                underway: [AtomicU64::new(0), AtomicU64::new(0)],
            });
        })
    }
}

/// Frees what was sent and will not be received.
fn destroy(arena: &'static Arena, body: Offset) {
    // SAFETY: a pipe's body, which the undertaker has to itself.
    let pipe: &PipeBody = unsafe { arena.at(body) };
    for list in &pipe.underway {
        loop {
            let first = arena.begin().nodes(list).next();
            let Some(parcel) = first else { break };
            // SAFETY: the list owns the parcel, and nobody else reaches the list any more.
            unsafe { arena.free_parcel(parcel, true) };
        }
    }
}

/// A message as it was received.
pub(super) struct Received {
    content: Content,
    body: ReceivedBody,
    pub(super) fds: Vec<OwnedFd>,
}

enum ReceivedBody {
    Inline(Vec<u8>),
    Parcel(Parcel),
}

impl Received {
    /// The message's bytes.
    pub(super) fn all(&self) -> &[u8] {
        match &self.body {
            ReceivedBody::Inline(bytes) => bytes,
            ReceivedBody::Parcel(parcel) => parcel.bytes(),
        }
    }

    /// The bytes of a message that was sent as a value.
    pub(super) fn value(&self) -> Result<&[u8], String> {
        match self.content {
            Content::Value => Ok(self.all()),
            Content::Bytes => {
                Err("the message was sent by `send_bytes`; receive it with `recv_bytes`".to_owned())
            }
        }
    }
}

/// The bytes of a message that is to be sent.
pub(super) enum Message<'a> {
    Bytes(&'a [u8]),
    Draft(&'a mut Draft),
}

impl Message<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Message::Bytes(bytes) => bytes,
            Message::Draft(draft) => draft.bytes(),
        }
    }
}

/// Sends a message from this end.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    link: &Link,
    content: Content,
    message: Message<'_>,
    outgoing: &mut Outgoing,
) -> Result<()> {
    let kind = match content {
        Content::Value => VALUE,
        Content::Bytes => BYTES,
    };
    match &link.pipe {
        Some(pipe) if !link.is_plain() => {
            // An end of this pipe in a message over it: whoever receives it has the pipe, and nobody frees a parcel that keeps
            // its owner.
            outgoing.objects.retain(|held| !pipe.is_of(held));
            send_in_tree(socket, pipe, link.side, kind, message, outgoing)
        }
        _ => send_plain(
            socket,
            kind,
            message.bytes(),
            std::mem::take(&mut outgoing.fds),
        ),
    }
}

fn send_packet(socket: BorrowedFd<'_>, kind: u8, rest: &[u8], fds: &[OwnedFd]) -> Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    sys::send_packet(socket, &[IoSlice::new(&[kind]), IoSlice::new(rest)], &fds)
        .map_err(|error| Error::os("cannot send over a connection", error))
}

fn send_in_tree(
    socket: BorrowedFd<'_>,
    pipe: &Handle<PipeBody, ()>,
    side: u8,
    kind: u8,
    message: Message<'_>,
    outgoing: &mut Outgoing,
) -> Result<()> {
    // The system passes so many with the packet; more wait in the depot, and the parcel tells of them.
    let fds = if outgoing.fds.len() <= sys::MAX_FDS {
        std::mem::take(&mut outgoing.fds)
    } else {
        Vec::new()
    };
    if message.bytes().len() <= LONGEST && outgoing.is_empty() {
        return send_packet(socket, kind, message.bytes(), &fds);
    }
    let arena = pipe.arena();
    let parcel = match message {
        Message::Bytes(bytes) => Parcel::new(arena, bytes, outgoing),
        Message::Draft(draft) => draft.finish(arena, outgoing),
    };
    let place = parcel?.into_place();
    let mut tx = arena.begin();
    tx.detach_parcel(place);
    tx.attach_parcel(&pipe.body().underway[usize::from(side)], place);
    tx.commit();
    let sent = send_packet(socket, kind | PARCEL, &place.0.to_le_bytes(), &fds);
    if sent.is_err() {
        drop(claim(pipe, side, place));
    }
    sent
}

fn send_plain(socket: BorrowedFd<'_>, kind: u8, bytes: &[u8], mut fds: Vec<OwnedFd>) -> Result<()> {
    if bytes.len() <= LONGEST {
        return send_packet(socket, kind, bytes, &fds);
    }
    let file = sys::sealed_file(bytes)
        .map_err(|error| Error::os("cannot make a file of a large message", error))?;
    fds.push(file);
    send_packet(
        socket,
        kind | FILE,
        &(bytes.len() as u64).to_le_bytes(),
        &fds,
    )
}

/// Receives the next message for this end, if one is there.
pub(super) fn receive(socket: BorrowedFd<'_>, link: &Link) -> Result<Option<Received>, RecvError> {
    let Some((packet, mut fds)) = next_packet(socket, false)? else {
        return Ok(None);
    };
    let (content, place) = parse(&packet)?;
    let body = match place {
        Place::Packet => ReceivedBody::Inline(packet[1..].to_vec()),
        Place::File(_) => {
            let file = fds.pop().ok_or_else(unknown_parcel)?;
            ReceivedBody::Inline(sys::read_sealed(file).map_err(failed)?)
        }
        Place::Parcel(place) => {
            let pipe = link.pipe.as_ref().ok_or_else(out_of_reach)?;
            let parcel = claim(pipe, 1 - link.side, place).ok_or_else(unknown_parcel)?;
            let waiting = parcel.take_fds();
            fds.extend(waiting.map_err(|error| RecvError::Failed(error.to_string()))?);
            ReceivedBody::Parcel(parcel)
        }
    };
    Ok(Some(Received { content, body, fds }))
}

/// What the next message for this end is and how long, if one is there; leaves it there.
pub(super) fn look_at_next(
    socket: BorrowedFd<'_>,
    link: &Link,
) -> Result<Option<(Content, usize)>, RecvError> {
    let Some((packet, _)) = next_packet(socket, true)? else {
        return Ok(None);
    };
    let (content, place) = parse(&packet)?;
    let length = match place {
        Place::Packet => packet.len() - 1,
        Place::File(length) => length as usize,
        Place::Parcel(place) => {
            let pipe = link.pipe.as_ref().ok_or_else(out_of_reach)?;
            let list = &pipe.body().underway[usize::from(1 - link.side)];
            let tx = pipe.arena().begin();
            let place = tx.nodes(list).find(|node| *node == place);
            tx.parcel_length(place.ok_or_else(unknown_parcel)?) as usize
        }
    };
    Ok(Some((content, length)))
}

/// Takes a parcel that the end `side` sent out of its list. Nobody but the pipe's two ends can name one in it.
fn claim(pipe: &Handle<PipeBody, ()>, side: u8, place: Offset) -> Option<Parcel> {
    let arena = pipe.arena();
    let mut tx = arena.begin();
    tx.nodes(&pipe.body().underway[usize::from(side)])
        .find(|node| *node == place)?;
    tx.detach_parcel(place);
    tx.attach_parcel(arena.my_parcels(), place);
    tx.commit();
    // SAFETY: it is in this process's list as of now.
    Some(unsafe { Parcel::from_place(arena, place) })
}

fn unknown_parcel() -> RecvError {
    RecvError::Failed("a message names shared memory that is not its own; did something else write to the socket?".to_owned())
}

fn out_of_reach() -> RecvError {
    RecvError::Failed(
        "a message lies in shared memory, which an isolated process does not map; let the process that passed this end of the \
         connection send it, or send at most 8 KiB at once"
            .to_owned(),
    )
}

/// Where a message is.
enum Place {
    Packet,
    Parcel(Offset),
    /// In a file, with this length.
    File(u64),
}

/// What a packet says of its message.
fn parse(packet: &[u8]) -> Result<(Content, Place), RecvError> {
    let content = match packet.first().map(|kind| kind & !(PARCEL | FILE)) {
        Some(VALUE) => Content::Value,
        Some(BYTES) => Content::Bytes,
        _ => return Err(unknown_parcel()),
    };
    let word = || {
        let word = packet[1..].try_into().map_err(|_| unknown_parcel())?;
        Ok(u64::from_le_bytes(word))
    };
    let place = match packet[0] & (PARCEL | FILE) {
        0 => Place::Packet,
        PARCEL => Place::Parcel(Offset(word()?)),
        FILE => Place::File(word()?),
        _ => return Err(unknown_parcel()),
    };
    Ok((content, place))
}

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST + 1].into_boxed_slice());
}

/// A packet and the descriptors that came with it.
type Raw = (Vec<u8>, Vec<OwnedFd>);

/// The next packet, or a copy of it that leaves it there.
fn next_packet(socket: BorrowedFd<'_>, peek: bool) -> Result<Option<Raw>, RecvError> {
    BUFFER.with_borrow_mut(|buffer| match sys::receive_packet(socket, buffer, peek) {
        Ok(Packet::Message(length, fds)) => Ok(Some((buffer[..length].to_vec(), fds))),
        Ok(Packet::Empty) => Ok(None),
        Ok(Packet::Closed) => Err(RecvError::Closed),
        Err(error) => Err(failed(error)),
    })
}

pub(super) fn failed(error: io::Error) -> RecvError {
    RecvError::Failed(format!("cannot receive from a connection: {error}"))
}
