//! Tasks: waiting for them, awaiting them, giving them up, and what they know of themselves.

use std::slice;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use mp::{Atomic, Event, Task, TaskError};
use multiproc_tests::engines;
use multiproc_tests::pools::{
    Engine, MOMENT, all, begin, count, counted, counter, events, hold, meet, no_tenths, soon,
    square, until_cancelled,
};
use multiproc_tests::watchdog::LIMIT;
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::SignalKind;

engines! {
    a_result_can_be_taken_again_and_again,
    a_task_can_be_waited_for_by_many_threads,
    a_wait_may_end_before_the_task,
    a_task_can_be_asked_whether_it_is_ready,
    a_dropped_task_runs_on,
    results_outlive_their_pool,
    tasks_of_a_pool_that_is_gone_are_cancelled,
    a_task_that_has_not_begun_never_runs_when_cancelled,
    a_running_task_is_told_that_it_is_cancelled,
    a_cancelled_map_runs_no_more_items,
    a_task_that_has_ended_cannot_be_cancelled,
    nobody_is_cancelled_by_mistake,
    tasks_know_what_they_are,
    tasks_that_run_late_are_ended,
    signals_do_not_disturb;
    processes: a_cancelled_task_that_does_not_care_is_killed, attempts_are_counted
}

fn assert_send_sync<T: Send + Sync>(_: &T) {}

fn a_result_can_be_taken_again_and_again(engine: Engine) {
    let pool = engine.pool(1);
    let task = pool.submit::<square>(9).expect("submit");
    for _ in 0..3 {
        assert_eq!(task.get().expect("get"), 81);
        assert_eq!(task.get_timeout(Duration::ZERO).expect("get_timeout"), 81);
    }
    let failed = pool.submit::<no_tenths>(3).expect("submit");
    for _ in 0..3 {
        assert!(
            matches!(failed.get(), Err(TaskError::Panicked(panic)) if panic.message() == "3 is not wanted")
        );
    }
    let many = pool.map_async::<square>(0..3).expect("map_async");
    assert_eq!(many.get().expect("get"), many.get().expect("get"));
}

fn a_task_can_be_waited_for_by_many_threads(engine: Engine) {
    let pool = engine.pool(1);
    let (task, go) = begin(&pool, 7);
    assert_send_sync(&task);
    thread::scope(|scope| {
        let waiters = [(); 4].map(|()| scope.spawn(|| task.get().expect("get")));
        go.set();
        assert_eq!(
            waiters.map(|waiter| waiter.join().expect("it waits")),
            [7; 4]
        );
    });
}

fn a_wait_may_end_before_the_task(engine: Engine) {
    let pool = engine.pool(1);
    let (task, go) = begin(&pool, 7);
    let begin = Instant::now();
    assert!(matches!(task.get_timeout(MOMENT), Err(TaskError::NotReady)));
    assert!(begin.elapsed() >= MOMENT);
    assert!(matches!(
        task.get_timeout(Duration::ZERO),
        Err(TaskError::NotReady)
    ));
    go.set();
    assert_eq!(task.get_timeout(Duration::MAX).expect("it goes on"), 7);
}

fn a_task_can_be_asked_whether_it_is_ready(engine: Engine) {
    let pool = engine.pool(1);
    let (task, go) = begin(&pool, 7);
    let next = pool.submit::<square>(2).expect("submit");
    assert!(!task.is_ready());
    assert!(!next.is_ready());
    go.set();
    soon("the task is ready", || task.is_ready());
    next.get().expect("get");
    assert!(task.is_ready() && next.is_ready());
}

fn a_dropped_task_runs_on(engine: Engine) {
    let pool = engine.pool(1);
    let (task, go) = begin(&pool, 7);
    let calls = counter();
    drop(pool.submit::<count>(calls.clone()).expect("submit"));
    drop(
        pool.map_async::<count>(vec![calls.clone(); 50])
            .expect("map_async"),
    );
    drop(task);
    go.set();
    pool.close();
    pool.join().expect("joining");
    assert_eq!(counted(&calls), 51);
}

