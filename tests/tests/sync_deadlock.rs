//! Waiting that would never end.

mod common_shm;

use std::time::Duration;

use mp::{Array, Event, Lock, LockError, OwnedByTheDead, Queue, Value};
use multiproc_tests::leaks::alone;
use serde::{Deserialize, Serialize};

/// Who waits for what: process, pid, lock.
type Cycle = Vec<(String, u32, String)>;

/// The cycle of a deadlock; `None` when the lock was acquired.
#[track_caller]
fn cycle<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> Option<Cycle> {
    match locked {
        Ok(_) => None,
        Err(LockError::Deadlock(deadlock)) => {
            let members = deadlock.cycle().iter();
            let tell = |member: &mp::WaitsFor| {
                (
                    member.process().to_owned(),
                    member.pid(),
                    member.lock().to_owned(),
                )
            };
            Some(members.map(tell).collect())
        }
        Err(error) => panic!("{error}"),
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum Any {
    Lock(Lock),
    Value(Value<u32>),
    Array(Array<u8>),
}

/// Takes the first, waits until all have theirs, and takes the second.
#[mp::process_fn]
fn take_two(first: Any, second: Any, ready: Queue<()>, go: Event) -> Option<Cycle> {
    let take_second = || {
        ready.put(()).expect("putting");
        go.wait().expect("waiting");
        match &second {
            Any::Lock(lock) => cycle(lock.lock()),
            Any::Value(value) => cycle(value.lock()),
            Any::Array(array) => cycle(array.lock()),
        }
    };
    match &first {
        Any::Lock(lock) => {
            let _guard = lock.lock().expect("it is free");
            take_second()
        }
        Any::Value(value) => {
            let _guard = value.lock().expect("it is free");
            take_second()
        }
        Any::Array(array) => {
            let _guard = array.lock().expect("it is free");
            take_second()
        }
    }
}

/// Processes each of which owns a lock and takes the next one's; gives the cycle that one of them was told of.
fn ring(locks: &[Any]) -> Cycle {
    let ready = Queue::new().expect("making a queue");
    let go = Event::new().expect("making an event");
    let next = locks.iter().cycle().skip(1);
    let processes: Vec<_> = locks
        .iter()
        .zip(next)
        .map(|(first, second)| {
            mp::spawn!(
                take_two,
                first.clone(),
                second.clone(),
                ready.clone(),
                go.clone()
            )
            .expect("spawning")
        })
        .collect();
    for _ in locks {
        ready.get().expect("getting");
    }
    go.set();
    let pids: Vec<_> = processes.iter().map(|process| process.id()).collect();
    let told: Vec<Cycle> = processes
        .into_iter()
        .filter_map(|process| process.join().expect("it ends"))
        .collect();
    assert_eq!(told.len(), 1, "one is told, and the others go on: {told:?}");
    let cycle = told.into_iter().next().expect("there is one");
    assert_eq!(cycle.len(), locks.len());
    for pid in pids {
        assert!(cycle.iter().any(|member| member.1 == pid), "{cycle:?}");
    }
    cycle
}

#[mp::test]
fn two_processes_that_wait_for_each_other() {
    alone(|| {
        let first = Lock::new().expect("making a lock");
        let line = line!();
        let second = Lock::new().expect("making a lock");
        let cycle = ring(&[Any::Lock(first), Any::Lock(second)]);
        for created in [line - 1, line + 1] {
            let place = format!("sync_deadlock.rs:{created}:");
            assert!(
                cycle.iter().any(|member| member.2.contains(&place)),
                "{cycle:?}"
            );
        }
        let mut names: Vec<_> = cycle.iter().map(|member| member.0.clone()).collect();
        names.sort();
        // `alone` has started two.
        assert_eq!(names, ["Process-3", "Process-4"]);
    });
}

#[mp::test]
fn twenty_processes_that_wait_in_a_ring() {
    alone(|| {
        let locks: Vec<_> = (0..20)
            .map(|_| Any::Lock(Lock::new().expect("making a lock")))
            .collect();
        ring(&locks);
    });
}

#[mp::test]
fn locks_values_and_arrays_in_one_ring() {
    alone(|| {
        ring(&[
            Any::Lock(Lock::new().expect("making a lock")),
            Any::Value(Value::new(0).expect("making a value")),
            Any::Array(Array::zeroed(3).expect("making an array")),
        ]);
    });
}

#[mp::test]
fn a_thread_that_waits_for_itself() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let value = Value::new(0).expect("making a value");
        let array = Array::<u8>::zeroed(1).expect("making an array");
        let guard = lock.lock().expect("it is free");
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        let told = cycle(lock.lock()).expect("it is owned by this thread");
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].0.as_str(), told[0].1),
            ("MainProcess", std::process::id())
        );
        assert!(cycle(lock.lock_timeout(common_shm::LONG)).is_some());
        drop(guard);
        let mut number = value.lock().expect("it is free");
        assert!(matches!(value.get(), Err(LockError::Deadlock(_))));
        assert!(matches!(value.set(5), Err(LockError::Deadlock(_))));
        assert!(matches!(
            value.update(|n| n + 1),
            Err(LockError::Deadlock(_))
        ));
        *number = 7;
        drop(number);
        assert_eq!(value.get().expect("it is free"), 7);
        let _items = array.lock().expect("it is free");
        assert!(matches!(array.to_vec(), Err(LockError::Deadlock(_))));
    });
}

