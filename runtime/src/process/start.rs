//! Starting a child, by whatever method.
//!
//! Its order is written first, into a record in the shared memory, so that what the methods pass is the same: the record's
//! place, and descriptors.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury the record of a process that was not started.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::child::{self, Child, Started};
use super::outcome::Order;
use super::server::{self, Server};
use super::stdio;
use super::surroundings::{Changes, Surroundings, Variables};
use super::{Builder, StartMethod, boot, exec, fork, start_method, tree};
use crate::arena::{self, Arena, ChildRecord, Draft, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::registry::{self, ProcessFn};
use crate::sys::{self, OwnedFd, Streams};
use crate::wire;

/// A child that is about to begin.
pub(super) struct Beginning<'a> {
    pub(super) arena: &'static Arena,
    pub(super) record: &'a ChildRecord,
    function: &'static str,
    pub(super) streams: &'a Streams,
    pub(super) surroundings: &'a Surroundings,
    pub(super) leads_group: bool,
}

/// A child that has begun.
pub(super) struct Begun {
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
}

impl Beginning<'_> {
    /// What turns an error of the system into that of the start.
    pub(super) fn failed(&self, what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        failed(self.function, what)
    }
}

fn failed(function: &str, what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let (function, what) = (function.to_owned(), what.to_owned());
    move |source| Error::Start {
        function,
        what,
        source,
    }
}

/// How a child is to be started.
enum Way {
    Exec,
    Fork,
    Server(Arc<Server>),
}

/// The fork server may die while it is asked, and is started again then. That it does so again and again is an error.
const MOST_ATTEMPTS: usize = 3;

/// Starts a child that runs `F`.
pub(super) fn start<F: ProcessFn>(builder: Builder, args: &F::Args<'_>) -> Result<Arc<Child>> {
    if !boot::is_initialized() {
        return Err(Error::NotInitialized);
    }
    let method = builder.method.unwrap_or_else(start_method);
    method.check()?;
    let arena = arena::arena()?;
    let depth = arena.me().depth.load(Ordering::Relaxed);
    if depth >= MAX_DEPTH {
        return Err(Error::TooDeep {
            depth: depth as u32,
        });
    }
    child::reap_detached();
    arena.sweep();
    let Builder {
        name,
        daemon,
        stdio,
        surroundings,
        leads_group,
        server,
        hidden,
        ..
    } = builder;
    if let Some(directory) = &surroundings.directory {
        check_directory(directory).map_err(failed(
            F::NAME,
            &format!(
                "its working directory `{}` cannot be entered",
                directory.display()
            ),
        ))?;
    }
    let streams = stdio::open(stdio);
    let streams = streams.map_err(failed(
        F::NAME,
        "cannot open one of its standard streams",
    ))?;
    let me = tree::identity();
    let lineage = if hidden {
        String::new()
    } else {
        me.lineage_of_child(arena.me().children.fetch_add(1, Ordering::Relaxed) + 1)
    };
    let name = name.unwrap_or_else(|| format!("Process-{lineage}"));

    for _ in 0..MOST_ATTEMPTS {
        let way = match (&server, method) {
            (Some(server), _) => Way::Server(Arc::clone(server)),
            (None, StartMethod::Spawn) => Way::Exec,
            (None, StartMethod::Fork) => Way::Fork,
            (None, StartMethod::Forkserver) => Way::Server(server::mine()?),
        };
        let changes = match &way {
            Way::Exec => {
                let checked = surroundings.environment().map(drop);
                checked.map(|()| Changes::default())
            }
            Way::Fork => surroundings.changes_of(&std::env::vars_os().collect::<Variables>()),
            Way::Server(server) => surroundings.changes_of(server.environment()),
        };
        let order = Order {
            function: F::NAME,
            name: &name,
            lineage: &lineage,
            parent_name: &me.name,
            daemon,
            leads_group,
            changes: changes.map_err(failed(F::NAME, "cannot make its environment"))?,
        };
        let encode = |draft: &mut Draft| {
            wire::append(&order, draft, &|| "the order for a process".to_owned())?;
            registry::encode::<F>(args, draft)
        };
        let (record, fds) = wire::with_draft(encode, |draft, outgoing| {
            // Those that the child inherits need not wait for it.
            let fds = match &way {
                Way::Server(_) if outgoing.fds.len() > server::MOST_FDS => Vec::new(),
                _ => std::mem::take(&mut outgoing.fds),
            };
            let parcel = draft.finish(arena, outgoing)?;
            Ok::<_, Error>((ChildRecord::new(arena, &name, parcel)?, fds))
        })??;
        let beginning = Beginning {
            arena,
            record: &record,
            function: F::NAME,
            streams: &streams,
            surroundings: &surroundings,
            leads_group,
        };
        let begun = match &way {
            Way::Exec => exec::begin(&beginning, &fds).map(Some),
            Way::Fork => fork::begin(&beginning, fds).map(Some),
            Way::Server(server) => server.begin(&beginning, &fds),
        };
        let begun = begun.inspect_err(|_| never_started(&record))?;
        let Some(Begun { pid, process }) = begun else {
            never_started(&record);
            continue;
        };
        return Ok(Child::enter(Started {
            record,
            pid,
            process,
            name,
            function: F::NAME,
            daemon,
            leads_group,
            pipes: streams.pipes,
            server: match way {
                Way::Server(server) => Some(server),
                _ => None,
            },
            hidden,
        }));
    }
    let reason = io::Error::other("something kills it; is the system out of memory?");
    Err(failed(
        F::NAME,
        &format!("the fork server died {MOST_ATTEMPTS} times while it was asked"),
    )(reason))
}

/// Gives back what was prepared for a process that was not started, or was waited for, or will find its order withdrawn.
fn never_started(record: &ChildRecord) {
    // SAFETY: that is who this is called for.
    #[allow(unsafe_code)]
    unsafe {
        record.bury();
    }
}

/// The child with this id, which nobody has waited for.
pub(super) fn open_begun(beginning: &Beginning<'_>, pid: u32) -> Result<Begun> {
    match sys::open_process(pid) {
        Ok(process) => Ok(Begun { pid, process }),
        Err(error) => {
            sys::abandon_child(pid);
            Err(beginning.failed("cannot open a descriptor of the new process (it was killed)")(
                error,
            ))
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
static MYSELF: Mutex<Option<Arc<OwnedFd>>> = Mutex::new(None);

pub(super) fn my_descriptor() -> io::Result<Arc<OwnedFd>> {
    let mut myself = MYSELF.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fd) = &*myself {
        return Ok(Arc::clone(fd));
    }
    let fd = Arc::new(sys::open_self()?);
    Ok(Arc::clone(myself.insert(fd)))
}

/// In a copy: what was the descriptor of this process is that of its parent.
pub(super) fn forget_my_descriptor() {
    *MYSELF.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
