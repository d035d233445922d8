//! The life of pools: where they can be made, how they end, who uses them, and what is left, which is nothing.

use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use mp::{Event, Pool, Queue, Task, TaskError};
use multiproc_tests::engines;
use multiproc_tests::leaks::apart;
use multiproc_tests::pools::{
    Engine, MOMENT, all, begin, count, counted, counter, events, square, until_cancelled,
};
use multiproc_tests::processes::{Watched, children};
use multiproc_tests::watchdog::LIMIT;

engines! {
    a_pool_without_workers_is_an_error,
    a_pool_is_made_for_many_threads,
    a_closed_pool_finishes_its_work,
    a_closed_pool_takes_no_work,
    a_pool_that_is_open_cannot_be_joined,
    joining_may_end_before_the_pool,
    a_terminated_pool_gives_up_its_work,
    a_dropped_pool_ends_at_once,
    pools_may_end_in_any_order_of_calls,
    pools_come_and_go,
    two_pools_work_at_once,
    pools_in_threads,
    a_pool_is_shared_by_many_threads,
    a_pool_ends_on_another_thread,
    pools_inside_of_workers;
    processes: nested_pools_end_with_their_parents
}

#[test]
fn pools_of_threads_need_no_main() {
    let pool = Pool::threads(2).expect("making a pool");
    assert_eq!(pool.map::<square>(0..100).expect("map")[99], 99 * 99);
    assert_eq!(all(pool.imap::<square>(0..100)).len(), 100);
}

#[mp::test]
fn a_pool_in_a_static_works_and_ends_with_its_process() {
    static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).expect("making a pool"));
    // Nothing is left of it when the process has ended.
    apart(|| {
        assert_eq!(POOL.map::<square>(0..100).expect("map")[99], 99 * 99);
        let (begun, _) = events();
        drop(POOL.submit::<park>(begun.clone()).expect("submit"));
        begun.wait().expect("waiting");
        assert_eq!(POOL.apply::<square>(3).expect("apply"), 9);
    });
}

#[mp::test]
fn a_pool_of_threads_in_a_static_works_and_ends_with_its_process() {
    static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::threads(2).expect("making a pool"));
    apart(|| {
        let (begun, _) = events();
        drop(POOL.submit::<park>(begun.clone()).expect("submit"));
        begun.wait().expect("waiting");
        assert_eq!(POOL.apply::<square>(3).expect("apply"), 9);
    });
}

#[mp::test]
fn a_pool_that_is_forgotten_ends_with_its_process() {
    apart(|| {
        let pool = Pool::new(2).expect("making a pool");
        assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
        std::mem::forget(pool);
    });
}

/// Runs for ever, and does not care for anything.
#[mp::process_fn]
fn park(begun: Event) {
    begun.set();
    loop {
        thread::park();
    }
}

fn a_pool_without_workers_is_an_error(engine: Engine) {
    let none = if engine.has_processes() {
        Pool::new(0)
    } else {
        Pool::threads(0)
    };
    for error in [
        none.expect_err("none"),
        engine.builder(0).build().expect_err("none"),
    ] {
        assert!(matches!(error, mp::Error::PoolOption { .. }), "{error:?}");
        assert!(error.to_string().contains("workers"), "{error}");
    }
}

fn a_pool_is_made_for_many_threads(engine: Engine) {
    fn check<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let pool = check(engine.pool(1));
    let task = check(pool.submit::<square>(3).expect("submit"));
    assert_eq!(task.get().expect("get"), 9);
}

