//! What pools give back: every result, in its place, whatever the arguments and results are.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use mp::{Atomic, Barrier, Event, OnError, StartMethod, TaskError};
use multiproc_tests::pools::{
    Engine, all, count, counted, counter, events, hold, meet, no_tenths, square, until_cancelled,
};
use multiproc_tests::{by_each_way, engines};
use serde::{Deserialize, Serialize};

engines! {
    nothing_comes_of_nothing,
    async_functions_are_run,
    a_hundred_thousand_items,
    chunks_of_any_size_give_the_same,
    impossible_chunks_and_windows_panic,
    results_keep_the_order_of_items_that_end_in_another,
    unordered_results_come_as_they_end,
    as_many_items_as_workers_run_at_a_time,
    a_lone_item_does_not_wait_for_others,
    map_gives_the_first_error_at_once,
    map_that_fails_runs_no_more_items,
    map_that_goes_on_runs_all_items,
    imap_gives_errors_in_their_places,
    imap_that_fails_fast_ends_after_the_first_error,
    apply_and_submit_give_errors,
    results_of_one_pool_are_items_of_another,
    items_may_come_from_the_pool_itself,
    an_input_that_panics_hurts_nobody
}

#[test]
fn the_suite_runs_on_every_engine_that_there_is() {
    // `pool_fork.rs` tests pools by fork: whoever has one has threads, and cannot have another.
    let by_fork = StartMethod::Fork;
    for method in StartMethod::available()
        .iter()
        .filter(|method| **method != by_fork)
    {
        assert!(
            Engine::ALL.contains(&Engine::Processes(*method)),
            "tests/src/pools.rs has no tests of pools for {method}"
        );
    }
}

#[mp::process_fn(runtime = "tokio")]
async fn later(n: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    n + 1
}

fn nothing_comes_of_nothing(engine: Engine) {
    let pool = engine.pool(2);
    let calls = counter();
    let none = || [&calls; 0].into_iter().cloned();
    by_each_way!(pool, count, none(), Vec::<u64>::new());
    let mut results = pool.job::<count>().imap(none());
    assert_eq!((results.len(), results.next().is_none()), (0, true));
    assert_eq!(counted(&calls), 0);
    // Nobody needs to work for this.
    let (begun, go) = events();
    let busy = [1, 2].map(|n| {
        pool.submit::<hold>((begun.clone(), go.clone(), n))
            .expect("submit")
    });
    assert!(pool.map::<square>([]).expect("map").is_empty());
    let none = pool.map_async::<square>([]).expect("map_async");
    assert!(none.get().expect("map_async").is_empty());
    go.set();
    assert_eq!(all(busy.map(|task| task.get())), [1, 2]);
}

fn async_functions_are_run(engine: Engine) {
    by_each_way!(engine.pool(2), later, 0..10, (1..11).collect::<Vec<u64>>());
}

fn a_hundred_thousand_items(engine: Engine) {
    const COUNT: u64 = 100_000;
    let pool = engine.pool(2);
    let expected: Vec<u64> = (0..COUNT).map(|n| n * n).collect();
    // No `assert_eq`: it would print them all.
    assert!(
        pool.map::<square>(0..COUNT).expect("map") == expected,
        "map"
    );
    assert!(all(pool.imap::<square>(0..COUNT)) == expected, "imap");
    let mut unordered = all(pool.imap_unordered::<square>(0..COUNT));
    unordered.sort_unstable();
    assert!(unordered == expected, "imap_unordered");
    let tasks: Vec<_> = (0..COUNT)
        .map(|n| pool.submit::<square>(n).expect("submit"))
        .collect();
    assert!(
        all(tasks.iter().map(|task| task.get())) == expected,
        "submit"
    );
}

fn chunks_of_any_size_give_the_same(engine: Engine) {
    let pool = engine.pool(3);
    let expected: Vec<u64> = (0..1000).map(|n| n * n).collect();
    for size in [1, 2, 7, 333, 1000, 100_000, usize::MAX] {
        let job = || pool.job::<square>().chunk_size(size);
        assert_eq!(job().map(0..1000).expect("map"), expected, "map by {size}");
        assert_eq!(all(job().imap(0..1000)), expected, "imap by {size}");
        let unordered: BTreeSet<_> = all(job().imap_unordered(0..1000)).into_iter().collect();
        assert!(unordered.iter().eq(&expected), "imap_unordered by {size}");
        let task = job().map_async(0..1000).expect("map_async");
        assert_eq!(
            task.get().expect("map_async"),
            expected,
            "map_async by {size}"
        );
    }
}

fn impossible_chunks_and_windows_panic(engine: Engine) {
    let pool = engine.pool(1);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.job::<square>().chunk_size(0))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| pool.job::<square>().window(0))).is_err());
    assert_eq!(pool.map::<square>(0..3).expect("map"), [0, 1, 4]);
}

#[mp::process_fn]
fn dawdle(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(40 - n));
    n
}

