//! This process's place in the tree.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::child;
use super::child_process::ChildProcess;
use crate::reactor::{Source, Sourced};
use crate::sync::deadline_after;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};
use crate::wait::Waitable;

/// Who this process is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) name: Cow<'static, str>,
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
    pub(super) process: Arc<OwnedFd>,
}

/// A copy of a process has another one than its original.
static IDENTITY: Mutex<Option<&'static Identity>> = Mutex::new(None);

pub(super) fn set_identity(identity: Identity) {
    *IDENTITY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::leak(Box::new(identity)));
}

/// Who this process is: the first of its tree, unless its boot said otherwise.
pub(super) fn identity() -> &'static Identity {
    static FIRST: Identity = Identity {
        name: Cow::Borrowed("MainProcess"),
        lineage: String::new(),
        daemon: false,
        parent: None,
    };
    let identity = IDENTITY.lock().unwrap_or_else(PoisonError::into_inner);
    identity.unwrap_or(&FIRST)
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
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn who() -> (u32, String, bool) {
///     let me = mp::current_process();
///     (me.id(), me.name().to_owned(), me.is_daemon())
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::Builder::new().name("indexer").daemon(true).spawn::<who>(())?;
///     let id = process.id();
///     assert_eq!(process.join()?, (id, "indexer".to_owned(), true));
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CurrentProcess(&'static Identity);

impl CurrentProcess {
    /// Returns the system's id of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::current_process().id(), std::process::id());
    /// ```
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        std::process::id()
    }

    /// Returns the name of this process; `MainProcess` for the first of the tree.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::current_process().name(), "MainProcess");
    /// ```
    pub fn name(&self) -> &'static str {
        &self.0.name
    }

    /// Tells whether this process is a daemon, see [`Builder::daemon`](crate::Builder::daemon).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!mp::current_process().is_daemon());
    /// ```
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
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn parent() -> Option<(u32, String)> {
///     let parent = mp::parent_process()?;
///     Some((parent.id(), parent.name().to_owned()))
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let parent = mp::spawn!(parent)?.join()?;
///     assert_eq!(parent, Some((std::process::id(), "MainProcess".to_owned())));
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ParentProcess(&'static Parent);

impl ParentProcess {
    /// Returns the system's id of the parent.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn ask() -> Option<u32> {
    ///     mp::parent_process().map(|parent| parent.id())
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(ask)?.join()?, Some(std::process::id()));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    /// Returns the name of the parent.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn ask() -> Option<String> {
    ///     mp::parent_process().map(|parent| parent.name().to_owned())
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(ask)?.join()?, Some("MainProcess".to_owned()));
    ///     Ok(())
    /// }
    /// ```
    pub fn name(&self) -> &'static str {
        &self.0.name
    }

    /// Tells whether the parent has not ended yet.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn ask() -> bool {
    ///     mp::parent_process().is_some_and(|parent| parent.is_alive())
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(ask)?.join()?, true);
    ///     Ok(())
    /// }
    /// ```
    pub fn is_alive(&self) -> bool {
        !self.wait_timeout(Duration::ZERO)
    }

    /// Waits until the parent has ended, for at most `timeout`; returns whether it has.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn]
    /// fn ask() -> bool {
    ///     let parent = mp::parent_process().expect("a child has a parent");
    ///     parent.wait_timeout(std::time::Duration::from_millis(1))
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     assert_eq!(mp::spawn!(ask)?.join()?, false);
    ///     Ok(())
    /// }
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // A descriptor of a process can always be polled.
        sys::wait_ended(self.0.process.as_fd(), deadline_after(timeout)).unwrap_or(false)
    }
}

impl Waitable for ParentProcess {}

impl Sourced for ParentProcess {
    fn source(&self) -> Source<'_> {
        Source::of_fd(self.as_fd())
    }
}

/// Readable when the parent has ended.
impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.process.as_fd()
    }
}

/// Tells which process started this one; `None` in the first process of the tree.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn has_parent() -> bool {
///     mp::parent_process().is_some()
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     assert!(mp::parent_process().is_none());
///     assert!(mp::spawn!(has_parent)?.join()?);
///     Ok(())
/// }
/// ```
pub fn parent_process() -> Option<ParentProcess> {
    identity().parent.as_ref().map(ParentProcess)
}

/// Returns the children of this process that have not ended yet.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn wait_for(gate: mp::Event) {
///     gate.wait().unwrap();
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let gate = mp::Event::new()?;
///     let process = mp::spawn!(wait_for, gate.clone())?;
///     let children = mp::active_children();
///     assert_eq!(children.len(), 1);
///     assert_eq!(children[0].id(), process.id());
///
///     gate.set();
///     process.join()?;
///     assert!(mp::active_children().is_empty());
///     Ok(())
/// }
/// ```
pub fn active_children() -> Vec<ChildProcess> {
    let mut children: Vec<_> = child::children()
        .iter()
        .map(|child| ChildProcess(Arc::clone(child)))
        .filter(ChildProcess::is_alive)
        .collect();
    children.sort_by_key(ChildProcess::id);
    children
}

/// Tells how many processes can run at once: the processors that this process may use, by its affinity and its control
/// group's quota.
///
/// # Examples
///
/// ```
/// assert!(mp::cpu_count() >= 1);
/// ```
#[doc(alias = "available_parallelism")]
#[doc(alias = "process_cpu_count")]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
