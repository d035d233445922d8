//! Starting a child.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury the record of a process that was not started.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use super::boot::{self, Mark};
use super::child::{self, Child, Started};
use super::outcome::Order;
use super::{Builder, tree};
use crate::arena::{self, Arena, CHILD_MARK, ChildRecord, Draft, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::registry::{self, ProcessFn};
use crate::sys::{self, AsFd, BorrowedFd, ChildStdio, Launch, Launched, OwnedFd};
use crate::wire;

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

/// Starts a child that runs `F`.
pub(super) fn start<F: ProcessFn>(builder: Builder, args: &F::Args<'_>) -> Result<Arc<Child>> {
    if !boot::is_initialized() {
        return Err(Error::NotInitialized);
    }
    let arena = arena::arena()?;
    let depth = arena.me().depth.load(Ordering::Relaxed);
    if depth >= MAX_DEPTH {
        return Err(Error::TooDeep {
            depth: depth as u32,
        });
    }
    child::reap_detached();
    arena.sweep();
    let me = tree::identity();
    let lineage = me.lineage_of_child(arena.me().children.fetch_add(1, Ordering::Relaxed) + 1);
    let name = builder
        .name
        .clone()
        .unwrap_or_else(|| format!("Process-{lineage}"));
    let order = Order {
        function: F::NAME,
        name: &name,
        lineage: &lineage,
        parent_name: &me.name,
        daemon: builder.daemon,
        leads_group: builder.leads_group,
    };
    let encode = |draft: &mut Draft| {
        wire::append(&order, draft, &|| "the order for a process".to_owned())?;
        registry::encode::<F>(args, draft)
    };
    wire::with_draft(encode, |draft, outgoing| {
        // Those that the child inherits need not wait for it.
        let fds = std::mem::take(&mut outgoing.fds);
        let parcel = draft.finish(arena, outgoing)?;
        let record = ChildRecord::new(arena, &name, parcel)?;
        let (daemon, leads_group) = (builder.daemon, builder.leads_group);
        match execute(arena, &record, F::NAME, builder, &fds) {
            Ok((launched, process)) => {
                let Launched { pid, pipes } = launched;
                let name = name.clone();
                Ok(Child::enter(Started {
                    record,
                    pid,
                    process,
                    name,
                    function: F::NAME,
                    daemon,
                    leads_group,
                    pipes,
                }))
            }
            Err(error) => {
                // SAFETY: no process was started, or it was waited for.
                #[allow(unsafe_code)]
                unsafe {
                    record.bury();
                }
                Err(error)
            }
        }
    })?
}

/// Executes the program for the child with this record.
fn execute(
    arena: &Arena,
    record: &ChildRecord,
    function: &str,
    builder: Builder,
    passed: &[OwnedFd],
) -> Result<(Launched, OwnedFd)> {
    let failed = |what: &str| {
        let (function, what) = (function.to_owned(), what.to_owned());
        move |source: io::Error| Error::Start {
            function,
            what,
            source,
        }
    };
    let [stdin, stdout, stderr] = builder.stdio;
    let open = |stream: Option<super::Stdio>, writable| {
        let opened = stream.map_or(Ok(ChildStdio::Inherit), |stream| stream.open(writable));
        opened.map_err(failed("cannot open one of its standard streams"))
    };
    let stdio = [
        open(stdin, false)?,
        open(stdout, true)?,
        open(stderr, true)?,
    ];

    let myself = my_descriptor().map_err(failed("cannot open a descriptor of this process"))?;
    let mut fds: Vec<BorrowedFd<'_>> = arena.fds().into();
    fds.push(myself);
    fds.extend(passed.iter().map(AsFd::as_fd));
    // In a test, the test harness writes to standard output before the child's function begins.
    let quiet = boot::test_path().is_some();
    let placeholder = if quiet {
        Some(sys::dup_above(myself, 0).map_err(failed("cannot duplicate a descriptor"))?)
    } else {
        None
    };
    fds.extend(placeholder.as_ref().map(AsFd::as_fd));

    let numbers = Launch::numbers(&fds, &stdio);
    let mark = Mark {
        record: record.place().0,
        serial: record.serial(),
        stdout: quiet,
        fds: numbers,
    };
    let launch = Launch {
        programs: programs(),
        arguments: arguments(),
        environment: environment(builder.clear_environment, builder.environment, &mark)
            .map_err(failed("cannot make its environment"))?,
        directory: builder.directory.clone(),
        fds: &fds,
        stdio,
        quiet_stdout: quiet,
        lead_group: builder.leads_group,
    };
    if let Some(directory) = &builder.directory {
        check_directory(directory).map_err(failed(&format!(
            "its working directory `{}` cannot be entered",
            directory.display()
        )))?;
    }
    let programs = launch.programs.clone();
    let launched = sys::launch(launch).map_err(|error| {
        let tried: Vec<_> = programs
            .iter()
            .map(|program| program.display().to_string())
            .collect();
        failed(&format!("cannot execute {}", tried.join(" or ")))(error)
    })?;
    match sys::open_process(launched.pid) {
        Ok(process) => Ok((launched, process)),
        Err(error) => {
            sys::abandon_child(launched.pid);
            Err(failed(
                "cannot open a descriptor of the new process (it was killed)",
            )(error))
        }
    }
}

/// The system's error for a start does not tell a missing directory from a missing program.
fn check_directory(directory: &Path) -> io::Result<()> {
    if std::fs::metadata(directory)?.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

/// A descriptor of this process, for its children to see its end.
fn my_descriptor() -> io::Result<BorrowedFd<'static>> {
    static MYSELF: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(fd) = MYSELF.get() {
        return Ok(fd.as_fd());
    }
    let fd = sys::open_self()?;
    Ok(MYSELF.get_or_init(|| fd).as_fd())
}

/// The link to this program works after the file was replaced or deleted; the path serves where there is no `/proc`.
fn programs() -> Vec<PathBuf> {
    let chosen = EXECUTABLE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .clone();
    match chosen {
        Some(program) => vec![program],
        None => std::iter::once(PathBuf::from("/proc/self/exe"))
            .chain(std::env::current_exe().ok())
            .collect(),
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

fn environment(
    clear: bool,
    changes: Vec<(OsString, Option<OsString>)>,
    mark: &Mark,
) -> io::Result<Vec<(OsString, OsString)>> {
    let mut variables: Vec<(OsString, OsString)> = if clear {
        Vec::new()
    } else {
        std::env::vars_os().collect()
    };
    for (name, value) in changes {
        if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
            let error = format!("an environment variable cannot be named {name:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        variables.retain(|(existing, _)| *existing != name);
        variables.extend(value.map(|value| (name, value)));
    }
    variables.retain(|(name, _)| name != CHILD_MARK);
    variables.push((CHILD_MARK.into(), mark.to_string().into()));
    Ok(variables)
}
