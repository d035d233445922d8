//! `Fork`: this process is copied.
//!
//! # Safety
//!
//! One thing is `unsafe`: the fork, which is sound while the process has one thread.

use std::sync::Once;

use super::boot;
use super::copy::{self, Birth};
use super::start::{Beginning, Begun, my_descriptor, open_begun};
use crate::arena::ChildRecord;
use crate::error::{Error, Result};
use crate::sys::{self, Forked, OwnedFd, Streams};

/// Copies this process for a child.
pub(super) fn begin(
    beginning: &Beginning<'_>,
    record: &ChildRecord,
    fds: Vec<OwnedFd>,
) -> Result<Begun> {
    let threads = boot::threads();
    if threads > 1 {
        return Err(Error::ForkWithThreads { threads });
    }
    beginning
        .arena
        .bequeath_holds(record.place(), record.serial())?;
    let parent =
        my_descriptor().map_err(beginning.failed("cannot open a descriptor of this process"))?;
    static PREPARED: Once = Once::new();
    PREPARED.call_once(sys::prepare_for_copies);
    // SAFETY: this process has one thread, as of the count, and this one has made none since.
    #[allow(unsafe_code)]
    let forked = unsafe { sys::fork() };
    match forked.map_err(beginning.failed("cannot copy this process"))? {
        Forked::Parent(pid) => {
            if beginning.leads_group {
                sys::lead_group(pid);
            }
            open_begun(beginning, pid)
        }
        Forked::Child => {
            let Streams {
                fds: streams,
                pipes,
            } = beginning.streams.take();
            // The ends that are its parent's: the copy is to see when that one closes them.
            drop(pipes);
            copy::live(Birth {
                record: record.place(),
                serial: record.serial(),
                streams,
                directory: None,
                leads_group: beginning.leads_group,
                signals: &sys::handled_signals(),
                fds,
                parent,
            })
        }
    }
}
