//! Fork servers: processes with one thread, copies of which are children of the process that the server belongs to.
//!
//! ```text
//!  owner                                     server                                copy
//!  order in a record, request ── socket ──▶  fork ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ▶ forget the server, take the order, …
//!  pid, descriptor ◀──────────── socket ──── look after it: tell how it ended ◀─── …, exit
//! ```
//!
//! `Forkserver` has one for each process that asks, made by an exec at the first use and again when it died. A pool of `Fork` has
//! one of its own, a copy of the pool's maker, because the maker has threads as soon as the pool exists.
//!
//! The kernel takes the server for the parent of its copies. So the server tells in the record of each how it ended, before it
//! reaps it. When the server is dead, somebody else has reaped them, and the kernel tells by their descriptors.
//!
//! A server that dies while it is asked may have made the copy or not. Its order is withdrawn then: either the copy has it
//! already, and is the child, or it will find that it is not wanted, and another server is asked.

mod preload;
mod serve;

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::preload::Preload;
pub use self::preload::set_forkserver_preload;
use self::serve::{Post, Serve};
use super::child::Child;
use super::start::{self, Beginning, Begun};
use super::surroundings::Variables;
use super::{Builder, StartMethod, Stdio};
use crate::arena::ChildRecord;
use crate::channel::{Fd, Socket};
use crate::error::{Error, ProcessError, Result};
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd, Packet};

/// How many descriptors of arguments a request may carry besides those that it has anyway.
pub(super) const MOST_FDS: usize = sys::MAX_FDS.saturating_sub(4);

/// How long a server may take to end when its socket is closed.
const GRACE: Duration = Duration::from_secs(2);

/// A fork server of this process.
pub(crate) struct Server {
    /// The id of the process that it belongs to.
    owner: u32,
    process: Arc<Child>,
    /// One request at a time. Without it the server ends.
    socket: Mutex<Option<Socket>>,
    /// What its copies find. Not known if it has run a function of the program's.
    environment: Option<Variables>,
}

/// The one that `Forkserver` uses.
static MINE: Mutex<Option<Arc<Server>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fork server of this process, a new one if there is none that lives.
pub(super) fn mine() -> Result<Arc<Server>> {
    let mut mine = lock(&MINE);
    if let Some(server) = &*mine {
        if !server.has_ended() {
            return Ok(Arc::clone(server));
        }
        if let Some(error) = server.failure() {
            *mine = None;
            return Err(error);
        }
    }
    let preload = preload::get();
    let server = Server::start(StartMethod::Spawn, preload)?;
    Ok(Arc::clone(mine.insert(Arc::new(server))))
}

/// Ends the fork server of this process, if it has one: at the end of the process, and where tests count what is left.
pub fn end() {
    let mine = lock(&MINE).take();
    if let Some(server) = mine {
        server.end();
    }
}

/// Lets the fork server of this process, if it has one, make no more children. It ends with the last one that it has.
fn retire() {
    if let Some(server) = lock(&MINE).take() {
        *lock(&server.socket) = None;
    }
}

/// In a copy of a process: its server is not that of the copy.
pub(super) fn forget() {
    if let Some(server) = lock(&MINE).take() {
        *lock(&server.socket) = None;
        std::mem::forget(server);
    }
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Begun(u32),
    /// The number of the system's error.
    Failed(i32),
    Threads(u32),
}

impl Server {
    /// Makes a fork server that begins as a new process, or as a copy of this one.
    pub(crate) fn start(method: StartMethod, preload: Option<Preload>) -> Result<Self> {
        let cannot = |error| Error::os("cannot make the sockets of a fork server", error);
        let (socket, requests) = sys::packet_pair().map_err(cannot)?;
        // In a copy it leads nowhere, so that a server that is one sees its end.
        let socket = Socket::new(socket);
        let builder = Builder::new()
            .name("forkserver")
            .start_method(method)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .hidden();
        let post = Post {
            preload,
            requests: Fd::new(requests),
        };
        Ok(Self {
            owner: std::process::id(),
            environment: post
                .preload
                .is_none()
                .then(|| std::env::vars_os().collect()),
            process: start::start::<Serve>(builder, &post)?,
            socket: Mutex::new(Some(socket)),
        })
    }

    /// The environment that its copies find, if that is known.
    pub(super) fn environment(&self) -> Option<&Variables> {
        self.environment.as_ref()
    }

    /// Whether the server is dead.
    pub(super) fn has_ended(&self) -> bool {
        self.process
            .wait_until(Some(Instant::now()))
            .unwrap_or(true)
    }

