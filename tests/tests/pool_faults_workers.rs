//! Harm beside the tasks, in workers: while they are idle, in initializers, in exit hooks.

mod common_harm;
mod common_shm;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common_harm::{DEADLY, FORMS, How, SAID, atomic, event, square, works};
use common_shm::LONG;
use mp::{Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{Watched, eventually};
use rustix::process::{Signal, kill_current_process_group};

// Idle workers.

/// Leaves a thread behind that does harm when it is told to.
#[mp::process_fn]
fn harm_later(how: How, now: mp::Event) -> u32 {
    thread::spawn(move || {
        now.wait().expect("waiting");
        how.strike();
    });
    std::process::id()
}

/// Lets one worker, or both, die while nothing is to be done.
fn idle(how: How) {
    for both in [false, true] {
        let pool = Pool::new(2).expect("making a pool");
        for form in FORMS {
            let now = event();
            let first = pool.apply::<harm_later>((how, now.clone()));
            let first = first.expect("it comes later");
            let mut victims = vec![Watched::new(first)];
            while both && victims.len() < 2 {
                let tasks = [(); 4].map(|()| pool.submit::<harm_later>((how, now.clone())));
                for task in tasks {
                    let pid = task.expect("submitting").get().expect("it comes later");
                    if pid != first && victims.len() < 2 {
                        victims.push(Watched::new(pid));
                    }
                }
            }
            now.set();
            victims.iter().for_each(Watched::ends);
            form(&pool);
        }
        works(&pool);
        let died = || (pool.stats().died >= FORMS.len() as u64).then_some(());
        assert!(eventually(died).is_some(), "{:?}", pool.stats());
    }
}

/// Does not wait for the death: it may hit what is called next, which is tried again.
fn nearly_idle(how: How) {
    let pool = Pool::builder().workers(2).retries(100).build();
    let pool = pool.expect("making a pool");
    for _ in 0..5 {
        for form in FORMS {
            let now = event();
            let task = pool.apply::<harm_later>((how, now.clone()));
            task.expect("it comes later");
            now.set();
            form(&pool);
        }
    }
    works(&pool);
}

macro_rules! idle {
    ($($name:ident = $how:expr),+ $(,)?) => {
        mod idle {
            use super::*;
            $(
                #[mp::test]
                fn $name() {
                    alone(|| {
                        super::idle($how);
                        // Without memory, the next task of the same process goes wrong, too.
                        if $how != How::Memory {
                            nearly_idle($how);
                        }
                    });
                }
            )+
        }
    };
}

idle! {
    exit_0 = How::Exit(0),
    exit_7 = How::Exit(7),
    abort = How::Abort,
    kill = How::Kill,
    fault = How::Fault,
    overflow = How::Overflow,
    memory = How::Memory,
}

#[mp::test]
fn a_panic_in_a_thread_that_a_task_left_behind_hurts_nobody() {
    alone(|| {
        let pool = Pool::new(1).expect("making a pool");
        let now = event();
        let pid = pool
            .apply::<harm_later>((How::Panic, now.clone()))
            .expect("it comes later");
        now.set();
        FORMS.iter().for_each(|form| form(&pool));
        let again = pool
            .apply::<harm_later>((How::Error, now))
            .expect("it does nothing");
        assert_eq!(again, pid);
        assert_eq!(pool.stats().died, 0);
    });
}

/// Kills all of its process group.
#[mp::process_fn]
fn kill_group() {
    kill_current_process_group(Signal::KILL).expect("a process may kill itself");
}

#[mp::test]
fn a_task_that_kills_its_process_group_kills_its_worker_alone() {
    alone(|| {
        let pool = Pool::new(2).expect("making a pool");
        let error = pool.apply::<kill_group>(()).expect_err("it kills itself");
        assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}");
        works(&pool);
        assert_eq!(pool.stats().died, 1);
    });
}

// Initializers and exit hooks.

/// Goes well a number of times, then not any more.
#[mp::process_fn]
fn initialize(how: How, starts: mp::Atomic<u64>, good: u64) -> Result<(), mp::RemoteError> {
    if starts.fetch_add(1, Ordering::Relaxed) < good {
        return Ok(());
    }
    Err(mp::RemoteError::msg(how.strike()))
}

/// The cause says what happened.
#[track_caller]
fn check_cause(how: How, cause: &str) {
    let said = match how {
        How::Error | How::Panic => SAID,
        How::Exit(0) => "0",
        How::Exit(_) => "7",
        How::Kill => "9",
        How::Fault => "11",
        How::Abort | How::Overflow | How::Memory => "6",
    };
    assert!(cause.contains(said), "{how:?}: {cause}");
}

/// An initializer that never goes well.
fn bad_from_the_beginning(how: How) {
    let starts = atomic();
    let builder = Pool::builder().workers(3);
    match builder
        .initializer::<initialize>((how, starts.clone(), 0))
        .build()
    {
        Err(mp::Error::PoolBroken { cause, .. }) => check_cause(how, &cause),
        other => panic!("{how:?}: {other:?}"),
    }
    let starts = starts.load(Ordering::Relaxed);
    assert!(starts <= 30, "{starts} starts");
}

