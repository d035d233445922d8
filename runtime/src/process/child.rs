//! What a process knows of its children.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury a process, which must have ended. Its descriptor tells.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::account::{Account, Left};
use super::outcome::{Outcome, ran};
use super::output::{Capture, Output};
use super::server::Server;
use crate::arena::{self, ChildRecord, Identity, Stage};
use crate::error::{Error, ProcessError, Ran, Result, Subject};
use crate::sys::{self, AsFd, OwnedFd};
use crate::wire;

/// What this process knows of a child.
pub(super) struct Child {
    account: Account,
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) name: String,
    pub(super) function: &'static str,
    pub(super) daemon: bool,
    leads_group: bool,
    /// The fork server that made it; the kernel takes that one for its parent.
    server: Option<Arc<Server>>,
    /// The process whose child it is: not a copy of that one.
    parent: Identity,
    pipes: Mutex<[Option<OwnedFd>; 3]>,
    /// How it ended: `None` in it when the exit status was lost.
    pub(super) ended: OnceLock<Option<ExitStatus>>,
    /// Held while the exit status is taken.
    reaping: Mutex<()>,
    /// If its output is captured.
    output: OnceLock<Output>,
}

/// The children that have not been reaped yet.
static CHILDREN: Mutex<Vec<Arc<Child>>> = Mutex::new(Vec::new());
/// Those of them that nobody has a [`Process`](crate::Process) of any more.
static DETACHED: Mutex<Vec<Arc<Child>>> = Mutex::new(Vec::new());

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The children that have not been reaped yet.
pub(super) fn children() -> Vec<Arc<Child>> {
    lock(&CHILDREN).clone()
}

/// Reaps the detached children that have ended, so that they do not pile up.
pub(super) fn reap_detached() {
    let detached = lock(&DETACHED).clone();
    for child in detached {
        let _ = child.wait_until(Some(Instant::now()));
    }
    // One that ended while it was being detached may have come into the list too late to be taken out.
    lock(&DETACHED).retain(|child| child.ended.get().is_none());
}

/// What is known of a child at its start.
pub(super) struct Started {
    pub(super) account: Account,
    pub(super) parent: Identity,
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) name: String,
    pub(super) function: &'static str,
    pub(super) daemon: bool,
    pub(super) leads_group: bool,
    pub(super) pipes: [Option<OwnedFd>; 3],
    pub(super) server: Option<Arc<Server>>,
    pub(super) hidden: bool,
}

/// In a copy of a process: none of its children is one of the copy.
pub(super) fn forget_all() {
    for child in std::mem::take(&mut *lock(&CHILDREN)) {
        // Who reads from the child, or writes to it, is to see the end when the original has closed it.
        *lock(&child.pipes) = [None, None, None];
    }
    lock(&DETACHED).clear();
}

impl Child {
    /// Enters a process that was just started.
    pub(super) fn enter(started: Started) -> Arc<Self> {
        let Started {
            account,
            parent,
            pid,
            process,
            name,
            function,
            daemon,
            leads_group,
            pipes,
            server,
            hidden,
        } = started;
        let child = Arc::new(Self {
            account,
            pid,
            process,
            name,
            function,
            daemon,
            leads_group,
            server,
            parent,
            pipes: Mutex::new(pipes),
            ended: OnceLock::new(),
            reaping: Mutex::default(),
            output: OnceLock::new(),
        });
        if !hidden {
            lock(&CHILDREN).push(Arc::clone(&child));
        }
        child
    }