#[mp::test]
fn two_threads_that_wait_for_each_other() {
    alone(|| {
        let locks = [(); 2].map(|()| Lock::new().expect("making a lock"));
        let barrier = std::sync::Barrier::new(2);
        let take = |first: usize| {
            let _guard = locks[first].lock().expect("it is free");
            barrier.wait();
            cycle(locks[1 - first].lock())
        };
        let told = std::thread::scope(|scope| {
            let threads = [0, 1].map(|first| scope.spawn(move || take(first)));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        assert_eq!(told.iter().flatten().count(), 1);
        let cycle = told.into_iter().flatten().next().expect("there is one");
        assert!(cycle.iter().all(|member| member.1 == std::process::id()));
    });
}

/// Takes the first, waits until the other has the second, and takes that for a while only.
#[mp::process_fn]
fn take_two_in_time(first: Lock, second: Lock, mine: Event, theirs: Event) -> bool {
    let _guard = first.lock().expect("it is free");
    mine.set();
    theirs.wait().expect("waiting");
    matches!(
        second.lock_timeout(Duration::from_millis(300)),
        Err(LockError::TimedOut)
    )
}

#[mp::test]
fn one_who_waits_with_a_deadline_is_in_no_deadlock() {
    alone(|| {
        let [first, second] = [(); 2].map(|()| Lock::new().expect("making a lock"));
        let [mine, theirs] = [(); 2].map(|()| Event::new().expect("making an event"));
        let guard = second.lock().expect("it is free");
        let other = mp::spawn!(
            take_two_in_time,
            first.clone(),
            second.clone(),
            theirs.clone(),
            mine.clone()
        )
        .expect("spawning");
        theirs.wait().expect("waiting");
        mine.set();
        assert!(
            first.lock().is_ok(),
            "the other one gives up, and releases it"
        );
        drop(guard);
        assert!(other.join().expect("it ends"));
    });
}

/// Takes locks in one order, one after the other or several at once.
#[mp::process_fn]
fn take_in_order(locks: Vec<Lock>, total: Value<u64>, rounds: u64) -> u64 {
    let take = |seed: u64| {
        let mut number = seed;
        for _ in 0..rounds {
            number = number
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let chosen = number >> 40;
            let wanted = locks
                .iter()
                .enumerate()
                .filter(|(index, _)| chosen >> index & 1 == 1);
            let _guards: Vec<_> = wanted
                .map(|(_, lock)| lock.lock().expect("no deadlock, no death"))
                .collect();
            *total.lock().expect("no deadlock, no death") += 1;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| take(u64::from(std::process::id())));
        scope.spawn(|| take(u64::from(std::process::id()) << 32));
    });
    2 * rounds
}

#[mp::test]
fn locks_that_are_taken_in_one_order_are_no_deadlock() {
    alone(|| {
        let locks: Vec<_> = (0..5)
            .map(|_| Lock::new().expect("making a lock"))
            .collect();
        let total = Value::new(0_u64).expect("making a value");
        let processes: Vec<_> = (0..4)
            .map(|_| {
                mp::spawn!(take_in_order, locks.clone(), total.clone(), 3000).expect("spawning")
            })
            .collect();
        let taken: u64 = processes
            .into_iter()
            .map(|process| process.join().expect("it ends"))
            .sum();
        assert_eq!(total.get().expect("it is free"), taken);
    });
}
