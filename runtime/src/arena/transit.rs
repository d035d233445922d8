//! What a message carries besides bytes: references to objects, and descriptors.
//!
//! `Serialize` and `Deserialize` have no room for it, so it passes beside them, in one variable of the thread that lasts
//! for one encoding or decoding. Nested ones (an `impl Serialize` that itself puts into a queue) have their own.

use std::cell::RefCell;
use std::sync::Arc;

use super::handle::Held;
use crate::sys::{self, BorrowedFd, OwnedFd};

thread_local! {
    static OUTGOING: RefCell<Option<Outgoing>> = const { RefCell::new(None) };
    static INCOMING: RefCell<Option<Incoming>> = const { RefCell::new(None) };
}

/// What the message being encoded on this thread will carry.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// The objects that handles in the message name, kept alive until the message does it.
    pub(crate) objects: Vec<Arc<Held>>,
    /// Duplicates of the descriptors in the message.
    pub(crate) fds: Vec<OwnedFd>,
    carries_fds: bool,
}

impl Outgoing {
    /// Runs `encode`, and returns what it gives with what the message carries.
    pub(crate) fn collect<R>(carries_fds: bool, encode: impl FnOnce() -> R) -> (R, Self) {
        let fresh = Self {
            carries_fds,
            ..Self::default()
        };
        let mut restore = Restore(&OUTGOING, OUTGOING.replace(Some(fresh)));
        let result = encode();
        let outgoing = OUTGOING.replace(restore.1.take()).unwrap_or_default();
        std::mem::forget(restore);
        (result, outgoing)
    }

    /// Notes that the message names an object. `false` when no message is being encoded.
    pub(super) fn refer(object: &Arc<Held>) -> bool {
        OUTGOING.with_borrow_mut(|outgoing| match outgoing {
            Some(outgoing) => {
                outgoing.objects.push(Arc::clone(object));
                true
            }
            None => false,
        })
    }

    /// Puts a duplicate of a descriptor into the message, and returns its index there.
    ///
    /// # Errors
    ///
    /// A sentence for the sender.
    pub(crate) fn attach(fd: BorrowedFd<'_>) -> Result<u32, String> {
        OUTGOING.with_borrow_mut(|outgoing| match outgoing {
            Some(outgoing) if outgoing.carries_fds => {
                let fd = sys::dup_above(fd, 0).map_err(|error| format!("cannot duplicate its descriptor: {error}"))?;
                outgoing.fds.push(fd);
                Ok(outgoing.fds.len() as u32 - 1)
            }
            Some(_) => Err("descriptors travel as arguments of a new process and over connections only, not through queues or \
                            return values"
                .to_owned()),
            None => Err("descriptors can be sent only inside of a tree of processes: as arguments of a new process, or over a \
                         connection"
                .to_owned()),
        })
    }
}

/// What came with the message being decoded on this thread.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    fds: Vec<Option<OwnedFd>>,
}

impl Incoming {
    /// Runs `decode` with what came with the message. Descriptors that it does not take are closed.
    pub(crate) fn provide<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
        let incoming = Self {
            fds: fds.into_iter().map(Some).collect(),
        };
        let _restore = Restore(&INCOMING, INCOMING.replace(Some(incoming)));
        decode()
    }

    /// Whether a message is being decoded that may name objects.
    pub(super) fn is_open() -> bool {
        INCOMING.with_borrow(Option::is_some)
    }

    /// Takes the descriptor with this index out of the message; each can be taken once.
    pub(crate) fn detach(index: u32) -> Option<OwnedFd> {
        INCOMING.with_borrow_mut(|incoming| incoming.as_mut()?.fds.get_mut(index as usize)?.take())
    }
}

/// Puts the previous value back when the scope ends, by a panic too.
struct Restore<T: 'static>(
    &'static std::thread::LocalKey<RefCell<Option<T>>>,
    Option<T>,
);

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        let _finished = self.0.replace(self.1.take());
    }
}