fn results_keep_the_order_of_items_that_end_in_another(engine: Engine) {
    let pool = engine.pool(4);
    let expected: Vec<_> = (0..40).collect();
    assert_eq!(
        pool.job::<dawdle>().chunk_size(1).map(0..40).expect("map"),
        expected
    );
    assert_eq!(
        all(pool.job::<dawdle>().chunk_size(1).imap(0..40)),
        expected
    );
}

fn unordered_results_come_as_they_end(engine: Engine) {
    let pool = engine.pool(2);
    let (begun, go) = events();
    let (_, set) = events();
    set.set();
    // The first one waits until all others have been seen.
    let items = (0..20).map(|n| {
        (
            begun.clone(),
            if n == 0 { go.clone() } else { set.clone() },
            n,
        )
    });
    let mut results = pool.job::<hold>().chunk_size(1).imap_unordered(items);
    let others: BTreeSet<_> = all(results.by_ref().take(19)).into_iter().collect();
    assert!(others.into_iter().eq(1..20));
    go.set();
    assert_eq!(all(results), [0]);
}

fn as_many_items_as_workers_run_at_a_time(engine: Engine) {
    for workers in [1, 2, 5] {
        let pool = engine.pool(workers);
        let barrier = Barrier::new(workers).expect("making a barrier");
        let items = || (0..workers).map(|_| barrier.clone());
        // None can end before all have begun.
        for pids in [
            pool.map::<meet>(items()).expect("map"),
            all(pool.imap::<meet>(items())),
            all(pool.imap_unordered::<meet>(items())),
            pool.map_async::<meet>(items())
                .expect("map_async")
                .get()
                .expect("map_async"),
        ] {
            let different = pids.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(different, if engine.has_processes() { workers } else { 1 });
            assert_eq!(pids.contains(&std::process::id()), !engine.has_processes());
        }
        let tasks: Vec<_> = items()
            .map(|item| pool.submit::<meet>(item).expect("submit"))
            .collect();
        all(tasks.iter().map(|task| task.get()));
    }
}

fn a_lone_item_does_not_wait_for_others(engine: Engine) {
    let pool = engine.pool(2);
    let (begun, go) = events();
    let held = pool
        .submit::<hold>((begun.clone(), go.clone(), 1))
        .expect("submit");
    begun.wait().expect("waiting");
    assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
    assert_eq!(pool.map::<square>(0..100).expect("map").len(), 100);
    assert_eq!(all(pool.imap::<square>(0..100)).len(), 100);
    assert!(!held.is_ready());
    go.set();
    assert_eq!(held.get().expect("get"), 1);
}

#[derive(Clone, Serialize, Deserialize)]
enum Deed {
    Panic(Event),
    Work(Event, Event),
}

#[mp::process_fn]
fn act(deed: Deed) {
    match deed {
        Deed::Panic(now) => {
            now.wait().expect("waiting");
            panic!("on purpose");
        }
        Deed::Work(begun, seen) => until_cancelled(begun, seen),
    }
}

