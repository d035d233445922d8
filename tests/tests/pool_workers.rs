//! The workers of pools: how many, who they are, what they are given, and when they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mp::{Atomic, Barrier, Pool, Queue, Task};
use multiproc_tests::engines;
use multiproc_tests::pools::{
    Engine, MOMENT, all, begin, counted, counter, meet, no_tenths, soon, square,
};
use multiproc_tests::processes::{Watched, children};
use multiproc_tests::program::run;

engines! {
    a_pool_has_its_workers_from_the_start,
    workers_have_names,
    an_initializer_runs_once_in_each_worker,
    an_initializer_that_fails_is_the_error_of_its_pool,
    an_exit_hook_runs_when_a_worker_leaves,
    workers_are_replaced_after_their_tasks,
    a_pool_grows,
    a_pool_shrinks_without_harm,
    a_pool_changes_its_size_while_it_works,
    statistics_tell_what_happens,
    idle_workers_leave_and_come_back;
    processes: workers_run_where_they_are_told, workers_are_processes_of_their_own, workers_have_an_environment, workers_read_nothing,
    initializers_that_die_are_the_error_of_their_pool, workers_that_use_much_memory_are_replaced,
    idle_workers_that_die_are_replaced
}

/// What a program says whose workers say this many lines each.
fn said(workers: usize, lines: usize) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telling"));
    let ended = run(command.args([workers, lines].map(|number| number.to_string()))).nothing_left();
    assert!(
        ended.status.success() && ended.stdout.is_empty(),
        "{ended:?}"
    );
    ended.stderr
}

#[test]
fn what_workers_say_is_heard_whole() {
    const LINES: usize = 300;
    let heard = said(3, LINES);
    // In whatever order the workers are heard, each is heard in its own.
    for who in 0..3 {
        let prefix = format!("{who} says ");
        let lines = heard.lines().filter_map(|line| line.strip_prefix(&prefix));
        assert!(
            lines.eq((0..LINES).map(|line| format!("{line} {}", "x".repeat(line)))),
            "{heard}"
        );
    }
    assert_eq!(heard.lines().count(), 3 * LINES);
    assert_eq!(said(1, 1), "0 says 0 \nthe end");
}

/// The processes of as many workers, which run something at the same time.
fn pids(pool: &Pool, workers: usize) -> BTreeSet<u32> {
    let barrier = Barrier::new(workers).expect("making a barrier");
    let tasks: Vec<_> = (0..workers)
        .map(|_| pool.submit::<meet>(barrier.clone()).expect("submit"))
        .collect();
    all(tasks.iter().map(|task| task.get()))
        .into_iter()
        .collect()
}

fn a_pool_has_its_workers_from_the_start(engine: Engine) {
    for workers in [1, 2, 6] {
        let pool = engine.pool(workers);
        let stats = pool.stats();
        assert_eq!(stats.workers.len(), workers);
        let ids: BTreeSet<_> = stats.workers.iter().map(|worker| worker.pid).collect();
        assert_eq!(ids, pids(&pool, workers));
        assert_eq!(ids.len(), if engine.has_processes() { workers } else { 1 });
    }
    // As many as can run at a time.
    let builder = if engine.has_processes() {
        Pool::builder()
    } else {
        Pool::builder().threads()
    };
    assert_eq!(
        builder
            .build()
            .expect("making a pool")
            .stats()
            .workers
            .len(),
        mp::cpu_count()
    );
}

fn workers_are_processes_of_their_own(engine: Engine) {
    let pool = engine.pool(3);
    let ids = pids(&pool, 3);
    let children = children();
    assert_eq!(ids, children.iter().map(|child| child.pid).collect());
    // Each leads a group, so that what its tasks start can be ended with it.
    assert!(
        children.iter().all(|child| child.group == child.pid),
        "{children:?}"
    );
    assert!(!ids.contains(&std::process::id()));
    // They stay the same.
    pool.map::<square>(0..1000).expect("map");
    assert_eq!(pids(&pool, 3), ids);
}

