//! The depot: where the descriptors of messages wait until somebody takes the message.
//!
//! ```text
//!  message with descriptors ── park ──▶ ┤ label, fds │ label, fds │ … ├ ── take ──▶ who takes the message
//!                              entrance   a socket's buffer in the kernel   exit
//! ```
//!
//! Descriptors cannot lie in memory. Those of a message are *parked*: sent, in packets of at most [`MAX_FDS`], into a pair of
//! sockets whose ends every process of the tree has, so that the kernel keeps them open whoever dies. The message's parcel
//! refers to an object ([`Parked`]), and each packet's label names it: the descriptors wait for as long as the object lives.
//! Its life is that of the message, so that all who count and release references see to the descriptors too.
//!
//! Packets come out in the order in which they went in. Who wants a later one moves those before it to the end: it sends a
//! copy, and only then removes the first. Where the system allows no copy, to a process that may open few files say, it
//! takes a copy of the one that it wants, and leaves that to be dropped by another.
//!
//! | a packet is | meaning | who may change it | who did it died here |
//! |---|---|---|---|
//! | in the depot, its object alive | its message is on its way | who takes the message; whoever goes round moves it | – |
//! | in it twice | it is being moved | the mover | the depot is untidy: whoever goes round drops the second |
//! | in it, its object dead | nobody will take its message | whoever goes round drops it | – |
//!
//! | `untidy` | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | 0 | each packet is there once, and its object was alive when somebody last went round | the holder of the lock | the next holder sets 1 |
//! | 1 | there may be copies, or packets of the dead | the holder of the lock, when it has been round | it stays 1 |
//!
//! | `waiting` | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | n | n descriptors are in the depot; while it is untidy, about n | the holder of the lock | whoever goes round counts them |
//!
//! | `taken` | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | 0 | the packets are in the depot, or some of them | who has the message | the message dies with it, and the packets are dropped |
//! | 1 | all packets have been received | nobody | the kernel closes what the dead process had |
//!
//! The order of locks is: undertaker, depot, metadata. Who has the depot's lock does not release objects.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashSet;

use super::object::HEADER;
use super::{Arena, Body, Care, Handle, Kind, Offset};
use crate::error::{Error, Result};
use crate::sys::{self, Acquired, AsFd, BorrowedFd, MAX_FDS, OwnedFd, Packet, RobustMutex};

/// The two ends, of which every process of the tree has both.
pub(super) struct Depot {
    entrance: OwnedFd,
    exit: OwnedFd,
}

/// The depot's words in the root.
#[repr(C)]
pub(super) struct DepotWords {
    /// Held by whoever puts into the depot or takes from it.
    pub(super) lock: RobustMutex,
    untidy: AtomicU64,
    waiting: AtomicU64,
}

/// The object that the descriptors of one message wait under.
#[repr(C)]
pub(super) struct Parked {
    /// How many packets there are.
    packets: AtomicU64,
    taken: AtomicU64,
}

// SAFETY: `repr(C)`; two atomic words.
unsafe impl Body for Parked {
    const KIND: Kind = Kind::Descriptors;
}

// Nobody sleeps at descriptors: they are there before their message is.
inventory::submit! { Care { kind: Kind::Descriptors, knock: |_, _| {}, destroy: Some(destroy) } }

/// Closes the descriptors of a message that nobody took.
fn destroy(arena: &'static Arena, body: Offset) {
    // SAFETY: the body of such an object, which the undertaker has to itself.
    let parked: &Parked = unsafe { arena.at(body) };
    let depot = arena.at_depot();
    if parked.taken.load(Ordering::Acquire) == 1 && !depot.is_untidy() {
        return;
    }
    depot.set_untidy(true);
    // If it fails, because this process can open no more descriptors say, the depot stays untidy, and the next one tries.
    let _ = depot.go_round(None, &mut Vec::new());
}