/// An initializer that fails in the workers that replace others.
fn bad_later(how: How) {
    let starts = atomic();
    let pool = Pool::builder()
        .workers(2)
        .initializer::<initialize>((how, starts.clone(), 2))
        .build()
        .expect("it goes well twice");
    works(&pool);
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            pool.submit::<rest>(Duration::from_millis(20))
                .expect("submitting")
        })
        .collect();
    let slow = pool.imap::<rest>(std::iter::repeat(Duration::from_millis(20)));
    let (mut deaths, mut refused) = (0, 0);
    // Dead are they who begin it, the others hear that all is over.
    for _ in 0..3 {
        match pool.apply::<abort>(()) {
            Err(TaskError::WorkerDied { .. }) => deaths += 1,
            Err(TaskError::Broken { cause, .. }) => {
                check_cause(how, &cause);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(deaths >= 1 && deaths + refused == 3, "{deaths} {refused}");
    // All that waits comes to an end.
    let broken = slow.filter_map(Result::err).next().expect("it is infinite");
    assert!(
        matches!(
            broken,
            TaskError::Broken { .. } | TaskError::WorkerDied { .. }
        ),
        "{broken:?}"
    );
    for task in waiting {
        match task.get() {
            Ok(()) | Err(TaskError::Broken { .. } | TaskError::WorkerDied { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let until_broken = || match pool.apply::<square>(3) {
        Ok(nine) => {
            assert_eq!(nine, 9);
            None
        }
        Err(error) => Some(error),
    };
    match eventually(until_broken) {
        Some(TaskError::Broken { cause, .. }) => check_cause(how, &cause),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        pool.map::<square>(0..9),
        Err(TaskError::Broken { .. })
    ));
    let starts = starts.load(Ordering::Relaxed);
    assert!(starts <= 30, "{starts} starts");
    pool.terminate();
    pool.join().expect("it is terminated");
}

#[mp::process_fn]
fn rest(long: Duration) {
    thread::sleep(long);
}

#[mp::process_fn]
fn abort() {
    std::process::abort();
}

macro_rules! initializer {
    ($($name:ident = $how:expr),+ $(,)?) => {
        mod initializer {
            use super::*;
            $(
                #[mp::test]
                fn $name() {
                    alone(|| {
                        bad_from_the_beginning($how);
                        bad_later($how);
                    });
                }
            )+
        }
    };
}

initializer! {
    error = How::Error,
    panic = How::Panic,
    exit_0 = How::Exit(0),
    exit_7 = How::Exit(7),
    abort = How::Abort,
    kill = How::Kill,
    fault = How::Fault,
    overflow = How::Overflow,
    memory = How::Memory,
}

#[mp::test]
fn an_initializer_that_fails_in_some_workers_only_lets_nothing_hang() {
    alone(|| {
        for good in 1..4 {
            let starts = atomic();
            let builder = Pool::builder().workers(4);
            match builder
                .initializer::<initialize>((How::Panic, starts, good))
                .build()
            {
                Err(mp::Error::PoolBroken { cause, .. }) => check_cause(How::Panic, &cause),
                Err(error) => panic!("{error}"),
                Ok(pool) => {
                    let broken = || pool.apply::<square>(3).err();
                    let error = eventually(broken).expect("it is broken soon");
                    assert!(matches!(error, TaskError::Broken { .. }), "{error}");
                }
            }
        }
    });
}

/// Sleeps for ever if there is no manner.
#[mp::process_fn]
fn leave(how: Option<How>, left: mp::Atomic<u64>) {
    left.fetch_add(1, Ordering::Relaxed);
    let Some(how) = how else {
        loop {
            thread::park();
        }
    };
    how.strike();
}

#[mp::test]
fn an_exit_hook_that_does_harm_ends_its_worker_and_nothing_else() {
    alone(|| {
        for how in DEADLY.into_iter().chain([How::Panic]) {
            let left = atomic();
            let builder = Pool::builder().workers(2).max_tasks_per_worker(5);
            let pool = builder
                .exit_hook::<leave>((Some(how), left.clone()))
                .build();
            let pool = pool.expect("making a pool");
            works(&pool);
            pool.close();
            pool.join().expect("it is closed");
            let left = left.load(Ordering::Relaxed);
            assert!(
                left >= 20,
                "{how:?}: {left} workers left of their own accord"
            );
        }
    });
}

#[mp::test]
fn an_exit_hook_that_never_ends_does_not_hold_up_the_end_of_the_pool() {
    alone(|| {
        let left = atomic();
        let builder = Pool::builder().workers(2);
        let pool = builder.exit_hook::<leave>((None, left.clone())).build();
        let pool = pool.expect("making a pool");
        works(&pool);
        pool.close();
        let begun = || (left.load(Ordering::Relaxed) == 2).then_some(());
        assert!(eventually(begun).is_some(), "the hooks run");
        assert!(
            !pool
                .join_timeout(Duration::from_millis(100))
                .expect("it is closed")
        );
        pool.terminate();
        assert!(pool.join_timeout(LONG).expect("it is terminated"));
    });
}
