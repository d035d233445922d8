//! Where a child tells its parent how far it has come, and leaves its outcome: in its record in the shared memory, or, if it is
//! isolated, over a socket.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury the record of a process, which is passed on with its caller's promise.

use std::io;
use std::sync::PoisonError;

use super::isolated::{self, Report};
use crate::arena::{Arena, ChildRecord, Draft, Incoming, Outgoing, Parcel, Stage};
use crate::error::{EncodeError, Result};
use crate::sys::OwnedFd;
use crate::wire;

/// The child's side.
#[derive(Clone, Copy)]
pub(super) enum Desk {
    Tree(&'static Arena),
    Isolated(&'static Report),
}

/// The parent's side.
pub(super) enum Account {
    Tree(ChildRecord),
    Isolated(isolated::Account),
}

/// What a child left.
pub(super) enum Left {
    Parcel(Parcel),
    Plain(isolated::Outcome),
}

impl Desk {
    pub(super) fn stage(self) -> Stage {
        match self {
            Desk::Tree(arena) => arena.me().stage(),
            Desk::Isolated(report) => report.stage(),
        }
    }

    pub(super) fn enter(self, stage: Stage) {
        match self {
            Desk::Tree(arena) => arena.me().enter(stage),
            Desk::Isolated(report) => report.enter(stage),
        }
    }

    /// Leaves an outcome that is encoded already.
    ///
    /// # Errors
    ///
    /// When there is no room for it, or the system refuses its descriptors.
    pub(super) fn leave(self, draft: &mut Draft, outgoing: &mut Outgoing) -> Result<()> {
        match self {
            Desk::Tree(arena) => {
                arena.leave_outcome(draft.finish(arena, outgoing)?);
                Ok(())
            }
            Desk::Isolated(report) => report.leave(draft.bytes(), &outgoing.fds),
        }
    }
}

impl Account {
    pub(super) fn stage(&self) -> Stage {
        match self {
            Account::Tree(record) => record.stage(),
            Account::Isolated(account) => account.stage(),
        }
    }

    /// Gives back what the child held, but for its outcome.
    ///
    /// # Safety
    ///
    /// The child has ended.
    #[allow(unsafe_code)]
    pub(super) unsafe fn bury(&self) {
        match self {
            // SAFETY: the caller's promise.
            Account::Tree(record) => unsafe { record.bury() },
            Account::Isolated(_) => {}
        }
    }

    /// Takes the outcome, if the child left one.
    pub(super) fn take_outcome(&self) -> io::Result<Option<Left>> {
        match self {
            Account::Tree(record) => Ok(record.take_outcome().map(Left::Parcel)),
            Account::Isolated(account) => Ok(account.take_outcome().transpose()?.map(Left::Plain)),
        }
    }

    /// Puts an outcome back that was taken here.
    pub(super) fn put_outcome(&self, left: Left) {
        match (self, left) {
            (Account::Tree(record), Left::Parcel(parcel)) => record.put_outcome(parcel),
            (Account::Isolated(account), Left::Plain(outcome)) => account.put_outcome(outcome),
            _ => unreachable!("an outcome goes back to where it was taken"),
        }
    }

    /// The record of a child that has one.
    pub(super) fn record(&self) -> Option<&ChildRecord> {
        match self {
            Account::Tree(record) => Some(record),
            Account::Isolated(_) => None,
        }
    }
}

impl Left {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Left::Parcel(parcel) => parcel.bytes(),
            Left::Plain(outcome) => &outcome.bytes,
        }
    }

    /// Takes the descriptors that came with it.
    pub(super) fn take_fds(&self) -> Result<Vec<OwnedFd>> {
        match self {
            Left::Parcel(parcel) => parcel.take_fds(),
            Left::Plain(outcome) => Ok(std::mem::take(
                &mut *outcome.fds.lock().unwrap_or_else(PoisonError::into_inner),
            )),
        }
    }

    /// Decodes it, with these descriptors.
    pub(super) fn provide<R>(&self, fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
        match self {
            Left::Parcel(_) => Incoming::provide(fds, decode),
            Left::Plain(_) => Incoming::provide_plain(fds, decode),
        }
    }
}

/// Encodes what an isolated process is to get.
pub(super) fn encode_plain<R>(
    encode: impl FnOnce(&mut Draft) -> Result<(), EncodeError>,
    use_it: impl FnOnce(&[u8], Vec<OwnedFd>) -> R,
) -> Result<R, EncodeError> {
    wire::with_plain_draft(encode, |draft, outgoing| {
        use_it(draft.bytes(), std::mem::take(&mut outgoing.fds))
    })
}