fn a_closed_pool_finishes_its_work(engine: Engine) {
    let pool = engine.pool(2);
    let (held, go) = begin(&pool, 7);
    let calls = counter();
    let tasks: Vec<_> = (0..100)
        .map(|_| pool.submit::<count>(calls.clone()).expect("submit"))
        .collect();
    let many = pool
        .map_async::<count>(vec![calls.clone(); 100])
        .expect("map_async");
    let pulled = Cell::new(0);
    let items = (0..50).inspect(|n| pulled.set(*n));
    let mut results = pool.job::<square>().window(4).imap(items);
    assert_eq!(
        results.next().expect("there are more").expect("a result"),
        0
    );
    pool.close();
    // Items that were pulled are done. Others are no tasks of the pool yet, which an error tells.
    let last = pulled.get();
    let (good, bad): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
    assert!(all(good).into_iter().eq((1..=last).map(|n| n * n)));
    assert!(
        !bad.is_empty()
            && bad
                .iter()
                .all(|error| matches!(error, Err(TaskError::Closed)))
    );
    go.set();
    pool.join().expect("joining");
    assert_eq!(counted(&calls), 200);
    assert_eq!(held.get().expect("get"), 7);
    assert_eq!(all(tasks.iter().map(|task| task.get())).len(), 100);
    assert_eq!(many.get().expect("get").len(), 100);
    assert!(children().is_empty());
}

#[track_caller]
fn takes_no_work(pool: &Pool) {
    let closed = |error: mp::Error| {
        assert!(matches!(error, mp::Error::PoolClosed), "{error:?}");
        assert!(error.to_string().contains("closed"), "{error}");
    };
    assert!(matches!(pool.apply::<square>(3), Err(TaskError::Closed)));
    assert!(matches!(pool.map::<square>(0..3), Err(TaskError::Closed)));
    closed(pool.submit::<square>(3).map(drop).expect_err("submit"));
    closed(
        pool.map_async::<square>(0..3)
            .map(drop)
            .expect_err("map_async"),
    );
    closed(pool.resize(2).expect_err("resize"));
    let mut results = pool.imap::<square>(0..3);
    assert!(matches!(results.next(), Some(Err(TaskError::Closed))));
    let mut results = pool.imap_unordered::<square>(0..);
    assert!(matches!(results.next(), Some(Err(TaskError::Closed))));
    assert!(
        results
            .take(100)
            .all(|result| matches!(result, Err(TaskError::Closed)))
    );
}

fn a_closed_pool_takes_no_work(engine: Engine) {
    let pool = engine.pool(1);
    pool.close();
    takes_no_work(&pool);
    pool.join().expect("joining");
    takes_no_work(&pool);
    let pool = engine.pool(1);
    pool.terminate();
    takes_no_work(&pool);
}

fn a_pool_that_is_open_cannot_be_joined(engine: Engine) {
    let pool = engine.pool(1);
    let error = pool.join().expect_err("it is open");
    assert!(error.to_string().contains("close"), "{error}");
    pool.join_timeout(Duration::ZERO).expect_err("it is open");
    assert_eq!(pool.apply::<square>(3).expect("the pool lives on"), 9);
}

fn joining_may_end_before_the_pool(engine: Engine) {
    let pool = engine.pool(2);
    let (held, go) = begin(&pool, 7);
    pool.close();
    let begin = Instant::now();
    assert!(!pool.join_timeout(MOMENT).expect("joining"));
    assert!(begin.elapsed() >= MOMENT);
    assert!(!pool.join_timeout(Duration::ZERO).expect("joining"));
    go.set();
    assert!(pool.join_timeout(LIMIT).expect("joining"));
    assert!(pool.join_timeout(Duration::ZERO).expect("joining"));
    pool.join().expect("joining");
    assert_eq!(held.get().expect("get"), 7);
}

fn a_terminated_pool_gives_up_its_work(engine: Engine) {
    let pool = engine.pool(2);
    let (begun, seen) = events();
    let running = pool
        .submit::<until_cancelled>((begun.clone(), seen))
        .expect("submit");
    begun.wait().expect("waiting");
    let done = pool.submit::<square>(3).expect("submit");
    done.get().expect("get");
    let (_held, _go) = begin_obedient(&pool);
    let calls = counter();
    let waiting: Vec<_> = (0..50)
        .map(|_| pool.submit::<count>(calls.clone()).expect("submit"))
        .collect();
    pool.terminate();
    pool.join().expect("joining");
    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert!(
        waiting
            .iter()
            .all(|task| matches!(task.get(), Err(TaskError::Cancelled)))
    );
    assert_eq!(counted(&calls), 0);
    assert_eq!(done.get().expect("it was done"), 9);
    assert!(children().is_empty());
}

