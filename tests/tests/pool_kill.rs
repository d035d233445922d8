//! Pools whose workers are killed at any moment. `MP_KILLS` sets how many.

mod common_harm;
mod common_shm;

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common_harm::{Item, MANY, a_while, handle, killing, pool, signal_child, square, works};
use common_shm::{LONG, Random, kills};
use mp::{OnError, Pool, TaskError};
use multiproc_tests::leaks::{alone, check};
use multiproc_tests::processes::eventually;
use multiproc_tests::program::Folder;
use multiproc_tests::watchdog::Watchdog;
use rustix::process::Signal;

/// Calls again and again until enough are killed, and then once in peace.
fn survives(call: impl Fn(&Pool)) {
    let pool = pool(3, MANY);
    let (_, killed) = killing(&pool, a_while, |killed| {
        while killed.load(Ordering::Relaxed) < kills() {
            call(&pool);
        }
    });
    call(&pool);
    works(&pool);
    let counted = || (pool.stats().died >= killed.len() as u64).then_some(());
    assert!(eventually(counted).is_some(), "{:?}", pool.stats());
    assert!(eventually(|| (pool.stats().running == 0).then_some(())).is_some());
    let stats = pool.stats();
    assert_eq!(stats.failed, 0, "{stats:?}");
    // Who dies between the end of a task and counting it has not counted it.
    assert!(stats.pending <= stats.died, "{stats:?}");
}

#[mp::test]
fn a_map_with_retries_gives_each_result() {
    alone(|| {
        survives(|pool| {
            let items = pool
                .map::<handle>((0..200).map(Item::new))
                .expect("they are tried again");
            assert_eq!(items.len(), 200);
            (0..)
                .zip(items)
                .for_each(|(number, item)| item.check(number));
        });
    });
}

#[mp::test]
fn a_map_of_tiny_tasks_with_retries_gives_each_result() {
    alone(|| {
        survives(|pool| {
            let squares = pool.map::<square>(0..20_000).expect("they are tried again");
            assert!(squares.into_iter().eq((0..20_000).map(|n| n * n)));
        });
    });
}

#[mp::test]
fn an_imap_with_retries_gives_each_result_in_order() {
    alone(|| {
        survives(|pool| {
            for chunk in [1, 5] {
                let job = pool.job::<handle>().chunk_size(chunk).window(20);
                let mut items = job.imap((0..150).map(Item::new));
                for number in 0..150 {
                    let item = items.next().expect("one for each");
                    item.expect("it is tried again").check(number);
                }
                assert!(items.next().is_none());
            }
        });
    });
}

#[mp::test]
fn an_imap_unordered_with_retries_gives_each_result_once() {
    alone(|| {
        survives(|pool| {
            let mut left: HashSet<_> = (0..200).collect();
            for item in pool.imap_unordered::<handle>((0..200).map(Item::new)) {
                let item = item.expect("it is tried again");
                item.check(item.number);
                assert!(left.remove(&item.number), "{} came twice", item.number);
            }
            assert!(left.is_empty(), "{left:?}");
        });
    });
}

#[mp::test]
fn tasks_that_are_submitted_with_retries_give_each_result() {
    alone(|| {
        survives(|pool| {
            let submit = |number| {
                pool.submit::<handle>(Item::new(number))
                    .expect("submitting")
            };
            let tasks: Vec<_> = (0..150).map(submit).collect();
            for (number, task) in (0..).zip(tasks) {
                task.get().expect("it is tried again").check(number);
            }
        });
    });
}

#[mp::test]
fn jobs_that_are_dropped_while_workers_are_killed_leave_nothing() {
    alone(|| {
        survives(|pool| {
            let mut items = pool.imap::<handle>((0..).map(Item::new));
            items
                .next()
                .expect("it is infinite")
                .expect("it is tried again")
                .check(0);
            drop(items);
            let tasks = (0..20).map(|n| pool.submit::<handle>(Item::new(n)).expect("submitting"));
            for (n, task) in tasks.enumerate() {
                if n % 2 == 0 {
                    task.cancel();
                }
            }
        });
    });
}

