//! What pools take in and keep: items when they are needed, results until they are taken, and no more.

use std::cell::{Cell, RefCell};
use std::fs;
use std::iter;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mp::{Atomic, Event};
use multiproc_tests::engines;
use multiproc_tests::leaks::apart;
use multiproc_tests::pools::{
    Engine, MOMENT, all, count, counted, counter, events, gives_back, hold, no_tenths, square,
    until_cancelled,
};
use multiproc_tests::processes::children;

engines! {
    items_are_pulled_when_they_are_needed,
    no_more_items_are_pulled_than_the_window_holds,
    a_window_of_one_is_step_by_step,
    infinite_iterators_are_fine,
    items_may_depend_on_results,
    inputs_may_wait_for_others,
    inputs_are_pulled_by_who_takes_the_results,
    a_slow_consumer_does_not_fill_the_memory,
    large_results_do_not_pile_up,
    memory_stays_flat,
    a_dropped_iterator_cancels_the_rest,
    a_dropped_iterator_tells_the_running_tasks,
    iterators_are_dropped_at_any_moment,
    an_iterator_that_is_not_used_runs_little,
    iterators_of_one_pool_do_not_wait_for_each_other,
    iterators_may_be_moved_to_other_threads,
    sizes_are_known_when_those_of_the_input_are,
    wrong_size_hints_are_no_harm,
    iterators_stay_at_their_end,
    submitted_tasks_that_are_dropped_leave_nothing
}

/// Numbers, and how many of them have been pulled.
fn numbers(pulled: &Cell<u64>) -> impl Iterator<Item = u64> {
    (0..).inspect(|_| pulled.set(pulled.get() + 1))
}

fn used() -> u64 {
    mp::arena_stats().expect("the arena is there").used
}

fn items_are_pulled_when_they_are_needed(engine: Engine) {
    const FEW: u64 = 100_000;
    let pool = engine.pool(2);
    let pulled = Cell::new(0);
    let mut results = pool.imap::<square>(numbers(&pulled));
    assert!(pulled.get() < FEW);
    for n in 0..1000 {
        assert_eq!(
            results.next().expect("it has no end").expect("a result"),
            n * n
        );
    }
    // However long nobody takes more.
    thread::sleep(MOMENT);
    assert!(
        (1000..FEW).contains(&pulled.get()),
        "{} items were pulled",
        pulled.get()
    );
    let before = pulled.get();
    drop(results);
    assert_eq!(pulled.get(), before);
    let mut results = pool.imap_unordered::<square>(numbers(&pulled));
    assert_eq!(all(results.by_ref().take(1000)).len(), 1000);
    assert!(
        (1000..FEW).contains(&(pulled.get() - before)),
        "{} items were pulled",
        pulled.get() - before
    );
}

fn no_more_items_are_pulled_than_the_window_holds(engine: Engine) {
    let pool = engine.pool(2);
    for window in [1, 2, 3, 10, 1000] {
        let check = |taken: u64, pulled: u64| {
            assert!(
                pulled <= taken + window,
                "{pulled} items were pulled when {taken} had been taken, by a window of {window}"
            );
        };
        let pulled = Cell::new(0);
        let job = || pool.job::<square>().window(window as usize);
        let mut results = job().imap(numbers(&pulled));
        check(0, pulled.get());
        for n in 0..2 * window + 20 {
            assert_eq!(
                results.next().expect("it has no end").expect("a result"),
                n * n
            );
            check(n + 1, pulled.get());
        }
        drop(results);
        pulled.set(0);
        let mut results = job().chunk_size(64).imap_unordered(numbers(&pulled));
        for n in 0..2 * window + 20 {
            results.next().expect("it has no end").expect("a result");
            check(n + 1, pulled.get());
        }
    }
}

fn a_window_of_one_is_step_by_step(engine: Engine) {
    let pool = engine.pool(2);
    let pulled = Cell::new(0);
    let mut results = pool
        .job::<square>()
        .window(1)
        .imap(numbers(&pulled).take(50));
    for n in 0..50 {
        assert!(pulled.get() <= n + 1);
        assert_eq!(
            results.next().expect("there are more").expect("a result"),
            n * n
        );
    }
    assert!(results.next().is_none());
}