/// Keeps a worker busy with what ends when it is cancelled.
fn begin_obedient(pool: &Pool) -> (Task<()>, Event) {
    let (begun, seen) = events();
    let task = pool
        .submit::<until_cancelled>((begun.clone(), seen.clone()))
        .expect("submit");
    begun.wait().expect("waiting");
    (task, seen)
}

fn a_dropped_pool_ends_at_once(engine: Engine) {
    drop(engine.pool(3));
    let pool = engine.pool(2);
    let task = begin_obedient(&pool);
    drop(pool.map_async::<square>(0..100_000).expect("map_async"));
    drop(pool);
    assert!(children().is_empty());
    assert!(matches!(task.0.get(), Err(TaskError::Cancelled)));
    if engine.has_processes() {
        let pool = engine
            .builder(2)
            .cancel_grace(MOMENT)
            .build()
            .expect("making a pool");
        let (begun, _) = events();
        drop(pool.submit::<park>(begun.clone()).expect("submit"));
        begun.wait().expect("waiting");
        drop(pool);
        assert!(children().is_empty());
    }
}

fn pools_may_end_in_any_order_of_calls(engine: Engine) {
    type Call = fn(&Pool);
    let calls: [Call; 4] = [
        |pool| pool.close(),
        |pool| pool.terminate(),
        |pool| drop(pool.join()),
        |pool| drop(pool.join_timeout(Duration::from_millis(1))),
    ];
    for number in 0..4_usize.pow(3) {
        let pool = engine.pool(1);
        let task = pool.submit::<square>(3).expect("submit");
        for digit in [number, number / 4, number / 16] {
            calls[digit % 4](&pool);
        }
        drop(pool);
        assert!(matches!(task.get(), Ok(9) | Err(TaskError::Cancelled)));
    }
}

fn pools_come_and_go(engine: Engine) {
    for n in 0..30 {
        let pool = engine.pool(1 + n % 3);
        match n % 4 {
            0 => drop(pool.map::<square>(0..50).expect("map")),
            1 => drop(pool.submit::<square>(3).expect("submit")),
            2 => drop(all(pool.imap::<square>(0..).take(5))),
            _ => {}
        }
        if n % 5 == 0 {
            pool.close();
            pool.join().expect("joining");
        }
    }
}

fn two_pools_work_at_once(engine: Engine) {
    let (first, second) = (engine.pool(1), Pool::threads(1).expect("making a pool"));
    let (held, go) = begin(&first, 7);
    assert_eq!(second.map::<square>(0..100).expect("map").len(), 100);
    let pairs = thread::scope(|scope| {
        let other = scope.spawn(|| all(second.imap::<square>(0..1000)));
        go.set();
        (
            all(first.imap::<square>(0..1000)),
            other.join().expect("it ends"),
        )
    });
    assert_eq!(pairs.0, pairs.1);
    drop(first);
    assert_eq!(held.get().expect("get"), 7);
    assert_eq!(second.apply::<square>(3).expect("apply"), 9);
}

fn pools_in_threads(engine: Engine) {
    thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                for _ in 0..3 {
                    let pool = engine.pool(2);
                    assert!(
                        pool.map::<square>(n..n + 200)
                            .expect("map")
                            .into_iter()
                            .eq((n..n + 200).map(|n| n * n))
                    );
                }
            });
        }
    });
}

