//! What `/proc` tells of processes.

use std::fs;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::watchdog::LIMIT;

/// A line of `/proc/*/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub pid: u32,
    pub name: String,
    pub zombie: bool,
    pub parent: u32,
    pub group: u32,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.rsplit_once(") ")?;
        let (pid, name) = head.split_once(" (")?;
        let fields: Vec<_> = tail.split(' ').collect();
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            zombie: ["Z", "X"].contains(fields.first()?),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
        })
    }
}

fn all() -> impl Iterator<Item = Entry> {
    let entries = fs::read_dir("/proc").expect("listing /proc").flatten();
    // A process may end between its listing and the reading.
    entries.filter_map(|entry| Entry::parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
}

/// The children of this process, zombies included. The kernel takes its fork server for the parent of some; the server itself is
/// none.
///
/// Not every kernel has `/proc/self/task/*/children`.
pub fn children() -> Vec<Entry> {
    let (servers, mut children): (Vec<_>, Vec<_>) = children_of(process::id())
        .into_iter()
        .partition(|child| child.name == "forkserver" && !child.zombie);
    let copies = servers.iter().flat_map(|server| children_of(server.pid));
    // The server reaps them a moment after it has told how they ended.
    children.extend(copies.filter(|copy| !copy.zombie));
    children
}

/// The fork server of this process, if it has one.
pub fn fork_server() -> Option<u32> {
    let mut children = children_of(process::id()).into_iter();
    let server = children.find(|child| child.name == "forkserver" && !child.zombie);
    server.map(|server| server.pid)
}

/// The children of a process, zombies included.
pub fn children_of(parent: u32) -> Vec<Entry> {
    all().filter(|entry| entry.parent == parent).collect()
}

/// The processes of a group that have not ended yet.
pub fn group(group: u32) -> Vec<Entry> {
    all()
        .filter(|entry| entry.group == group && !entry.zombie)
        .collect()
}

/// What `/proc` tells of a process, if it is there.
pub fn entry(pid: u32) -> Option<Entry> {
    Entry::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The processes that have not ended yet, and were started with this in their environment: what a program starts has it, too,
/// in whatever group it is.
pub fn marked(variable: &str, value: &str) -> Vec<Entry> {
    let mark = format!("{variable}={value}");
    let has_it = |entry: &Entry| {
        fs::read(format!("/proc/{}/environ", entry.pid)).is_ok_and(|all| {
            all.split(|byte| *byte == 0)
                .any(|one| one == mark.as_bytes())
        })
    };
    all()
        .filter(|entry| !entry.zombie && has_it(entry))
        .collect()
}

/// What is open in this process, but for what the look at it opens.
pub fn descriptors() -> Vec<String> {
    let links = fs::read_dir("/proc/self/fd")
        .expect("listing descriptors")
        .flatten();
    let mut open: Vec<String> = links
        .filter_map(|link| {
            let target = fs::read_link(link.path()).ok()?;
            Some(format!(
                "{} -> {}",
                link.file_name().display(),
                target.display()
            ))
        })
        .filter(|link| !(link.contains("/proc/") && link.ends_with("/fd")))
        .collect();
    open.sort_by_key(|link| {
        link.split(' ')
            .next()
            .and_then(|number| number.parse::<u32>().ok())
    });
    open
}

/// A process that is watched from outside, of whatever tree.
pub struct Watched(OwnedFd, u32);

impl Watched {
    /// Begins to watch a process that has not been waited for yet.
    pub fn new(pid: u32) -> Self {
        let id = Pid::from_raw(pid.cast_signed()).expect("0 is no process");
        Self(
            pidfd_open(id, PidfdFlags::empty()).expect("the process is there"),
            pid,
        )
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        is_readable(&self.0, Duration::ZERO)
    }

    /// Kills the process.
    pub fn kill(&self) {
        pidfd_send_signal(&self.0, Signal::KILL).expect("killing a process");
    }

    /// Waits until the process has ended; fails if it does not.
    #[track_caller]
    pub fn ends(&self) {
        assert!(
            is_readable(&self.0, LIMIT),
            "process {} does not end",
            self.1
        );
    }
}

/// A process that is stopped, all threads of it; it goes on when this is dropped.
pub struct Stopped(OwnedFd);

impl Stopped {
    /// Stops a process that has not been waited for yet.
    #[track_caller]
    pub fn new(pid: u32) -> Self {
        let this = Self::stopping_itself(pid);
        pidfd_send_signal(&this.0, Signal::STOP).expect("stopping a process");
        let stopped = eventually(|| Self::is_stopped(pid).then_some(()));
        assert!(stopped.is_some(), "process {pid} does not stop");
        this
    }

    /// A process that stops, or has stopped, by itself.
    #[track_caller]
    pub fn stopping_itself(pid: u32) -> Self {
        let id = Pid::from_raw(pid.cast_signed()).expect("0 is no process");
        Self(pidfd_open(id, PidfdFlags::empty()).expect("the process is there"))
    }

    /// Whether all threads of a process are stopped.
    pub fn is_stopped(pid: u32) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return false;
        };
        let is_stopped = |stat: String| {
            let state = stat.rsplit_once(") ");
            state.is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        let mut stats = threads
            .flatten()
            .map(|thread| fs::read_to_string(thread.path().join("stat")));
        stats.all(|stat| stat.is_ok_and(is_stopped))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = pidfd_send_signal(&self.0, Signal::CONT);
    }
}

/// Waits until `fd` is readable, or its peer gone, for at most `timeout`.
pub fn is_readable(fd: impl AsFd, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))
            .expect("a short time");
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => continue,
            result => return result.expect("polling") > 0,
        }
    }
}

/// Looks again and again until there is what is looked for; `None` if that does not happen.
///
/// For what nobody tells of: a process that is no child is gone, somebody else's file is removed.
pub fn eventually<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    within(LIMIT, look)
}

/// Does the same for another time: where what was seen last is to be told before the test is ended as one that hangs.
pub fn within<T>(limit: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the kernel tells how a process ended that somebody else has reaped: since Linux 6.15.
pub fn kernel_tells_of_the_reaped() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("there is /proc");
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or_default();
    (next(), next()) >= (6, 15)
}
