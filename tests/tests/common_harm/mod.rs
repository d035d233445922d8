//! What the tests of pools that are harmed have in common.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashSet;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, abort};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{process, thread};

use mp::{Pool, TaskError};
use multiproc_tests::processes::entry;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
    setrlimit,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::common_shm::Random;

/// A manner in which a task goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Says so by an error, of whatever type belongs there.
    Error,
    Panic,
    Exit(i32),
    Abort,
    Kill,
    /// SIGSEGV.
    Fault,
    Overflow,
    Memory,
}

/// The manners that end a process.
pub const DEADLY: [How; 7] = [
    How::Exit(0),
    How::Exit(7),
    How::Abort,
    How::Kill,
    How::Fault,
    How::Overflow,
    How::Memory,
];

/// The message of all harm that has one.
pub const SAID: &str = "harm on purpose";

impl How {
    /// Does the harm. Returns for [`How::Error`] only, with the message.
    pub fn strike(self) -> &'static str {
        match self {
            How::Error => return SAID,
            How::Panic => panic!("{SAID}"),
            How::Exit(code) => process::exit(code),
            How::Abort => abort(),
            How::Kill => die_by(Signal::KILL),
            How::Fault => die_by(Signal::SEGV),
            How::Overflow => drop(black_box(overflow(1))),
            How::Memory => exhaust(),
        }
        unreachable!("{self:?} is survived")
    }

    pub fn is_deadly(self) -> bool {
        !matches!(self, How::Error | How::Panic)
    }

    /// Whether a process ended like this.
    pub fn is_end(self, status: ExitStatus) -> bool {
        let signal = match self {
            How::Exit(code) => return status.code() == Some(code),
            How::Kill => Signal::KILL,
            How::Fault => Signal::SEGV,
            _ => Signal::ABORT,
        };
        status.signal() == Some(signal.as_raw())
    }

    /// What a process that ends like this says last.
    pub fn last_words(self) -> &'static str {
        match self {
            How::Overflow => "overflowed its stack",
            How::Memory => "memory allocation of",
            _ => "",
        }
    }
}

fn die_by(signal: Signal) -> ! {
    // The handler that the standard library has for SIGSEGV takes the first one for an overflow that is none.
    loop {
        kill_process(getpid(), signal).expect("a process may kill itself");
    }
}

/// Overflows the stack.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(n: u64) -> u64 {
    black_box([n; 64]);
    overflow(n + 1) + 1
}

/// Asks for memory when the system gives no more.
fn exhaust() {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = pages
        .split(' ')
        .next()
        .map_or(0, |size| size.parse().expect("a number"));
    let little = Some(pages * 4096 + (4 << 20));
    let limit = Rlimit {
        current: little,
        maximum: little,
    };
    setrlimit(Resource::As, limit).expect("a limit can be lowered");
    black_box(vec![1_u8; 64 << 20]);
}

/// Sends a signal to a child of this process, whatever else may have its pid by now; tells whether it was there.
pub fn signal_child(pid: u32, signal: Signal) -> bool {
    let Some(id) = Pid::from_raw(pid.cast_signed()) else {
        return false;
    };
    let Ok(child) = pidfd_open(id, PidfdFlags::empty()) else {
        return false;
    };
    // Whoever has the pid now has it until the descriptor is closed, or is dead.
    entry(pid).is_some_and(|entry| entry.parent == process::id())
        && pidfd_send_signal(&child, signal).is_ok()
}

/// A worker of a pool, and whether it has begun to work; one that has not is rare.
fn victim(pool: &Pool, random: &mut Random, any: bool) -> Option<(u32, bool)> {
    let any = any && random.below(8) == 0;
    let workers = pool.stats().workers.into_iter();
    let victims: Vec<_> = workers
        .map(|worker| (worker.pid, worker.busy || worker.tasks > 0))
        .filter(|(_, has_begun)| any || *has_begun)
        .collect();
    let chosen = random.below(victims.len().max(1) as u64) as usize;
    victims.get(chosen).copied()
}

/// Lets some time pass, in which workers get something done.
pub fn a_while(random: &mut Random) {
    thread::sleep(Duration::from_micros(random.below(10_000)));
}

