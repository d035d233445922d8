//! The processes in which starts are measured.
//!
//! A process can be forked only while it has one thread, and what a fork costs depends on its memory. So the bench measures in
//! children of its own: they have one thread, and touched memory of a known size. All contenders of a row start their
//! processes in the same one, but for rivals with a runtime of their own.

use std::cell::RefCell;
use std::ffi::CStr;
use std::hint::black_box;
use std::time::Duration;

use benches::machine::{Bare, ForkServer, private_memory, until_stopped};
use benches::{Result, expect, in_batches};
use mp::StartMethod;
use serde::{Deserialize, Serialize};

const PROGRAM: &CStr = c"/proc/self/exe";
/// Makes this program do nothing, or stop.
const EXIT: &CStr = c"--exit-at-once";
const STOP: &CStr = c"--stop-at-once";

/// Plays the bare child, if this process is one.
pub fn was_bare() -> bool {
    let argument = std::env::args_os().nth(1).unwrap_or_default();
    let is = |other: &CStr| argument.as_encoded_bytes() == other.to_bytes();
    if is(STOP) {
        stop();
    }
    is(STOP) || is(EXIT)
}

/// How a process is started.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum By {
    Spawn,
    Fork,
    Forkserver,
    /// This program, by a bare `posix_spawn`.
    BareSpawn,
    BareFork,
    /// On request by a bare fork server.
    BareServer,
}

/// What is started.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Load {
    /// One process that does nothing, and then the next.
    Nothing,
    /// The same with a megabyte of arguments.
    Megabyte,
    /// A hundred processes, and then all are waited for.
    Hundred,
}

pub const AT_ONCE: u64 = 100;
pub const MEGABYTE: usize = 1 << 20;

/// What a parent is to do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Order {
    /// Start so many processes, and tell how many nanoseconds it took.
    Start(By, Load, u64),
    /// Start a process that stops at once, and tell its number.
    Idle(By),
    /// End it.
    End,
}

type Answer = Result<u64>;

/// A process that has touched so much memory. It starts at the first turn, where the row has pinned its processes.
pub struct Parent {
    megabytes: usize,
    running: RefCell<Option<Running>>,
}

impl Parent {
    pub fn new(megabytes: usize) -> Self {
        Self {
            megabytes,
            running: RefCell::default(),
        }
    }

    /// A contender's work: to start processes there.
    pub fn starts(&self, by: By, load: Load) -> impl FnMut(u64) -> Result<Duration> {
        move |count| {
            let nanoseconds = self.order(Order::Start(by, load, count))?;
            Ok(Duration::from_nanos(nanoseconds))
        }
    }

    /// How much memory a process has to itself that it starts. The parent does as little as possible meanwhile: what it
    /// writes to after a fork, the child has to itself.
    pub fn idle(&self, by: By) -> Result<u64> {
        let pid = self.order(Order::Idle(by))?;
        let memory = memory_when_stopped(pid as u32);
        self.order(Order::End)?;
        memory
    }

    fn order(&self, order: Order) -> Answer {
        let mut running = self.running.borrow_mut();
        let running = match &mut *running {
            Some(running) => running,
            none => none.insert(Running::start(self.megabytes)?),
        };
        running.orders.send(order)?;
        running.orders.recv()?
    }
}

struct Running {
    /// Before the process: it ends when this is closed.
    orders: mp::Connection<Order, Answer>,
    _process: Joined,
}

impl Running {
    /// It is no daemon, as the children of other benches are: a daemon has a second thread.
    fn start(megabytes: usize) -> Result<Self> {
        let (orders, theirs) = mp::pipe()?;
        let process = mp::spawn!(serve, theirs, megabytes)?;
        Ok(Self {
            orders,
            _process: Joined(process),
        })
    }
}

/// A process that is waited for when this is dropped: then the next row finds its memory free.
struct Joined(mp::Process<Result>);

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.wait();
    }
}

#[mp::process_fn]
fn serve(orders: mp::Connection<Answer, Order>, megabytes: usize) -> Result {
    let mut here = Here {
        // Its children are copies of a small process.
        server: ForkServer::start()?,
        idle: None,
    };
    let ballast = vec![1_u8; megabytes << 20];
    while let Ok(order) = orders.recv() {
        orders.send(here.obey(order))?;
    }
    black_box(&ballast);
    // Or this process would wait for it at its exit.
    here.idle.take().map_or(Ok(()), Idle::end)
}

