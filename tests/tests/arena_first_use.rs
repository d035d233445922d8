//! The tree's shared memory is made by whoever uses it first.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, hint, thread};

use multiproc_tests::program;

/// In the processes that the test starts: how late the second thread is.
const DELAY: &str = "MULTIPROC_TESTS_DELAY";

#[mp::test]
fn threads_may_use_shared_memory_for_the_first_time_at_once() {
    if let Ok(delay) = env::var(DELAY) {
        return use_it_at_once(delay.parse().expect("a number"));
    }
    for delay in (0..4000).step_by(40) {
        let mut command = Command::new(env::current_exe().expect("a test is in a binary"));
        let name = "threads_may_use_shared_memory_for_the_first_time_at_once";
        command
            .args([name, "--exact", "--nocapture"])
            .env(DELAY, delay.to_string());
        program::run(&mut command).success();
    }
}

/// Two threads, of which one comes while the other is making the memory.
fn use_it_at_once(delay: u32) {
    let ready = AtomicU32::new(0);
    let make_values = |delay| {
        ready.fetch_add(1, Ordering::Relaxed);
        while ready.load(Ordering::Relaxed) < 2 {}
        for _ in 0..delay {
            hint::spin_loop();
        }
        for n in 0..20 {
            let value = mp::Value::new(n).expect("making a value");
            assert_eq!(value.get().expect("the lock is free"), n);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| make_values(0));
        scope.spawn(|| make_values(delay));
    });
    let stats = mp::arena_stats().expect("the arena is there");
    assert_eq!((stats.objects, stats.processes), (0, 1));
}
