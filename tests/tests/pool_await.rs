//! Being told of the end of tasks: by `await`, by callbacks, one of several, and in the order of their ends.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::{Either, join_all, select};
use mp::{Event, Pool, Task, TaskError};
use multiproc_tests::engines;
use multiproc_tests::pools::{
    Engine, MOMENT, all, begin, count, counted, counter, no_tenths, soon, square,
};
use multiproc_tests::watchdog::LIMIT;

engines! {
    tasks_can_be_awaited_on_tokio,
    tasks_can_be_awaited_anywhere,
    a_thousand_tasks_can_be_awaited_at_once,
    a_future_that_is_dropped_detaches_its_task,
    an_awaited_task_that_fails_gives_its_error,
    callbacks_get_what_tasks_give,
    callbacks_are_called_for_tasks_that_have_ended,
    callbacks_are_called_for_tasks_that_are_given_up,
    a_callback_that_panics_hurts_nobody,
    callbacks_may_use_the_pool,
    a_callback_may_be_the_end_of_the_pool,
    completed_tasks_come_in_their_order,
    all_completed_tasks_come_once,
    one_of_several_can_be_waited_for
}

/// Runs a future on a runtime of one thread.
fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .build()
        .expect("making a runtime")
        .block_on(future)
}

fn tasks_can_be_awaited_on_tokio(engine: Engine) {
    let pool = engine.pool(2);
    on_tokio(async {
        let (first, go) = begin(&pool, 1);
        let second = pool.submit::<square>(2).expect("submit");
        // The first one ends only if waiting for it does not block the others.
        let set = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            go.set();
        };
        let (first, second, ()) = tokio::join!(first, second, set);
        assert_eq!((first.expect("await"), second.expect("await")), (1, 4));
        let many = pool.map_async::<square>(0..100).expect("map_async");
        assert_eq!(many.await.expect("await")[99], 99 * 99);
    });
}

fn tasks_can_be_awaited_anywhere(engine: Engine) {
    let pool = engine.pool(2);
    let (held, go) = begin(&pool, 1);
    let other = pool.submit::<square>(2).expect("submit");
    match block_on(select(held, other)) {
        Either::Right((value, held)) => {
            assert_eq!(value.expect("await"), 4);
            go.set();
            assert_eq!(block_on(held).expect("await"), 1);
        }
        Either::Left((value, _)) => panic!("it was held: {value:?}"),
    }
    let ready = pool.submit::<square>(3).expect("submit");
    ready.get().expect("get");
    assert_eq!(block_on(ready).expect("await"), 9);
    // On other threads, and between them.
    let task = pool.submit::<square>(4).expect("submit");
    let waited = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let value = waited
        .expect("making a runtime")
        .block_on(async move { tokio::spawn(task).await });
    assert_eq!(value.expect("it ends").expect("await"), 16);
}

fn a_thousand_tasks_can_be_awaited_at_once(engine: Engine) {
    let pool = engine.pool(2);
    let tasks = || (0..1000).map(|n| pool.submit::<square>(n).expect("submit"));
    let squares: Vec<_> = (0..1000).map(|n| n * n).collect();
    assert_eq!(all(block_on(join_all(tasks()))), squares);
    assert_eq!(all(on_tokio(async { join_all(tasks()).await })), squares);
}

fn a_future_that_is_dropped_detaches_its_task(engine: Engine) {
    let pool = engine.pool(1);
    let (task, go) = begin(&pool, 7);
    let calls = counter();
    let counting = pool.submit::<count>(calls.clone()).expect("submit");
    on_tokio(async {
        let both = async { (task.await, counting.await) };
        assert!(tokio::time::timeout(MOMENT, both).await.is_err());
    });
    go.set();
    pool.close();
    pool.join().expect("joining");
    assert_eq!(counted(&calls), 1);
}

fn an_awaited_task_that_fails_gives_its_error(engine: Engine) {
    let pool = engine.pool(1);
    let failed = block_on(pool.submit::<no_tenths>(3).expect("submit"));
    assert!(
        matches!(failed, Err(TaskError::Panicked(panic)) if panic.message() == "3 is not wanted")
    );
    let (held, go) = begin(&pool, 1);
    let cancelled = pool.submit::<square>(2).expect("submit");
    thread::scope(|scope| {
        let awaiting = scope.spawn(|| block_on(held));
        assert!(cancelled.cancel());
        assert!(matches!(block_on(cancelled), Err(TaskError::Cancelled)));
        go.set();
        assert_eq!(awaiting.join().expect("it waits").expect("await"), 1);
    });
}

