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
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{boot, child, exit, server, start};
use crate::arena::Offset;
use crate::channel;
use crate::sys::{self, AsFd, OwnedFd};

/// What a copy is given for its life.
pub(super) struct Birth<'a> {
    pub(super) record: Offset,
    pub(super) serial: u64,
    /// Its standard streams; those that are missing are those of its original.
    pub(super) streams: [Option<OwnedFd>; 3],
    /// Its working directory; without one it has that of its original.
    pub(super) directory: Option<OwnedFd>,
    pub(super) leads_group: bool,
    /// The signals that its original has handlers for.
    pub(super) signals: &'a [i32],
    /// The descriptors among its arguments.
    pub(super) fds: Vec<OwnedFd>,
    /// The process that asked for it.
    pub(super) parent: Arc<OwnedFd>,
}

/// Runs the function of this process, a copy that was just made, and ends it.
pub(super) fn live(birth: Birth<'_>) -> ! {
    sys::drop_signal_handlers(birth.signals);
    exit::begin_copy();
    child::forget_all();
    server::forget();
    channel::cut_off();
    part_hash_seeds(birth.serial);
    if birth.leads_group {
        sys::lead_group(0);
    }
    if let Err(error) = settle(birth.streams, birth.directory) {
        boot::fail(&format!(
            "a copy of this process cannot have its standard streams and working directory: {error}"
        ));
    }
    start::forget_my_descriptor();
    boot::boot_copy(birth.record, birth.serial, birth.parent, birth.fds)
}

/// Takes its standard streams and its working directory.
fn settle(streams: [Option<OwnedFd>; 3], directory: Option<OwnedFd>) -> io::Result<()> {
    sys::replace_streams(streams.each_ref().map(|fd| fd.as_ref().map(AsFd::as_fd)))?;
    directory.map_or(Ok(()), |directory| sys::enter_directory(directory.as_fd()))
}

/// Lets this thread's hash maps have other keys than those of its original, and of other copies.
///
/// The standard library takes them from a random number of the thread that it counts up for each map, and has no way to begin
/// anew. So this process counts on, to a distance from the first original that no other process of the tree is likely to have.
/// Where the thread has made no map yet (this library makes none), its number is a new one anyway.
fn part_hash_seeds(serial: u64) {
    static DISTANCE: AtomicU64 = AtomicU64::new(0);
    const ROUND: u64 = 1 << 14;
    const NEAR: u64 = 64;
    // Neighbours are far apart: multiples of the golden ratio.
    let place = NEAR + (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % (ROUND - NEAR);
    let before = DISTANCE.load(Ordering::Relaxed);
    let steps = (place + ROUND - before % ROUND) % ROUND;
    DISTANCE.store(before + steps, Ordering::Relaxed);
    for _ in 0..steps {
        std::hint::black_box(RandomState::new());
    }
}