fn map_gives_the_first_error_at_once(engine: Engine) {
    let pool = engine.pool(2);
    let (begun, seen) = events();
    // The panic comes while the other one runs, which would run for ever.
    let deeds = [
        Deed::Work(begun.clone(), seen.clone()),
        Deed::Panic(begun.clone()),
    ];
    match pool.map::<act>(deeds.clone()) {
        Err(TaskError::Panicked(panic)) => {
            assert_eq!(panic.message(), "on purpose");
            assert!(
                panic
                    .location()
                    .is_some_and(|place| place.contains("pool_results.rs")),
                "{panic:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    seen.wait().expect("it was told");
    begun.clear();
    seen.clear();
    let task = pool.map_async::<act>(deeds).expect("map_async");
    assert!(matches!(task.get(), Err(TaskError::Panicked(_))));
    seen.wait().expect("it was told");
    assert_eq!(
        pool.map::<square>(0..3).expect("the pool lives on"),
        [0, 1, 4]
    );
}

#[mp::process_fn]
fn fail_or_count(n: u64, calls: Atomic<u64>) {
    assert!(n != 0, "the first one fails");
    calls.fetch_add(1, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(1));
}

fn map_that_fails_runs_no_more_items(engine: Engine) {
    let pool = engine.pool(2);
    let calls = counter();
    let items = (0..100_000).map(|n| (n, calls.clone()));
    let error = pool
        .map::<fail_or_count>(items)
        .expect_err("the first one fails");
    assert!(error.to_string().contains("the first one fails"), "{error}");
    // When this comes back, nothing of the other can run any more.
    pool.close();
    pool.join().expect("joining");
    assert!(counted(&calls) < 50_000, "{} items ran", counted(&calls));
}

fn map_that_goes_on_runs_all_items(engine: Engine) {
    let pool = engine.pool(2);
    let calls = counter();
    let items = || (0..500).map(|n| (n, calls.clone()));
    let job = || pool.job::<fail_or_count>().on_error(OnError::Continue);
    assert!(matches!(job().map(items()), Err(TaskError::Panicked(_))));
    assert_eq!(counted(&calls), 499);
    let task = job().map_async(items()).expect("map_async");
    assert!(matches!(task.get(), Err(TaskError::Panicked(_))));
    assert_eq!(counted(&calls), 2 * 499);
}

fn imap_gives_errors_in_their_places(engine: Engine) {
    let pool = engine.pool(2);
    let mut count = 0;
    for (n, result) in (0..).zip(pool.imap::<no_tenths>(0..200)) {
        match result {
            Ok(value) => assert_eq!((value, n % 10 != 3), (n, true)),
            Err(TaskError::Panicked(panic)) => {
                assert_eq!(panic.message(), format!("{n} is not wanted"))
            }
            Err(other) => panic!("{other:?}"),
        }
        count += 1;
    }
    assert_eq!(count, 200);
    let (good, bad): (Vec<_>, Vec<_>) = pool
        .imap_unordered::<no_tenths>(0..200)
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (180, 20));
    assert!(
        all(good)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .eq((0..200).filter(|n| n % 10 != 3))
    );
}

fn imap_that_fails_fast_ends_after_the_first_error(engine: Engine) {
    // With one worker, nothing after the first error can fail before it.
    let pool = engine.pool(1);
    let job = || pool.job::<no_tenths>().on_error(OnError::FailFast);
    let mut results = job().imap(0..).take(1000);
    assert_eq!(all(results.by_ref().take(3)), [0, 1, 2]);
    let error = results.next().expect("the first error");
    assert!(
        matches!(&error, Err(TaskError::Panicked(panic)) if panic.message() == "3 is not wanted"),
        "{error:?}"
    );
    assert!(results.all(|after| matches!(after, Err(TaskError::Cancelled))));
    let errors: Vec<_> = job()
        .imap_unordered(0..200)
        .filter_map(Result::err)
        .collect();
    let panics = errors
        .iter()
        .filter(|error| matches!(error, TaskError::Panicked(_)))
        .count();
    let cancelled = errors
        .iter()
        .filter(|error| matches!(error, TaskError::Cancelled))
        .count();
    assert!(
        panics >= 1 && panics + cancelled == errors.len(),
        "{errors:?}"
    );
    assert_eq!(
        pool.map::<square>(0..3).expect("the pool lives on"),
        [0, 1, 4]
    );
}

fn apply_and_submit_give_errors(engine: Engine) {
    let pool = engine.pool(1);
    for _ in 0..5 {
        match pool.apply::<no_tenths>(13) {
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), "13 is not wanted"),
            other => panic!("{other:?}"),
        }
        let task = pool.submit::<no_tenths>(23).expect("submit");
        let error = task.get().expect_err("it panics");
        assert!(error.to_string().contains("23 is not wanted"), "{error}");
        let error = mp::Error::from(error);
        assert!(matches!(error, mp::Error::Task(_)), "{error:?}");
        assert!(error.to_string().contains("23 is not wanted"), "{error}");
    }
    assert_eq!(pool.stats().workers.len(), 1);
    assert_eq!(pool.stats().died, 0);
}

fn results_of_one_pool_are_items_of_another(engine: Engine) {
    let (first, second) = (engine.pool(2), engine.pool(2));
    let squares = first
        .imap::<square>(0..500)
        .map(|result| result.expect("a result"));
    let fourths = all(second.imap::<square>(squares));
    assert!(fourths.into_iter().eq((0..500).map(|n| n * n * n * n)));
}

fn items_may_come_from_the_pool_itself(engine: Engine) {
    let pool = engine.pool(2);
    let squares = || {
        pool.imap::<square>(0..500)
            .map(|result| result.expect("a result"))
    };
    let expected: Vec<u64> = (0..500).map(|n| n * n * n * n).collect();
    assert_eq!(pool.map::<square>(squares()).expect("map"), expected);
    assert_eq!(all(pool.imap::<square>(squares())), expected);
    let applied = (0..50).map(|n| pool.apply::<square>(n).expect("apply"));
    assert_eq!(pool.map::<square>(applied).expect("map"), expected[..50]);
}

fn an_input_that_panics_hurts_nobody(engine: Engine) {
    let pool = engine.pool(2);
    let items = || (0..100).inspect(|n| assert!(*n != 50, "no more items"));
    let panics = |consume: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(consume)).expect_err("the input panics");
        assert_eq!(panic.downcast_ref(), Some(&"no more items"));
        assert_eq!(
            pool.map::<square>(0..3).expect("the pool lives on"),
            [0, 1, 4]
        );
    };
    panics(&|| drop(pool.map::<square>(items())));
    panics(&|| drop(pool.map_async::<square>(items())));
    panics(&|| assert_eq!(pool.imap::<square>(items()).count(), 0));
    panics(&|| assert_eq!(pool.imap_unordered::<square>(items()).count(), 0));
}
