//! The threads that read what children write, and pass it on: one for each place that it goes to.
//!
//! ```text
//!  child ──▶ pipe ─┐
//!  child ──▶ pipe ─┼─▶ source: lines ──▶ batch ──▶ the relay's thread ──▶ stdout, stderr or a function
//!  child ──▶ pipe ─┘        ▲
//!            whoever finds that a child has ended reads what is left in its pipe
//! ```
//!
//! A place that takes nothing, because nobody reads this process's standard output, or a function waits, stops its thread.
//! Then the pipes fill and children wait, as they would if they wrote there themselves. Nobody else does: other places have
//! threads of their own, and whoever joins a child reads its pipe, and waits for the thread no longer than [`PATIENCE`].
//!
//! The order of what one stream of a child says is that of its pipe, because reading and appending to the batch are one step
//! under the relay's lock, whoever does it. The thread passes on without the lock.
//!
//! The thread starts with the first source and ends with the last one, so that a process which captures nothing any more can
//! use [`StartMethod::Fork`](crate::StartMethod::Fork) again. A pipe that a program holds open which the child has started
//! remains a source until that one ends as well.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::lock;
use super::sink::{Batch, Form, Sink};
use super::split::Splitter;
use super::tail::Tail;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// How much is read at a time.
const CHUNK: usize = 64 << 10;

/// How long anybody waits for a place that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The relays whose threads run.
static RUNNING: Mutex<Vec<Arc<Relay>>> = Mutex::new(Vec::new());

pub(super) struct Relay {
    /// Of the thread.
    name: &'static str,
    state: Mutex<State>,
    /// Notified when something was passed on, and when the thread leaves.
    changed: Condvar,
    /// Since when the place has been taking what it is given now.
    busy: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    sources: Vec<Source>,
    batch: Batch,
    /// How many times something was appended to batches, and how many of them were passed on.
    appended: u64,
    passed: u64,
    /// It is there as long as there are sources.
    thread: Option<Thread>,
    /// A thread that has left, or is about to be gone.
    left: Option<Left>,
}

struct Thread {
    id: ThreadId,
    process: u32,
    bell: OwnedFd,
    left: Left,
}

struct Left {
    handle: JoinHandle<()>,
    /// Closed when it has let go of all.
    gone: Receiver<()>,
}

/// One stream of one child.
pub(super) struct Source {
    id: u64,
    /// The thread waits for it without the lock.
    pipe: Arc<OwnedFd>,
    splitter: Splitter,
    form: Form,
    tail: Option<Arc<Tail>>,
}

impl Source {
    /// Makes a source of a pipe's end, which becomes one that does not wait.
    pub(super) fn new(pipe: OwnedFd, form: Form, tail: Option<Arc<Tail>>) -> io::Result<Self> {
        sys::let_reads_fail(pipe.as_fd())?;
        Ok(Self {
            id: 0,
            pipe: Arc::new(pipe),
            splitter: Splitter::new(!matches!(form, Form::Plain)),
            form,
            tail,
        })
    }

    /// Reads what there is; returns how much, `None` when there is nothing now.
    fn read(&mut self, buffer: &mut [u8], into: &mut Batch) -> Option<usize> {
        let length = sys::read_some(self.pipe.as_fd(), buffer)?;
        let Self { form, tail, .. } = self;
        if let Some(tail) = tail {
            tail.push(&buffer[..length]);
        }
        let give = |line: &[u8], end| into.push(form, line, end);
        self.splitter.feed(&buffer[..length], give);
        Some(length)
    }

    /// Gives the last line, if it has no end.
    fn finish(&mut self, into: &mut Batch) {
        let form = &self.form;
        self.splitter.finish(|line, end| into.push(form, line, end));
        self.tail = None;
    }
}

impl Relay {
    pub(super) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            state: Mutex::default(),
            changed: Condvar::new(),
            busy: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Begins to read a source; returns its number.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread, or a pipe to wake it.
    pub(super) fn connect(self: &Arc<Self>, mut source: Source, sink: &Sink) -> io::Result<u64> {
        let mut state = self.state();
        match &state.thread {
            Some(thread) => sys::ring(thread.bell.as_fd()),
            None => state.thread = Some(self.start(sink)?),
        }
        state.next_id += 1;
        source.id = state.next_id;
        let id = source.id;
        state.sources.push(source);
        Ok(id)
    }

    /// Starts the thread, which waits for the state.
    fn start(self: &Arc<Self>, sink: &Sink) -> io::Result<Thread> {
        let (ear, bell) = sys::pipe()?;
        sys::let_writes_fail(bell.as_fd())?;
        let (relay, sink) = (Arc::clone(self), sink.clone());
        let (going, gone) = mpsc::channel();
        let run = move || {
            relay.run(&ear, &sink);
            // The function goes with the last that it was called for.
            drop((relay, ear, sink));
            drop::<Sender<()>>(going);
        };
        let handle = sys::start_helper(self.name, run)?;
        lock(&RUNNING).push(Arc::clone(self));
        Ok(Thread {
            id: handle.thread().id(),
            process: std::process::id(),
            bell,
            left: Left { handle, gone },
        })
    }

