//! What a process can be given before it starts.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Process, StartMethod, Stdio, start, start_method};
use crate::error::Result;
use crate::registry::ProcessFn;

/// A process that is about to be started.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn variable(name: &str) -> Option<String> {
///     std::env::var(name).ok()
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::Builder::new()
///         .name("indexer")
///         .env("LANGUAGE", "en")
///         .current_dir("/")
///         .spawn::<variable>("LANGUAGE")?;
///     assert_eq!(process.name(), "indexer");
///     assert_eq!(process.join()?.as_deref(), Some("en"));
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing starts before `spawn`"]
pub struct Builder {
    pub(super) name: Option<String>,
    pub(super) daemon: bool,
    pub(super) method: Option<StartMethod>,
    pub(super) clear_environment: bool,
    /// Later changes override earlier ones.
    pub(super) environment: Vec<(OsString, Option<OsString>)>,
    pub(super) directory: Option<PathBuf>,
    pub(super) stdio: [Option<Stdio>; 3],
}

impl Builder {
    /// A process with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process's name, for messages, `ps` and `top`. The default is `Process-1`, `Process-2`, …, and `Process-1:1` for
    /// the first child of the first.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the process is a daemon: it is terminated when its parent exits, and dies when its parent is killed, where
    /// others are joined. The default is `false`.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// How to start the process. The default is that of the program, see [`start_method`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Sets an environment variable of the child. It has the others of its parent.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Sets environment variables of the child.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables
            .into_iter()
            .fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Removes an environment variable that the child would have of its parent.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// Removes all environment variables, those set on this builder before included.
    pub fn env_clear(mut self) -> Self {
        self.clear_environment = true;
        self.environment.clear();
        self
    }

    /// The child's working directory. The default is its parent's.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Where the child's standard input comes from. The default is where its parent's does.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdio[0] = Some(stdin.into());
        self
    }

    /// Where the child's standard output goes. The default is where its parent's does.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdio[1] = Some(stdout.into());
        self
    }

    /// Where the child's standard error goes. The default is where its parent's does.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stdio[2] = Some(stderr.into());
        self
    }

    /// Starts the process, which runs the function `F` with `args`: `()` for none, the bare value for one, a tuple for
    /// several. [`spawn!`](crate::spawn!) is shorter where the defaults will do.
    ///
    /// # Errors
    ///
    /// - [`Error::NotInitialized`](crate::Error::NotInitialized) if neither `#[mp::main]`, `#[mp::test]` nor `mp::init()` has
    ///   run.
    /// - [`Error::Encode`](crate::Error::Encode) if an argument cannot be encoded.
    /// - [`Error::Start`](crate::Error::Start) if the system cannot start the program, or not in that directory.
    /// - [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the shared memory is full.
    pub fn spawn<F: ProcessFn>(self, args: F::Args<'_>) -> Result<Process<F::Output>> {
        self.method.unwrap_or_else(start_method).check()?;
        start::start::<F>(self, &args).map(Process::new)
    }
}