fn infinite_iterators_are_fine(engine: Engine) {
    let pool = engine.pool(2);
    assert!(
        all(pool.imap::<square>(0..).take(5000))
            .into_iter()
            .eq((0..5000).map(|n| n * n))
    );
    assert_eq!(
        all(pool.imap_unordered::<square>(iter::repeat(7)).take(5000)),
        [49; 5000]
    );
    // Two of them, with errors.
    let pairs = pool.imap::<no_tenths>(0..).zip(pool.imap::<square>(0..));
    for (n, (first, second)) in (0..1000).zip(pairs) {
        assert_eq!(first.is_ok(), n % 10 != 3);
        assert_eq!(second.expect("a result"), n * n);
    }
}

/// Each item is made of the result of the one before.
fn items_may_depend_on_results(engine: Engine) {
    let pool = engine.pool(2);
    let last = RefCell::new(2);
    let mut results = pool
        .job::<square>()
        .window(1)
        .imap(iter::from_fn(|| Some(*last.borrow() % 1000)));
    let mut expected = 2;
    for _ in 0..50 {
        let square = results.next().expect("it has no end").expect("a result");
        expected = expected % 1000 * (expected % 1000);
        assert_eq!(square, expected);
        *last.borrow_mut() = square;
    }
}

fn inputs_may_wait_for_others(engine: Engine) {
    let pool = engine.pool(2);
    let (sender, items) = mpsc::channel();
    thread::scope(|scope| {
        let pool = &pool;
        let squares = scope.spawn(move || all(pool.imap::<square>(items)));
        for n in 0..20 {
            sender.send(n).expect("somebody listens");
            thread::sleep(Duration::from_millis(1));
        }
        // Others are served while the input makes its consumer wait.
        assert_eq!(pool.map::<square>(0..100).expect("map").len(), 100);
        drop(sender);
        assert!(
            squares
                .join()
                .expect("it ends")
                .into_iter()
                .eq((0..20).map(|n| n * n))
        );
    });
}

fn inputs_are_pulled_by_who_takes_the_results(engine: Engine) {
    let pool = engine.pool(2);
    let here = thread::current().id();
    let items = || (0..500).inspect(|_| assert_eq!(thread::current().id(), here));
    assert_eq!(all(pool.imap::<square>(items())).len(), 500);
    assert_eq!(all(pool.imap_unordered::<square>(items())).len(), 500);
    assert_eq!(pool.map::<square>(items()).expect("map").len(), 500);
}

#[mp::process_fn]
fn grow(size: usize) -> Vec<u8> {
    vec![7; size]
}

fn a_slow_consumer_does_not_fill_the_memory(engine: Engine) {
    const SIZE: usize = 64 << 10;
    const WINDOW: usize = 16;
    let pool = engine.pool(2);
    let before = used();
    let mut results = pool.job::<grow>().window(WINDOW).imap(iter::repeat(SIZE));
    for _ in 0..20 {
        // The workers have time to do all that they may.
        thread::sleep(Duration::from_millis(5));
        assert!(
            used() < before + 2 * (WINDOW * SIZE) as u64,
            "{} bytes are used",
            used() - before
        );
        assert_eq!(
            results
                .next()
                .expect("it has no end")
                .expect("a result")
                .len(),
            SIZE
        );
    }
}

fn large_results_do_not_pile_up(engine: Engine) {
    const SIZE: usize = 1 << 20;
    const WINDOW: usize = 8;
    let pool = engine.pool(2);
    let before = used();
    let job = || pool.job::<grow>().window(WINDOW);
    let mut most = 0;
    for result in job().imap(iter::repeat_n(SIZE, 300)) {
        assert_eq!(result.expect("a result").len(), SIZE);
        most = most.max(used() - before);
    }
    for result in job().imap_unordered(iter::repeat_n(SIZE, 300)) {
        assert_eq!(result.expect("a result").len(), SIZE);
        most = most.max(used() - before);
    }
    assert!(most < (2 * WINDOW * SIZE) as u64, "{most} bytes were used");
}

