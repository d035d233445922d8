//! Pools of threads under everything at once: for ThreadSanitizer, which sees the threads of one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mp::{Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::eventually;

#[mp::process_fn]
fn double(n: u64) -> u64 {
    2 * n
}

#[mp::process_fn]
fn repeat(text: &str, times: usize) -> String {
    text.repeat(times)
}

#[mp::process_fn]
fn refuse_odd(n: u64) -> u64 {
    assert!(n.is_multiple_of(2), "{n} is odd");
    n
}

/// Goes on until somebody gives up on it.
#[mp::process_fn]
fn wait_to_be_given_up() {
    while !mp::cancelled() {
        thread::yield_now();
    }
}

fn map_and_stream(pool: &Pool) {
    for round in 1..8 {
        let doubled = pool.map::<double>(0..50 * round).expect("it is open");
        assert!(doubled.iter().zip(0..).all(|(double, n)| *double == 2 * n));
        let texts: Vec<String> = pool
            .imap::<repeat>((0..20).map(|n| ("some words ", n * 40)))
            .collect::<Result<_, _>>()
            .expect("it is open");
        assert!(
            texts
                .iter()
                .zip(0..)
                .all(|(text, n)| text.len() == 11 * 40 * n)
        );
        let mut some: Vec<u64> = pool
            .imap_unordered::<double>(0..)
            .take(30)
            .map(|double| double.expect("it is open") / 2)
            .collect();
        some.sort();
        some.dedup();
        assert_eq!(some.len(), 30);
    }
}

fn submit_and_cancel(pool: &Pool, called: &Arc<AtomicU64>) {
    for round in 0..20 {
        let tasks: Vec<_> = (0..20)
            .map(|n| pool.submit::<double>(n).expect("it is open"))
            .collect();
        for (n, task) in (0..).zip(&tasks) {
            let called = Arc::clone(called);
            task.on_done(move |_| {
                called.fetch_add(1, Ordering::Relaxed);
            });
            if n % 3 == 0 {
                task.cancel();
            }
        }
        for (n, task) in (0..).zip(&tasks) {
            match task.get() {
                Ok(double) => assert_eq!(double, 2 * n),
                Err(TaskError::Cancelled) => assert_eq!(n % 3, 0),
                Err(error) => panic!("task {n} of round {round}: {error}"),
            }
        }
        let endless = pool.submit::<wait_to_be_given_up>(()).expect("it is open");
        assert!(endless.cancel());
        assert!(matches!(endless.get(), Ok(()) | Err(TaskError::Cancelled)));
    }
}

fn fail(pool: &Pool) {
    for _ in 0..10 {
        let failed = pool.map::<refuse_odd>((0..40).map(|n| 2 * n + n / 39));
        assert!(matches!(failed, Err(TaskError::Panicked(_))));
        let many = pool
            .map_async::<refuse_odd>((0..40).map(|n| 2 * n + n / 20))
            .expect("it is open");
        assert!(matches!(many.get(), Err(TaskError::Panicked(_))));
        let late = pool
            .job::<wait_to_be_given_up>()
            .timeout(Duration::from_millis(1))
            .apply(());
        assert!(matches!(late, Err(TaskError::TimedOut { .. })));
    }
}

fn resize(pool: &Pool) {
    for workers in [1, 4, 2, 5, 3, 2].iter().cycle().take(40) {
        pool.resize(*workers).expect("it is open");
        assert_eq!(pool.apply::<double>(4).expect("it is open"), 8);
        drop(pool.stats());
    }
}

#[mp::test]
fn threads_do_everything_at_once_and_nothing_is_left() {
    alone(|| {
        let called = Arc::new(AtomicU64::new(0));
        let pool = Pool::threads(2).expect("making a pool");
        thread::scope(|scope| {
            scope.spawn(|| map_and_stream(&pool));
            scope.spawn(|| submit_and_cancel(&pool, &called));
            scope.spawn(|| fail(&pool));
            scope.spawn(|| resize(&pool));
        });
        pool.close();
        pool.join().expect("it was closed");
        drop(pool);
        assert_eq!(called.load(Ordering::Relaxed), 20 * 20);
    });
}

#[mp::test]
fn a_pool_ends_while_others_use_it() {
    alone(|| {
        let before = mp::arena_stats().expect("there is an arena");
        for round in 0..20 {
            let pool = Pool::threads(3).expect("making a pool");
            thread::scope(|scope| {
                scope.spawn(|| while pool.map::<double>(0..100).is_ok() {});
                scope.spawn(|| {
                    while pool
                        .submit::<double>(1)
                        .is_ok_and(|task| task.get().is_ok())
                    {}
                });
                scope.spawn(|| {
                    for doubled in pool.imap::<double>(0..) {
                        if doubled.is_err() {
                            break;
                        }
                    }
                });
                let endless = pool.submit::<wait_to_be_given_up>(()).expect("it is open");
                thread::sleep(Duration::from_millis(round % 5));
                pool.terminate();
                assert!(matches!(endless.get(), Err(TaskError::Cancelled)));
            });
            pool.join().expect("it was terminated");
        }
        // Threads that ran a task were left alone with it, and end by themselves.
        eventually(|| {
            let now = mp::arena_stats().expect("there is an arena");
            (now == before).then_some(())
        })
        .expect("nothing is left");
    });
}

#[mp::test]
fn a_map_that_failed_says_why_whenever_it_is_asked() {
    alone(|| {
        let pool = Pool::threads(2).expect("making a pool");
        for round in 0..60 {
            let many = pool
                .map_async::<refuse_odd>((0..8).map(|n| 2 * n + u64::from(n == round % 8)))
                .expect("it is open");
            while !many.is_ready() {}
            let failed = many.get();
            assert!(
                matches!(failed, Err(TaskError::Panicked(_))),
                "round {round}: {failed:?}"
            );
        }
    });
}
