//! The lock that its owner can take again.

mod common_shm;

use std::sync::Barrier;
use std::time::Duration;

use common_shm::{LONG, Random, kill, kills, stats};
use mp::{Event, Lock, LockError, OwnedByTheDead, Queue, RLock, Value};
use multiproc_tests::leaks::{alone, apart};

fn make() -> RLock {
    RLock::new().expect("making a lock")
}

/// The guard, whoever owned the lock before.
fn any<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> G {
    match locked {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the lock is free, for another process.
#[mp::process_fn]
fn is_free(lock: RLock) -> bool {
    match lock.try_lock() {
        Ok(_guard) => return true,
        Err(error) => assert!(matches!(error, LockError::WouldBlock), "{error}"),
    }
    let late = lock.lock_timeout(Duration::from_millis(5));
    assert!(matches!(late, Err(LockError::TimedOut)));
    false
}

#[track_caller]
fn free_for_others(lock: &RLock) -> bool {
    let process = mp::spawn!(is_free, lock.clone()).expect("spawning");
    process.join().expect("it ends")
}

#[mp::test]
fn it_is_released_with_the_last_guard_in_whatever_order() {
    alone(|| {
        let lock = make();
        let first = lock.lock().expect("it is free");
        let second = lock.try_lock().expect("it is this thread's");
        let third = lock.lock_timeout(LONG).expect("it is this thread's");
        assert!(!free_for_others(&lock));
        drop(first);
        drop(third);
        assert!(!free_for_others(&lock));
        let fourth = lock.lock().expect("it is this thread's");
        drop(second);
        assert!(!free_for_others(&lock));
        drop(fourth);
        assert!(free_for_others(&lock));
    });
}

#[mp::test]
fn other_threads_of_the_owner_wait() {
    alone(|| {
        let lock = make();
        let guard = lock.lock().expect("it is free");
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| matches!(lock.try_lock(), Err(LockError::WouldBlock)));
            assert!(refused.join().expect("no panic"));
            let waiter = scope.spawn(|| drop(lock.lock().expect("it is released")));
            drop(guard);
            waiter.join().expect("no panic");
        });
    });
}

/// Counts under three levels, in two steps.
#[mp::process_fn]
fn count(lock: RLock, value: Value<u64>, times: u64) {
    for _ in 0..times {
        let _first = lock.lock().expect("no death");
        let number = value.get().expect("no death");
        let _second = lock.lock().expect("no death");
        let _third = lock.lock().expect("no death");
        value.set(number + 1).expect("no death");
    }
}

#[mp::test]
fn levels_exclude_each_other() {
    alone(|| {
        const TIMES: u64 = 5_000;
        let (lock, value) = (make(), Value::new(0).expect("making a value"));
        let start = || mp::spawn!(count, lock.clone(), value.clone(), TIMES).expect("spawning");
        let processes = [start(), start(), start()];
        for process in processes {
            process.join().expect("it ends");
        }
        assert_eq!(value.get().expect("it is free"), 3 * TIMES);
    });
}

#[mp::process_fn]
fn die_three_levels_deep(lock: RLock) {
    let _guards = [(); 3].map(|()| lock.lock().expect("it is free"));
    std::process::exit(3);
}

#[mp::test]
fn the_next_owner_of_a_dead_one_begins_at_the_first_level() {
    alone(|| {
        let lock = make();
        let process = mp::spawn!(die_three_levels_deep, lock.clone()).expect("spawning");
        let (pid, name) = (process.id(), process.name().to_owned());
        process.wait();
        let Err(LockError::OwnerDied(guard)) = lock.lock() else {
            panic!("its owner died");
        };
        let dead = guard.dead_owner().expect("it is known");
        assert_eq!(dead.pid(), Some(pid));
        assert!(dead.name().is_none_or(|dead| dead == name));
        let again = lock.lock().expect("told once");
        assert_eq!(again.dead_owner(), None);
        drop(again);
        assert!(!free_for_others(&lock));
        drop(guard);
        assert!(free_for_others(&lock));
    });
}