#[mp::process_fn]
fn name(barrier: Barrier) -> (String, String) {
    barrier.wait().expect("nobody breaks it");
    (
        mp::current_process().name().to_owned(),
        thread::current().name().unwrap_or_default().to_owned(),
    )
}

fn workers_have_names(engine: Engine) {
    for (builder, prefix) in [
        (engine.builder(3), "PoolWorker"),
        (engine.builder(3).name("crunch"), "crunch"),
    ] {
        let pool = builder.build().expect("making a pool");
        let expected: BTreeSet<_> = (1..=3).map(|n| format!("{prefix}-{n}")).collect();
        assert_eq!(
            pool.stats()
                .workers
                .into_iter()
                .map(|worker| worker.name)
                .collect::<BTreeSet<_>>(),
            expected
        );
        let barrier = Barrier::new(3).expect("making a barrier");
        let names = pool.map::<name>(vec![barrier; 3]).expect("map").into_iter();
        let own = names.map(|(process, thread)| {
            if engine.has_processes() {
                process
            } else {
                thread
            }
        });
        assert_eq!(own.collect::<BTreeSet<_>>(), expected);
    }
}

#[mp::process_fn]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn workers_have_an_environment(engine: Engine) {
    let builder = engine
        .builder(2)
        .env("MP_POOL_FIRST", "1")
        .env("MP_POOL_SECOND", "a = b");
    let pool = builder.build().expect("making a pool");
    let values = pool
        .map::<variable>(["MP_POOL_FIRST", "MP_POOL_SECOND", "MP_POOL_THIRD", "PATH"])
        .expect("map");
    let path = std::env::var("PATH").ok();
    assert_eq!(
        values,
        [Some("1".to_owned()), Some("a = b".to_owned()), None, path]
    );
    assert!(std::env::var_os("MP_POOL_FIRST").is_none());
}

#[mp::process_fn]
fn read_all() -> String {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("reading");
    text
}

fn workers_read_nothing(engine: Engine) {
    assert_eq!(engine.pool(1).apply::<read_all>(()).expect("apply"), "");
}

