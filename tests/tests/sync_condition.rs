//! Conditions.

mod common_shm;

use std::time::Duration;

use common_shm::{LONG, Random, kill, kills};
use mp::{Array, Condition, Lock, LockError, OwnedByTheDead, RLock, Value};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::eventually;

fn make() -> Condition {
    Condition::new().expect("making a condition")
}

fn value(number: u32) -> Value<u32> {
    Value::new(number).expect("making a value")
}

/// The guard, whoever owned the lock before.
fn any<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> G {
    match locked {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

#[mp::process_fn]
fn set_under_the_lock(lock: Lock, flag: Value<u32>, changed: Condition) {
    let _guard = lock.lock().expect("no death");
    flag.set(1).expect("no death");
    changed.notify_one();
}

#[mp::test]
fn a_lock_is_released_while_one_waits() {
    alone(|| {
        let (lock, flag, changed) = (Lock::new().expect("making a lock"), value(0), make());
        let guard = lock.lock().expect("it is free");
        let setter = mp::spawn!(
            set_under_the_lock,
            lock.clone(),
            flag.clone(),
            changed.clone()
        )
        .expect("spawning");
        let is_unset = |(): &mut ()| flag.get().expect("no death") == 0;
        let guard = changed.wait_while(guard, is_unset).expect("no death");
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        drop(guard);
        assert!(lock.lock().is_ok());
        setter.join().expect("it ends");
    });
}

#[mp::process_fn]
fn set_under_the_rlock(lock: RLock, flag: Value<u32>, changed: Condition) {
    let _guards = [(); 2].map(|()| lock.lock().expect("no death"));
    flag.set(1).expect("no death");
    changed.notify_all();
}

#[mp::process_fn]
fn is_locked(lock: RLock) -> bool {
    matches!(lock.try_lock(), Err(LockError::WouldBlock))
}

#[mp::test]
fn all_levels_of_an_rlock_are_released_and_restored() {
    alone(|| {
        let (lock, flag, changed) = (RLock::new().expect("making a lock"), value(0), make());
        let outer = lock.lock().expect("it is free");
        let inner = lock.lock().expect("it is this thread's");
        let setter = mp::spawn!(
            set_under_the_rlock,
            lock.clone(),
            flag.clone(),
            changed.clone()
        )
        .expect("spawning");
        let is_unset = |(): &mut ()| flag.get().expect("no death") == 0;
        let inner = changed.wait_while(inner, is_unset).expect("no death");
        setter.join().expect("it ends");
        let is_locked = || {
            mp::spawn!(is_locked, lock.clone())
                .expect("spawning")
                .join()
                .expect("it ends")
        };
        assert!(is_locked());
        drop(outer);
        assert!(is_locked());
        drop(inner);
        assert!(!is_locked());
    });
}

/// Adds one to each, one after the other.
#[mp::process_fn]
fn add(number: Value<u32>, items: Array<u32>, changed: Condition) {
    for _ in 0..3 {
        *number.lock().expect("no death") += 1;
        changed.notify_all();
    }
    for index in 0..3 {
        items.lock().expect("no death")[index] += 1;
        changed.notify_all();
    }
}

#[mp::test]
fn closures_see_the_value_and_the_items() {
    alone(|| {
        let (number, changed) = (value(0), make());
        let items = Array::zeroed(3).expect("making an array");
        let adder =
            mp::spawn!(add, number.clone(), items.clone(), changed.clone()).expect("spawning");
        let guard = number.lock().expect("no death");
        let mut guard = changed
            .wait_while(guard, |number| *number < 3)
            .expect("no death");
        *guard += 1;
        drop(guard);
        let guard = items.lock().expect("no death");
        let (guard, result) = changed
            .wait_timeout_while(guard, LONG, |items| items.contains(&0))
            .expect("no death");
        assert!(!result.timed_out());
        assert_eq!(*guard, [1; 3]);
        drop(guard);
        adder.join().expect("it ends");
        assert_eq!(number.get().expect("no death"), 4);
    });
}

/// Waits without looking at anything, and counts itself before and after.
#[mp::process_fn]
fn wait_once(counts: Array<u32>, changed: Condition) {
    let mut guard = any(counts.lock());
    guard[0] += 1;
    any(changed.wait(guard))[1] += 1;
}

/// Processes that wait, all of them by now.
fn waiters(count: u32, counts: &Array<u32>, changed: &Condition) -> Vec<mp::Process<()>> {
    let before = counts.lock().expect("no death")[0];
    let start = |_| mp::spawn!(wait_once, counts.clone(), changed.clone()).expect("spawning");
    let processes = (0..count).map(start).collect();
    // Who has counted itself and released the lock waits.
    let all = || (counts.lock().expect("no death")[0] == before + count).then_some(());
    assert!(eventually(all).is_some());
    processes
}

#[track_caller]
fn comes(counts: &Array<u32>, count: u32) {
    let come = || (counts.lock().expect("no death")[1] == count).then_some(());
    assert!(eventually(come).is_some(), "{:?}", counts.to_vec());
}

#[mp::test]
fn one_or_all_are_woken() {
    alone(|| {
        let (counts, changed) = (Array::zeroed(2).expect("making an array"), make());
        changed.notify_all();
        let processes = waiters(4, &counts, &changed);
        for woken in 1..=2 {
            changed.notify_one();
            comes(&counts, woken);
            // Longer than anybody sleeps without a look.
            std::thread::sleep(Duration::from_millis(1200));
            assert_eq!(counts.lock().expect("no death")[1], woken);
        }
        changed.notify_all();
        for process in processes {
            process.join().expect("it ends");
        }
        comes(&counts, 4);
    });
}

#[mp::test]
fn time_passes_and_all_is_as_before() {
    alone(|| {
        let (number, changed) = (value(7), make());
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let guard = number.lock().expect("it is free");
            let (guard, result) = changed.wait_timeout(guard, timeout).expect("no death");
            assert!(result.timed_out());
            assert!(matches!(number.try_lock(), Err(LockError::WouldBlock)));
            let (guard, result) = changed
                .wait_timeout_while(guard, timeout, |number| *number == 7)
                .expect("no death");
            assert!(result.timed_out());
            let (guard, result) = changed
                .wait_timeout_while(guard, timeout, |number| *number != 7)
                .expect("no death");
            assert!(!result.timed_out());
            assert_eq!(*guard, 7);
        }
        // Those who gave up take no notification from those who wait.
        let counts = Array::zeroed(2).expect("making an array");
        let [waiter] = waiters(1, &counts, &changed).try_into().expect("one");
        changed.notify_one();
        waiter.join().expect("it ends");
    });
}

/// Notifies, and ends while it owns the lock.
#[mp::process_fn]
fn notify_and_end(number: Value<u32>, changed: Condition) {
    let _guard = number.lock().expect("it is released");
    changed.notify_one();
    std::process::exit(0);
}

#[mp::test]
fn who_wakes_is_told_that_the_owner_died() {
    alone(|| {
        let (number, changed) = (value(7), make());
        let guard = number.lock().expect("it is free");
        let process =
            mp::spawn!(notify_and_end, number.clone(), changed.clone()).expect("spawning");
        let Err(LockError::OwnerDied(guard)) = changed.wait(guard) else {
            panic!("its owner died");
        };
        assert_eq!(
            guard.dead_owner().and_then(mp::DeadOwner::pid),
            Some(process.id())
        );
        assert_eq!(*guard, 7);
        drop(guard);
        process.wait();
        assert!(number.lock().is_ok());
    });
}

#[mp::test]
fn a_lock_that_is_not_got_back_leaves_its_other_guards_without_effect() {
    alone(|| {
        let (lock, changed) = (RLock::new().expect("making a lock"), make());
        let plain = Lock::new().expect("making a lock");
        // Either of the two may be told, by who waits last: until it is the one that the test is about.
        let told = (0..500).any(|_| {
            std::thread::scope(|scope| {
                let plain_guard = plain.lock().expect("it is free");
                let outer = lock.lock().expect("it is free");
                let inner = lock.lock().expect("it is this thread's");
                let other = scope.spawn(|| {
                    let guard = lock.lock().expect("it is released");
                    changed.notify_one();
                    let told = plain.lock().is_err();
                    (!told).then(|| {
                        // The outer guard of the other thread has been dropped, and this one is valid.
                        let stays = scope.spawn(|| lock.try_lock().is_err()).join();
                        drop(guard);
                        stays.expect("no panic")
                    })
                });
                let relocked = changed.wait(inner).map(drop);
                let is_told = matches!(relocked, Err(LockError::Deadlock(_)));
                drop(relocked);
                drop(outer);
                drop(plain_guard);
                let stays = other.join().expect("no panic");
                assert_eq!(stays, is_told.then_some(true));
                is_told
            })
        });
        assert!(told, "it was never told of the deadlock");
        assert!(lock.lock().is_ok());
    });
}

#[mp::test]
fn killed_waiters_take_no_notification_from_the_living() {
    alone(|| {
        let (counts, changed) = (Array::zeroed(2).expect("making an array"), make());
        for round in 1..=10 {
            let mut processes = waiters(4, &counts, &changed);
            let living = processes.pop().expect("there are four");
            processes.into_iter().for_each(kill);
            changed.notify_one();
            living.join().expect("it ends");
            comes(&counts, round);
        }
    });
}

/// Waits again and again until it is killed.
#[mp::process_fn]
fn wait_for_ever(turn: Value<u32>, changed: Condition) {
    let mut guard = any(turn.lock());
    loop {
        guard = any(changed
            .wait_timeout(guard, Duration::from_millis(1))
            .map(|waited| waited.0));
        guard = any(changed.wait(guard));
    }
}

/// Takes turns with others.
#[mp::process_fn]
fn take_turns(turn: Value<u32>, changed: Condition, me: u32, of: u32, times: u32) {
    for _ in 0..times {
        let mut guard = any(turn.lock());
        while *guard % of != me {
            guard = any(changed.wait(guard));
        }
        *guard += 1;
        drop(guard);
        changed.notify_all();
    }
}

#[mp::test]
fn survivors_take_turns_while_others_are_killed() {
    alone(|| {
        const TIMES: u32 = 1_000;
        let mut random = Random::new();
        let (turn, changed) = (value(0), make());
        let survivors = [0, 1].map(|me| {
            mp::spawn!(take_turns, turn.clone(), changed.clone(), me, 2, TIMES).expect("spawning")
        });
        let victim = || mp::spawn!(wait_for_ever, turn.clone(), changed.clone()).expect("spawning");
        let mut victims = vec![victim(), victim()];
        for _ in 0..kills() {
            random.moment();
            kill(victims.swap_remove(random.below(2) as usize));
            victims.push(victim());
        }
        for survivor in survivors {
            survivor.join().expect("it survives");
        }
        victims.into_iter().for_each(kill);
        assert_eq!(*any(turn.lock()), 2 * TIMES);
    });
}

/// Takes what others put, one by one.
#[mp::process_fn]
fn take(items: Value<u32>, changed: Condition, times: u32) {
    for _ in 0..times {
        let guard = items.lock().expect("no death");
        *changed
            .wait_while(guard, |items| *items == 0)
            .expect("no death") -= 1;
    }
}

#[mp::test]
fn no_notification_is_missed() {
    alone(|| {
        const TIMES: u32 = 5_000;
        let (items, changed) = (value(0), make());
        let takers = [(); 2]
            .map(|()| mp::spawn!(take, items.clone(), changed.clone(), TIMES).expect("spawning"));
        for _ in 0..2 * TIMES {
            *items.lock().expect("no death") += 1;
            changed.notify_one();
        }
        for taker in takers {
            taker.join().expect("it ends");
        }
        assert_eq!(items.get().expect("no death"), 0);
    });
}