/// Kilobytes of memory that a process has to itself.
fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("it has memory");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

/// Runs many items, and checks that memory does not grow with their number.
fn run_flat(engine: Engine, count: u64) {
    let pool = engine.pool(2);
    let workers = || pool.stats().workers.into_iter().map(|worker| worker.pid);
    let run = |count: u64| {
        let (mut sum, mut given, mut most) = (0_u64, 0_u64, 0);
        let items = || (0..count).map(|n| n % 1000);
        let results = pool.imap::<square>(items());
        for result in results.chain(pool.imap_unordered::<square>(items())) {
            sum += result.expect("a result");
            given += 1;
            if given % 10_000 == 0 {
                most = most.max(used());
            }
        }
        assert_eq!(
            (given, sum),
            (2 * count, 2 * items().map(square).sum::<u64>())
        );
        let memory: Vec<_> = workers()
            .chain([std::process::id()])
            .map(own_memory)
            .collect();
        (most, memory)
    };
    let before = mp::arena_stats().expect("the arena is there");
    let (most, memory) = run(count / 10);
    let (most_of_many, memory_of_many) = run(count);
    assert!(
        most_of_many <= most + (4 << 20),
        "{most_of_many} bytes were used, after {most}"
    );
    gives_back(&pool, before);
    assert_eq!(memory.len(), memory_of_many.len());
    for (before, after) in memory.iter().zip(&memory_of_many) {
        assert!(
            *after <= before + 4096,
            "processes had {memory:?} kB, and have {memory_of_many:?}"
        );
    }
}

fn memory_stays_flat(engine: Engine) {
    run_flat(engine, 200_000);
}

#[mp::test]
#[ignore = "takes minutes; `cargo test --release -p multiproc-tests --test pool_bounds -- --ignored`"]
fn memory_stays_flat_over_ten_million_items() {
    run_flat(Engine::ALL[0], 10_000_000);
}

#[mp::test]
#[ignore = "takes minutes; `cargo test --release -p multiproc-tests --test pool_bounds -- --ignored`"]
fn memory_stays_flat_over_ten_million_items_on_threads() {
    run_flat(Engine::Threads, 10_000_000);
}

#[mp::process_fn]
fn count_slowly(calls: Atomic<u64>) {
    calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    thread::sleep(Duration::from_millis(1));
}

fn a_dropped_iterator_cancels_the_rest(engine: Engine) {
    let pool = engine.pool(2);
    let calls = counter();
    let items = || iter::repeat_n(calls.clone(), 100_000);
    let job = || pool.job::<count_slowly>().window(5000);
    let before = mp::arena_stats().expect("the arena is there");
    assert_eq!(all(job().imap(items()).take(3)).len(), 3);
    assert_eq!(all(job().imap_unordered(items()).take(3)).len(), 3);
    // When the workers are free again, nothing of it is left, and nothing of it runs.
    assert_eq!(pool.apply::<square>(2).expect("apply"), 4);
    gives_back(&pool, before);
    let ran = counted(&calls);
    assert!(ran < 5000, "{ran} items ran");
    thread::sleep(MOMENT);
    assert_eq!(counted(&calls), ran);
    assert_eq!(pool.stats().pending, 0);
}

fn a_dropped_iterator_tells_the_running_tasks(engine: Engine) {
    let pool = engine.pool(1);
    let (begun, seen) = events();
    let mut results =
        pool.imap::<until_cancelled_but_first>((0..3).map(|n| (n, begun.clone(), seen.clone())));
    results.next().expect("there are more").expect("a result");
    begun.wait().expect("waiting");
    drop(results);
    seen.wait().expect("waiting");
    assert_eq!(pool.apply::<square>(2).expect("the pool lives on"), 4);
}