/// The processors that the calling thread may run on.
fn processors() -> BTreeSet<usize> {
    let set = rustix::thread::sched_getaffinity(None).expect("asking");
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

#[mp::process_fn]
fn where_am_i(barrier: Barrier) -> (usize, BTreeSet<usize>) {
    barrier.wait().expect("nobody breaks it");
    (
        mp::current_task().expect("this is a task").worker,
        processors(),
    )
}

fn workers_run_where_they_are_told(engine: Engine) {
    let here = processors();
    let given: Vec<_> = here.iter().copied().collect();
    let pool = engine
        .builder(5)
        .cpu_affinity(given.clone())
        .build()
        .expect("making a pool");
    let barrier = Barrier::new(5).expect("making a barrier");
    let places = pool.map::<where_am_i>(vec![barrier; 5]).expect("map");
    assert_eq!(
        places
            .iter()
            .map(|place| place.0)
            .collect::<BTreeSet<_>>()
            .len(),
        5
    );
    for (worker, processors) in places {
        assert_eq!(processors, [given[worker % given.len()]].into());
    }
    assert_eq!(processors(), here);
    // Everywhere, if nobody says where.
    let barrier = Barrier::new(1).expect("making a barrier");
    assert_eq!(
        engine
            .pool(1)
            .apply::<where_am_i>(barrier)
            .expect("apply")
            .1,
        here
    );
}

static LOADED: AtomicU64 = AtomicU64::new(0);

#[mp::process_fn]
fn load(data: &str, calls: Atomic<u64>) {
    calls.fetch_add(1, Ordering::SeqCst);
    LOADED.store(data.len() as u64, Ordering::SeqCst);
}

#[mp::process_fn]
fn loaded(n: u64) -> u64 {
    LOADED.load(Ordering::SeqCst) + n
}

fn an_initializer_runs_once_in_each_worker(engine: Engine) {
    let calls = counter();
    let pool = engine
        .builder(3)
        .initializer::<load>(("seven..", calls.clone()))
        .build()
        .expect("making a pool");
    assert_eq!(counted(&calls), 3, "before the pool is there");
    assert!(
        pool.map::<loaded>(0..300)
            .expect("map")
            .into_iter()
            .eq(7..307)
    );
    pool.resize(5).expect("resizing");
    pids(&pool, 5);
    assert_eq!(counted(&calls), 5);
}

#[mp::process_fn]
fn load_or_fail(how: &str) -> Result<(), String> {
    match how {
        "well" => Ok(()),
        "panic" => panic!("there is nothing to load"),
        "exit" => std::process::exit(7),
        "abort" => std::process::abort(),
        other => Err(format!("{other} is nothing to load")),
    }
}

#[track_caller]
fn fails(engine: Engine, how: &'static str, said: &[&str]) {
    let error = engine
        .builder(2)
        .initializer::<load_or_fail>(how)
        .build()
        .expect_err("it fails");
    let mp::Error::PoolBroken { cause, .. } = &error else {
        panic!("{error:?}")
    };
    for part in said {
        assert!(cause.contains(part), "`{part}` is not in `{cause}`");
        assert!(
            error.to_string().contains(part),
            "`{part}` is not in `{error}`"
        );
    }
}

fn an_initializer_that_fails_is_the_error_of_its_pool(engine: Engine) {
    fails(
        engine,
        "panic",
        &["there is nothing to load", "load_or_fail"],
    );
    fails(
        engine,
        "a cake",
        &["a cake is nothing to load", "load_or_fail"],
    );
    let pool = engine
        .builder(1)
        .initializer::<load_or_fail>("well")
        .build()
        .expect("making a pool");
    assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
}

fn initializers_that_die_are_the_error_of_their_pool(engine: Engine) {
    fails(engine, "exit", &["7", "load_or_fail"]);
    fails(engine, "abort", &["6", "load_or_fail"]);
}

#[mp::process_fn]
fn leave(left: Queue<String>, note: &str) {
    left.put(note.to_owned()).expect("putting");
}

fn an_exit_hook_runs_when_a_worker_leaves(engine: Engine) {
    let left = Queue::new().expect("making a queue");
    let builder = || engine.builder(2).exit_hook::<leave>((left.clone(), "left"));
    let pool = builder().build().expect("making a pool");
    pool.map::<square>(0..100).expect("map");
    assert_eq!(left.len(), 0);
    pool.close();
    pool.join().expect("joining");
    assert_eq!(left.len(), 2);
    // Also when they are replaced, and when they are too many.
    let pool = builder()
        .max_tasks_per_worker(1)
        .build()
        .expect("making a pool");
    for n in 0..4 {
        pool.apply::<square>(n).expect("apply");
    }
    soon("those that are replaced have left", || left.len() >= 2 + 3);
    drop(pool);
    let before = left.len();
    let pool = builder().build().expect("making a pool");
    pool.resize(1).expect("resizing");
    soon("the one too many has left", || left.len() == before + 1);
    assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
}

static TASKS_HERE: AtomicU64 = AtomicU64::new(0);

#[mp::process_fn]
fn count_here(barrier: Option<Barrier>) -> (u32, u64) {
    if let Some(barrier) = barrier {
        barrier.wait().expect("nobody breaks it");
    }
    (
        std::process::id(),
        TASKS_HERE.fetch_add(1, Ordering::SeqCst),
    )
}

fn workers_are_replaced_after_their_tasks(engine: Engine) {
    let calls = counter();
    let builder = engine
        .builder(2)
        .max_tasks_per_worker(10)
        .initializer::<load>(("", calls.clone()));
    let pool = builder.build().expect("making a pool");
    let mut results = pool.map::<count_here>(vec![None; 100]).expect("map");
    results.extend(all(pool.imap::<count_here>(vec![None; 100])));
    for _ in 0..20 {
        results.push(pool.apply::<count_here>(None).expect("apply"));
    }
    if engine.has_processes() {
        let mut tasks = BTreeMap::<u32, u64>::new();
        results
            .iter()
            .for_each(|(pid, _)| *tasks.entry(*pid).or_default() += 1);
        assert!(tasks.values().all(|tasks| *tasks <= 10), "{tasks:?}");
    }
    // All but the two that are there now have run ten.
    assert!(
        counted(&calls) >= 22,
        "{} workers were there",
        counted(&calls)
    );
    assert_eq!(pool.stats().died, 0);
    // Those that wait for each other are no trouble.
    for _ in 0..20 {
        let barrier = Some(Barrier::new(2).expect("making a barrier"));
        pool.map::<count_here>(vec![barrier; 2]).expect("map");
    }
    pool.close();
    pool.join().expect("joining");
}

#[mp::process_fn]
fn hoard(megabytes: usize) -> u32 {
    std::mem::forget(vec![7_u8; megabytes << 20]);
    std::process::id()
}

fn workers_that_use_much_memory_are_replaced(engine: Engine) {
    let pool = engine
        .builder(1)
        .max_memory_per_worker(100 << 20)
        .build()
        .expect("making a pool");
    let few: BTreeSet<_> = (0..50)
        .map(|_| pool.apply::<hoard>(0).expect("apply"))
        .collect();
    assert_eq!(few.len(), 1);
    let many: Vec<_> = (0..12)
        .map(|_| pool.apply::<hoard>(40).expect("apply"))
        .collect();
    // Each has room for two of them, and runs one more at most.
    let different = many.iter().collect::<BTreeSet<_>>().len();
    assert!((4..=6).contains(&different), "{many:?}");
    assert_eq!(pool.stats().died, 0);
}

fn a_pool_grows(engine: Engine) {
    let pool = engine.pool(1);
    let (held, go) = begin(&pool, 7);
    pool.resize(4).expect("resizing");
    // Three of them can work.
    pids(&pool, 3);
    go.set();
    assert_eq!(held.get().expect("get"), 7);
    pids(&pool, 4);
    assert_eq!(pool.stats().workers.len(), 4);
    let names: BTreeSet<_> = pool
        .stats()
        .workers
        .into_iter()
        .map(|worker| worker.name)
        .collect();
    assert_eq!(names.len(), 4);
    pool.resize(0).expect_err("none");
    pids(&pool, 4);
}

fn a_pool_shrinks_without_harm(engine: Engine) {
    let pool = engine.pool(4);
    let held: Vec<_> = (0..4).map(|n| begin(&pool, n)).collect();
    pool.resize(1).expect("resizing");
    // Those that are too many finish what they do.
    for (n, (task, go)) in (0..).zip(held) {
        assert!(!task.is_ready());
        go.set();
        assert_eq!(task.get().expect("get"), n);
    }
    soon("the others have left", || pool.stats().workers.len() == 1);
    assert_eq!(pids(&pool, 1).len(), 1);
    if engine.has_processes() {
        soon("the processes have ended", || children().len() == 1);
    }
    assert_eq!(pool.map::<square>(0..100).expect("map").len(), 100);
    assert_eq!(pool.stats().died, 0);
    pool.resize(3).expect("resizing");
    pids(&pool, 3);
}

fn a_pool_changes_its_size_while_it_works(engine: Engine) {
    let pool = engine.pool(2);
    thread::scope(|scope| {
        let (pool, (stop, stopped)) = (&pool, mpsc::channel::<()>());
        let changing = scope.spawn(move || {
            for n in (1..=4).cycle() {
                pool.resize(n).expect("resizing");
                if stopped.recv_timeout(Duration::from_millis(2))
                    != Err(mpsc::RecvTimeoutError::Timeout)
                {
                    return;
                }
            }
        });
        for _ in 0..10 {
            let squares: Vec<u64> = (0..2000).map(|n| n * n).collect();
            assert_eq!(pool.map::<square>(0..2000).expect("map"), squares);
            assert_eq!(all(pool.imap::<square>(0..2000)), squares);
            assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
        }
        drop(stop);
        changing.join().expect("it ends");
    });
    pool.resize(2).expect("resizing");
    soon("there are two workers", || pool.stats().workers.len() == 2);
    assert_eq!(pool.stats().died, 0);
}

fn statistics_tell_what_happens(engine: Engine) {
    let pool = engine.pool(2);
    let stats = pool.stats();
    assert_eq!(
        (
            stats.pending,
            stats.running,
            stats.succeeded,
            stats.failed,
            stats.cancelled
        ),
        (0, 0, 0, 0, 0)
    );
    assert!(
        stats
            .workers
            .iter()
            .all(|worker| !worker.busy && worker.tasks == 0)
    );

    let (held, go) = begin(&pool, 7);
    let (other, go_other) = begin(&pool, 8);
    let waiting: Vec<_> = (0..10)
        .map(|n| pool.submit::<square>(n).expect("submit"))
        .collect();
    let many = pool.map_async::<square>(0..20).expect("map_async");
    let stats = pool.stats();
    assert_eq!((stats.pending, stats.running, stats.succeeded), (30, 2, 0));
    assert!(stats.workers.iter().all(|worker| worker.busy), "{stats:?}");
    assert!(waiting.iter().take(4).all(Task::cancel));
    let stats = pool.stats();
    assert_eq!((stats.pending, stats.running, stats.cancelled), (26, 2, 4));
    go.set();
    go_other.set();
    all([held.get(), other.get()]);
    many.get().expect("get");
    all(waiting.iter().skip(4).map(|task| task.get()));
    soon("nobody is busy", || {
        pool.stats().workers.iter().all(|worker| !worker.busy)
    });
    let stats = pool.stats();
    assert_eq!(
        (
            stats.pending,
            stats.running,
            stats.succeeded,
            stats.failed,
            stats.cancelled
        ),
        (0, 0, 28, 0, 4)
    );
    assert_eq!(
        stats.workers.iter().map(|worker| worker.tasks).sum::<u64>(),
        28
    );

    assert_eq!(
        pool.imap::<no_tenths>(0..100)
            .filter(Result::is_err)
            .count(),
        10
    );
    let stats = pool.stats();
    assert_eq!(
        (stats.succeeded, stats.failed, stats.retried, stats.died),
        (28 + 90, 10, 0, 0)
    );
    pool.close();
    pool.join().expect("joining");
    let stats = pool.stats();
    assert_eq!(
        (stats.workers.len(), stats.succeeded, stats.failed),
        (0, 118, 10)
    );
}

fn idle_workers_leave_and_come_back(engine: Engine) {
    let calls = counter();
    let builder = engine
        .builder(2)
        .idle_timeout(MOMENT)
        .initializer::<load>(("", calls.clone()));
    let pool = builder.build().expect("making a pool");
    for round in 1..4 {
        soon("the workers have left", || {
            pool.stats().workers.is_empty() && children().is_empty()
        });
        let counted_before = counted(&calls);
        assert!(
            pool.map::<square>(0..50)
                .expect("map")
                .into_iter()
                .eq((0..50).map(|n| n * n))
        );
        assert!(counted(&calls) > counted_before, "in round {round}");
        pids(&pool, 2);
        assert_eq!(pool.apply::<square>(3).expect("apply"), 9);
        assert_eq!(all(pool.imap::<square>(0..100)).len(), 100);
    }
    // Those that work do not leave.
    let (held, go) = begin(&pool, 7);
    thread::sleep(4 * MOMENT);
    go.set();
    assert_eq!(held.get().expect("get"), 7);
    assert_eq!(pool.stats().died, 0);
    soon("the workers have left", || pool.stats().workers.is_empty());
    pool.close();
    pool.join().expect("joining");
}

fn idle_workers_that_die_are_replaced(engine: Engine) {
    let pool = engine.pool(2);
    for round in 1..4 {
        let before = pids(&pool, 2);
        let victim = Watched::new(*before.first().expect("there are two"));
        victim.kill();
        victim.ends();
        let after = pids(&pool, 2);
        assert_eq!(before.intersection(&after).count(), 1);
        assert_eq!(pool.stats().died, round);
    }
    assert_eq!(pool.stats().failed, 0);
}
