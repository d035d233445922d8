//! Pools by fork. Whoever makes one has a single thread, and several as long as it has the pool, so that the suite of pools does not fit.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mp::{Atomic, Error, Pool, PoolBuilder, StartMethod, TaskError};
use multiproc_tests::by_each_way;
use multiproc_tests::methods;
use multiproc_tests::pools::{all, begin, counted, counter, no_tenths, soon, square};
use multiproc_tests::processes::children;

methods! {
    ; once:
        tasks_are_done,
        workers_have_what_their_maker_had,
        a_worker_that_dies_is_replaced_by_what_the_pool_was_made_of,
        tasks_that_run_late_are_killed,
        an_initializer_runs_in_each_worker,
        a_pool_grows_and_shrinks,
        there_is_one_pool_at_a_time,
        pools_follow_each_other,
        the_default_method_makes_it_so,
        nothing_is_left_when_its_maker_is_killed,
}

fn builder() -> PoolBuilder {
    Pool::builder().workers(2).start_method(StartMethod::Fork)
}

fn pool() -> Pool {
    builder().build().expect("making a pool")
}

fn tasks_are_done() {
    let pool = pool();
    let squares: Vec<_> = (0..500).map(|n| n * n).collect();
    by_each_way!(pool, square, 0..500_u64, squares.clone());
    let failed = pool.map::<no_tenths>(0..20).expect_err("13 is not wanted");
    assert!(
        failed.to_string().contains("13 is not wanted") || failed.to_string().contains("3 is"),
        "{failed}"
    );
    pool.close();
    pool.join().expect("joining");
}

static TABLE: OnceLock<Vec<u32>> = OnceLock::new();
static CALLS: AtomicU32 = AtomicU32::new(0);

#[mp::process_fn]
fn look_up(index: usize) -> Option<(u32, u32)> {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed);
    Some((*TABLE.get()?.get(index)?, calls))
}

fn workers_have_what_their_maker_had() {
    TABLE.set((100..200).collect()).expect("it is empty");
    CALLS.store(1000, Ordering::Relaxed);
    let pool = pool();
    let found = pool.map::<look_up>(0..100).expect("map");
    for (index, found) in (100..).zip(found) {
        let (value, calls) = found.expect("the table is there");
        assert_eq!(value, index);
        assert!((1000..1100).contains(&calls), "{calls}");
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 1000, "each has its own");
}

#[mp::process_fn]
fn fall(times: Atomic<u64>, n: u64) -> u64 {
    if times.fetch_add(1, Ordering::SeqCst) < 5 {
        std::process::abort();
    }
    n + u64::from(TABLE.get().is_some())
}

fn a_worker_that_dies_is_replaced_by_what_the_pool_was_made_of() {
    TABLE.set(Vec::new()).expect("it is empty");
    let pool = builder().retries(9).build().expect("making a pool");
    let times = counter();
    let values = pool
        .map::<fall>((0..20).map(|n| (times.clone(), n)))
        .expect("what is lost is tried again");
    assert_eq!(values, (1..21).collect::<Vec<_>>());
    assert_eq!(pool.stats().died, 5);
    let (task, go) = begin(&pool, 7);
    for worker in children() {
        let pid = rustix::process::Pid::from_raw(worker.pid.cast_signed());
        let _ = rustix::process::kill_process(
            pid.expect("it has an id"),
            rustix::process::Signal::KILL,
        );
    }
    go.set();
    let ended = task.get();
    assert!(
        matches!(ended, Ok(7) | Err(TaskError::WorkerDied { .. })),
        "{ended:?}"
    );
    assert_eq!(pool.apply::<square>(9).expect("others have come"), 81);
}

#[mp::process_fn]
fn never() {
    loop {
        std::thread::park();
    }
}

fn tasks_that_run_late_are_killed() {
    let pool = pool();
    let late = pool
        .job::<never>()
        .timeout(Duration::from_millis(20))
        .apply(())
        .expect_err("it never ends");
    assert!(late.to_string().contains("time"), "{late}");
    assert_eq!(pool.apply::<square>(5).expect("apply"), 25);
}

#[mp::process_fn]
fn load(calls: Atomic<u64>) {
    calls.fetch_add(1, Ordering::SeqCst);
}

fn an_initializer_runs_in_each_worker() {
    let calls = counter();
    let pool = builder()
        .initializer::<load>(calls.clone())
        .build()
        .expect("making a pool");
    assert_eq!(all(pool.imap::<square>(0..10)).len(), 10);
    assert_eq!(counted(&calls), 2);
}

fn a_pool_grows_and_shrinks() {
    let pool = pool();
    pool.resize(4).expect("growing");
    soon("there are four", || pool.stats().workers.len() == 4);
    pool.resize(1).expect("shrinking");
    soon("there is one", || pool.stats().workers.len() == 1);
    assert_eq!(pool.apply::<square>(6).expect("apply"), 36);
}

fn there_is_one_pool_at_a_time() {
    let pool = pool();
    let refused = builder().build().expect_err("this process has threads");
    assert!(
        matches!(refused, Error::ForkWithThreads { threads } if threads > 1),
        "{refused:?}"
    );
    assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
}

fn pools_follow_each_other() {
    for n in 0..5 {
        assert_eq!(pool().apply::<square>(n).expect("apply"), n * n);
    }
}

fn the_default_method_makes_it_so() {
    mp::set_start_method(StartMethod::Fork).expect("it is not set");
    TABLE.set(vec![7]).expect("it is empty");
    let pool = Pool::new(1).expect("making a pool");
    assert_eq!(
        pool.apply::<look_up>(0)
            .expect("apply")
            .map(|found| found.0),
        Some(7)
    );
}

#[mp::process_fn]
fn make_and_die(pids: mp::Queue<u32>) {
    let pool = pool();
    let (_task, _go) = begin(&pool, 1);
    for worker in children() {
        pids.put(worker.pid).expect("putting");
    }
    pids.put(0).expect("putting");
    let me = rustix::process::getpid();
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
}

fn nothing_is_left_when_its_maker_is_killed() {
    let pids = mp::Queue::new().expect("making a queue");
    let maker = methods::start::<make_and_die>(StartMethod::Spawn, pids.clone());
    let mut workers = Vec::new();
    loop {
        match pids.get().expect("getting") {
            0 => break,
            pid => workers.push(pid),
        }
    }
    assert_eq!(workers.len(), 2);
    maker.join().expect_err("it kills itself");
    soon("its workers are gone", || {
        workers
            .iter()
            .all(|pid| multiproc_tests::processes::entry(*pid).is_none_or(|entry| entry.zombie))
    });
}