#[mp::process_fn]
fn until_cancelled_but_first(n: u64, begun: Event, seen: Event) {
    if n > 0 {
        until_cancelled(begun, seen);
    }
}

fn iterators_are_dropped_at_any_moment(engine: Engine) {
    let pool = engine.pool(2);
    let before = mp::arena_stats().expect("the arena is there");
    for n in 0..60 {
        let taken = n % 23;
        assert_eq!(all(pool.imap::<square>(0..).take(taken)).len(), taken);
        assert_eq!(
            all(pool
                .imap_unordered::<grow>(iter::repeat(n * 100))
                .take(taken))
            .len(),
            taken
        );
    }
    gives_back(&pool, before);
    assert_eq!(
        pool.map::<square>(0..3).expect("the pool lives on"),
        [0, 1, 4]
    );
}

#[mp::test]
fn an_iterator_that_is_forgotten_hurts_nobody() {
    // It keeps what it knows, but ends with its process.
    apart(|| {
        for engine in Engine::ALL {
            let pool = engine.pool(2);
            let mut results = pool.imap::<square>(0..);
            assert_eq!(results.next().expect("it has no end").expect("a result"), 0);
            std::mem::forget(results);
            assert_eq!(
                pool.map::<square>(0..3).expect("the pool lives on"),
                [0, 1, 4]
            );
            drop(pool);
            assert!(children().is_empty());
        }
    });
}

fn an_iterator_that_is_not_used_runs_little(engine: Engine) {
    let pool = engine.pool(2);
    let calls = counter();
    drop(
        pool.job::<count>()
            .window(10)
            .imap(iter::repeat(calls.clone())),
    );
    drop(
        pool.job::<count>()
            .window(10)
            .imap_unordered(iter::repeat(calls.clone())),
    );
    pool.close();
    pool.join().expect("joining");
    assert!(counted(&calls) <= 20);
}

fn iterators_of_one_pool_do_not_wait_for_each_other(engine: Engine) {
    let pool = engine.pool(2);
    // The first ones are full and nobody takes from them, while others are served.
    let mut idle: Vec<_> = (0..5)
        .map(|_| pool.job::<square>().window(4).imap(0..))
        .collect();
    for results in &mut idle {
        assert_eq!(results.next().expect("it has no end").expect("a result"), 0);
    }
    assert_eq!(all(pool.imap::<square>(0..1000)).len(), 1000);
    assert_eq!(pool.map::<square>(0..1000).expect("map").len(), 1000);
    assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
    for results in &mut idle {
        assert_eq!(results.next().expect("it has no end").expect("a result"), 1);
    }
    // A large job in front does not keep a small one from its turn for ever.
    let (begun, go) = events();
    let held = pool
        .submit::<hold>((begun.clone(), go.clone(), 1))
        .expect("submit");
    begun.wait().expect("waiting");
    let mut endless = pool.imap::<square>(0..);
    for n in 0..100 {
        endless.next().expect("it has no end").expect("a result");
        assert_eq!(pool.apply::<square>(n).expect("apply"), n * n);
    }
    go.set();
    assert_eq!(held.get().expect("get"), 1);
}

fn iterators_may_be_moved_to_other_threads(engine: Engine) {
    let pool = engine.pool(2);
    let mut results = pool.imap::<square>(0..500);
    assert_eq!(
        results.next().expect("there are more").expect("a result"),
        0
    );
    thread::scope(|scope| {
        let rest = scope.spawn(move || all(results));
        assert!(
            rest.join()
                .expect("it ends")
                .into_iter()
                .eq((1..500).map(|n| n * n))
        );
    });
}