impl Depot {
    pub(super) fn new() -> io::Result<Self> {
        let (entrance, exit) = sys::packet_pair()?;
        sys::grow_send_buffer(entrance.as_fd())?;
        Ok(Self { entrance, exit })
    }

    /// The depot with these ends, which [`fds`](Self::fds) gave in another process.
    pub(super) fn adopt([entrance, exit]: [OwnedFd; 2]) -> io::Result<Self> {
        // An error, if these are not what they should be.
        sys::send_buffer(entrance.as_fd())?;
        sys::send_buffer(exit.as_fd())?;
        Ok(Self { entrance, exit })
    }

    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.entrance.as_fd(), self.exit.as_fd()]
    }
}

impl Arena {
    /// Lets descriptors wait in the depot for as long as the object lives that this returns.
    ///
    /// # Errors
    ///
    /// When too many wait there already. Nothing of these stays there then.
    pub(super) fn park(&'static self, fds: &[OwnedFd]) -> Result<Handle<Parked, ()>> {
        let packets: Vec<_> = fds.chunks(MAX_FDS).zip(0..).collect();
        // SAFETY: the closure writes the whole body.
        let handle = unsafe {
            Handle::create(size_of::<Parked>(), |place: *mut Parked| {
                place.write(Parked {
                    packets: AtomicU64::new(packets.len() as u64),
                    taken: AtomicU64::new(0),
                });
            })
        }?;
        let object = handle.held().place();
        let depot = self.at_depot();
        let sent = packets.into_iter().try_for_each(|(fds, part)| {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            depot.park(
                Label {
                    object: object.0,
                    serial: self.header(object).serial.load(Ordering::Relaxed),
                    part,
                    fds: fds.len() as u32,
                },
                &fds,
            )
        });
        // Before the handle, whose end is the object's if this failed.
        drop(depot);
        sent.map(|()| handle)
    }

    /// Takes the descriptors that wait under an object of kind [`Kind::Descriptors`].
    ///
    /// # Errors
    ///
    /// When this process can open no more descriptors.
    ///
    /// # Safety
    ///
    /// It is one, and a message that this process owns refers to it.
    pub(super) unsafe fn take_parked(&self, object: Offset) -> Result<Vec<OwnedFd>> {
        // SAFETY: the caller's promise (A4).
        let parked: &Parked = unsafe { self.at(object.plus(HEADER)) };
        let wanted = Wanted {
            serial: self.header(object).serial.load(Ordering::Relaxed),
            packets: parked.packets.load(Ordering::Relaxed) as usize,
        };
        let cannot = |error| Error::os("cannot take the descriptors of a message", error);
        let mut found = self.at_depot().take(wanted).map_err(cannot)?;
        if found.len() < wanted.packets {
            let reason =
                "they are not there; is another program using the descriptors of this one?";
            return Err(cannot(io::Error::new(io::ErrorKind::NotFound, reason)));
        }
        parked.taken.store(1, Ordering::Release);
        found.sort_by_key(|(part, _)| *part);
        Ok(found.into_iter().flat_map(|(_, fds)| fds).collect())
    }

    /// How many descriptors wait in the depot, after a look at each.
    pub(super) fn count_parked(&self) -> Result<u64> {
        let depot = self.at_depot();
        depot.go_round(None, &mut Vec::new()).map_err(|error| {
            Error::os("cannot count the descriptors that wait in messages", error)
        })?;
        Ok(depot.waiting())
    }

    fn at_depot(&self) -> AtDepot<'_> {
        match self.root().depot.lock.lock() {
            Ok(Acquired::Clean) => AtDepot(self),
            Ok(Acquired::OwnerDied) => {
                let depot = AtDepot(self);
                depot.set_untidy(true);
                // If it fails, so will what is done next.
                let _ = sys::peek_from(depot.exit(), None);
                depot
            }
            Err(error) => unreachable!("the depot inside of the depot: {error:?}"),
        }
    }
}

/// What is sent with descriptors, to say whose they are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
struct Label {
    /// The place of the object that they wait under.
    object: u64,
    serial: u64,
    /// Which packet of the message this is.
    part: u32,
    /// How many descriptors are in it.
    fds: u32,
}