/// What a parent has.
struct Here {
    server: ForkServer,
    idle: Option<Idle>,
}

/// A process that has stopped itself.
enum Idle {
    Ours(mp::Process<()>),
    Bare(Bare),
}

impl Idle {
    fn id(&self) -> u32 {
        match self {
            Idle::Ours(process) => process.id(),
            Idle::Bare(process) => process.id(),
        }
    }

    fn end(self) -> Result {
        match self {
            Idle::Ours(process) => {
                process.kill()?;
                process.wait();
                Ok(())
            }
            Idle::Bare(process) => process.kill(),
        }
    }
}

impl Here {
    fn obey(&mut self, order: Order) -> Answer {
        match order {
            Order::Start(by, load, count) => {
                // Or forks would be refused, or not be what they are meant to be.
                expect(std::fs::read_dir("/proc/self/task")?.count(), 1)?;
                Ok(self.start(by, load, count)?.as_nanos() as u64)
            }
            Order::Idle(by) => {
                let idle = self.idle.insert(idle(by)?);
                Ok(u64::from(idle.id()))
            }
            Order::End => self.idle.take().map_or(Ok(()), Idle::end).map(|()| 0),
        }
    }

    fn start(&mut self, by: By, load: Load, count: u64) -> Result<Duration> {
        let at_once = match load {
            Load::Hundred => AT_ONCE,
            Load::Nothing | Load::Megabyte => 1,
        };
        let bytes = match load {
            Load::Megabyte => vec![7; MEGABYTE],
            Load::Nothing | Load::Hundred => Vec::new(),
        };
        in_batches(count, at_once, || match by {
            By::Spawn => ours(StartMethod::Spawn, at_once, &bytes),
            By::Fork => ours(StartMethod::Fork, at_once, &bytes),
            By::Forkserver => ours(StartMethod::Forkserver, at_once, &bytes),
            By::BareSpawn => bare(at_once, || Bare::execute(PROGRAM, EXIT)),
            By::BareFork => bare(at_once, || Bare::fork(|| {})),
            By::BareServer => self.server.start_and_wait(at_once),
        })
    }
}

fn ours(method: StartMethod, at_once: u64, bytes: &[u8]) -> Result {
    if at_once == 1 && bytes.is_empty() {
        return Ok(builder(method).spawn::<nothing>(())?.join()?);
    }
    let start = |_| builder(method).spawn::<length>(bytes);
    let processes = (0..at_once).map(start).collect::<mp::Result<Vec<_>>>()?;
    processes
        .into_iter()
        .try_for_each(|process| expect(process.join()?, bytes.len()))
}

fn builder(method: StartMethod) -> mp::Builder {
    mp::Builder::new().start_method(method)
}

fn bare(at_once: u64, start: impl Fn() -> Result<Bare>) -> Result {
    let processes = (0..at_once).map(|_| start()).collect::<Result<Vec<_>>>()?;
    processes.into_iter().try_for_each(Bare::wait)
}

fn idle(by: By) -> Result<Idle> {
    let ours = |method| -> Result<Idle> { Ok(Idle::Ours(builder(method).spawn::<stop>(())?)) };
    match by {
        By::Spawn => ours(StartMethod::Spawn),
        By::Fork => ours(StartMethod::Fork),
        By::Forkserver => ours(StartMethod::Forkserver),
        By::BareSpawn => Ok(Idle::Bare(Bare::execute(PROGRAM, STOP)?)),
        By::BareFork => Ok(Idle::Bare(Bare::fork(stop)?)),
        By::BareServer => Err(mp::RemoteError::msg("its children do not stop")),
    }
}

/// The private memory of a process that stops itself.
pub fn memory_when_stopped(pid: u32) -> Result<u64> {
    until_stopped(pid)?;
    private_memory(pid)
}

#[mp::process_fn]
fn nothing() {}

#[mp::process_fn]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[mp::process_fn]
fn stop() {
    benches::machine::stop();
}