fn sizes_are_known_when_those_of_the_input_are(engine: Engine) {
    let pool = engine.pool(2);
    let mut results = pool.imap::<square>(0..100);
    let mut unordered = pool.imap_unordered::<square>(0..100);
    for left in (1..=100).rev() {
        assert_eq!(results.size_hint(), (left, Some(left)));
        assert_eq!(unordered.size_hint(), (left, Some(left)));
        results.next().expect("there are more").expect("a result");
        unordered.next().expect("there are more").expect("a result");
    }
    assert_eq!(
        (results.size_hint(), unordered.size_hint()),
        ((0, Some(0)), (0, Some(0)))
    );
    // Errors are items, too.
    let mut results = pool.job::<no_tenths>().imap(Vec::from_iter(0..20));
    let mut unordered = pool
        .job::<no_tenths>()
        .chunk_size(3)
        .window(2)
        .imap_unordered(vec![3; 20]);
    for left in (1..=20).rev() {
        assert_eq!((results.len(), unordered.len()), (left, left));
        assert!(results.next().is_some());
        assert!(unordered.next().expect("there are more").is_err());
    }
    assert_eq!((results.len(), unordered.len()), (0, 0));

    let mut some = pool.imap::<square>((0..100).filter(|n| n % 2 == 0));
    assert_eq!(some.next().expect("there are more").expect("a result"), 0);
    let (least, most) = some.size_hint();
    assert!(
        least <= 49 && most.is_some_and(|most| (49..100).contains(&most)),
        "{least}, {most:?}"
    );
    assert_eq!(some.count(), 49);
    let (least, most) = pool.imap::<square>(iter::repeat(1)).size_hint();
    assert!(least > 1 << 40 && most.is_none(), "{least}, {most:?}");
    assert_eq!(
        pool.imap::<square>(iter::from_fn(|| Some(1))).size_hint().1,
        None
    );
}

/// An iterator that says anything of its size.
struct Liar<I>(I, (usize, Option<usize>));

impl<I: Iterator> Iterator for Liar<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.1
    }
}

fn wrong_size_hints_are_no_harm(engine: Engine) {
    let pool = engine.pool(2);
    let squares: Vec<u64> = (0..300).map(|n| n * n).collect();
    for hint in [
        (0, None),
        (0, Some(0)),
        (5, Some(5)),
        (1000, Some(1000)),
        (usize::MAX, None),
        (7, Some(3)),
    ] {
        let items = || Liar(0..300, hint);
        assert_eq!(
            pool.map::<square>(items()).expect("map"),
            squares,
            "{hint:?}"
        );
        assert_eq!(
            pool.map_async::<square>(items())
                .expect("map_async")
                .get()
                .expect("map_async"),
            squares,
            "{hint:?}"
        );
        // `size_hint` itself would lie to `collect`.
        let (mut results, mut collected) = (pool.imap::<square>(items()), Vec::new());
        while let Some(result) = results.next() {
            let _ = results.size_hint();
            collected.push(result.expect("a result"));
        }
        assert_eq!(collected, squares, "{hint:?}");
    }
}

/// An iterator that goes on after its end.
struct Again(u64);

impl Iterator for Again {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 += 1;
        (!self.0.is_multiple_of(10)).then_some(self.0)
    }
}

fn iterators_stay_at_their_end(engine: Engine) {
    let pool = engine.pool(2);
    let mut results = pool.imap::<square>(Again(0));
    assert_eq!(all(results.by_ref()).len(), 9);
    assert!(results.next().is_none() && results.next().is_none());
    let mut unordered = pool.imap_unordered::<square>(Again(0));
    assert_eq!(all(unordered.by_ref()).len(), 9);
    assert!(unordered.next().is_none() && unordered.next().is_none());
    assert_eq!(pool.map::<square>(Again(0)).expect("map").len(), 9);
}

fn submitted_tasks_that_are_dropped_leave_nothing(engine: Engine) {
    let pool = engine.pool(2);
    let before = mp::arena_stats().expect("the arena is there");
    for n in 0..2000 {
        drop(pool.submit::<grow>(n).expect("submit"));
        if n % 100 == 0 {
            drop(pool.map_async::<grow>(0..50).expect("map_async"));
            assert!(
                matches!(pool.job::<grow>().timeout(Duration::from_secs(60)).apply(n), Ok(bytes) if bytes.len() == n)
            );
        }
    }
    gives_back(&pool, before);
    assert_eq!(pool.apply::<grow>(1).expect("the pool lives on"), [7]);
}
