//! The ways in which a process can be started.

use std::fmt;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// How a child process is started.
///
/// Not every version and platform has every method: [`available`](Self::available) tells.
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
    /// The parent is copied, as long as it has one thread.
    Fork,
    /// A server process, executed anew and kept to one thread, is copied.
    Forkserver,
}

static CHOSEN: OnceLock<StartMethod> = OnceLock::new();

impl StartMethod {
    /// Returns the methods that this version has on this platform, the default one first.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::StartMethod::available()[0], mp::start_method());
    /// ```
    #[doc(alias = "get_all_start_methods")]
    pub fn available() -> &'static [StartMethod] {
        &[StartMethod::Spawn]
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
        [
            StartMethod::Spawn,
            StartMethod::Fork,
            StartMethod::Forkserver,
        ]
        .into_iter()
        .find(|method| method.name() == name)
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

/// Sets the start method of all processes that are started without another choice. Once per program.
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

/// Returns the start method of processes that are started without another choice.
///
/// # Examples
///
/// ```
/// assert_eq!(mp::start_method().name(), "spawn");
/// ```
#[doc(alias = "get_start_method")]
pub fn start_method() -> StartMethod {
    CHOSEN.get().copied().unwrap_or(StartMethod::Spawn)
}