fn results_outlive_their_pool(engine: Engine) {
    let pool = engine.pool(2);
    let task = pool.submit::<square>(9).expect("submit");
    let many = pool.map_async::<square>(0..100).expect("map_async");
    task.get().expect("get");
    many.get().expect("get");
    drop(pool);
    assert_eq!(task.get().expect("get"), 81);
    assert_eq!(many.get().expect("get")[99], 99 * 99);
    assert_eq!(block_on(task).expect("await"), 81);
}

fn tasks_of_a_pool_that_is_gone_are_cancelled(engine: Engine) {
    let pool = engine.pool(1);
    let (begun, seen) = events();
    let running = pool
        .submit::<until_cancelled>((begun.clone(), seen))
        .expect("submit");
    begun.wait().expect("waiting");
    let waiting = pool.submit::<square>(2).expect("submit");
    let many = pool.map_async::<square>(0..100).expect("map_async");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| waiting.get());
        drop(pool);
        assert!(matches!(
            waiter.join().expect("it waits"),
            Err(TaskError::Cancelled)
        ));
    });
    assert!(matches!(running.get(), Err(TaskError::Cancelled)));
    assert!(matches!(many.get(), Err(TaskError::Cancelled)));
    assert!(waiting.is_ready());
    assert!(!waiting.cancel());
}

fn a_task_that_has_not_begun_never_runs_when_cancelled(engine: Engine) {
    let pool = engine.pool(1);
    let (held, go) = begin(&pool, 7);
    let calls = counter();
    let tasks: Vec<_> = (0..20)
        .map(|_| pool.submit::<count>(calls.clone()).expect("submit"))
        .collect();
    let many = pool
        .map_async::<count>(vec![calls.clone(); 20])
        .expect("map_async");
    assert!(tasks.iter().step_by(2).all(Task::cancel));
    assert!(many.cancel());
    // They are cancelled at once, not when their turn comes.
    assert!(
        tasks
            .iter()
            .step_by(2)
            .all(|task| matches!(task.get(), Err(TaskError::Cancelled)))
    );
    assert!(matches!(many.get(), Err(TaskError::Cancelled)));
    go.set();
    assert_eq!(held.get().expect("get"), 7);
    all(tasks.iter().skip(1).step_by(2).map(|task| task.get()));
    pool.close();
    pool.join().expect("joining");
    assert_eq!(counted(&calls), 10);
}

/// Holds a value whose destructor tells of its end.
#[mp::process_fn]
fn work_with_destructor(begun: Event, dropped: Event) -> u32 {
    struct Guard(Event);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set();
        }
    }
    let _guard = Guard(dropped);
    begun.set();
    while !mp::cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

fn a_running_task_is_told_that_it_is_cancelled(engine: Engine) {
    let pool = engine
        .builder(1)
        .cancel_grace(LIMIT)
        .build()
        .expect("making a pool");
    let meeting = || mp::Barrier::new(1).expect("making a barrier");
    let worker = pool.apply::<meet>(meeting()).expect("apply");
    for _ in 0..3 {
        let (begun, dropped) = events();
        let task = pool
            .submit::<work_with_destructor>((begun.clone(), dropped.clone()))
            .expect("submit");
        begun.wait().expect("waiting");
        assert!(task.cancel());
        dropped.wait().expect("waiting");
        // It was not killed, and what it has to say is heard.
        assert_eq!(task.get().expect("it ends in time"), worker);
        assert!(!task.cancel());
        assert_eq!(pool.apply::<meet>(meeting()).expect("apply"), worker);
    }
    assert_eq!(pool.stats().died, 0);
}

#[mp::process_fn]
fn ignore_everything(begun: Event) {
    begun.set();
    loop {
        thread::park();
    }
}

