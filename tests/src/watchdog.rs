//! What ends a test that hangs.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// After how long a test stops to wait. Nothing here takes that long, but the machine may be busy with other things.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Kills this process and its children when a test takes longer than [`LIMIT`]. Dropping it calls it off,
/// but for a test that fails: its process may wait forever at its exit, for children that the test would have ended.
#[must_use = "dropping it calls it off"]
pub struct Watchdog {
    leash: Option<Sender<()>>,
}

impl Watchdog {
    /// Begins to watch; messages name the calling thread, which has the name of its test.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        let (leash, ended) = mpsc::channel();
        let test = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "{test} hangs for {LIMIT:?}; children: {:?}",
                    mp::active_children()
                );
                for child in mp::active_children() {
                    let _ = child.kill();
                }
                process::abort();
            }
        });
        Self { leash: Some(leash) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if thread::panicking() {
            std::mem::forget(self.leash.take());
        }
    }
}
