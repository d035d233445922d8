//! Locks, and what they protect.

mod common_shm;

use std::time::Duration;

use mp::{Array, Event, Lock, LockError, OwnedByTheDead, Value};
use multiproc_tests::leaks::alone;

/// Reads and writes in two steps what the lock protects, on two threads.
#[mp::process_fn]
fn increment(lock: Lock, number: Value<u64>, times: u64) {
    let add = || {
        for _ in 0..times {
            let _guard = lock.lock().expect("no death");
            let old = number.get().expect("no death");
            number.set(old + 1).expect("no death");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(add);
        scope.spawn(add);
    });
}

#[mp::test]
fn one_thread_of_all_processes_is_inside() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let number = Value::new(0).expect("making a value");
        let processes: Vec<_> = (0..4)
            .map(|_| mp::spawn!(increment, lock.clone(), number.clone(), 5000).expect("spawning"))
            .collect();
        for process in processes {
            process.join().expect("it ends");
        }
        assert_eq!(number.get().expect("it is free"), 4 * 2 * 5000);
    });
}

#[mp::process_fn]
fn hold(lock: Lock, held: Event, release: Event) {
    let _guard = lock.lock().expect("it is free");
    held.set();
    release.wait().expect("waiting");
}

#[mp::test]
fn a_lock_that_another_process_owns_is_not_to_be_had() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let [held, release] = [(); 2].map(|()| Event::new().expect("making an event"));
        let holder =
            mp::spawn!(hold, lock.clone(), held.clone(), release.clone()).expect("spawning");
        held.wait().expect("waiting");
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        for timeout in [Duration::ZERO, Duration::from_millis(20)] {
            assert!(matches!(
                lock.lock_timeout(timeout),
                Err(LockError::TimedOut)
            ));
        }
        release.set();
        assert!(lock.lock_timeout(common_shm::LONG).is_ok());
        holder.join().expect("it ends");
        assert!(lock.try_lock().is_ok());
        assert!(lock.lock_timeout(Duration::ZERO).is_ok());
        assert!(lock.lock_timeout(Duration::MAX).is_ok());
    });
}

/// How a process ends.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum End {
    Killed,
    Abort,
    Exit,
    /// Its function returns.
    Return,
}

/// Ends while it owns all of them.
#[mp::process_fn]
fn die_as_owner(
    end: End,
    lock: Lock,
    value: Value<u32>,
    array: Array<u8>,
    ready: Event,
) -> Result<(), mp::RemoteError> {
    std::mem::forget(lock.lock()?);
    let mut number = value.lock()?;
    *number = 1;
    std::mem::forget(number);
    std::mem::forget(array.lock()?);
    ready.set();
    match end {
        End::Killed => loop {
            std::thread::park();
        },
        End::Abort => std::process::abort(),
        End::Exit => std::process::exit(0),
        End::Return => Ok(()),
    }
}

fn death_is_told(end: End) {
    let lock = Lock::new().expect("making a lock");
    let value = Value::new(0).expect("making a value");
    let array = Array::zeroed(9).expect("making an array");
    for use_it in 0..4 {
        let ready = Event::new().expect("making an event");
        let args = (
            end,
            lock.clone(),
            value.clone(),
            array.clone(),
            ready.clone(),
        );
        let owner = mp::Builder::new()
            .name("owner")
            .spawn::<die_as_owner>(args)
            .expect("spawning");
        ready.wait().expect("waiting");
        let pid = owner.id();
        if matches!(end, End::Killed) {
            owner.kill().expect("killing");
        }
        // At times it was waited for already, at times not.
        if use_it % 2 == 0 {
            owner.wait();
        }
        let tell = |dead: Option<&mp::DeadOwner>| {
            let dead = dead.expect("the owner died");
            assert_eq!((dead.pid(), dead.name()), (Some(pid), Some("owner")));
            assert!(dead.to_string().contains(&pid.to_string()), "{dead}");
        };
        match lock.lock() {
            Err(LockError::OwnerDied(guard)) => tell(guard.dead_owner()),
            other => panic!("{other:?}"),
        }
        let guard = lock.lock().expect("the death is told once");
        assert!(guard.dead_owner().is_none());
        drop(guard);
        let told = match use_it {
            0 => value.get().err(),
            1 => value.set(5).err(),
            2 => value.update(|n| n + 5).err(),
            _ => value.lock().err(),
        };
        match told {
            Some(error @ LockError::OwnerDied(_)) => {
                assert!(error.to_string().contains("owner"), "{error}");
                let guard = error.into_guard().expect("it has one");
                tell(guard.dead_owner());
                assert_eq!(*guard, 1, "neither `set` nor `update` changed it");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(value.get().expect("the death is told once"), 1);
        match array.to_vec() {
            Err(LockError::OwnerDied(guard)) => tell(guard.dead_owner()),
            other => panic!("{other:?}"),
        }
        assert_eq!(array.to_vec().expect("the death is told once"), [0; 9]);
        owner.wait();
    }
}

#[mp::test]
fn the_death_of_an_owner_by_a_signal_is_told() {
    alone(|| death_is_told(End::Killed));
}

#[mp::test]
fn the_death_of_an_owner_by_abort_is_told() {
    alone(|| death_is_told(End::Abort));
}

#[mp::test]
fn the_end_of_an_owner_by_exit_is_told() {
    alone(|| death_is_told(End::Exit));
}

#[mp::test]
fn the_end_of_an_owner_whose_function_returns_is_told() {
    alone(|| death_is_told(End::Return));
}

#[mp::test]
fn the_end_of_an_owner_that_is_a_thread_is_told() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let forget = || std::mem::forget(lock.lock().expect("it is free"));
        std::thread::scope(|scope| drop(scope.spawn(forget)));
        // The scope ends before its thread does.
        match lock.lock() {
            Err(LockError::OwnerDied(guard)) => {
                let dead = guard.dead_owner().expect("it is known");
                assert_eq!(dead.pid(), Some(std::process::id()));
            }
            other => panic!("{other:?}"),
        }
        assert!(lock.lock().is_ok());
    });
}

#[mp::test]
fn a_panic_releases_the_lock() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let panics = || {
            let _guard = lock.lock().expect("it is free");
            std::panic::resume_unwind(Box::new(()));
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).expect_err("it panics");
        assert!(lock.try_lock().is_ok());
    });
}

#[mp::test]
fn a_waiter_gets_the_lock_of_an_owner_that_is_killed() {
    alone(|| {
        let lock = Lock::new().expect("making a lock");
        let [held, never] = [(); 2].map(|()| Event::new().expect("making an event"));
        let holder = mp::spawn!(hold, lock.clone(), held.clone(), never).expect("spawning");
        held.wait().expect("waiting");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| matches!(lock.lock(), Err(LockError::OwnerDied(_))));
            common_shm::kill(holder);
            assert!(waiter.join().expect("no panic"));
        });
    });
}