fn callbacks_get_what_tasks_give(engine: Engine) {
    let pool = engine.pool(2);
    let (sender, results) = mpsc::channel();
    for n in 0..100 {
        let task = pool.submit::<no_tenths>(n).expect("submit");
        let sender = sender.clone();
        task.on_done(move |result| sender.send((n, result)).expect("somebody listens"));
    }
    let many = pool.map_async::<square>(0..3).expect("map_async");
    let (sender, squares) = mpsc::channel();
    many.on_done(move |result| sender.send(result).expect("somebody listens"));
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let (n, result) = results.recv_timeout(LIMIT).expect("each is called");
        match result {
            Ok(value) => assert_eq!((value, n % 10 != 3), (n, true)),
            Err(TaskError::Panicked(panic)) => {
                assert_eq!(panic.message(), format!("{n} is not wanted"))
            }
            Err(other) => panic!("{other:?}"),
        }
        assert!(seen.insert(n));
    }
    assert_eq!(
        squares
            .recv_timeout(LIMIT)
            .expect("it is called")
            .expect("map_async"),
        [0, 1, 4]
    );
    assert!(results.try_recv().is_err());
}

fn callbacks_are_called_for_tasks_that_have_ended(engine: Engine) {
    let pool = engine.pool(1);
    let task = pool.submit::<square>(9).expect("submit");
    task.get().expect("get");
    let (sender, values) = mpsc::channel();
    // Each of them, and not here.
    for _ in 0..3 {
        let (sender, here) = (sender.clone(), thread::current().id());
        task.on_done(move |value| {
            sender
                .send((value, thread::current().id() == here))
                .expect("somebody listens")
        });
    }
    for _ in 0..3 {
        let (value, here) = values.recv_timeout(LIMIT).expect("it is called");
        assert_eq!((value.expect("the value"), here), (81, false));
    }
}

fn callbacks_are_called_for_tasks_that_are_given_up(engine: Engine) {
    let pool = engine.pool(1);
    let (held, go) = begin(&pool, 7);
    let (sender, results) = mpsc::channel();
    let submit = || {
        let (task, sender) = (pool.submit::<square>(2).expect("submit"), sender.clone());
        task.on_done(move |result| sender.send(result).expect("somebody listens"));
        task
    };
    assert!(submit().cancel());
    assert!(matches!(
        results.recv_timeout(LIMIT),
        Ok(Err(TaskError::Cancelled))
    ));
    // Dropping its handle is not giving it up.
    drop(submit());
    go.set();
    assert!(matches!(results.recv_timeout(LIMIT), Ok(Ok(4))));
    held.get().expect("get");
    let (_held, go) = begin(&pool, 7);
    drop(submit());
    pool.terminate();
    assert!(matches!(
        results.recv_timeout(LIMIT),
        Ok(Err(TaskError::Cancelled))
    ));
    go.set();
}

fn a_callback_that_panics_hurts_nobody(engine: Engine) {
    let pool = engine.pool(1);
    let (sender, called) = mpsc::channel();
    for n in 0..20 {
        let task = pool.submit::<square>(n).expect("submit");
        task.on_done(|_| panic!("on purpose"));
        let sender = sender.clone();
        task.on_done(move |result| sender.send(result).expect("somebody listens"));
        assert_eq!(task.get().expect("get"), n * n);
    }
    let values = (0..20).map(|_| called.recv_timeout(LIMIT).expect("each is called"));
    assert_eq!(all(values).len(), 20);
    assert_eq!(
        pool.map::<square>(0..3).expect("the pool lives on"),
        [0, 1, 4]
    );
    pool.close();
    pool.join().expect("joining");
}

fn callbacks_may_use_the_pool(engine: Engine) {
    let pool = Arc::new(engine.pool(1));
    let (sender, values) = mpsc::channel();
    let task = pool.submit::<square>(2).expect("submit");
    let inner = Arc::clone(&pool);
    task.on_done(move |four| {
        let sixteen = inner
            .apply::<square>(four.expect("the value"))
            .expect("apply");
        let more = inner.map::<square>([sixteen, 3]).expect("map");
        let last = inner.submit::<square>(more[1]).expect("submit");
        let end = sender.clone();
        last.on_done(move |value| {
            end.send(value.expect("the value"))
                .expect("somebody listens")
        });
        sender.send(more[0]).expect("somebody listens");
    });
    let mut got = [(); 2].map(|()| values.recv_timeout(LIMIT).expect("it is called"));
    got.sort_unstable();
    assert_eq!(got, [81, 256]);
    soon("the callback has ended", || Arc::strong_count(&pool) == 1);
}

