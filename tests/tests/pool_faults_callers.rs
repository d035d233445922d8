//! Harm beside the tasks, in those who call: callbacks, wakers, inputs, and retries without end.

mod common_harm;
mod common_shm;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use common_harm::{FORMS, SAID, atomic, event, square, works};
use common_shm::LONG;
use mp::{Pool, TaskError};
use multiproc_tests::leaks::{alone, alone_in_the_end};
use multiproc_tests::processes::eventually;

#[mp::process_fn]
fn rest(long: Duration) {
    thread::sleep(long);
}

#[mp::process_fn]
fn abort() {
    std::process::abort();
}

// Callbacks.

/// Panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("{SAID}, again");
        }
    }
}

#[mp::test]
fn callbacks_that_panic_hurt_nobody() {
    alone_in_the_end(|| {
        for pool in [Pool::new(2), Pool::threads(2)] {
            let pool = pool.expect("making a pool");
            let (tell, told) = mpsc::channel();
            for n in 0..30 {
                let tell = tell.clone();
                let task = pool.submit::<square>(n).expect("submitting");
                task.on_done(move |result| {
                    tell.send(result.expect("it squares"))
                        .expect("somebody listens");
                    match n % 3 {
                        0 => panic!("{SAID}"),
                        1 => panic_any(Bomb),
                        _ => {}
                    }
                });
            }
            let all = pool.map_async::<square>(0..10).expect("submitting");
            let tell_all = tell.clone();
            all.on_done(move |result| {
                tell_all
                    .send(result.expect("it squares").iter().sum())
                    .expect("somebody listens");
                panic!("{SAID}");
            });
            let failed = pool.submit::<panics>(()).expect("submitting");
            let tell_failed = tell.clone();
            failed.on_done(move |result| {
                assert!(matches!(result, Err(TaskError::Panicked(_))), "{result:?}");
                tell_failed.send(1_000_000).expect("somebody listens");
                panic!("{SAID}");
            });
            let mut numbers: Vec<u64> = (0..32)
                .map(|_| told.recv_timeout(LONG).expect("all are called"))
                .collect();
            numbers.sort_unstable();
            let mut expected: Vec<u64> = (0..30).map(|n| n * n).chain([285, 1_000_000]).collect();
            expected.sort_unstable();
            assert_eq!(numbers, expected);
            works(&pool);
        }
    });
}

#[mp::process_fn]
fn panics() {
    panic!("{SAID}");
}

#[mp::process_fn]
fn panics_with_a_bomb() {
    panic_any(Bomb);
}

#[mp::test]
fn a_payload_that_panics_when_it_is_dropped_is_one_panic() {
    alone_in_the_end(|| {
        for pool in [Pool::new(1), Pool::threads(1)] {
            let pool = pool.expect("making a pool");
            for _ in 0..3 {
                let error = pool.apply::<panics_with_a_bomb>(()).expect_err("it panics");
                assert!(matches!(error, TaskError::Panicked(_)), "{error:?}");
            }
            works(&pool);
            assert_eq!(pool.stats().died, 0);
        }
    });
}

#[mp::test]
fn callbacks_may_use_the_pool_and_end_it() {
    alone_in_the_end(|| {
        let pool = Arc::new(Pool::new(2).expect("making a pool"));
        let (tell, told) = mpsc::channel();
        let (same, again) = (Arc::clone(&pool), tell.clone());
        let task = pool.submit::<square>(3).expect("submitting");
        task.on_done(move |nine| {
            let next = same
                .submit::<square>(nine.expect("it squares"))
                .expect("submitting");
            next.on_done(move |result| again.send(result).expect("somebody listens"));
        });
        assert_eq!(
            told.recv_timeout(LONG)
                .expect("it is called")
                .expect("it squares"),
            81
        );

        let (same, again) = (Arc::clone(&pool), tell.clone());
        let task = pool.submit::<square>(3).expect("submitting");
        task.on_done(move |_| {
            same.terminate();
            again
                .send(same.apply::<square>(1))
                .expect("somebody listens");
        });
        let refused = told.recv_timeout(LONG).expect("it is called");
        assert!(matches!(refused, Err(TaskError::Closed)), "{refused:?}");
        pool.join().expect("it is terminated");
    });
}

#[mp::test]
fn a_callback_may_drop_the_pool() {
    alone_in_the_end(|| {
        let pool = Pool::new(2).expect("making a pool");
        let (tell, told) = mpsc::channel();
        let task = pool.submit::<square>(3).expect("submitting");
        let slow = pool.submit::<rest>(LONG).expect("submitting");
        let pool = Mutex::new(Some(pool));
        task.on_done(move |_| {
            drop(pool.lock().expect("nobody panics").take());
            tell.send(()).expect("somebody listens");
        });
        told.recv_timeout(LONG).expect("the drop ends");
        let error = slow.get().expect_err("the pool is gone");
        assert!(matches!(error, TaskError::Cancelled), "{error:?}");
        assert!(mp::active_children().is_empty());
    });
}

#[mp::test]
fn a_callback_that_waits_holds_up_no_task() {
    alone_in_the_end(|| {
        let pool = Pool::new(2).expect("making a pool");
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let task = pool.submit::<square>(3).expect("submitting");
        task.on_done(move |_| {
            tell.send(()).expect("somebody listens");
            let _ = released.recv_timeout(LONG);
        });
        told.recv_timeout(LONG).expect("it is called");
        FORMS.iter().for_each(|form| form(&pool));
        assert!(matches!(
            pool.apply::<abort>(()),
            Err(TaskError::WorkerDied { .. })
        ));
        works(&pool);
        drop(release);
    });
}

