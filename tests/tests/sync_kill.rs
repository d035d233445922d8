//! Locks whose owners are killed at any moment. `MP_KILLS` sets how many.

mod common_shm;

use common_shm::{Random, kill, kills};
use mp::{LockError, OwnedByTheDead};
use multiproc_tests::leaks::alone;

/// The guard, whoever owned the lock before.
fn any<G: OwnedByTheDead>(locked: Result<G, LockError<G>>) -> G {
    match locked {
        Ok(guard) | Err(LockError::OwnerDied(guard)) => guard,
        Err(error) => panic!("{error}"),
    }
}

/// Adds to both ends of the array under the lock, one after the other.
#[mp::process_fn]
fn add(lock: mp::Lock, pair: mp::Array<u64>, total: mp::Value<u64>) {
    loop {
        let _guard = any(lock.lock());
        any(pair.lock())[0] += 1;
        any(pair.lock())[1] += 1;
        *any(total.lock()) += 1;
    }
}

#[mp::test]
fn an_owner_that_is_killed_is_told_once() {
    alone(|| {
        let mut random = Random::new();
        let lock = mp::Lock::new().expect("making a lock");
        let pair = mp::Array::<u64>::zeroed(2).expect("making an array");
        let total = mp::Value::new(0).expect("making a value");
        let mut told = 0;
        for _ in 0..kills() {
            let victim =
                mp::spawn!(add, lock.clone(), pair.clone(), total.clone()).expect("spawning");
            let (pid, name) = (victim.id(), victim.name().to_owned());
            let before: u64 = *any(total.lock());
            while *any(total.lock()) == before {
                std::thread::yield_now();
            }
            random.moment();
            kill(victim);
            let check = |dead: Option<&mp::DeadOwner>| {
                let Some(dead) = dead else { return false };
                assert!(dead.pid().is_none_or(|dead| dead == pid), "{dead:?}");
                assert!(dead.name().is_none_or(|dead| dead == name), "{dead:?}");
                true
            };
            let guard = any(lock.lock());
            let in_the_middle = check(guard.dead_owner());
            told += u32::from(in_the_middle);
            let mut items = any(pair.lock());
            check(items.dead_owner());
            assert!(
                items[0] - items[1] <= u64::from(in_the_middle),
                "{:?}",
                &items[..]
            );
            items[1] = items[0];
            drop(items);
            check(any(total.lock()).dead_owner());
            drop(guard);
            assert!(lock.lock().is_ok());
            assert!(pair.lock().is_ok());
            assert!(total.lock().is_ok());
        }
        assert!(told > 0, "nobody died while owning the lock");
    });
}

#[mp::process_fn]
fn increment(value: mp::Value<u64>, times: u64) {
    for _ in 0..times {
        *any(value.lock()) += 1;
    }
}

#[mp::test]
fn survivors_lose_no_update_when_others_are_killed() {
    alone(|| {
        const TIMES: u64 = 200_000;
        let mut random = Random::new();
        let value = mp::Value::new(0).expect("making a value");
        let noise = mp::Value::new(0_u64).expect("making a value");
        let survivor = mp::spawn!(increment, value.clone(), TIMES).expect("spawning");
        for _ in 0..kills() {
            // They take the same lock, and another one.
            let waiter =
                mp::spawn!(hold_now_and_then, value.clone(), noise.clone()).expect("spawning");
            random.moment();
            kill(waiter);
        }
        survivor.join().expect("it survives");
        assert_eq!(*any(value.lock()), TIMES);
    });
}

#[mp::process_fn]
fn hold_now_and_then(value: mp::Value<u64>, noise: mp::Value<u64>) {
    loop {
        let guard = any(value.lock());
        *any(noise.lock()) += *guard;
    }
}

/// Works for a while under the lock, so that others have to sleep.
#[mp::process_fn]
fn work_under_the_lock(lock: mp::Lock, times: u64) {
    for _ in 0..times {
        let _guard = any(lock.lock());
        for _ in 0..500 {
            std::hint::spin_loop();
        }
    }
}

#[mp::test]
fn waiters_that_are_killed_take_no_wake_up_with_them() {
    alone(|| {
        let mut random = Random::new();
        let lock = mp::Lock::new().expect("making a lock");
        let start = |times| mp::spawn!(work_under_the_lock, lock.clone(), times).expect("spawning");
        let mut survivors: Vec<_> = (0..3).map(|_| start(2000)).collect();
        let mut victims: Vec<_> = (0..3).map(|_| start(u64::MAX)).collect();
        for _ in 0..kills() {
            random.moment();
            kill(victims.swap_remove(random.below(3) as usize));
            victims.push(start(u64::MAX));
        }
        victims.into_iter().for_each(kill);
        while let Some(survivor) = survivors.pop() {
            survivor.join().expect("it survives");
        }
    });
}
