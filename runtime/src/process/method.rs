//! The ways in which a process can be started.

use std::fmt;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::sys;

/// How a child process is started.
///
/// | | `Spawn` | `Fork` | `Forkserver` |
/// |---|---|---|---|
/// | the child is | the program, executed anew | a copy of its parent | a copy of a server that has done nothing |
/// | it finds in `static`s | what the program begins with | what its parent had there | what [`set_forkserver_preload`](crate::set_forkserver_preload) left there |
/// | its parent may have threads | yes | no | yes |
/// | the start costs | an exec, whatever memory the parent has | page tables, as the parent's memory | page tables of the server |
/// | files that the parent has open | are closed in it | are open in it | are closed in it |
///
/// In all three, arguments and value travel in the same way, handles work, environment, working directory and standard streams are
/// those of the parent unless the builder says otherwise, signals that the parent handles have their default action, and what
/// the parent registered for its own exit does not happen in the child.
///
/// A copy begins with its parent's memory, and with what its parent has read ahead from its standard input, but it is not its parent: it has no children yet, and its parent's connections
/// lead nowhere in it, so that both ends see each other's end. Pass as arguments what it is to use. Where the function of a copy calls
/// [`std::process::exit`] itself instead of returning, values of its parent's thread-local variables are dropped in it as well.
///
/// Not every platform has every method: [`available`](Self::available) tells.
///
/// # Examples
///
/// ```
/// use mp::StartMethod;
///
/// assert!(StartMethod::available().contains(&StartMethod::Spawn));
/// assert_eq!(StartMethod::Forkserver.to_string(), "forkserver");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is executed anew. The child shares nothing with its parent but the tree's shared memory.
    Spawn,
    /// The parent is copied. It must have one thread, because what others are doing would stay half done in the copy, a lock
    /// for ever locked: with more, a start is [`Error::ForkWithThreads`]. Threads of this library count: a pool has some, the
    /// first `await` of a process starts one, and a daemon has one that watches its parent.
    Fork,
    /// A server process is copied, which is executed anew at the first use, and does nothing but to be copied. Each process has its
    /// own. It ends with the process, and is replaced if it is killed.
    Forkserver,
}

static CHOSEN: OnceLock<StartMethod> = OnceLock::new();

impl StartMethod {
    const ALL: [Self; 3] = [Self::Spawn, Self::Fork, Self::Forkserver];

    /// Returns the methods that this version has on this platform, the default one first.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::StartMethod::available()[0], mp::start_method());
    /// ```
    #[doc(alias = "get_all_start_methods")]
    pub fn available() -> &'static [StartMethod] {
        if sys::CAN_FORK {
            &Self::ALL
        } else {
            &[StartMethod::Spawn]
        }
    }

    /// Returns the name, as `#[mp::main(start_method = "…")]` takes it.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::StartMethod::Spawn.name(), "spawn");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            StartMethod::Spawn => "spawn",
            StartMethod::Fork => "fork",
            StartMethod::Forkserver => "forkserver",
        }
    }

    /// The method of this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    pub(super) fn check(self) -> Result<()> {
        if Self::available().contains(&self) {
            Ok(())
        } else {
            Err(Error::StartMethodUnavailable {
                method: self.name(),
            })
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sets the start method of all processes that are started without another choice. Once per program: children have the choice of
/// their parent.
///
/// # Examples
///
/// ```
/// assert_eq!(mp::start_method(), mp::StartMethod::Spawn);
/// mp::set_start_method(mp::StartMethod::Spawn)?;
/// assert!(matches!(
///     mp::set_start_method(mp::StartMethod::Spawn),
///     Err(mp::Error::StartMethodSet { current: "spawn" })
/// ));
/// # Ok::<(), mp::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::StartMethodUnavailable`] if this version does not have the method here, and [`Error::StartMethodSet`] if a
/// method was set before.
pub fn set_start_method(method: StartMethod) -> Result<()> {
    method.check()?;
    CHOSEN.set(method).map_err(|_| Error::StartMethodSet {
        current: start_method().name(),
    })
}

/// The method that was set, by this process or by the one that started it.
pub(super) fn chosen() -> Option<StartMethod> {
    CHOSEN.get().copied()
}

/// In a child: the choice of its parent is that of the program.
pub(super) fn inherit(name: &str) {
    if let Some(method) = StartMethod::from_name(name) {
        let _ = CHOSEN.set(method);
    }
}

/// Returns the start method of processes that are started without another choice.
///
/// # Examples
///
/// ```
/// assert_eq!(mp::start_method().name(), "spawn");
/// ```
#[doc(alias = "get_start_method")]
pub fn start_method() -> StartMethod {
    chosen().unwrap_or(StartMethod::Spawn)
}
