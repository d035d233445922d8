//! Guards that are forgotten.

use std::mem;

use multiproc_tests::leaks::apart;

/// Forgets a guard by `forget`, and checks that messages which may lie where its lock was are whole.
fn nothing_writes_where_the_lock_was(forget: impl FnOnce()) {
    let queue = mp::Queue::new().expect("making a queue");
    forget();
    for length in 57..400 {
        queue.put(vec![0xa5_u8; length]).expect("putting");
    }
    for length in 57..400 {
        assert_eq!(queue.get().expect("getting"), vec![0xa5; length]);
    }
}

#[mp::test]
fn a_lock_whose_guard_was_forgotten_keeps_its_memory() {
    apart(|| {
        nothing_writes_where_the_lock_was(|| {
            let lock = mp::Lock::new().expect("making a lock");
            mem::forget(lock.lock().expect("the lock is free"));
        });
    });
}

#[mp::test]
fn a_value_whose_guard_was_forgotten_keeps_its_memory() {
    apart(|| {
        nothing_writes_where_the_lock_was(|| {
            let value = mp::Value::new([0_u64; 32]).expect("making a value");
            mem::forget(value.lock().expect("the lock is free"));
        });
    });
}

#[mp::test]
fn an_array_whose_guard_was_forgotten_keeps_its_memory() {
    apart(|| {
        nothing_writes_where_the_lock_was(|| {
            let array = mp::Array::<u8>::zeroed(1000).expect("making an array");
            mem::forget(array.lock().expect("the lock is free"));
        });
    });
}
