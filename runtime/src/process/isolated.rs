//! Isolated processes: what passes between one and its parent without shared memory.
//!
//! ```text
//!  parent                                         child
//!  order in a sealed file, socket ── exec ──▶     read the order
//!  how far it is ◀── packets: stage ───────────── before and after the call
//!  outcome ◀──────── packet: file, descriptors ── sealed file with the outcome
//! ```
//!
//! Files in memory are read and written, not mapped, and sealed before they are passed, so that a process gone wild harms
//! nobody else's memory, and changes nothing that it has sent. Packets are few and small: they wait in the socket until the
//! parent asks, and who sends them never waits.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::arena::Stage;
use crate::error::{Error, Result};
use crate::sys::{self, AsFd, BorrowedFd, MAX_FDS, OwnedFd, Packet};

/// The child's end.
pub(super) struct Report {
    socket: OwnedFd,
    stage: AtomicU8,
}

/// The parent's end.
pub(super) struct Account {
    socket: OwnedFd,
    heard: Mutex<Heard>,
}

struct Heard {
    stage: Stage,
    outcome: Option<io::Result<Outcome>>,
}

/// An outcome as it was received.
pub(super) struct Outcome {
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Mutex<Vec<OwnedFd>>,
}

/// Makes the two ends.
pub(super) fn pair() -> io::Result<(Account, OwnedFd)> {
    let (socket, there) = sys::packet_pair()?;
    let account = Account {
        socket,
        heard: Mutex::new(Heard {
            stage: Stage::Ordered,
            outcome: None,
        }),
    };
    Ok((account, there))
}

impl Report {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            stage: AtomicU8::new(Stage::Taken as u8),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Relaxed).into())
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        // The parent may be gone.
        let _ = self.send(stage, &[]);
    }

    /// Leaves the outcome to the parent.
    pub(super) fn leave(&self, bytes: &[u8], fds: &[OwnedFd]) -> Result<()> {
        let cannot = |error| Error::os("cannot send the value of an isolated process", error);
        if fds.len() >= MAX_FDS {
            let error = format!(
                "{} descriptors in it; {} are the most",
                fds.len(),
                MAX_FDS - 1
            );
            return Err(cannot(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        let file = sys::sealed_file(bytes).map_err(cannot)?;
        let passed: Vec<BorrowedFd<'_>> = [&file].into_iter().chain(fds).map(AsFd::as_fd).collect();
        self.send(Stage::Done, &passed).map_err(cannot)
    }

    fn send(&self, stage: Stage, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        sys::offer_packet(self.socket.as_fd(), &[IoSlice::new(&[stage as u8])], fds)
    }
}

impl Account {
    /// How far the child has come.
    pub(super) fn stage(&self) -> Stage {
        self.listen(|heard| heard.stage)
    }

    /// Takes the outcome, if the child left one.
    pub(super) fn take_outcome(&self) -> Option<io::Result<Outcome>> {
        self.listen(|heard| heard.outcome.take())
    }

    pub(super) fn put_outcome(&self, outcome: Outcome) {
        self.listen(|heard| heard.outcome = Some(Ok(outcome)));
    }

    fn listen<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stage = [0];
        loop {
            match sys::receive_packet(self.socket.as_fd(), &mut stage, false) {
                Ok(Packet::Message(_, fds)) => {
                    heard.stage = Stage::from_number(stage[0].into());
                    if heard.stage == Stage::Done && heard.outcome.is_none() {
                        heard.outcome = Some(open(fds));
                    }
                }
                Ok(Packet::Empty | Packet::Closed) => return look(&mut heard),
                Err(error) => {
                    // Descriptors that did not come are those of the outcome.
                    heard.outcome = Some(Err(error));
                    return look(&mut heard);
                }
            }
        }
    }
}

fn open(fds: Vec<OwnedFd>) -> io::Result<Outcome> {
    let mut fds = fds.into_iter();
    let file = fds.next().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Outcome {
        bytes: sys::read_sealed(file)?,
        fds: Mutex::new(fds.collect()),
    })
}
