//! Threads of who starts children by each method, and the pools of each method, which have threads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;

use futures::executor::block_on;
use futures::future::poll_fn;
use mp::{Error, Event, Fd, Lock, Pool, StartMethod, TaskError};
use multiproc_tests::leaks::nothing;
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, start, threads, value};
use multiproc_tests::processes::Watched;
use rustix::process::{Pid, Signal, kill_process};

methods! {
    a_child_is_started_beside_threads_unless_it_is_a_copy,
    a_child_that_has_threads_may_start_others_that_are_no_copies,
    threads_that_have_ended_do_not_count,
    what_is_passed_is_given_back_when_a_start_is_refused,
    the_default_method_is_refused_as_well,
    a_pool_works,
    a_pool_replaces_its_workers,
    a_pool_is_made_in_a_child,
    workers_have_what_its_maker_had,
    a_pool_is_made_beside_threads_unless_it_is_of_copies,
    pools_follow_each_other,
    ; once:
    threads_of_the_library_count,
    pools_of_all_methods_work_at_once,
}

/// Threads that wait.
struct Waiting(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Waiting {
    fn new(number: usize) -> Self {
        let (end, begun) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Barrier::new(number + 1)),
        );
        let wait = |_| {
            let (end, begun) = (Arc::clone(&end), Arc::clone(&begun));
            thread::spawn(move || {
                begun.wait();
                while !end.load(Ordering::SeqCst) {
                    thread::park();
                }
            })
        };
        let threads = (0..number).map(wait).collect();
        begun.wait();
        Self(end, threads)
    }

    fn end(self) {
        self.0.store(true, Ordering::SeqCst);
        for thread in self.1 {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}

/// Checks that a start was refused because of so many threads.
#[track_caller]
fn is_refused<T>(started: mp::Result<T>, number: usize) {
    let Err(error) = started else {
        panic!("it was started beside threads")
    };
    assert!(
        matches!(error, Error::ForkWithThreads { threads } if threads == number),
        "{error:?}"
    );
    let count = format!("{number} threads");
    for words in [&count, "StartMethod::Forkserver", "StartMethod::Spawn"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

fn a_child_is_started_beside_threads_unless_it_is_a_copy(method: StartMethod) {
    for number in [1, 2, 5] {
        let waiting = Waiting::new(number);
        let started = by(method).spawn::<nothing>(());
        match method {
            StartMethod::Fork => is_refused(started, number + 1),
            _ => started.unwrap().join().unwrap(),
        }
        waiting.end();
        value::<nothing>(method, ());
    }
    assert_eq!(mp::active_children().len(), 0);
}

/// Starts a child by a method from a process with threads, and from one of them.
#[mp::process_fn]
fn start_beside_threads(method: &str) -> [Option<String>; 2] {
    let method = named(method);
    let waiting = Waiting::new(2);
    let run = move || match by(method).spawn::<nothing>(()) {
        Ok(process) => process.join().err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let outcomes = [run(), thread::spawn(run).join().unwrap()];
    waiting.end();
    outcomes
}

fn a_child_that_has_threads_may_start_others_that_are_no_copies(method: StartMethod) {
    for second in available() {
        let outcomes = value::<start_beside_threads>(method, second.name());
        for (number, outcome) in (3..).zip(outcomes) {
            let refused = second == StartMethod::Fork;
            assert_eq!(outcome.is_some(), refused, "{second}: {outcome:?}");
            let words = format!("{number} threads");
            assert!(
                outcome.is_none_or(|error| error.contains(&words)),
                "{second}"
            );
        }
    }
}

/// The kernel's part of the end of a thread goes on for a moment after it was joined.
fn threads_that_have_ended_do_not_count(method: StartMethod) {
    for number in 0..50 {
        Waiting::new(1 + number % 4).end();
        value::<nothing>(method, ());
    }
}

#[mp::process_fn]
fn take(peer: mp::Connection<u8, u8>, lock: Lock, file: Fd<std::fs::File>) {
    drop((peer, lock, file));
}

fn what_is_passed_is_given_back_when_a_start_is_refused(method: StartMethod) {
    let before = mp::arena_stats().unwrap();
    let waiting = Waiting::new(1);
    let (mine, its) = mp::pipe::<u8, u8>().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let started = by(method).stdin(mp::Stdio::piped()).spawn::<take>((
        its,
        Lock::new().unwrap(),
        file.into(),
    ));
    match method {
        StartMethod::Fork => is_refused(started, 2),
        _ => started.unwrap().join().unwrap(),
    }
    assert_eq!(mine.recv(), Err(mp::RecvError::Closed));
    drop(mine);
    assert_eq!(mp::arena_stats().unwrap(), before);
    waiting.end();
}

fn the_default_method_is_refused_as_well(method: StartMethod) {
    mp::set_start_method(method).unwrap();
    let waiting = Waiting::new(1);
    let started = mp::spawn!(nothing);
    match method {
        StartMethod::Fork => is_refused(started, 2),
        _ => started.unwrap().join().unwrap(),
    }
    // Another choice is free.
    value::<nothing>(StartMethod::Spawn, ());
    value::<nothing>(StartMethod::Forkserver, ());
    waiting.end();
    mp::spawn!(nothing).unwrap().join().unwrap();
}

#[mp::process_fn]
fn square(number: u64) -> u64 {
    number * number
}

#[mp::process_fn]
fn pid(_: u64) -> u32 {
    std::process::id()
}

fn pool(method: StartMethod, workers: usize) -> Pool {
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .build()
        .unwrap()
}

fn squares() -> Vec<u64> {
    (0..200).map(|number| number * number).collect()
}

fn a_pool_works(method: StartMethod) {
    let pool = pool(method, 3);
    assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
    let pids = pool.map::<pid>(0..50).unwrap();
    assert!(!pids.contains(&std::process::id()));
    let error = pool.apply::<fail>(7).unwrap_err();
    assert!(error.to_string().contains("7 is not wanted"), "{error}");
    assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
    pool.close();
    pool.join().unwrap();
}

#[mp::process_fn]
fn fail(number: u64) {
    panic!("{number} is not wanted");
}

#[mp::process_fn]
fn die(_: u64) {
    let _ = kill_process(rustix::process::getpid(), Signal::KILL);
}

/// Again and again, though this process has threads by then.
fn a_pool_replaces_its_workers(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..4 {
        let error = pool.apply::<die>(0).unwrap_err();
        let TaskError::WorkerDied { pid, .. } = &error else {
            panic!("{error:?}")
        };
        assert_ne!(*pid, std::process::id());
        assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
    }
    // One that is idle.
    let victim = pool.stats().workers[0].pid;
    let watched = Watched::new(victim);
    kill_process(Pid::from_raw(victim.cast_signed()).unwrap(), Signal::KILL).unwrap();
    watched.ends();
    assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
    pool.terminate();
}

#[mp::process_fn]
fn pool_below(method: &str) -> Vec<u64> {
    let pool = pool(named(method), 2);
    pool.map::<square>(0..200).unwrap()
}

fn a_pool_is_made_in_a_child(method: StartMethod) {
    for first in available() {
        assert_eq!(
            value::<pool_below>(first, method.name()),
            squares(),
            "{first}"
        );
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

#[mp::process_fn]
fn number(_: u64) -> u32 {
    NUMBER.load(Ordering::SeqCst)
}

/// All of them what it had when it was made.
fn workers_have_what_its_maker_had(method: StartMethod) {
    NUMBER.store(7, Ordering::SeqCst);
    let pool = pool(method, 2);
    NUMBER.store(8, Ordering::SeqCst);
    let expected = if method == StartMethod::Fork { 7 } else { 0 };
    for _ in 0..2 {
        assert!(
            pool.map::<number>(0..20)
                .unwrap()
                .iter()
                .all(|number| *number == expected)
        );
        pool.apply::<die>(0).unwrap_err();
    }
    pool.terminate();
}

fn a_pool_is_made_beside_threads_unless_it_is_of_copies(method: StartMethod) {
    let waiting = Waiting::new(3);
    let built = Pool::builder().workers(1).start_method(method).build();
    match method {
        StartMethod::Fork => is_refused(built, 4),
        _ => assert_eq!(built.unwrap().map::<square>(0..200).unwrap(), squares()),
    }
    waiting.end();
}

/// When a pool has ended, it has no threads any more that would hinder a copy.
fn pools_follow_each_other(method: StartMethod) {
    for round in 0..5 {
        let pool = pool(method, 2);
        assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
        match round % 3 {
            0 => drop(pool),
            1 => pool.terminate(),
            _ => {
                pool.close();
                pool.join().unwrap();
            }
        }
    }
    value::<nothing>(method, ());
}

#[mp::process_fn]
fn wait(end: Event) {
    end.wait().unwrap();
}

#[mp::process_fn]
fn fork_while_awaiting() -> String {
    let end = Event::new().unwrap();
    let mut future = Box::pin(start::<wait>(StartMethod::Spawn, end.clone()).into_future());
    let is_pending = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending()));
    assert!(block_on(is_pending));
    let refusal = fork_refusal();
    end.set();
    block_on(future).unwrap();
    refusal
}

#[mp::process_fn]
fn fork_with_pool() -> String {
    let _pool = pool(StartMethod::Spawn, 1);
    fork_refusal()
}

#[mp::process_fn]
fn fork_refusal() -> String {
    match by(StartMethod::Fork).spawn::<nothing>(()) {
        Ok(process) => {
            process.join().unwrap();
            assert_eq!(threads(), 1);
            "none".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

fn threads_of_the_library_count() {
    for told in [
        value::<fork_while_awaiting>(StartMethod::Spawn, ()),
        value::<fork_with_pool>(StartMethod::Spawn, ()),
    ] {
        assert!(told.contains("threads of this library"), "{told}");
    }
    for method in available() {
        assert_eq!(value::<fork_refusal>(method, ()), "none", "{method}");
        let daemon = by(method).daemon(true).spawn::<fork_refusal>(()).unwrap();
        let told = daemon.join().unwrap();
        assert!(
            told.contains("2 threads") && told.contains("a daemon"),
            "{method}: {told}"
        );
    }
}

#[mp::process_fn]
fn meet(barrier: mp::Barrier, done: Event) {
    barrier.wait().unwrap();
    done.set();
}

/// The one of copies first, because the others have threads.
fn pools_of_all_methods_work_at_once() {
    let methods = [
        StartMethod::Fork,
        StartMethod::Spawn,
        StartMethod::Forkserver,
    ];
    let pools = methods.map(|method| pool(method, 2));
    let (barrier, done) = (mp::Barrier::new(6).unwrap(), Event::new().unwrap());
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            pools[number % 3]
                .submit::<meet>((barrier.clone(), done.clone()))
                .unwrap()
        })
        .collect();
    tasks.into_iter().for_each(|task| task.get().unwrap());
    assert!(done.is_set());
    for pool in &pools {
        assert_eq!(pool.map::<square>(0..200).unwrap(), squares());
    }
    drop(pools);
    value::<nothing>(StartMethod::Fork, ());
}
