//! How a copy of a process becomes a child.
//!
//! It has the memory of the process that it is a copy of, and must not mistake that one's affairs for its own: its children,
//! its connections, its end.
//!
//! | of the original | in the copy |
//! |---|---|
//! | what it has on the stack | stays as it is, and is not dropped: the copy does not return from here |
//! | its children | forgotten; the other ends of their standard streams are closed |
//! | its fork server | forgotten |
//! | its connections | lead nowhere, so that they do not keep the peer from seeing the end of the original |
//! | its holds on objects | the copy has its own, so that handles work |
//! | handlers of signals | gone, as after an exec |
//! | what it registered for its exit | not called, see [`wall_off_exit`](sys::wall_off_exit) |
//! | seeds of hash maps | others |
//! | the test that runs on its thread | the same, for children of the copy |

use std::hash::RandomState;

use super::{boot, child, exit, server, start};
use crate::arena::Offset;
use crate::channel;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// What a copy is given for its life.
pub(super) struct Birth<'a> {
    pub(super) record: Offset,
    pub(super) serial: u64,
    /// Its standard streams; those that are missing are those of its original.
    pub(super) streams: [Option<BorrowedFd<'a>>; 3],
    /// Its working directory; without one it has that of its original.
    pub(super) directory: Option<OwnedFd>,
    pub(super) leads_group: bool,
    /// The descriptors among its arguments.
    pub(super) fds: Vec<OwnedFd>,
    /// The process that asked for it.
    pub(super) parent: BorrowedFd<'a>,
}

/// Runs the function of this process, a copy that was just made, and ends it.
pub(super) fn live(birth: Birth<'_>) -> ! {
    sys::drop_signal_handlers();
    exit::begin_copy();
    child::forget_all();
    server::forget();
    channel::cut_off();
    part_hash_seeds(birth.serial);
    if birth.leads_group {
        sys::lead_group(0);
    }
    let surroundings = sys::replace_streams(birth.streams).and_then(|()| match &birth.directory {
        Some(directory) => sys::enter_directory(directory.as_fd()),
        None => Ok(()),
    });
    if let Err(error) = surroundings {
        boot::fail(&format!(
            "a copy of this process cannot have its standard streams and working directory: {error}"
        ));
    }
    let parent = sys::dup_above(birth.parent, 3).unwrap_or_else(|error| {
        boot::fail(&format!(
            "a copy of this process cannot watch its parent: {error}"
        ))
    });
    start::forget_my_descriptor();
    boot::boot_copy(birth.record, birth.serial, parent, birth.fds)
}

/// Lets this thread's hash maps have other keys than those of the original, and of its other copies. The standard library takes
/// them from a number that it counts up for each map, and has no way to begin anew.
fn part_hash_seeds(serial: u64) {
    const MOST: u64 = 1 << 12;
    for _ in 0..(sys::now() ^ serial.rotate_left(6)) % MOST {
        std::hint::black_box(RandomState::new());
    }
}
