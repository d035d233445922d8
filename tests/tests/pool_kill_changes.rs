//! Pools that are made, resized and ended while their workers are killed at any moment. `MP_KILLS` sets how many.

mod common_harm;
mod common_shm;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common_harm::{Item, MANY, a_while, get, handle, killing, pool, signal_child, works};
use common_shm::{LONG, Random, kills};
use mp::{Pool, TaskError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{children, eventually};
use rustix::process::Signal;

/// Kills all that are there, one after another, for a moment.
fn kill_around(pool: &Pool, random: &mut Random, change: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let pids: Vec<_> = pool
            .stats()
            .workers
            .iter()
            .map(|worker| worker.pid)
            .collect();
        let changing = scope.spawn(change);
        for pid in pids {
            random.moment();
            signal_child(pid, Signal::KILL);
        }
        changing.join().expect("changing");
    });
}

#[mp::process_fn]
fn nap(long: Duration) -> Duration {
    thread::sleep(long);
    long
}

const SHORT: Duration = Duration::from_micros(200);

#[mp::test]
fn a_pool_is_terminated_while_workers_are_killed() {
    alone(|| {
        let mut random = Random::new();
        for round in 0..kills().div_ceil(3) {
            let pool = pool(3, if round % 2 == 0 { 0 } else { MANY });
            let tasks: Vec<_> = (0..100)
                .map(|_| pool.submit::<nap>(SHORT).expect("submitting"))
                .collect();
            let long = pool.submit::<nap>(LONG).expect("submitting");
            random.moment();
            kill_around(&pool, &mut random, || pool.terminate());
            for task in tasks.into_iter().chain([long]) {
                match task.get() {
                    Ok(SHORT) | Err(TaskError::Cancelled | TaskError::WorkerDied { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
            if round % 3 != 0 {
                pool.join().expect("it is terminated");
                assert_eq!(children(), []);
            }
        }
    });
}

#[mp::test]
fn a_pool_is_dropped_while_workers_are_killed() {
    alone(|| {
        let mut random = Random::new();
        for round in 0..kills().div_ceil(3) {
            let pool = pool(3, MANY);
            let pids: Vec<_> = pool
                .stats()
                .workers
                .iter()
                .map(|worker| worker.pid)
                .collect();
            let task = pool
                .map_async::<nap>((0..round).map(|_| SHORT))
                .expect("submitting");
            let killer = thread::spawn(move || {
                let mut random = Random::new();
                for pid in pids {
                    random.moment();
                    signal_child(pid, Signal::KILL);
                }
            });
            random.moment();
            drop(pool);
            match task.get() {
                Ok(naps) => assert_eq!(naps.len(), round as usize),
                Err(TaskError::Cancelled | TaskError::WorkerDied { .. }) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(children(), []);
            killer.join().expect("killing");
        }
    });
}

#[mp::test]
fn a_pool_is_closed_and_joined_while_workers_are_killed() {
    alone(|| {
        let mut random = Random::new();
        for _ in 0..kills().div_ceil(3) {
            let pool = pool(3, MANY);
            let tasks: Vec<_> = (0..100)
                .map(|_| pool.submit::<nap>(SHORT).expect("submitting"))
                .collect();
            kill_around(&pool, &mut random, || {
                pool.close();
                pool.join().expect("it is closed");
            });
            for task in tasks {
                let nap = task.get().expect("a closed pool does what was submitted");
                assert_eq!(nap, SHORT);
            }
            let refused = get(pool.submit::<nap>(SHORT)).expect_err("it is closed");
            assert!(matches!(refused, TaskError::Closed), "{refused:?}");
            assert_eq!(children(), []);
        }
    });
}

#[mp::test]
fn a_pool_is_resized_while_workers_are_killed() {
    alone(|| {
        let pool = pool(2, MANY);
        killing(&pool, a_while, |killed| {
            let mut random = Random::new();
            while killed.load(Ordering::Relaxed) < kills() {
                let size = 1 + random.below(5) as usize;
                let task = pool
                    .map_async::<nap>((0..50).map(|_| SHORT))
                    .expect("submitting");
                pool.resize(size).expect("resizing");
                let naps = task.get().expect("they are tried again");
                assert_eq!(naps, [SHORT; 50]);
            }
        });
        pool.resize(2).expect("resizing");
        let two = || (pool.stats().workers.len() == 2).then_some(());
        assert!(eventually(two).is_some(), "{:?}", pool.stats());
        assert!(eventually(|| (children().len() == 2).then_some(())).is_some());
        works(&pool);
    });
}

#[mp::test]
fn workers_are_killed_while_others_leave_after_their_number_of_tasks() {
    alone(|| {
        let builder = Pool::builder().workers(3).retries(MANY);
        let pool = builder
            .max_tasks_per_worker(7)
            .build()
            .expect("making a pool");
        killing(&pool, a_while, |killed| {
            while killed.load(Ordering::Relaxed) < kills() {
                let items = pool
                    .map::<handle>((0..100).map(Item::new))
                    .expect("they are tried again");
                (0..)
                    .zip(items)
                    .for_each(|(number, item)| item.check(number));
            }
        });
        works(&pool);
    });
}

#[mp::test]
fn workers_are_killed_while_others_leave_because_they_are_idle() {
    alone(|| {
        let builder = Pool::builder().workers(3).retries(MANY);
        let pool = builder.idle_timeout(Duration::from_millis(2)).build();
        let pool = pool.expect("making a pool");
        killing(&pool, a_while, |killed| {
            let mut random = Random::new();
            while killed.load(Ordering::Relaxed) < kills() {
                thread::sleep(Duration::from_micros(random.below(5_000)));
                let items = pool
                    .map::<handle>((0..20).map(Item::new))
                    .expect("they are tried again");
                (0..)
                    .zip(items)
                    .for_each(|(number, item)| item.check(number));
            }
        });
        works(&pool);
    });
}

#[mp::test]
fn a_pool_is_made_while_children_are_killed() {
    alone(|| {
        let mut random = Random::new();
        let mut made = 0;
        for _ in 0..kills().div_ceil(3) {
            let shots = 1 + random.below(2);
            let pause = Duration::from_micros(random.below(6000));
            thread::scope(|scope| {
                scope.spawn(move || {
                    for _ in 0..shots {
                        thread::sleep(pause);
                        let mut there = children().into_iter();
                        there.find(|child| signal_child(child.pid, Signal::KILL));
                    }
                });
                match Pool::new(3) {
                    Ok(pool) => {
                        made += 1;
                        // A task may be hit, too.
                        let job = pool.job::<handle>().retries(MANY);
                        let items = job
                            .map((0..20).map(Item::new))
                            .expect("they are tried again");
                        (0..)
                            .zip(items)
                            .for_each(|(number, item)| item.check(number));
                    }
                    Err(mp::Error::PoolBroken { cause, .. }) => eprintln!("{cause}"),
                    Err(error) => panic!("{error}"),
                }
            });
            assert_eq!(children(), []);
        }
        assert!(made > 0, "no pool was made");
    });
}
