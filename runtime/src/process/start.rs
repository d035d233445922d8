//! Starting a child, by whatever method.
//!
//! Its order is written first, into a record in the shared memory, so that what the methods pass is the same: the record's
//! place, and descriptors.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury the record of a process that was not started.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::account::{self, Account};
use super::child::{self, Child, Started};
use super::outcome::Head;
use super::server::{self, Server};
use super::surroundings::{Changes, Surroundings};
use super::{Builder, StartMethod, boot, exec, fork, isolated, method, start_method, stdio, tree};
use crate::arena::{self, Arena, ChildRecord, Draft, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::registry::{self, ProcessFn};
use crate::sys::{self, AsFd, OwnedFd, Streams};
use crate::wire;

/// A child that is about to begin.
pub(super) struct Beginning<'a> {
    pub(super) arena: &'static Arena,
    /// None for an isolated one.
    pub(super) record: Option<&'a ChildRecord>,
    function: &'static str,
    pub(super) streams: &'a RefCell<Streams>,
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
    pub(super) fn failed<'w>(&self, what: &'w str) -> impl FnOnce(io::Error) -> Error + use<'w> {
        failed(self.function, what)
    }
}

fn failed<'w>(function: &'static str, what: &'w str) -> impl FnOnce(io::Error) -> Error + use<'w> {
    move |source| Error::Start {
        function: function.to_owned(),
        what: what.to_owned(),
        source,
    }
}

/// How a child is to be started.
enum Way {
    Exec,
    Isolated,
    Fork,
    Server(Arc<Server>),
}

impl Way {
    fn choose(builder: &Builder, method: StartMethod) -> Result<Self> {
        Ok(match (&builder.server, method) {
            _ if builder.isolated => Way::Isolated,
            (Some(server), _) => Way::Server(Arc::clone(server)),
            (None, StartMethod::Spawn) => Way::Exec,
            (None, StartMethod::Fork) => Way::Fork,
            (None, StartMethod::Forkserver) => Way::Server(server::mine()?),
        })
    }
}

/// The fork server may die while it is asked, and is started again then. That it does so again and again is an error.
const MOST_ATTEMPTS: usize = 3;