#[mp::test]
fn threads_that_share_a_pool_have_each_their_results() {
    alone(|| {
        survives(|pool| {
            thread::scope(|scope| {
                for first in [0, 1000, 2000, 3000] {
                    scope.spawn(move || {
                        let numbers = first..first + 40;
                        let items = pool.map::<handle>(numbers.clone().map(Item::new));
                        let items = items.expect("they are tried again");
                        numbers
                            .zip(items)
                            .for_each(|(number, item)| item.check(number));
                        let squares = pool.imap::<square>(first..first + 500);
                        let squares = squares.map(|square| square.expect("it is tried again"));
                        assert!(squares.eq((first..first + 500).map(|n| n * n)));
                    });
                }
            });
        });
    });
}

#[mp::test]
fn tasks_as_they_are_completed_come_once() {
    alone(|| {
        survives(|pool| {
            let submit = |number| {
                pool.submit::<handle>(Item::new(number))
                    .expect("submitting")
            };
            let mut left: HashSet<_> = (0..100).collect();
            for task in mp::as_completed((0..100).map(submit).collect::<Vec<_>>()) {
                assert!(task.is_ready());
                let item = task.get().expect("it is tried again");
                item.check(item.number);
                assert!(left.remove(&item.number), "{} came twice", item.number);
            }
            assert!(left.is_empty(), "{left:?}");
        });
    });
}

// Without retries.

/// Checks that an error is that of one of the killed, and of no other task.
#[derive(Default)]
struct Deaths(HashSet<u32>);

