//! What a process knows of its children.
//!
//! # Safety
//!
//! One thing is `unsafe`: to bury a process, which must have ended. Its descriptor tells.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::outcome::{Outcome, ran};
use crate::arena::{ChildRecord, Incoming, Parcel, Stage};
use crate::error::{Error, ProcessError, Ran, Result, Subject};
use crate::sys::{self, AsFd, OwnedFd};
use crate::wire;

/// What this process knows of a child.
pub(super) struct Child {
    record: ChildRecord,
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) name: String,
    pub(super) function: &'static str,
    pub(super) daemon: bool,
    leads_group: bool,
    pipes: Mutex<[Option<OwnedFd>; 3]>,
    /// How it ended: `None` in it when the exit status was lost.
    pub(super) ended: OnceLock<Option<ExitStatus>>,
    /// Held while the exit status is taken.
    reaping: Mutex<()>,
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
    pub(super) record: ChildRecord,
    pub(super) pid: u32,
    pub(super) process: OwnedFd,
    pub(super) name: String,
    pub(super) function: &'static str,
    pub(super) daemon: bool,
    pub(super) leads_group: bool,
    pub(super) pipes: [Option<OwnedFd>; 3],
}

impl Child {
    /// Enters a process that was just started.
    pub(super) fn enter(started: Started) -> Arc<Self> {
        let Started {
            record,
            pid,
            process,
            name,
            function,
            daemon,
            leads_group,
            pipes,
        } = started;
        let child = Arc::new(Self {
            record,
            pid,
            process,
            name,
            function,
            daemon,
            leads_group,
            pipes: Mutex::new(pipes),
            ended: OnceLock::new(),
            reaping: Mutex::default(),
        });
        lock(&CHILDREN).push(Arc::clone(&child));
        child
    }

    /// Waits until the process has ended, or until `deadline`; says whether it has ended.
    pub(super) fn wait_until(&self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.ended.get().is_none() {
            if !sys::wait_ended(self.process.as_fd(), deadline)? {
                return Ok(false);
            }
            self.reap()?;
        }
        Ok(true)
    }

    /// Takes the exit status of the process, which has ended, and gives back what it held.
    fn reap(&self) -> io::Result<()> {
        let _reaping = lock(&self.reaping);
        if self.ended.get().is_some() {
            return Ok(());
        }
        if self.leads_group {
            // It has ended, and keeps its number until it is reaped: nobody else's group is hit.
            sys::kill_group(self.pid);
        }
        let status = match sys::reap(self.process.as_fd()) {
            Ok(Some(status)) => Some(status),
            // The descriptor said that it has ended.
            Ok(None) => return Ok(()),
            Err(_) => self.status_by_outcome(),
        };
        // SAFETY: the process has ended: its descriptor is readable, and if its status was there, it is taken.
        #[allow(unsafe_code)]
        unsafe {
            self.record.bury();
        }
        let _ = self.ended.set(status);
        for list in [&CHILDREN, &DETACHED] {
            let mut list = lock(list);
            if let Some(index) = list.iter().position(|child| std::ptr::eq(&**child, self)) {
                list.swap_remove(index);
            }
        }
        Ok(())
    }

    /// The exit status of a process that somebody else has waited for, if what it left behind tells.
    fn status_by_outcome(&self) -> Option<ExitStatus> {
        let outcome = self.look_at_outcome(|outcome, _| outcome.exit_code())?;
        Some(sys::exit_status(outcome.ok()?))
    }

    /// Takes the outcome, shows it with the bytes that follow, and puts it back.
    fn look_at_outcome<T>(
        &self,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Option<Result<T, ProcessError>> {
        let parcel = self.record.take_outcome()?;
        let result = self.open(&parcel, look);
        self.record.put_outcome(parcel);
        Some(result)
    }

    fn open<T>(
        &self,
        parcel: &Parcel,
        look: impl FnOnce(Outcome, &[u8]) -> T,
    ) -> Result<T, ProcessError> {
        let mut bytes = parcel.bytes();
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
        match self.record.take_outcome() {
            Some(parcel) => {
                let fds = parcel.take_fds();
                let fds = fds.map_err(|error| failed(error.to_string()))?;
                self.open(&parcel, |outcome, rest| self.value(outcome, rest, fds))?
            }
            None => Err(self.death()),
        }
    }

    /// The value in an outcome, or the error that it is.
    fn value<R: DeserializeOwned>(
        &self,
        outcome: Outcome,
        mut bytes: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<R, ProcessError> {
        match outcome {
            Outcome::Value => {
                let subject = || format!("the value of `{}`", self.function);
                // What the child did after its value was safe, a signal at its exit say, does not take it back.
                Incoming::provide(fds, || wire::take(&mut bytes, &subject)).map_err(|error| {
                    ProcessError::Decode {
                        message: error.to_string(),
                        subject: self.subject(Ran::Yes),
                    }
                })
            }
            Outcome::Panicked(panic) => Err(ProcessError::Panicked(panic)),
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
        let stage = self.record.stage();
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
        })
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
