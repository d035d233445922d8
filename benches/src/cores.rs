//! Where the processes of a row run.

use std::io;
use std::mem;

use crate::Result;

/// Whether the processes of a row share a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The scheduler places them.
    Free,
    /// All are pinned to one core.
    Same,
}

impl Cores {
    /// Places this thread, and with it the children that it starts, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn pin(self) -> Result<Pinned> {
        let before = affinity()?;
        if self == Cores::Same {
            // SAFETY: all zeroes are the empty set.
            let mut one: libc::cpu_set_t = unsafe { mem::zeroed() };
            let core = (0..libc::CPU_SETSIZE as usize)
                // SAFETY: the number is below the size of the set.
                .find(|&core| unsafe { libc::CPU_ISSET(core, &before) })
                .unwrap_or(0);
            // SAFETY: as above.
            unsafe { libc::CPU_SET(core, &mut one) };
            set_affinity(&one)?;
        }
        Ok(Pinned { before })
    }

    /// The word that the table prints.
    pub fn label(self) -> &'static str {
        match self {
            Cores::Free => "free",
            Cores::Same => "same core",
        }
    }
}

/// Gives the thread back the cores that it had, when dropped.
#[must_use = "the thread is free again as soon as this is dropped"]
pub struct Pinned {
    before: libc::cpu_set_t,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before, and the next row pins anew.
        let _ = set_affinity(&self.before);
    }
}

fn affinity() -> Result<libc::cpu_set_t> {
    // SAFETY: all zeroes are the empty set, and the call writes into it at most its size.
    let (set, result) = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        let result = libc::sched_getaffinity(0, size_of_val(&set), &mut set);
        (set, result)
    };
    if result == 0 {
        Ok(set)
    } else {
        Err(io::Error::last_os_error().into())
    }
}

fn set_affinity(set: &libc::cpu_set_t) -> Result {
    // SAFETY: the set lives during the call, which reads it.
    if unsafe { libc::sched_setaffinity(0, size_of_val(set), set) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error().into())
    }
}