/// Kills workers of a pool, one after another, for as long as `work` lasts, which is told how many; gives their pids.
pub fn killing<R>(
    pool: &Pool,
    pause: impl Fn(&mut Random) + Sync,
    work: impl FnOnce(&AtomicU32) -> R,
) -> (R, HashSet<u32>) {
    let (killed, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let (mut random, mut pids) = (Random::new(), HashSet::new());
            // A pool whose workers die before they can work, one after another, is broken: so not two of them.
            let mut any = true;
            while !stop.load(Ordering::Relaxed) {
                pause(&mut random);
                let Some((pid, has_begun)) = victim(pool, &mut random, any) else {
                    continue;
                };
                if signal_child(pid, Signal::KILL) && pids.insert(pid) {
                    any = has_begun;
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
            pids
        });
        // So that the killer ends, too, when the work panics.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let result = {
            let _stop = Stop(&stop);
            work(&killed)
        };
        (result, killer.join().expect("killing"))
    })
}

#[mp::process_fn]
pub fn square(n: u64) -> u64 {
    n * n
}

/// What came of a task, or why there is none.
pub fn get<R: DeserializeOwned>(task: mp::Result<mp::Task<R>>) -> Result<R, TaskError> {
    task.map_err(TaskError::from)?.get()
}

/// Nothing is left of what went wrong before.
#[track_caller]
pub fn works(pool: &Pool) {
    let squares: Vec<u64> = (0..100).map(|n| n * n).collect();
    assert_eq!(pool.map::<square>(0..100).expect("it works"), squares);
    assert_eq!(pool.apply::<square>(12).expect("it works"), 144);
}

pub fn atomic() -> mp::Atomic<u64> {
    mp::Atomic::new(0).expect("making an atomic")
}

pub fn event() -> mp::Event {
    mp::Event::new().expect("making an event")
}

/// Calls in one of the forms, all of whose results must be there.
pub const FORMS: [fn(&Pool); 5] = [
    |pool| assert_eq!(pool.apply::<square>(5).expect("it is not hurt"), 25),
    |pool| {
        let tasks: Vec<_> = (0..50).map(|n| pool.submit::<square>(n)).collect();
        for (n, task) in (0..).zip(tasks) {
            let square = task.expect("submitting").get().expect("it is not hurt");
            assert_eq!(square, n * n);
        }
    },
    |pool| {
        let squares = pool.map::<square>(0..50).expect("it is not hurt");
        assert!(squares.into_iter().eq((0..50).map(|n| n * n)));
    },
    |pool| {
        let squares = pool
            .imap::<square>(0..50)
            .map(|r| r.expect("it is not hurt"));
        assert!(squares.eq((0..50).map(|n| n * n)));
    },
    |pool| {
        let squares = pool.imap_unordered::<square>(0..50);
        let sum: u64 = squares.map(|r| r.expect("it is not hurt")).sum();
        assert_eq!(sum, (0..50).map(|n| n * n).sum::<u64>());
    },
];

/// What travels there and back: of all sizes, some with a handle.
#[derive(Debug, Serialize, Deserialize)]
pub struct Item {
    pub number: u64,
    payload: Vec<u8>,
    value: Option<mp::Value<u64>>,
}

impl Item {
    pub fn new(number: u64) -> Self {
        let length = match number % 7 {
            0 => 9000,
            3 => 500,
            1..3 => 60,
            _ => 3,
        };
        let value = number
            .is_multiple_of(5)
            .then(|| mp::Value::new(number).expect("making a value"));
        Self {
            number,
            payload: vec![number as u8; length],
            value,
        }
    }

    #[track_caller]
    pub fn check(&self, number: u64) {
        let expected = Self::new(number);
        assert_eq!(self.number, number);
        assert_eq!(self.payload, expected.payload);
        // Who looked at it before may have been killed while doing so.
        let read = |value: &mp::Value<u64>| {
            let guard = value.lock().or_else(mp::LockError::into_guard);
            *guard.expect("a guard")
        };
        assert_eq!(
            self.value.as_ref().map(read),
            expected.value.map(|_| number)
        );
    }
}

/// Gives an item back, in a time that differs.
#[mp::process_fn]
pub fn handle(item: Item) -> Item {
    item.check(item.number);
    thread::sleep(Duration::from_micros(item.number * 7 % 300));
    Item::new(item.number)
}

/// A pool that attempts a task again as often as that.
pub fn pool(workers: usize, retries: u32) -> Pool {
    let builder = Pool::builder().workers(workers).retries(retries);
    builder.build().expect("making a pool")
}

/// More often than any task is hit.
pub const MANY: u32 = 200;