    /// Waits until the process has ended, or until `deadline`; says whether it has ended.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.ended.get().is_none() {
            if !self.wait_told(deadline) && !sys::wait_ended(self.process.as_fd(), deadline)? {
                return Ok(false);
            }
            // What there is to be taken of it is its parent's.
            if self.is_mine() && !self.reap(deadline)? {
                return Ok(false);
            }
        }
        if let Some(output) = self.output.get() {
            output.settle(deadline);
        }
        Ok(true)
    }

    /// Waits for what the fork server tells when the process has ended, as long as the server lives: it wakes once where the process's
    /// own descriptor, and then the server's word, would wake twice.
    fn wait_told(&self, deadline: Option<Instant>) -> bool {
        const SLICE: Duration = Duration::from_secs(1);
        let (Some(server), Some(record)) = (&self.server, self.account.record()) else {
            return false;
        };
        if !self.is_mine() {
            return false;
        }
        loop {
            if record.told_exit().is_some() {
                return true;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) || server.has_ended() {
                return false;
            }
            // The server may have been stopped.
            if sys::wait_ended(self.process.as_fd(), Some(now)).unwrap_or(true) {
                return false;
            }
            let slice = now + SLICE;
            record.wait_for_exit(deadline.map_or(slice, |deadline| deadline.min(slice)));
        }
    }

    /// Whether this process is its parent, and not a copy of its parent.
    fn is_mine(&self) -> bool {
        arena::arena().is_ok_and(|arena| arena.identity() == self.parent)
    }

    /// Takes the exit status of the process, which has ended, and gives back what it held. `false` if the status is to come, and
    /// has not come by `deadline`.
    fn reap(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let _reaping = lock(&self.reaping);
        if self.ended.get().is_some() {
            return Ok(true);
        }
        let status = if let (Some(server), Some(record)) = (&self.server, self.account.record()) {
            match self.status_by_server(server, record, deadline) {
                Some(status) => status,
                None => return Ok(false),
            }
        } else {
            if self.leads_group {
                // It has ended, and keeps its number until it is reaped: nobody else's group is hit.
                sys::kill_group(self.pid);
            }
            match sys::reap(self.process.as_fd()) {
                Ok(Some(status)) => Some(status),
                // The descriptor said that it has ended.
                Ok(None) => return Ok(false),
                Err(_) => self.status_by_others(),
            }
        };
        if self.leads_group {
            sys::kill_group_of(self.process.as_fd());
        }
        // SAFETY: the process has ended: its descriptor is readable, and if its status was there, it is taken.
        #[allow(unsafe_code)]
        unsafe {
            self.account.bury();
        }
        if let Some(output) = self.output.get() {
            output.finish(!self.leads_group);
        }
        let _ = self.ended.set(status);
        for list in [&CHILDREN, &DETACHED] {
            let mut list = lock(list);
            if let Some(index) = list.iter().position(|child| std::ptr::eq(&**child, self)) {
                list.swap_remove(index);
            }
        }
        Ok(true)
    }

    /// The exit status that the fork server tells, or the kernel, if the server is dead; `None` if it does not come by `deadline`.
    ///
    /// A deadline that has passed is exceeded by a moment: the process has ended, and the server is about to tell.
    fn status_by_server(
        &self,
        server: &Server,
        record: &ChildRecord,
        deadline: Option<Instant>,
    ) -> Option<Option<ExitStatus>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        const NAP: Duration = Duration::from_millis(10);
        let begin = Instant::now();
        loop {
            if let Some(told) = record.told_exit() {
                return Some(Some(sys::status_from_words(told)));
            }
            let now = Instant::now();
            // The server tells before it reaps. Whoever reaps in place of a dead one may take a moment.
            if server.has_ended() {
                let process = self.process.as_fd();
                let status = sys::status_of_reaped(process)
                    .or_else(|| sys::status_of_zombie(self.pid, process));
                if status.is_some() {
                    return Some(status);
                }
                if now >= begin + PATIENCE {
                    return Some(self.status_by_outcome());
                }
            } else if now >= begin + PATIENCE {
                // The server does not come to it: it may have been stopped.
                let status = sys::status_of_zombie(self.pid, self.process.as_fd());
                if status.is_some() {
                    return Some(status);
                }
                if deadline.is_some_and(|deadline| now >= deadline) {
                    return None;
                }
            }
            record.wait_for_exit(now + NAP);
        }
    }

    /// The exit status of a process that somebody else has waited for, if the kernel or what it left behind tells.
    fn status_by_others(&self) -> Option<ExitStatus> {
        sys::status_of_reaped(self.process.as_fd()).or_else(|| self.status_by_outcome())
    }

    /// The exit status that fits to what the process left behind, if it did.
    fn status_by_outcome(&self) -> Option<ExitStatus> {
        let outcome = self.look_at_outcome(|outcome, _| outcome.exit_code())?;
        Some(sys::exit_status(outcome.ok()?))
    }

    /// How it ended, if it has and that is known.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        if self.is_mine() {
            *self.ended.get()?
        } else {
            sys::status_of_reaped(self.process.as_fd())
        }
    }

    /// Takes the outcome, shows it with the bytes that follow, and puts it back.
    fn look_at_outcome<T>(
        &self,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Option<Result<T, ProcessError>> {
        let left = self.account.take_outcome().ok()??;
        let result = self.open(&left, look);
        self.account.put_outcome(left);
        Some(result)
    }

    fn open<T>(
        &self,
        left: &Left,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Result<T, ProcessError> {
        let mut bytes = left.bytes();
        match wire::take(&mut bytes, &|| {
            format!("the outcome of process `{}`", self.name)
        }) {
            Ok(outcome) => Ok(look(outcome, bytes)),
            Err(error) => Err(ProcessError::Decode {
                message: error.to_string(),
                subject: self.subject(Ran::Unknown),
            }),
        }
    }

    pub(super) fn join<R: DeserializeOwned>(&self) -> Result<R, ProcessError> {
        let failed = |message| ProcessError::Failed {
            message,
            subject: self.subject(Ran::Unknown),
        };
        self.wait_until(None)
            .map_err(|error| failed(format!("cannot wait for it: {error}")))?;
        if !self.is_mine() {
            return Err(failed(
                "this process is a copy of its parent, and has no right to its value; its parent has".to_owned(),
            ));
        }
        let left = self.account.take_outcome();
        match left.map_err(|error| failed(format!("cannot take its outcome: {error}")))? {
            Some(left) => {
                let fds = left.take_fds();
                let fds = fds.map_err(|error| failed(error.to_string()))?;
                self.open(&left, |outcome, rest| self.value(&left, outcome, rest, fds))?
            }
            None => Err(self.death()),
        }
    }

    /// The value in an outcome, or the error that it is.
    fn value<R: DeserializeOwned>(
        &self,
        left: &Left,
        outcome: Outcome,
        mut bytes: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<R, ProcessError> {
        match outcome {
            Outcome::Value => {
                let subject = || format!("the value of `{}`", self.function);
                // What the child did after its value was safe, a signal at its exit say, does not take it back.
                left.provide(fds, || wire::take(&mut bytes, &subject))
                    .map_err(|error| ProcessError::Decode {
                        message: error.to_string(),
                        subject: self.subject(Ran::Yes),
                    })
            }
            Outcome::Panicked(mut panic) => {
                panic.subject.stderr = self.last_lines();
                Err(ProcessError::Panicked(panic))
            }
            Outcome::UnknownFunction { hint } => Err(ProcessError::UnknownFunction {
                hint,
                subject: self.subject(Ran::No),
            }),
            Outcome::Decode { message } => Err(ProcessError::Decode {
                message,
                subject: self.subject(Ran::No),
            }),
            Outcome::Encode { message } => Err(ProcessError::Encode {
                message,
                subject: self.subject(Ran::Yes),
            }),
        }
    }

    /// Why a process that has ended left no outcome.
    fn death(&self) -> ProcessError {
        let stage = self.account.stage();
        let subject = self.subject(ran(stage));
        match self.ended.get().copied().flatten().map(sys::status_parts) {
            None => ProcessError::Lost { subject },
            Some((_, Some(signal), core_dumped)) => ProcessError::Signaled {
                signal,
                core_dumped,
                subject,
            },
            Some((code, ..)) => {
                let code = code.unwrap_or_default();
                match stage {
                    Stage::Ordered | Stage::Withdrawn => ProcessError::NotStarted { code, subject },
                    Stage::Returned if code == super::exit::NO_ROOM => ProcessError::Failed {
                        message: "the shared memory has no room for the function's value"
                            .to_owned(),
                        subject,
                    },
                    _ => ProcessError::Exited { code, subject },
                }
            }
        }
    }

    fn subject(&self, ran: Ran) -> Box<Subject> {
        Box::new(Subject {
            name: self.name.clone(),
            pid: self.pid,
            function: self.function.to_owned(),
            ran,
            stderr: self.last_lines(),
        })
    }

    /// Captures its output, or kills it.
    pub(super) fn capture(&self, capture: &Capture) -> io::Result<()> {
        let take_pipe = |stream| self.take_pipe(stream);
        match Output::begin(capture, take_pipe, &self.name, self.pid) {
            Ok(output) => drop(self.output.set(output)),
            Err(error) => {
                let _ = self.signal(sys::SIGKILL);
                let _ = self.wait_until(None);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The last lines of its standard error, if that is captured.
    pub(super) fn last_lines(&self) -> String {
        let output = self.output.get();
        output.map_or_else(String::new, Output::last_lines)
    }

    /// Takes the parent's end of a standard stream, if there is one.
    pub(super) fn take_pipe(&self, stream: usize) -> Option<OwnedFd> {
        lock(&self.pipes)[stream].take()
    }

    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        // An id that was given to another process after the end of this one is never hit: the signal goes by descriptor.
        sys::signal_process(self.process.as_fd(), signal).map_err(|error| {
            let name = sys::signal_name(signal).unwrap_or("a signal");
            Error::os(
                format!(
                    "cannot send {name} to process `{}` (pid {})",
                    self.name, self.pid
                ),
                error,
            )
        })
    }

    /// Kills the process and all of the process group that it leads.
    pub(super) fn kill_group(&self) {
        if self.ended.get().is_none() {
            if self.server.is_none() {
                // Until it is reaped, its number is its own; afterwards its group is gone.
                sys::kill_group(self.pid);
            } else if !sys::kill_group_of(self.process.as_fd())
                && !sys::wait_ended(self.process.as_fd(), Some(Instant::now())).unwrap_or(true)
            {
                sys::kill_group(self.pid);
            }
        }
        let _ = self.signal(sys::SIGKILL);
    }

    /// Nobody has a [`Process`](crate::Process) of this child any more.
    pub(super) fn detach(&self) {
        if self.ended.get().is_some() {
            return;
        }
        let this = lock(&CHILDREN)
            .iter()
            .find(|child| std::ptr::eq(&***child, self))
            .cloned();
        if let Some(this) = this {
            lock(&DETACHED).push(this);
        }
    }
}