impl Deaths {
    #[track_caller]
    fn check(&mut self, error: &TaskError, expected_index: Option<u64>) {
        let TaskError::WorkerDied {
            pid,
            status,
            index,
            attempt: 0,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(status.signal(), Some(9), "{error:?}");
        assert!(
            expected_index.is_none_or(|expected| *index == expected),
            "{error:?}"
        );
        assert!(self.0.insert(*pid), "{pid} took two tasks with it");
    }

    #[track_caller]
    fn check_all(&self, killed: &HashSet<u32>) {
        assert!(self.0.is_subset(killed), "{:?}", self.0.difference(killed));
    }
}

#[mp::test]
fn without_retries_each_killed_worker_costs_one_task_at_most() {
    alone(|| {
        let pool = pool(3, 0);
        let mut deaths = Deaths::default();
        let ((), killed) = killing(&pool, a_while, |killed| {
            while killed.load(Ordering::Relaxed) < kills() {
                for chunk in [1, 16] {
                    let job = pool.job::<handle>().chunk_size(chunk);
                    for (number, item) in (0..).zip(job.imap((0..200).map(Item::new))) {
                        match item {
                            Ok(item) => item.check(number),
                            Err(error) => deaths.check(&error, Some(number)),
                        }
                    }
                }
                let tasks =
                    (0..50).map(|n| pool.submit::<handle>(Item::new(n)).expect("submitting"));
                for (number, task) in (0..).zip(tasks.collect::<Vec<_>>()) {
                    match task.get() {
                        Ok(item) => item.check(number),
                        Err(error) => deaths.check(&error, None),
                    }
                }
                match pool.map::<handle>((0..50).map(Item::new)) {
                    Ok(items) => (0..).zip(items).for_each(|(n, item)| item.check(n)),
                    Err(TaskError::WorkerDied { pid, index, .. }) if index < 50 => {
                        assert!(deaths.0.insert(pid), "{pid} took two tasks with it");
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        deaths.check_all(&killed);
        eprintln!(
            "{} tasks of {} killed workers",
            deaths.0.len(),
            killed.len()
        );
        assert!(!deaths.0.is_empty(), "nobody died in a task");
        works(&pool);
    });
}

/// Says what runs where, then waits, but for every third.
#[mp::process_fn]
fn say_and_wait(number: u64, started: mp::Queue<(u64, u32)>, go: mp::Event) -> u64 {
    if number.is_multiple_of(3) {
        started.put((number, std::process::id())).expect("putting");
        go.wait().expect("waiting");
    }
    number
}

#[mp::test]
fn the_task_of_a_killed_worker_fails_and_no_other() {
    alone(|| {
        let pool = pool(2, 0);
        let started = mp::Queue::new().expect("making a queue");
        let go = mp::Event::new().expect("making an event");
        for round in 0..kills().div_ceil(3) {
            go.clear();
            let items = (0..24).map(|n| (n, started.clone(), go.clone()));
            let job = pool
                .job::<say_and_wait>()
                .chunk_size(1 + round as usize % 6);
            let mut results = job.window(64).imap(items);
            let mut next = || results.next().expect("one for each");
            // To have it begin. The first waits, and its neighbours in the chunk with it.
            thread::scope(|scope| {
                let (started, go) = (&started, &go);
                let killed = scope.spawn(move || {
                    let mut killed = Vec::new();
                    for _ in 0..3 {
                        let (number, pid) = started.get_timeout(LONG).expect("one begins");
                        assert!(signal_child(pid, Signal::KILL));
                        killed.push((number, pid));
                    }
                    go.set();
                    killed
                });
                let results: Vec<_> = (0..24).map(|_| next()).collect();
                let killed = killed.join().expect("killing");
                for (number, result) in (0..).zip(results) {
                    match killed.iter().find(|(dead, _)| *dead == number) {
                        Some((_, killed)) => {
                            let Err(TaskError::WorkerDied { pid, index, .. }) = result else {
                                panic!("{number}: {result:?}");
                            };
                            assert_eq!((pid, index), (*killed, number));
                        }
                        None => assert_eq!(result.expect("it is not hurt"), number),
                    }
                }
            });
            assert!(results.next().is_none());
            while started.try_get().is_ok() {}
        }
        works(&pool);
    });
}

/// Gives a file back with its length.
#[mp::process_fn]
fn measure(file: mp::Fd<File>, length: u64) -> (mp::Fd<File>, u64) {
    let found = file.metadata().expect("it is open").len();
    assert_eq!(found, length);
    (file, found)
}

#[mp::test]
fn files_on_their_way_are_neither_lost_nor_left_open() {
    alone(|| {
        let folder = Folder::new();
        let path = |length: u64| folder.path().join(length.to_string());
        for length in 0..8 {
            fs::write(path(length), vec![b'x'; length as usize]).expect("writing");
        }
        let pool = pool(3, 0);
        let open = |length| File::open(path(length)).expect("opening");
        let mut deaths = Deaths::default();
        let ((), killed) = killing(&pool, a_while, |killed| {
            while killed.load(Ordering::Relaxed) < kills() {
                let files = (0..40).map(|n| (mp::Fd::new(open(n % 8)), n % 8));
                for (number, result) in (0..).zip(pool.imap::<measure>(files)) {
                    match result {
                        Ok((file, length)) => {
                            assert_eq!(length, number % 8);
                            assert_eq!(file.metadata().expect("it is open").len(), length);
                        }
                        Err(error) => deaths.check(&error, Some(number)),
                    }
                }
                // Nobody takes these.
                let files = (0..8).map(|n| (mp::Fd::new(open(n)), n));
                drop(pool.imap::<measure>(files).next());
            }
        });
        deaths.check_all(&killed);
        works(&pool);
        drop(pool);
        assert_eq!(mp::__private::waiting_descriptors().expect("counting"), 0);
    });
}

// Killing each other.

/// Kills another worker, which may be at anything; but not again when it was killed itself, or they would never end.
#[mp::process_fn]
fn kill_another(number: u64) -> u64 {
    let parent = mp::parent_process().expect("a worker has a parent").id();
    let all = multiproc_tests::processes::children_of(parent);
    let others: Vec<_> = all
        .into_iter()
        .filter(|entry| entry.pid != std::process::id() && !entry.zombie)
        .collect();
    let attempt = mp::current_task().expect("it is one").attempt;
    if number.is_multiple_of(4) && attempt == 0 && !others.is_empty() {
        let other = &others[number as usize / 4 % others.len()];
        let id = rustix::process::Pid::from_raw(other.pid.cast_signed()).expect("a process");
        let _ = rustix::process::kill_process(id, Signal::KILL);
    }
    number
}

#[mp::test]
fn workers_that_kill_each_other_finish_their_work() {
    alone(|| {
        let pool = pool(4, MANY);
        let count = u64::from(kills()) * 4;
        let numbers = pool
            .map::<kill_another>(0..count)
            .expect("they are tried again");
        assert!(numbers.into_iter().eq(0..count));
        let numbers = pool.job::<kill_another>().chunk_size(1).imap(0..count);
        assert!(numbers.map(|n| n.expect("it is tried again")).eq(0..count));
        works(&pool);
    });
}

// Very many tasks.

/// Counts itself.
#[mp::process_fn]
fn count(ran: mp::Atomic<u8>) -> u32 {
    ran.fetch_add(1, Ordering::Relaxed);
    thread::sleep(Duration::from_millis(1));
    std::process::id()
}

/// Submits that many tasks of a millisecond each, and kills a worker every 20 ms.
fn a_kill_every_20_ms(tasks: usize) {
    const PAUSE: Duration = Duration::from_millis(20);
    let pool = pool(4, 0);
    let ran: Vec<_> = (0..tasks)
        .map(|_| mp::Atomic::<u8>::new(0).expect("making an atomic"))
        .collect();
    let mut deaths = Deaths::default();
    let every_20_ms = |_: &mut Random| thread::sleep(PAUSE);
    let ((), killed) = killing(&pool, every_20_ms, |_: &AtomicU32| {
        let (half, rest) = ran.split_at(tasks / 2);
        let submit = |ran: &mp::Atomic<u8>| pool.submit::<count>(ran.clone()).expect("submitting");
        let submitted: Vec<_> = half.iter().map(submit).collect();
        let started = Instant::now();
        let job = pool.job::<count>().on_error(OnError::Continue);
        let items = job.imap(rest.iter().cloned());
        for (number, (ran, result)) in (0..).zip(rest.iter().zip(items)) {
            check_count(&mut deaths, ran, Some(number), result);
        }
        for (ran, task) in half.iter().zip(submitted) {
            check_count(&mut deaths, ran, None, task.get());
        }
        eprintln!("{tasks} tasks in {:?}", started.elapsed());
    });
    deaths.check_all(&killed);
    eprintln!(
        "{} tasks of {} killed workers",
        deaths.0.len(),
        killed.len()
    );
    works(&pool);
}

#[track_caller]
fn check_count(
    deaths: &mut Deaths,
    ran: &mp::Atomic<u8>,
    index: Option<u64>,
    result: Result<u32, TaskError>,
) {
    let ran = ran.load(Ordering::Relaxed);
    match result {
        Ok(_) => assert_eq!(ran, 1),
        Err(error) => {
            assert!(ran <= 1);
            deaths.check(&error, index);
        }
    }
}

#[mp::test]
fn with_a_kill_every_20_ms_all_other_tasks_run_exactly_once() {
    alone(|| a_kill_every_20_ms(1500));
}

#[mp::test]
#[ignore = "takes long; tests/long_kills.sh runs it"]
fn ten_thousand_tasks_with_a_kill_every_20_ms() {
    check(|| {
        let _watchdog = Watchdog::new();
        a_kill_every_20_ms(10_000);
    });
}