    /// Lets the server make a copy for a child. `None` if it died before it did.
    pub(super) fn begin(
        &self,
        beginning: &Beginning<'_>,
        record: &ChildRecord,
        fds: &[OwnedFd],
    ) -> Result<Option<Begun>> {
        let directory = sys::working_directory().ok();
        let streams = sys::own_streams();
        let given = beginning.streams.borrow();
        let given = given.fds.each_ref();
        let streams: [Option<BorrowedFd<'_>>; 3] =
            std::array::from_fn(|n| given[n].as_ref().map(AsFd::as_fd).or(streams[n]));
        let request = serve::Request {
            record: record.place().0,
            serial: record.serial(),
            streams: streams.map(|stream| stream.is_some()),
            directory: directory.is_some(),
            leads_group: beginning.leads_group,
        };
        let passed: Vec<BorrowedFd<'_>> = streams
            .into_iter()
            .flatten()
            .chain(directory.as_ref().map(AsFd::as_fd))
            .chain(fds.iter().map(AsFd::as_fd))
            .collect();
        let socket = lock(&self.socket);
        let Some(socket) = &*socket else {
            // Another thread has retired it.
            return Ok(None);
        };
        let reply = match exchange(
            socket,
            self.process.process.as_fd(),
            &request.to_bytes(),
            &passed,
        ) {
            Ok(reply) => reply,
            Err(error) => {
                retract(record);
                return Err(beginning.failed("cannot ask the fork server")(error));
            }
        };
        match reply {
            Some((Reply::Begun(pid), Some(process))) => Ok(Some(Begun { pid, process })),
            Some((Reply::Failed(error), _)) => Err(beginning
                .failed("the fork server cannot copy itself")(
                io::Error::from_raw_os_error(error)
            )),
            Some((Reply::Threads(threads), _)) => Err(Error::ForkServerWithThreads {
                threads: threads as usize,
            }),
            _ => self.last_deed(beginning, record),
        }
    }

    /// What came of a request that the server died of.
    fn last_deed(&self, beginning: &Beginning<'_>, record: &ChildRecord) -> Result<Option<Begun>> {
        let Some(pid) = record.withdraw() else {
            return match self.failure() {
                Some(error) => Err(error),
                None => Ok(None),
            };
        };
        let process = match sys::open_process(pid) {
            Ok(process) if record.is_alive() => process,
            // It has ended, as the server has.
            _ => sys::ended_process().map_err(
                beginning.failed("cannot open a descriptor in place of one of the new process"),
            )?,
        };
        Ok(Some(Begun { pid, process }))
    }

    /// Why this server will not be better when it is started again, after its end.
    fn failure(&self) -> Option<Error> {
        match self.process.join::<()>() {
            Err(error @ (ProcessError::Panicked(_) | ProcessError::Decode { .. })) => {
                Some(Error::Preload(Box::new(error)))
            }
            _ => None,
        }
    }

    /// Lets the server end.
    pub(crate) fn end(&self) {
        *lock(&self.socket) = None;
        let ended = self.process.wait_until(Some(Instant::now() + GRACE));
        if !ended.unwrap_or(false) {
            let _ = self.process.signal(sys::SIGKILL);
            let _ = self.process.wait_until(None);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is not that of a copy of this process.
        if self.owner == std::process::id() {
            self.end();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.process.pid).finish()
    }
}

/// Sees to it that nobody runs by a record: a copy may have been made of which nothing is known here, because its descriptor
/// did not come, say.
fn retract(record: &ChildRecord) {
    const NAP: Duration = Duration::from_millis(10);
    let Some(pid) = record.withdraw() else { return };
    while record.is_alive() {
        sys::kill_by_id(pid);
        record.wait_for_exit(Instant::now() + NAP);
    }
}

/// Sends a request, and waits for the reply to it; `None` if the server dies.
fn exchange(
    socket: &Socket,
    server: BorrowedFd<'_>,
    request: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<Option<(Reply, Option<OwnedFd>)>> {
    match sys::send_packet(socket.as_fd(), &[IoSlice::new(request)], fds) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
        sent => sent?,
    }
    loop {
        let mut buffer = [0; Reply::LENGTH];
        // It is not there yet. That the server has ended is not told by the socket if a copy of it has the other end, too.
        let ready = sys::poll_any(&[socket.as_fd(), server], None)?;
        match sys::receive_packet(socket.as_fd(), &mut buffer, false)? {
            Packet::Empty if ready.last() == Some(&true) => return Ok(None),
            Packet::Empty => {}
            Packet::Closed => return Ok(None),
            Packet::Message(_, fds) => {
                return Ok(Some((Reply::from_bytes(buffer), fds.into_iter().next())));
            }
        }
    }
}

impl Reply {
    const LENGTH: usize = 5;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (kind, number) = match self {
            Reply::Begun(pid) => (0, pid),
            Reply::Failed(error) => (1, error.cast_unsigned()),
            Reply::Threads(threads) => (2, threads),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    fn from_bytes([kind, number @ ..]: [u8; Self::LENGTH]) -> Self {
        let number = u32::from_le_bytes(number);
        match kind {
            0 => Reply::Begun(number),
            1 => Reply::Failed(number.cast_signed()),
            _ => Reply::Threads(number),
        }
    }
}
