//! This process's place in the tree.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::child::{self, ChildProcess};
use crate::sync::deadline_after;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// Who this process is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    /// The numbers of the process and its forebears among their siblings: "1:2". Empty for the first process.
    pub(super) lineage: String,
    pub(super) daemon: bool,
    pub(super) parent: Option<Parent>,
}

/// Who started this process.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) process: OwnedFd,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

pub(super) fn set_identity(identity: Identity) {
    let _ = IDENTITY.set(identity);
}

/// Who this process is: the first of its tree, unless its boot said otherwise.
pub(super) fn identity() -> &'static Identity {
    IDENTITY.get_or_init(|| Identity {
        name: "MainProcess".to_owned(),
        lineage: String::new(),
        daemon: false,
        parent: None,
    })
}

impl Identity {
    pub(super) fn lineage_of_child(&self, number: u64) -> String {
        match self.lineage.as_str() {
            "" => number.to_string(),
            lineage => format!("{lineage}:{number}"),
        }
    }
}

/// This process.
#[derive(Debug, Clone, Copy)]
pub struct CurrentProcess(&'static Identity);

impl CurrentProcess {
    /// The system's id of this process.
    pub fn id(&self) -> u32 {
        std::process::id()
    }

    /// The name of this process; `MainProcess` for the first of the tree.
    pub fn name(&self) -> &'static str {
        &self.0.name
    }

    /// Whether this process is a daemon, see [`Builder::daemon`](crate::Builder::daemon).
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }
}

/// Tells which process this is.
///
/// # Examples
///
/// ```
/// assert_eq!(mp::current_process().name(), "MainProcess");
/// ```
pub fn current_process() -> CurrentProcess {
    CurrentProcess(identity())
}

/// The process that started this one.
#[derive(Debug, Clone, Copy)]
pub struct ParentProcess(&'static Parent);

impl ParentProcess {
    /// The system's id of the parent.
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    /// The name of the parent.
    pub fn name(&self) -> &'static str {
        &self.0.name
    }

    /// Whether the parent has not ended yet.
    pub fn is_alive(&self) -> bool {
        !self.wait_timeout(Duration::ZERO)
    }

    /// Waits until the parent has ended, for at most `timeout`; returns whether it has.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // A descriptor of a process can always be polled.
        sys::wait_ended(self.0.process.as_fd(), deadline_after(timeout)).unwrap_or(false)
    }
}

/// Readable when the parent has ended.
impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.process.as_fd()
    }
}

/// Tells which process started this one; `None` in the first process of the tree.
pub fn parent_process() -> Option<ParentProcess> {
    identity().parent.as_ref().map(ParentProcess)
}

/// The children of this process that have not ended yet.
pub fn active_children() -> Vec<ChildProcess> {
    let mut children: Vec<_> = child::children()
        .iter()
        .map(|child| ChildProcess(Arc::clone(child)))
        .filter(ChildProcess::is_alive)
        .collect();
    children.sort_by_key(ChildProcess::id);
    children
}

/// How many processes can run at once: the processors that this process may use, by its affinity and its control group's
/// quota.
///
/// # Examples
///
/// ```
/// assert!(mp::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
