//! What a fork server does: it copies itself, and tells how its copies ended.
//!
//! # Safety
//!
//! One thing is `unsafe`: the fork, which is sound while the process has one thread.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::preload::Preload;
use super::{MOST_FDS, Reply};
use crate::arena::{self, Arena, Offset};
use crate::channel::Fd;
use crate::process::copy::{self, Birth};
use crate::process::{boot, tree};
use crate::registry::{ArgumentError, Decoder, Encoder, Function, ProcessFn};
use crate::sys::{self, AsFd, Forked, OwnedFd, Packet};

/// The function of a fork server's process.
pub(super) struct Serve;

inventory::submit! { Function::new::<Serve>(file!(), line!()) }

/// What a fork server is given.
pub(super) struct Post {
    /// First, because its descriptors are counted from 0.
    pub(super) preload: Option<Preload>,
    pub(super) requests: Fd<OwnedFd>,
}

impl ProcessFn for Serve {
    type Args<'a> = Post;
    type Output = ();
    const NAME: &'static str = "mp::forkserver";

    fn encode(args: &Post, to: &mut Encoder<'_>) -> Result<(), ArgumentError> {
        to.argument("preload", &args.preload)?;
        to.argument("requests", &args.requests)
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Post, ArgumentError> {
        Ok(Post {
            preload: from.argument("preload")?,
            requests: from.argument("requests")?,
        })
    }

    fn call(Post { preload, requests }: Post) {
        if let Some(preload) = preload {
            preload.run();
        }
        sys::serve_children();
        sys::prepare_for_copies();
        let (Ok(arena), Some(owner)) = (arena::arena(), &tree::identity().parent) else {
            return;
        };
        Serving {
            arena,
            owner: Arc::clone(&owner.process),
            requests: Some(requests.into_inner()),
            copies: Vec::new(),
            signals: sys::handled_signals(),
        }
        .run();
    }
}

/// What a server is asked for.
pub(super) struct Request {
    pub(super) record: u64,
    pub(super) serial: u64,
    /// Which of the standard streams come with it, before all other descriptors.
    pub(super) streams: [bool; 3],
    /// Whether the working directory comes after them.
    pub(super) directory: bool,
    pub(super) leads_group: bool,
}

impl Request {
    const LENGTH: usize = 21;

    pub(super) fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.record.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.serial.to_le_bytes());
        let [stdin, stdout, stderr] = self.streams;
        let flags = [stdin, stdout, stderr, self.directory, self.leads_group];
        for (byte, flag) in bytes[16..].iter_mut().zip(flags) {
            *byte = flag.into();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        let word = |start| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[start..start + 8]);
            u64::from_le_bytes(word)
        };
        let flag = |index: usize| bytes[16 + index] == 1;
        Self {
            record: word(0),
            serial: word(8),
            streams: [flag(0), flag(1), flag(2)],
            directory: flag(3),
            leads_group: flag(4),
        }
    }
}

struct Serving {
    arena: &'static Arena,
    /// The process that the server belongs to.
    owner: Arc<OwnedFd>,
    /// None in a copy: the owner is to see when the server has ended.
    requests: Option<OwnedFd>,
    copies: Vec<Copied>,
    /// Those that the server has handlers for.
    signals: Vec<i32>,
}

/// A copy that was made.
struct Copied {
    process: OwnedFd,
    pid: u32,
    record: Offset,
    serial: u64,
    leads_group: bool,
}

impl Serving {
    /// Serves until the owner has ended, or wants no more copies and all have ended.
    fn run(mut self) {
        while self.requests.is_some() || !self.copies.is_empty() {
            let requests = self.requests.as_ref().unwrap_or(&self.owner);
            let mut fds = vec![requests.as_fd(), self.owner.as_fd()];
            fds.extend(self.copies.iter().map(|copy| copy.process.as_fd()));
            // Its only error is that the system has no memory.
            let Ok(ready) = sys::poll_any(&fds, None) else {
                sys::yield_now();
                continue;
            };
            drop(fds);
            let [asked, orphaned, ended @ ..] = &*ready else {
                unreachable!("as many answers as descriptors")
            };
            if *orphaned {
                return;
            }
            for (index, _) in ended.iter().enumerate().rev().filter(|(_, ended)| **ended) {
                self.bury(index);
            }
            if *asked && !self.serve() {
                self.requests = None;
            }
        }
    }

    /// Tells how a copy ended, and reaps it.
    fn bury(&mut self, index: usize) {
        let copy = self.copies.swap_remove(index);
        if let Some(status) = sys::look_at_status(copy.process.as_fd()) {
            self.arena.tell_exit(copy.record, copy.serial, status);
        }
        if copy.leads_group {
            // It keeps its number until it is reaped: nobody else's group is hit.
            sys::kill_group(copy.pid);
        }
        let _ = sys::reap(copy.process.as_fd());
    }

    /// Takes a request, and answers it. `false` when there will be none any more.
    fn serve(&mut self) -> bool {
        let mut request = [0; Request::LENGTH];
        let Some(requests) = &self.requests else {
            return false;
        };
        let received = match sys::receive_packet(requests.as_fd(), &mut request, false) {
            Ok(Packet::Message(_, fds)) => Ok(fds),
            Ok(Packet::Empty) => return true,
            Ok(Packet::Closed) => return false,
            Err(error) => Err(error),
        };
        let reply = received.and_then(|fds| self.copy(&Request::from_bytes(&request), fds));
        let reply =
            reply.unwrap_or_else(|error| Reply::Failed(error.raw_os_error().unwrap_or_default()));
        let begun = matches!(reply, Reply::Begun(_))
            .then(|| self.copies.last())
            .flatten();
        let fds: Vec<_> = begun.iter().map(|copy| copy.process.as_fd()).collect();
        let bytes = reply.to_bytes();
        let requests = self.requests.as_ref().map(AsFd::as_fd);
        requests.is_some_and(|requests| {
            sys::send_packet(requests, &[IoSlice::new(&bytes)], &fds).is_ok()
        })
    }

    /// Makes a copy, which is the last one in the list then.
    fn copy(&mut self, request: &Request, fds: Vec<OwnedFd>) -> io::Result<Reply> {
        debug_assert!(fds.len() <= MOST_FDS + 4);
        let threads = boot::threads();
        if threads > 1 {
            return Ok(Reply::Threads(threads as u32));
        }
        let mut fds = fds.into_iter();
        let streams = request
            .streams
            .map(|comes| comes.then(|| fds.next()).flatten());
        let directory = request.directory.then(|| fds.next()).flatten();
        let (record, serial) = (Offset(request.record), request.serial);
        let bequeathed = self.arena.bequeath_holds(record, serial);
        if !bequeathed.map_err(io::Error::other)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        // SAFETY: this process has one thread, as of the count, and this one has made none since.
        #[allow(unsafe_code)]
        match unsafe { sys::fork() }? {
            Forked::Child => {
                self.copies.clear();
                self.requests = None;
                copy::live(Birth {
                    record,
                    serial,
                    streams,
                    directory,
                    leads_group: request.leads_group,
                    signals: &self.signals,
                    fds: fds.collect(),
                    parent: Arc::clone(&self.owner),
                })
            }
            Forked::Parent(pid) => {
                if request.leads_group {
                    sys::lead_group(pid);
                }
                let process = sys::open_process(pid);
                self.copies.push(Copied {
                    process: process.inspect_err(|_| sys::abandon_child(pid))?,
                    pid,
                    record,
                    serial,
                    leads_group: request.leads_group,
                });
                Ok(Reply::Begun(pid))
            }
        }
    }
}
