//! Workers that are processes.

use std::ffi::OsString;
use std::sync::Arc;

use super::{Bell, End, Engine, Member};
use crate::channel::Fd;
use crate::error::{Error, Result};
use crate::pool::body::PoolHandle;
use crate::pool::serve::{Post, Serve};
use crate::process::{self, Builder, Capture, Process, Server, StartMethod, Stdio};
use crate::sys::{self, AsFd, BorrowedFd};

pub(in crate::pool) struct Processes {
    /// Where what workers print goes.
    capture: Capture,
    method: StartMethod,
    /// What makes the workers of `Fork`: a copy of the pool's maker, which has threads as soon as it has the pool.
    server: Option<Arc<Server>>,
    environment: Vec<(OsString, OsString)>,
    /// The processors that workers run on, one each, round and round.
    cpus: Vec<usize>,
}

struct Worker {
    process: Process<()>,
}

impl Processes {
    pub(in crate::pool) fn new(
        method: Option<StartMethod>,
        environment: Vec<(OsString, OsString)>,
        cpus: Vec<usize>,
        capture: Option<Capture>,
    ) -> Result<Self> {
        let method = method.unwrap_or_else(process::start_method);
        let server = match method {
            StartMethod::Fork => Some(Arc::new(Server::start(method, None)?)),
            _ => None,
        };
        Ok(Self {
            capture: capture.unwrap_or_else(Capture::plain_stderr),
            method,
            server,
            environment,
            cpus,
        })
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // What the workers wrote is to be seen when the pool is gone.
        self.capture.settle();
    }
}

impl Engine for Processes {
    fn start(
        &self,
        pool: &PoolHandle,
        seat: u16,
        name: &str,
        bell: &Arc<Bell>,
    ) -> Result<Box<dyn Member>> {
        let failed = |what: &'static str| move |error| Error::os(what, error);
        let bell = sys::dup_above(bell.rope.as_fd(), 0)
            .map_err(failed("cannot duplicate a descriptor for a pool's worker"))?;
        let mut builder = Builder::new()
            .name(name)
            .daemon(true)
            .start_method(self.method)
            .lead_group()
            // A process group in the background that reads from a terminal is stopped.
            .stdin(Stdio::null())
            .capture(self.capture.clone())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(server) = &self.server {
            builder = builder.served_by(Arc::clone(server));
        }
        let cpu = match self.cpus.len() {
            0 => None,
            count => Some(self.cpus[usize::from(seat) % count]),
        };
        let post = Post {
            pool: pool.clone(),
            seat,
            bell: Fd::new(bell),
            cpu,
        };
        let process = builder.spawn::<Serve>(post)?;
        Ok(Box::new(Worker { process }))
    }
}

impl Member for Worker {
    fn id(&self) -> u32 {
        self.process.id()
    }

    fn sentinel(&self) -> Option<BorrowedFd<'_>> {
        Some(self.process.as_fd())
    }

    fn end(&self) -> Option<End> {
        let status = self.process.exit_status()?;
        Some(End {
            status,
            stderr: self.process.last_lines(),
        })
    }

    fn kill(&self) -> bool {
        self.process.kill_group();
        true
    }
}