/// Panics instead of waking.
struct BadWaker(AtomicU32);

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("{SAID}");
    }
}

#[mp::test]
fn a_waker_that_panics_hurts_nobody() {
    alone_in_the_end(|| {
        let pool = Pool::new(2).expect("making a pool");
        let bad = Arc::new(BadWaker(AtomicU32::new(0)));
        let go = event();
        let task = pool
            .submit::<square_when>((7, go.clone()))
            .expect("submitting");
        let mut task = pin!(task);
        let waker = Waker::from(Arc::clone(&bad));
        assert!(
            task.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        go.set();
        let woken = || (bad.0.load(Ordering::Relaxed) > 0).then_some(());
        assert!(eventually(woken).is_some());
        let poll = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let result = match poll {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => task.get(),
        };
        assert_eq!(result.expect("it squares"), 49);
        works(&pool);
    });
}

#[mp::process_fn]
fn square_when(n: u64, go: mp::Event) -> u64 {
    go.wait().expect("waiting");
    n * n
}

// Inputs.

#[mp::test]
fn an_input_that_panics_is_the_callers_panic_and_hurts_nobody() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let input = || (0..100).map(|n| if n == 60 { panic!("{SAID}") } else { n });
        let calls: [fn(&Pool, &mut dyn Iterator<Item = u64>); 4] = [
            |pool, input| drop(pool.map::<square>(input)),
            |pool, input| drop(pool.job::<square>().chunk_size(1).map(input)),
            |pool, input| pool.job::<square>().window(4).imap(input).for_each(drop),
            |pool, input| pool.imap_unordered::<square>(input).for_each(drop),
        ];
        for call in calls {
            let result = catch_unwind(AssertUnwindSafe(|| call(&pool, &mut input())));
            let payload = result.expect_err("the input panics");
            assert_eq!(
                payload.downcast_ref::<String>().map(|text| &**text),
                Some(SAID)
            );
            works(&pool);
        }
    });
}

#[mp::test]
fn an_input_may_use_the_pool() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let input = || (0..50).map(|n| pool.apply::<square>(n).expect("it works"));
        let fourth = || (0..50).map(|n| n * n * n * n);
        assert!(
            pool.map::<square>(input())
                .expect("it works")
                .into_iter()
                .eq(fourth())
        );
        assert!(
            pool.imap::<square>(input())
                .map(|r| r.expect("it works"))
                .eq(fourth())
        );
    });
}

// Crashes without end.

#[mp::process_fn]
fn count_and_abort(starts: mp::Atomic<u64>, later: Duration) {
    starts.fetch_add(1, Ordering::Relaxed);
    thread::sleep(later);
    std::process::abort();
}

#[mp::test]
fn a_task_that_always_aborts_is_tried_as_often_as_is_asked_for() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let starts = atomic();
        let bad = pool
            .job::<count_and_abort>()
            .retries(30)
            .submit((starts.clone(), Duration::ZERO));
        let bad = bad.expect("submitting");
        FORMS.iter().for_each(|form| form(&pool));
        let error = bad.get().expect_err("it aborts");
        assert!(
            matches!(error, TaskError::WorkerDied { attempt: 30, .. }),
            "{error:?}"
        );
        assert_eq!(starts.load(Ordering::Relaxed), 31);
        let stats = pool.stats();
        assert_eq!(
            (stats.retried, stats.died, stats.failed),
            (30, 31, 1),
            "{stats:?}"
        );
        works(&pool);
    });
}

#[mp::test]
fn a_task_that_is_tried_again_and_again_can_be_cancelled_and_terminated() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        for end_of_the_pool in [false, true] {
            let starts = atomic();
            let bad = pool
                .job::<count_and_abort>()
                .retries(255)
                .submit((starts.clone(), Duration::from_millis(20)));
            let bad = bad.expect("submitting");
            let tried = || (starts.load(Ordering::Relaxed) > 3).then_some(());
            assert!(eventually(tried).is_some());
            if end_of_the_pool {
                pool.terminate();
            } else {
                assert!(bad.cancel());
            }
            let error = bad.get().expect_err("it aborts");
            assert!(matches!(error, TaskError::Cancelled), "{error:?}");
            if !end_of_the_pool {
                works(&pool);
            }
        }
        pool.join().expect("it is terminated");
    });
}

#[mp::test]
fn a_map_of_which_each_task_aborts_delivers_all_errors() {
    alone(|| {
        let pool = Pool::new(3).expect("making a pool");
        let starts = atomic();
        let items = (0..60).map(|_| (starts.clone(), Duration::ZERO));
        let errors: Vec<_> = pool
            .imap::<count_and_abort>(items)
            .filter_map(Result::err)
            .collect();
        let mut pids = std::collections::HashSet::new();
        for (n, error) in (0..).zip(&errors) {
            let TaskError::WorkerDied {
                index,
                pid,
                attempt: 0,
                ..
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!(*index, n);
            assert!(pids.insert(*pid), "{pid} died twice");
        }
        assert_eq!((errors.len(), starts.load(Ordering::Relaxed)), (60, 60));
        works(&pool);
    });
}
