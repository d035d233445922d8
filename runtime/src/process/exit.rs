//! The end of a process: what becomes of its children.
//!
//! In this order: `main` returns (or the function of a child, or somebody calls [`std::process::exit`]); daemons are
//! terminated, and killed if they do not end; the other children are joined; the fork server ends. Nothing of it happens when a process is killed:
//! then its daemons see their parent's end, and follow.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{child, output, server, tree};
use crate::sys::{self, AsFd};

/// The exit code of a process that could not take its order.
pub(super) const BOOT_FAILED: i32 = 70;
/// The exit code of a process whose value found no room in the shared memory.
pub(super) const NO_ROOM: i32 = 71;

/// How long a daemon may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// Sees to the children of this process at its end.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        OWNER.store(std::process::id(), Ordering::Relaxed);
        // Where it fails, children of this process are not joined at its exit; they can be joined by hand.
        let _ = sys::at_exit(finish);
    });
}

/// The process whose children these are: a copy of it, made by a `fork` that this library knows nothing of, has none.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// In a copy of a process: sees to the children of this one, and to no more, at its end.
pub(super) fn begin_copy() {
    OWNER.store(std::process::id(), Ordering::Relaxed);
    ENDING.store(false, Ordering::Relaxed);
    sys::wall_off_exit(finish_own);
}

/// Whether this process is at its end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether this process is at its end, and its children are terminated: nobody is to replace them.
pub(crate) fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

extern "C" fn finish() {
    finish_own();
}

fn finish_own() {
    if std::process::id() == OWNER.load(Ordering::Relaxed) {
        see_off();
    }
}

/// Ends the daemons among the children of this process, and waits for all of them.
fn see_off() {
    ENDING.store(true, Ordering::SeqCst);
    let (daemons, others): (Vec<_>, Vec<_>) = child::children()
        .into_iter()
        .partition(|child| child.daemon);
    for daemon in &daemons {
        let _ = daemon.signal(sys::SIGTERM);
    }
    let deadline = Instant::now() + GRACE;
    for daemon in &daemons {
        if !daemon.wait_until(Some(deadline)).unwrap_or(true) {
            let _ = daemon.signal(sys::SIGKILL);
            let _ = sys::wait_ended(daemon.process.as_fd(), None);
            let _ = daemon.wait_until(Some(Instant::now()));
        }
    }
    for child in &others {
        // What they do counts; of a status that does not come, because a fork server is stopped, nobody would hear.
        let _ = sys::wait_ended(child.process.as_fd(), None);
        let _ = child.wait_until(Some(Instant::now()));
    }
    server::end();
    output::settle_all();
}

/// Ends this process when its parent ends, however that ends, and all of its process group if it leads one.
///
/// A thread waits for the parent's descriptor. `PR_SET_PDEATHSIG` would need none, but fires when the *thread* that started
/// this process ends.
pub(super) fn follow_parent(leads_group: bool) -> io::Result<()> {
    const STACK: usize = 64 << 10;
    let follow = move || {
        let Some(parent) = &tree::identity().parent else {
            return;
        };
        if sys::wait_ended(parent.process.as_fd(), None).is_ok() {
            if leads_group {
                sys::kill_group(std::process::id());
            }
            sys::kill_self(sys::SIGTERM);
            std::thread::sleep(Duration::from_millis(500));
            sys::kill_self(sys::SIGKILL);
        }
    };
    std::thread::Builder::new()
        .name("mp-parent".to_owned())
        .stack_size(STACK)
        .spawn(follow)?;
    Ok(())
}