impl Label {
    const LENGTH: usize = 24;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let words = [
            self.object,
            self.serial,
            u64::from(self.part) << 32 | u64::from(self.fds),
        ];
        let mut bytes = [0; Self::LENGTH];
        for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// What is no label becomes one of a dead object: no object has serial number 0.
    fn from_bytes(bytes: &[u8]) -> Self {
        let (words, []) = bytes.as_chunks::<8>() else {
            return Self::default();
        };
        let [object, serial, rest] = *words else {
            return Self::default();
        };
        let rest = u64::from_le_bytes(rest);
        Self {
            object: u64::from_le_bytes(object),
            serial: u64::from_le_bytes(serial),
            part: (rest >> 32) as u32,
            fds: rest as u32,
        }
    }
}

/// What somebody goes round the depot for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    serial: u64,
    packets: usize,
}

/// Packets that were wanted and taken, by their numbers.
type Found = Vec<(u32, Vec<OwnedFd>)>;

/// The depot, whose lock this thread holds.
struct AtDepot<'a>(&'a Arena);

impl Drop for AtDepot<'_> {
    fn drop(&mut self) {
        // SAFETY: made by the thread that acquired it, and not sent to another.
        unsafe { self.0.root().depot.lock.unlock() };
    }
}

impl AtDepot<'_> {
    fn is_untidy(&self) -> bool {
        self.0.root().depot.untidy.load(Ordering::Acquire) == 1
    }

    fn set_untidy(&self, untidy: bool) {
        let word = &self.0.root().depot.untidy;
        word.store(u64::from(untidy), Ordering::Release);
    }

    fn waiting(&self) -> u64 {
        self.0.root().depot.waiting.load(Ordering::Acquire)
    }

    fn set_waiting(&self, waiting: u64) {
        let word = &self.0.root().depot.waiting;
        word.store(waiting, Ordering::Release);
    }

    /// Puts in a packet of a new message. If there is no room, looks first whether there would be without what is dead.
    fn park(&self, label: Label, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let park = || self.check_room(label).and_then(|()| self.put(label, fds));
        let parked = park().or_else(|_| {
            self.go_round(None, &mut Vec::new())?;
            park()
        });
        parked.map_err(|error| {
            let what = format!(
                "cannot send the {} descriptors in a message: {} descriptors wait in messages of this tree of processes that \
                 nobody has received yet; receive some of them first",
                label.fds,
                self.waiting()
            );
            Error::os(what, error)
        })
    }

    /// Whether a packet of a new message may come in. An eighth of what the system allows is kept for moving the others, and
    /// for what the user's other programs send.
    fn check_room(&self, label: Label) -> io::Result<()> {
        let most = |limit: u64| limit - limit / 8;
        let buffer = sys::send_buffer(self.0.depot.entrance.as_fd())?;
        if buffer.used as u64 >= most(buffer.size as u64) {
            let reason = "the system keeps no more of them (sysctl net.core.wmem_max)";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
        }
        // The system's own limit, but that it counts those of all programs of a user, and lets some users pass it.
        if self.waiting() + u64::from(label.fds) > most(sys::open_files_limit()) {
            let reason =
                "that is near the limit of open files (ulimit -n), which holds for them, too";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        Ok(())
    }

    /// Takes what is wanted, as far as it is there.
    fn take(&self, wanted: Wanted) -> io::Result<Found> {
        let mut found = Vec::new();
        if self.go_round(Some(wanted), &mut found).is_err() {
            self.set_untidy(true);
            let copied = self.copy(wanted, &mut found);
            sys::peek_from(self.exit(), None)?;
            copied?;
        }
        Ok(found)
    }

    /// Goes through the depot until all that is wanted is found, or round: drops what nobody will take, and moves the others to
    /// the end.
    fn go_round(&self, wanted: Option<Wanted>, found: &mut Found) -> io::Result<()> {
        let mut passed = FxHashSet::default();
        // No object has this number: should this process die, it is a dead one's packet.
        let end = Label {
            serial: self.0.root().next_serial(),
            ..Label::default()
        };
        while let Some(label) = self.first()? {
            let is_wanted = wanted.is_some_and(|wanted| wanted.serial == label.serial);
            if is_wanted && !found.iter().any(|(part, _)| *part == label.part) {
                // First the copy: if this process can open no more descriptors, nothing is lost.
                found.push((label.part, self.copy_fds()?));
                self.discard(label)?;
                if wanted.is_some_and(|wanted| wanted.packets == found.len()) {
                    return Ok(());
                }
            } else if is_wanted || !self.is_alive(label) || passed.contains(&label) {
                self.discard(label)?;
                if label == end {
                    break;
                }
            } else {
                if passed.is_empty() {
                    self.put(end, &[])?;
                }
                self.move_to_end(label)?;
                passed.insert(label);
            }
        }
        self.set_waiting(passed.iter().map(|label| u64::from(label.fds)).sum());
        self.set_untidy(false);
        Ok(())
    }

    /// Copies what is wanted, wherever it is, and changes nothing.
    fn copy(&self, wanted: Wanted, found: &mut Found) -> io::Result<()> {
        let mut place = 0;
        while found.len() < wanted.packets {
            sys::peek_from(self.exit(), Some(place))?;
            let Some((label, length)) = self.look()? else {
                break;
            };
            if label.serial == wanted.serial && !found.iter().any(|(part, _)| *part == label.part) {
                // The look has moved the place on.
                sys::peek_from(self.exit(), Some(place))?;
                found.push((label.part, self.copy_fds()?));
            }
            place += length;
        }
        Ok(())
    }

    /// Moves the first packet, which has this label, behind the last one.
    fn move_to_end(&self, label: Label) -> io::Result<()> {
        let fds = self.copy_fds()?;
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.put(label, &fds)?;
        self.discard(label)
    }

    /// The label of the first packet.
    fn first(&self) -> io::Result<Option<Label>> {
        Ok(self.look()?.map(|(label, _)| label))
    }

    /// The label of the packet that is the next to be looked at, and how long it is.
    fn look(&self) -> io::Result<Option<(Label, usize)>> {
        let mut bytes = [0; Label::LENGTH + 1];
        match sys::receive_packet(self.exit(), &mut bytes, true)? {
            Packet::Message(length, _) => Ok(Some((Label::from_bytes(&bytes[..length]), length))),
            Packet::Empty | Packet::Closed => Ok(None),
        }
    }

    /// Duplicates of the descriptors of the packet that is the next to be looked at.
    fn copy_fds(&self) -> io::Result<Vec<OwnedFd>> {
        match sys::copy_packet(self.exit(), &mut [0; Label::LENGTH])? {
            Packet::Message(_, fds) => Ok(fds),
            Packet::Empty | Packet::Closed => Ok(Vec::new()),
        }
    }

    /// Takes the first packet out.
    fn discard(&self, label: Label) -> io::Result<()> {
        sys::discard_packet(self.exit())?;
        self.set_waiting(self.waiting().saturating_sub(u64::from(label.fds)));
        Ok(())
    }

    fn put(&self, label: Label, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let (entrance, bytes) = (self.0.depot.entrance.as_fd(), label.to_bytes());
        sys::offer_packet(entrance, &[IoSlice::new(&bytes)], fds)?;
        self.set_waiting(self.waiting() + u64::from(label.fds));
        Ok(())
    }

    /// Whether the object of a packet lives. In a transaction, since one that is undone may have killed it.
    fn is_alive(&self, label: Label) -> bool {
        let tx = self.0.begin();
        let object = Offset(label.object);
        tx.arena().checked_kind(object, label.serial).is_some()
    }

    fn exit(&self) -> BorrowedFd<'_> {
        self.0.depot.exit.as_fd()
    }
}

#[cfg(test)]
mod tests;
