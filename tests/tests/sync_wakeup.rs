//! Wake-ups that reach a waiter which is killed before it can act.

mod common_shm;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use common_shm::{LONG, kill};
use mp::{Lock, LockError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::eventually;
use rustix::process::{getpid, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two processors that this process may use; twice the same if there is only one.
fn processors() -> [usize; 2] {
    let all = sched_getaffinity(None).expect("asking for the processors");
    let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    let first = usable.next().expect("there is one");
    [first, usable.next().unwrap_or(first)]
}

fn run_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).expect("choosing a processor");
}

/// Waits for the lock on this processor, and if it is `late`, runs there after all others.
#[mp::process_fn]
fn take(lock: Lock, processor: usize, late: bool, ready: mp::Event) -> bool {
    run_on(processor);
    if late {
        setpriority_process(Some(getpid()), 19).expect("being nice");
    }
    ready.set();
    matches!(lock.lock(), Ok(_) | Err(LockError::OwnerDied(_)))
}

/// Whether all threads of a process sleep.
fn sleeps(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it is there");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
    })
}

#[mp::test]
fn the_wake_up_of_a_waiter_that_is_killed_is_not_lost() {
    alone(|| {
        let [here, there] = processors();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Keeps the late one from acting at once.
            scope.spawn(|| {
                run_on(there);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            run_on(here);
            for _ in 0..20 {
                let lock = Lock::new().expect("making a lock");
                let guard = lock.lock().expect("it is free");
                let start = |processor, late| {
                    let ready = mp::Event::new().expect("making an event");
                    let args = (lock.clone(), processor, late, ready.clone());
                    let waiter = mp::Builder::new().spawn::<take>(args).expect("spawning");
                    ready.wait().expect("waiting");
                    let asleep = || sleeps(waiter.id()).then_some(());
                    assert!(eventually(asleep).is_some());
                    waiter
                };
                let first = start(there, true);
                let second = start(here, false);
                drop(guard);
                // The first has been woken; before it acts, somebody else takes the lock, and it is killed.
                let guard = lock.try_lock();
                first.kill().expect("killing");
                let _ = first.join();
                drop(guard);
                let ended = second.wait_timeout(LONG / 4).is_some();
                stop.store(!ended, Ordering::Relaxed);
                if !ended {
                    kill(second);
                    panic!("the lock is free, and who waits for it sleeps");
                }
                assert!(second.join().expect("it ends"));
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}