fn a_pool_is_shared_by_many_threads(engine: Engine) {
    let pool = engine.pool(3);
    thread::scope(|scope| {
        for n in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..10 {
                    let items = || n * 1000 + round..n * 1000 + round + 200;
                    let squares: Vec<u64> = items().map(|n| n * n).collect();
                    assert_eq!(pool.map::<square>(items()).expect("map"), squares);
                    assert_eq!(all(pool.imap::<square>(items())), squares);
                    let mut unordered = all(pool.imap_unordered::<square>(items()));
                    unordered.sort_unstable();
                    assert_eq!(unordered, squares);
                    let tasks: Vec<_> = items()
                        .map(|n| pool.submit::<square>(n).expect("submit"))
                        .collect();
                    assert_eq!(all(tasks.iter().map(|task| task.get())), squares);
                    assert_eq!(pool.apply::<square>(n).expect("apply"), n * n);
                }
            });
        }
    });
    assert_eq!(pool.stats().succeeded, 8 * 10 * (4 * 200 + 1));
}

fn a_pool_ends_on_another_thread(engine: Engine) {
    // What it made it on has ended.
    let pool = thread::spawn(move || engine.pool(2))
        .join()
        .expect("it makes one");
    assert_eq!(pool.map::<square>(0..100).expect("map").len(), 100);
    let pool = Arc::new(pool);
    let other = Arc::clone(&pool);
    let (begun, seen) = events();
    let task = pool
        .submit::<until_cancelled>((begun.clone(), seen))
        .expect("submit");
    begun.wait().expect("waiting");
    drop(pool);
    thread::spawn(move || drop(other)).join().expect("it ends");
    assert!(matches!(task.get(), Err(TaskError::Cancelled)));
}

/// Adds up squares by pools inside of pools.
#[mp::process_fn]
fn sum_of_squares(depth: u32, processes: bool, from: u64, to: u64) -> Result<u64, mp::RemoteError> {
    if depth == 0 {
        return Ok((from..to).map(|n| n * n).sum());
    }
    let pool = if processes {
        Pool::new(2)?
    } else {
        Pool::threads(2)?
    };
    let middle = (from + to) / 2;
    let parts = [
        (depth - 1, processes, from, middle),
        (depth - 1, processes, middle, to),
    ];
    pool.map::<sum_of_squares>(parts)?.into_iter().sum()
}

fn pools_inside_of_workers(engine: Engine) {
    let pool = engine.pool(2);
    let sum: u64 = (0..100).map(|n| n * n).sum();
    // Of the same kind, and of the other.
    for processes in [true, false] {
        let result = pool
            .apply::<sum_of_squares>((2, processes, 0, 100))
            .expect("apply");
        assert_eq!(result.map_err(|error| error.to_string()), Ok(sum));
    }
}

/// Keeps workers of its own busy, and does not care for anything.
#[mp::process_fn]
fn keep_workers(ids: Queue<u32>) {
    let pool = Pool::new(2).expect("making a pool");
    let (begun, _) = events();
    drop(pool.submit::<park>(begun.clone()).expect("submit"));
    begun.wait().expect("waiting");
    for worker in pool.stats().workers {
        ids.put(worker.pid).expect("putting");
    }
    loop {
        thread::park();
    }
}

fn nested_pools_end_with_their_parents(engine: Engine) {
    let pool = engine
        .builder(1)
        .cancel_grace(MOMENT)
        .build()
        .expect("making a pool");
    for end in [|pool: &Pool| pool.terminate(), |_: &Pool| {}] {
        let pool = engine
            .builder(1)
            .cancel_grace(MOMENT)
            .build()
            .expect("making a pool");
        let ids = Queue::new().expect("making a queue");
        let task = pool.submit::<keep_workers>(ids.clone()).expect("submit");
        let watched = [(); 2].map(|()| Watched::new(ids.get().expect("getting")));
        assert!(watched.iter().all(|worker| !worker.has_ended()));
        end(&pool);
        drop(pool);
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        watched.iter().for_each(Watched::ends);
    }
    // Where only the task ends.
    let ids = Queue::new().expect("making a queue");
    let task = pool.submit::<keep_workers>(ids.clone()).expect("submit");
    let watched = [(); 2].map(|()| Watched::new(ids.get().expect("getting")));
    assert!(task.cancel());
    watched.iter().for_each(Watched::ends);
    assert_eq!(pool.apply::<square>(3).expect("the pool lives on"), 9);
}
