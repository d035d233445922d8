//! What a message carries besides bytes: references to objects, and descriptors.
//!
//! `Serialize` and `Deserialize` have no room for it, so it passes beside them: a variable of the thread points to it for
//! as long as one encoding or decoding lasts. Nested ones (an `impl Serialize` that itself puts into a queue) have their
//! own.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;
use std::thread::LocalKey;

use super::handle::Held;
use crate::sys::{self, BorrowedFd, OwnedFd};

/// What the message on this thread carries; null when there is none.
type Current<T> = Cell<*const RefCell<T>>;

thread_local! {
    static OUTGOING: Current<Outgoing> = const { Cell::new(ptr::null()) };
    static INCOMING: Current<Incoming> = const { Cell::new(ptr::null()) };
}

/// What the message being encoded on this thread will carry.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// The objects that handles in the message name, kept alive until the message does it.
    pub(crate) objects: Vec<Arc<Held>>,
    /// Duplicates of the descriptors in the message.
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether it is for an isolated process, or of one: such a message names no objects.
    pub(crate) plain: bool,
}

impl Outgoing {
    pub(crate) const fn new() -> Self {
        Self {
            objects: Vec::new(),
            fds: Vec::new(),
            plain: false,
        }
    }

    /// Whether the message that is being encoded on this thread is to name no objects.
    pub(crate) fn is_plain() -> bool {
        with_current(&OUTGOING, |outgoing| {
            outgoing.is_some_and(|outgoing| outgoing.plain)
        })
    }

    /// Runs `encode`, and collects what the message carries in `outgoing`.
    #[inline]
    pub(crate) fn collect<R>(outgoing: &RefCell<Self>, encode: impl FnOnce() -> R) -> R {
        during(&OUTGOING, outgoing, encode)
    }

    /// Whether the message is no more than its bytes.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.fds.is_empty()
    }

    /// Notes that the message names an object.
    ///
    /// # Errors
    ///
    /// What keeps the object from being sent, in words that follow its name.
    pub(crate) fn refer(object: &Arc<Held>) -> Result<(), &'static str> {
        with_current(&OUTGOING, |outgoing| match outgoing {
            Some(Self { plain: true, .. }) => Err(
                "cannot be sent to or by an isolated process, which maps no shared memory: send values, connections or files",
            ),
            Some(outgoing) => {
                outgoing.objects.push(Arc::clone(object));
                Ok(())
            }
            None => Err(
                "can be sent only inside its tree of processes: as an argument, a return value, or through a queue or \
                 connection",
            ),
        })
    }

    /// Puts a duplicate of a descriptor into the message, and returns its index there.
    ///
    /// # Errors
    ///
    /// A sentence for the sender.
    pub(crate) fn attach(fd: BorrowedFd<'_>) -> Result<u32, String> {
        with_current(&OUTGOING, |outgoing| {
            match outgoing {
            Some(outgoing) => {
                let fd = sys::dup_above(fd, 0).map_err(|error| format!("cannot duplicate its descriptor: {error}"))?;
                outgoing.fds.push(fd);
                Ok(outgoing.fds.len() as u32 - 1)
            }
            None => Err("descriptors can be sent only inside of a tree of processes: as arguments and return values, through \
                         queues and over connections"
                .to_owned()),
        }
        })
    }
}

/// What came with the message being decoded on this thread.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    fds: Vec<Option<OwnedFd>>,
    /// Whether it is of an isolated process, and names no objects.
    plain: bool,
}

impl Incoming {
    /// Runs `decode` with what came with the message. Descriptors that it does not take are closed.
    #[inline]
    pub(crate) fn provide<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
        Self::offer(fds, false, decode)
    }

    /// The same for a message that names no objects.
    pub(crate) fn provide_plain<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
        Self::offer(fds, true, decode)
    }

    #[inline]
    fn offer<R>(fds: Vec<OwnedFd>, plain: bool, decode: impl FnOnce() -> R) -> R {
        let incoming = RefCell::new(Self {
            fds: if fds.is_empty() {
                Vec::new()
            } else {
                fds.into_iter().map(Some).collect()
            },
            plain,
        });
        during(&INCOMING, &incoming, decode)
    }

    /// Whether a message is being decoded that may name objects.
    pub(super) fn is_open() -> bool {
        with_current(&INCOMING, |incoming| {
            incoming.is_some_and(|incoming| !incoming.plain)
        })
    }

    /// Takes the descriptor with this index out of the message; each can be taken once.
    pub(crate) fn detach(index: u32) -> Option<OwnedFd> {
        with_current(&INCOMING, |incoming| {
            incoming?.fds.get_mut(index as usize)?.take()
        })
    }
}

/// Lets `current` point to `value` while `act` runs.
#[inline]
fn during<T, R>(
    current: &'static LocalKey<Current<T>>,
    value: &RefCell<T>,
    act: impl FnOnce() -> R,
) -> R {
    /// Puts the previous value back, by a panic too.
    struct Restore<T: 'static>(&'static LocalKey<Current<T>>, *const RefCell<T>);

    impl<T> Drop for Restore<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }

    let _restore = Restore(current, current.replace(value));
    act()
}

fn with_current<T, R>(
    current: &'static LocalKey<Current<T>>,
    use_it: impl FnOnce(Option<&mut T>) -> R,
) -> R {
    // SAFETY: null, or set by a `during` of this thread that is still running, and so borrows what this points to.
    let current = unsafe { current.get().as_ref() };
    use_it(current.map(RefCell::borrow_mut).as_deref_mut())
}