fn a_cancelled_task_that_does_not_care_is_killed(engine: Engine) {
    let pool = engine
        .builder(2)
        .cancel_grace(MOMENT)
        .build()
        .expect("making a pool");
    let (neighbour, go) = begin(&pool, 7);
    for _ in 0..3 {
        let (begun, _) = events();
        let task = pool
            .submit::<ignore_everything>(begun.clone())
            .expect("submit");
        begun.wait().expect("waiting");
        assert!(task.cancel());
        assert!(matches!(task.get(), Err(TaskError::Cancelled)));
        // Its worker is the only one that can do this.
        assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
    }
    assert!(!neighbour.is_ready());
    go.set();
    assert_eq!(neighbour.get().expect("get"), 7);
    assert_eq!(pool.stats().died, 0, "they were told to");
}

fn a_cancelled_map_runs_no_more_items(engine: Engine) {
    let pool = engine.pool(2);
    let (begun, go) = events();
    let calls = counter();
    let items = (0..1000).map(|_| (begun.clone(), go.clone(), calls.clone()));
    let task = pool
        .job::<begin_and_count>()
        .chunk_size(1)
        .map_async(items)
        .expect("map_async");
    begun.wait().expect("waiting");
    assert!(task.cancel());
    // From now on, nothing begins.
    let ran = counted(&calls);
    assert!(matches!(task.get(), Err(TaskError::Cancelled)));
    go.set();
    pool.close();
    pool.join().expect("joining");
    assert!(
        counted(&calls) <= ran + 2,
        "{} items ran, and {ran} when they were cancelled",
        counted(&calls)
    );
    assert!(ran < 500, "{ran} items ran");
}

#[mp::process_fn]
fn begin_and_count(begun: Event, go: Event, calls: Atomic<u64>) {
    calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    begun.set();
    while !mp::cancelled() && !go.is_set() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn a_task_that_has_ended_cannot_be_cancelled(engine: Engine) {
    let pool = engine.pool(1);
    let task = pool.submit::<square>(9).expect("submit");
    task.get().expect("get");
    assert!(!task.cancel());
    assert_eq!(task.get().expect("get"), 81);
    let failed = pool.submit::<no_tenths>(3).expect("submit");
    failed.get().expect_err("it panics");
    assert!(!failed.cancel());
    assert!(matches!(failed.get(), Err(TaskError::Panicked(_))));
    let many = pool.map_async::<square>(0..3).expect("map_async");
    many.get().expect("get");
    assert!(!many.cancel());
    assert_eq!(many.get().expect("get"), [0, 1, 4]);
}

#[mp::process_fn]
fn is_cancelled() -> bool {
    mp::cancelled()
}

fn nobody_is_cancelled_by_mistake(engine: Engine) {
    let pool = engine
        .builder(2)
        .cancel_grace(LIMIT)
        .build()
        .expect("making a pool");
    assert!(!mp::cancelled());
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let (begun, seen) = events();
        let task = pool
            .submit::<until_cancelled>((begun.clone(), seen))
            .expect("submit");
        begun.wait().expect("waiting");
        assert!(task.cancel());
        assert!(!mp::cancelled());
        tasks.push(task);
        let answers = pool
            .job::<is_cancelled>()
            .chunk_size(1)
            .map([(); 20])
            .expect("map");
        assert_eq!(answers, [false; 20]);
    }
    all(tasks.iter().map(|task| task.get()));
}

#[mp::process_fn]
fn who_am_i(n: u64) -> (u64, usize, u64, u32) {
    let task = mp::current_task().expect("this is a task");
    (n, task.worker, task.index, task.attempt)
}

fn tasks_know_what_they_are(engine: Engine) {
    assert!(mp::current_task().is_none());
    let pool = engine.pool(3);
    let who = pool.map::<who_am_i>(0..200).expect("map");
    assert!(
        who.iter()
            .all(|&(n, worker, index, attempt)| index == n && worker < 3 && attempt == 0),
        "{who:?}"
    );
    let who = all(pool.imap_unordered::<who_am_i>(0..200));
    assert!(
        who.iter()
            .all(|&(n, worker, index, attempt)| index == n && worker < 3 && attempt == 0),
        "{who:?}"
    );
    let (n, _, index, attempt) = pool.apply::<who_am_i>(7).expect("apply");
    assert_eq!((n, index, attempt), (7, 0, 0));
    // Those that run at the same time have different workers.
    let barrier = mp::Barrier::new(3).expect("making a barrier");
    let mut workers = pool.map::<meet_as_worker>(vec![barrier; 3]).expect("map");
    workers.sort_unstable();
    assert_eq!(workers, [0, 1, 2]);
    assert!(mp::current_task().is_none());
}