/// Who was in the deadlock; nobody when the lock was acquired.
#[track_caller]
fn told<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> Vec<u32> {
    match locked {
        Ok(_) => Vec::new(),
        Err(LockError::Deadlock(deadlock)) => {
            let text = deadlock.to_string();
            assert_eq!(text.matches("sync_rlock.rs").count(), 2, "{text}");
            deadlock.cycle().iter().map(mp::WaitsFor::pid).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

/// Takes the plain lock, then the other; or the other way round. Tells who was in the deadlock, if it was told.
#[mp::process_fn]
fn take_both(plain: Lock, lock: RLock, plain_first: bool, ready: Queue<()>, go: Event) -> Vec<u32> {
    let meet = || {
        ready.put(()).expect("putting");
        go.wait().expect("waiting");
    };
    if plain_first {
        let _plain = plain.lock().expect("it is free");
        meet();
        told(lock.lock())
    } else {
        let _outer = lock.lock().expect("it is free");
        let _inner = lock.lock().expect("it is this thread's");
        meet();
        told(plain.lock())
    }
}

#[mp::test]
fn two_processes_that_wait_for_each_other() {
    alone(|| {
        let (plain, lock) = (Lock::new().expect("making a lock"), make());
        let ready = Queue::new().expect("making a queue");
        let go = Event::new().expect("making an event");
        let processes = [true, false].map(|plain_first| {
            mp::spawn!(
                take_both,
                plain.clone(),
                lock.clone(),
                plain_first,
                ready.clone(),
                go.clone()
            )
            .expect("spawning")
        });
        let mut pids = processes.each_ref().map(|process| process.id()).to_vec();
        for _ in &processes {
            ready.get().expect("getting");
        }
        go.set();
        let told = processes.map(|process| process.join().expect("it ends"));
        let mut told: Vec<_> = told.into_iter().filter(|told| !told.is_empty()).collect();
        assert_eq!(told.len(), 1, "one is told, and the other goes on");
        told[0].sort_unstable();
        pids.sort_unstable();
        assert_eq!(told[0], pids);
    });
}

#[mp::test]
fn two_threads_that_wait_for_each_other() {
    alone(|| {
        let locks = [make(), make()];
        let barrier = Barrier::new(2);
        let take = |first: usize| {
            let _outer = locks[first].lock().expect("it is free");
            let _inner = locks[first].lock().expect("it is this thread's");
            barrier.wait();
            matches!(locks[1 - first].lock(), Err(LockError::Deadlock(_)))
        };
        let told = std::thread::scope(|scope| {
            [0, 1]
                .map(|first| scope.spawn(move || take(first)))
                .map(|thread| thread.join().expect("no panic"))
        });
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
        assert!(locks.iter().all(free_for_others));
    });
}

#[mp::test]
fn a_lock_whose_guard_was_forgotten_stays_locked() {
    apart(|| {
        let before = stats().objects;
        let lock = make();
        std::mem::forget(lock.lock().expect("it is free"));
        drop(lock.lock().expect("it is this thread's"));
        assert!(!free_for_others(&lock));
        // Its memory is kept, too: the kernel and the C library know it.
        drop(lock);
        assert_eq!(stats().objects, before + 1);
    });
}

/// Adds to both under changing levels.
#[mp::process_fn]
fn add(lock: RLock, pair: mp::Array<u64>) {
    loop {
        let _outer = any(lock.lock());
        any(pair.lock())[0] += 1;
        let _inner = lock.lock().expect("it is this thread's");
        any(pair.lock())[1] += 1;
    }
}

#[mp::test]
fn an_owner_that_is_killed_is_told_once() {
    alone(|| {
        let mut random = Random::new();
        let (lock, pair) = (make(), mp::Array::zeroed(2).expect("making an array"));
        let mut told = 0;
        for _ in 0..kills() {
            let victim = mp::spawn!(add, lock.clone(), pair.clone()).expect("spawning");
            let pid = victim.id();
            let before: u64 = any(pair.lock())[0];
            while any(pair.lock())[0] == before {
                std::thread::yield_now();
            }
            random.moment();
            kill(victim);
            let outer = any(lock.lock());
            let in_the_middle = outer.dead_owner().is_some();
            told += u32::from(in_the_middle);
            if let Some(dead) = outer.dead_owner() {
                assert!(dead.pid().is_none_or(|dead| dead == pid), "{dead:?}");
            }
            let inner = lock.lock().expect("told once");
            let mut items = any(pair.lock());
            let ahead = items[0] - items[1];
            assert!(ahead <= u64::from(in_the_middle), "{:?}", &items[..]);
            items[1] = items[0];
            drop((items, outer, inner));
            assert!(lock.lock().is_ok());
        }
        assert!(told > 0, "nobody died while owning the lock");
    });
}

#[mp::process_fn]
fn hold_now_and_then(lock: RLock) {
    loop {
        let _guards = (any(lock.lock()), any(lock.lock()));
    }
}

#[mp::process_fn]
fn count_among_the_dying(lock: RLock, value: Value<u64>, times: u64) {
    for _ in 0..times {
        let _outer = any(lock.lock());
        let number = any(value.lock());
        let _inner = lock.lock().expect("it is this thread's");
        let next = *number + 1;
        drop(number);
        *any(value.lock()) = next;
    }
}

#[mp::test]
fn survivors_go_on_when_others_are_killed() {
    alone(|| {
        const TIMES: u64 = 20_000;
        let mut random = Random::new();
        let (lock, value) = (make(), Value::new(0).expect("making a value"));
        let start = || {
            mp::spawn!(count_among_the_dying, lock.clone(), value.clone(), TIMES).expect("spawning")
        };
        let survivors = [start(), start()];
        for _ in 0..kills() {
            let victim = mp::spawn!(hold_now_and_then, lock.clone()).expect("spawning");
            random.moment();
            kill(victim);
        }
        for survivor in survivors {
            survivor.join().expect("it survives");
        }
        assert_eq!(*any(value.lock()), 2 * TIMES);
    });
}