    fn run(self: &Arc<Self>, ear: &OwnedFd, sink: &Sink) {
        let mut buffer = vec![0; CHUNK];
        let mut batch = Batch::default();
        let mut ready = Vec::new();
        loop {
            let mut state = self.state();
            for id in ready.drain(..) {
                state.read(id, &mut buffer);
            }
            std::mem::swap(&mut batch, &mut state.batch);
            if !batch.is_empty() {
                let appended = state.appended;
                drop(state);
                let take = || *lock(&self.busy) = Some(Instant::now());
                sink.pass_on(&mut batch, take);
                *lock(&self.busy) = None;
                self.state().passed = appended;
                self.changed.notify_all();
                continue;
            }
            if state.sources.is_empty() {
                self.leave(&mut state);
                return;
            }
            if state.passed < state.appended {
                // There was nothing to pass on.
                state.passed = state.appended;
                self.changed.notify_all();
            }
            let pipes = state.sources.iter();
            let pipes: Vec<_> = pipes
                .map(|source| (source.id, Arc::clone(&source.pipe)))
                .collect();
            drop(state);
            let fds: Vec<BorrowedFd<'_>> = pipes
                .iter()
                .map(|(_, pipe)| pipe.as_fd())
                .chain([ear.as_fd()])
                .collect();
            let found = sys::poll_any(&fds, None).unwrap_or_else(|_| {
                // The system has no memory for it, or not for so many: look at all.
                sys::yield_now();
                vec![true; fds.len()]
            });
            let found = pipes.iter().zip(found).filter(|(_, found)| *found);
            ready.extend(found.map(|((id, _), _)| *id));
            while sys::read_some(ear.as_fd(), &mut [0; 64]).is_some_and(|length| length > 0) {}
        }
    }

    /// The thread has nothing to do any more.
    fn leave(self: &Arc<Self>, state: &mut State) {
        state.left = state.thread.take().map(|thread| thread.left);
        state.passed = state.appended;
        lock(&RUNNING).retain(|relay| !Arc::ptr_eq(relay, self));
        self.changed.notify_all();
    }

    /// Reads what is left of a source whose child has ended; no more than the child can have written, because what it has
    /// started may write on and on. If something may, and `goes_on`, the source remains.
    pub(super) fn finish(&self, id: u64, goes_on: bool) {
        let mut state = self.state();
        let Some(at) = state.place(id) else {
            return;
        };
        let mut batch = state.open_batch();
        let source = &mut state.sources[at];
        let mut buffer = vec![0; CHUNK];
        let mut unread = sys::unread(source.pipe.as_fd());
        let has_ended = loop {
            match source.read(&mut buffer, &mut batch) {
                None => break false,
                Some(0) => break true,
                // This was none of its own.
                Some(_) if unread == 0 => break false,
                Some(length) => unread = unread.saturating_sub(length),
            }
        };
        source.finish(&mut batch);
        if has_ended || !goes_on {
            state.sources.remove(at);
        }
        state.batch = batch;
        if let Some(thread) = &state.thread {
            sys::ring(thread.bell.as_fd());
        }
    }

    /// Waits until all that was read before has been passed on, and the thread has gone if it has nothing left to do; not
    /// longer than until `deadline`, and not for a place that takes nothing.
    pub(super) fn settle(&self, deadline: Option<Instant>) {
        let mut state = self.state();
        let target = state.appended;
        let me = thread::current().id();
        while let Some(thread) = &state.thread
            && (state.passed < target || state.sources.is_empty())
        {
            // Asked by the function that lines are given to, or in a copy of the process, which has no such thread.
            if thread.id == me || thread.process != std::process::id() {
                return;
            }
            let now = Instant::now();
            let since = lock(&self.busy).unwrap_or(now);
            let until = deadline.into_iter().chain([since + PATIENCE]).min();
            let left = until.map(|until| until.saturating_duration_since(now));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        let left = state.left.take();
        drop(state);
        if let Some(Left { handle, gone }) = left
            && handle.thread().id() != me
            && gone.recv_timeout(PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout)
        {
            let _ = handle.join();
        }
    }
}

impl State {
    fn place(&self, id: u64) -> Option<usize> {
        self.sources.iter().position(|source| source.id == id)
    }

    /// Takes the batch, to append something.
    fn open_batch(&mut self) -> Batch {
        self.appended += 1;
        std::mem::take(&mut self.batch)
    }

    /// Reads what there is of a source, and lets go of it at its end.
    fn read(&mut self, id: u64, buffer: &mut [u8]) {
        let Some(at) = self.place(id) else {
            return;
        };
        let mut batch = self.open_batch();
        let source = &mut self.sources[at];
        if source.read(buffer, &mut batch) == Some(0) {
            source.finish(&mut batch);
            self.sources.remove(at);
        }
        self.batch = batch;
    }
}

/// Waits for all relays, as [`Relay::settle`] does.
pub(super) fn settle_all() {
    let running = lock(&RUNNING).clone();
    for relay in running {
        relay.settle(None);
    }
}