#[mp::process_fn]
fn meet_as_worker(barrier: mp::Barrier) -> usize {
    barrier.wait().expect("nobody breaks it");
    mp::current_task().expect("this is a task").worker
}

#[mp::process_fn]
fn die_at_first(n: u64) -> (u64, u32) {
    let task = mp::current_task().expect("this is a task");
    if n % 2 == 1 && task.attempt < 2 {
        std::process::abort();
    }
    (task.index, task.attempt)
}

fn attempts_are_counted(engine: Engine) {
    let pool = engine.pool(2);
    let results = pool
        .job::<die_at_first>()
        .retries(2)
        .map(0..8)
        .expect("map");
    let expected: Vec<_> = (0..8)
        .map(|n| (n, if n % 2 == 1 { 2 } else { 0 }))
        .collect();
    assert_eq!(results, expected);
    let stats = pool.stats();
    assert_eq!((stats.retried, stats.died), (8, 8));
    match pool.job::<die_at_first>().retries(1).apply(1) {
        Err(TaskError::WorkerDied {
            attempt: 1,
            index: 0,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

fn tasks_that_run_late_are_ended(engine: Engine) {
    const LATE: Duration = Duration::from_secs(1);
    let pool = engine
        .builder(2)
        .task_timeout(LATE)
        .build()
        .expect("making a pool");
    let (begun, go) = events();
    let (_, set) = events();
    set.set();
    let items = (0..10).map(|n| {
        (
            begun.clone(),
            if n == 4 { go.clone() } else { set.clone() },
            n,
        )
    });
    let results: Vec<_> = pool.imap::<hold>(items).collect();
    for (n, result) in (0..).zip(&results) {
        match result {
            Ok(value) => assert_eq!((*value, n != 4), (n, true)),
            Err(TaskError::TimedOut {
                after,
                index,
                attempt: 0,
                function,
                ..
            }) => {
                assert_eq!((*after, *index, n), (LATE, 4, 4));
                assert!(function.contains("hold"), "{function}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(results.len(), 10);
    // With threads, the late one is still there.
    go.set();
    // The option of a job is stronger than that of its pool.
    let held = pool
        .job::<hold>()
        .timeout(LIMIT)
        .submit((begun.clone(), set.clone(), 7))
        .expect("submit");
    assert_eq!(held.get().expect("get"), 7);
    assert_eq!(pool.stats().died, 0, "they were told to");
}

fn signals_do_not_disturb(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("making a runtime");
    let entered = runtime.enter();
    let _handler =
        tokio::signal::unix::signal(SignalKind::user_defined1()).expect("handling a signal");
    drop(entered);
    let pool = engine.pool(2);
    let (sender, done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while done.recv_timeout(Duration::from_micros(300)) == Err(RecvTimeoutError::Timeout) {
                kill_process(getpid(), Signal::USR1).expect("sending a signal to this process");
            }
        });
        for n in 0..20 {
            let (task, go) = begin(&pool, n);
            assert!(matches!(
                task.get_timeout(Duration::from_millis(5)),
                Err(TaskError::NotReady)
            ));
            assert_eq!(
                mp::wait_any(slice::from_ref(&task), Duration::from_millis(5)),
                None
            );
            go.set();
            assert_eq!(task.get().expect("get"), n);
            assert_eq!(pool.map::<square>(0..200).expect("map")[199], 199 * 199);
            assert_eq!(all(pool.imap_unordered::<square>(0..200)).len(), 200);
        }
        pool.close();
        pool.join().expect("joining");
        drop(sender);
    });
}
