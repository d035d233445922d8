//! What workers write to their standard error: passed on to that of this process, and its end kept.
//!
//! A thread of its own does it: who reads this process's standard error may stop doing so, and then workers wait for it, as
//! they would without the pool, but nobody else does.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::line::lock;
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// How many of the last bytes are kept.
const KEPT: usize = 4 << 10;

pub(super) struct Relay {
    shared: Arc<Passing>,
    /// The thread has ended when its end of this is gone.
    thread: Mutex<Receiver<()>>,
}

/// In how many reads a full pipe is empty.
const MOST_READS: usize = 64;

/// How long the end of a pool waits for who reads this process's standard error.
const PATIENCE: Duration = Duration::from_secs(1);

struct Passing {
    sources: Mutex<Vec<Arc<Source>>>,
    /// What was read by others than the thread, and is to be passed on.
    rest: Mutex<Vec<u8>>,
    bell: OwnedFd,
    is_over: AtomicBool,
}

/// The standard error of one worker.
pub(super) struct Source {
    pipe: OwnedFd,
    heard: Mutex<Heard>,
    has_ended: AtomicBool,
}

#[derive(Default)]
struct Heard {
    /// The last bytes.
    tail: VecDeque<u8>,
    /// The beginning of a line that is passed on when it is whole, so that lines of several workers do not mix.
    line: Vec<u8>,
}

impl Relay {
    pub(super) fn start() -> io::Result<Self> {
        let (ear, bell) = sys::pipe()?;
        sys::let_writes_fail(bell.as_fd())?;
        let shared = Arc::new(Passing {
            sources: Mutex::default(),
            rest: Mutex::default(),
            bell,
            is_over: AtomicBool::new(false),
        });
        let passing = Arc::clone(&shared);
        let (ended, thread) = mpsc::channel();
        let run = move || {
            passing.run(&ear);
            drop((passing, ear));
            drop::<Sender<()>>(ended);
        };
        sys::start_helper("mp-pool-stderr", run)?;
        Ok(Self {
            shared,
            thread: Mutex::new(thread),
        })
    }

    /// Makes the standard error of a worker, and its end that is to be written to.
    pub(super) fn connect(&self) -> io::Result<(Arc<Source>, OwnedFd)> {
        let (pipe, write) = sys::pipe()?;
        let source = Arc::new(Source {
            pipe,
            heard: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        lock(&self.shared.sources).push(Arc::clone(&source));
        sys::ring(self.shared.bell.as_fd());
        Ok((source, write))
    }

    /// Returns the last lines of a worker that has ended.
    pub(super) fn disconnect(&self, source: &Arc<Source>) -> String {
        let mut rest = Vec::new();
        {
            // Under the lock from the first to the last byte: the thread would pass on later ones before these.
            let mut heard = lock(&source.heard);
            source.has_ended.store(true, Ordering::Release);
            // No more than a pipe holds: a program that has left the worker's group may go on and on.
            for _ in 0..MOST_READS {
                if heard.read(&source.pipe, &mut rest) != Some(true) {
                    break;
                }
            }
            rest.append(&mut heard.line);
        }
        lock(&self.shared.rest).append(&mut rest);
        lock(&self.shared.sources).retain(|known| !Arc::ptr_eq(known, source));
        sys::ring(self.shared.bell.as_fd());
        source.last_lines()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        sys::ring(self.shared.bell.as_fd());
        // What the workers wrote is to be seen before this process ends; but who does not read it holds up nothing.
        let _ = lock(&self.thread).recv_timeout(PATIENCE);
    }
}

impl Passing {
    fn run(&self, ear: &OwnedFd) {
        let mut chunk = Vec::new();
        loop {
            let is_over = self.is_over.load(Ordering::Acquire);
            let mut sources = lock(&self.sources).clone();
            sources.retain(|source| !source.has_ended.load(Ordering::Acquire));
            chunk.append(&mut lock(&self.rest));
            for source in &sources {
                source.read(&mut chunk);
            }
            if !chunk.is_empty() {
                // Nobody is left to be told of an error here.
                let _ = io::stderr().write_all(&chunk);
                chunk.clear();
                continue;
            }
            if is_over {
                return;
            }
            let fds: Vec<BorrowedFd<'_>> = sources
                .iter()
                .filter(|source| !source.has_ended.load(Ordering::Acquire))
                .map(|source| source.pipe.as_fd())
                .chain([ear.as_fd()])
                .collect();
            // Its only error is that the system has no memory.
            if sys::poll_any(&fds, None).is_err() {
                sys::yield_now();
            }
            while sys::read_some(ear.as_fd(), &mut [0; 64]).is_some_and(|length| length > 0) {}
        }
    }
}

impl Heard {
    /// Reads what there is; tells whether there was anything, and `None` at the end.
    fn read(&mut self, pipe: &OwnedFd, into: &mut Vec<u8>) -> Option<bool> {
        let mut buffer = [0; KEPT];
        let length = match sys::read_some(pipe.as_fd(), &mut buffer) {
            None => return Some(false),
            Some(0) => return None,
            Some(length) => length,
        };
        let Self { tail, line } = self;
        tail.extend(&buffer[..length]);
        let surplus = tail.len().saturating_sub(KEPT);
        tail.drain(..surplus);
        line.extend_from_slice(&buffer[..length]);
        // A bar that is drawn again and again ends with a return.
        let end = line.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        // A line that is too long is passed on as it comes.
        let whole = match end {
            None if line.len() > KEPT => line.len(),
            end => end.map_or(0, |end| end + 1),
        };
        into.extend(line.drain(..whole));
        Some(true)
    }
}

impl Source {
    /// Reads what there is, unless somebody else has taken that over.
    fn read(&self, into: &mut Vec<u8>) {
        // Under the lock, so that the tail has the order of the pipe.
        let mut heard = lock(&self.heard);
        if !self.has_ended.load(Ordering::Acquire) && heard.read(&self.pipe, into).is_none() {
            self.has_ended.store(true, Ordering::Release);
            into.append(&mut heard.line);
        }
    }

    /// The last that was written, from the beginning of a line if it is not all.
    fn last_lines(&self) -> String {
        let tail: Vec<u8> = lock(&self.heard).tail.iter().copied().collect();
        let begin = match tail.iter().position(|byte| *byte == b'\n') {
            // Unless all of it is the end of one long line.
            Some(end) if tail.len() == KEPT && end + 1 < KEPT => end + 1,
            _ => 0,
        };
        let text = String::from_utf8_lossy(&tail[begin..]);
        // What is no text has become longer.
        let mut cut = text.len().saturating_sub(KEPT);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text[cut..].to_owned()
    }
}
