//! One suite for all engines of pools, and functions that its tests share.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use mp::{Atomic, Barrier, Event, Pool, PoolBuilder, StartMethod, Task, TaskError};

use crate::processes::eventually;
use crate::watchdog::LIMIT;

/// What runs the tasks of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Processes that are started in this way.
    Processes(StartMethod),
    /// Threads of this process.
    Threads,
}

impl Engine {
    /// Those for which [`engines!`](crate::engines) makes a module.
    pub const ALL: [Self; 3] = [
        Self::Processes(StartMethod::Spawn),
        Self::Processes(StartMethod::Forkserver),
        Self::Threads,
    ];

    pub fn has_processes(self) -> bool {
        self != Self::Threads
    }

    pub fn builder(self, workers: usize) -> PoolBuilder {
        let builder = Pool::builder().workers(workers);
        match self {
            Self::Processes(method) => builder.start_method(method),
            Self::Threads => builder.threads(),
        }
    }

    #[track_caller]
    pub fn pool(self, workers: usize) -> Pool {
        self.builder(workers).build().expect("making a pool")
    }
}

/// Makes a module of tests for each engine, with a test for each function that is named: it gets the engine, runs in a process
/// of its own, and leaves no child, no descriptor and nothing in shared memory behind.
///
/// `engines! { for_all, …; processes: only_for_processes, … }`
///
/// A new start method is one more module here, and one more line in [`Engine::ALL`](crate::pools::Engine::ALL).
#[macro_export]
macro_rules! engines {
    ($($test:ident),* $(; processes: $($of_processes:ident),*)? $(,)?) => {
        mod spawn {
            $crate::engines!(@ $crate::pools::Engine::Processes(mp::StartMethod::Spawn), $($test)* $($($of_processes)*)?);
        }
        mod forkserver {
            $crate::engines!(@ $crate::pools::Engine::Processes(mp::StartMethod::Forkserver), $($test)* $($($of_processes)*)?);
        }
        mod threads {
            $crate::engines!(@ $crate::pools::Engine::Threads, $($test)*);
        }
    };
    (@ $engine:expr, $($test:ident)*) => { $(
        #[mp::test]
        fn $test() {
            $crate::leaks::alone(|| {
                super::$test($engine);
                // They are not joined, and let go of what they have a moment after their pool.
                $crate::pools::threads_end();
            });
        }
    )* };
}

/// Gives items to a function in each way, and compares the results.
#[macro_export]
macro_rules! by_each_way {
    ($pool:expr, $function:ident, $items:expr, $expected:expr) => {{
        let (pool, items, mut expected) = (&$pool, || $items, $expected);
        assert_eq!(
            pool.map::<$function>(items()).expect("map"),
            expected,
            "map"
        );
        let task = pool.map_async::<$function>(items()).expect("map_async");
        assert_eq!(task.get().expect("map_async"), expected, "map_async");
        assert_eq!(
            $crate::pools::all(pool.imap::<$function>(items())),
            expected,
            "imap"
        );
        let tasks: Vec<_> = items()
            .into_iter()
            .map(|item| pool.submit::<$function>(item).expect("submit"))
            .collect();
        assert_eq!(
            $crate::pools::all(tasks.iter().map(|task| task.get())),
            expected,
            "submit"
        );
        let applied = items()
            .into_iter()
            .map(|item| pool.apply::<$function>(item));
        assert_eq!($crate::pools::all(applied), expected, "apply");
        let mut unordered = $crate::pools::all(pool.imap_unordered::<$function>(items()));
        unordered.sort();
        expected.sort();
        assert_eq!(unordered, expected, "imap_unordered");
    }};
}

/// How long a task is waited for that may do what it must not: long enough that it would be seen now and then.
pub const MOMENT: Duration = Duration::from_millis(50);

#[mp::process_fn(name = "multiproc_tests.square")]
pub fn square(n: u64) -> u64 {
    n * n
}

/// Panics with the number for every tenth.
#[mp::process_fn(name = "multiproc_tests.no_tenths")]
pub fn no_tenths(n: u64) -> u64 {
    assert!(n % 10 != 3, "{n} is not wanted");
    n
}

/// Counts how often it is called.
#[mp::process_fn(name = "multiproc_tests.count")]
pub fn count(calls: Atomic<u64>) -> u64 {
    calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
}

/// Sets the first event, waits for the second, and gives the number back.
#[mp::process_fn(name = "multiproc_tests.hold")]
pub fn hold(begun: Event, go: Event, n: u64) -> u64 {
    begun.set();
    go.wait().expect("waiting");
    n
}

/// Sets the first event, works until the task is cancelled, and sets the second.
#[mp::process_fn(name = "multiproc_tests.until_cancelled")]
pub fn until_cancelled(begun: Event, seen: Event) {
    begun.set();
    while !mp::cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    seen.set();
}

/// Waits for as many others as the barrier says; tells the process.
#[mp::process_fn(name = "multiproc_tests.meet")]
pub fn meet(barrier: Barrier) -> u32 {
    barrier.wait().expect("nobody breaks it");
    std::process::id()
}

/// A task that runs until the event is set.
#[track_caller]
pub fn begin(pool: &Pool, n: u64) -> (Task<u64>, Event) {
    let (begun, go) = events();
    let task = pool
        .submit::<hold>((begun.clone(), go.clone(), n))
        .expect("submit");
    begun.wait().expect("waiting");
    (task, go)
}

/// Two new events.
pub fn events() -> (Event, Event) {
    let event = || Event::new().expect("making an event");
    (event(), event())
}

pub fn counter() -> Atomic<u64> {
    Atomic::new(0).expect("making a counter")
}

/// How often something was counted.
pub fn counted(calls: &Atomic<u64>) -> u64 {
    calls.load(std::sync::atomic::Ordering::SeqCst)
}

/// The results, all of which are there.
#[track_caller]
pub fn all<R>(results: impl IntoIterator<Item = Result<R, TaskError>>) -> Vec<R> {
    results
        .into_iter()
        .map(|result| result.expect("a result"))
        .collect()
}

/// Waits until a pool that is used again holds nothing more of what it had to do before, but for some room for what is next.
/// Returns how many tasks it did for that.
#[track_caller]
pub fn gives_back(pool: &Pool, before: mp::ArenaStats) -> u64 {
    const ROOM: u64 = 256 << 10;
    let deadline = Instant::now() + LIMIT / 2;
    for uses in 1.. {
        let squares = pool.map::<square>(0..3).expect("the pool lives on");
        assert_eq!(squares, [0, 1, 4]);
        let now = mp::arena_stats().expect("the arena is there");
        if now.objects == before.objects && now.used <= before.used + ROOM {
            return 3 * uses;
        }
        assert!(Instant::now() < deadline, "{now:?}, and before {before:?}");
        thread::sleep(Duration::from_millis(1));
    }
    unreachable!("it is used for ever")
}

/// Waits until those threads have ended that were left alone with a task when their pool ended: they cannot be killed, but
/// their tasks end.
#[track_caller]
pub fn threads_end() {
    soon("the threads end", || {
        let threads = fs::read_dir("/proc/self/task")
            .expect("listing threads")
            .flatten();
        let mut names =
            threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        !names.any(|name| name.starts_with("PoolWorker"))
    });
}

/// Waits until something is so; fails if it does not become so.
#[track_caller]
pub fn soon(what: &str, is_so: impl Fn() -> bool) {
    assert!(
        eventually(|| is_so().then_some(())).is_some(),
        "in vain: {what}"
    );
}