/// Starts a child that runs `F`.
pub(super) fn start<F: ProcessFn>(mut builder: Builder, args: &F::Args<'_>) -> Result<Arc<Child>> {
    if !boot::is_initialized() {
        return Err(Error::NotInitialized);
    }
    let method = builder.method.unwrap_or_else(start_method);
    method.check()?;
    if builder.isolated && !matches!(builder.method, None | Some(StartMethod::Spawn)) {
        let reason =
            format!("the start method `{method}` copies a process that maps shared memory");
        let reason = io::Error::new(io::ErrorKind::InvalidInput, reason);
        return Err(failed(
            F::NAME,
            "it is to be isolated, and is executed anew for that",
        )(reason));
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
    if let Some(directory) = &builder.surroundings.directory {
        let what = format!(
            "its working directory `{}` cannot be entered",
            directory.display()
        );
        check_directory(directory).map_err(failed(F::NAME, &what))?;
    }
    if let Some(capture) = &mut builder.capture {
        capture.claim(&mut builder.stdio);
    }
    let streams = stdio::open(std::mem::take(&mut builder.stdio))
        .map_err(failed(F::NAME, "cannot open one of its standard streams"))?;
    let lineage = if builder.hidden {
        String::new()
    } else {
        let number = arena.me().children.fetch_add(1, Ordering::Relaxed) + 1;
        tree::identity().lineage_of_child(number)
    };
    let name = builder
        .name
        .take()
        .unwrap_or_else(|| format!("Process-{lineage}"));
    let mut child = NewChild {
        arena,
        builder,
        streams: RefCell::new(streams),
        lineage,
        name,
    };
    for _ in 0..MOST_ATTEMPTS {
        let way = Way::choose(&child.builder, method)?;
        if let Some(begun) = child.attempt::<F>(way, args)? {
            if let Some(capture) = &child.builder.capture {
                let captured = begun.capture(capture);
                captured.map_err(failed(F::NAME, "cannot pass on its output (it was killed)"))?;
            }
            return Ok(begun);
        }
    }
    let what = format!("the fork server died {MOST_ATTEMPTS} times while it was asked");
    let reason = io::Error::other("something kills it; is the system out of memory?");
    Err(failed(F::NAME, &what)(reason))
}

/// What a child will be, whatever attempt succeeds.
struct NewChild {
    arena: &'static Arena,
    builder: Builder,
    streams: RefCell<Streams>,
    lineage: String,
    name: String,
}

impl NewChild {
    /// Starts it; `None` if the fork server died before it did.
    fn attempt<F: ProcessFn>(
        &mut self,
        way: Way,
        args: &F::Args<'_>,
    ) -> Result<Option<Arc<Child>>> {
        let head = self.head::<F>(&way)?;
        let encode = |draft: &mut Draft| {
            wire::append(&head, draft, &|| "the order for a process".to_owned())?;
            registry::encode::<F>(args, draft)
        };
        let (begun, account) = match &way {
            Way::Isolated => {
                let (file, fds) = account::encode_plain(encode, |bytes, fds| {
                    sys::sealed_file(bytes).map(|file| (file, fds))
                })?
                .map_err(failed(F::NAME, "cannot make a file for its order"))?;
                let (account, report) = isolated::pair()
                    .map_err(failed(F::NAME, "cannot make sockets to talk to it"))?;
                let first = [report.as_fd(), file.as_fd()];
                let begun = exec::begin(&self.beginning::<F>(None), &first, &fds)?;
                (Some(begun), Account::Isolated(account))
            }
            _ => {
                let (record, fds) = wire::with_draft(encode, |draft, outgoing| {
                    // Those that the child inherits need not wait for it.
                    let fds = match &way {
                        Way::Server(_) if outgoing.fds.len() > server::MOST_FDS => Vec::new(),
                        _ => std::mem::take(&mut outgoing.fds),
                    };
                    let parcel = draft.finish(self.arena, outgoing)?;
                    Ok::<_, Error>((ChildRecord::new(self.arena, &self.name, parcel)?, fds))
                })??;
                let beginning = self.beginning::<F>(Some(&record));
                let begun = match &way {
                    Way::Fork => fork::begin(&beginning, &record, fds).map(Some),
                    Way::Server(server) => server.begin(&beginning, &record, &fds),
                    _ => exec::begin(&beginning, &self.arena.fds(), &fds).map(Some),
                };
                if !matches!(begun, Ok(Some(_))) {
                    never_started(&record);
                }
                (begun?, Account::Tree(record))
            }
        };
        let Some(Begun { pid, process }) = begun else {
            return Ok(None);
        };
        Ok(Some(Child::enter(Started {
            account,
            parent: self.arena.identity(),
            pid,
            process,
            name: self.name.clone(),
            function: F::NAME,
            daemon: self.builder.daemon,
            leads_group: self.builder.leads_group,
            pipes: std::mem::take(&mut self.streams.get_mut().pipes),
            server: match way {
                Way::Server(server) => Some(server),
                _ => None,
            },
            hidden: self.builder.hidden,
        })))
    }

    /// The head of its order.
    fn head<F: ProcessFn>(&self, way: &Way) -> Result<Head<'_>> {
        let surroundings = &self.builder.surroundings;
        let changes = match way {
            // It is given what it is to find.
            Way::Exec | Way::Isolated => Ok(Changes::default()),
            Way::Fork => surroundings.changes_of(None),
            Way::Server(server) => match server.environment() {
                Some(found) => surroundings.changes_of(Some(found)),
                None => surroundings.all_changes(),
            },
        };
        Ok(Head {
            function: F::NAME,
            name: &self.name,
            lineage: &self.lineage,
            parent_name: &tree::identity().name,
            parent_pid: std::process::id(),
            daemon: self.builder.daemon,
            leads_group: self.builder.leads_group,
            changes: changes.map_err(failed(F::NAME, "cannot make its environment"))?,
            limits: surroundings.limits,
            method: method::chosen().map(StartMethod::name),
        })
    }

    fn beginning<'a, F: ProcessFn>(&'a self, record: Option<&'a ChildRecord>) -> Beginning<'a> {
        Beginning {
            arena: self.arena,
            record,
            function: F::NAME,
            streams: &self.streams,
            surroundings: &self.builder.surroundings,
            leads_group: self.builder.leads_group,
        }
    }
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
        // It has ended, and somebody else has waited for it.
        Err(error) if sys::is_no_process(&error) => {
            let process = sys::ended_process().map_err(
                beginning.failed("cannot open a descriptor in place of one of the new process"),
            )?;
            Ok(Begun { pid, process })
        }
        Err(error) => {
            sys::abandon_child(pid);
            Err(beginning.failed(
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