fn a_callback_may_be_the_end_of_the_pool(engine: Engine) {
    // What is made once, a fork server say.
    drop(engine.pool(1));
    let before = mp::arena_stats().expect("looking");
    for _ in 0..5 {
        let pool = Arc::new(engine.pool(2));
        let (task, go) = begin(&pool, 7);
        let (sender, ended) = mpsc::channel();
        task.on_done(move |value| {
            drop(pool);
            sender
                .send(value.expect("the value"))
                .expect("somebody listens");
        });
        drop(task);
        go.set();
        assert_eq!(ended.recv_timeout(LIMIT), Ok(7));
    }
    // The thread that ran the callback may end a moment later.
    soon("nothing is left", || {
        let is_as_before = mp::arena_stats().expect("looking") == before;
        is_as_before && multiproc_tests::processes::children().is_empty()
    });
}

fn completed_tasks_come_in_their_order(engine: Engine) {
    let pool = engine.pool(3);
    let (tasks, mut go): (Vec<_>, Vec<_>) = (0..3).map(|n| begin(&pool, n)).unzip();
    let last = go.remove(1);
    let mut completed = mp::as_completed(tasks);
    go[1].set();
    assert_eq!(completed.next().expect("one ends").get().expect("get"), 2);
    go[0].set();
    assert_eq!(completed.next().expect("one ends").get().expect("get"), 0);
    last.set();
    let task = completed.next().expect("one ends");
    assert!(task.is_ready());
    assert_eq!(task.get().expect("get"), 1);
    assert!(completed.next().is_none());
}

fn all_completed_tasks_come_once(engine: Engine) {
    assert!(mp::as_completed(Vec::<Task<u64>>::new()).next().is_none());
    let (first, second) = (engine.pool(1), engine.pool(2));
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            [&first, &second][n % 2]
                .submit::<no_tenths>(n as u64)
                .expect("submit")
        })
        .collect();
    // Some have ended, some are given up.
    tasks[7].get().expect("get");
    let cancelled = tasks
        .iter()
        .rev()
        .take(20)
        .filter(|task| task.cancel())
        .count();
    let mut values = BTreeSet::new();
    let (mut failed, mut given_up) = (0, 0);
    for task in mp::as_completed(tasks) {
        match task.get_timeout(Duration::ZERO) {
            Ok(value) => assert!(values.insert(value)),
            Err(TaskError::Panicked(_)) => failed += 1,
            Err(TaskError::Cancelled) => given_up += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(values.len() + failed + given_up, 300);
    // Those that ran already may have ended in time.
    assert!((cancelled.saturating_sub(3)..=cancelled).contains(&given_up));
    assert!(failed >= 28);
}

fn one_of_several_can_be_waited_for(engine: Engine) {
    let pool = engine.pool(2);
    assert_eq!(mp::wait_any(&[] as &[Task<u64>], None), None);
    assert_eq!(mp::wait_any(&[] as &[Task<u64>], LIMIT), None);
    let (first, go_first) = begin(&pool, 1);
    let (second, go_second) = begin(&pool, 2);
    let tasks = [first, second];
    assert_eq!(mp::wait_any(&tasks, Duration::ZERO), None);
    let begin = Instant::now();
    assert_eq!(mp::wait_any(&tasks, MOMENT), None);
    assert!(begin.elapsed() >= MOMENT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| mp::wait_any(&tasks, None));
        go_second.set();
        assert_eq!(waiter.join().expect("it waits"), Some(1));
    });
    assert_eq!(mp::wait_any(&tasks, Duration::ZERO), Some(1));
    assert_eq!(
        tasks[1].get_timeout(Duration::ZERO).expect("it is ready"),
        2
    );
    go_first.set();
    assert_eq!(mp::wait_any(&tasks[..1], Some(LIMIT)), Some(0));
    // One that is given up is ready, too.
    let busy = begin_pair(&pool);
    let waiting = [pool.submit::<square>(2).expect("submit")];
    assert!(waiting[0].cancel());
    assert_eq!(mp::wait_any(&waiting, LIMIT), Some(0));
    busy.1.iter().for_each(Event::set);
    all(busy.0.iter().map(|task| task.get()));
}

/// Keeps two workers busy.
fn begin_pair(pool: &Pool) -> ([Task<u64>; 2], [Event; 2]) {
    let [(first, go), (second, other)] = [begin(pool, 1), begin(pool, 2)];
    ([first, second], [go, other])
}
