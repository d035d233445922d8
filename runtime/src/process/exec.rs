//! `Spawn`: the program is executed anew.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use super::boot::{self, Mark};
use super::start::{Beginning, Begun, open_begun};
use super::surroundings::Variables;
use crate::arena::{CHILD_MARK, ChildRecord};
use crate::error::Result;
use crate::sys::{self, AsFd, BorrowedFd, Launch, OwnedFd};

static EXECUTABLE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Sets the program that children of this process execute, instead of this process's own.
///
/// It must be a program with the same process functions, most likely the same program in a place that does not go
/// away.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn work() {}
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     mp::set_executable("/no/such/program");
///     assert!(matches!(mp::spawn!(work), Err(mp::Error::Start { .. })));
///
///     mp::set_executable(std::env::current_exe()?);
///     mp::spawn!(work)?.join()?;
///     Ok(())
/// }
/// ```
pub fn set_executable(path: impl Into<PathBuf>) {
    *EXECUTABLE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(path.into());
}

/// Executes the program for a child.
///
/// `first` are the descriptors by which it takes its order.
pub(super) fn begin(
    beginning: &Beginning<'_>,
    first: &[BorrowedFd<'_>],
    fds: &[OwnedFd],
) -> Result<Begun> {
    if sys::is_set_user_id() {
        // Or else the child, which ignores its mark, would run `main` again.
        return Err(beginning.failed(
            "a set-user-id program (or one that has capabilities) does not trust its environment, so that no child of it can \
             be told by that what to do; StartMethod::Fork needs no environment",
        )(io::ErrorKind::PermissionDenied.into()));
    }
    let parent = super::start::my_descriptor()
        .map_err(beginning.failed("cannot open a descriptor of this process"))?;
    let mut passed = first.to_vec();
    passed.push(parent.as_fd());
    passed.extend(fds.iter().map(AsFd::as_fd));
    // In a test, the test harness writes to standard output before the child's function begins.
    let quiet = boot::test_path().is_some();
    let placeholder = if quiet {
        let placeholder = sys::dup_above(parent.as_fd(), 0);
        Some(placeholder.map_err(beginning.failed("cannot duplicate a descriptor"))?)
    } else {
        None
    };
    passed.extend(placeholder.as_ref().map(AsFd::as_fd));

    let mark = Mark {
        record: beginning.record.map_or(0, |record| record.place().0),
        serial: beginning.record.map_or(0, ChildRecord::serial),
        stdout: quiet,
        fds: Launch::numbers(passed.len()),
    };
    let surroundings = beginning.surroundings;
    let variables = surroundings
        .environment()
        .map_err(beginning.failed("cannot make its environment"))?;
    let streams = beginning.streams.borrow();
    let launch = Launch {
        programs: programs(),
        arguments: arguments(),
        environment: environment(variables, &mark),
        directory: surroundings.directory.clone(),
        fds: &passed,
        streams: streams
            .fds
            .each_ref()
            .map(|fd| fd.as_ref().map(AsFd::as_fd)),
        quiet_stdout: quiet,
        lead_group: beginning.leads_group,
    };
    let programs = launch.programs.clone();
    let pid = sys::launch(launch).map_err(|error| {
        let tried: Vec<_> = programs
            .iter()
            .map(|program| program.display().to_string())
            .collect();
        beginning.failed(&format!("cannot execute {}", tried.join(" or ")))(error)
    })?;
    open_begun(beginning, pid)
}

/// The link to this program works after the file was replaced or deleted; the paths serve where there is no `/proc`.
fn programs() -> Vec<PathBuf> {
    static OWN: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let chosen = EXECUTABLE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clone();
    match chosen {
        Some(program) => vec![program],
        None => OWN
            .get_or_init(|| {
                let link = PathBuf::from("/proc/self/exe");
                let paths = [std::env::current_exe().ok(), FIRST.get().cloned()];
                std::iter::once(link)
                    .chain(paths.into_iter().flatten())
                    .collect()
            })
            .clone(),
    }
}

/// What this program was executed by, as an absolute path.
static FIRST: OnceLock<PathBuf> = OnceLock::new();

/// At the beginning of a program, whose working directory is the one that it was executed in.
pub(super) fn remember_program() {
    if let Some(program) = sys::program_path()
        && let Ok(program) = std::path::absolute(program)
    {
        let _ = FIRST.set(program);
    }
}

/// The child has the arguments of its parent, as a copy would; in a test, those that lead to the same test.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.is_empty() {
        arguments.push("multiproc".into());
    }
    if let Some(test) = boot::test_path() {
        arguments.truncate(1);
        let lead = [
            test,
            "--exact",
            "--nocapture",
            "--quiet",
            "--test-threads=1",
            "--include-ignored",
        ];
        arguments.extend(lead.map(OsString::from));
    }
    arguments
}

fn environment(mut variables: Variables, mark: &Mark) -> Variables {
    variables.push((CHILD_MARK.into(), mark.to_string().into()));
    variables
}
